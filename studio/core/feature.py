"""Features: abilities that only some models have."""

from __future__ import annotations

from enum import StrEnum


class Feature(StrEnum):
    """An ability that only some models have. A request uses a feature when the field behind it is set."""

    NEGATIVE_PROMPT = "negative prompt"
    PROMPT_SYNTAX = "prompt syntax"  # A1111's weights, BREAK, AND, editing: families with CLIP
    GUIDANCE = "guidance scale"
    SAMPLER = "sampler choice"
    SEED = "seed"
    VARIATION = "variation seed"
    NOISE = "noise source"
    STEPS = "step count"
    CLIP_SKIP = "clip skip"
    VAE = "VAE choice"
    LORA = "LoRA"
    HIRES = "hires pass"
    DETAILER = "detailer"
    REFINER = "refiner"
    REGIONS = "regional prompts"
    TILING = "tiling"
    RESCALE = "CFG rescale"
    PAG = "PAG"
    FREEU = "FreeU"
    SAG = "SAG"
    THRESHOLDING = "dynamic thresholding"
    TILES = "tiled diffusion"
    TOKEN_MERGING = "token merging"  # of UNets with attention at full resolution: Stable Diffusion 1, 2
    SKIP_LAYERS = "skip layers"  # of Stable Diffusion 3
    ENLARGE = "enlarging"  # by a network that was made for the model and lies beside it
    COMPOSE = "composing"  # images of several things, by models that know single ones and list their names
    EMBEDDING = "textual inversion"
    STRENGTH = "denoising strength"
    CONTROL = "ControlNet"
    REFERENCE = "reference image"

    @property
    def label(self) -> str:
        """What the forms call the field behind it; the value is the name in the API."""
        return _LABELS.get(self, self.value)


_LABELS = {Feature.GUIDANCE: "CFG scale", Feature.SAMPLER: "sampler", Feature.STEPS: "steps", Feature.VAE: "VAE"}
