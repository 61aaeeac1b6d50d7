"""Regions of an image with prompts of their own: how a prompt is divided among them, and where they lie."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.region_area import MAX_AREAS
from studio.core.request import GenerationRequest
from studio.core.request_choices import RegionSplit

_BREAK = re.compile(r"\bBREAK\b")
_HINT = 'Write the shares as in "1,1" or, with rows of columns, "1,1,2;2,1,1".'


@dataclass(frozen=True, kw_only=True)
class Region:
    """A prompt and the part of the image that it is for, as fractions of width and height; `weight` is how much it
    counts there. With `mask`, an image's content hash, only its white parts count, or those of its `colour`. `is_rest`
    is a region that counts wherever the others leave something over."""

    prompt: str
    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    weight: float = 1.0
    mask: str = ""
    colour: str = ""
    is_rest: bool = False


def list_regions(request: GenerationRequest) -> tuple[Region, ...]:
    """The regions of `request`: its areas, the first region being what they leave over, or what BREAK divides its
    prompt among; () where it has none.

    With a base the first part is for the whole image and counts by that share, the regions by the rest. With a common
    part, which comes before that, every prompt begins with it.

    Raises:
        InvalidRequest: shares that are none, another number of parts than of regions, or no areas.
    """
    if request.regions is None:
        return ()
    if request.regions is RegionSplit.AREAS:
        return _list_areas(request)
    boxes = _lay_out_boxes(request.region_ratios, request.regions)
    parts = split_parts(request.prompt)
    ahead = (request.region_base > 0) + request.region_common
    if len(parts) != len(boxes) + ahead:
        raise InvalidRequest(
            f"The prompt has {len(parts)} parts for {len(boxes)} regions"
            + (f" and {ahead} before them." if ahead else "."),
            hint="Divide the prompt with BREAK, one part for each region.",
        )
    common = parts.pop(0) if request.region_common else ""
    prompts = [_join_texts(common, part) for part in parts]
    whole = [Region(prompt=prompts.pop(0), weight=request.region_base)] if request.region_base > 0 else []
    regions = [
        Region(prompt=prompt, left=left, top=top, right=right, bottom=bottom, weight=1 - request.region_base)
        for prompt, (left, top, right, bottom) in zip(prompts, boxes, strict=True)
    ]
    return (*whole, *regions)


def split_parts(prompt: str) -> list[str]:
    """The parts that BREAK divides `prompt` into, one at least."""
    return [part.strip() for part in _BREAK.split(prompt)]


def count_parts(prompt: str) -> int:
    """How many parts BREAK divides `prompt` into."""
    return len(_BREAK.findall(prompt)) + 1


def merge_parts(prompt: str, counts: Sequence[int]) -> list[str]:
    """The texts of the first `counts[0]` parts of `prompt`, of the next `counts[1]`, and so on, as they stand there."""
    parts = iter(_BREAK.split(prompt))
    return ["BREAK".join(itertools.islice(parts, count)).strip() for count in counts]


def _list_areas(request: GenerationRequest) -> tuple[Region, ...]:
    """What the areas leave over, for which the prompt is, and the areas. The prompt is the common part."""
    if not request.areas:
        raise InvalidRequest("There are no areas to generate.", hint="Paint some and give each a prompt.")
    common = request.prompt.strip() if request.region_common else ""
    areas = (
        Region(
            prompt=_join_texts(common, area.prompt.strip()),
            left=area.x,
            top=area.y,
            right=min(1.0, area.x + area.width),
            bottom=min(1.0, area.y + area.height),
            weight=area.weight * (1 - request.region_base),
            mask=area.mask or "",
            colour=area.colour,
        )
        for area in request.areas
    )
    return (Region(prompt=request.prompt, is_rest=True), *areas)


def _join_texts(*texts: str) -> str:
    return ", ".join(text for text in texts if text)


def _lay_out_boxes(text: str, split: RegionSplit) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) of each region, in the order of their prompts. Groups divided by semicolons lie across
    the split, and begin with their own share there."""
    groups = [_parse_shares(group) for group in text.split(";")]
    if len(groups) > 1 and any(len(group) < 2 for group in groups):
        raise InvalidRequest(f"“{text}” lacks the shares of some regions.", hint=_HINT)
    across = [group[0] for group in groups] if len(groups) > 1 else [1.0]
    along = [group[1:] for group in groups] if len(groups) > 1 else groups
    boxes: list[tuple[float, float, float, float]] = []
    for (low, high), shares in zip(_find_spans(across), along, strict=True):
        for start, end in _find_spans(shares):
            columns = split is RegionSplit.COLUMNS
            boxes.append((start, low, end, high) if columns else (low, start, high, end))
    if len(boxes) > MAX_AREAS:
        raise InvalidRequest(f"There are {len(boxes)} regions; the limit is {MAX_AREAS}.", hint="Use fewer.")
    return boxes


def _parse_shares(text: str) -> list[float]:
    try:
        shares = [float(share) for share in text.split(",")]
    except ValueError as error:
        raise InvalidRequest(f"“{text}” are no shares of regions.", hint=_HINT) from error
    if not all(0 < share <= 1000 for share in shares):
        raise InvalidRequest(f"“{text}” has shares that are not from 0 to 1000.", hint=_HINT)
    return shares


def _find_spans(shares: list[float]) -> list[tuple[float, float]]:
    ends = list(itertools.accumulate(shares))
    return [(start / ends[-1], end / ends[-1]) for start, end in itertools.pairwise([0.0, *ends])]
