"""Background removal, by the network that ships, on real photographs and on odd images."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skimage
from fakes import open_engine, wait_until_final
from PIL import Image
from test_preprocessors import Images, photo, preprocessing

from studio.core.errors import ModelBroken, NotConfigured
from studio.core.events import Status
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.vision import foreground

NOTICE = foreground.U2NETP.with_name("NOTICE")


@pytest.fixture(scope="module")
def network() -> foreground.SegmentationNetwork:
    return foreground.SegmentationNetwork.load(foreground.U2NETP)


def test_the_shipped_file_is_the_one_that_its_notice_names() -> None:
    assert hashlib.sha256(foreground.U2NETP.read_bytes()).hexdigest() in NOTICE.read_text()
    assert "Apache License 2.0" in NOTICE.read_text()


def test_the_cup_stays_and_the_table_goes(network: foreground.SegmentationNetwork) -> None:
    opacity = np.asarray(foreground.estimate_opacity(photo(), network))
    assert opacity.shape == (400, 600)
    assert opacity[90:300, 190:400].min() > 240  # the cup and the saucer's middle
    for corner in (opacity[:60, :100], opacity[-40:, :80], opacity[-60:, -100:]):
        assert corner.max() < 10


def test_the_edge_lies_where_the_image_has_it(network: foreground.SegmentationNetwork) -> None:
    """A disc on a ground: after refinement the opacity agrees with the disc better than the network's own."""
    height, width = 600, 600
    down, across = np.mgrid[:height, :width]
    disc = (across - 300) ** 2 + (down - 300) ** 2 < 180**2
    pixels = np.where(disc[..., None], (200, 40, 30), (40, 90, 60)).astype(np.uint8)
    image = Image.fromarray(pixels)
    coarse = (
        Image.fromarray(disc.astype(np.uint8) * 255).resize((100, 100), Image.Resampling.BOX).resize((width, height))
    )
    before = np.abs(np.asarray(coarse) / 255 - disc).mean()
    after = np.abs(np.asarray(foreground.refine_mask(coarse, image)) / 255 - disc).mean()
    assert after < 0.65 * before


def test_no_rim_of_the_old_background_is_left() -> None:
    """Red fades into green; the cut-out's half-transparent pixels are red, not brown."""
    alpha = np.tile(np.clip((np.arange(300) - 140) / 20, 0, 1), (300, 1))
    pixels = alpha[..., None] * (220, 20, 20) + (1 - alpha[..., None]) * (20, 200, 20)
    mask = Image.fromarray((alpha * 255).round().astype(np.uint8))
    cut = np.asarray(foreground.cut_out(Image.fromarray(pixels.round().astype(np.uint8)), mask)).astype(int)
    soft = (cut[..., 3] > 60) & (cut[..., 3] < 200)
    assert soft.any()
    assert pixels[soft][:, 1].mean() > 80
    assert cut[soft][:, 1].mean() < 45
    sure = cut[..., 3] == 255
    assert (cut[sure][:, :3] == (220, 20, 20)).all()


def test_what_was_half_transparent_keeps_its_colour() -> None:
    """Glass, smoke, a shadow: its colour is its own, not mixed with white."""
    image = Image.new("RGBA", (60, 40), (0, 0, 255, 128))
    image.paste((0, 0, 255, 255), (20, 10, 40, 30))
    image.paste((255, 0, 0, 0), (0, 0, 60, 5))  # hidden red
    cut = np.asarray(foreground.cut_out(image, image.getchannel("A")))
    assert (cut[cut[..., 3] > 0][:, :3] == (0, 0, 255)).all()
    fainter = image.getchannel("A").point(lambda value: value // 2)
    cut = np.asarray(foreground.cut_out(image, fainter)).astype(int)
    assert np.abs(cut[cut[..., 3] > 0][:, :3] - (0, 0, 255)).max() <= 2


def test_a_large_image_is_cut_at_its_own_size(network: foreground.SegmentationNetwork) -> None:
    image = photo().resize((3000, 2000))
    cut = foreground.cut_out(image, foreground.estimate_opacity(image, network))
    assert cut.size == image.size
    kept = np.asarray(cut.getchannel("A")) == 255
    assert 0.2 < kept.mean() < 0.5
    assert (np.asarray(cut)[kept][:, :3] == np.asarray(image)[kept]).all()


def test_what_was_transparent_stays_so(network: foreground.SegmentationNetwork) -> None:
    image = photo().convert("RGBA")
    image.paste((0, 0, 0, 0), (250, 100, 300, 200))
    opacity = np.asarray(foreground.estimate_opacity(image, network))
    assert opacity[100:200, 250:300].max() == 0
    assert opacity[220:280, 250:350].min() > 200


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (1, 1), "red"),
        Image.new("L", (50, 30), 99),
        Image.new("RGBA", (9, 700)),
        Image.new("RGB", (3000, 3)),
    ],
    ids=["1x1", "grey", "transparent", "very wide"],
)
def test_odd_images(image: Image.Image, network: foreground.SegmentationNetwork) -> None:
    cut = foreground.cut_out(image, foreground.estimate_opacity(image, network))
    assert cut.mode == "RGBA"
    assert cut.size == image.size


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x08\x07garbage" * 50])
def test_a_file_that_is_no_network(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelBroken, match=r"network\.onnx cannot be used"):
        foreground.SegmentationNetwork.load(path)
    with pytest.raises(ModelBroken):
        foreground.SegmentationNetwork.load(tmp_path / "missing.onnx")


def test_four_threads_share_one_network(tmp_path: Path) -> None:
    ctx = Images()
    loaded: list[str] = []
    ctx.report_loading = loaded.append  # type: ignore[method-assign]
    backend = preprocessing(tmp_path)
    image = photo().resize((150, 100))
    with ThreadPoolExecutor(4) as threads:
        masks = list(threads.map(lambda _: backend.find_foreground(image, ctx).tobytes(), range(4)))
    assert len(set(masks)) == 1
    assert len(loaded) == 1


def test_another_network_is_offered_and_used_once_it_is_there(tmp_path: Path) -> None:
    ctx = Images(source=photo())
    backend = preprocessing(tmp_path)
    request = GenerationRequest(task=Task.REMOVE_BACKGROUND, model="background/birefnet_lite", source="source")
    with pytest.raises(NotConfigured, match="BiRefNet lite") as refused:
        backend.render(request, [ImageSeed(seed=0)], ctx)
    assert "224 MB, MIT" in refused.value.hint
    (tmp_path / "background").mkdir()
    (tmp_path / "background" / "birefnet_lite.onnx").symlink_to(foreground.U2NETP)
    made = backend.render(request, [ImageSeed(seed=0)], ctx)[0].image
    assert made.mode == "RGBA"
    assert not next(model for model in backend.models() if model.id == request.model).problem


def test_through_the_engine(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "outputs", preprocessing(tmp_path / "models"))
    try:
        with Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as file:
            kept = engine.keep_image(file, LOCAL_USER)
        request = GenerationRequest(task=Task.REMOVE_BACKGROUND, model="background/u2netp", source=kept.hash)
        end = wait_until_final(engine.submit(request, LOCAL_USER))
        assert end.status is Status.FINISHED
        with Image.open(end.assets[0].path) as saved:
            assert saved.mode == "RGBA"
            assert saved.size == (512, 512)
            assert saved.getpixel((230, 100))[3] > 240  # her face
            assert saved.getpixel((380, 20))[3] < 20  # the wall
    finally:
        engine.close()
