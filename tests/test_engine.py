"""The one door, with real lanes, journal, files and database behind it; only the model is a fake."""

from __future__ import annotations

import dataclasses
import errno
import gc
import json
import os
import threading
import time
import weakref

import pytest
from fakes import DEADLINE, FAKE_MODEL, FakeBackend, draw_fake_image, open_engine, wait_for_snapshot, wait_until_final
from PIL import Image

from studio.core.errors import (
    InvalidRequest,
    JobCancelled,
    ModelBroken,
    NotFound,
    OutOfMemory,
    QueueFull,
    StudioError,
    UnknownModel,
)
from studio.core.events import Status
from studio.core.model import Feature, Model, Sizes
from studio.core.request import MAX_SEED, Axis, GenerationRequest, LoraUse
from studio.core.user import LOCAL_USER, User
from studio.engine.storage import outputs as outputs_module

ANN, BOB = User("ann"), User("bob")
SMALL = Model(
    id="small",
    title="Small",
    family="fake",
    features=frozenset({Feature.SEED}),
    sizes=Sizes(liked=((32, 32),), smallest=16, largest=48, max_pixels=48 * 48),
    max_batch=1,
)
CLOUD = dataclasses.replace(FAKE_MODEL, id="cloud", title="Cloud", lane="service", paid=True)


class ListedBackend(FakeBackend):
    """Counts how often it is asked for its models, which real backends make anew each time; after the first time the
    model `gone` is left out."""

    listed = 0
    gone = ""

    def models(self):
        self.listed += 1
        return [model for model in super().models() if self.listed == 1 or model.id != self.gone]


def ask(**fields):
    return GenerationRequest(**{"prompt": "a red apple", "seed": 1, **fields})


@pytest.fixture
def studio(tmp_path):
    """Opens engines, and closes them however the test ends."""
    opened = []

    def open_one(*backends, root=tmp_path, **settings):
        engine = open_engine(root, *backends, **settings)
        opened.append((engine, backends))
        return engine

    yield open_one
    for engine, backends in opened:
        for backend in backends:
            backend.held = backend.asleep = False
            backend.release(100)
        engine.close()


def pixels(asset):
    return Image.open(asset.path).convert("RGB").tobytes()


def test_a_job_ends_with_all_its_images_saved(studio):
    backend = FakeBackend()
    engine = studio(backend)
    job = engine.submit(ask(count=5, batch_size=2, seed=MAX_SEED - 1), LOCAL_USER)
    snapshot = wait_until_final(job)
    assert (snapshot.status, snapshot.progress) == (Status.FINISHED, 1.0)
    assert [len(seeds) for _, seeds in backend.seen] == [2, 2, 1]
    wanted = [MAX_SEED - 1, MAX_SEED, 0, 1, 2]
    assert [asset.seed for asset in snapshot.assets] == wanted
    assert [pixels(asset) for asset in snapshot.assets] == [draw_fake_image(seed, 64, 64).tobytes() for seed in wanted]
    assert engine.assets(LOCAL_USER, limit=5) == list(reversed(snapshot.assets))
    assert backend.threads == {"lane gpu 0"}


def test_an_asset_asks_for_its_image_alone(studio):
    engine = studio()
    third = wait_until_final(
        engine.submit(ask(count=3, batch_size=3, variation_strength=0.3, variation_seed=9), LOCAL_USER)
    ).assets[2]
    assert (third.request.seed, third.request.variation_seed, third.request.count) == (1, 11, 1)
    again = wait_until_final(engine.submit(third.request, LOCAL_USER)).assets[0]
    assert pixels(again) == pixels(third) == draw_fake_image(1, 64, 64, 11).tobytes()


def test_a_missing_seed_is_drawn_once_and_kept(studio):
    engine = studio()
    job = engine.submit(ask(seed=None, model=""), LOCAL_USER)
    assert job.request.seed is not None
    assert job.request.model == "fake"
    assert wait_until_final(job).assets[0].seed == job.request.seed


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "not found"}, UnknownModel),
        ({"width": 65}, InvalidRequest),
        ({"count": 101}, InvalidRequest),
        ({"axes": (Axis(parameter="Nonsense", values=("1",)),)}, InvalidRequest),
        ({"axes": (Axis(parameter="Width", values=("64", "65")),)}, InvalidRequest),
        ({"axes": (Axis(parameter="Model", values=("fake", "cloud")),)}, InvalidRequest),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(studio, fields, error):
    engine = studio(FakeBackend(), FakeBackend(CLOUD))
    with pytest.raises(error):
        engine.submit(ask(**fields), LOCAL_USER)
    assert engine.jobs(LOCAL_USER) == []


def test_previews_come_no_faster_than_asked(studio):
    often = studio(FakeBackend(steps=6), preview_interval=0.1)
    job = often.submit(ask(), LOCAL_USER)
    seen = {snapshot.preview for snapshot in snapshots(job)} - {None}
    assert all(path.suffix == ".jpg" for path in seen)
    assert list(often.previews_dir.glob("*.jpg"))
    assert os.stat(often.previews_dir).st_mode & 0o077 == 0


def test_a_step_that_the_image_follows_brings_no_preview(studio):
    backend = FakeBackend(steps=3, held=True)
    engine = studio(backend, preview_interval=0.1)
    job = engine.submit(ask(), LOCAL_USER)
    shown = []
    for step in (1, 2):
        backend.release(1)
        while job.snapshot.step < step:
            job.wait(job.snapshot.version, DEADLINE)
        shown.append(job.snapshot.preview)
        time.sleep(0.3)  # steps that take longer than the interval
    backend.release(100)
    wait_until_final(job)
    assert None not in shown
    assert len(set(shown)) == 2
    assert sorted(engine.previews_dir.glob("*.jpg")) == sorted(shown)


def test_previews_can_be_off(studio, tmp_path):
    engine = studio(FakeBackend(steps=6), previews=False)
    wait_until_final(engine.submit(ask(), LOCAL_USER))
    assert list(engine.previews_dir.glob("*.jpg")) == []


def snapshots(job):
    """Every snapshot that a reader of the job gets to see."""
    current = job.snapshot
    yield current
    while not current.status.is_final:
        current = job.wait(current.version, DEADLINE)
        yield current


def test_progress_grows_and_eta_is_told(studio):
    backend = FakeBackend(steps=5, held=True)
    job = studio(backend).submit(ask(count=2), LOCAL_USER)
    backend.release(7)
    snapshot = wait_for_snapshot(job, lambda seen: (seen.image, seen.step) == (2, 2))
    assert (snapshot.steps, snapshot.images) == (5, 2)
    assert snapshot.progress == pytest.approx(0.7)
    assert snapshot.eta is not None
    assert snapshot.eta >= 0
    backend.release(3)
    assert wait_until_final(job).status is Status.FINISHED


def test_cancel_works_within_a_step_and_keeps_finished_images(studio):
    backend = FakeBackend(steps=4, held=True)
    engine = studio(backend)
    job = engine.submit(ask(count=3), LOCAL_USER)
    backend.release(5)
    wait_for_snapshot(job, lambda seen: (seen.image, seen.step) == (2, 1))
    engine.cancel(job.id, LOCAL_USER)
    backend.release(1)
    snapshot = wait_until_final(job)
    assert snapshot.status is Status.CANCELLED
    assert "Stopped" in snapshot.notices
    assert backend.steps_done == 6  # the step in flight, and no other
    assert len(snapshot.assets) == 1
    engine.cancel(job.id, LOCAL_USER)
    assert job.snapshot.status is Status.CANCELLED


def test_cancelling_a_waiting_job_needs_no_lane(studio):
    backend = FakeBackend(held=True)
    engine = studio(backend)
    running, waiting = engine.submit(ask(), LOCAL_USER), engine.submit(ask(), LOCAL_USER)
    engine.cancel(waiting.id, LOCAL_USER)
    assert waiting.snapshot.status is Status.CANCELLED
    backend.release(4)
    assert wait_until_final(running).status is Status.FINISHED
    assert len(backend.seen) == 1


def test_cancel_all_stops_one_users_jobs_only(studio):
    backend = FakeBackend(held=True)
    engine = studio(backend)
    mine = [engine.submit(ask(), ANN) for _ in range(3)]
    theirs = engine.submit(ask(), BOB)
    engine.cancel_all(ANN)
    backend.release(5)
    assert {wait_until_final(job).status for job in mine} == {Status.CANCELLED}
    assert wait_until_final(theirs).status is Status.FINISHED


def test_skip_drops_one_pass_and_goes_on(studio):
    backend = FakeBackend(steps=2, held=True)
    engine = studio(backend)
    job = engine.submit(ask(count=3), LOCAL_USER)
    backend.release(3)
    wait_for_snapshot(job, lambda seen: (seen.image, seen.step) == (2, 1))
    engine.skip(job.id, LOCAL_USER)
    backend.release(3)
    snapshot = wait_until_final(job)
    assert snapshot.status is Status.FINISHED
    assert [asset.seed for asset in snapshot.assets] == [1, 3]


def test_users_take_turns_and_hear_their_place(studio):
    backend = FakeBackend(steps=1, held=True)
    engine = studio(backend)
    first = engine.submit(ask(seed=0), ANN)
    assert backend.entered.acquire(timeout=DEADLINE)
    jobs = [engine.submit(ask(seed=seed), user) for seed, user in ((1, ANN), (2, ANN), (3, ANN), (4, BOB), (5, BOB))]
    assert [job.snapshot.ahead for job in jobs] == [1, 3, 5, 2, 4]
    backend.release(6)
    for job in (first, *jobs):
        wait_until_final(job)
    assert [seeds[0].seed for _, seeds in backend.seen] == [0, 1, 4, 2, 5, 3]


def test_waiting_jobs_learn_their_eta_from_earlier_ones(studio):
    backend = FakeBackend(steps=3)
    engine = studio(backend)
    wait_until_final(engine.submit(ask(), LOCAL_USER))
    backend.held = True
    running = engine.submit(ask(), LOCAL_USER)
    backend.release(2)
    wait_for_snapshot(running, lambda seen: seen.step == 2)
    waiting = [engine.submit(ask(), LOCAL_USER) for _ in range(2)]
    etas = [job.snapshot.eta for job in waiting]
    assert None not in etas
    assert etas[0] <= etas[1]


def test_a_full_queue_refuses_with_the_number_ahead(studio):
    backend = FakeBackend(held=True)
    engine = studio(backend, queue_limit=3, queue_limit_per_user=2)
    engine.submit(ask(), ANN)
    assert backend.entered.acquire(timeout=DEADLINE)
    for user in (ANN, ANN, BOB):
        engine.submit(ask(), user)
    for user, ahead in ((ANN, 2), (BOB, 3)):
        with pytest.raises(QueueFull) as refused:
            engine.submit(ask(), user)
        assert refused.value.details["ahead"] == ahead


def test_nobody_reaches_anothers_jobs(studio):
    engine = studio()
    job = engine.submit(ask(), ANN)
    wait_until_final(job)
    for act in (engine.job, engine.cancel, engine.skip, engine.leave, engine.attach, engine.retry_save):
        with pytest.raises(NotFound):
            act(job.id, BOB)
    assert engine.jobs(BOB) == []
    assert engine.jobs(ANN) == [job]


def test_jobs_of_earlier_runs_are_told(studio, tmp_path):
    first = studio(FakeBackend(FAKE_MODEL, CLOUD))
    done = first.submit(ask(count=2), LOCAL_USER)
    failed = first.submit(ask(model="cloud", seed=3), LOCAL_USER)
    wait_until_final(done)
    wait_until_final(failed)
    first.close()
    second = studio()
    again = second.job(done.id, LOCAL_USER)
    assert again.snapshot.status is Status.FINISHED
    assert again.snapshot.assets == done.snapshot.assets
    assert [job.id for job in second.jobs(LOCAL_USER)] == [failed.id, done.id]
    assert second.jobs(LOCAL_USER)[0].model.problem


@pytest.mark.parametrize("error", [OutOfMemory("no room", details={"requested": 2}), ModelBroken("not found tensor")])
def test_a_failing_model_gives_way_to_the_fallback(studio, error):
    backend = FakeBackend(FAKE_MODEL, SMALL)
    backend.fail = lambda request, step: error if request.model == "fake" and len(backend.seen) == 2 else None
    engine = studio(backend, fallback_model="small")
    job = engine.submit(ask(count=3, width=128, height=64, guidance=7.0, loras=(LoraUse(name="x"),)), LOCAL_USER)
    snapshot = wait_until_final(job)
    assert snapshot.status is Status.FINISHED
    assert [asset.request.model for asset in snapshot.assets] == ["fake", "small", "small"]
    rest = snapshot.assets[1]
    assert (rest.width, rest.height) == (48, 24)
    assert (rest.request.guidance, rest.request.loras) == (None, ())
    assert any("Made with Small instead of fake" in note for note in rest.notes)
    assert any("Made with Small" in notice for notice in snapshot.notices)
    assert not snapshot.assets[0].notes


def test_an_unknown_model_gives_way_at_once_and_says_so(studio):
    engine = studio(FakeBackend(SMALL), fallback_model="small", default_model="small")
    job = engine.submit(ask(model="gone"), LOCAL_USER)
    assert "instead of gone" in job.snapshot.notices[0]
    asset = wait_until_final(job).assets[0]
    assert asset.request.model == "small"
    assert "instead of gone" in asset.notes[0]


def test_a_cell_of_a_grid_whose_model_is_not_there_is_made_by_the_fallback_and_priced_as_it(studio):
    engine = studio(FakeBackend(FAKE_MODEL, SMALL), fallback_model="small")
    grid = ask(width=64, height=64, axes=(Axis(parameter="Model", values=("fake", "gone")),))
    assert engine.estimate(grid) == 0
    snapshot = wait_until_final(engine.submit(grid, LOCAL_USER))
    assert snapshot.status is Status.FINISHED
    assert [asset.request.model for asset in snapshot.assets[:2]] == ["fake", "small"]
    assert any("instead of gone" in note for note in snapshot.assets[1].notes)
    with pytest.raises(UnknownModel, match="gone"):
        studio(FakeBackend(FAKE_MODEL, SMALL)).submit(grid, LOCAL_USER)


def test_a_fallback_in_another_lane_takes_the_rest(studio):
    local = FakeBackend()
    local.fail = lambda request, step: OutOfMemory("no room") if len(local.seen) == 2 else None
    cloud = FakeBackend(CLOUD)
    engine = studio(local, cloud, fallback_model="cloud")
    snapshot = wait_until_final(engine.submit(ask(count=3), LOCAL_USER))
    assert [asset.request.model for asset in snapshot.assets] == ["fake", "cloud", "cloud"]
    assert all(name.startswith("lane service") for name in cloud.threads)


def test_without_a_fallback_the_error_stands(studio):
    backend = FakeBackend()
    backend.fail = lambda request, step: OutOfMemory("no room", hint="Smaller.") if step == 2 else None
    snapshot = wait_until_final(studio(backend).submit(ask(), LOCAL_USER))
    assert snapshot.status is Status.FAILED
    assert isinstance(snapshot.error, OutOfMemory)


def test_an_unforeseen_error_is_told_by_number_and_the_lane_lives_on(studio, tmp_path):
    backend = FakeBackend()
    backend.fail = lambda request, step: KeyError("/secret/path") if request.seed == 1 else None
    engine = studio(backend)
    error = wait_until_final(engine.submit(ask(), LOCAL_USER)).error
    assert error is not None
    assert "secret" not in str(error.to_json())
    log = (tmp_path / "logs/studio.log").read_text()
    assert error.details["log_entry"] in log
    assert "/secret/path" in log
    assert wait_until_final(engine.submit(ask(seed=2), LOCAL_USER)).status is Status.FINISHED


def test_a_backend_that_gives_too_few_images_is_found_out(studio):
    class Short(FakeBackend):
        def render(self, request, seeds, ctx):
            return super().render(request, seeds, ctx)[1:]

    assert wait_until_final(studio(Short()).submit(ask(count=2, batch_size=2), LOCAL_USER)).status is Status.FAILED


def test_a_full_disk_keeps_the_images_for_another_try(studio, monkeypatch):
    backend = FakeBackend()
    engine = studio(backend)

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outputs_module, "write_synced", full)
    job = engine.submit(ask(count=4), LOCAL_USER)
    snapshot = wait_until_final(job)
    assert snapshot.status is Status.FAILED
    assert "full" in snapshot.error.message
    drawn = len(backend.seen)
    kept = len(job.unsaved)
    assert kept == drawn > 0
    monkeypatch.undo()
    engine.retry_save(job.id, LOCAL_USER)
    snapshot = wait_until_final(job)
    assert (snapshot.status, snapshot.error) == (Status.FINISHED, None)
    assert [asset.seed for asset in snapshot.assets] == [1, 2, 3, 4]
    assert len(backend.seen) == 4  # none was drawn twice
    with pytest.raises(InvalidRequest):
        engine.retry_save(job.id, LOCAL_USER)


def test_a_grid_is_one_job_with_a_labelled_image_at_its_end(studio):
    backend = FakeBackend()
    engine = studio(backend)
    axes = (Axis(parameter="Seed", values=("1-3",)), Axis(parameter="Steps", values=("4", "5")))
    snapshot = wait_until_final(engine.submit(ask(axes=axes), LOCAL_USER))
    assert snapshot.status is Status.FINISHED
    *cells, whole = snapshot.assets
    assert len(cells) == 6
    assert whole.parents == tuple(cell.id for cell in cells)
    assert whole.request.axes == axes
    assert whole.width > 3 * 64
    assert whole.height > 2 * 64


def test_a_grid_goes_on_where_it_was_put_back(studio, tmp_path):
    backend = FakeBackend(steps=1, held=True)
    first = studio(backend)
    job = first.submit(ask(axes=(Axis(parameter="Seed", values=("1-5",)),)), LOCAL_USER)
    backend.release(2)
    wait_for_snapshot(job, lambda seen: len(seen.assets) == 2)
    closing = threading.Thread(target=first.close, kwargs={"drain": 0})
    closing.start()
    backend.release(1)
    closing.join(DEADLINE)
    assert not job.snapshot.status.is_final
    again = FakeBackend(steps=1)
    second = studio(again)
    snapshot = wait_until_final(second.job(job.id, LOCAL_USER))
    assert snapshot.status is Status.FINISHED
    assert len(snapshot.assets) == 6
    assert len(again.seen) == 3
    assert len({asset.path for asset in snapshot.assets}) == 6


def test_an_abandoned_page_stops_its_local_job(studio, tmp_path):
    backend = FakeBackend(asleep=True)
    engine = studio(backend, grace=0.0)
    running, waiting = engine.submit(ask(), LOCAL_USER), engine.submit(ask(), LOCAL_USER)
    assert backend.entered.acquire(timeout=DEADLINE)
    for job in (waiting, running):
        engine.leave(job.id, LOCAL_USER)
        assert wait_until_final(job).status is Status.CANCELLED


def test_a_page_that_comes_back_keeps_its_job(studio):
    backend = FakeBackend(held=True)
    engine = studio(backend, grace=3600.0)
    job = engine.submit(ask(), LOCAL_USER)
    engine.leave(job.id, LOCAL_USER)
    assert engine.attach(job.id, LOCAL_USER) is job
    backend.release(4)
    assert wait_until_final(job).status is Status.FINISHED


@pytest.mark.parametrize(("page_closed", "model"), [("finish", "fake"), ("stop", "cloud")])
def test_paid_and_patient_jobs_run_on(studio, page_closed, model):
    backend = FakeBackend(FAKE_MODEL, CLOUD, held=True)
    engine = studio(backend, grace=0.0, page_closed=page_closed)
    job = engine.submit(ask(model=model), LOCAL_USER)
    engine.leave(job.id, LOCAL_USER)
    backend.release(4)
    assert wait_until_final(job).status is Status.FINISHED


def test_work_in_the_lane_runs_between_jobs(studio):
    backend = FakeBackend(held=True)
    engine = studio(backend)
    first, second = engine.submit(ask(seed=1), LOCAL_USER), engine.submit(ask(seed=2), LOCAL_USER)
    assert backend.entered.acquire(timeout=DEADLINE)
    backend.release(4)
    seen = engine.run_in_lane("gpu", lambda ctx: (threading.current_thread().name, len(backend.seen)))
    assert seen == ("lane gpu 0", 1) or seen == ("lane gpu 0", 2)
    backend.release(4)
    assert {wait_until_final(first).status, wait_until_final(second).status} == {Status.FINISHED}


def test_work_in_the_lane_passes_its_error_on_and_has_a_deadline(studio):
    backend = FakeBackend(held=True)
    engine = studio(backend)

    def broken(ctx):
        raise ModelBroken("torn")

    with pytest.raises(ModelBroken):
        engine.run_in_lane("gpu", broken)
    engine.submit(ask(), LOCAL_USER)
    assert backend.entered.acquire(timeout=DEADLINE)
    with pytest.raises(StudioError, match="busy"):
        engine.run_in_lane("gpu", lambda ctx: None, timeout=0.01)


def test_closing_waits_for_the_running_job(studio):
    backend = FakeBackend(held=True)
    engine = studio(backend)
    running, waiting = engine.submit(ask(), LOCAL_USER), engine.submit(ask(), LOCAL_USER)
    backend.release(1)
    wait_for_snapshot(running, lambda snapshot: snapshot.step == 1)
    closing = threading.Thread(target=engine.close)
    closing.start()
    backend.release(3)
    closing.join(DEADLINE)
    assert running.snapshot.status is Status.FINISHED
    assert waiting.snapshot.status is Status.QUEUED
    assert backend.closed
    with pytest.raises(JobCancelled):
        engine.submit(ask(), LOCAL_USER)
    second = studio()
    assert wait_until_final(second.job(waiting.id, LOCAL_USER)).status is Status.FINISHED


def test_closing_does_not_wait_for_a_job_that_has_drawn_no_step(studio):
    backend = FakeBackend(asleep=True)
    engine = studio(backend)
    job = engine.submit(ask(), LOCAL_USER)
    assert backend.entered.acquire(timeout=DEADLINE)
    closing = threading.Thread(target=engine.close, kwargs={"drain": 10 * DEADLINE}, daemon=True)
    closing.start()
    closing.join(DEADLINE / 2)
    assert not closing.is_alive()
    assert job.snapshot.status is Status.QUEUED
    second = studio()
    assert wait_until_final(second.job(job.id, LOCAL_USER)).status is Status.FINISHED


def test_closing_waits_for_a_paid_job_that_has_no_step_yet(studio):
    backend = FakeBackend(CLOUD, held=True)
    engine = studio(backend, default_model="cloud")
    job = engine.submit(ask(model="cloud"), LOCAL_USER)
    assert backend.entered.acquire(timeout=DEADLINE)
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    backend.release(4)
    closing.join(DEADLINE)
    assert job.snapshot.status is Status.FINISHED


def test_each_job_leaves_a_line_in_the_generation_log(studio, tmp_path):
    engine = studio(host="0.0.0.0")
    wait_until_final(engine.submit(ask(prompt="secret garden", count=2), LOCAL_USER))
    line = json.loads((tmp_path / "logs/generation.jsonl").read_text())
    assert (line["model"], line["success"], line["pictures"], line["width"]) == ("fake", True, 2, 64)
    assert "denoise" in line["stages"]
    assert "secret garden" not in json.dumps(line)


def test_sixty_four_jobs_at_once_give_what_each_gives_alone(studio):
    engine = studio(FakeBackend(steps=1), queue_limit_per_user=100)
    jobs: list = [None] * 64

    def submit(number):
        jobs[number] = engine.submit(ask(seed=number), User(f"user{number % 5}"))

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    for number, job in enumerate(jobs):
        assert pixels(wait_until_final(job).assets[0]) == draw_fake_image(number, 64, 64).tobytes()


def test_comments_in_prompts_are_left_out_where_the_setting_says_so(studio, tmp_path) -> None:
    asked = ask(prompt="a pear # ripe\non wood", negative_prompt="# nothing")
    assert studio().submit(asked, ANN).request.prompt == asked.prompt
    job = studio(root=tmp_path / "other", prompt_comments=True).submit(asked, ANN)
    assert (job.request.prompt, job.request.negative_prompt) == ("a pear\non wood", "")


def test_a_request_is_looked_at_with_one_list_of_the_models(studio):
    backend = ListedBackend(held=True)
    engine = studio(backend)
    backend.listed, backend.gone = 0, FAKE_MODEL.id
    engine.submit(ask(model=FAKE_MODEL.id), ANN)
    assert backend.listed == 1
    with pytest.raises(UnknownModel):
        engine.submit(ask(model=FAKE_MODEL.id), ANN)


def test_a_failed_job_keeps_nothing_in_memory_of_what_its_model_had_read(studio):
    class Weights:
        pass

    def fail(request, step):
        weights = Weights()
        read.append(weakref.ref(weights))
        try:
            raise ValueError("a part is missing")
        except ValueError as error:
            raise ModelBroken("The checkpoint cannot be loaded.") from error

    read = []
    backend = FakeBackend()
    backend.fail = fail
    job = studio(backend).submit(ask(), ANN)
    assert isinstance(wait_until_final(job).error, ModelBroken)
    gc.collect()
    assert read[0]() is None
