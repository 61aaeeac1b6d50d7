"""Upscalers from end to end: tiles without seams, memory, stopping, alpha, and the weights that come inside a
package."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest, JobCancelled, ModelBroken, OutOfMemory
from studio.core.finish import Upscale
from studio.core.model import GPU_LANE, Model, Quality
from studio.core.model_ids import UPSCALER_PREFIX
from studio.core.request import GenerationRequest
from studio.core.request_parts import Resize
from studio.core.task import Task
from studio.core.upscale_modes import (
    LANCZOS,
    UpscaleMode,
    build_upscale_request,
    choose_upscale_model,
    compute_upscaled_size,
    find_candidates,
)
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.catalog import bundled_upscaler
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.upscale import upscale_image
from studio.pipelines.upscale.enhancers import Enhancers
from studio.pipelines.upscale.realesrgan_engine import ENGINE_SUFFIX, load_engine_upscaler
from studio.pipelines.upscale.tiling import TileGrid, split_spans
from studio.pipelines.upscale.upscale_image import enlarge_image, load_upscaler
from tests.local_models import RecordingContext, make_local_pipelines, make_seeds

pytestmark = pytest.mark.torch
FAST = "realesr-animevideov3"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with what the package holds."""
    folder = tmp_path_factory.mktemp("models")
    assert {path.stem for path in bundled_upscaler.unpack_upscalers(folder)} == {
        one.name for one in bundled_upscaler.BUNDLED_UPSCALERS
    }
    return folder


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.coffee()).crop((150, 60, 310, 180))


def weight(models: Path, name: str = FAST) -> WeightFile:
    path = models / "upscalers" / f"{name}.safetensors"
    return WeightFile(name=name, kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size)


class Bench:
    """Enhancers over a models folder, and a job."""

    def __init__(self, models: Path, image: Image.Image, **settings: Any) -> None:
        self.catalog = Catalog(models, [], models / ".cache")
        pipelines, self.settings = make_local_pipelines(models, self.catalog, **settings)  # type: ignore[arg-type]
        self.pipelines = pipelines
        self.enhancers = Enhancers(self.catalog, models, pipelines.resources)
        self.ctx = RecordingContext(self.settings, images={"it": image})

    def up(self, model: str = FAST, resize: Resize = Resize.CROP, **wish: Any) -> Image.Image:
        request = GenerationRequest(
            task=Task.UPSCALE, model=UPSCALER_PREFIX + model, source="it", resize=resize, upscale=Upscale(**wish)
        )
        by_id = {one.id: one for one in self.enhancers.models()}
        if request.model in by_id:
            by_id[request.model].check(request)
        [made] = self.enhancers.render(request, make_seeds(0), self.ctx)
        return made.image


def pixels(image: Image.Image) -> Any:
    return np.asarray(image, dtype=int)


def test_the_bundled_weights_are_the_published_ones_and_written_once(models: Path) -> None:
    """The figures were counted from the makers' own files' shapes: 23 and 6 blocks, and the compact network's 16
    layers."""
    from safetensors import safe_open

    counts = {}
    for one in bundled_upscaler.BUNDLED_UPSCALERS:
        with safe_open(models / "upscalers" / f"{one.name}.safetensors", "np") as file:
            assert file.metadata()["sha256"] == one.sha256
            counts[one.name] = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118 - no dict
    assert counts == {FAST: 621_424, "RealESRGAN_x4plus": 16_697_987, "RealESRGAN_x4plus_anime_6B": 4_467_779}
    assert bundled_upscaler.unpack_upscalers(models) == ()


def test_a_bundled_file_that_is_another_is_not_unpacked(models: Path, tmp_path: Path, monkeypatch: Any) -> None:
    wrong = bundled_upscaler.BundledUpscaler(
        FAST, bundled_upscaler.BUNDLED_UPSCALERS[0].source, hashlib.sha256(b"another").hexdigest()
    )
    monkeypatch.setattr(bundled_upscaler, "BUNDLED_UPSCALERS", (wrong,))
    assert bundled_upscaler.unpack_upscalers(tmp_path) == ()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_weights_in_an_unknown_format_are_refused() -> None:
    text = "7767517\n1 1\nConvolution c 1 1 a b 0=1 1=1 6=4"
    with pytest.raises(ValueError, match="not known"):
        list(bundled_upscaler.read_layers(text, b"\x01\x02\x03\x04" + bytes(20)))
    with pytest.raises(ValueError, match="left over"):
        list(bundled_upscaler.read_layers(text, bytes(4 + 16 + 4 + 8)))


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(1000, 256, 32), (257, 256, 32), (100, 96, 32), (64, 64, 16), (777, 130, 0)]
)
def test_tiles_cover_everything_and_their_weights_add_up(length: int, tile: int, overlap: int) -> None:
    found = split_spans(length, tile, overlap)
    assert found[0].start == 0
    assert found[-1].stop == length
    assert all(span.size <= tile for span in found)
    assert all(span.before >= min(overlap, tile // 3) for span in found[1:])
    total = np.zeros(length * 2)
    for span in found:
        total[span.start * 2 : span.stop * 2] += span.weights(2).numpy()
    assert total == pytest.approx(np.ones(length * 2), abs=1e-6)


def test_bands_put_an_unchanged_image_together_exactly() -> None:
    import torch

    image = torch.rand(3, 143, 201)
    grid = TileGrid.cover(201, 143, 64, 16)
    bands = grid.draw_bands(lambda row, column: image[:, row.start : row.stop, column.start : column.stop].clone())
    assert torch.allclose(torch.cat(list(bands), dim=1), image, atol=1e-6)


@pytest.mark.parametrize(("name", "most", "mean"), [(FAST, 2, 0.02), ("RealESRGAN_x4plus_anime_6B", 40, 0.2)])
def test_tiles_leave_no_seam(models: Path, photo: Image.Image, name: str, most: int, mean: float) -> None:
    """Against the whole image at once; and along the tiles' borders the image steps no more than it does elsewhere."""
    image = photo.crop((0, 0, 112, 72))
    upscaler = load_upscaler(weight(models, name), "cpu")
    size = (image.width * 4, image.height * 4)
    whole = pixels(enlarge_image(image, size, upscaler, tiling=(512, None)))
    tiled = pixels(enlarge_image(image, size, upscaler, tiling=(72, 32)))
    difference = np.abs(tiled - whole)
    assert difference.max() <= most
    assert difference.mean() <= mean
    steps = np.abs(np.diff(tiled - whole, axis=1)).mean(axis=(0, 2))  # what tiling adds to the step between two columns
    assert steps.max() < 0.6


def test_the_makers_engine_draws_the_same(models: Path, photo: Image.Image) -> None:
    image = photo.crop((0, 0, 64, 48))
    for name in (FAST, "RealESRGAN_x4plus_anime_6B"):
        file = weight(models, name)
        ours, theirs = (
            enlarge_image(image, (256, 192), load(file, "cpu")) for load in (load_upscaler, load_engine_upscaler)
        )
        assert np.abs(pixels(ours) - pixels(theirs)).mean() < 1


def test_sharper_than_lanczos(models: Path, photo: Image.Image) -> None:
    """The bundled network is a real one: edges of an enlarged photograph are steeper than resampling leaves them."""
    small = photo.resize((40, 30), Image.Resampling.BOX)
    made = pixels(enlarge_image(small, photo.size, load_upscaler(weight(models), "cpu")))
    plain = pixels(small.resize(photo.size, Image.Resampling.LANCZOS))
    assert np.abs(np.diff(made, axis=1)).max() > 1.2 * np.abs(np.diff(plain, axis=1)).max()
    assert np.abs(made - plain).mean() < 12


def test_models_name_what_is_there(models: Path, photo: Image.Image) -> None:
    found = {model.id: model for model in Bench(models, photo).enhancers.models()}
    for one in bundled_upscaler.BUNDLED_UPSCALERS:
        assert found[UPSCALER_PREFIX + one.name].lane == GPU_LANE
        assert UPSCALER_PREFIX + one.name + ENGINE_SUFFIX in found
    assert found["upscaler/Lanczos"].lane == found["upscaler/Nearest"].lane == "tools"
    assert "non-commercial" in found["restorer/codeformer"].problem


def test_sizes_that_can_be_asked_for(models: Path, photo: Image.Image) -> None:
    bench = Bench(models, photo)
    assert bench.up().size == (640, 480)
    assert bench.up(scale=1.5).size == (240, 180)
    assert bench.up(long_side=200).size == (200, 150)
    assert bench.up(width=200, height=200).size == (200, 200)
    assert bench.up(LANCZOS, scale=3).size == (480, 360)
    middle = photo.crop((20, 0, 140, 120)).resize((200, 200), Image.Resampling.LANCZOS)
    assert np.abs(pixels(bench.up(LANCZOS, width=200, height=200)) - pixels(middle)).max() <= 2
    filled = bench.up(LANCZOS, resize=Resize.FILL, width=200, height=200)
    assert np.abs(pixels(filled)[25:175] - pixels(photo.resize((200, 150), Image.Resampling.LANCZOS))).max() <= 2
    assert bench.up("Nearest", scale=2).getpixel((3, 3)) == photo.getpixel((1, 1))


def test_what_is_too_large_is_refused_before_anything_is_loaded(models: Path, photo: Image.Image) -> None:
    bench = Bench(models, photo, max_megapixels=1)
    with pytest.raises(InvalidRequest, match="megapixels"):
        bench.up(scale=16)
    with pytest.raises(InvalidRequest, match="16384"):
        compute_upscaled_size(Upscale(scale=16), 2000, 1000, 4)
    assert bench.ctx.loaded == []


def test_two_upscalers_are_blended(models: Path, photo: Image.Image) -> None:
    bench = Bench(models, photo)
    network, plain = pixels(bench.up(scale=2)), pixels(bench.up(LANCZOS, scale=2))
    both = pixels(bench.up(scale=2, second=LANCZOS, second_weight=0.25))
    assert np.abs(both - (0.75 * network + 0.25 * plain)).max() <= 1
    with pytest.raises(InvalidRequest, match="blended"):
        bench.up(LANCZOS, scale=2, second=FAST, second_weight=0.5)
    with pytest.raises(InvalidRequest, match="no upscaler 'none'"):
        bench.up(scale=2, second="none", second_weight=0.5)


def test_alpha_is_kept_and_enlarged_apart(models: Path, photo: Image.Image) -> None:
    cut = photo.copy()
    round_mask = Image.new("L", photo.size, 0)
    round_mask.paste(255, (40, 30, 120, 90))
    cut.putalpha(round_mask)
    bench = Bench(models, cut)
    made = bench.up()
    assert made.mode == "RGBA"
    alpha = pixels(made.getchannel("A"))
    assert alpha[200:280, 200:440].min() > 250
    assert alpha[:80].max() < 5
    inner = (60 * 4, 50 * 4, 100 * 4, 70 * 4)  # farther from the rim than the network looks
    assert made.convert("RGB").crop(inner).tobytes() == Bench(models, photo).up().crop(inner).tobytes()
    steps = [step for step, _ in bench.ctx.steps]
    assert steps == sorted(steps)
    assert bench.ctx.steps[-1][0] == bench.ctx.steps[-1][1]
    grey = Bench(models, photo.convert("L")).up()
    assert (grey.mode, grey.size) == ("RGB", (640, 480))


@pytest.mark.parametrize(("wish", "most"), [({}, 12), ({"second": "Lanczos", "second_weight": 0.5}, 40)])
def test_nothing_that_lies_hidden_under_clear_pixels_bleeds_into_the_rim(
    models: Path, photo: Image.Image, wish: dict[str, Any], most: int
) -> None:
    """One flat colour inside: the rim must have it too, whatever lies beneath the clear part. Lanczos rings a little by
    itself."""
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), np.uint8)
    seen: list[Any] = []
    for hidden in (noise, np.zeros((60, 80, 3), np.uint8)):
        hidden[15:45, 20:60] = (200, 150, 40)
        image = Image.fromarray(hidden)
        alpha = Image.new("L", image.size, 0)
        alpha.paste(255, (20, 15, 60, 45))
        image.putalpha(alpha)
        made = Bench(models, image).up(**wish)
        seen.append(pixels(made.convert("RGB")))
        rim = pixels(made.getchannel("A")) > 100
        assert np.abs(seen[-1][rim].astype(int) - (200, 150, 40)).max() < most
    assert (seen[0][rim] == seen[1][rim]).all()


def test_progress_is_told_tile_by_tile(models: Path, photo: Image.Image) -> None:
    bench = Bench(models, photo)
    bench.up(tile=64, overlap=16, second=FAST + ENGINE_SUFFIX, second_weight=0.5)
    total = len(TileGrid.cover(160, 120, 64, 16)) * 2
    assert bench.ctx.steps == [(step, total) for step in range(1, total + 1)]


def test_stopping_is_heard_within_a_tile(models: Path, photo: Image.Image) -> None:
    bench = Bench(models, photo)
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == 7:
            raise JobCancelled("Stopped.")

    bench.ctx.raise_if_cancelled = stop  # type: ignore[method-assign]
    with pytest.raises(JobCancelled):
        bench.up(tile=512)
    assert bench.ctx.steps == []
    bench.ctx.raise_if_cancelled = lambda: None  # type: ignore[method-assign]
    assert bench.up(tile=512).tobytes() == Bench(models, photo).up(tile=512).tobytes(), "nothing is left behind"


def test_tiles_become_smaller_by_themselves_and_then_it_is_said(models: Path, photo: Image.Image) -> None:
    """A device on which tiles beyond a size do not fit."""
    upscaler = load_upscaler(weight(models), "cpu")
    run, fits, tried = upscaler._run, 64, []

    def narrow(given: Any) -> Any:
        tried.append(given.shape[-1])
        if max(given.shape[-2:]) > fits:
            raise MemoryError
        return run(given)

    upscaler._run = narrow
    bench = Bench(models, photo)

    class Watch(upscale_image.NullObserver):
        add_notice = bench.ctx.add_notice

    made = enlarge_image(photo, (640, 480), upscaler, tiling=(160, None), watch=Watch())
    assert max(tried) == 160
    assert bench.ctx.notices == [
        "Low memory: the image was upscaled in tiles of 80 px.",
        "Low memory: the image was upscaled in tiles of 64 px.",
    ]
    whole = enlarge_image(photo, (640, 480), load_upscaler(weight(models), "cpu"))
    assert np.abs(pixels(made) - pixels(whole)).mean() < 0.1
    fits = 10
    with pytest.raises(OutOfMemory) as refused:
        enlarge_image(photo, (640, 480), upscaler)
    assert refused.value.details["requested"] > 0


def test_a_larger_network_gets_smaller_tiles(models: Path) -> None:
    small, large = (load_upscaler(weight(models, name), "cpu") for name in (FAST, "RealESRGAN_x4plus"))
    assert upscale_image.choose_tile_size(small) == upscale_image.LARGEST_TILE
    assert large.bytes_per_pixel > 8 * small.bytes_per_pixel
    assert upscale_image.SMALLEST_TILE <= upscale_image.choose_tile_size(large) < 400


def test_half_precision_where_it_is_asked_for(models: Path, photo: Image.Image) -> None:
    import torch

    upscaler = load_upscaler(weight(models), "cpu", "bfloat16")
    assert upscaler.dtype is torch.bfloat16
    half = pixels(enlarge_image(photo.crop((0, 0, 48, 32)), (192, 128), upscaler))
    full = pixels(enlarge_image(photo.crop((0, 0, 48, 32)), (192, 128), load_upscaler(weight(models), "cpu")))
    assert np.abs(half - full).mean() < 2


def test_an_upscaler_that_was_used_stays_and_counts_towards_the_budget(models: Path, photo: Image.Image) -> None:
    bench = Bench(models, photo)
    bench.up(scale=2)
    bench.up(scale=2)
    assert bench.ctx.loaded == [f"Loading {FAST}"]
    assert [one.model for one in bench.pipelines.get_memory_report().resident] == [FAST]


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("outputs-should-not-be-touched"),))


@pytest.mark.parametrize("content", ["pickle", "zip pickle", "cut", "page", "other"])
def test_broken_and_foreign_files_are_refused_by_name_and_nothing_is_run(
    tmp_path: Path, models: Path, photo: Image.Image, content: str, monkeypatch: Any
) -> None:
    import torch
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "upscalers"
    folder.mkdir(parents=True)
    path = folder / ("bad.safetensors" if content in ("cut", "page", "other") else "bad.pth")
    if content == "pickle":
        path.write_bytes(pickle.dumps({"params": Evil()}))
    elif content == "zip pickle":
        torch.save({"params": Evil()}, path)
    elif content == "cut":
        path.write_bytes(weight(models).path.read_bytes()[:100_000])
    elif content == "page":
        path.write_bytes(b"<!DOCTYPE html><html>404</html>")
    else:
        save_file({"weight": torch.zeros(3)}, path)
    bench = Bench(tmp_path / "models", photo)
    with pytest.raises((ModelBroken, InvalidRequest), match=r"bad"):
        bench.up("bad")
    assert not list(tmp_path.rglob("outputs-should-not-be-touched"))


def test_pickles_that_hold_tensors_are_read(tmp_path: Path, models: Path, photo: Image.Image) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "upscalers"
    folder.mkdir()
    torch.save({"params_ema": load_file(weight(models).path)}, folder / "mine.pth")
    assert Bench(tmp_path, photo).up("mine").tobytes() == Bench(models, photo).up().tobytes()


LOCAL = [
    Model(id=UPSCALER_PREFIX + name, title=name, family="upscaler", tasks=frozenset({Task.UPSCALE}))
    for name in (LANCZOS, FAST, "RealESRGAN_x4plus")
]
DRAWS = Model(id="sdxl", title="SDXL", family="sdxl", tasks=frozenset({Task.IMG2IMG, Task.UPSCALE}))
CLOUD = [
    Model(id=f"stability/{word}", title=word, family="stability", tasks=frozenset({Task.UPSCALE}), paid=True)
    for word in ("fast", "conservative", "creative")
]


@pytest.mark.parametrize("mode", UpscaleMode)
@pytest.mark.parametrize("quality", Quality)
@pytest.mark.parametrize("cloud", [False, True])
def test_every_mode_in_every_quality_is_a_request_that_its_model_takes(
    mode: UpscaleMode, quality: Quality, cloud: bool
) -> None:
    models = [*LOCAL, DRAWS, *CLOUD]
    model = choose_upscale_model(mode, quality, models, cloud=cloud)
    assert model is not None
    assert model in find_candidates(mode, models, cloud=cloud)
    assert model.paid == cloud
    request = build_upscale_request(mode, quality, model, models)
    model.check(request)
    assert request.upscale is not None
    width, height = compute_upscaled_size(request.upscale, 960, 540, 4)
    assert (width, height) == (3840, 2160)
    assert (request.upscale.creativity is not None) == (mode is UpscaleMode.CREATIVE)
    assert GenerationRequest.from_json(request.to_json()) == request


def test_modes_take_what_is_there() -> None:
    assert choose_upscale_model(UpscaleMode.CREATIVE, Quality.BEST, LOCAL) is None
    assert choose_upscale_model(UpscaleMode.FAST, Quality.BEST, LOCAL[:1]) == LOCAL[0]
    assert choose_upscale_model(UpscaleMode.FAST, Quality.STANDARD, LOCAL) == LOCAL[1]
    assert choose_upscale_model(UpscaleMode.CONSERVATIVE, Quality.HIGH, LOCAL) == LOCAL[2]
    assert build_upscale_request(UpscaleMode.CREATIVE, Quality.HIGH, DRAWS, LOCAL).upscale == Upscale(
        long_side=3840, creativity=0.35, base="RealESRGAN_x4plus"
    )
