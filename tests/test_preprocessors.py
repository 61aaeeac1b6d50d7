"""Every annotator: those without weights on real photographs, the others on the real classes with random weights."""

from __future__ import annotations

import dataclasses
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from fakes import DEADLINE, open_engine, wait_until_final
from PIL import Image
from tiny_annotators import make_tiny_grounding_dino, make_tiny_weights, write_constant_dwpose

from studio.core.annotate import compute_map_size
from studio.core.errors import InvalidRequest, ModelBroken, NotConfigured
from studio.core.events import Status
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit, Option
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.jobs.job_context import LaneContext
from studio.engine.plugins import discover
from studio.preprocessors.common import find_objects, pixel_arrays, skeleton, wholebody
from studio.preprocessors.common.network_keeper import NetworkCache
from studio.preprocessors.common.preprocessor_backend import PreprocessorBackend
from studio.preprocessors.normal import compute_normals
from studio.preprocessors.seg import _load_palette

SPECS = discover("studio.preprocessors", "PREPROCESSOR")
READY = [spec for spec in SPECS if not spec.weights]
QUICK = [spec for spec in READY if not spec.network]
READY_MARKED = [pytest.param(spec, marks=pytest.mark.torch if spec.network else (), id=spec.id) for spec in READY]
WEIGHTED = [spec for spec in SPECS if spec.weights]
ASKED_FOR = {
    "canny",
    "depth",
    "openpose",
    "seg",
    "scribble",
    "softedge",
    "lineart",
    "lineart_anime",
    "mlsd",
    "normal",
    "shuffle",
    "tile",
    "inpaint",
}


class Images(LaneContext):
    """A job context that holds images by name."""

    def __init__(self, **images: Image.Image) -> None:
        super().__init__(Settings(device="cpu"))
        self.images = images

    def load_image(self, content_hash: str) -> Image.Image:
        return self.images[content_hash].copy()


def photo(name: str = "coffee") -> Image.Image:
    """A photograph that comes with scikit-image: a cup on a table (600×400), or a woman before a rocket ("astronaut",
    512×512)."""
    with Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png") as file:
        return file.convert("RGB")


def preprocessing(folder: Path) -> PreprocessorBackend:
    return PreprocessorBackend(SPECS, folder, lambda settings: "cpu")


def annotated(
    name: str, image: Image.Image, short_side: int = 0, *, folder: Path = Path("none"), **options: float
) -> Any:
    """The map as an array (height, width, 3) of whole numbers."""
    unit = ControlUnit(
        preprocessor=name, options=tuple(Option(name=key, value=value) for key, value in options.items())
    )
    drawn = preprocessing(folder).annotate(unit, image, short_side or min(image.size), Images())
    assert drawn.mode == "RGB"
    return np.asarray(drawn).astype(int)


def steepness(image: Image.Image) -> Any:
    """How fast the brightness changes at each pixel, (height, width)."""
    down, across = np.gradient(np.asarray(image.convert("L"), float))
    return np.hypot(down, across)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_weights(tmp_path_factory.mktemp("models"))


def test_what_was_asked_for_is_there() -> None:
    assert {kind for spec in SPECS for kind in spec.kinds} >= ASKED_FOR
    assert len({spec.id for spec in SPECS}) == len(SPECS)
    for spec in SPECS:
        assert spec.fill_options(()) == {option.name: option.default for option in spec.options}
        assert all(option.help and option.low < option.high for option in spec.options)
        assert all(offer.bytes > 1_000_000 and offer.licence and "/" in offer.source for offer in spec.weights)


@pytest.mark.parametrize("spec", READY_MARKED)
def test_works_with_no_download_at_the_size_asked_for(spec: Any, tmp_path: Path) -> None:
    drawn = annotated(spec.id, photo(), 256, folder=tmp_path)
    assert drawn.shape == (256, 384, 3)
    assert drawn.std() > 5, "the map of a photograph is not one colour"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spec", READY_MARKED)
@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (1, 1), "red"),
        Image.new("L", (90, 70), 128),
        Image.new("RGBA", (80, 100), (9, 9, 9, 0)),
        Image.new("RGB", (3000, 8), "blue"),
        Image.linear_gradient("L").resize((7, 900)),
    ],
    ids=["1x1", "grey", "transparent", "very wide", "very high"],
)
def test_odd_images(spec: Any, image: Image.Image) -> None:
    drawn = annotated(spec.id, image)
    assert drawn.shape[1::-1] == compute_map_size(*image.size, min(image.size))


def test_map_sizes() -> None:
    assert compute_map_size(600, 400, 512) == (768, 512)
    assert compute_map_size(400, 600, 200) == (200, 300)
    assert compute_map_size(1, 1, 1) == (64, 64), "no map is smaller than its ControlNet can read"
    assert compute_map_size(4000, 3000, 3000) == (4000, 3000)
    assert compute_map_size(3000, 8, 512) == (4096, 11), "a ribbon does not grow without end"
    assert compute_map_size(9000, 100, 100) == (9000, 100)


@pytest.mark.torch
def test_canny_is_the_annotators_own_map() -> None:
    from controlnet_aux import CannyDetector

    image = photo().resize((576, 384))
    own = np.asarray(CannyDetector()(image, 80, 160, detect_resolution=384, image_resolution=384)).astype(int)
    assert (annotated("canny", image, low=80, high=160) == own).all()


@pytest.mark.parametrize("name", ["canny", "softedge_hed", "scribble_hed", "lines"])
def test_edges_are_where_the_image_has_them(name: str) -> None:
    image = photo("astronaut").resize((384, 384))
    drawn = annotated(name, image)[..., 0] > 127
    assert 0.005 < drawn.mean() < 0.4
    steep = steepness(image)
    assert steep[drawn].mean() > 1.8 * steep[~drawn].mean()


@pytest.mark.parametrize("name", ["scribble_xdog", "lineart_standard"])
def test_lines_are_drawn_where_it_is_dark(name: str) -> None:
    image = Image.new("RGB", (200, 100), "white")
    image.paste("black", (98, 0, 102, 100))
    drawn = annotated(name, image)[..., 0]
    assert drawn[:, 99].min() > 120
    assert drawn[:, :60].max() == 0


@pytest.mark.parametrize(
    ("name", "option", "more", "less"),
    [
        ("canny", "high", 110, 250),
        ("scribble_xdog", "threshold", 8, 60),
        ("lines", "length", 0.02, 0.3),
        ("lineart_standard", "threshold", 0, 60),
    ],
)
def test_options_draw_more_or_less(name: str, option: str, more: float, less: float) -> None:
    image = photo("astronaut").resize((256, 256))
    assert annotated(name, image, **{option: more}).sum() > 1.1 * annotated(name, image, **{option: less}).sum()


def test_safe_soft_edges_have_three_levels() -> None:
    assert len(np.unique(annotated("softedge_hed", photo(), 192, safe=1))) == 3
    assert len(np.unique(annotated("softedge_hed", photo(), 192))) > 100


def test_shuffle_keeps_the_colours_and_not_the_shapes() -> None:
    image = photo().resize((300, 200))
    pixels = np.asarray(image).astype(int)
    once, again, other = (annotated("shuffle", image, seed=seed) for seed in (7, 7, 8))
    assert (once == again).all()
    assert abs(once - other).mean() > 10
    assert abs(once - pixels).mean() > 25
    seen = {tuple(colour) for colour in (pixels // 32).reshape(-1, 3)}
    assert np.mean([tuple(colour) in seen for colour in (once // 32).reshape(-1, 3)]) > 0.95


def test_plain_ones_do_what_they_say() -> None:
    image = photo().resize((300, 200))
    pixels = np.asarray(image).astype(int)
    assert (annotated("invert", image) == 255 - pixels).all()
    assert (annotated("tile", image) == pixels).all()
    assert (
        steepness(Image.fromarray(annotated("tile", image, down=8).astype("uint8"))).mean()
        < steepness(image).mean() / 2
    )
    assert set(np.unique(annotated("threshold", image))) == {0, 255}
    bright = np.asarray(image.convert("L")) > 200
    assert (annotated("threshold", image, threshold=200)[..., 0] > 0)[bright].mean() > 0.97
    assert np.ptp(annotated("grey", image), axis=2).max() == 0
    assert annotated("grey", image, gamma=0.5).mean() > annotated("grey", image).mean() + 10
    assert steepness(Image.fromarray(annotated("blur", image).astype("uint8"))).mean() < steepness(image).mean() / 4
    cells = annotated("colour", image, cell=50)
    assert len({tuple(colour) for colour in cells.reshape(-1, 3)}) <= 6 * 4


def test_inpaint_is_black_where_it_is_masked() -> None:
    image = photo().resize((96, 64))
    mask = Image.new("L", image.size)
    mask.paste(255, (10, 10, 40, 30))
    ctx = Images(source=image, mask=mask)
    unit = ControlUnit(preprocessor="inpaint")
    request = GenerationRequest(
        task=Task.PREPROCESS, model="preprocessor/inpaint", source="source", mask="mask", control=(unit,)
    )
    drawn = np.asarray(preprocessing(Path("none")).render(request, [ImageSeed(seed=0)], ctx)[0].image)
    inside = np.asarray(mask) > 0
    assert drawn[inside].max() == 0
    assert (drawn[~inside] == np.asarray(image)[~inside]).all()
    edges = request.replace(model="preprocessor/canny", control=(ControlUnit(preprocessor="canny"),))
    drawn = preprocessing(Path("none")).render(edges, [ImageSeed(seed=0)], ctx)[0].image
    assert (np.asarray(drawn) == annotated("canny", image)).all(), "a mask is nothing to the others"
    ctx.images["mask"] = Image.new("L", (5, 5))
    with pytest.raises(InvalidRequest, match="96×64"):
        preprocessing(Path("none")).render(request, [ImageSeed(seed=0)], ctx)


def test_transparent_parts_count_as_white() -> None:
    image = photo().resize((96, 64)).convert("RGBA")
    image.putalpha(0)
    assert annotated("canny", image).max() == 0
    assert annotated("tile", image).min() == 255


def test_options_that_there_are_not() -> None:
    with pytest.raises(InvalidRequest, match="no option 'lows'") as refused:
        annotated("canny", photo(), lows=3)
    assert refused.value.hint == "It has: low, high."
    with pytest.raises(InvalidRequest, match="outside 1 to 255"):
        annotated("canny", photo(), low=400)
    with pytest.raises(InvalidRequest, match="Preprocessor 'cany' not found") as refused:
        annotated("cany", photo())
    assert "canny" in refused.value.hint


def test_none_is_the_image_itself() -> None:
    assert (annotated("none", photo()) == np.asarray(photo())).all()
    assert annotated("none", photo(), 100).shape == (100, 150, 3)


@pytest.mark.parametrize("spec", WEIGHTED, ids=lambda spec: spec.id)
def test_without_its_weights_it_says_what_to_fetch(spec: Any, tmp_path: Path) -> None:
    backend = preprocessing(tmp_path)
    with pytest.raises(NotConfigured) as refused:
        backend.annotate(ControlUnit(preprocessor=spec.id), photo(), 256, Images())
    for offer in spec.weights:
        assert offer.title in refused.value.hint
        assert offer.licence in refused.value.hint
        assert offer in backend.list_downloadable_weights()
    assert " MB" in refused.value.hint or " GB" in refused.value.hint
    assert refused.value.details["offers"] == [offer.id for offer in spec.weights]
    model = next(model for model in backend.models() if model.id == f"preprocessor/{spec.id}")
    assert refused.value.hint in model.problem
    assert not list(tmp_path.iterdir())


@pytest.mark.torch
@pytest.mark.parametrize("spec", WEIGHTED, ids=lambda spec: spec.id)
def test_runs_its_own_weights(spec: Any, weights: Path) -> None:
    backend = preprocessing(weights)
    assert not next(model for model in backend.models() if model.id == f"preprocessor/{spec.id}").problem
    drawn = annotated(spec.id, photo(), 130, folder=weights, **_EAGER.get(spec.id, {}))
    assert drawn.shape == (130, 195, 3)
    assert drawn.std() > 0, "random weights draw something"


_EAGER = {
    "openpose": {"person": 0.05, "joint": 0.05},
    "dwpose": {"person": 0.05},
    "mlsd": {"score": 0.01, "distance": 0.01},
}


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mlsd", "openpose", "dwpose"])
def test_nothing_found_is_a_black_map(name: str, weights: Path) -> None:
    options = {"mlsd": {"score": 1.0, "distance": 20.0}, "openpose": {"person": 0.95}, "dwpose": {"person": 0.95}}[name]
    assert annotated(name, photo(), 128, folder=weights, **options).max() == 0


@pytest.mark.torch
def test_a_network_enlarges_its_map_of_a_large_image() -> None:
    image = Image.new("RGB", (2400, 300), "white")
    image.paste("black", (1200, 0, 2400, 300))
    drawn = annotated("softedge_hed", image)[..., 0]
    assert drawn.shape == (300, 2400)
    assert drawn[150, 1190:1211].max() > 100
    assert drawn[150, 300:900].max() < 40


@pytest.mark.torch
def test_a_large_segmentation_has_the_classes_colours_only(weights: Path) -> None:
    drawn = annotated("seg", photo().resize((1500, 1000)), folder=weights)
    assert drawn.shape == (1000, 1500, 3)
    palette = {tuple(colour) for colour in _load_palette()}
    assert {tuple(colour) for colour in np.unique(drawn.reshape(-1, 3), axis=0)} <= palette


@pytest.mark.torch
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x80\x02garbage"])
def test_damaged_weights(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "preprocessors").mkdir()
    (tmp_path / "preprocessors" / "table5_pidinet.pth").write_bytes(content)
    (tmp_path / "preprocessors" / "Depth-Anything-V2-Small-hf").mkdir()
    for name in ("softedge_pidi", "depth"):
        with pytest.raises(ModelBroken, match="cannot be read") as broken:
            annotated(name, photo(), 64, folder=tmp_path)
        assert str(tmp_path) not in broken.value.message + broken.value.hint


@pytest.mark.torch
def test_nothing_is_asked_of_the_network(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **rest: asked.append(address))
    for spec in WEIGHTED:
        annotated(spec.id, photo(), 64, folder=weights)
    preprocessing(weights).find("cup", photo(), Images())
    assert not asked


def test_a_package_that_is_not_installed(tmp_path: Path) -> None:
    spec = dataclasses.replace(next(spec for spec in SPECS if spec.package), package="no_such_package")
    backend = PreprocessorBackend([spec], tmp_path, lambda settings: "cpu")
    with pytest.raises(NotConfigured, match="no-such-package is not installed") as refused:
        backend.annotate(ControlUnit(preprocessor=spec.id), photo(), 64, Images())
    assert "pip install --no-deps no-such-package" in refused.value.hint
    assert "no-such-package" in backend.models()[0].problem


@pytest.mark.torch
def test_words_find_a_mask(weights: Path) -> None:
    backend = preprocessing(weights)
    for image in (photo(), photo().convert("RGBA").resize((90, 60)), photo().resize((2400, 300))):
        size = image.size
        mask = backend.find("a red cup, spoon", image, Images())
        assert mask.mode == "L"
        assert mask.size == image.size == size
        assert set(np.unique(np.asarray(mask))) <= {0, 255}


@pytest.mark.torch
def test_what_words_find_is_a_map_of_its_own(weights: Path) -> None:
    backend = preprocessing(weights)
    model = next(model for model in backend.models() if model.id == "preprocessor/words")
    assert not model.problem
    images = Images(source=photo())
    request = GenerationRequest(
        task=Task.PREPROCESS,
        model=model.id,
        source="source",
        search="a cup",
        control=(ControlUnit(preprocessor="words"),),
    )
    (map_,) = backend.render(request, [ImageSeed(seed=1)], images)
    assert map_.image.tobytes() == backend.find("a cup", photo(), images).tobytes()


@pytest.mark.torch
def test_words_that_find_nothing(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "preprocessors").mkdir()
    (tmp_path / "preprocessors" / "sam2.1-hiera-tiny").symlink_to(weights / "preprocessors" / "sam2.1-hiera-tiny")
    make_tiny_grounding_dino(tmp_path / "preprocessors" / "grounding-dino-tiny", finds=False)
    with pytest.raises(InvalidRequest, match="“red cup” was not found") as refused:
        preprocessing(tmp_path).find("Red  cup.", photo(), Images())
    assert "mask" in refused.value.hint
    with pytest.raises(InvalidRequest, match="Nothing to search for"):
        preprocessing(tmp_path).find(" . ", photo(), Images())


def test_words_without_weights(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="Search by words") as refused:
        preprocessing(tmp_path).find("cup", photo(), Images())
    assert all(offer.title in refused.value.hint for offer in find_objects.SEARCH_WEIGHTS)


def test_the_figure_has_its_limbs_where_the_joints_are() -> None:
    joints = np.zeros((17, 3))
    joints[:, :2] = [10, 10]
    joints[5], joints[6] = (120, 60, 0.9), (80, 60, 0.9)  # shoulders: the neck between them
    joints[8] = (80, 160, 0.9)  # right elbow
    people = [skeleton.from_coco(joints, 0.5)]
    assert people[0][1] == (100, 60)
    assert people[0][0] is None
    drawn = skeleton.draw_skeletons(people, (200, 200))
    assert drawn[110, 80].max() > 0
    assert drawn[60, 110].max() > 0
    assert drawn[100:, 120:].max() == 0
    assert drawn[:40].max() == 0


def test_normals_of_a_ball() -> None:
    """Red on its left, green on its upper side, blue in its middle; the ground far behind it is flat."""
    down, across = np.mgrid[-1:1:201j, -1:1:201j]
    ball = np.sqrt(np.clip(0.8**2 - across**2 - down**2, 0, None))
    drawn = compute_normals(ball, strength=1.0, background=0.05)
    middle, left, right, top, bottom = drawn[100, 100], drawn[100, 50], drawn[100, 150], drawn[50, 100], drawn[150, 100]
    assert middle[2] > 250
    assert abs(middle[:2] - 127.5).max() < 3
    assert left[0] > 170
    assert right[0] < 85
    assert top[1] > 170
    assert bottom[1] < 85
    assert drawn[5, 5] == pytest.approx((127.5, 127.5, 255))


def test_whole_body_joints_come_back_to_the_image(tmp_path: Path) -> None:
    write_constant_dwpose(tmp_path / "network.onnx")
    network = wholebody.load_wholebody_network(tmp_path / "network.onnx")
    box = np.array([400.0, 100.0, 60.0, 384.0 / 1.25])  # so high that a pixel of the network is one of the image's
    found = wholebody.detect_joints(photo().resize((900, 600)), box, network)
    corner = (400 + 30 - 288 / 2, 100 + 384 / 2.5 - 384 / 2)
    assert found.shape == (133, 3)
    assert found[:, 0] == pytest.approx(corner[0] + 72 + np.arange(133), abs=0.01)
    assert found[:, 1] == pytest.approx(corner[1] + 100 + np.arange(133), abs=0.01)
    assert found[:, 2] == pytest.approx(0.9)
    canvas = np.zeros((600, 900, 3), np.uint8)
    wholebody.draw_hands_and_face(canvas, found, 0.95)
    assert canvas.max() == 0
    wholebody.draw_hands_and_face(canvas, found, 0.5)
    across, down = found[50, :2].round().astype(int)
    assert canvas[down, across].tolist() == [255, 255, 255], "a point of the face"
    across, down = found[95, :2].round().astype(int)
    assert canvas[down, across].max() == 255, "a joint of the left hand"


def test_ridges_become_strokes() -> None:
    soft = np.zeros((120, 120), np.float32)
    soft[:, 55:66] = np.hanning(13)[1:-1] * 255
    strokes = pixel_arrays.thin_edges(soft * 1.2)
    assert set(np.unique(strokes)) == {0, 255}
    assert strokes[60, 60] == 255
    assert strokes[:, :45].max() == 0


def test_loaded_once_for_all_threads() -> None:
    keeper, loads = NetworkCache(most=2), []
    meet = threading.Barrier(4)

    def load() -> str:
        loads.append(1)
        return "network"

    def ask(_: int) -> Any:
        meet.wait(DEADLINE)
        return keeper.get("one", load)

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(ask, range(4))) == {"network"}
    assert len(loads) == 1
    keeper.get("two", load)
    keeper.get("three", load)
    keeper.get("one", load)
    assert len(loads) == 4, "the one unused for longest had left"
    keeper.clear()
    keeper.get("one", load)
    assert len(loads) == 5


def test_a_load_that_fails_is_tried_again() -> None:
    keeper = NetworkCache()

    def fail() -> None:
        raise ModelBroken("no")

    with pytest.raises(ModelBroken):
        keeper.get("one", fail)
    assert keeper.get("one", lambda: 3) == 3


def test_through_the_engine(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "outputs", preprocessing(tmp_path / "models"))
    try:
        kept = engine.keep_image(photo(), LOCAL_USER)
        unit = ControlUnit(preprocessor="canny")
        request = GenerationRequest(task=Task.PREPROCESS, model="preprocessor/canny", source=kept.hash, control=(unit,))
        jobs = [engine.submit(request, LOCAL_USER) for _ in range(3)]
        smaller = ControlUnit(preprocessor="canny", pixel_perfect=False, resolution=200)
        jobs.append(engine.submit(request.replace(control=(smaller,)), LOCAL_USER))
        ends = [wait_until_final(job) for job in jobs]
        assert [end.status for end in ends] == [Status.FINISHED] * 4
        sizes = [(asset.width, asset.height) for end in ends for asset in end.assets]
        assert sizes == [(600, 400)] * 3 + [(300, 200)]
    finally:
        engine.close()


def test_a_model_and_another_preprocessor() -> None:
    unit = ControlUnit(preprocessor="tile")
    request = GenerationRequest(task=Task.PREPROCESS, model="preprocessor/canny", source="s", control=(unit,))
    with pytest.raises(InvalidRequest, match="tile"):
        preprocessing(Path("none")).render(request, [ImageSeed(seed=0)], Images(s=photo()))
