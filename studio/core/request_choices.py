"""The fixed choices of a request's fields."""

from __future__ import annotations

from enum import StrEnum


class Saving(StrEnum):
    """What the user wants to save when both cannot be had."""

    MEMORY = "memory"
    TIME = "time"


class Resize(StrEnum):
    """How an image is brought to another size."""

    STRETCH = "stretch"
    CROP = "crop"
    FILL = "fill"  # whole image inside, the rest filled with its edge colours
    LATENT = "latent"  # stretched as latents


class MaskedContent(StrEnum):
    """What stands in the masked area when drawing begins."""

    ORIGINAL = "original"
    FILL = "fill"  # the colours around it, blurred
    NOISE = "noise"
    NOTHING = "nothing"
