"""What other programs wrote into an image, as plain values: through the parsers of sd-parsers for InvokeAI, Fooocus,
NovelAI and ComfyUI, directly for SwarmUI, Draw Things and Easy Diffusion, which the library does not know.

The parsers are given texts and never the file: what sd-parsers itself does with files keeps the last one in a variable
of its module.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from studio.core.model_ids import shorten_model_name
from studio.engine.metadata.comfyui_graphs import read_graph
from studio.engine.metadata.embed import XMP_COMMENT

if TYPE_CHECKING:
    from sd_parsers.data import PromptInfo

_MAX_DREAM_LENGTH = 10_000  # characters: the library's expression for it takes time that grows with the square
_PARSE_ERRORS = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)

_DRAW_THINGS_REPEATED = frozenset(
    "id name width height steps seed guidanceScale strength model sampler loras clipSkip guidanceEmbed batchCount"
    " batchSize seedMode preserveOriginalAfterInpaint imageGuidanceScale".split()
)
"""Of its second list of settings: what the first one says too, or what an image from words alone does not hang on."""
_DRAW_THINGS_SWITCHES = {  # settings that begin so count only where the switch is on
    "hiresFix": "hiresFix",
    "diffusionTile": "tiledDiffusion",
    "decodingTile": "tiledDecoding",
    "refiner": "refinerModel",
    "upscaler": "upscaler",
    "stage2": "stage2Steps",
    "teaCache": "teaCache",
}
_DRAW_THINGS_DEFAULTS = {
    "shift": 1,
    "aestheticScore": 6,
    "negativeAestheticScore": 2.5,
    "t5TextEncoder": True,
    "tiledDecoding": True,
    "fps": 5,
    "numFrames": 14,
    "motionScale": 127,
    "startFrameGuidance": 1,
    "guidingFrameNoise": 0.02,
    "maskBlur": 1.5,
}
_EASY_MARKS = ("use_stable_diffusion_model", "Stable Diffusion model")
_EASY_FIELDS = {  # ours, and its name of it
    "prompt": "prompt",
    "negativeprompt": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "width": "width",
    "height": "height",
    "model": "use_stable_diffusion_model",
    "vae": "use_vae_model",
    "sampler": "sampler_name",
    "scheduler": "scheduler_name",
    "denoise": "prompt_strength",
}
_EASY_WORDS = {  # its names as words, and as its API has them
    "Prompt": "prompt",
    "Negative Prompt": "negative_prompt",
    "Seed": "seed",
    "Steps": "num_inference_steps",
    "Guidance Scale": "guidance_scale",
    "Width": "width",
    "Height": "height",
    "Stable Diffusion model": "use_stable_diffusion_model",
    "VAE model": "use_vae_model",
    "Sampler": "sampler_name",
    "Scheduler": "scheduler_name",
    "Prompt Strength": "prompt_strength",
    "Clip Skip": "clip_skip",
    "LoRA model": "use_lora_model",
    "LoRA Strength": "lora_alpha",
    "Use Face Correction": "use_face_correction",
    "Use Upscaling": "use_upscale",
    "Upscale By": "upscale_amount",
    "Hypernetwork model": "use_hypernetwork_model",
    "Hypernetwork Strength": "hypernetwork_strength",
    "Seamless Tiling": "tiling",
    "ControlNet model": "use_controlnet_model",
    "ControlNet Strength": "control_alpha",
    "Embedding models": "use_embeddings_model",
}
_EASY_NAMES = {*_EASY_WORDS.values()}
_EASY_SILENT = frozenset(
    "session_id request_id num_outputs stream_progress_updates stream_image_progress stream_image_progress_interval"
    " show_only_filtered_image block_nsfw output_format output_quality output_lossless metadata_output_format"
    " save_to_disk_path vram_usage_level used_random_seed original_prompt active_tags inactive_tags enable_vae_tiling"
    " parameters comment".split()
)
"""Names of its API that say nothing of the image."""

_log = logging.getLogger(__name__)
Texts = Mapping[str, str]
Values = dict[str, Any]


def read_foreign(texts: Texts) -> tuple[str, Values] | None:
    """(the program, the values that it drew with under lower-case names) from the image's texts by name; "parameters"
    is a PNG's chunk or the EXIF comment. The values are empty where only the program is recognized. None when nothing
    is."""
    from sd_parsers.exceptions import ParserError

    for program, looks_like, read in _PROGRAMS:
        if not looks_like(texts):
            continue
        try:
            return program, read(texts)
        except (ParserError, *_PARSE_ERRORS) as error:
            _log.info("%s metadata is not understood: %r", program, error)
            return program, {}
    return None


def detect_program(texts: Texts) -> str:
    """The program that wrote the texts, "" when it is none of those known."""
    return next((program for program, looks_like, _ in _PROGRAMS if looks_like(texts)), "")


def parse_json_object(text: str) -> Values | None:
    """`text` as a JSON object, None when it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Values", found) if isinstance(found, dict) else None


def _read_swarmui(texts: Texts) -> Values:
    values = dict(_parse_parameters(texts)["sui_image_params"])
    names, weights = values.pop("loras", []), values.pop("loraweights", [])
    if isinstance(names, str):
        names, weights = names.split(","), str(weights or "").split(",")
    stop = values.pop("clipstopatlayer", None)
    return {
        **values,
        "loras": list(zip(names, [*weights, *[1] * len(names)], strict=False)),
        **({"clip_skip": -int(stop)} if stop is not None else {}),
    }


def _read_fooocus(texts: Texts) -> Values:
    from sd_parsers.parsers import FooocusParser

    found = FooocusParser().parse({"parameters": texts["parameters"]})
    values = _collect_values(found)
    size = str(values.pop("resolution", "()"))
    width, height = (int(side) for side in size.strip("()[] ").split(","))
    return {**values, "width": width, "height": height, "loras": [tuple(one[:2]) for one in values.get("loras", [])]}


def _read_invokeai(texts: Texts) -> Values:
    whole = parse_json_object(texts.get("invokeai_metadata", ""))
    return _read_old_invokeai(texts) if whole is None else _read_new_invokeai(whole)


def _read_new_invokeai(whole: Values) -> Values:
    """Versions 3 and later, any field of which may be null or missing. FLUX has its guidance beside a scale of 1."""
    values = {name.lower(): value for name, value in whole.items() if value is not None}
    named = {"prompt": "positive_prompt", "negativeprompt": "negative_prompt", "sampler": "scheduler"}
    values |= {ours: values.pop(theirs) for ours, theirs in named.items() if theirs in values}
    guidance = values.pop("guidance", None)
    if guidance is not None and values.get("cfg_scale") in (None, 1, 1.0):
        values["cfg_scale"] = guidance
    if isinstance(values.get("clip_skip"), int):
        values["clip_skip"] += 1  # it counts the layers that are left out
    for name in ("model", "vae"):
        if isinstance(values.get(name), dict):
            values[name] = _get_model_name(values[name])
    found: Any = values.get("loras")
    loras: list[tuple[str, Any]] = []
    for one in cast("list[Any]", found) if isinstance(found, list) else []:
        entry = cast("Values", one) if isinstance(one, dict) else Values()
        model: Any = entry.get("model") or entry.get("lora")
        if isinstance(model, dict):
            loras.append((_get_model_name(cast("Values", model)), entry.get("weight", 1)))
        else:  # counted, and missed
            loras.append(("", 1))
    return {**values, "loras": loras}


def _read_old_invokeai(texts: Texts) -> Values:
    from sd_parsers.parsers import InvokeAIParser

    return _collect_values(
        InvokeAIParser().parse(
            {name: text[:_MAX_DREAM_LENGTH] if name == "Dream" else text for name, text in texts.items()}
        )
    )


def _get_model_name(model: Mapping[str, Any]) -> str:
    return str(model.get("name") or model.get("model_name") or "")


def _read_novelai(texts: Texts) -> Values:
    from sd_parsers.parsers import NovelAIParser

    values = _collect_values(NovelAIParser().parse(dict(texts)))
    schedule = values.pop("noise_schedule", None)
    return {**values, "scheduler": schedule}


def _read_comfyui(texts: Texts) -> Values:
    return read_graph(json.loads(texts["prompt"])) or {}


def _collect_values(found: PromptInfo) -> Values:
    """The first sampler's parameters and what else the program noted."""
    sampler = found.samplers[0]
    model = sampler.model
    return {
        **{str(name).lower(): value for name, value in {**found.metadata, **sampler.parameters}.items()},
        "sampler": sampler.name,
        "prompt": ", ".join(one.value for one in sampler.prompts),
        "negativeprompt": ", ".join(one.value for one in sampler.negative_prompts),
        **({"model": model.name} if model is not None and model.name else {}),
        **({"model_hash": model.hash} if model is not None and model.hash else {}),
    }


def _parse_parameters(texts: Texts) -> Values:
    return parse_json_object(texts.get("parameters", "")) or {}


def _read_draw_things(texts: Texts) -> Values:
    """The short names are those of the first version; `v2` repeats them and adds what came later."""
    found = _parse_draw_things(texts)
    more = cast("Values", found.pop("v2", None) or {})
    found.pop("profile", None)
    width, height = (int(side) for side in str(found.pop("size", "")).lower().split("x"))
    loras: Any = found.pop("lora", None) or []
    values = {
        "prompt": found.pop("c", ""),
        "negativeprompt": found.pop("uc", ""),
        "width": width,
        "height": height,
        "loras": [(_shorten_draw_things(one.get("model")), one.get("weight", 1)) for one in loras],
        **found,
        "model": _shorten_draw_things(found.get("model")),
    }
    if found.get("strength") in (1, 1.0):
        del values["strength"]
    else:
        values["denoise"] = values.pop("strength", None)
    if found.get("scale") in (1, 1.0) and more.get("guidanceEmbed"):
        values["scale"] = more["guidanceEmbed"]
    if isinstance(more.get("clipSkip"), int) and more["clipSkip"] > 1:
        values["clip_skip"] = more["clipSkip"]
    size = {
        f"{kind}Image{side.title()}": values[side]
        for kind in ("target", "original", "negativeOriginal")
        for side in ("width", "height")
    }
    plain = {**_DRAW_THINGS_DEFAULTS, **size}
    return {**values, **{name: value for name, value in more.items() if _counts_in_draw_things(name, more, plain)}}


def _counts_in_draw_things(name: str, more: Values, plain: Values) -> bool:
    """Whether a setting of the second list says something that would change the image."""
    switch = next((switch for start, switch in _DRAW_THINGS_SWITCHES.items() if name.startswith(start)), name)
    told = name in _DRAW_THINGS_REPEATED or more[name] == plain.get(name)
    return bool(more[name]) and bool(more.get(switch)) and not told


def _shorten_draw_things(name: Any) -> str:
    """A file's name without the marks of its number format, which Draw Things appends when it converts a model."""
    text = shorten_model_name(str(name or ""))
    return re.sub(r"(_lora)?_(f16|q8p|q6p|q5p|f32)$", "", text)


def _parse_draw_things(texts: Texts) -> Values:
    for name in (XMP_COMMENT, "parameters"):
        found = parse_json_object(texts.get(name, ""))
        if found is not None and "c" in found and "sampler" in found:
            return found
    return {}


def _read_easy_diffusion(texts: Texts) -> Values:
    """Its names as they are in the API, or as words; in a PNG each is a chunk, elsewhere they are one JSON object."""
    whole: Mapping[str, Any] = _parse_parameters(texts) or texts
    found = {_EASY_WORDS.get(name, name): value for name, value in whole.items()}
    found = {name: value for name, value in found.items() if _is_easy_name(name) and str(value) not in ("", "None")}
    models, weights = found.pop("use_lora_model", None), found.pop("lora_alpha", 1)
    skip = str(found.pop("clip_skip", "")).lower()
    values: Values = {ours: found.pop(theirs) for ours, theirs in _EASY_FIELDS.items() if theirs in found}
    values |= {side: int(values[side]) for side in ("width", "height") if side in values}
    values["loras"] = list(zip(_read_list(models), _read_list(weights), strict=False))
    if skip in ("true", "2"):
        values["clip_skip"] = 2
    return {**values, **{name: value for name, value in found.items() if str(value).lower() not in ("false", "0")}}


def _is_easy_name(name: str) -> bool:
    """Whether it is one of the program's, known or not: a PNG has chunks of others beside them."""
    return name in _EASY_NAMES or (bool(re.fullmatch(r"[a-z]+(?:_[a-z0-9]+)+", name)) and name not in _EASY_SILENT)


def _read_list(value: Any) -> list[Any]:
    """One value or several, also as a list that was written as text."""
    if isinstance(value, str) and value.startswith("["):
        value = [one.strip(" '\"") for one in value.strip("[]").split(",")]
    return cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]


_PROGRAMS: tuple[tuple[str, Callable[[Texts], bool], Callable[[Texts], Values]], ...] = (
    ("SwarmUI", lambda texts: isinstance(_parse_parameters(texts).get("sui_image_params"), dict), _read_swarmui),
    ("Draw Things", lambda texts: bool(_parse_draw_things(texts)), _read_draw_things),
    (
        "Easy Diffusion",
        lambda texts: any(name in texts or name in _parse_parameters(texts) for name in _EASY_MARKS),
        _read_easy_diffusion,
    ),
    ("Fooocus", lambda texts: "base_model" in _parse_parameters(texts), _read_fooocus),
    (
        "InvokeAI",
        lambda texts: any(name in texts for name in ("invokeai_metadata", "sd-metadata", "Dream")),
        _read_invokeai,
    ),
    ("NovelAI", lambda texts: texts.get("Software") == "NovelAI" and "Comment" in texts, _read_novelai),
    ("ComfyUI", lambda texts: "class_type" in texts.get("prompt", ""), _read_comfyui),
)
