"""Reading the answer of a language model: tolerant of what stands around the JSON, strict about what is taken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from studio.core.prompts import ParsedPrompt
from studio.core.text_checks import clean_texts

MAX_PROMPTS = 8
MAX_PROMPT_CHARS = 2_000
_MAX_NAME_CHARS = 80
_MAX_CHARS = 200_000  # of an answer that are looked at
_MAX_TRIES = 400  # braces at which an object may begin
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|$)", re.DOTALL | re.IGNORECASE)
_UNOPENED_THOUGHT = re.compile(r"^.*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[a-zA-Z]*\n?")
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_PROMPT_KEYS = ("prompt", "positivePrompt", "positive_prompt", "positive", "text")
_NEGATIVE_KEYS = ("negativePrompt", "negative_prompt", "negative")
_NAME_KEYS = ("name", "title")


def strip_thoughts(text: str) -> str:
    """`text` without what a model thought aloud: <think> blocks, also unclosed ones and ones that were never opened."""
    return _UNOPENED_THOUGHT.sub("", _THOUGHT.sub("", text[:_MAX_CHARS])).strip()


def read_prompts(text: str) -> tuple[tuple[ParsedPrompt, ...], Mapping[str, Any]]:
    """(the prompts of an answer, at most MAX_PROMPTS; the object `config` of it, unchecked). Prompts that are complete
    in an answer that was cut off count; an answer without any gives none."""
    found: list[ParsedPrompt] = []
    config: Mapping[str, Any] = {}
    for data in _iterate_objects(strip_thoughts(text)):
        listed: Any = data.get("prompts")
        entries = cast("list[Any]", listed) if isinstance(listed, list) else [data]
        found += [prompt for entry in entries if (prompt := _read_prompt(entry, len(found) + 1)) is not None]
        if isinstance(data.get("config"), dict):
            config = cast("dict[str, Any]", data["config"])
        if isinstance(listed, list) and found:
            break  # the first whole answer holds; what follows is a repetition
    unique = {prompt.prompt: prompt for prompt in found}
    return tuple(unique.values())[:MAX_PROMPTS], config


def read_rewrite(text: str) -> str:
    """The one prompt of an answer: that of its JSON, else its text; "" where there is none."""
    prompts, _ = read_prompts(text)
    if prompts:
        return prompts[0].prompt
    plain = _FENCE.sub("", strip_thoughts(text)).strip().strip('"“”').strip()
    return "" if plain.startswith(("{", "<")) else _clean(plain, MAX_PROMPT_CHARS)


def _iterate_objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in `text`, outermost first; what cannot be read is passed over."""
    cleaned = _TRAILING_COMMA.sub("", _FENCE.sub("", text))
    decoder = json.JSONDecoder(strict=False)
    at, tries = 0, 0
    while (start := cleaned.find("{", at)) >= 0 and tries < _MAX_TRIES:
        tries += 1
        try:
            data, at = decoder.raw_decode(cleaned, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        if isinstance(data, dict):
            yield cast("dict[str, Any]", data)


def _read_prompt(data: Any, number: int) -> ParsedPrompt | None:
    if isinstance(data, str):
        data = {"prompt": data}
    if not isinstance(data, dict):
        return None
    fields = cast("dict[str, Any]", data)
    prompt = _read_text(fields, _PROMPT_KEYS, MAX_PROMPT_CHARS)
    if not prompt:
        return None
    name = _read_text(fields, _NAME_KEYS, _MAX_NAME_CHARS) or f"Prompt {number}"
    return ParsedPrompt(name=name, prompt=prompt, negative_prompt=_read_text(fields, _NEGATIVE_KEYS, MAX_PROMPT_CHARS))


def _read_text(fields: Mapping[str, Any], keys: tuple[str, ...], most: int) -> str:
    """The first text under one of `keys`; a list is joined by commas."""
    for key in keys:
        value = fields.get(key)
        if isinstance(value, list):
            value = ", ".join(str(item) for item in cast("list[Any]", value) if isinstance(item, str | int | float))
        if isinstance(value, str) and value.strip():
            return _clean(value, most)
    return ""


def _clean(text: str, most: int) -> str:
    return " ".join(str(clean_texts(text)).split())[:most].strip()
