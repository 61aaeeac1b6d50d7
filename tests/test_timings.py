"""How long images took, by what they are like."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FAKE_MODEL

from studio.core.request import GenerationRequest
from studio.engine.models.timings import Timings
from studio.library.database import Database


@pytest.fixture
def timings(tmp_path: Path) -> Timings:
    return Timings(Database(tmp_path / "library.db"))


def test_an_image_of_three_things_says_what_one_takes(timings: Timings) -> None:
    request = GenerationRequest(prompt="a cat and two red apples", model=FAKE_MODEL.id, steps=20, compose=True)
    timings.record_timing(request, FAKE_MODEL, seconds=6.0, steps=60)
    assert timings.estimate_seconds(request, FAKE_MODEL) == pytest.approx(2.0)
    assert timings.estimate_seconds(request.replace(compose=False, prompt="a cat"), FAKE_MODEL) == pytest.approx(2.0)


def test_an_image_of_one_thing_counts_whole(timings: Timings) -> None:
    request = GenerationRequest(prompt="a cat", model=FAKE_MODEL.id, steps=20)
    for compose, steps in ((False, 60), (True, 20)):
        timings.record_timing(request.replace(compose=compose), FAKE_MODEL, seconds=6.0, steps=steps)
    assert timings.estimate_seconds(request, FAKE_MODEL) == pytest.approx(6.0)
