"""Infotexts of programs that write AUTOMATIC1111's form with keys and values of their own: SD.Next and
stable-diffusion.cpp."""

from __future__ import annotations

from collections.abc import Mapping

from studio.core.foreign_samplers import name_sampling
from studio.core.model_ids import shorten_model_name

CPP_VERSION = "stable-diffusion.cpp"
_SDNEXT_KEYS = {  # in AUTOMATIC1111's words
    "Variation strength": "Variation seed strength",
    "Hires scale": "Hires upscale",
    "Hires fixed": "Hires resize",
    "Hires strength": "Denoising strength",
}


def convert_foreign_pairs(pairs: Mapping[str, str]) -> Mapping[str, str]:
    """The pairs with AUTOMATIC1111's keys and our values where another program is known to have written them."""
    if pairs.get("App") == "SD.Next":
        return _convert_sdnext_pairs(pairs)
    return _convert_cpp_pairs(pairs) if pairs.get("Version", "").startswith(CPP_VERSION) else pairs


def _convert_sdnext_pairs(pairs: Mapping[str, str]) -> dict[str, str]:
    """The schedule is called "Sampler sigma"."""
    found = {_SDNEXT_KEYS.get(key, key): value for key, value in pairs.items()}
    found |= name_sampling(pairs.get("Sampler"), pairs.get("Sampler sigma"))
    if "Schedule type" in found:
        found.pop("Sampler sigma", None)
    return found


def _convert_cpp_pairs(pairs: Mapping[str, str]) -> dict[str, str]:
    """FLUX has its guidance beside a CFG scale of 1; a model may come as its denoiser alone."""
    found = dict(pairs) | name_sampling(pairs.get("Sampler"), pairs.get("Scheduler"))
    found.pop("Scheduler", None)
    if not found.get("Model") and "Unet" in found:
        found["Model"] = found.pop("Unet")
    for key in ("Model", "VAE"):
        if found.get(key):
            found[key] = shorten_model_name(found[key])
    if "Guidance" in found and _is_one(found.get("CFG scale", "1")):
        found["CFG scale"] = found.pop("Guidance")
    return {key: value for key, value in found.items() if value}


def _is_one(text: str) -> bool:
    try:
        return float(text) == 1.0
    except ValueError:
        return False
