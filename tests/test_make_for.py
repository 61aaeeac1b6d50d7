"""Target platform: the size that a model likes for a format, what follows the drawing, and what the fold refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import draw_fake_image, wait_until_final
from serving import make_studio, serve_studio
from social_studio import DRAW_MODEL, UPSCALE_MODEL, make_social_parts
from test_page import store

from studio.core.errors import InvalidRequest, NotFound
from studio.core.events import Status
from studio.core.finish import MetadataPolicy
from studio.core.model import Model, Sizes
from studio.core.request import GenerationRequest
from studio.core.social import SocialExport
from studio.core.social_formats import Format
from studio.core.social_pack import MAX_ASPECT_RATIO, MAX_ENLARGE_FACTOR, build_enlarge_step, choose_drawing_size
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.studio import Studio
from studio.page import mount
from studio.social.platforms import Platforms
from studio.tabs.common.target_platform import (
    append_target_steps,
    list_format_choices,
    render_target_note,
    write_targets,
)

PLATFORMS = Platforms()
SIZES = {
    "SD 1.5": Sizes(liked=((512, 512), (512, 768), (768, 512)), multiple=8, smallest=64, largest=2048),
    "SDXL": Sizes(liked=((1024, 1024), (1152, 896), (768, 1344)), multiple=64, smallest=256, largest=4096),
    "tiny": Sizes(liked=((128, 128),), multiple=8, smallest=64, largest=256, max_pixels=192 * 192),
}
STORY = "instagram.story"
ACCORDIONS = ("make-for", "i2i-make-for")


def of(width: int, height: int) -> Format:
    return Format(id="a.b", platform="a", name="b", kind="post", width=width, height=height)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    social, _, backends = make_social_parts(tmp_path)
    made = make_studio(tmp_path, backends, social=social, default_model="fake")
    made.engine.start()
    yield made
    made.engine.close()


def cut(wanted: GenerationRequest) -> SocialExport:
    """The formats that the chain ends in."""
    social = wanted.then[-1].social
    assert social is not None
    return social


def enlarged(step: GenerationRequest | None) -> float | None:
    """How far the step enlarges."""
    assert step is not None
    assert step.upscale is not None
    return step.upscale.scale


def fold(of: Any = "", pack: Any = (), enlarge: Any = True) -> dict[str, Any]:
    return {"for_format": of, "for_pack": list(pack) if isinstance(pack, tuple) else pack, "for_enlarge": enlarge}


@pytest.mark.parametrize("name", SIZES)
def test_every_format_is_drawn_at_a_size_that_the_model_can_and_near_its_shape(name: str) -> None:
    sizes = SIZES[name]
    model = Model(id="m", title="m", family="f", sizes=sizes)
    usual = max(width * height for width, height in sizes.liked)
    for each in PLATFORMS.formats():
        width, height = choose_drawing_size(each, sizes)
        model.check(GenerationRequest(width=width, height=height))
        shape = min(MAX_ASPECT_RATIO, max(1 / MAX_ASPECT_RATIO, each.ratio))
        assert abs(width / height / shape - 1) < 0.16, (each.id, width, height)
        assert width * height <= 1.2 * usual


def test_a_size_that_the_model_was_trained_at_comes_first() -> None:
    assert choose_drawing_size(of(1000, 1500), SIZES["SD 1.5"]) == (512, 768)
    assert choose_drawing_size(of(1080, 1920), SIZES["SDXL"]) == (768, 1344)


def test_a_image_is_enlarged_as_far_as_the_largest_format_needs_and_no_further() -> None:
    network = (UPSCALE_MODEL,)
    step = build_enlarge_step([of(400, 400), of(600, 300)], (300, 300), network)
    assert step is not None
    assert (step.model, enlarged(step)) == (UPSCALE_MODEL.id, 2)
    assert build_enlarge_step([of(300, 200)], (300, 300), network) is None
    assert enlarged(build_enlarge_step([of(8000, 8000)], (300, 300), network)) == MAX_ENLARGE_FACTOR
    assert build_enlarge_step([of(900, 900)], (300, 300), ()) is None


def test_the_fold_adds_enlarging_and_the_cut(studio: Studio) -> None:
    wanted = GenerationRequest(prompt="x", model="fake", width=48, height=88)
    full = append_target_steps(studio, fold(STORY), wanted, LOCAL_USER)
    assert [step.task for step in full.then] == [Task.UPSCALE, Task.SOCIAL]
    assert cut(full).keep is MetadataPolicy.ALL
    plain = append_target_steps(studio, fold(STORY, enlarge=False), wanted, LOCAL_USER)
    assert [step.task for step in plain.then] == [Task.SOCIAL]
    assert append_target_steps(studio, fold(), wanted, LOCAL_USER) is wanted
    assert append_target_steps(studio, {}, wanted, LOCAL_USER) is wanted
    assert write_targets(full) == {"for_format": STORY, "followed_format": STORY, "for_pack": []}
    assert write_targets(wanted) == {"for_format": "", "followed_format": "", "for_pack": []}


def test_a_pack_is_every_format_of_its_platforms_and_the_whole_image(studio: Studio) -> None:
    full = append_target_steps(
        studio, fold(STORY, ("instagram", "tiktok")), GenerationRequest(prompt="x", model="fake"), LOCAL_USER
    )
    social = cut(full)
    known = {each.id for name in ("instagram", "tiktok") for each in PLATFORMS.formats(name)}
    assert (set(social.formats), social.original, social.keep) == (known, True, MetadataPolicy.MARKER)
    assert social.formats[0] == STORY


def test_what_is_changed_counts_as_large_as_its_source(studio: Studio) -> None:
    kept = studio.engine.keep_image(draw_fake_image(1, 1200, 2000), LOCAL_USER)
    wanted = GenerationRequest(task=Task.IMG2IMG, model="fake", source=kept.hash)
    full = append_target_steps(studio, fold(STORY), wanted, LOCAL_USER)
    assert [step.task for step in full.then] == [Task.SOCIAL]


def test_the_job_gives_the_exact_size(studio: Studio) -> None:
    wanted = GenerationRequest(prompt="x", model="fake", width=64, height=64, count=2)
    job = studio.engine.submit(append_target_steps(studio, fold("email.banner"), wanted, LOCAL_USER), LOCAL_USER)
    assert wait_until_final(job).status is Status.FINISHED
    assert [(one.width, one.height, one.label) for one in job.snapshot.assets] == [(1200, 400, "email.banner")] * 2
    assert DRAW_MODEL.id == job.model.id


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        (fold("instagram.stori"), NotFound, "stori"),
        (fold("", ["myspace"]), NotFound, "myspace"),
        (fold(7), InvalidRequest, "Unknown platform format"),
        (fold("", [3]), InvalidRequest, "Unknown platform format"),
        (fold("", "tiktok"), InvalidRequest, "Unknown platform format"),
    ],
)
def test_what_is_not_in_the_lists_is_refused(
    studio: Studio, values: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        append_target_steps(studio, values, GenerationRequest(prompt="x", model="fake"), LOCAL_USER)


def test_the_line_below_says_what_will_be_made_and_of_what_day() -> None:
    assert render_target_note(PLATFORMS, [], []) == ""
    one = render_target_note(PLATFORMS, [STORY], [])
    assert "Cut to 1080 × 1920 px" in one
    assert f'data-zones="{STORY}"' in one
    assert PLATFORMS.as_of in one
    assert f"{len(PLATFORMS.formats('tiktok'))} formats" in render_target_note(PLATFORMS, [], ["tiktok"])


def test_every_format_can_be_chosen_by_its_platform_and_size() -> None:
    choices = list_format_choices(PLATFORMS)
    assert len({label for label, _ in choices}) == len(choices) == len(PLATFORMS.formats()) + 1
    assert ("Instagram · Story 9:16 · 1080 × 1920", STORY) in choices


def test_each_user_finds_formats_of_ones_own_in_the_lists_of_every_form(tmp_path: Path) -> None:
    social, _, backends = make_social_parts(tmp_path)
    with serve_studio(
        tmp_path, page=mount, backend=backends, models=store(tmp_path / "models"), social=social, users=True
    ) as served:
        social.platforms.of("ann").save("Shop tile", 800, 600)  # type: ignore[attr-defined]
        social.platforms.save("House banner", 1200, 300)
        for name, wanted in (("ann", {"own.shop_tile", "own.house_banner"}), ("bob", {"own.house_banner"})):
            client = served.open_client(name)
            config = client.get("/config").json()
            accordions = {one["id"] for one in config["components"] if one["props"].get("elem_id") in ACCORDIONS}
            events = [
                event
                for event in config["dependencies"]
                if event["backend_fn"]
                and any(number in accordions and kind == "expand" for number, kind in event["targets"])
            ]
            assert len(events) == 2
            for event in events:
                body = {"data": [], "fn_index": event["id"], "session_hash": name}
                answer = client.post("/gradio_api/run/predict", json=body)
                assert answer.status_code == 200, answer.text
                lists = [{value for _, value in update["choices"]} for update in answer.json()["data"]]
                assert {value for value in lists[0] if value.startswith("own.")} == wanted
                assert "own" in lists[1]
