"""Foreign values in our words: names of samplers, schedules and fields as this studio has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from studio.core.infotext_keys import parse_pairs
from studio.core.range_checks import MAX_LORA_WEIGHT
from studio.core.request import GenerationRequest
from studio.core.request_parts import LoraUse

_KEYS = {  # names that programs use, in the words of an infotext
    name: spec.infotext.key
    for spec in GenerationRequest.FIELDS
    if spec.infotext is not None
    for name in spec.infotext.foreign
}
SAMPLER_NAMES = {  # ComfyUI's (which Fooocus and SwarmUI use), InvokeAI's and NovelAI's names, without their "k_"
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "euler_a": "Euler a",
    "heun": "Heun",
    "heunpp2": "HeunPP2",
    "lms": "LMS",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2s": "DPM++ 2S a",
    "dpm_fast": "DPM fast",
    "ipndm": "IPNDM",
    "res_multistep": "RES multistep",
    "gradient_estimation": "Gradient estimation",
    "restart": "Restart",
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "ddpm": "DDPM",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
    "unipc": "UniPC",
    "deis": "DEIS",
    "sa_solver": "SA-Solver",
    "lcm": "LCM",
    "tcd": "TCD",
    "pndm": "PLMS",
    "plms": "PLMS",
}
SCHEDULE_NAMES = {
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "beta": "Beta",
    "normal": "Normal",
    "ddim_uniform": "DDIM",
    "kl_optimal": "KL Optimal",
    "linear_quadratic": "Linear Quadratic",
    "align_your_steps": "Align Your Steps",
    "turbo": "Turbo",
}
_HANDLED_KEYS = {"prompt", "negativeprompt", "sampler", "scheduler", "width", "height", "loras"}
_EMPTY_NAMES = {"", "none", "automatic", "default", "default (model)"}  # a model or VAE of that name is none
_MAX_LORAS = 20
_MAX_NAME_LENGTH = 300  # characters of a name


def build_foreign_request(values: Mapping[str, Any]) -> tuple[GenerationRequest, tuple[str, ...]]:
    """(the request that `values` ask for, the names that no field of ours stands for). What is out of range counts
    among those. A sampler that we do not have keeps its foreign name."""
    pairs = {**_map_fields(values), **_map_sampling(values)}
    width, height = values.get("width"), values.get("height")
    if isinstance(width, int) and isinstance(height, int):
        pairs["Size"] = f"{width}x{height}"
    request, unknown = parse_pairs(_get_text(values, "prompt"), _get_text(values, "negativeprompt"), pairs)
    request = request.replace(loras=_parse_loras(values))
    passed_over = {
        name for name in values if name.lower() not in _KEYS and name.lower() not in _HANDLED_KEYS
    } | unknown.keys()
    return request, tuple(sorted(passed_over))


def shorten_model_name(path: str) -> str:
    """A weight file's name without folders and ending, as our lists have it."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.removesuffix(".safetensors").removesuffix(".ckpt")


def _map_fields(values: Mapping[str, Any]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for name, value in values.items():
        key = _KEYS.get(name.lower())
        if key is None or isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        text = str(value)[:_MAX_NAME_LENGTH]
        if key not in ("Model", "VAE"):
            pairs[key] = text
        elif text.strip().lower() not in _EMPTY_NAMES:
            pairs[key] = shorten_model_name(text)
    return pairs


def _map_sampling(values: Mapping[str, Any]) -> dict[str, str]:
    name = str(values.get("sampler") or "")[:_MAX_NAME_LENGTH].lower()
    schedule = SCHEDULE_NAMES.get(str(values.get("scheduler") or "").lower(), "")
    plain = name.removeprefix("k_")
    if plain not in SAMPLER_NAMES and plain.endswith("_k"):  # InvokeAI's way to say Karras
        plain, schedule = plain.removesuffix("_k"), "Karras"
    found = SAMPLER_NAMES.get(plain, name)
    return {**({"Sampler": found} if found else {}), **({"Schedule type": schedule} if schedule else {})}


def _parse_loras(values: Mapping[str, Any]) -> tuple[LoraUse, ...]:
    found = values.get("loras")
    uses: list[LoraUse] = []
    for one in cast("list[Any]", found)[:_MAX_LORAS] if isinstance(found, list) else []:
        try:
            name, weight = one
            uses.append(
                LoraUse(
                    name=shorten_model_name(str(name)[:_MAX_NAME_LENGTH]),
                    weight=max(-MAX_LORA_WEIGHT, min(MAX_LORA_WEIGHT, float(weight))),
                )
            )
        except (TypeError, ValueError):
            continue
    return tuple(use for use in uses if use.name)


def _get_text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value.strip() if isinstance(value, str) else ""
