"""Enlarged images that a checkpoint draws anew, tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest, JobCancelled
from studio.core.finish import Upscale
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.catalog import bundled_upscaler
from studio.pipelines.upscale import creative_upscale
from studio.pipelines.upscale.tiling import TileGrid
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_seeds
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("creative")
    bundled_upscaler.unpack_upscalers(root)
    make_tiny_sd15(root / "tiny")
    return root


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.coffee()).crop((200, 100, 300, 160)).resize((50, 30), Image.Resampling.LANCZOS)


class Bench:
    def __init__(self, folder: Path, image: Image.Image) -> None:
        path = folder / "upscalers" / "realesr-animevideov3.safetensors"
        file = WeightFile(name="fast", kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size)
        self.backend, settings = make_local_pipelines(folder, FolderCatalog({"tiny": folder / "tiny"}, (file,)))
        self.ctx = RecordingContext(settings, images={"it": image})

    def up(self, *numbers: int, steps: int = 4, model: str = "tiny", **wish: Any) -> list[Image.Image]:
        values = {"scale": 3, "base": "Lanczos", "creativity": 0.5, **wish}
        request = GenerationRequest(
            task=Task.UPSCALE, model=model, source="it", prompt="a cup", steps=steps, upscale=Upscale(**values)
        )
        next(one for one in self.backend.models() if one.id == "tiny").check(request.replace(model="tiny"))
        return [one.image for one in self.backend.render(request, make_seeds(*(numbers or (1,))), self.ctx)]


def pixels(image: Image.Image) -> Any:
    return np.asarray(image, dtype=int)


def test_every_tile_is_drawn_and_the_progress_counts_them(folder: Path, photo: Image.Image) -> None:
    bench = Bench(folder, photo)
    [made] = bench.up()
    assert (made.mode, made.size) == ("RGB", (150, 90))
    total = 2 * len(TileGrid.cover(150, 90, 64, 16, 8))  # half of four steps, for every tile
    assert bench.ctx.steps[-1] == (total, total)
    assert [step for step, _ in bench.ctx.steps] == sorted(step for step, _ in bench.ctx.steps)
    assert made.tobytes() == Bench(folder, photo).up()[0].tobytes()
    assert made.tobytes() != Bench(folder, photo).up(2)[0].tobytes()


def test_shapes_and_colours_stay_the_sources(folder: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained checkpoint drifts far; held to the source's colours it does so much less."""
    base = photo.resize((150, 90), Image.Resampling.LANCZOS)

    def drift() -> float:
        [made] = Bench(folder, photo).up()
        assert made.tobytes() != base.tobytes()
        cells = [pixels(image.resize((5, 3), Image.Resampling.BOX)) for image in (made, base)]
        return float(np.abs(cells[0] - cells[1]).mean())

    held = drift()
    monkeypatch.setattr(creative_upscale, "match_tones", lambda drawn, source: drawn)
    assert held < 0.5 * drift()


def test_no_seam_is_left(folder: Path, photo: Image.Image) -> None:
    """Along the columns where tiles begin and end, the image steps no more than it does elsewhere."""
    [made] = Bench(folder, photo).up()
    steps = np.abs(np.diff(pixels(made), axis=1)).mean(axis=(0, 2))
    grid = TileGrid.cover(150, 90, 64, 16, 8)
    borders = [side for span in grid.columns for side in (span.start, span.stop) if 2 < side < 148]
    at_borders = max(steps[side - 2 : side + 2].max() for side in borders)
    assert at_borders <= 1.5 * np.sort(steps)[-15]


def test_without_creativity_it_is_the_enlarged_source(folder: Path, photo: Image.Image) -> None:
    bench = Bench(folder, photo)
    [made] = bench.up(creativity=0)
    assert made.tobytes() == photo.resize((150, 90), Image.Resampling.LANCZOS).tobytes()
    bench = Bench(folder, photo)
    [made] = bench.up(creativity=0, scale=4, base="fast")
    assert made.size == (200, 120)
    assert "Upscaling with fast: tile 1 of 1" in bench.ctx.loaded


def test_each_seed_alpha_and_another_base(folder: Path, photo: Image.Image) -> None:
    cut = photo.copy()
    cut.putalpha(Image.linear_gradient("L").resize(photo.size))
    bench = Bench(folder, cut)
    first, second = bench.up(3, 4, scale=2, base="fast")
    assert first.mode == "RGBA"
    assert first.getchannel("A").tobytes() == second.getchannel("A").tobytes()
    assert first.tobytes() != second.tobytes()
    assert second.tobytes() == Bench(folder, cut).up(4, scale=2, base="fast")[0].tobytes()


def test_what_cannot_be_is_refused_before_anything_is_loaded(folder: Path, photo: Image.Image) -> None:
    bench = Bench(folder, photo)
    with pytest.raises(InvalidRequest, match="16384"):
        Bench(folder, photo.resize((2000, 1200))).up(scale=16)
    assert bench.ctx.loaded == []
    with pytest.raises(InvalidRequest, match="nothing"):
        bench.up(base="nothing")


def test_stopping_is_heard_within_a_tile(folder: Path, photo: Image.Image) -> None:
    bench = Bench(folder, photo)

    def stop(done: int) -> None:
        if done == 3:
            raise JobCancelled("Stopped.")

    bench.ctx.at_step = stop
    with pytest.raises(JobCancelled):
        bench.up()
    bench.ctx.at_step = lambda done: None
    assert bench.up()[0].tobytes() == Bench(folder, photo).up()[0].tobytes()
