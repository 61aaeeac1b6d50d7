"""Generated prompts against AUTOMATIC1111's own parser, recorded by tools/record_a1111_prompts.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.prompting.grammar import schedule_prompt

RECORDED = json.loads((Path(__file__).parent / "data" / "a1111_prompts.json").read_text(encoding="utf-8"))
Parts = list[list[tuple[str, float]]]


def divide(segments: list[list[Any]]) -> Parts:
    """Segments as recorded, divided at BREAK; those without text count for nothing."""
    parts: Parts = [[]]
    for text, weight in segments:
        if [text, weight] == ["BREAK", -1]:
            parts.append([])
        elif text:
            parts[-1].append((text, weight))
    return parts


def read_recorded(row: dict[str, Any]) -> list[Any]:
    """At the end of each stage the weight and parts of every condition."""
    ends = sorted({end for _, stages in row["conditions"] for end, _ in stages})
    return [
        (
            end,
            [
                (weight, next(divide(one) for until, one in stages if end <= until))
                for weight, stages in row["conditions"]
            ],
        )
        for end in ends
    ]


def parse(row: dict[str, Any]) -> list[Any]:
    stages = schedule_prompt(
        row["prompt"], row["steps"], first_pass=row.get("first_pass"), conjunction=not row.get("negative")
    )
    return [
        (
            stage.end,
            [
                (condition.weight, [[(segment.text, segment.weight) for segment in part] for part in condition.parts])
                for condition in stage.conditions
            ],
        )
        for stage in stages
    ]


def flatten(stages: list[Any]) -> tuple[list[Any], list[float]]:
    """All that must be the same to the letter, and all weights."""
    shape = [(end, [[[text for text, _ in part] for part in parts] for _, parts in found]) for end, found in stages]
    weights = [
        weight for _, found in stages for one, parts in found for weight in (one, *(w for p in parts for _, w in p))
    ]
    return shape, weights


def test_a_thousand_prompts_mean_what_they_mean_in_automatic1111() -> None:
    rows = RECORDED["rows"]
    assert len(rows) == 1000
    assert sum("AND" in row["prompt"] for row in rows) > 50
    assert sum(len(row["conditions"][0][1]) > 1 for row in rows) > 300
    other = []
    for row in rows:
        (ours, our_weights), (theirs, their_weights) = flatten(parse(row)), flatten(read_recorded(row))
        if ours != theirs or our_weights != pytest.approx(their_weights, abs=1e-9):
            other.append(row["prompt"])
    assert other == []
