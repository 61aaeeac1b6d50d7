"""Jobs, the fair queue, the pace and the fallback's fitting, each by itself."""

from __future__ import annotations

import dataclasses
import itertools
import threading

import pytest
from fakes import DEADLINE, FAKE_MODEL, FakeBackend, open_engine, wait_until_final
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import ImageSkipped, InvalidRequest, JobCancelled
from studio.core.events import CancelledEvent, FinishedEvent, LoadingEvent, NoticeEvent, Status
from studio.core.model import Feature, Sampling, Sizes
from studio.core.request import Axis, GenerationRequest, Hires
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.jobs.job import Job, StopReason
from studio.engine.jobs.job_context import EtaEstimator
from studio.engine.jobs.lanes import FairQueue
from studio.engine.jobs.passes import count_images, plan_images
from studio.engine.models.fallback_request import adapt


def make(user="ann", number=0):
    return Job(job_id=f"{user}{number}", user=user, request=GenerationRequest(), model=FAKE_MODEL, settings=Settings())


def test_wait_returns_with_the_next_event_and_at_the_timeout():
    job = make()
    assert job.wait(0, 0.0).version == 0
    threading.Thread(target=job.emit, args=(LoadingEvent("x"),)).start()
    assert job.wait(0, DEADLINE).status is Status.LOADING


def test_nothing_comes_after_the_last_event():
    job = make()
    assert job.emit(CancelledEvent())
    assert not job.emit(FinishedEvent(1.0))
    assert job.snapshot.status is Status.CANCELLED


def test_an_opened_job_grows_on():
    job = make()
    job.emit(NoticeEvent("x"), FinishedEvent(1.0))
    version = job.snapshot.version
    job.restore(dataclasses.replace(job.snapshot, status=Status.RUNNING, version=0))
    assert job.snapshot.version > version
    assert job.emit(FinishedEvent(2.0))


def test_a_skip_is_heard_once_and_a_stop_for_ever():
    job = make()
    job.raise_if_stopped()
    job.skip()
    with pytest.raises(ImageSkipped):
        job.raise_if_stopped()
    job.raise_if_stopped()
    job.stop(StopReason.PUT_BACK)
    job.stop(StopReason.STORAGE)
    assert job.stop_reason is StopReason.PUT_BACK
    job.stop(StopReason.CANCEL)
    assert job.stop_reason is StopReason.CANCEL
    for _ in range(2):
        with pytest.raises(JobCancelled):
            job.raise_if_stopped()


def test_sleep_ends_when_the_job_is_stopped():
    job = make()
    threading.Thread(target=job.stop, args=(StopReason.CANCEL,)).start()
    with pytest.raises(JobCancelled):
        job.sleep(3600)


def test_a_begun_job_is_not_told_that_it_waits():
    job = make()
    job.report_position(3, None)
    assert job.snapshot.ahead == 3
    job.emit(LoadingEvent("x"))
    job.report_position(2, None)
    assert job.snapshot.status is Status.LOADING


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_the_queue_is_fair_and_tells_its_order(moves):
    """Whatever is put and taken: the told order is the order of taking, first in first out within a user, and nobody is
    taken twice while another waits."""
    queue = FairQueue()
    waiting: dict[str, list[Job]] = {}
    for number, (user, put) in enumerate(moves):
        if put:
            job = make(user, number)
            queue.put(job)
            waiting.setdefault(user, []).append(job)
        else:
            order = queue.order()
            job = queue.pop()
            assert job is (order[0] if order else None)
            if job is not None:
                assert waiting[job.user].pop(0) is job
    order = queue.order()
    taken = [queue.pop() for _ in order]
    assert taken == order
    assert queue.pop() is None
    for place, (one, two) in enumerate(itertools.pairwise(taken), start=1):
        assert one.user != two.user or all(job.user == one.user for job in taken[place:])


def test_a_waiting_job_can_be_taken_out():
    queue = FairQueue()
    jobs = [make("a", 0), make("a", 1), make("b", 2)]
    for job in jobs:
        queue.put(job)
    assert queue.remove(jobs[0])
    assert not queue.remove(jobs[0])
    assert (len(queue), queue.count("a")) == (2, 1)
    assert queue.order() == jobs[1:]


def test_the_pace_counts_all_passes_to_come():
    pace = EtaEstimator(None)
    pace.begin(2, 6)
    assert pace.estimate_seconds_left(1, 10, 100.0) is None
    assert pace.estimate_seconds_left(3, 10, 104.0) == pytest.approx(7 * 2 + 2 * 10 * 2)
    pace.begin(2, 4)
    assert pace.estimate_seconds_left(1, 10, 130.0) == pytest.approx(9 * 2 + 10 * 2)


def test_a_load_is_expected_to_take_as_long_as_before(tmp_path):
    expected = []

    class LoadingBackend(FakeBackend):
        def render(self, request, seeds, ctx):
            ctx.report_loading("Loading weights")
            expected.append(ctx.job.snapshot.loading_seconds)
            with ctx.phase("load"):
                pass
            return super().render(request, seeds, ctx)

    for _ in range(2):  # the second studio remembers what the first one measured
        engine = open_engine(tmp_path, LoadingBackend())
        wait_until_final(engine.submit(GenerationRequest(prompt="a"), LOCAL_USER))
        engine.close()
    assert expected[0] is None
    assert expected[1] is not None
    assert expected[1] >= 0


BIG = GenerationRequest(
    prompt="x",
    negative_prompt="y",
    width=1024,
    height=512,
    guidance=5.0,
    sampler="Euler",
    schedule="Karras",
    steps=9,
    clip_skip=2,
    vae="v",
    hires=Hires(),
    batch_size=8,
    seed=3,
)


def test_a_request_is_fitted_to_a_poorer_model():
    poor = dataclasses.replace(
        FAKE_MODEL,
        id="poor",
        features=frozenset({Feature.SEED, Feature.STEPS}),
        max_batch=2,
        sizes=Sizes(liked=((128, 128),), smallest=64, largest=256, max_pixels=256 * 256),
    )
    adapted = adapt(BIG, poor)
    assert adapted == GenerationRequest(prompt="x", model="poor", width=256, height=128, steps=9, batch_size=2, seed=3)


def test_a_request_keeps_what_the_fallback_can_do():
    rich = dataclasses.replace(
        FAKE_MODEL, id="rich", sampling=Sampling(combinations={"Euler": ("Automatic",), "DDIM": ("Automatic",)})
    )
    adapted = adapt(BIG, rich)
    assert (adapted.width, adapted.height, adapted.guidance, adapted.hires) == (1024, 512, 5.0, Hires())
    assert (adapted.sampler, adapted.schedule, adapted.vae) == (None, None, None)


@given(width=st.integers(1, 512), height=st.integers(1, 512), multiple=st.sampled_from([8, 16, 64]))
def test_whatever_the_size_the_fallback_can_draw_it(width, height, multiple):
    model = dataclasses.replace(
        FAKE_MODEL, sizes=Sizes(liked=((256, 256),), multiple=multiple, smallest=128, largest=768, max_pixels=400_000)
    )
    adapted = adapt(GenerationRequest(width=width * 8, height=height * 8), model)
    model.check(adapted)


def test_a_task_that_the_fallback_lacks_is_refused():
    with pytest.raises(InvalidRequest):
        adapt(BIG, dataclasses.replace(FAKE_MODEL, tasks=frozenset()))


@pytest.mark.parametrize(
    "request_",
    [
        GenerationRequest(),
        GenerationRequest(count=3),
        GenerationRequest(count=2, batch=("a" * 64, "b" * 64, "c" * 64)),
        GenerationRequest(source="a" * 64, count=4),
        GenerationRequest(axes=(Axis(parameter="Steps", values=("1", "2")), Axis(parameter="Seed", values=("1", "2")))),
    ],
)
def test_images_are_counted_as_they_are_planned(request_: GenerationRequest) -> None:
    assert count_images(request_) == len(plan_images(request_))
