"""Face restoration from end to end. The networks are of the real classes and untrained, since no trained one can be had
offline: what is tested is that faces are found, brought upright, put through, and put back; not how good they look."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest, JobCancelled, ModelBroken
from studio.core.finish import FaceRestoration
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import WeightKind
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.upscale import enhancers, face_restoration, paste_faces
from studio.pipelines.upscale.enhancers import Enhancers
from studio.vision.faces import Face, find_faces
from tests.local_models import RecordingContext, make_local_pipelines, make_seeds

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Restorers of the three kinds, untrained; CodeFormer as its makers publish it, a pickle of tensors."""
    import torch
    from safetensors.torch import save_file
    from spandrel.architectures.GFPGAN import GFPGAN
    from spandrel.architectures.RestoreFormer import RestoreFormer
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    folder = tmp_path_factory.mktemp("models") / "restorers"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(
        _made(lambda: GFPGAN(input_is_latent=True, different_w=True, sft_half=True)), folder / "gfpgan.safetensors"
    )
    save_file(_made(lambda: RestoreFormer(ch=32)), folder / "restoreformer.safetensors")
    torch.save({"params_ema": _made(lambda: CodeFormer(n_layers=1))}, folder / "codeformer.pth")
    return folder.parent


def _made(build: Any) -> dict[str, Any]:
    return {name: tensor.half().contiguous() for name, tensor in build().state_dict().items()}


class Bench:
    """Enhancers over a models folder, and a job."""

    def __init__(self, models: Path, image: Image.Image) -> None:
        self.catalog = Catalog(models, [], models / ".cache")
        pipelines, self.settings = make_local_pipelines(models, self.catalog)  # type: ignore[arg-type]
        self.enhancers = Enhancers(self.catalog, models, pipelines.resources)
        self.ctx = RecordingContext(self.settings, images={"it": image})

    def restored(self, model: str, **wish: Any) -> Image.Image:
        request = GenerationRequest(
            task=Task.RESTORE_FACES, model=f"restorer/{model}", source="it", faces=FaceRestoration(**wish)
        )
        [made] = self.enhancers.render(request, make_seeds(0), self.ctx)
        return made.image


class Stand:
    """A restorer that answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        import torch

        self.answer, self.model, self.seen = answer, torch.nn.Identity(), []

    def __call__(self, square: Any, fidelity: float) -> Any:
        self.seen.append(square)
        return self.answer(square)


def put(image: Image.Image, answer: Any, **wish: Any) -> tuple[Any, Stand]:
    stand = Stand(answer)
    ctx = RecordingContext(None)  # type: ignore[arg-type]
    made = face_restoration.restore_faces(image, find_faces(image), stand, FaceRestoration(**wish), ctx)
    assert ctx.steps[-1] == (len(stand.seen), len(stand.seen))
    return np.asarray(made, dtype=int), stand


def test_the_three_kinds_are_known_by_their_tensors(models: Path, astronaut: Image.Image) -> None:
    bench = Bench(models, astronaut)
    found = {file.name: file.kind for file in bench.catalog.weights()}
    assert found == dict.fromkeys(("codeformer", "gfpgan", "restoreformer"), WeightKind.RESTORER)
    listed = {model.id: model for model in bench.enhancers.models() if Task.RESTORE_FACES in model.tasks}
    assert not listed["restorer/gfpgan"].problem
    assert "Download" in listed["restorer/GFPGANv1.4"].problem


@pytest.mark.parametrize("model", ["gfpgan", "codeformer", "restoreformer"])
def test_the_whole_path_with_the_real_classes(models: Path, astronaut: Image.Image, model: str) -> None:
    bench = Bench(models, astronaut)
    made = np.asarray(bench.restored(model), dtype=int)
    before = np.asarray(astronaut, dtype=int)
    [face] = find_faces(astronaut)
    left, top, right, bottom = (round(side) for side in face.box)
    assert np.abs(made - before)[top:bottom, left:right].mean() > 0.5
    wide, high = right - left, bottom - top
    elsewhere = np.ones(before.shape[:2], bool)
    elsewhere[max(0, top - high) : bottom + high, max(0, left - wide) : right + wide] = False
    assert np.array_equal(made[elsewhere], before[elsewhere])
    assert bench.ctx.loaded == [f"Loading {model}"]
    assert bench.ctx.steps == [(1, 1)]
    if model == "gfpgan":  # which draws noise of its own when it is let
        assert np.array_equal(made, np.asarray(bench.restored(model), dtype=int)), "the same image each time"


def test_codeformer_hears_the_fidelity(models: Path, astronaut: Image.Image) -> None:
    bench = Bench(models, astronaut)
    held = face_restoration.load_restorer(bench.catalog.find(WeightKind.RESTORER, "codeformer"), "cpu")
    asked: list[float] = []

    def hear(_: Any, given: Any, named: dict[str, float]) -> None:
        asked.append(named["weight"])
        raise JobCancelled("That is all that was to be seen.")

    held.model.register_forward_pre_hook(hear, with_kwargs=True)
    for fidelity in (0.2, 0.9):
        with pytest.raises(JobCancelled):
            held(np.zeros((512, 512, 3), np.float32), fidelity)
    assert asked == [0.2, 0.9]


def test_the_face_lies_as_restorers_learnt_it(astronaut: Image.Image) -> None:
    """Brought upright, the landmarks are at the template's places to within a few px, whichever way the image is
    turned."""
    for turned in (astronaut, astronaut.rotate(25, Image.Resampling.BICUBIC), astronaut.resize((1536, 1536))):
        [face] = find_faces(turned)
        _, stand = put(turned, lambda square: square)
        [upright] = find_faces(Image.fromarray(np.clip(stand.seen[0], 0, 255).astype(np.uint8)))
        wanted = np.array(paste_faces._TEMPLATE)
        assert np.abs(np.array(upright.landmarks) - wanted).max() < 30
        place = paste_faces.fit_placement(face)
        there = np.array(
            [[place.a * x - place.b * y + place.x0, place.b * x + place.a * y + place.y0] for x, y in face.landmarks]
        )
        assert np.abs(there - wanted).max() < 30


def test_a_placement_is_exact_where_an_exact_one_is() -> None:
    turn = 0.7 * complex(np.cos(0.4), np.sin(0.4))
    marks = tuple(
        (z.real, z.imag) for z in ((complex(*point) - complex(30, 50)) / turn for point in paste_faces._TEMPLATE)
    )
    place = paste_faces.fit_placement(Face(box=(0, 0, 1, 1), landmarks=marks, score=1))
    assert (place.a, place.b, place.x0, place.y0) == pytest.approx((turn.real, turn.imag, 30, 50))
    corner = complex(*place.compute_corners()[2])
    assert turn * corner + complex(30, 50) == pytest.approx(complex(512, 512))


@pytest.mark.parametrize("side", [256, 512, 2048])
def test_a_restorer_that_changes_nothing_leaves_the_face_as_it_was(astronaut: Image.Image, side: int) -> None:
    image = astronaut.resize((side, side), Image.Resampling.LANCZOS)
    made, _ = put(image, lambda square: square)
    difference = np.abs(made - np.asarray(image, dtype=int))
    assert difference.mean() < 0.4
    assert difference.max() <= (
        45 if side < 600 else 1
    )  # a small face passes through the square, a large one keeps its px


def test_no_border_is_seen(astronaut: Image.Image) -> None:
    """A restorer that draws a chequered face: the change fades in from nothing, nowhere by a step."""
    grid = np.indices((512, 512)).sum(0) // 8 % 2
    made, _ = put(astronaut, lambda square: square * 0 + 255 * grid[..., None].astype(np.float32))
    [face] = find_faces(astronaut)
    corners = np.array(paste_faces.fit_placement(face).compute_corners())
    left, top = np.floor(corners.min(0)).astype(int) - 2
    right, bottom = np.ceil(corners.max(0)).astype(int) + 2
    change = np.abs(made - np.asarray(astronaut, dtype=int)).max(-1)
    assert change.max() > 60
    frame = np.ones(change.shape, bool)
    frame[max(0, top) + 8 : bottom - 8, max(0, left) + 8 : right - 8] = False
    assert change[frame].max() <= 12


def test_colours_stay_the_sources(astronaut: Image.Image) -> None:
    """A restorer that tints: the tint is taken out again, the details that it drew stay."""
    before = np.asarray(astronaut, dtype=int)
    made, _ = put(astronaut, lambda square: square + np.array([40, -30, 20], np.float32))
    [face] = find_faces(astronaut)
    left, top, right, bottom = (round(side) for side in face.box)
    assert np.abs((made - before)[top:bottom, left:right].mean(axis=(0, 1))).max() < 2


def test_visibility_blends(astronaut: Image.Image) -> None:
    before = np.asarray(astronaut, dtype=int)

    def darker(square: Any) -> Any:
        return square * (0.6 + 0.4 * (np.indices((512, 512)).sum(0) // 4 % 2)[..., None].astype(np.float32))

    full, half, none = (put(astronaut, darker, visibility=share)[0] for share in (1.0, 0.5, 0.0))
    assert np.array_equal(none, before)
    off = np.abs((half - before) * 2 - (full - before))[(full > 0) & (full < 255)]  # but where the range ends
    assert np.percentile(off, 99.9) <= 3


def test_several_faces_one_at_the_edge_and_alpha(astronaut: Image.Image) -> None:
    two = Image.new("RGB", (900, 512), "grey")
    two.paste(astronaut, (0, 0))
    two.paste(astronaut.resize((400, 400)).crop((100, 0, 400, 400)), (600, 0))
    two.putalpha(128)
    made, stand = put(two, lambda square: 255 - square)
    assert len(stand.seen) == 2
    assert made.shape == (512, 900, 4)
    assert (made[..., 3] == 128).all()
    for face in find_faces(two):
        left, top, right, bottom = (round(side) for side in face.box)
        assert (
            np.abs(made[top:bottom, left:right, :3] - np.asarray(two, dtype=int)[top:bottom, left:right, :3]).mean() > 2
        )


def test_no_face_is_a_notice(models: Path) -> None:
    import skimage.data

    image = Image.fromarray(skimage.data.coffee()).crop((0, 0, 300, 200))
    bench = Bench(models, image)
    assert bench.restored("gfpgan").tobytes() == image.tobytes()
    assert bench.ctx.notices == [enhancers.NO_FACE_NOTICE]
    assert bench.ctx.loaded == [], "the network is not even loaded"


def test_stopping_is_heard_within_a_face(models: Path, astronaut: Image.Image) -> None:
    bench = Bench(models, astronaut)
    asked = itertools.count()

    def stop() -> None:
        if next(asked) == 9:
            raise JobCancelled("Stopped.")

    bench.ctx.raise_if_cancelled = stop  # type: ignore[method-assign]
    with pytest.raises(JobCancelled):
        bench.restored("restoreformer")
    assert bench.ctx.steps == []


def test_a_file_that_is_no_restorer_is_named(models: Path, astronaut: Image.Image, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from spandrel.architectures.Compact import Compact

    (tmp_path / "restorers").mkdir()
    save_file(
        {name: tensor for name, tensor in Compact().state_dict().items()}, tmp_path / "restorers" / "odd.safetensors"
    )
    save_file({"a": torch.zeros(2)}, tmp_path / "restorers" / "none.safetensors")
    bench = Bench(tmp_path, astronaut)
    with pytest.raises(ModelBroken, match=r"none\.safetensors"):
        bench.restored("none")
    with pytest.raises(InvalidRequest, match="odd"):  # an image upscaler is listed as one, wherever it lies
        bench.restored("odd")
