"""The backend that makes platform formats, and what the engine writes of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import open_engine, wait_until_final
from PIL import Image, ImageChops, ImageDraw

from studio.core.errors import InvalidRequest, NotFound
from studio.core.events import Status
from studio.core.finish import Anchor, Box, MetadataPolicy, TextOverlay, Watermark
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest, Task
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.core.social import ExtendMode, FormatCrop, SocialExport
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.jobs.job_context import LaneContext
from studio.engine.metadata.embed import EmbeddedMetadata
from studio.engine.storage.image_encoding import encode_output
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import read_hidden
from studio.social.advice import Advisor
from studio.social.analysis import Detectors
from studio.social.export import SocialBackend
from studio.social.fit_format import reshape_box
from studio.social.platforms import Platforms

PLATFORMS = Platforms()
FONTS = Fonts(Path("no-fonts"))
ALL = tuple(each.id for each in PLATFORMS.formats())


class Job(LaneContext):
    """A job with one image; records progress."""

    def __init__(self, image: Image.Image) -> None:
        super().__init__(Settings())
        self.image = image
        self.steps: list[tuple[int, int]] = []

    def load_image(self, content_hash: str) -> Image.Image:
        return self.image.copy()

    def report_progress(self, step: int, steps: int, preview: Any = None) -> None:
        self.steps.append((step, steps))

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def photo(width: int = 640, height: int = 480) -> Image.Image:
    """Something round on a ramp with grain."""
    ramp = np.linspace(40, 160, width)[None, :, None] + np.random.default_rng(5).normal(0, 9, (height, width, 3))
    image = Image.fromarray(ramp.clip(0, 255).astype(np.uint8))
    middle, radius = (0.7 * width, 0.5 * height), 0.15 * height
    box = (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius)
    ImageDraw.Draw(image).ellipse(box, fill=(230, 70, 30))
    return image


def make(image: Image.Image, *formats: str, **options: Any) -> list[RenderedImage]:
    return made_in(Job(image), *formats, **options)


def made_in(job: Job, *formats: str, **options: Any) -> list[RenderedImage]:
    backend = SocialBackend(PLATFORMS, Advisor(Detectors), FONTS)
    request = GenerationRequest(
        task=Task.SOCIAL, model="social", source="a" * 64, social=SocialExport(formats=formats, **options)
    )
    return backend.render(request, [ImageSeed(seed=7)], job)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(tmp_path, SocialBackend(PLATFORMS, Advisor(Detectors), FONTS), default_model="social")
    yield engine
    engine.close()


def test_every_format_comes_out_at_its_exact_size_in_order() -> None:
    job = Job(photo())
    made = made_in(job, *ALL)
    assert [one.label for one in made] == list(ALL)
    for one in made:
        of = PLATFORMS.format(one.label)
        assert one.image.size == (of.width, of.height), one.label
        assert one.file is not None
        assert one.file.format in (*of.types, "jpeg")
        assert one.file.max_bytes == of.limit
        assert one.file.keep is MetadataPolicy.MARKER
    assert job.steps[-1] == (len(ALL), len(ALL))


@pytest.mark.parametrize("kind", ["noise", "photograph"])
def test_no_file_is_larger_than_its_platform_takes(kind: str) -> None:
    """Noise is the hardest that there is to encode. Formats of up to two megapixels; the benchmark has them all."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (900, 1200, 3), np.uint8))
    limited = [each for each in PLATFORMS.formats() if each.limit is not None and each.width * each.height < 2_000_000]
    tight = [each.id for each in limited if (each.limit or 0) < each.width * each.height]
    small = [each.id for each in limited if each.width * each.height < 500_000 and each.id not in tight]
    assert len(tight) >= 5
    softened: set[str] = set()
    for one in make(noise if kind == "noise" else photo(1600, 1200), *tight, *small):
        of = PLATFORMS.format(one.label)
        file = encode_output(one.image, one.file, Settings(), carried=EmbeddedMetadata(tool="Easel"))
        assert of.limit is not None
        assert len(file.data) <= of.limit, one.label
        with Image.open(io.BytesIO(file.data)) as written:
            assert written.size == (of.width, of.height), one.label
            assert written.format == of.file_type.upper()
        softened |= {one.label} if any("softened" in note for note in one.notes) else set()
    assert softened >= {"tiktok.ad_landscape", "email.product"} if kind == "noise" else not softened


def test_each_result_asks_for_itself_alone_and_gives_the_same_again() -> None:
    made = make(photo(), "instagram.story", "twitter.header", sheet=True, original=True)
    story = made[0]
    assert story.request is not None
    assert story.request.social is not None
    assert story.request.social.formats == ("instagram.story",)
    assert story.request.social.outputs == 1
    (again,) = make(photo(), "instagram.story", crops=story.request.social.crops)
    assert again.image.tobytes() == story.image.tobytes()


def test_the_users_crop_wins_and_is_brought_to_shape() -> None:
    corner = Box(left=0.0, top=0.5, right=0.25, bottom=1.0)
    (one,) = make(
        photo(800, 800), "instagram.feed_square", crops=(FormatCrop(format="instagram.feed_square", box=corner),)
    )
    assert one.request is not None
    assert one.request.social is not None
    box = one.request.social.crops[0].box
    assert (box.left, box.right, box.bottom) == pytest.approx((0.0, 0.5, 1.0))
    assert reshape_box(Box(left=0.4, top=0.4, right=0.6, bottom=0.6), 1.0, 1000, 1000) == Box(
        left=0.4, top=0.4, right=0.6, bottom=0.6
    )
    steep = reshape_box(Box(), 4.0, 1000, 1000)
    assert (steep.bottom - steep.top) == pytest.approx(0.25)


def test_a_crop_for_a_format_that_is_not_chosen_is_refused() -> None:
    crop = FormatCrop(format="instagram.story", box=Box())
    with pytest.raises(InvalidRequest, match="not selected"):
        SocialExport(formats=("twitter.header",), crops=(crop,))
    with pytest.raises(InvalidRequest, match="twice"):
        SocialExport(formats=("instagram.story",), crops=(crop, crop))


def test_nonsense_is_refused_before_any_work() -> None:
    with pytest.raises(InvalidRequest, match="No platform format"):
        SocialExport()
    with pytest.raises(InvalidRequest, match="twice"):
        SocialExport(formats=("instagram.story", "instagram.story"))
    with pytest.raises(InvalidRequest, match="colour"):
        SocialExport(formats=("instagram.story",), colour="url(x)")


@pytest.mark.parametrize("how", [ExtendMode.BLUR, ExtendMode.COLOUR, ExtendMode.MIRROR])
def test_where_no_crop_keeps_what_matters_the_whole_image_is_shown(how: ExtendMode) -> None:
    wide = photo(3000, 300)
    wide.paste((10, 10, 200), (0, 0, 90, 300))
    (one,) = make(
        wide, "instagram.story", extend=how, colour="#123456", focus=Box(left=0.0, right=1.0, top=0.2, bottom=0.8)
    )
    assert one.image.size == (1080, 1920)
    assert any("whole image" in note for note in one.notes)
    row = np.asarray(one.image)[960 - 45]  # the middle of the safe area
    assert abs(row[5].astype(int) - [10, 10, 200]).max() < 30
    top = one.image.getpixel((540, 5))
    assert (top == (0x12, 0x34, 0x56)) is (how is ExtendMode.COLOUR)


def test_a_crop_that_keeps_all_is_not_extended() -> None:
    (one,) = make(photo(1600, 1600), "instagram.feed_square", extend=ExtendMode.BLUR)
    assert not any("whole image" in note for note in one.notes)


def test_outpainting_is_a_step_of_its_own() -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(photo(3000, 300), "instagram.story", extend=ExtendMode.OUTPAINT, focus=Box(top=0.2, bottom=0.8))
    assert "outpainting step" in caught.value.hint


def test_a_small_image_says_so_unless_it_is_to_be_upscaled() -> None:
    (plain,) = make(photo(300, 300), "instagram.feed_square")
    (asked,) = make(photo(300, 300), "instagram.feed_square", upscale=True)
    assert any("enlarged 3.6 times" in note for note in plain.notes)
    assert not any("enlarged" in note for note in asked.notes)
    assert asked.image.size == plain.image.size == (1080, 1080)


@pytest.mark.parametrize("size", [(2000, 100), (100, 2000), (1, 1)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_odd_images_come_out_all_the_same(size: tuple[int, int], mode: str) -> None:
    for one in make(Image.new(mode, size), "instagram.story", "linkedin.page_logo", extend=ExtendMode.BLUR, sheet=True):
        assert one.image.mode in ("RGB", "RGBA")
        if one.label != "sheet":
            of = PLATFORMS.format(one.label)
            assert one.image.size == (of.width, of.height)


def test_transparency_stays_where_the_platform_takes_it() -> None:
    story, logo = make(Image.new("RGBA", (400, 400)), "instagram.story", "linkedin.page_logo")
    assert story.image.getpixel((9, 9)) == (255, 255, 255)
    assert any("white" in note for note in story.notes)
    assert logo.image.getpixel((9, 9)) == (0, 0, 0, 0)


@pytest.mark.parametrize("anchor", [Anchor.TOP_LEFT, Anchor.BOTTOM, Anchor.RIGHT])
def test_text_stays_inside_the_safe_area_and_its_contrast_is_checked(anchor: Anchor) -> None:
    words = TextOverlay(text="Opening on Saturday at nine", anchor=anchor, colour="#a0a0a0", stroke=0, margin=0)
    grey = Image.new("RGB", (1080, 1920), (150, 150, 150))
    for label in ("instagram.story", "linkedin.profile_banner"):
        (bare,), (lettered,) = make(grey, label), make(grey, label, text=(words,))
        changed = ImageChops.difference(bare.image, lettered.image).getbbox()
        assert changed is not None
        of = PLATFORMS.format(label)
        assert changed[0] >= of.safe.left - 1
        assert changed[1] >= of.safe.top - 1
        assert changed[2] <= of.width - of.safe.right + 1
        assert changed[3] <= of.height - of.safe.bottom + 1
        assert any("hard to read" in note for note in lettered.notes)


def test_a_watermark_lies_over_each_format_and_a_hidden_one_is_in_each() -> None:
    mark = Watermark(text="Easel", hidden="mine", opacity=1.0)
    square, tiny = make(photo(), "instagram.feed_square", "youtube.watermark", watermark=mark)
    assert read_hidden(square.image) == "mine"
    assert read_hidden(tiny.image) == "mine"
    (bare,) = make(photo(), "youtube.watermark")
    assert bare.image.tobytes() != tiny.image.tobytes()
    with pytest.raises(InvalidRequest):
        make(photo(), "instagram.story", text=(TextOverlay(text=" "),))


def test_zones_are_drawn_only_when_asked_for() -> None:
    (bare,) = make(photo(), "instagram.story")
    (proof,) = make(photo(), "instagram.story", zones=True)
    assert any("safe zones are drawn" in note for note in proof.notes)
    story = PLATFORMS.format("instagram.story")
    assert proof.image.getpixel((540, story.safe.top)) == (30, 170, 90)
    assert bare.image.getpixel((540, story.safe.top)) != (30, 170, 90)


def test_sheet_and_original_follow() -> None:
    image = photo()
    *_, sheet, original = make(image, "instagram.story", "twitter.header", "youtube.banner", sheet=True, original=True)
    assert (sheet.label, original.label) == ("sheet", "original")
    assert sheet.image.width > 600
    assert original.image.tobytes() == image.tobytes()
    assert original.file is not None
    assert original.file.max_bytes is None


def test_an_unknown_format_names_near_ones() -> None:
    with pytest.raises(NotFound) as caught:
        make(photo(), "instagram.reel")
    assert "instagram.reel_cover" in caught.value.hint


def test_the_engine_writes_all_of_them(engine: Engine) -> None:
    kept = engine.keep_image(photo(), LOCAL_USER)
    social = SocialExport(formats=("instagram.story", "linkedin.page_logo"), sheet=True)
    request = GenerationRequest(task=Task.SOCIAL, model="social", source=kept.hash, social=social)
    snapshot = wait_until_final(engine.submit(request, LOCAL_USER))
    assert snapshot.status is Status.FINISHED, snapshot
    assert [asset.label for asset in snapshot.assets] == ["instagram.story", "linkedin.page_logo", "sheet"]
    for asset in snapshot.assets[:2]:
        of = PLATFORMS.format(asset.label)
        with Image.open(asset.path) as written:
            assert (written.size, written.format) == ((of.width, of.height), of.file_type.upper())


def test_a_light_logo_is_laid_on_the_ground_that_was_chosen_and_a_white_one_is_warned_of() -> None:
    logo = Image.new("RGBA", (1200, 1200), (255, 255, 255, 0))
    logo.paste((255, 255, 255, 255), (300, 300, 900, 900))
    [white] = make(logo, "instagram.feed_square")
    assert any("can hardly be seen" in note for note in white.notes)
    [dark] = make(logo, "instagram.feed_square", ground="#203040")
    pixels = np.asarray(dark.image, int)
    assert (pixels[5, 5] == (0x20, 0x30, 0x40)).all()
    assert (pixels[len(pixels) // 2, len(pixels) // 2] == 255).all()
    assert not any("can hardly be seen" in note for note in dark.notes)
