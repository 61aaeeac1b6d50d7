"""Files of the wished kind, under the wished number of bytes, carrying what they are to carry."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fakes import draw_fake_image
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import MetadataPolicy, OutputOptions
from studio.core.settings import Settings
from studio.engine.metadata.embed import AI_SOURCE_TYPE, EmbeddedMetadata, read_metadata
from studio.engine.storage.image_encoding import EncodedImage, convert_to_palette, encode_output, encode_under_limit


def written(image: Image.Image, **wish: object) -> EncodedImage:
    return encode_output(
        image,
        OutputOptions(**wish),  # type: ignore[arg-type]
        Settings(),
        carried=EmbeddedMetadata(infotext="a fox\nSteps: 4", recipe={"id": "x"}, tool="Easel"),
    )


def opened(file: EncodedImage) -> Image.Image:
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
    file = written(draw_fake_image(1, 64, 48), format=kind)
    assert file.ending == {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}[kind]
    found = read_metadata(opened(file))
    assert (found.infotext, found.recipe, found.source_type) == ("a fox\nSteps: 4", {"id": "x"}, AI_SOURCE_TYPE)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_what_is_kept_is_what_was_wished(kind: str) -> None:
    marked = read_metadata(opened(written(draw_fake_image(1, 64, 48), format=kind, keep=MetadataPolicy.MARKER)))
    assert (marked.infotext, marked.recipe, marked.source_type) == ("", None, AI_SOURCE_TYPE)
    bare = opened(written(draw_fake_image(1, 64, 48), format=kind, keep=MetadataPolicy.NOTHING))
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


def flat() -> Image.Image:
    """Flat art of 200 colours whose pixels a PNG packs badly row by row."""
    image = Image.fromarray(np.random.default_rng(2).integers(0, 200, (300, 300), np.uint8))
    return Image.merge("RGB", (image, image.point(lambda value: 255 - value), image.point(lambda value: value // 2)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_flat_art_becomes_a_palette_of_the_very_same_pixels(mode: str) -> None:
    image = flat().convert(mode)
    if mode == "RGBA":
        image.putalpha(image.getchannel("R").point(lambda value: value // 2))
    limit = len(written(image, format="png").data) * 3 // 4
    file = written(image, format="png", max_bytes=limit)
    assert (file.ending, file.notes) == (".png", ())
    assert len(file.data) <= limit
    assert opened(file).mode == "P"
    assert opened(file).convert(mode).tobytes() == image.tobytes()
    assert read_metadata(opened(file)).recipe == {"id": "x"}


def test_a_palette_is_made_only_where_it_is_exact() -> None:
    assert convert_to_palette(photo()) is None
    assert convert_to_palette(Image.new("L", (4, 4))) is None
    one = convert_to_palette(Image.new("RGB", (3, 2), (1, 2, 3)))
    assert one is not None
    assert one.convert("RGB").getcolors() == [(6, (1, 2, 3))]


def test_a_png_that_fits_when_packed_harder_stays_one() -> None:
    image = photo().resize((200, 200))
    loose = written(image, format="png")
    file = written(image, format="png", max_bytes=len(loose.data) - 2_000)
    assert (file.ending, file.notes) == (".png", ())
    assert opened(file).tobytes() == image.tobytes()


def test_a_clear_png_that_is_too_large_keeps_its_transparency_as_webp() -> None:
    image = photo().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = written(image, format="png", max_bytes=40_000)
    assert file.ending == ".webp"
    assert file.notes == ("Written as WebP, as PNG would exceed 40,000 bytes.",)
    assert opened(file).mode == "RGBA"
    opacity = np.asarray(opened(file))[..., 3]
    assert np.abs(opacity.astype(int) - np.asarray(image)[..., 3]).max() < 12


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_a_wished_quality_is_never_passed(kind: str) -> None:
    image = photo()
    plain = written(image, format=kind, quality=60)
    assert written(image, format=kind, quality=60, max_bytes=10_000_000).data == plain.data
    tight = written(image, format=kind, quality=60, max_bytes=len(plain.data) - 1)
    assert len(tight.data) < len(plain.data)


def test_the_search_is_exact_on_any_rising_sizes() -> None:
    for limit in range(40, 4_000, 97):
        tried: list[int] = []

        def write(quality: int, tried: list[int] = tried) -> bytes:
            tried.append(quality)
            return bytes(40 + quality**2 // 3 + (quality > 60) * 300)

        found = len(encode_under_limit(limit, 10, 95, write))
        best = max(
            (size for size in (len(write(quality)) for quality in range(10, 96)) if size <= limit),
            default=len(write(10)),
        )
        assert found == best or best >= found >= 0.985 * limit
    assert encode_under_limit(5, 10, 10, lambda quality: bytes(9)) == bytes(9)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_nothing_that_the_pixels_bring_along_is_written(kind: str) -> None:
    image = draw_fake_image(1, 64, 48)
    exif = Image.Exif()
    exif[0x010F] = "Secret Camera"
    image.info = {
        "icc_profile": b"profile" * 30,
        "exif": exif.tobytes(),
        "comment": b"secret",
        "xmp": b"<secret/>",
        "dpi": (300, 300),
    }
    bare = written(image, format=kind, keep=MetadataPolicy.NOTHING)
    assert b"ecret" not in bare.data
    assert b"profile" not in bare.data
    assert "icc_profile" not in opened(bare).info
    assert image.info["comment"] == b"secret"  # the caller's image is left as it is


@pytest.mark.parametrize(("kind", "side"), [("webp", 16_384), ("jpeg", 65_536)])
def test_a_side_that_the_format_cannot_hold_is_refused(kind: str, side: int) -> None:
    with pytest.raises(InvalidRequest, match="px a side"):
        written(Image.new("RGB", (side, 1)), format=kind)


def test_what_is_carried_counts_and_the_refusal_says_so() -> None:
    image = draw_fake_image(1, 64, 48)
    lean = len(written(image, format="jpeg", quality=15, keep=MetadataPolicy.NOTHING).data)
    fat = len(written(image, format="jpeg", quality=15).data)
    with pytest.raises(InvalidRequest) as refused:
        written(image, format="jpeg", quality=15, max_bytes=max(1_000, fat - 1))
    assert refused.value.details["smallest"] > lean
    assert "less metadata" in refused.value.hint
    assert (
        len(written(image, format="jpeg", quality=15, max_bytes=max(1_000, fat - 1), keep=MetadataPolicy.NOTHING).data)
        <= fat
    )


def test_a_recipe_that_a_jpeg_has_no_room_for_is_told() -> None:
    huge = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    carried = EmbeddedMetadata(infotext=huge * 2, recipe={"a": huge, "b": huge[::-1], "c": huge[::3]}, tool="Easel")
    notes = {
        kind: encode_output(draw_fake_image(1, 64, 48), OutputOptions(format=kind), Settings(), carried=carried).notes
        for kind in ("jpeg", "png", "webp")
    }
    assert notes["jpeg"] == ("Too long for JPEG and left out: infotext and recipe. PNG holds it.",)
    assert (notes["png"], notes["webp"]) == ((), ())


def make_logo(colour: tuple[int, int, int]) -> Image.Image:
    logo = Image.new("RGBA", (64, 64), (*colour, 0))
    logo.paste((*colour, 255), (16, 16, 48, 48))
    return logo


def test_what_is_transparent_lies_on_the_ground_that_was_chosen() -> None:
    file = written(make_logo((255, 255, 255)), format="jpeg", ground="#102030", quality=95)
    pixels = np.asarray(opened(file), int)
    assert np.abs(pixels[2, 2] - (16, 32, 48)).max() <= 4
    assert pixels[32, 32].min() > 250
    assert file.notes == ("Transparency was laid on #102030: JPEG has none.",)
    with pytest.raises(InvalidRequest, match="colour"):
        OutputOptions(ground="blue")


@pytest.mark.parametrize(
    ("colour", "ground", "other"),
    [
        ((255, 255, 255), "#ffffff", "#000000"),
        ((240, 240, 235), "#ffffff", "#000000"),
        ((5, 5, 20), "#000000", "#ffffff"),
        ((255, 255, 255), "#000000", ""),
        ((200, 30, 30), "#ffffff", ""),
    ],
)
def test_a_ground_as_light_as_the_image_is_warned_of(colour: tuple[int, int, int], ground: str, other: str) -> None:
    notes = written(make_logo(colour), format="jpeg", ground=ground).notes
    assert [f"try {other}" in note for note in notes if "hardly be seen" in note] == ([True] if other else [])
    assert written(make_logo(colour), format="png", ground=ground).notes == ()
