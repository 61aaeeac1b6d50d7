"""How a mask is used."""

from __future__ import annotations

from studio.core.field_spec import FieldSpec, Group, Limits, Widget
from studio.core.request_choices import MaskedContent

INPAINT_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="only_masked",
        kind=bool,
        label="Inpaint area",
        help="“Only masked” redraws the masked area at full resolution.",
        group=Group.INPAINT,
        widget=Widget.RADIO,
        unset=False,
        options={"Whole image": False, "Only masked": True},
        form="area",
        a1111="inpaint_full_res",
    ),
    FieldSpec(
        name="padding",
        kind=int,
        label="Mask padding",
        help="Px around the masked area.",
        group=Group.INPAINT,
        widget=Widget.SLIDER,
        unset=32,
        limits=Limits(0, 4096),
        slider=Limits(0, 256),
        a1111="inpaint_full_res_padding",
    ),
    FieldSpec(
        name="fill",
        kind=MaskedContent,
        label="Masked content",
        help="What lies under the mask at first.",
        group=Group.INPAINT,
        widget=Widget.DROPDOWN,
        unset=MaskedContent.ORIGINAL,
        options={
            "Original": MaskedContent.ORIGINAL,
            "Fill": MaskedContent.FILL,
            "Latent noise": MaskedContent.NOISE,
            "Latent nothing": MaskedContent.NOTHING,
        },
        old_labels={
            "The image": "Original",
            "Surrounding colours": "Fill",
            "Noise": "Latent noise",
            "Nothing": "Latent nothing",
        },
        a1111="inpainting_fill",
    ),
    FieldSpec(
        name="mask_blur",
        kind=int,
        label="Mask blur",
        help="Px by which the mask's edge fades.",
        group=Group.INPAINT,
        widget=Widget.SLIDER,
        unset=4,
        limits=Limits(0, 256),
        slider=Limits(0, 64),
        a1111="mask_blur",
    ),
    FieldSpec(
        name="soft",
        kind=bool,
        label="Soft inpainting",
        help="Grey parts of the mask change a little.",
        group=Group.INPAINT,
        widget=Widget.CHECKBOX,
        unset=False,
    ),
    FieldSpec(
        name="invert",
        kind=bool,
        label="Invert mask",
        help="Redraw what is not masked.",
        group=Group.INPAINT,
        widget=Widget.CHECKBOX,
        unset=False,
        a1111="inpainting_mask_invert",
    ),
)
