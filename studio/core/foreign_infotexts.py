"""Infotexts of programs that write AUTOMATIC1111's form with keys and values of their own: SD.Next and
stable-diffusion.cpp; and whose noise a seed stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from studio.core.foreign_samplers import name_sampling
from studio.core.model_ids import shorten_model_name
from studio.core.request_choices import NoiseSource

CPP_VERSION = "stable-diffusion.cpp"
_SDNEXT_KEYS = {  # in AUTOMATIC1111's words
    "Variation strength": "Variation seed strength",
    "Hires scale": "Hires upscale",
    "Hires fixed": "Hires resize",
    "Hires strength": "Denoising strength",
}


_GPU_VERSIONS = re.compile(r"v?1\.\d|f\d|neo|classic|reforge", re.IGNORECASE)  # of AUTOMATIC1111 and the forks of Forge
_OTHER_PROGRAMS = ("App", "Created Date", "Civitai resources")  # SD.Next, Civitai's own generator
_OVER_TIMESTEPS = ("DDIM", "DDIM CFG++", "PLMS", "UniPC")  # what AUTOMATIC1111 runs without regard to the schedule
_NOISE_SOURCES = {"cpu": NoiseSource.CPU, "gpu": NoiseSource.NV, "cuda": NoiseSource.NV}


def name_noise_source(pairs: Mapping[str, str]) -> dict[str, str]:
    """The pairs with the noise source in our words. AUTOMATIC1111 and Forge leave it out where it is the GPU, wrote a
    seed resize from -1x-1 where there was none, and write a schedule for samplers that have none."""
    found = dict(pairs)
    if found.get("Sampler") == "LCM" and _is_from_forge_or_its_origin(found):
        schedule = found.get("Schedule type", "Automatic")  # which is that of the paper here
        found["Schedule type"] = "Uniform" if schedule == "Automatic" else schedule
    elif found.get("Sampler") in _OVER_TIMESTEPS and _is_from_forge_or_its_origin(found):
        found.pop("Schedule type", None)
    if found.get("Seed resize from") in ("-1x-1", "0x0"):
        del found["Seed resize from"]
    if "RNG" in found:
        found["RNG"] = _NOISE_SOURCES.get(found["RNG"].lower(), found["RNG"])
    elif "Sampler" in found and "Seed" in found and _is_from_forge_or_its_origin(found):
        found["RNG"] = NoiseSource.NV
    return found


def _is_from_forge_or_its_origin(pairs: Mapping[str, str]) -> bool:
    """By its version; one that writes none is told by the model's hash, which only those always wrote."""
    if any(key in pairs for key in _OTHER_PROGRAMS):
        return False
    version = pairs.get("Version", "")
    return bool(_GPU_VERSIONS.match(version)) if version else "Model hash" in pairs


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
    if "Schedule type" in found:
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
