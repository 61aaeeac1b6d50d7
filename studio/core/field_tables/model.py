"""The networks that make an image, and what is used of them."""

from __future__ import annotations

from studio.core.feature import Feature
from studio.core.field_spec import (
    AUTOMATIC,
    NONE,
    ChoiceSource,
    FieldSpec,
    GridAxis,
    Group,
    InfotextKey,
    Limits,
    Widget,
)
from studio.core.field_tables.limits import FRACTION

MODEL_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="model",
        kind=str,
        label="Model",
        help="Model to generate with.",
        api_help="An id from GET /models; left out: the default model.",
        group=Group.MODEL,
        widget=Widget.DROPDOWN,
        unset="",
        source=ChoiceSource.MODELS,
        infotext=InfotextKey("Model", foreign=("model", "base_model")),
        grid=GridAxis("Model", "embedded, sdxl/base", cost=3, labelled=False),
        a1111="sd_model_checkpoint",
    ),
    FieldSpec(
        name="vae",
        kind=str,
        label="VAE",
        help="Decoder that turns latents into pixels.",
        group=Group.DETAILS,
        widget=Widget.DROPDOWN,
        empty=AUTOMATIC,
        source=ChoiceSource.VAES,
        feature=Feature.VAE,
        infotext=InfotextKey("VAE", foreign=("vae", "vae_name")),
        grid=GridAxis("VAE", "vae-a, vae-b", cost=1),
        a1111="sd_vae",
    ),
)

CLIP_SKIP_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="clip_skip",
        kind=int,
        label="Clip skip",
        help="2 leaves out the text encoder's last layer.",
        group=Group.DETAILS,
        widget=Widget.SLIDER,
        limits=Limits(1, 24),
        slider=Limits(1, 12),
        empty=1,
        feature=Feature.CLIP_SKIP,
        infotext=InfotextKey("Clip skip", foreign=("clip_skip",)),
        grid=GridAxis("Clip skip", "1, 2"),
        a1111="CLIP_stop_at_last_layers",
    ),
)

REFINER_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="refiner",
        kind=str,
        label="Refiner",
        help="Checkpoint of the same family for the last part.",
        group=Group.DETAILS,
        widget=Widget.DROPDOWN,
        empty=NONE,
        source=ChoiceSource.MODELS,
        feature=Feature.REFINER,
        infotext=InfotextKey("Refiner"),
        grid=GridAxis("Refiner", "sdxl/refiner, sdxl/other", cost=1),
        a1111="refiner_checkpoint",
    ),
    FieldSpec(
        name="refiner_switch",
        kind=float,
        label="Switch at",
        help="Fraction of the noise schedule after which the refiner takes over.",
        group=Group.DETAILS,
        widget=Widget.SLIDER,
        unset=0.8,
        limits=FRACTION,
        feature=Feature.REFINER,
        depends_on="refiner",
        infotext=InfotextKey("Refiner switch at"),
        grid=GridAxis("Refiner switch at", "0.6, 0.9"),
        a1111="refiner_switch_at",
    ),
)
