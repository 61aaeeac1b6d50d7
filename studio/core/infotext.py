"""A request as AUTOMATIC1111's infotext and back: the text that its images carry and that people pass around.

The grammar is the one of its `infotext_utils`: the prompt, a line "Negative prompt: …", then one line of "Key: value"
pairs divided by commas, a value being quoted as JSON when it holds a comma, a colon or a line break.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any

from studio.core.detailer_infotext import build_detailer_pairs, split_detailer_pairs
from studio.core.foreign_infotexts import name_noise_source
from studio.core.guidance_infotext import build_guidance_pairs
from studio.core.infotext_keys import build_pairs, parse_pairs
from studio.core.model import Feature, Model
from studio.core.model_ids import RESTORER_PREFIX, UPSCALER_PREFIX
from studio.core.number_format import format_number
from studio.core.region_infotext import build_region_pairs, read_regions, write_region_prompts
from studio.core.request import GenerationRequest
from studio.core.request_choices import NoiseSource
from studio.core.task import Task

_NEGATIVE = "Negative prompt:"
_PAIR = re.compile(
    r'\s{0,9}(\w[\w \-/+.]{0,60}?):\s*("(?:\\.|[^\\"])*"|\{[^{}]*\}|\[[^\[\]]*\]|[^,]*)(?:,|$)'
)  # bounded: a hostile text must not take hours
_MAX_CHARS = 200_000  # characters that are read
_MODEL_HASH = re.compile(r"[0-9a-fA-F]{8,64}")
_PAIRS_BEHIND = re.compile(r"(.*?\S)[,.]?\s+(Steps: \d+, *\w[\w \-/]*: .*)$")
"""A prompt and the pairs in one line."""
_FIRST_KEYS = re.compile(r"^\s*(?:Steps|Sampler|CFG scale|Seed|Size): [^,]*, *\w[\w \-/]*: ")


@dataclass(frozen=True)
class ParsedInfotext:
    """The settings in an infotext. `unknown` are the pairs that no field of the request stands for, hashes and versions
    among them."""

    request: GenerationRequest
    unknown: dict[str, str]

    @property
    def model_hash(self) -> str:
        """The beginning of the SHA-256 of the checkpoint's file, "" where the text does not tell it."""
        text = self.unknown.get("Model hash", "")
        if not text:
            with contextlib.suppress(ValueError, AttributeError, RecursionError):
                text = str(json.loads(self.unknown.get("Hashes", "{}")).get("model", ""))
        return text.lower() if _MODEL_HASH.fullmatch(text) else ""


def format_infotext(  # noqa: PLR0913 - the outside's facts of one image
    request: GenerationRequest,
    *,
    model: Model,
    width: int,
    height: int,
    seed: int,
    model_hash: str = "",
    version: str = "",
) -> str:
    """The infotext of one image that `request` made.

    `width` and `height` in px are those of the first pass, `seed` is the image's own. LoRAs are written as tags behind
    the prompt, of regions behind each. What the model chose by itself (`None` in the request) is written with the
    model's default; what the model does not have is left out.
    """
    lines = [write_region_prompts(request)]
    if request.negative_prompt.strip():
        lines.append(f"{_NEGATIVE} {request.negative_prompt.strip()}")
    made = request.replace(width=width, height=height, seed=seed, model=model.id)
    pairs = build_pairs(made, model) | (build_pairs(request.hires) if request.hires is not None else {})
    own_noise = NoiseSource.CPU if model.is_own and Feature.SAMPLER in model.features else ""
    source = pairs.pop("RNG", "") or own_noise  # always named: without it AUTOMATIC1111 takes its GPU's
    written = [*pairs.items(), ("RNG", source), *build_detailer_pairs(request.detailers)]
    written += [*build_guidance_pairs(request), *build_region_pairs(request), ("Version", version)]
    written.insert(list(pairs).index("Model"), ("Model hash", model_hash))
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in written if value))
    return "\n".join(lines).strip()


def append_step_pairs(infotext: str, request: GenerationRequest) -> str:
    """`infotext` and what was done to the image after it was drawn, as AUTOMATIC1111's Extras write it where they have
    a key for it. Nothing is taken away; an image of unknown making stays without one."""
    if not infotext:
        return ""
    pairs = [pair for step in (request, *request.then) for pair in _build_step_pairs(step)]
    text = ", ".join(f"{key}: {_quote(value)}" for key, value in pairs)
    return ", ".join(part for part in (infotext, text) if part)


def _build_step_pairs(step: GenerationRequest) -> list[tuple[str, str]]:
    if step.task is Task.UPSCALE and step.upscale is not None:
        scale = step.upscale.scale
        return [
            *([("Postprocess upscale by", format_number(scale))] if scale else []),
            ("Postprocess upscaler", step.model.removeprefix(UPSCALER_PREFIX)),
        ]
    if step.task is Task.RESTORE_FACES and step.faces is not None:
        return [
            ("Face restoration", f"{step.model.removeprefix(RESTORER_PREFIX)}, {format_number(step.faces.visibility)}")
        ]
    if step.task in (Task.REMOVE_BACKGROUND, Task.FINISH, Task.SOCIAL):
        return [("Postprocess", step.task.value.replace("_", " "))]
    return []


def parse_infotext(text: str, kind: type[GenerationRequest] = GenerationRequest) -> ParsedInfotext:
    """The request, of `kind`, that an infotext of AUTOMATIC1111, Forge or this studio describes.

    Never fails: a pair that is unknown, malformed or out of range ends up in `unknown`. LoRA tags stay in the prompt,
    where they mean the same. A text without any pairs is taken as a prompt.
    """
    prompt, negative, pairs, repeated = split_infotext(text)
    detailers, pairs = split_detailer_pairs(pairs)
    prompt, regions, pairs = read_regions(prompt, pairs)
    request, unknown = parse_pairs(prompt, negative, name_noise_source(pairs), kind)
    found: dict[str, Any] = {"detailers": detailers} if detailers else {}
    return ParsedInfotext(request.replace(**found, **regions), unknown | repeated)


def split_infotext(text: str) -> tuple[str, str, dict[str, str], dict[str, str]]:
    """(prompt, negative prompt, pairs, pairs whose key was there before) of an infotext, as they stand there."""
    body, line = _split_infotext(text[:_MAX_CHARS].replace("\r\n", "\n").replace("\r", "\n").strip("\n"))
    prompt, negative = _split_prompts(body)
    pairs: dict[str, str] = {}
    repeated: dict[str, str] = {}
    for match in _PAIR.finditer(line):
        key, value = match[1].strip(), _unquote(match[2].strip())
        if pairs.setdefault(key, value) != value:  # the first holds: what other tools append stands behind it
            repeated[f"{key} (again)"] = value
    return prompt, negative, pairs, repeated


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]|^\s|\s$', value) else value


def _unquote(value: str) -> str:
    if len(value) < 2 or not (value[0] == value[-1] == '"'):
        return value
    try:
        return str(json.loads(value, strict=False))
    except ValueError:
        return value[1:-1]


def _split_infotext(text: str) -> tuple[list[str], str]:
    """The lines of prompts, and the line of pairs; whatever other tools append below that line belongs to the pairs."""
    lines = text.split("\n")
    for index in range(len(lines) - 1, -1, -1):
        if _FIRST_KEYS.match(lines[index]):
            return lines[:index], ", ".join(line.strip().rstrip(",") for line in lines[index:] if line.strip())
    behind = _PAIRS_BEHIND.match(lines[-1])
    if behind is not None:
        prompt, mark, negative = behind[1].partition(_NEGATIVE)
        return [*lines[:-1], prompt, *([mark + negative] if mark else [])], behind[2]
    if len(_PAIR.findall(lines[-1])) >= 3 and not lines[-1].startswith(_NEGATIVE):
        return lines[:-1], lines[-1]
    return lines, ""


def _split_prompts(lines: list[str]) -> tuple[str, str]:
    for index, line in enumerate(lines):
        if line.lstrip().startswith(_NEGATIVE):
            below = [line.lstrip()[len(_NEGATIVE) :], *lines[index + 1 :]]
            return "\n".join(lines[:index]).strip(), "\n".join(below).strip()
    return "\n".join(lines).strip(), ""
