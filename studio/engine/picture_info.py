"""What a picture tells of its making: ours, AUTOMATIC1111's and Forge's directly, and through sd-parsers what ComfyUI, InvokeAI,
Fooocus and NovelAI wrote; SwarmUI's JSON is read here, for no library knows it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.images import Limits, open_image, sniff
from studio.core.infotext import parse_infotext
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.engine.embed import MAX_TEXT, read_metadata
from studio.engine.pictures import history_of

_KEYS = {  # names that programs use, in the words of an infotext
    "steps": "Steps", "cfg_scale": "CFG scale", "cfgscale": "CFG scale", "cfg": "CFG scale", "scale": "CFG scale",
    "guidance_scale": "CFG scale", "seed": "Seed", "noise_seed": "Seed", "model": "Model", "base_model": "Model",
    "clip_skip": "Clip skip", "denoise": "Denoising strength", "vae": "VAE", "vae_name": "VAE",
}  # fmt: skip
_SAMPLERS = {  # ComfyUI's, k-diffusion's and NovelAI's names under AUTOMATIC1111's
    "euler": "Euler", "euler_ancestral": "Euler a", "k_euler": "Euler", "k_euler_a": "Euler a", "k_euler_ancestral": "Euler a",
    "heun": "Heun", "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a", "lms": "LMS", "dpmpp_2m": "DPM++ 2M", "k_dpmpp_2m": "DPM++ 2M",
    "dpmpp_sde": "DPM++ SDE", "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_2m_sde_gpu": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE", "dpmpp_2s_ancestral": "DPM++ 2S a", "ddim": "DDIM", "uni_pc": "UniPC", "lcm": "LCM", "plms": "PLMS",
}  # fmt: skip
_SCHEDULES = {
    "karras": "Karras", "exponential": "Exponential", "sgm_uniform": "SGM Uniform", "simple": "Simple", "beta": "Beta", "normal": "Normal",
}  # fmt: skip
_MOST_SHOWN = 20_000  # characters of any one raw value that are shown

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PictureInfo:
    """What was found. `program` wrote it, "" when nothing was found; `request` is what it asks for in our words; `history` the
    requests before it; `raw` everything that was there, by name; `passed_over` names what our form has no field for."""

    program: str = ""
    infotext: str = ""
    request: GenerationRequest | None = None
    history: tuple[GenerationRequest, ...] = ()
    raw: Mapping[str, str] = field(default_factory=dict[str, str])
    passed_over: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    format: str = ""
    bytes: int = 0


def picture_info(source: Path | bytes, settings: Settings) -> PictureInfo:
    """Everything that the picture tells of itself.

    Raises:
        BadImage: the file does not pass the gate.
    """
    image = open_image(source, limits=Limits.of(settings))
    data = source.read_bytes() if isinstance(source, Path) else source
    kind = sniff(data) or ""
    about: dict[str, Any] = {"width": image.width, "height": image.height, "format": kind.lower(), "bytes": len(data)}
    if kind not in ("PNG", "JPEG", "WEBP", "AVIF"):
        return PictureInfo(**about)
    with Image.open(io.BytesIO(data), formats=(kind,)) as file:
        told = read_metadata(file)
        raw = {str(name): _shown(value) for name, value in file.info.items() if name not in ("exif", "icc_profile")}
    about["raw"] = raw
    if told.recipe is not None:
        about |= _ours(told.recipe)
        return PictureInfo(infotext=told.infotext, **about)
    swarm = _swarm(told.infotext)
    if swarm is not None:
        return PictureInfo(program="SwarmUI", infotext=told.infotext, **_asked(swarm), **about)
    if told.infotext.strip() and not told.infotext.lstrip().startswith("{"):
        parsed = parse_infotext(told.infotext)
        program = "Forge" if "forge" in told.infotext.lower().rpartition("version:")[2] else "AUTOMATIC1111"
        return PictureInfo(
            program=program,
            infotext=told.infotext,
            request=parsed.request,
            passed_over=tuple(sorted(parsed.unknown)),
            **about,
        )
    return PictureInfo(infotext=told.infotext, **_foreign(data), **about)


def _ours(recipe: Mapping[str, Any]) -> dict[str, Any]:
    try:
        request = GenerationRequest.from_json(recipe.get("request", recipe))
    except InvalidRequest as error:
        _log.info("a recipe of another version: %s", error.message)
        return {"program": "Easel (another version)"}
    return {"program": str(recipe.get("studio", "Easel"))[:80], "request": request, "history": history_of(recipe)[:-1]}


def _swarm(text: str) -> dict[str, Any] | None:
    """SwarmUI's parameters: a JSON object in the place of the infotext."""
    if not text.lstrip().startswith("{") or len(text) > MAX_TEXT:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    inner: Any = cast("dict[str, Any]", found).get("sui_image_params") if isinstance(found, dict) else None
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else None


def _foreign(data: bytes) -> dict[str, Any]:
    """What sd-parsers understands; it is given the file, and whatever it stumbles over counts as nothing found."""
    from sd_parsers import ParserManager

    try:
        found = ParserManager().parse(io.BytesIO(data))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError) as error:
        _log.info("foreign metadata is not understood: %r", error)
        return {}
    if found is None or not found.samplers:
        return {"program": str(found.generator.value)} if found is not None else {}
    sampler = found.samplers[0]
    values: dict[str, Any] = {
        **{str(name).lower(): value for name, value in {**found.metadata, **sampler.parameters}.items()},
        "prompt": found.full_prompt, "negativeprompt": found.full_negative_prompt, "sampler": sampler.name,
    }  # fmt: skip
    if sampler.model is not None and sampler.model.name:
        values["model"] = sampler.model.name
    return {"program": str(found.generator.value), **_asked(values)}


def _asked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The request that foreign values ask for, through the same reader as an infotext's."""
    pairs: dict[str, str] = {}
    rest: list[str] = []
    for name, value in values.items():
        key = _KEYS.get(name.lower())
        if key is not None and isinstance(value, str | int | float) and not isinstance(value, bool):
            pairs[key] = _model_name(str(value)) if key in ("Model", "VAE") else str(value)
        elif name.lower() not in _READ:
            rest.append(name)
    sampler, schedule = str(values.get("sampler") or ""), str(values.get("scheduler") or "")
    if sampler:
        pairs["Sampler"] = _SAMPLERS.get(sampler.lower(), sampler)
    if schedule.lower() in _SCHEDULES:
        pairs["Schedule type"] = _SCHEDULES[schedule.lower()]
    size = values.get("width"), values.get("height")
    if all(isinstance(side, int) for side in size):
        pairs["Size"] = f"{size[0]}x{size[1]}"
    prompt, negative = (str(values.get(name) or "") for name in ("prompt", "negativeprompt"))
    line = ", ".join(
        f"{name}: {json.dumps(value) if set(value) & set(',:') else value}" for name, value in pairs.items()
    )
    text = "\n".join([prompt.strip(), *([f"Negative prompt: {negative.strip()}"] if negative.strip() else []), line])
    parsed = parse_infotext(text)
    return {"request": parsed.request, "passed_over": tuple(sorted({*rest, *parsed.unknown}))}


_READ = {"prompt", "negativeprompt", "sampler", "scheduler", "width", "height"}


def _model_name(path: str) -> str:
    """A checkpoint's file name without folders and ending, as our list has it."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.removesuffix(".safetensors").removesuffix(".ckpt")


def _shown(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text[:_MOST_SHOWN]
