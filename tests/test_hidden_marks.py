"""The hidden mark of images that models made, and the way from it back to the library."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import FAKE_MODEL, FakeBackend, open_engine, wait_until_final
from PIL import Image

from studio.core.finish import Finish, Watermark
from studio.core.model import Sizes
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import Asset, RenderedImage
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import hide_text, read_hidden
from studio.library.marks import compute_mark

DRAWN = GenerationRequest(prompt="an apple", model="fake", seed=1)
HALF = GenerationRequest(task=Task.FINISH, finish=Finish(width=256))


class Scenes(FakeBackend):
    """Draws scenes with room for a hidden text; for the prompt "night" black, for "stamp" small ones."""

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        grain = np.random.default_rng(5).integers(60, 200, (512, 512, 3)).astype(np.uint8)
        image = Image.new("RGB", (512, 512)) if request.prompt == "night" else Image.fromarray(grain)
        side = 100 if request.prompt == "stamp" else 512
        return [RenderedImage(image=image.resize((64, 64)).resize((side, side)), seed=seed.seed) for seed in seeds]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    model = dataclasses.replace(FAKE_MODEL, sizes=Sizes(liked=((512, 512),), smallest=8))
    opened = open_engine(
        tmp_path,
        Scenes(model),
        FinishingBackend(Fonts(tmp_path / "fonts")),
        lookups=Lookups(hide_text=hide_text),
        mark="id",
    )
    yield opened
    opened.close(drain=1)


def make(engine: Engine, request: GenerationRequest) -> Asset:
    return wait_until_final(engine.submit(request, LOCAL_USER)).assets[-1]


def read(data: Path | bytes) -> str:
    with Image.open(data if isinstance(data, Path) else io.BytesIO(data)) as image:
        return read_hidden(image.convert("RGB")) or ""


def test_the_mark_leads_from_a_copy_to_the_asset_and_only_its_owner(engine: Engine) -> None:
    asset = make(engine, DRAWN)
    out = io.BytesIO()
    with Image.open(asset.path) as image:
        image.resize((400, 400)).save(out, "JPEG", quality=75)
    mark = read(out.getvalue())
    assert mark == compute_mark(asset.request)
    assert engine.asset_library.find_marked(mark, LOCAL_USER.name) == [asset.id]
    assert engine.asset_library.find_marked(mark, User("bob").name) == []
    assert engine.asset_library.find_marked("0" * 16, LOCAL_USER.name) == []
    assert engine.asset_library.find_marked("' OR 1", LOCAL_USER.name) == []


def test_the_same_request_still_gives_the_same_pixels(engine: Engine) -> None:
    one, other = make(engine, DRAWN), make(engine, DRAWN)
    with Image.open(one.path) as first, Image.open(other.path) as second:
        assert first.tobytes() == second.tobytes()


def test_what_is_made_of_an_image_has_a_mark_of_its_own(engine: Engine) -> None:
    first = make(engine, DRAWN)
    small = make(engine, HALF.replace(source=engine.keep_asset(first.id, LOCAL_USER).hash))
    assert read(small.path) == compute_mark(small.request) != read(first.path)


def test_a_photograph_is_not_marked_and_a_users_own_hidden_text_stays(engine: Engine) -> None:
    photo = Image.fromarray(np.random.default_rng(7).integers(60, 200, (64, 64, 3)).astype(np.uint8)).resize((512, 512))
    assert read(make(engine, HALF.replace(source=engine.keep_image(photo, LOCAL_USER).hash)).path) == ""
    named = HALF.replace(finish=Finish(watermark=Watermark(hidden="studio 7")))
    asset = make(engine, DRAWN.replace(then=(named,)))
    assert read(asset.path) == "studio 7"
    again = make(engine, HALF.replace(source=engine.keep_asset(asset.id, LOCAL_USER).hash))
    assert read(again.path) == "studio 7"


def test_a_black_image_is_marked_or_says_why_not(engine: Engine) -> None:
    asset = make(engine, DRAWN.replace(prompt="night"))
    assert (read(asset.path) == compute_mark(asset.request)) is not any("No hidden mark" in one for one in asset.notes)


def test_an_image_that_cannot_take_the_mark_is_saved_with_a_notice(engine: Engine) -> None:
    asset = make(engine, DRAWN.replace(prompt="stamp"))
    assert any(note.startswith("No hidden mark: An image of 100×100 is too small") for note in asset.notes)
    assert asset.path.is_file()
