"""What composed images count: each of their things is generated, takes time, and counts among the limits of images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from dialect_studio import DRAWING, serve_dialects
from fakes import DEADLINE, FAKE_MODEL, FakeBackend, open_engine, wait_until_final
from page_studio import build_real_page
from PIL import Image

from studio.cluster.replica import ReplicaContext
from studio.cluster.wire import Order
from studio.core.errors import ModelBroken, QuotaExceeded
from studio.core.model import Sampling
from studio.core.ports import ImageSeed
from studio.core.request import Axis, GenerationRequest
from studio.core.result import Asset
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from tests.local_models import EMBEDDED, FolderCatalog, make_local_pipelines

ASKED = GenerationRequest(prompt="a cat and a dog and a bee", model=FAKE_MODEL.id, compose=True, seed=1)


class ComposingBackend(FakeBackend):
    """One that composes what stands between the "and" of a prompt."""

    def count_generations(self, request: GenerationRequest) -> int:
        return request.prompt.count(" and ") + 1


def limit_images(images: int, name: str = "ann") -> User:
    return User(name, limits=(("images_per_day", images),))


def test_each_thing_counts_among_the_images_of_a_day(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, ComposingBackend())
    user = limit_images(8)
    wait_until_final(engine.submit(ASKED.replace(count=2), user))
    assert engine.usage.count_images_today("ann") == 6
    with pytest.raises(QuotaExceeded, match=r"2 are left today and this would be 3\. Each thing") as refused:
        engine.submit(ASKED, user)
    assert refused.value.details == {"limit": 8, "used": 6, "waiting": 0, "requested": 3}
    wait_until_final(engine.submit(ASKED.replace(compose=False, count=2), user))
    with pytest.raises(QuotaExceeded) as refused:
        engine.submit(ASKED.replace(compose=False), user)
    assert "thing" not in refused.value.message
    wait_until_final(engine.submit(ASKED, limit_images(3, "bob")))
    engine.close()


def test_things_that_are_yet_to_come_count_too(tmp_path: Path) -> None:
    backend = ComposingBackend(held=True)
    engine = open_engine(tmp_path, backend)
    engine.submit(ASKED.replace(count=2), limit_images(8))
    with pytest.raises(QuotaExceeded) as refused:
        engine.submit(ASKED, limit_images(8))
    assert refused.value.details["waiting"] == 6
    backend.release(100)
    engine.close()


def test_things_of_a_stopped_job_are_not_counted(tmp_path: Path) -> None:
    backend = ComposingBackend(held=True)
    engine = open_engine(tmp_path, backend)
    user = limit_images(3)
    job = engine.submit(ASKED, user)
    assert backend.entered.acquire(timeout=DEADLINE)
    engine.cancel(job.id, user)
    backend.release(100)
    wait_until_final(job)
    assert engine.usage.count_images_today("ann") == 0
    wait_until_final(engine.submit(ASKED, user))
    assert engine.usage.count_images_today("ann") == 3
    engine.close()


def test_a_waiting_job_counts_its_things_after_a_restart(tmp_path: Path) -> None:
    first = open_engine(tmp_path, ComposingBackend(held=True))
    job = first.submit(ASKED.replace(count=2), LOCAL_USER)
    first.close(drain=0.0)
    second = open_engine(tmp_path, ComposingBackend())
    assert second.job(job.id, LOCAL_USER).generations == 6
    second.close()


def test_each_cell_of_a_grid_counts_its_own_things(tmp_path: Path) -> None:
    backend = ComposingBackend(held=True)
    engine = open_engine(tmp_path, backend)
    grid = ASKED.replace(
        prompt="a cat", axes=(Axis(parameter="Prompt S/R", values=("a cat", "a cat and a dog", "a dog")),)
    )
    assert engine.submit(grid, LOCAL_USER).generations == 4
    assert backend.entered.acquire(timeout=DEADLINE)
    backend.release(100)
    engine.close()


def test_cells_of_a_broken_model_count_the_things_of_the_fallback(tmp_path: Path) -> None:
    broken = dataclasses.replace(FAKE_MODEL, id="broken", problem="It is cut short.")
    backend = ComposingBackend(FAKE_MODEL, broken)
    backend.fail = lambda request, step: ModelBroken("It is cut short.") if request.model == "broken" else None
    engine = open_engine(tmp_path, backend, fallback_model=FAKE_MODEL.id)
    grid = ASKED.replace(axes=(Axis(parameter="Model", values=("broken", FAKE_MODEL.id)),))
    with pytest.raises(QuotaExceeded) as refused:
        engine.submit(grid, limit_images(5))
    assert refused.value.details["requested"] == 6
    wait_until_final(engine.submit(grid, limit_images(6)))
    assert engine.usage.count_images_today("ann") == 7  # and the labelled sheet
    engine.close()


def test_things_count_whatever_program_asks_for_them(tmp_path: Path) -> None:
    nine = " and ".join(["a cat"] * 9)
    five = " and ".join(["a cat"] * 5)
    model = dataclasses.replace(DRAWING, sampling=dataclasses.replace(DRAWING.sampling, compose=True, scenery=True))
    with serve_dialects(tmp_path, backend=ComposingBackend(model), users=True, images_per_day=5) as served:
        ann, bob = served.open_client("ann"), served.open_client("bob")
        native = {"model": "fake", "compose": True, "scenery": True}
        for path, body in (
            ("/api/image-studio/create", native | {"prompt": nine}),
            ("/api/image-studio/create", native | {"prompt": five, "count": 2, "batch_size": 2}),
            ("/sdapi/v1/txt2img", {"prompt": nine}),
            ("/sdapi/v1/txt2img", {"prompt": five, "batch_size": 8}),
            ("/v1/images/generations", {"model": "fake", "prompt": nine}),
        ):
            answer = ann.post(path, json=body)
            assert answer.status_code == 429, (path, answer.text)
            assert "Each thing of a composed image counts." in answer.text, path
        assert served.backend.seen == []
        assert ann.post("/sdapi/v1/txt2img", json={"prompt": five}).status_code == 200
        assert served.studio.engine.usage.count_images_today("ann") == 5
        assert ann.post("/v1/images/generations", json={"model": "fake", "prompt": "a cat"}).status_code == 429
        assert bob.post("/v1/images/generations", json={"model": "fake", "prompt": five}).status_code == 200
        assert served.studio.engine.usage.count_images_today("bob") == 5


def test_a_pass_for_another_studio_counts_its_things(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, ComposingBackend())
    order = Order(request=ASKED, seeds=(ImageSeed(seed=1),), images={})
    ann = limit_images(5)
    engine.passes.admit(ann, order.request, 1)
    context = ReplicaContext(order, "ann", Settings(), lambda line: None)
    engine.passes.render(order.request, order.seeds, context)
    assert engine.usage.count_images_today("ann") == 3
    with pytest.raises(QuotaExceeded):
        engine.passes.admit(ann, order.request, 1)
    engine.close()


def test_the_time_of_an_image_is_that_of_the_things_it_will_have(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, ComposingBackend())
    wait_until_final(engine.submit(ASKED, LOCAL_USER))
    three = engine.estimate_seconds(ASKED)
    one = engine.estimate_seconds(ASKED.replace(prompt="a cat"))
    assert three is not None
    assert one == pytest.approx(three / 3)
    engine.close()


def test_the_form_asks_again_what_an_image_takes_when_the_prompt_is_left(tmp_path: Path) -> None:
    page: Any = build_real_page(tmp_path).get_config_file()
    prompt = next(one["id"] for one in page["components"] if one["props"].get("elem_id") == "prompt")
    left = [each for each in page["dependencies"] if [prompt, "blur"] in [list(target) for target in each["targets"]]]
    boxes = {
        one["id"] for one in page["components"] if one["props"].get("elem_id") in ("compose", "enlarge", "scenery")
    }
    assert len(boxes) == 3
    asked = {target[0] for each in left for target in each["targets"] if target[1] == "change"}
    assert len(boxes & asked) == 2  # scenery takes no time


def test_a_composed_image_that_is_redrawn_as_one_says_how_to_change_one_thing(tmp_path: Path) -> None:
    tasks = FAKE_MODEL.tasks | {Task.IMG2IMG, Task.INPAINT}
    model = dataclasses.replace(FAKE_MODEL, tasks=tasks, sampling=Sampling(compose=True))
    engine = open_engine(tmp_path, ComposingBackend(model))
    (scene,) = wait_until_final(engine.submit(ASKED, LOCAL_USER)).assets
    (plain,) = wait_until_final(engine.submit(ASKED.replace(prompt="a cat", compose=False), LOCAL_USER)).assets

    def read_notices(source: Asset, **fields: Any) -> list[str]:
        kept = engine.keep_asset(source.id, LOCAL_USER)
        asked = GenerationRequest(**{"task": Task.IMG2IMG, "source": kept.hash, "prompt": "a hare", **fields})
        snapshot = wait_until_final(engine.submit(asked, LOCAL_USER))
        return [note for note in snapshot.assets[0].notes if "one thing at a time" in note]

    assert "redraws these 3 things as one" in read_notices(scene)[0]
    assert "redraws these 2 things as one" in read_notices(plain, prompt="a hare and a fox")[0]
    assert not read_notices(plain)
    mask = engine.keep_image(Image.new("L", (scene.width, scene.height), 255), LOCAL_USER).hash
    assert not read_notices(scene, task=Task.INPAINT, mask=mask)
    engine.close()


def test_the_model_that_ships_counts_the_things_that_it_will_make(tmp_path: Path) -> None:
    backend, _ = make_local_pipelines(tmp_path, FolderCatalog({"embedded": EMBEDDED}))
    asked = GenerationRequest(prompt="a cat and two red apples", model="embedded", compose=True)
    assert backend.count_generations(asked) == 3
    for changes in ({"compose": False}, {"tiling": True}, {"prompt": "a cat"}, {"prompt": "a wizard and two cats"}):
        assert backend.count_generations(asked.replace(**changes)) == 1
    backend.close()
