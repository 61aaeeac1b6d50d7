"""How long drawing from dynamic prompts takes, in CPU milliseconds, and how soon a language model is stopped."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Row
from studio.core.errors import JobCancelled, LlmTimeout, StudioError
from studio.core.settings import Settings
from studio.prompting.culture.classify import classify_brief
from studio.prompting.dynamic import count_combinations, expand_template, expand_templates, list_combinations
from studio.prompting.wildcards import Wildcards
from studio.providers.common.chat_connection import ChatConnection

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

_ROUNDS = 10
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
        return [*_measure(wildcards), *_measure_chat()]


def _measure_chat() -> list[Row]:
    """The wall time of stopping a language model that says nothing more, and of its end by the clock."""
    stops = [_time_end(stop_after=0.3) * 1000 for _ in range(_ROUNDS)]
    late = [_time_end(seconds=1.0) for _ in range(3)]
    return [
        Row("Stop until a streaming call has ended", max(stops), 300, " ms", f"the slowest of {_ROUNDS}"),
        Row("a time budget of 1 s is passed by", max(late), 1, " s", "the slowest of 3"),
    ]


def _time_end(*, stop_after: float | None = None, seconds: float = 60.0) -> float:
    """Seconds from Stop, or from the end of the budget, until the caller has its answer and the server its line
    back."""
    from tests.chat_server import run_chat_server, stall

    stop = threading.Event()
    with run_chat_server(stall("a")) as server:
        settings = Settings(chat_url=server.url, chat_seconds=seconds)
        stream = ChatConnection(lambda: settings, lambda: "").stream([], schema=None, is_cancelled=stop.is_set)
        begin = time.perf_counter() + (seconds if stop_after is None else 0.0)
        if stop_after is not None:
            next(piece for piece in stream if piece)

            def press() -> None:
                nonlocal begin
                begin = time.perf_counter()
                stop.set()

            threading.Timer(stop_after, press).start()
        try:
            for _ in stream:
                pass
        except (JobCancelled, LlmTimeout):
            server.ended.wait(10)
        return time.perf_counter() - begin


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
