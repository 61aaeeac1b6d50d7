"""Finishing as the engine sees it: sizes, parts in order, derivatives, bad input, and whole jobs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from fakes import open_engine, wait_until_final
from PIL import Image
from providers import FakeContext

from studio.core.errors import InvalidRequest, JobCancelled
from studio.core.events import Status
from studio.core.finish import Box, Derivative, Finish, MetadataPolicy, OutputOptions, TextOverlay, Watermark
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.metadata.embed import read_metadata
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import read_hidden


@pytest.fixture
def fonts(tmp_path: Path) -> Fonts:
    return Fonts(tmp_path / "fonts")


def photo(width: int = 512, height: int = 512) -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut()).resize((width, height))


def finished(
    fonts: Fonts, image: Image.Image, wish: Finish, *more: Image.Image
) -> tuple[list[RenderedImage], FakeContext]:
    context = FakeContext(image, *more)
    request = GenerationRequest(task=Task.FINISH, source="p0", finish=wish)
    return FinishingBackend(fonts).render(request, [ImageSeed(seed=1)], context), context


def one(fonts: Fonts, image: Image.Image, wish: Finish, *more: Image.Image) -> Image.Image:
    [made], _ = finished(fonts, image, wish, *more)
    return made.image


def test_crop_comes_before_resize_and_the_shape_stays_unless_both_sides_are_given(fonts: Fonts) -> None:
    image = photo(400, 200)
    assert one(fonts, image, Finish(width=100)).size == (100, 50)
    assert one(fonts, image, Finish(height=100)).size == (200, 100)
    assert one(fonts, image, Finish(width=90, height=90)).size == (90, 90)
    half = one(fonts, image, Finish(crop=Box(left=0.5)))
    assert half.tobytes() == image.crop((200, 0, 400, 200)).tobytes()
    assert one(fonts, image, Finish(crop=Box(left=0.5), width=50)).size == (50, 50)
    assert one(fonts, image, Finish()).tobytes() == image.tobytes()


def test_derivatives_are_each_their_own_and_never_larger(fonts: Fonts) -> None:
    wish = Finish(
        derivatives=(
            Derivative(width=100, file=OutputOptions(format="webp")),
            Derivative(width=80, height=80, crop=True),
            Derivative(width=5000),
            Derivative(width=5000, height=2500, crop=True),
        )
    )
    made, context = finished(fonts, photo(400, 200), wish)
    assert [each.image.size for each in made] == [(100, 50), (80, 80), (400, 200), (400, 200)]
    assert [each.label for each in made] == ["100x50.webp", "80x80.png", "400x200.png", "400x200.png"]
    assert made[0].file == OutputOptions(format="webp")
    assert [each.request.finish.derivatives for each in made] == [(each,) for each in wish.derivatives]
    assert context.steps[-1] == (4, 4)


@pytest.mark.parametrize("size", [(1, 1), (1000, 50), (3, 900)])
def test_strange_images(fonts: Fonts, size: tuple[int, int]) -> None:
    image = Image.new("RGBA", size, (10, 20, 30, 0))
    wish = Finish(
        text=(TextOverlay(text="Hello", contrast="fix"),),
        watermark=Watermark(text="me"),
        derivatives=(Derivative(width=64, height=64, crop=True), Derivative(width=64)),
    )
    made, _ = finished(fonts, image, wish)
    assert len(made) == 2
    assert made[0].image.mode == "RGBA"
    assert one(fonts, Image.new("L", size), Finish(width=10)).mode == "RGB"


def test_a_derivative_is_enlarged_only_when_it_says_so(fonts: Fonts) -> None:
    wish = Finish(
        derivatives=(Derivative(width=800, enlarge=True), Derivative(width=600, height=600, crop=True, enlarge=True))
    )
    made, _ = finished(fonts, photo(400, 200), wish)
    assert [each.image.size for each in made] == [(800, 400), (600, 600)]


def test_a_covering_crop_takes_the_middle_and_keeps_the_shape(fonts: Fonts) -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    made, _ = finished(fonts, image, Finish(derivatives=(Derivative(width=50, height=50, crop=True),)))
    assert made[0].image.size == (50, 50)
    assert made[0].image.crop((3, 0, 47, 50)).getcolors() == [(2200, (0, 0, 255))]


@pytest.mark.parametrize(
    "wish",
    [
        Finish(width=16_384),
        Finish(width=16_384, height=16_384),
        Finish(derivatives=(Derivative(height=16_384, enlarge=True),)),
        Finish(derivatives=(Derivative(width=16_384, height=16_384, crop=True, enlarge=True),)),
    ],
)
def test_a_image_that_would_fill_the_memory_is_refused_before_it_is_made(fonts: Fonts, wish: Finish) -> None:
    with pytest.raises(InvalidRequest, match="too large"):
        one(fonts, photo(30, 900) if wish.width else photo(900, 30), wish)


def test_stopping_stops_between_the_parts(fonts: Fonts) -> None:
    wish = Finish(derivatives=tuple(Derivative(width=side) for side in range(10, 20)))
    context = FakeContext(photo(), cancel_after=3)
    with pytest.raises(JobCancelled):
        FinishingBackend(fonts).render(
            GenerationRequest(task=Task.FINISH, source="p0", finish=wish), [ImageSeed(seed=1)], context
        )
    assert len(context.steps) < 5


def _source(kind: str) -> tuple[bytes, tuple[int, int, int]]:
    """(a file of 40 × 20 px as it stands upright, the colour of its top left corner)."""
    out, red = io.BytesIO(), (200, 30, 30)
    image = Image.new("RGB", (40, 20), red)
    if kind == "gif":
        image.quantize(4).save(out, "GIF")
    elif kind == "cmyk":
        image.convert("CMYK").save(out, "TIFF")
    elif kind == "16 bit":
        Image.fromarray(np.full((20, 40), 200 * 257, np.uint16)).save(out, "PNG")
        red = (200, 200, 200)
    elif kind == "alpha":
        image.putalpha(0)
        image.save(out, "PNG")
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.rotate(90, expand=True).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue(), red


@pytest.mark.parametrize("kind", ["gif", "cmyk", "16 bit", "alpha", "turned"])
def test_every_kind_of_source_becomes_every_kind_of_file(tmp_path: Path, fonts: Fonts, kind: str) -> None:
    data, red = _source(kind)
    engine = open_engine(tmp_path / "out", FinishingBackend(fonts))
    kept = engine.keep_image(data, LOCAL_USER)
    wish = Finish(
        derivatives=tuple(
            Derivative(width=20, file=OutputOptions(format=name, max_bytes=50_000, keep=MetadataPolicy.MARKER))
            for name in ("png", "jpeg", "webp", "avif")
        )
    )
    job = engine.submit(GenerationRequest(task=Task.FINISH, model="finish", source=kept.hash, finish=wish), LOCAL_USER)
    snapshot = wait_until_final(job)
    assert snapshot.status is Status.FINISHED
    assert [asset.path.suffix for asset in snapshot.assets] == [".png", ".jpg", ".webp", ".avif"]
    for asset in snapshot.assets:
        with Image.open(asset.path) as image:
            assert image.size == (20, 10)
            assert image.format == {".jpg": "JPEG"}.get(asset.path.suffix, asset.path.suffix[1:].upper())
            told = read_metadata(image)
            assert (told.recipe, told.infotext) == (None, "")
            assert told.source_type == ""  # no model drew anything
            if kind != "alpha":
                assert np.abs(np.asarray(image.convert("RGB"), int)[3, 3] - red).max() < 14
            elif asset.path.suffix == ".jpg":
                assert np.asarray(image).min() > 250
                assert any("white" in note for note in asset.notes)
            else:
                assert np.asarray(image.convert("RGBA"))[..., 3].max() == 0
    engine.close()


def test_a_job_hides_its_text_in_every_derivative_and_names_a_limit_that_cannot_be_met(
    tmp_path: Path, fonts: Fonts
) -> None:
    engine = open_engine(tmp_path / "out", FinishingBackend(fonts))
    kept = engine.keep_image(photo(), LOCAL_USER)
    files = (
        OutputOptions(format="jpeg", quality=85),
        OutputOptions(format="webp", quality=80),
        OutputOptions(format="avif", quality=60),
    )
    wish = Finish(
        watermark=Watermark(hidden="Ann 2026"),
        derivatives=tuple(Derivative(width=side, file=file) for side, file in zip((512, 400, 300), files, strict=True)),
    )
    request = GenerationRequest(task=Task.FINISH, model="finish", source=kept.hash, finish=wish)
    snapshot = wait_until_final(engine.submit(request, LOCAL_USER))
    assert [read_hidden(Image.open(asset.path)) for asset in snapshot.assets] == ["Ann 2026"] * 3
    small = Finish(watermark=Watermark(hidden="Ann 2026"), derivatives=(Derivative(width=200), Derivative(width=256)))
    told = wait_until_final(engine.submit(request.replace(finish=small), LOCAL_USER)).assets
    assert ["does not survive" in " ".join(asset.notes) for asset in told] == [True, False]
    tight = Finish(derivatives=(Derivative(file=OutputOptions(format="jpeg", max_bytes=1_000)),))
    failed = wait_until_final(engine.submit(request.replace(finish=tight), LOCAL_USER))
    assert failed.status is Status.FAILED
    assert "does not fit into 1,000 bytes" in str(failed.error)
    engine.close()


def test_threads_finish_side_by_side(fonts: Fonts) -> None:
    from concurrent.futures import ThreadPoolExecutor

    image = photo(300, 200)
    wish = Finish(
        text=(TextOverlay(text="Hello there, thread", contrast="fix"),), watermark=Watermark(text="me", hidden="x")
    )
    alone = one(fonts, image, wish).tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert {made.tobytes() for made in pool.map(lambda _: one(fonts, image, wish), range(12))} == {alone}
