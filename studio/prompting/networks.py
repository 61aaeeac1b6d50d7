"""LoRAs in prompts: taken out of the text before it is encoded, because the text encoder must not read them."""

from __future__ import annotations

import re

from studio.core.lora_tags import split_tags
from studio.core.request import GenerationRequest, LoraUse

_OTHER_TAG = re.compile(r"<\w+:[^>]+>")  # what A1111 takes for a network, known or not


def extract_loras(prompt: str) -> tuple[str, tuple[LoraUse, ...]]:
    """`prompt` without its `<lora:name:weight>` tags, and what they said, in their order.

    Of a name that is written twice the last weight counts. Other text, `<` and `>` included, stays as it is.
    `remove_other_tags` takes out what looks like a tag besides.

    Raises:
        InvalidRequest: a weight that is not a number.
    """
    text, uses = split_tags(prompt)
    return text, tuple({use.name: use for use in uses}.values())


def remove_other_tags(prompt: str) -> tuple[str, tuple[str, ...]]:
    """`prompt`, its LoRA tags taken out, without any other `<word:…>`, and these, each once."""
    found = tuple(dict.fromkeys(_OTHER_TAG.findall(prompt)))
    return (_OTHER_TAG.sub("", prompt), found) if found else (prompt, ())


def remove_tags(prompt: str) -> str:
    """`prompt` without tags of any kind."""
    return remove_other_tags(split_tags(prompt)[0])[0]


def move_tags_to_loras(request: GenerationRequest) -> GenerationRequest:
    """`request` with the tags of its prompt moved into `loras`; a tag wins over a chosen LoRA of the same name.

    Raises:
        InvalidRequest: a weight that is no number or out of range.
    """
    text, uses = extract_loras(request.prompt)
    if not uses:
        return request
    chosen = {use.name: use for use in (*request.loras, *uses)}
    return request.replace(prompt=text, loras=tuple(chosen.values()))
