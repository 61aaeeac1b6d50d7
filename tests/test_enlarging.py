"""Enlarging by the network that a model brings for its own images: who can, what is asked, what comes out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from fakes import FakeBackend, open_engine, wait_until_final
from PIL import Image, ImageDraw

from studio.api.dialects.fit_request import fit_to_model
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.feature import Feature
from studio.core.fields import HIRES_FIELDS, REQUEST_FIELDS
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.model import Model, Sampling, Sizes
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit, Hires, Inpaint, Outpaint
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.core.weights import WeightFile, WeightKind
from studio.engine.models.fallback_request import adapt
from studio.pipelines.catalog.model_folders import find_model_upscaler
from studio.pipelines.families import sd15
from studio.pipelines.run.ground_editing import find_square
from studio.pipelines.run.scene_layout import Spot
from studio.tabs.common.form_values import read_form, write_form
from tests.local_models import EMBEDDED, FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_models import make_tiny_sd15

SMALL = Model(
    id="small",
    title="Small",
    family="x",
    tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}),
    sampling=Sampling(enlarge=True),
    sizes=Sizes(liked=((128, 128),), smallest=64, largest=16_384, max_pixels=2**30),
)
PLAIN = Model(id="plain", title="Plain", family="x", features=SMALL.features - {Feature.ENLARGE})
_NAMES = (spec.form_name for spec in (*REQUEST_FIELDS, *HIRES_FIELDS))
FRESH_FORM = MappingProxyType(dict.fromkeys(_NAMES) | write_form(GenerationRequest()))


def describe(folder: Path) -> Model:
    return sd15.PIPELINE.describe(
        WeightFile(name=folder.name, kind=WeightKind.CHECKPOINT, path=folder, bytes=1, family="sd15")
    )


def test_the_model_that_ships_brings_its_upscaler_and_asks_for_it() -> None:
    model = describe(EMBEDDED)
    assert Feature.ENLARGE in model.features
    assert model.sampling.enlarge
    assert model.get_result_size(GenerationRequest(enlarge=True)) == (512, 512)
    assert model.get_result_size(GenerationRequest()) == (128, 128)


def test_the_upscaler_is_small_and_named_among_the_checksums() -> None:
    file = find_model_upscaler(EMBEDDED)
    assert file is not None
    assert file.stat().st_size < 5_000_000
    assert "upscaler/model.safetensors" in (EMBEDDED / "SHA256SUMS").read_text()


@pytest.mark.torch
def test_a_folder_without_an_upscaler_does_not_enlarge(tmp_path: Path) -> None:
    make_tiny_sd15(tmp_path / "tiny")
    model = describe(tmp_path / "tiny")
    assert Feature.ENLARGE not in model.features
    assert not model.sampling.enlarge
    with pytest.raises(InvalidRequest, match="enlarging"):
        model.check(GenerationRequest(model="tiny", enlarge=True))


def test_a_recipe_that_says_nothing_of_it_stays_as_small_as_it_was() -> None:
    assert not GenerationRequest.from_json({"prompt": "a red apple", "seed": 0}).enlarge
    assert write_form(GenerationRequest(seed=0))["enlarge"] is False


@pytest.mark.parametrize(
    ("asked", "model", "expected"),
    [
        ({"width": 512, "height": 512}, SMALL, (128, 128, True)),
        ({"width": 768, "height": 512}, SMALL, (128, 128, True)),
        ({"width": 128, "height": 128}, SMALL, (128, 128, False)),
        ({"width": 144, "height": 144}, SMALL, (144, 144, False)),
        ({"width": 160, "height": 160}, SMALL, (128, 128, True)),
        ({"width": 256, "height": 256}, SMALL, (128, 128, True)),
        ({"width": 520, "height": 512}, SMALL, (128, 128, True)),
        ({"width": 1024, "height": 1024}, SMALL, (128, 128, True)),
        ({"width": 1344, "height": 768}, SMALL, (128, 128, True)),
        ({"width": 1344, "height": 768, "task": Task.IMG2IMG}, SMALL, (168, 96, True)),
        ({"width": 1344, "height": 768, "control": (ControlUnit(image="it"),)}, SMALL, (168, 96, True)),
        ({"width": 1024, "height": 64, "task": Task.IMG2IMG}, SMALL, (1024, 64, False)),
        ({"width": 512, "height": 512, "hires": Hires()}, SMALL, (512, 512, False)),
        ({"width": 512, "height": 512, "task": Task.IMG2IMG}, SMALL, (128, 128, True)),
        ({"width": 512, "height": 512, "task": Task.INPAINT}, SMALL, (128, 128, True)),
        ({"width": 512, "height": 512, "task": Task.EDIT}, SMALL, (512, 512, False)),
        ({"width": 128, "height": 128, "task": Task.IMG2IMG}, SMALL, (128, 128, False)),
        ({"width": 512, "height": 512}, PLAIN, (512, 512, False)),
        ({}, SMALL, (None, None, True)),
        ({"aspect": "16:9"}, SMALL, (128, 128, True)),
        ({}, PLAIN, (None, None, False)),
        ({"hires": Hires()}, SMALL, (None, None, False)),
    ],
)
def test_sizes_of_other_programs_are_reached_by_enlarging_where_that_is_nearer_to_the_training(
    asked: dict[str, Any], model: Model, expected: tuple[int | None, int | None, bool]
) -> None:
    fitted, notes = fit_to_model(GenerationRequest(**asked), model)
    assert (fitted.width, fitted.height, fitted.enlarge) == expected
    assert any("enlarged" in note for note in notes) == fitted.enlarge
    if fitted.task in model.tasks:
        model.check(fitted)
    if "width" in asked:
        assert model.get_result_size(fitted.replace(hires=None)) == (asked["width"], asked["height"])


def test_the_model_that_ships_is_asked_for_what_it_knows_where_another_program_wants_more() -> None:
    model = describe(EMBEDDED)
    for width, height in ((1024, 1024), (1024, 1536), (1920, 1080), (2048, 2048)):
        fitted, _ = fit_to_model(GenerationRequest(width=width, height=height), model)
        assert (fitted.width, fitted.height) == (128, 128)
        model.check(fitted)
        assert model.get_result_size(fitted) == (width, height)
        assert fit_to_model(fitted, model, is_own=True)[0] == fitted


@pytest.mark.parametrize(
    ("source", "drawn"),
    [((512, 512), (128, 128)), ((500, 376), (120, 88)), ((1024, 1024), (128, 128)), ((256, 256), (128, 128))],
)
def test_a_request_of_another_program_without_a_size_keeps_that_of_its_source(
    source: tuple[int, int], drawn: tuple[int, int]
) -> None:
    asked = GenerationRequest(task=Task.IMG2IMG, source="it")
    fitted, _ = fit_to_model(asked, SMALL, source=source)
    assert (fitted.width, fitted.height, fitted.enlarge) == (*drawn, True)
    assert SMALL.get_result_size(fitted) == source
    assert fit_to_model(asked, PLAIN, source=source) == (asked, ())


def test_a_small_source_of_another_program_is_drawn_as_it_is() -> None:
    asked = GenerationRequest(task=Task.IMG2IMG, source="it")
    assert fit_to_model(asked, SMALL, source=(128, 128)) == (asked, ())
    assert fit_to_model(asked, SMALL, source=None) == (asked, ())


def test_what_is_drawn_under_a_mask_is_enlarged_as_usual_and_put_back_at_the_size_of_the_source() -> None:
    asked = GenerationRequest(task=Task.INPAINT, source="it", mask="mask")
    fitted, _ = fit_to_model(asked, SMALL, source=(1024, 1024))
    assert (fitted.width, fitted.enlarge, fitted.enlarged_size) == (128, True, "")


@pytest.mark.parametrize(
    ("source", "drawn"),
    [
        ((512, 512), (128, 128)),
        ((704, 320), (176, 80)),
        ((1024, 1024), (128, 128)),
        ((4000, 3000), (144, 104)),
        ((500, 500), (120, 120)),
        ((256, 256), (128, 128)),
        ((128, 128), (128, 128)),
        ((64, 96), (64, 96)),
    ],
)
def test_a_source_is_drawn_so_small_that_the_result_is_as_large_as_it(
    source: tuple[int, int], drawn: tuple[int, int]
) -> None:
    assert SMALL.get_source_size(GenerationRequest(enlarge=True), *source) == drawn
    assert SMALL.get_source_size(GenerationRequest(), *source) == SMALL.sizes.find_nearest_size(*source)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ((512, 512), (512, 512)),
        ((1024, 1024), (1024, 1024)),
        ((1600, 1200), (1600, 1200)),
        ((4000, 3000), (2048, 1536)),
        ((500, 500), (500, 500)),
        ((256, 256), (512, 512)),
        ((64, 96), (256, 384)),
    ],
)
def test_an_enlarged_result_is_as_large_as_its_source(source: tuple[int, int], result: tuple[int, int]) -> None:
    fitted = SMALL.fit_to_source(GenerationRequest(task=Task.IMG2IMG, source="it", enlarge=True), *source)
    SMALL.check(fitted)
    assert SMALL.get_result_size(fitted) == result
    assert SMALL.fit_to_source(GenerationRequest(), *source).enlarged_size == ""


def test_an_enlarged_size_has_the_shape_of_what_is_drawn_and_is_in_the_recipe() -> None:
    asked = GenerationRequest(prompt="an apple", width=128, height=128, enlarge=True, enlarged_size="1000x1000")
    SMALL.check(asked)
    assert SMALL.get_result_size(asked) == (1000, 1000)
    assert SMALL.get_result_size(asked.replace(enlarge=False)) == (128, 128)
    text = format_infotext(asked, model=SMALL, width=128, height=128, seed=1)
    assert "Size: 128x128" in text
    assert parse_infotext(text).request.enlarged_size == "1000x1000"
    assert "1000" not in format_infotext(asked.replace(enlarge=False), model=SMALL, width=128, height=128, seed=1)
    assert read_form({**FRESH_FORM, **write_form(asked)}, SMALL).enlarged_size == "1000x1000"
    with pytest.raises(InvalidRequest, match="another shape than the 128×128 px"):
        SMALL.check(asked.replace(task=Task.IMG2IMG, source="it", enlarged_size="1000x800"))
    SMALL.check(asked.replace(enlarged_size="1000x800"))
    with pytest.raises(InvalidRequest, match="another shape than the 128×64 px"):
        SMALL.check(asked.replace(height=64))
    with pytest.raises(InvalidRequest, match="is not a size"):
        asked.replace(enlarged_size="large")


def test_a_job_says_at_which_size_its_source_was_drawn(tmp_path: Path) -> None:
    backend = FakeBackend(SMALL)
    engine = open_engine(tmp_path, backend, default_model=SMALL.id)
    kept = engine.keep_image(Image.new("RGB", (512, 512), "red"), LOCAL_USER)
    asked = GenerationRequest(task=Task.IMG2IMG, source=kept.hash, enlarge=True)
    snapshot = wait_until_final(engine.submit(asked, LOCAL_USER))
    drawn, _ = backend.seen[0]
    assert (drawn.width, drawn.height) == (128, 128)
    (asset,) = snapshot.assets
    assert "Drawn at 128×128 px and enlarged to 512×512 px." in asset.notes
    assert "Size: 128x128" in asset.infotext
    plain = wait_until_final(engine.submit(asked.replace(enlarge=False), LOCAL_USER))
    assert backend.seen[1][0].width == 512
    assert not any("enlarged" in note for note in plain.assets[0].notes)
    engine.close()


def test_a_size_that_is_larger_than_what_the_model_knows_is_drawn_as_asked_and_a_better_one_named(
    tmp_path: Path,
) -> None:
    engine = open_engine(tmp_path, FakeBackend(SMALL, PLAIN), default_model=SMALL.id)

    def read_notes(**fields: Any) -> list[str]:
        snapshot = wait_until_final(engine.submit(GenerationRequest(**fields), LOCAL_USER))
        return [note for note in snapshot.assets[0].notes if "twice" in note]

    (note,) = read_notes(width=256, height=256, enlarge=True)
    assert note == (
        "Drawn at 256×256 px, where Small shows things twice or stretched. Draw at 128×128 px and enlarge to "
        "1024×1024 px instead."
    )
    assert not read_notes(width=128, height=128, enlarge=True, enlarged_size="1024x1024")
    assert not read_notes(width=256, height=256, model=PLAIN.id)
    engine.close()


def test_what_is_drawn_by_instruction_is_not_enlarged_and_nothing_beyond_what_an_image_may_have() -> None:
    SMALL.check(GenerationRequest(task=Task.IMG2IMG, source="it", enlarge=True))
    edits = dataclasses.replace(SMALL, tasks=frozenset({Task.EDIT}))
    with pytest.raises(InvalidRequest, match="does not support enlarging in edit"):
        edits.check(GenerationRequest(task=Task.EDIT, source="it", enlarge=True))
    with pytest.raises(InvalidRequest, match="would be 32768×512"):
        SMALL.check(GenerationRequest(width=8192, height=128, enlarge=True))


def test_a_form_asks_for_it_of_models_that_have_it_and_never_in_a_grid_of_models() -> None:
    ticked = {**FRESH_FORM, "enlarge": True}
    assert read_form(ticked, SMALL).enlarge
    assert not read_form({**ticked, "enlarge": False}, SMALL).enlarge
    assert not read_form(ticked, PLAIN).enlarge
    assert not read_form({**ticked, "axis_x": "Model", "axis_x_values": "small, plain"}, SMALL).enlarge


def test_a_fallback_model_without_it_draws_in_its_own_size() -> None:
    assert not adapt(GenerationRequest(model="small", enlarge=True), PLAIN).enlarge
    asked = GenerationRequest(model="small", width=128, height=128, enlarge=True)
    for size, drawn in (("", (512, 512)), ("1024x1024", (1024, 1024)), ("256x256", (512, 512))):
        adapted = adapt(asked.replace(enlarged_size=size), PLAIN)
        assert (adapted.width, adapted.height, adapted.enlarge, adapted.enlarged_size) == (*drawn, False, "")


def test_a_fallback_model_that_enlarges_draws_what_it_knows_and_gives_the_size_that_was_asked_for() -> None:
    adapted = adapt(GenerationRequest(model="plain", width=1024, height=768), SMALL)
    assert (adapted.width, adapted.height, adapted.enlarge) == (128, 128, True)
    assert SMALL.get_result_size(adapted) == (1024, 768)
    assert adapt(GenerationRequest(model="plain"), SMALL).enlarge
    small = adapt(GenerationRequest(model="plain", width=128, height=128), SMALL)
    assert (small.width, small.enlarge) == (128, False)
    assert not adapt(GenerationRequest(model="plain", hires=Hires(scale=2), width=512, height=512), SMALL).enlarge


def test_work_on_an_image_by_a_fallback_model_has_the_size_of_its_source(tmp_path: Path) -> None:
    backend = FakeBackend(SMALL)
    engine = open_engine(tmp_path, backend, default_model=SMALL.id, fallback_model=SMALL.id)
    kept = engine.keep_image(Image.new("RGB", (1024, 1024), "red"), LOCAL_USER)
    asked = GenerationRequest(task=Task.IMG2IMG, source=kept.hash, model="gone")
    snapshot = wait_until_final(engine.submit(asked, LOCAL_USER))
    drawn, _ = backend.seen[0]
    assert (drawn.width, drawn.enlarge, SMALL.get_result_size(drawn)) == (128, True, (1024, 1024))
    assert "Drawn at 128×128 px and enlarged to 1024×1024 px." in snapshot.assets[0].notes
    engine.close()


@pytest.mark.torch
def test_the_enlarged_image_is_the_small_one_through_the_network_every_time(tmp_path: Path) -> None:
    from studio.pipelines.upscale.upscale_image import enlarge_image, load_upscaler

    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"embedded": EMBEDDED}))
    ctx = RecordingContext(settings)

    def draw(*seeds: int, **changes: bool) -> list[Image.Image]:
        request = make_request("embedded", count=len(seeds), **changes)
        return [one.image for one in backend.render(request, make_seeds(*seeds), ctx)]

    small, large, again = draw(1, 2), draw(1, 2, enlarge=True), draw(1, 2, enlarge=True)
    path = find_model_upscaler(EMBEDDED)
    assert path is not None
    file = WeightFile(name="it", kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size)
    network = load_upscaler(file, "cpu")
    assert [image.size for image in small] == [(64, 64)] * 2
    for before, after, repeated in zip(small, large, again, strict=True):
        assert after.size == (256, 256)
        assert after.tobytes() == repeated.tobytes() == enlarge_image(before, (256, 256), network).tobytes()
        plain = before.resize((256, 256), Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(after, float) - np.asarray(plain, float)).mean() > 0.5  # more than resampled
    backend.close()


@pytest.mark.torch
def test_a_square_image_is_set_on_its_ground_in_another_shape_and_goes_twice_through_the_network_at_most(
    tmp_path: Path,
) -> None:
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"embedded": EMBEDDED}))

    def draw(enlarged_size: str) -> Image.Image:
        request = make_request("embedded", enlarge=True, enlarged_size=enlarged_size, seed=1)
        return backend.render(request, make_seeds(1), RecordingContext(settings))[0].image

    usual, stretched, wide = draw(""), draw("288x288"), draw("416x256")
    assert (usual.size, stretched.size, wide.size) == ((256, 256), (288, 288), (416, 256))
    assert stretched.tobytes() == usual.resize((288, 288), Image.Resampling.LANCZOS).tobytes()
    inner = (slice(20, 236), slice(100, 316))
    moved = np.asarray(usual, float)[20:236, 20:236]
    assert np.abs(np.asarray(wide, float)[inner] - moved).mean() < 20
    assert len(set(map(tuple, np.asarray(wide)[:, :60].reshape(-1, 3).tolist()))) == 1
    assert draw("512x512").tobytes() != usual.resize((512, 512), Image.Resampling.LANCZOS).tobytes()
    assert draw("1280x1280").tobytes() == draw("1024x1024").resize((1280, 1280), Image.Resampling.LANCZOS).tobytes()
    backend.close()


@pytest.mark.torch
def test_a_damaged_upscaler_is_named_and_without_it_the_model_still_draws(tmp_path: Path) -> None:
    folder = tmp_path / "embedded"
    shutil.copytree(EMBEDDED, folder)
    file = folder / "upscaler" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"embedded": folder}))
    ctx = RecordingContext(settings)
    with pytest.raises(ModelBroken, match="The upscaler of embedded cannot be used") as found:
        backend.render(make_request("embedded", enlarge=True), make_seeds(1), ctx)
    assert found.value.hint == "Switch enlarging off, or restore the file in the model's folder."
    (small,) = backend.render(make_request("embedded"), make_seeds(1), ctx)
    assert small.image.size == (64, 64)
    backend.close()


@pytest.mark.torch
def test_a_redrawn_image_goes_through_the_network_once_and_what_a_mask_keeps_stays(tmp_path: Path) -> None:
    from studio.pipelines.upscale.upscale_image import enlarge_image, load_upscaler

    path = find_model_upscaler(EMBEDDED)
    assert path is not None
    file = WeightFile(name="it", kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size)
    network = load_upscaler(file, "cpu")
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"embedded": EMBEDDED}))
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    source = Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC)
    mask = Image.new("L", (256, 256))
    mask.paste(255, (128, 0, 256, 256))
    ctx = RecordingContext(settings, images={"source": source, "mask": mask})

    def draw(task: Task, **changes: Any) -> Image.Image:
        request = make_request("embedded", task=task, source="source", strength=0.5, **changes)
        (made,) = backend.render(request, make_seeds(1), ctx)
        return made.image

    for loops in (1, 2):
        small, large = (draw(Task.IMG2IMG, loops=loops, enlarge=enlarge) for enlarge in (False, True))
        assert small.size == (64, 64)
        assert large.tobytes() == enlarge_image(small, (256, 256), network).tobytes()
    inpaint = Inpaint(mask_blur=0)
    plain, crisp = (draw(Task.INPAINT, mask="mask", inpaint=inpaint, enlarge=enlarge) for enlarge in (False, True))
    assert plain.size == crisp.size == (256, 256)
    left, right = (0, 0, 128, 256), (128, 0, 256, 256)
    assert crisp.crop(left).tobytes() == source.crop(left).tobytes()
    assert crisp.crop(right).tobytes() != plain.crop(right).tobytes()
    grown = draw(Task.OUTPAINT, outpaint=Outpaint(right=128), enlarge=True)
    assert grown.size == (384, 256)
    backend.close()


@pytest.mark.torch
@pytest.mark.parametrize(("size", "left"), [((416, 256), 10), ((416, 256), 80), ((256, 416), 0)])
def test_a_single_thing_on_a_plain_ground_of_another_shape_is_redrawn_in_its_square(
    tmp_path: Path, size: tuple[int, int], left: int
) -> None:
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"embedded": EMBEDDED}))
    wide = size[0] > size[1]
    top = 0 if wide else 90
    square = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(square).ellipse((40, 40, 216, 216), "red")
    source = Image.new("RGB", size, "white")
    source.paste(square, (left, top))
    ctx = RecordingContext(settings, images={"wide": source, "square": square})

    def redraw(name: str, **changes: Any) -> Image.Image:
        request = make_request("embedded", task=Task.IMG2IMG, source=name, strength=0.5, enlarge=True, **changes)
        return backend.render(request, make_seeds(1), ctx)[0].image

    shape = {"width": 104, "height": 64} if wide else {"width": 64, "height": 104}
    alone, whole = redraw("square"), redraw("wide", **shape)
    assert ctx.notices == ["Redrawn at 64×64 px on its plain ground."]
    assert ctx.steps[-1] == (1, 1)
    assert whole.size == size
    inner = whole.crop((left + 20, top + 20, left + 236, top + 236))
    assert np.abs(np.asarray(inner, float) - np.asarray(alone, float)[20:236, 20:236]).mean() < 6
    outside = np.asarray(whole.crop((left + 256, 0, *size)) if wide else whole.crop((0, 0, 256, top)))
    assert len(set(map(tuple, outside.reshape(-1, 3).tolist()))) == 1
    assert redraw("wide", **shape, tiling=True).size == size
    assert len(ctx.notices) == 1
    backend.close()


def test_what_fills_an_image_or_is_no_thing_has_no_square() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 128, 3), np.uint8)
    assert find_square(Image.fromarray(noise)) is None
    assert find_square(Image.new("RGB", (128, 64), "blue")) is None
    long = Image.new("RGB", (128, 64), "white")
    ImageDraw.Draw(long).rectangle((20, 20, 100, 40), "red")
    assert find_square(long) is None
    ImageDraw.Draw(long).rectangle((60, 0, 128, 64), "white")
    assert find_square(long) == Spot(8, 0, 64)
    assert find_square(long.transpose(Image.Transpose.ROTATE_270)) == Spot(0, 8, 64)
