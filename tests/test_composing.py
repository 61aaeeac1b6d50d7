"""Images of several things, each drawn by itself: who can, what is asked, where things stand, what comes out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from fakes import FakeBackend, open_engine, wait_until_final
from PIL import Image

from studio.api.dialects.fit_request import fit_to_model
from studio.core.errors import InvalidRequest
from studio.core.feature import Feature
from studio.core.fields import HIRES_FIELDS, REQUEST_FIELDS
from studio.core.infotext import format_infotext
from studio.core.model import Model, Sampling
from studio.core.request import GenerationRequest
from studio.core.request_parts import ComposedSource
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.core.weights import WeightFile, WeightKind
from studio.engine.models.fallback_request import adapt
from studio.pipelines.catalog.model_folders import read_vocabulary
from studio.pipelines.families import sd15
from studio.pipelines.run.scene_layout import Spot, place_things, put_together
from studio.prompting.scene import Arrangement, Scene, Thing
from studio.tabs.common.form_values import read_form, write_form
from tests.local_models import EMBEDDED, FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_models import make_tiny_sd15

KNOWS_ONE = Model(
    id="one",
    title="One",
    family="x",
    tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}),
    sampling=Sampling(compose=True, scenery=True),
)
PLAIN = Model(id="plain", title="Plain", family="x", features=KNOWS_ONE.features - {Feature.COMPOSE})
_NAMES = (spec.form_name for spec in (*REQUEST_FIELDS, *HIRES_FIELDS))
FRESH_FORM = MappingProxyType(dict.fromkeys(_NAMES) | write_form(GenerationRequest()))
WHITE, RED, BLUE = (255, 255, 255), (220, 30, 30), (40, 80, 220)


class DescribedCatalog(FolderCatalog):
    """Given folders, described as their family describes them."""

    def models(self) -> tuple[Model, ...]:
        return tuple(sd15.PIPELINE.describe(file) for file in self.weights())


def describe(folder: Path) -> Model:
    return sd15.PIPELINE.describe(
        WeightFile(name=folder.name, kind=WeightKind.CHECKPOINT, path=folder, bytes=1, family="sd15")
    )


def make_scene(*scales: float, arrangement: Arrangement = Arrangement.FREE) -> Scene:
    return Scene(tuple((Thing(f"thing {number}", scale),) for number, scale in enumerate(scales)), arrangement)


def make_disc(colour: tuple[int, int, int], ground: tuple[int, int, int] = WHITE, side: int = 64) -> Image.Image:
    """A disc of one colour in the middle of an image."""
    rows, columns = np.mgrid[:side, :side]
    inside = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side * 0.35) ** 2
    return Image.fromarray(np.where(inside[..., None], colour, ground).astype(np.uint8))


def count_colour(image: Image.Image, colour: tuple[int, int, int]) -> int:
    """Pixels near a colour."""
    return int((np.abs(np.asarray(image, float) - colour).max(-1) < 60).sum())


def test_the_model_that_ships_names_what_it_knows_and_asks_for_it() -> None:
    model = describe(EMBEDDED)
    assert Feature.COMPOSE in model.features
    assert model.sampling.compose
    vocabulary = read_vocabulary(EMBEDDED)
    assert vocabulary is not None
    assert {"cat", "red apple", "slice of pizza"} <= vocabulary.names
    assert vocabulary.places["in the sea"] == "on a blue background"


@pytest.mark.torch
@pytest.mark.parametrize("text", [None, "[]", "{", '{"names": "cat"}', '{"names": ["cat"], "places": []}'])
def test_a_folder_without_a_list_of_names_does_not_compose(tmp_path: Path, text: str | None) -> None:
    make_tiny_sd15(tmp_path / "tiny")
    if text is not None:
        (tmp_path / "tiny" / "things.json").write_text(text)
    model = describe(tmp_path / "tiny")
    assert Feature.COMPOSE not in model.features
    assert not model.sampling.compose
    with pytest.raises(InvalidRequest, match="composing"):
        model.check(GenerationRequest(model="tiny", compose=True))


def test_only_txt2img_and_img2img_compose() -> None:
    KNOWS_ONE.check(GenerationRequest(compose=True))
    KNOWS_ONE.check(GenerationRequest(task=Task.IMG2IMG, source="it", compose=True))
    inpaints = dataclasses.replace(KNOWS_ONE, tasks=frozenset({Task.INPAINT}))
    with pytest.raises(InvalidRequest, match="only available for txt2img and img2img"):
        inpaints.check(GenerationRequest(task=Task.INPAINT, source="it", mask="mask", compose=True))


def test_a_recipe_that_says_nothing_of_it_is_not_composed_and_one_that_does_says_so() -> None:
    assert not GenerationRequest.from_json({"prompt": "a cat and a dog", "seed": 0}).compose
    assert write_form(GenerationRequest(seed=0))["compose"] is False
    wanted = GenerationRequest(prompt="a cat and a dog", compose=True)
    assert GenerationRequest.from_json(wanted.to_json()).compose
    assert "Compose: True" in format_infotext(wanted, model=KNOWS_ONE, width=128, height=128, seed=1)


def test_other_programs_have_their_prompts_composed_where_the_model_asks_for_it() -> None:
    fitted = fit_to_model(GenerationRequest(prompt="a cat and a dog"), KNOWS_ONE)[0]
    assert (fitted.compose, fitted.scenery) == (True, True)
    assert not fit_to_model(GenerationRequest(prompt="a cat and a dog"), PLAIN)[0].compose
    redrawn = fit_to_model(GenerationRequest(task=Task.IMG2IMG, source="it"), KNOWS_ONE)[0]
    assert (redrawn.compose, redrawn.scenery) == (True, False)
    assert not fit_to_model(GenerationRequest(task=Task.INPAINT, source="it", mask="mask"), KNOWS_ONE)[0].compose


def test_a_job_knows_what_its_source_is_composed_of_by_the_recipe_of_that(tmp_path: Path) -> None:
    backend = FakeBackend(KNOWS_ONE)
    engine = open_engine(tmp_path, backend, default_model=KNOWS_ONE.id)

    def make(**fields: Any) -> Asset:
        return wait_until_final(engine.submit(GenerationRequest(**fields), LOCAL_USER)).assets[0]

    def redraw(source: Asset, **fields: Any) -> GenerationRequest:
        kept = engine.keep_asset(source.id, LOCAL_USER).hash
        return make(**{"task": Task.IMG2IMG, "source": kept, "prompt": "a hare", "compose": True, **fields}).request

    scene = make(prompt="a cat and a dog", compose=True, scenery=True, seed=7)
    redrawn = redraw(scene)
    assert redrawn.compose
    assert redrawn.composed == ComposedSource(prompt="a cat and a dog", scenery=True, seed=7)
    assert redrawn == GenerationRequest.from_json(redrawn.to_json())
    assert redraw(scene, compose=False).composed is None
    plain = make(prompt="a cat", seed=7)
    changed = make(task=Task.IMG2IMG, source=engine.keep_asset(scene.id, LOCAL_USER).hash, prompt="a cat")
    for source in (plain, changed):
        asked = redraw(source)
        assert (asked.compose, asked.composed) == (False, None)
    engine.close()


def test_an_image_made_here_says_itself_whether_it_is_composed_and_enlarged() -> None:
    asked = GenerationRequest(prompt="a cat and a dog", width=512, height=512)
    model = dataclasses.replace(KNOWS_ONE, sampling=Sampling(compose=True, enlarge=True))
    fitted, notes = fit_to_model(asked, model, is_own=True)
    assert (fitted.compose, fitted.enlarge, fitted.width, notes) == (False, False, 512, ())


def test_a_form_asks_for_it_of_models_that_have_it_and_a_fallback_without_it_does_not() -> None:
    ticked = {**FRESH_FORM, "compose": True}
    assert read_form(ticked, KNOWS_ONE).compose
    assert not read_form({**ticked, "compose": False}, KNOWS_ONE).compose
    assert not read_form(ticked, PLAIN).compose
    assert not adapt(GenerationRequest(model="one", compose=True), PLAIN).compose


@pytest.mark.parametrize(
    ("scene", "size", "expected"),
    [
        (make_scene(1, 1), (512, 512), [Spot(0, 128, 256), Spot(256, 128, 256)]),
        (make_scene(1, 1), (256, 512), [Spot(0, 0, 256), Spot(0, 256, 256)]),
        (make_scene(1, 1, arrangement=Arrangement.ROW), (256, 512), [Spot(0, 192, 128), Spot(128, 192, 128)]),
        (make_scene(1, 1, arrangement=Arrangement.COLUMN), (512, 512), [Spot(128, 0, 256), Spot(128, 256, 256)]),
        (make_scene(1, 1, 1), (512, 512), [Spot(0, 0, 256), Spot(256, 0, 256), Spot(128, 256, 256)]),
        (make_scene(1, 0.5), (300, 300), [Spot(0, 50, 200), Spot(200, 150, 100)]),
    ],
)
def test_things_stand_in_rows_as_large_as_they_fit(scene: Scene, size: tuple[int, int], expected: list[Spot]) -> None:
    assert list(place_things(scene, *size)) == expected


@pytest.mark.parametrize("count", range(1, 10))
def test_no_two_things_share_a_place_and_none_leaves_the_image(count: int) -> None:
    for width, height in ((512, 512), (704, 320), (256, 640)):
        covered = np.zeros((height, width), int)
        for spot in place_things(make_scene(*[1.0] * count), width, height):
            assert min(spot.left, spot.top) >= 0
            assert spot.left + spot.side <= width + 1
            assert spot.top + spot.side <= height + 1
            covered[spot.top + 1 : spot.top + spot.side - 1, spot.left + 1 : spot.left + spot.side - 1] += 1
        assert covered.max() == 1


def test_things_are_put_on_one_ground_without_a_seam() -> None:
    images = [make_disc(RED, (60, 120, 228)), make_disc(BLUE, (60, 110, 215)), make_disc(RED, (64, 118, 232))]
    spots = place_things(make_scene(1, 1, 1), 128, 128)
    whole = np.asarray(put_together(images, spots, (128, 128)), float)
    assert whole.shape == (128, 128, 3)
    rims = [whole[spot.top : spot.top + 3, spot.left : spot.left + 64].reshape(-1, 3) for spot in spots]
    assert np.ptp(np.concatenate([*rims, whole[70:, :20].reshape(-1, 3)]), axis=0).max() <= 1
    assert np.abs(whole[32, 32] - RED).max() <= 1  # the things themselves keep their colours
    assert np.abs(whole[0, 0] - (60, 120, 228)).max() <= 1


def test_stains_of_the_ground_go_and_a_thing_of_its_colour_keeps_its_shade() -> None:
    pixels = np.asarray(make_disc(RED)).copy()
    pixels[2:8, 30:40] = (246, 250, 249)  # a stain of the ground
    pixels[28:36, 28:36] = (243, 243, 243)  # a light within the thing
    image = Image.fromarray(pixels)
    whole = np.asarray(put_together([image, image], place_things(make_scene(1, 1), 128, 64), (128, 64)), float)
    assert whole[5, 35].min() >= 252
    assert np.abs(whole[32, 32] - 243).max() <= 1


def test_things_without_a_place_are_put_together_as_by_the_version_before_scenery() -> None:
    """The tiles were recorded with that version."""
    images = [make_disc(RED, (70, 160, 80)), make_disc(BLUE, (64, 150, 70)), make_disc(RED, (72, 158, 84))]
    whole = put_together(images, place_things(make_scene(1.4, 1, 0.6), 96, 64), (96, 64))
    tiles = np.asarray(whole.resize((6, 4), Image.Resampling.BOX), float)
    recorded = [
        [(70, 160, 80), (70, 160, 80), (70, 160, 80), (70, 160, 80), (70, 160, 80), (70, 160, 80)],
        [(119, 118, 64), (203, 45, 36), (102, 133, 70), (65, 146, 105), (68, 154, 90), (70, 160, 80)],
        [(128, 110, 61), (217, 33, 31), (108, 127, 67), (46, 96, 191), (57, 124, 143), (136, 103, 58)],
        [(70, 160, 80), (72, 158, 79), (70, 160, 80), (69, 157, 85), (70, 160, 81), (86, 146, 75)],
    ]
    assert np.abs(tiles - recorded).max() <= 1


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Any:
    backend, settings = make_local_pipelines(
        tmp_path_factory.mktemp("composing"), DescribedCatalog({"embedded": EMBEDDED})
    )
    yield lambda *seeds, **changes: _draw(backend, RecordingContext(settings), seeds, changes)
    backend.close()


def _draw(backend: Any, ctx: RecordingContext, seeds: tuple[int, ...], changes: dict[str, Any]) -> Any:
    request = make_request("embedded", count=len(seeds), **{"compose": True, "width": 128, "height": 128, **changes})
    images = [one.image for one in backend.render(request, make_seeds(*seeds), ctx)]
    assert ctx.steps[-1][0] == ctx.steps[-1][1]  # all steps were counted
    return images


def measure_most_difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())


@pytest.mark.torch
def test_the_model_that_ships_draws_each_thing_of_a_pair_on_its_side(studio: Any) -> None:
    (image,) = studio(0, prompt="a red apple and a blue car", steps=16, width=256, height=256)
    left, right = image.crop((0, 0, 128, 256)), image.crop((128, 0, 256, 256))
    assert count_colour(left, RED) > 800 > 200 > count_colour(right, RED)
    assert count_colour(right, BLUE) > 400 > 100 > count_colour(left, BLUE)
    (plain,) = studio(0, prompt="a red apple and a blue car", steps=16, width=256, height=256, compose=False)
    assert plain.tobytes() != image.tobytes()


@pytest.mark.torch
def test_prompts_of_one_thing_give_the_same_pixels_as_without_it(studio: Any) -> None:
    for prompt in ("a red apple", "a wizard and a cat", "a cat on a blue background, flat style"):
        (composed,), (plain,) = studio(3, prompt=prompt), studio(3, prompt=prompt, compose=False)
        assert composed.tobytes() == plain.tobytes(), prompt


@pytest.mark.torch
def test_a_composed_image_is_the_same_every_time_alone_and_among_others(studio: Any) -> None:
    first, second = studio(1, 2, prompt="two stars")
    (again,), (repeated,) = studio(2, prompt="two stars"), studio(2, prompt="two stars")
    assert again.tobytes() == repeated.tobytes()
    assert measure_most_difference(again, second) <= 2  # some processors sum batches of other sizes in another order
    assert measure_most_difference(first, second) > 50
    left, right = second.crop((0, 32, 64, 96)), second.crop((64, 32, 128, 96))
    assert left.tobytes() != right.tobytes()


@pytest.mark.torch
def test_each_thing_is_what_it_is_by_itself_put_smaller(studio: Any) -> None:
    (image,), (alone,) = studio(5, prompt="a cat and a dog"), studio(5, prompt="a cat", compose=False)
    small = np.asarray(alone.resize((64, 64), Image.Resampling.LANCZOS), float)[8:-8, 8:-8]
    assert np.abs(np.asarray(image, float)[40:88, 8:56] - small).mean() < 4


@pytest.mark.torch
def test_a_recipe_of_the_version_before_scenery_gives_its_pixels(tmp_path: Path) -> None:
    """The recipe is one that it wrote. Its things were made by themselves on the ground that stands for the place, with
    seeds that lie that far apart."""
    written = {"model": "embedded", "prompt": "two cats on grass", "width": 136, "height": 72, "compose": True}
    earlier = GenerationRequest.from_json({**written, "seed": 44, "steps": 3})
    made: tuple[Any, Any] = make_local_pipelines(tmp_path, DescribedCatalog({"embedded": EMBEDDED}))
    backend, settings = made
    try:
        (image,) = (one.image for one in backend.render(earlier, make_seeds(44), RecordingContext(settings)))
        alone = earlier.replace(compose=False, prompt="a cat on a green background", width=128, height=128)
        things = [
            backend.render(alone.replace(seed=seed), make_seeds(seed), RecordingContext(settings))[0].image
            for seed in (44, 44 + 1_000_003)
        ]
        expected = put_together(things, (Spot(0, 2, 68), Spot(68, 2, 68)), (136, 72))
        assert measure_most_difference(image, expected) <= 2  # made in a batch and alone
    finally:
        backend.close()


@pytest.mark.torch
def test_a_place_gives_the_ground_its_colour(studio: Any) -> None:
    for prompt in ("a fish in the sea", "a fish and a crab in the sea"):
        (image,) = studio(0, prompt=prompt, steps=16)
        rim = np.asarray(image, float)[:4].reshape(-1, 3).mean(0)
        assert rim[2] > rim[0] + 60, prompt


@pytest.mark.torch
def test_with_scenery_things_stand_in_the_place_and_are_the_same_every_time(studio: Any) -> None:
    for prompt in ("a red apple on grass", "a red apple and a blue car on grass"):
        (first,), (second,), (again,) = (studio(seed, prompt=prompt, scenery=True) for seed in (0, 1, 1))
        assert again.tobytes() == second.tobytes() != first.tobytes()
        pixels = np.asarray(second, float)
        sky, grass = pixels[:4].mean(axis=(0, 1)), pixels[-3:].mean(axis=(0, 1))
        assert sky[2] > sky[0] + 60, prompt
        assert grass[1] > grass[2] + 60, prompt
    (plain,) = studio(1, prompt=prompt)
    assert plain.tobytes() != second.tobytes()


@pytest.mark.torch
@pytest.mark.parametrize("place", ["", " on grass"])
def test_each_thing_of_a_composed_image_is_redrawn_in_its_place(tmp_path: Path, place: str) -> None:
    backend, settings = make_local_pipelines(tmp_path, DescribedCatalog({"embedded": EMBEDDED}))
    prompt = f"a red apple and a blue car{place}"
    large = {"width": 256, "height": 256, "steps": 16, "scenery": bool(place)}
    try:
        (source,) = _draw(backend, RecordingContext(settings), (0,), {"prompt": prompt, **large})
        composed = ComposedSource(prompt=prompt, scenery=bool(place), seed=0)
        ctx = RecordingContext(settings, images={"it": source})

        def redraw(prompt: str, **changes: Any) -> Image.Image:
            asked = {"task": Task.IMG2IMG, "source": "it", "composed": composed, "prompt": prompt + place}
            (image,) = _draw(backend, ctx, (0,), {**large, "scenery": False, **asked, **changes})
            return image

        near = redraw("a red apple and a blue car", strength=0.2)
        assert near.size == source.size
        assert np.abs(np.asarray(near, float) - np.asarray(source, float)).mean() < 5
        swapped = redraw("a blue car and a red apple", strength=0.9)
        assert ctx.notices[-1] == ("Redrawn thing by thing: a blue car; a red apple.")
        left, right = swapped.crop((0, 0, 128, 256)), swapped.crop((128, 0, 256, 256))
        assert count_colour(left, BLUE) > 400 > count_colour(right, BLUE)
        assert count_colour(right, RED) > max(400, 5 * count_colour(left, RED))  # a large apple reaches over the middle
        if place:  # the place stays
            assert np.abs(np.asarray(swapped, float)[:4] - np.asarray(source, float)[:4]).max() < 2
        one = redraw("a blue car", strength=0.5)
        assert one.tobytes() == redraw("a blue car", strength=0.5, compose=False).tobytes()
        asked = make_request("embedded", task=Task.IMG2IMG, composed=composed, compose=True, prompt=prompt)
        assert backend.count_generations(asked) == 2
        assert backend.count_generations(asked.replace(prompt="a blue car")) == 1
    finally:
        backend.close()


@pytest.mark.torch
def test_notices_say_what_was_composed_and_why_not(tmp_path: Path) -> None:
    backend, settings = make_local_pipelines(tmp_path, DescribedCatalog({"embedded": EMBEDDED}))
    try:
        ctx = RecordingContext(settings)
        _draw(backend, ctx, (1,), {"prompt": "three stars and a cat, " + "x" * 100, "steps": 1})
        assert ctx.notices[-1].startswith("Composed of 4 things: a star, xxx")
        assert ctx.notices[-1].count("star") == 1
        assert "… × 3; a cat" in ctx.notices[-1]
        _draw(backend, ctx, (1,), {"prompt": "a fish in the sea", "steps": 1, "scenery": True})
        assert ctx.notices[-1] == "Composed of a place and one thing: a fish."
        _draw(backend, ctx, (1,), {"prompt": "a fish in the sea", "steps": 1})
        assert ctx.notices[-1] == "Generated as: a fish on a blue background."
        _draw(backend, ctx, (1,), {"prompt": "three stars", "steps": 1, "tiling": True})
        assert ctx.notices[-1] == "Not composed of single things, because of: tiling."
        before = len(ctx.notices)
        _draw(backend, ctx, (1,), {"prompt": "a star", "steps": 1, "tiling": True})
        assert len(ctx.notices) == before
        for compose in (True, False):
            _draw(backend, ctx, (1,), {"prompt": "Ein Fahrrad im Regen", "steps": 1, "compose": compose})
            assert ctx.notices.pop() == (
                "The prompt names nothing that Easel embedded (small, offline) knows, so the image may show something"
                " else."
            )
        assert len(ctx.notices) == before
        for compose in (True, False):
            _draw(backend, ctx, (1,), {"prompt": "a quantum star", "steps": 1, "compose": compose})
            assert ctx.notices.pop() == (
                "Easel embedded (small, offline) does not know “quantum”, so the image may not show it."
            )
        assert len(ctx.notices) == before
    finally:
        backend.close()
