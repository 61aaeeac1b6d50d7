"""LoRAs as words of a prompt: `<lora:name:weight>`, the way AUTOMATIC1111's users write them."""

from __future__ import annotations

import re
from collections.abc import Callable

from studio.core.errors import InvalidRequest
from studio.core.number_format import format_number
from studio.core.request import LoraUse

_TAG = re.compile(r"<(?:lora|lyco):([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)


def write_tag(use: LoraUse) -> str:
    """The tag that stands for `use`."""
    return f"<lora:{use.name}:{format_number(use.weight)}>"


def split_tags(text: str) -> tuple[str, tuple[LoraUse, ...]]:
    """`text` without its LoRA tags, and what the tags said, in their order.

    `<lora:name>` has weight 1; of `<lora:name:encoder:unet>` the first weight counts for both.

    Raises:
        InvalidRequest: a weight that is no number.
    """
    uses: list[LoraUse] = []

    def take(match: re.Match[str]) -> str:
        uses.append(_parse_tag(match))
        return ""

    return _TAG.sub(take, text), tuple(uses)


def change_tags(text: str, change: Callable[[LoraUse], LoraUse]) -> str:
    """`text` with every tag written anew from `change` of what it said.

    Raises:
        InvalidRequest: as `split_tags`.
    """
    return _TAG.sub(lambda match: write_tag(change(_parse_tag(match))), text)


def _parse_tag(match: re.Match[str]) -> LoraUse:
    weights = [part.strip() for part in match[2].split(":") if part.strip()]
    first = weights[0].partition("=")[2] or weights[0] if weights else "1"
    try:
        return LoraUse(name=match[1].strip(), weight=float(first))
    except ValueError as error:
        raise InvalidRequest(
            f"The LoRA tag {match[0]} has the weight {first!r}, which is no number.",
            hint=f"Write it as <lora:{match[1].strip()}:0.8>.",
        ) from error
