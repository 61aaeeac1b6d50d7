"""What is done with the image that a request works on."""

from __future__ import annotations

from studio.core.feature import Feature
from studio.core.field_spec import FieldSpec, GridAxis, Group, InfotextKey, Limits, Widget
from studio.core.field_tables.limits import FRACTION, MAX_PROMPT_CHARS, STRENGTH_HELP
from studio.core.request_choices import Resize

STRENGTH_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="strength",
        kind=float,
        label="Denoising strength",
        help=STRENGTH_HELP,
        group=Group.STRENGTH,
        widget=Widget.SLIDER,
        limits=FRACTION,
        initial=0.6,
        feature=Feature.STRENGTH,
        infotext=InfotextKey("Denoising strength", foreign=("denoise",)),
        grid=GridAxis("Denoising strength", "0.3-0.7 (+0.2)"),
        a1111="denoising_strength",
    ),
)

SOURCE_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="resize",
        kind=Resize,
        label="Resize mode",
        help="How the image is fitted to that size.",
        group=Group.RESIZE,
        widget=Widget.DROPDOWN,
        unset=Resize.CROP,
        options={"Crop": Resize.CROP, "Stretch": Resize.STRETCH, "Fill": Resize.FILL, "Latent": Resize.LATENT},
        api="resize_mode",
        a1111="resize_mode",
    ),
    FieldSpec(
        name="loops",
        kind=int,
        label="Loopback",
        help="Number of passes, each on the image before it.",
        group=Group.LOOPS,
        widget=Widget.SLIDER,
        unset=1,
        limits=Limits(1, 32),
        slider=Limits(1, 16),
    ),
    FieldSpec(
        name="search",
        kind=str,
        label="Search for",
        help="What to find in the image.",
        group=Group.SEARCH,
        unset="",
        max_length=MAX_PROMPT_CHARS,
    ),
)
