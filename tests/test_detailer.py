"""Areas of finished images found and drawn again, on a tiny real checkpoint and by the detector that ships."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.core.detailer import Detailer
from studio.core.errors import InvalidRequest, JobCancelled, NotConfigured, NothingFound
from studio.core.model import Feature
from studio.core.ports import JobContext
from studio.core.request import GenerationRequest
from studio.core.request_parts import Hires, Inpaint
from studio.core.settings import Settings
from studio.core.task import Task
from studio.pipelines.run.detail_areas import find_areas
from studio.pipelines.run.detailing import build_area_request
from tests.editing_studio import SIDE, EditingStudio, compute_difference, make_scene
from tests.local_models import FakeAnnotators, RecordingContext, make_seeds
from tests.tiny_edits import make_tiny_inpaint
from tests.tiny_models import make_tiny_sd15

SPOTS = ((6, 20, 22, 36), (40, 8, 60, 28))  # boxes in px of an image of SIDE
WORDS = Detailer(target="a ball", strength=0.5, grow=0, mask_blur=0, padding=4)


def draw_spots(*boxes: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE))
    for left, top, right, bottom in boxes:
        ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=255)
    return mask


class Blind(FakeAnnotators):
    """Annotators that find nothing."""

    def find(self, words: str, image: Image.Image, ctx: JobContext) -> Image.Image:
        raise NothingFound("Nothing.", hint="")


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, astronaut: Image.Image) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_inpaint(root / "nine")
    images = {"source": make_scene(), "astronaut": astronaut, "spot": draw_spots(SPOTS[0])}
    made = EditingStudio(root, images, FakeAnnotators(draw_spots(*SPOTS)))
    yield made
    made.backend.close()


def find(image: Image.Image, detailer: Detailer, found: FakeAnnotators | None = None) -> list[Any]:
    areas = find_areas(image, detailer, found, RecordingContext(Settings()))
    return [area.draw_mask(image.size).getbbox() for area in areas]


def test_the_shipped_detector_finds_faces_from_left_to_right(astronaut: Image.Image) -> None:
    two = Image.new("RGB", (1100, 600), "grey")
    two.paste(astronaut, (560, 40))
    two.paste(astronaut.resize((400, 400)), (50, 100))
    small, large = find(two, Detailer())
    assert small[0] < 560 < large[0]
    assert find(two, Detailer(count=1)) == [large], "the largest first"
    assert find(two, Detailer(confidence=1.0)) == []
    [(left, top, right, bottom)] = find(astronaut, Detailer(grow=0))
    [grown] = find(astronaut, Detailer(grow=21))
    assert grown == (left - 10, top - 10, right + 10, bottom + 10)
    [shrunk] = find(astronaut, Detailer(grow=-21))
    assert shrunk == (left + 10, top + 10, right - 10, bottom - 10)


def test_what_words_name_is_one_area_for_each_part_that_hangs_together() -> None:
    image, annotators = make_scene(), FakeAnnotators(draw_spots(*SPOTS))
    assert find(image, WORDS, annotators) == list(SPOTS)
    assert annotators.asked == ["a ball"]
    assert find(image, Detailer(target="a ball", grow=0, count=1), annotators) == [SPOTS[1]]
    assert find(image, Detailer(target="a ball", grow=-40), annotators) == [], "shrunk to nothing"
    assert find(image, WORDS, Blind(draw_spots())) == []
    with pytest.raises(NotConfigured, match="No model for searching"):
        find(image, WORDS)


@pytest.mark.torch
def test_a_face_is_drawn_again_and_the_rest_is_kept(studio: EditingStudio, astronaut: Image.Image) -> None:
    detailer = Detailer(strength=1.0, mask_blur=8)
    drawn = studio.draw_image("sd15", Task.DETAIL, source="astronaut", detailers=(detailer,))
    [(left, top, right, bottom)] = find(astronaut, detailer)
    changed = compute_difference(drawn, astronaut)
    assert drawn.size == astronaut.size
    assert changed[top:bottom, left:right].max() > 50
    changed[top - 30 : bottom + 30, left - 30 : right + 30] = 0
    assert not changed.any()


@pytest.mark.torch
@pytest.mark.parametrize("model", ["sd15", "nine"])
def test_an_area_is_inpainted_as_one_does_by_hand(studio: EditingStudio, model: str) -> None:
    studio.backend._annotators.found = draw_spots(SPOTS[0])
    by_hand = studio.draw_image(
        model,
        Task.INPAINT,
        seed=7,
        mask="spot",
        strength=0.5,
        inpaint=Inpaint(mask_blur=0, padding=4, only_masked=True),
    )
    source = {"source": "source", "width": None, "height": None, "seed": 7}
    detailer = Detailer(**{**WORDS.__dict__, "width": SIDE, "height": SIDE})
    assert studio.draw_image(model, Task.DETAIL, **source, detailers=(detailer,)).tobytes() == by_hand.tobytes()
    studio.backend._annotators.found = draw_spots(*SPOTS)


@pytest.mark.torch
def test_each_image_of_a_batch_is_detailed_from_its_own_seed(studio: EditingStudio) -> None:
    plain = studio.draw("sd15", Task.TXT2IMG, 3, 4)
    detailed = studio.draw("sd15", Task.TXT2IMG, 3, 4, detailers=(WORDS,))
    alone = studio.draw_image("sd15", Task.TXT2IMG, 4, detailers=(WORDS,))
    inside = np.asarray(draw_spots(*SPOTS)) > 0
    for before, after in zip(plain, detailed, strict=True):
        changed = compute_difference(after, before)
        assert not changed[~inside].any()
        for left, top, right, bottom in SPOTS:
            assert changed[top:bottom, left:right].max() > 5
    assert compute_difference(alone, detailed[1]).max() <= 1, "the same in a batch"


@pytest.mark.torch
def test_areas_have_prompts_of_their_own(studio: EditingStudio) -> None:
    def draw(prompt: str) -> Image.Image:
        detailer = Detailer(**{**WORDS.__dict__, "prompt": prompt, "strength": 1.0})
        return studio.draw_image("sd15", Task.TXT2IMG, detailers=(detailer,))

    plain = studio.draw_image("sd15", Task.TXT2IMG)
    first, second = (np.s_[top:bottom, left:right] for left, top, right, bottom in SPOTS)
    own, skipped = draw(""), draw("[SKIP] [SEP] [PROMPT]")
    assert not compute_difference(skipped, plain)[first].any()
    assert not compute_difference(skipped, own)[second].any()
    other = draw("[PROMPT] [SEP] a blue bird, feathers")
    assert not compute_difference(other, own)[first].any()
    assert compute_difference(other, own)[second].any()


@pytest.mark.torch
def test_detailers_follow_each_other_and_progress_never_goes_back(studio: EditingStudio) -> None:
    once = studio.draw_image("sd15", Task.TXT2IMG, detailers=(WORDS,))
    twice = studio.draw_image("sd15", Task.TXT2IMG, detailers=(WORDS, Detailer(target="a ball", steps=6, strength=1.0)))
    assert compute_difference(twice, once).any()
    done, totals = zip(*studio.ctx.steps, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == 14
    assert set(totals) == {4 + 4 + 6}


@pytest.mark.torch
def test_stopping_is_heard_within_an_area(studio: EditingStudio) -> None:
    request = GenerationRequest(
        model="sd15", prompt="x", steps=4, width=SIDE, height=SIDE, seed=1, detailers=(Detailer(target="a ball"),)
    )
    ctx = RecordingContext(studio.settings, images=studio.images)

    def stop(done: int) -> None:
        if done > 4:
            raise JobCancelled("Stopped.", hint="")

    ctx.at_step = stop
    with pytest.raises(JobCancelled):
        studio.backend.render(request, make_seeds(1), ctx)
    assert studio.draw_image("sd15", Task.TXT2IMG).size == (SIDE, SIDE)


@pytest.mark.torch
def test_nothing_found_is_a_notice_and_leaves_the_image(studio: EditingStudio) -> None:
    drawn = studio.draw_image("sd15", Task.DETAIL)
    assert drawn.tobytes() == make_scene().tobytes()
    assert studio.ctx.notices == ["Detailer: no face was found."]
    assert studio.ctx.loaded == [], "nothing is loaded for it"


@pytest.mark.torch
def test_what_cannot_be_found_or_drawn_is_refused_before_anything_is_drawn(studio: EditingStudio) -> None:
    bare = EditingStudio(studio.settings.models_dir, studio.images)
    bare.backend.models()
    wanted = GenerationRequest(model="sd15", prompt="x", detailers=(WORDS,))
    with pytest.raises(NotConfigured, match="No model for searching"):
        bare.backend.check_names(wanted)
    with pytest.raises(NotConfigured):
        bare.draw("sd15", Task.TXT2IMG, detailers=(WORDS,))
    assert bare.ctx.loaded == []
    bare.backend.close()
    model = next(model for model in studio.backend.models() if model.id == "sd15")
    assert Task.DETAIL in model.tasks
    assert Feature.DETAILER in model.features
    for changes, said in (
        ({"width": 100, "height": 64}, "detailer size"),
        ({"sampler": "none such"}, "no sampler"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            model.check(GenerationRequest(model="sd15", detailers=(Detailer(**changes),)))
    with pytest.raises(InvalidRequest, match="LoRA"):
        studio.backend.check_names(wanted.replace(detailers=(Detailer(prompt="<lora:none such:1>"),)))


@pytest.mark.torch
def test_an_area_takes_from_the_image_what_the_detailer_leaves_open(studio: EditingStudio) -> None:
    model = next(model for model in studio.backend.models() if model.id == "sd15")
    request = GenerationRequest(
        model="sd15",
        prompt="a cat",
        negative_prompt="blurry",
        width=96,
        height=64,
        steps=9,
        guidance=5.0,
        sampler="Euler a",
        schedule="Karras",
        clip_skip=2,
        hires=Hires(scale=2),
    )
    area = build_area_request(request, Detailer(), model, model)
    kept = ("prompt", "negative_prompt", "width", "height", "steps", "guidance", "sampler", "schedule", "clip_skip")
    assert [getattr(area, name) for name in kept] == [getattr(request, name) for name in kept]
    assert area.hires is None
    assert (area.task, area.strength, area.inpaint) == (Task.INPAINT, 0.4, Inpaint(only_masked=True))
    own = Detailer(negative_prompt="ugly", width=64, height=96, steps=3, guidance=2.0, sampler="Euler")
    area = build_area_request(request, own, model, model)
    assert (area.negative_prompt, area.width, area.height, area.steps) == ("ugly", 64, 96, 3)
    assert (area.guidance, area.sampler, area.schedule) == (2.0, "Euler", None)


def test_a_detailer_with_half_a_size_or_no_target_is_refused() -> None:
    for changes in ({"width": 512}, {"target": " "}, {"strength": 1.5}):
        with pytest.raises(InvalidRequest):
            Detailer(**changes)
    with pytest.raises(InvalidRequest, match="Too many detailers"):
        GenerationRequest(detailers=(Detailer(),) * 5)
