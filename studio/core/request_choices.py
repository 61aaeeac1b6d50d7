"""The fixed choices of a request's fields."""

from __future__ import annotations

from enum import StrEnum


class Saving(StrEnum):
    """Whether to save time or memory."""

    MEMORY = "memory"
    TIME = "time"


class Resize(StrEnum):
    """How an image is brought to another size."""

    STRETCH = "stretch"
    CROP = "crop"
    FILL = "fill"  # whole image inside, the rest filled with its edge colours
    LATENT = "latent"  # stretched as latents


class NoiseSource(StrEnum):
    """What draws the noise; the names are AUTOMATIC1111's where it has one."""

    CPU = "CPU"  # torch on the CPU, one generator an image
    NV = "NV"  # as an NVIDIA card draws it, one generator an image
    COMFYUI = "ComfyUI"  # one generator a batch, the first noise from the CPU and that of the steps from the card


class RegionSplit(StrEnum):
    """How an image is divided into regions that have prompts of their own."""

    COLUMNS = "columns"
    ROWS = "rows"
    AREAS = "areas"  # painted, or rectangles


class RegionMode(StrEnum):
    """Where the prompts of regions are kept apart."""

    LATENT = "latent"  # a prediction of the whole image for each, of which its region is taken
    ATTENTION = "attention"  # one prediction, in which each place reads the prompt of its region


class PromptOrder(StrEnum):
    """Which of the prompts of a dynamic prompt the images get."""

    RANDOM = "random"
    COMBINATIONS = "combinations"  # by number: as many images as there are combinations have each of them once


class MaskedContent(StrEnum):
    """The initial content of the masked area."""

    ORIGINAL = "original"
    FILL = "fill"  # the colours around it, blurred
    NOISE = "noise"
    NOTHING = "nothing"
