"""How long drawing from dynamic prompts takes, in CPU milliseconds."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Row
from studio.core.errors import StudioError
from studio.prompting.culture.classify import classify_brief
from studio.prompting.dynamic import count_combinations, expand_template, expand_templates, list_combinations
from studio.prompting.wildcards import Wildcards

_ALPHABET = [
    "{",
    "}",
    "|",
    "__",
    "$",
    "::",
    "$$",
    "[",
    "]",
    "\\",
    "<lora:",
    "a",
    "b c",
    ", ",
    "2",
    "1-3$$",
    "${v=",
    "é",
]
_BRIEF = ("A family has tea in a garden in Kyoto, Japan, while it rains. " * 40)[:2000]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        wildcards = Wildcards(Path(folder))
        for number in range(10):
            wildcards.save(f"list{number}", "\n".join(f"word {number} {line}" for line in range(1000)))
        return _measure(wildcards)


def _measure(wildcards: Wildcards) -> list[Row]:
    lists = wildcards.open()
    template = ", ".join(f"__list{number}__" for number in range(10))
    large = " ".join(["{" + "|".join("abcdefghijklmnopqrst") + "}"] * 12)
    return [
        Row(
            "draw 1,000 prompts of 10 wildcards with 1,000 lines",
            _time(lambda: expand_templates(template, range(1000), wildcards.open())),
            300,
            " ms",
        ),
        Row("count their combinations", _time(lambda: count_combinations(template, lists)), 5, " ms"),
        Row("first 10 of 20^12 combinations", _time(lambda: list(list_combinations(large, lists, 10))), 20, " ms"),
        Row("classify a brief, first use", _time(lambda: classify_brief(_BRIEF), rounds=1), 150, " ms"),
        Row("classify a brief of 2,000 characters", _time(lambda: classify_brief(_BRIEF)), 10, " ms"),
        Row("slowest of 60 random texts of 20,000 characters", _time_random_texts(wildcards), 100, " ms"),
    ]


def _time_random_texts(wildcards: Wildcards) -> float:
    draw = random.Random(1)
    lists = wildcards.open()
    slowest = 0.0
    for _ in range(60):
        pieces = draw.sample(_ALPHABET, 6)
        text = "".join(draw.choice(pieces) for _ in range(20_000))[:20_000]

        def expand(text: str = text) -> None:
            try:
                expand_template(text, 1, lists)
            except StudioError:
                return

        slowest = max(slowest, _time(expand, rounds=1))
    return slowest


def _time(work: Callable[[], object], rounds: int = 3) -> float:
    """The fastest of some rounds, in CPU milliseconds."""
    times: list[float] = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) * 1000)
    return min(times)
