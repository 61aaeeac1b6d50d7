"""The plain fields of an export for social platforms."""

from __future__ import annotations

from studio.core.field_spec import FieldSpec, Group, Widget
from studio.core.finish_choices import ExtendMode, MetadataPolicy
from studio.core.ground import WHITE

BORDER = "#000000"
OWN_CROPS, SAME_CROP = "Individual", "Same for all"
FILE_TYPES = {"JPEG": "jpeg", "PNG": "png", "WebP": "webp"}

SOCIAL_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="same",
        kind=bool,
        label="Crops",
        help="“Same for all” uses one composition that fits the safe zones of all formats where possible.",
        api_help="Use one composition for all formats.",
        group=Group.SOCIAL,
        widget=Widget.RADIO,
        unset=False,
        options={OWN_CROPS: False, SAME_CROP: True},
    ),
    FieldSpec(
        name="extend",
        kind=ExtendMode,
        label="If no crop fits",
        help="A border keeps the whole image.",
        api_help="Border for formats that no crop fits: blur, colour or mirror.",
        group=Group.SOCIAL,
        widget=Widget.DROPDOWN,
        unset=ExtendMode.CROP,
        options={
            "Crop anyway": ExtendMode.CROP,
            "Blurred border": ExtendMode.BLUR,
            "Coloured border": ExtendMode.COLOUR,
            "Mirrored edge": ExtendMode.MIRROR,
            "Outpaint with a model": ExtendMode.OUTPAINT,
        },
    ),
    FieldSpec(
        name="colour",
        kind=str,
        label="Border colour",
        help="Colour of the border.",
        group=Group.SOCIAL,
        widget=Widget.COLOUR,
        unset=BORDER,
    ),
    FieldSpec(
        name="ground",
        kind=str,
        label="Ground colour",
        help="Behind transparent parts in a JPEG.",
        group=Group.SOCIAL,
        widget=Widget.COLOUR,
        unset=WHITE,
    ),
    FieldSpec(
        name="keep",
        kind=MetadataPolicy,
        label="Metadata",
        help="Written into the files.",
        api_help="Metadata written into the files.",
        group=Group.SOCIAL,
        widget=Widget.DROPDOWN,
        unset=MetadataPolicy.MARKER,
        options={
            "AI marker only": MetadataPolicy.MARKER,
            "Full recipe": MetadataPolicy.ALL,
            "Nothing": MetadataPolicy.NOTHING,
        },
    ),
    FieldSpec(
        name="file_type",
        kind=str,
        label="File type",
        help="Kept below the platform's size limit.",
        api_help="jpeg, png or webp. Default: the type each platform prefers.",
        group=Group.SOCIAL,
        widget=Widget.DROPDOWN,
        options={"Preferred by each platform": None, **FILE_TYPES},
        form="type",
    ),
    FieldSpec(
        name="zones",
        kind=bool,
        label="Draw safe zones into the files",
        help="For review, not for posting.",
        api_help="Draw the safe zones into the files, for a proof.",
        group=Group.SOCIAL,
        widget=Widget.CHECKBOX,
        unset=False,
    ),
    FieldSpec(
        name="upscale",
        kind=bool,
        label="Upscale",
        help="Enlarge images that are smaller than a format with the best installed upscaler.",
        group=Group.SOCIAL,
        unset=False,
    ),
    FieldSpec(
        name="sheet",
        kind=bool,
        label="Contact sheet",
        help="Adds one image that shows all formats.",
        api_help="Add a contact sheet.",
        group=Group.SOCIAL,
        widget=Widget.CHECKBOX,
        unset=False,
    ),
    FieldSpec(
        name="original",
        kind=bool,
        label="Include full image",
        help="Add the whole image.",
        group=Group.SOCIAL,
        widget=Widget.CHECKBOX,
        unset=False,
    ),
)
