"""Files of the wished kind, under the wished number of bytes, carrying what they are to carry."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fakes import draw
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import FileWish, Keep
from studio.core.settings import Settings
from studio.engine.embed import MACHINE_MADE, read_metadata
from studio.engine.encoding import Encoded, encode


def written(image: Image.Image, **wish: object) -> Encoded:
    return encode(
        image,
        FileWish(**wish),
        Settings(),
        infotext="a fox\nSteps: 4",
        recipe={"id": "x"},
        tool="Easel",  # type: ignore[arg-type]
    )


def opened(file: Encoded) -> Image.Image:
    image = Image.open(io.BytesIO(file.data))
    image.load()
    return image


def photo() -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut())


def noise(side: int = 256) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_the_wish_wins_over_the_settings_and_the_recipe_is_inside(kind: str) -> None:
    file = written(draw(1, 64, 48), format=kind)
    assert file.ending == {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}[kind]
    found = read_metadata(opened(file))
    assert (found.infotext, found.recipe, found.source_type) == ("a fox\nSteps: 4", {"id": "x"}, MACHINE_MADE)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_what_is_kept_is_what_was_wished(kind: str) -> None:
    marked = read_metadata(opened(written(draw(1, 64, 48), format=kind, keep=Keep.MARKER)))
    assert (marked.infotext, marked.recipe, marked.source_type) == ("", None, MACHINE_MADE)
    bare = opened(written(draw(1, 64, 48), format=kind, keep=Keep.NOTHING))
    assert read_metadata(bare) == type(read_metadata(bare))()
    assert "exif" not in bare.info


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif", "png"])
@pytest.mark.parametrize("limit", [80_000, 40_000, 20_000])
def test_a_limit_is_kept_at_the_best_quality_that_fits(kind: str, limit: int) -> None:
    image = photo()
    file = written(image, format=kind, max_bytes=limit)
    assert len(file.data) <= limit
    assert len(file.data) > 0.75 * limit  # no better quality would have fitted
    assert opened(file).size == image.size
    error = np.abs(np.asarray(opened(file).convert("RGB"), float) - np.asarray(image, float)).mean()
    assert error < 12
    if kind == "png":
        assert file.ending == ".jpg"
        assert "Written as JPEG" in file.notes[0]


def test_colour_is_kept_whole_while_there_is_room() -> None:
    def sampling(limit: int) -> int:
        from PIL import JpegImagePlugin

        return JpegImagePlugin.get_sampling(opened(written(photo(), format="jpeg", max_bytes=limit)))

    assert (sampling(150_000), sampling(25_000)) == (0, 2)


def test_what_cannot_fit_is_refused_with_the_least_that_was_reached() -> None:
    with pytest.raises(InvalidRequest) as refused:
        written(noise(512), format="jpeg", max_bytes=2_000)
    least = refused.value.details["smallest"]
    assert least > 2_000
    assert len(written(noise(512), format="jpeg", max_bytes=least).data) <= least


def test_transparency_is_kept_where_it_can_be_and_laid_on_white_with_a_note_where_not() -> None:
    image = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (0, 0, 16, 32))
    assert opened(written(image, format="png")).getpixel((30, 3))[3] == 0  # type: ignore[index]
    assert opened(written(image, format="webp")).mode == "RGBA"
    file = written(image, format="jpeg")
    assert "Transparency" in file.notes[0]
    assert min(opened(file).getpixel((30, 3))) > 250  # type: ignore[arg-type]
    assert written(image.convert("RGB"), format="jpeg").notes == ()


@pytest.mark.parametrize("size", [(1, 1), (2000, 3)])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_strange_sizes(kind: str, size: tuple[int, int]) -> None:
    assert opened(written(Image.new("RGB", size, "red"), format=kind, max_bytes=100_000)).size == size
