"""LoRAs as words of a prompt: `<lora:name:weight>`, the way AUTOMATIC1111's users write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from studio.core.block_weights import is_block_weights
from studio.core.errors import InvalidRequest
from studio.core.number_format import format_number
from studio.core.request import LoraUse

_TAG = re.compile(r"<(?:lora|lyco):([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)


def write_tag(use: LoraUse) -> str:
    """The tag that stands for `use`."""
    weight = format_number(use.weight)
    if use.encoder_weight is not None:
        weight = f"{format_number(use.encoder_weight)}:{weight}"
    blocks = f":lbw={use.blocks.replace(':', '=')}" if use.blocks else ""  # a colon ends a part of the tag
    return f"<lora:{use.name}:{weight}{blocks}>"


def append_tags(text: str, uses: Iterable[LoraUse]) -> str:
    """`text` with the tags of `uses` behind it, but for those whose names it has a tag of."""
    present = {use.name for use in split_tags(text)[1]}
    tags = [write_tag(use) for use in uses if use.name not in present]
    return " ".join([text.strip(), *tags]).strip()


def split_tags(text: str) -> tuple[str, tuple[LoraUse, ...]]:
    """`text` without its LoRA tags, and what the tags said, in their order.

    `<lora:name>` has weight 1; `<lora:name:encoder:unet>` has two.

    Raises:
        InvalidRequest: a weight that is not a number.
    """
    uses: list[LoraUse] = []

    def take(match: re.Match[str]) -> str:
        uses.append(_parse_tag(match))
        return ""

    return _TAG.sub(take, text), tuple(uses)


def list_tag_names(text: str) -> tuple[str, ...]:
    """The names of the LoRAs that the tags of `text` use, in their order, each once; weights are not looked at."""
    return tuple(dict.fromkeys(found[1].strip() for found in _TAG.finditer(text)))


def change_tags(text: str, change: Callable[[LoraUse], LoraUse]) -> str:
    """`text` with every tag written anew from `change` of what it said.

    Raises:
        InvalidRequest: as `split_tags`.
    """
    return _TAG.sub(lambda match: write_tag(change(_parse_tag(match))), text)


def rename_tags(text: str, name: str, other: str) -> str:
    """`text` in which the tags of the LoRA `name` name `other` instead, at their weights; with "" they are removed."""

    def rename(match: re.Match[str]) -> str:
        if match[1].strip() != name:
            return match[0]
        return match[0].replace(match[1], other, 1) if other else ""

    return _TAG.sub(rename, text)


def _parse_tag(match: re.Match[str]) -> LoraUse:
    """The first weight is the text encoders' and the second the denoiser's, by place or as te= and unet=; of one alone
    the other is the same. lbw= has the weights of blocks; names of presets and other words (dyn=) are extensions' and
    left out."""
    parts = [part.strip() for part in match[2].split(":") if part.strip()]
    placed = [part for part in parts if "=" not in part]
    named = {name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in parts)}
    encoder = named.get("te") or (placed[0] if placed else named.get("unet", "1"))
    weight = named.get("unet") or (placed[1] if len(placed) > 1 else encoder)
    numbers = [_parse_weight(text, match) for text in (weight, encoder)]
    blocks = named.get("lbw", "")
    return LoraUse(
        name=match[1].strip(),
        weight=numbers[0],
        encoder_weight=numbers[1] if numbers[1] != numbers[0] else None,
        blocks=blocks if is_block_weights(blocks) else "",
    )


def _parse_weight(text: str, match: re.Match[str]) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidRequest(
            f"The LoRA tag {match[0]} has the weight {text!r}, which is not a number.",
            hint=f"Write it as <lora:{match[1].strip()}:0.8>.",
        ) from error
