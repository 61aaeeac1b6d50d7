"""What every handler of the page does alike: errors become toasts, and an empty answer changes nothing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from page_studio import build_real_page

from studio.core.errors import InvalidRequest
from studio.tabs.common.events import Updates, show_errors


def test_an_empty_answer_changes_nothing_instead_of_one_value() -> None:
    @show_errors
    def nothing() -> Updates:
        return {}

    @show_errors
    def sometimes() -> Iterator[Updates]:
        yield {}
        yield {"a": 1}

    assert nothing() == gr.skip()
    assert list(sometimes()) == [gr.skip(), {"a": 1}]


def test_a_generator_that_fails_on_its_way_shows_why() -> None:
    @show_errors
    def fails() -> Iterator[Updates]:
        yield {"a": 1}
        raise InvalidRequest("It broke.", hint="Mend it.")

    running = fails()
    assert next(running) == {"a": 1}
    with pytest.raises(gr.Error, match=r"It broke\. Mend it\."):
        next(running)


def test_a_generator_that_is_left_ends_at_once() -> None:
    ended: list[bool] = []

    @show_errors
    def endless() -> Iterator[Updates]:
        try:
            while True:
                yield {"a": 1}
        finally:
            ended.append(True)

    running: Any = endless()
    next(running)
    running.close()
    assert ended == [True]


def test_every_handler_of_the_page_shows_its_errors_and_may_answer_nothing(tmp_path: Path) -> None:
    blocks = build_real_page(tmp_path)
    handlers = {event.fn for event in blocks.fns.values() if event.fn is not None}
    own = [fn for fn in handlers if fn.__module__.startswith("studio.") and fn.__name__ != "<lambda>"]
    assert len(own) > 40
    bare = {
        f"{fn.__module__}.{fn.__qualname__}" for fn in own if getattr(inspect.unwrap(fn), "__code__", 0) is fn.__code__
    }
    assert bare == set()
