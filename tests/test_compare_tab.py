"""Compare: one prompt to several models, none sent when one is refused; blind pairs stay unnamed."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend, wait_until_final
from serving import make_studio

from studio.core.errors import InvalidRequest, ModelBroken, QuotaExceeded, UnknownModel, Unreachable
from studio.core.events import Status
from studio.core.model import Feature
from studio.core.pricing import Estimate, ImageSizes
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.jobs.job import Job
from studio.engine.models.votes import Tally
from studio.engine.studio import Studio
from studio.tabs.common.choice_lists import READY_MODELS, list_choices
from studio.tabs.common.run_job import follow_jobs
from studio.tabs.compare.contenders import MAX_CONTENDERS, build_contenders
from studio.tabs.compare.tab import (
    _render_side_by_side,
    _render_tallies,
    _stop_jobs,
    _submit_jobs,
    render_empty_comparison,
    render_price,
)

CLOUD = dataclasses.replace(
    FAKE_MODEL, id="shop/fox", title="<Fox>", lane="shop", paid=True, features=frozenset({Feature.STEPS})
)
UNTOLD = dataclasses.replace(CLOUD, id="shop/cat", title="Cat")
LOCKED = dataclasses.replace(CLOUD, id="shop/owl", title="Owl", problem="it needs a key.")


class Shop(FakeBackend):
    def estimate(self, request: GenerationRequest, sizes: ImageSizes) -> Estimate | None:
        return None if request.model == "shop/cat" else Estimate(amount=0.04 * request.count)


def submit(studio: Studio, models: list[str], *, blind: bool = False) -> tuple[list[str], list[Job]]:
    contenders = build_contenders(studio, {"prompt": "a fox", "models": models}, 7)
    return _submit_jobs(studio, contenders, LOCAL_USER, blind=blind)


@pytest.fixture
def shop() -> Shop:
    return Shop(CLOUD, UNTOLD, LOCKED)


@pytest.fixture
def studio(tmp_path: Path, shop: Shop) -> Iterator[Studio]:
    studio = make_studio(tmp_path, [FakeBackend(), shop], default_model="fake")
    studio.engine.start()
    yield studio
    studio.engine.close()


def test_models_that_are_ready_are_offered(studio: Studio) -> None:
    ready = list_choices(studio, READY_MODELS, Task.TXT2IMG)
    assert [name for _, name in ready] == ["fake", "shop/fox", "shop/cat"]


def test_each_gets_the_prompt_and_the_seed_where_it_takes_one(studio: Studio, shop: Shop) -> None:
    titles, jobs = submit(studio, ["fake", "shop/fox"], blind=False)
    for job in jobs:
        assert wait_until_final(job).assets
    assert [job.request.model for job in jobs] == ["fake", "shop/fox"]
    assert [job.request.seed for job in jobs] == [7, None]
    page = _render_side_by_side(studio, jobs, titles, hidden=False)
    assert page.count("<figure>") == page.count("<img") == 2
    assert "free" in page
    assert "about $0.04" in page
    assert "&lt;Fox&gt;" in page
    assert "<Fox>" not in page


def test_a_blind_pair_is_unnamed_and_has_no_price(studio: Studio) -> None:
    titles, jobs = submit(studio, ["fake", "shop/fox"], blind=True)
    for job in jobs:
        wait_until_final(job)
    assert {job.request.model for job in jobs} == {"fake", "shop/fox"}
    page = _render_side_by_side(studio, jobs, titles, hidden=True)
    assert ">Left<" in page
    assert ">Right<" in page
    assert not any(told in page for told in ("Fake", "Fox", "$", "free"))


def test_one_that_fails_stands_beside_one_that_does_not(studio: Studio, shop: Shop) -> None:
    shop.fail = lambda request, step: Unreachable("The <shop> is closed.", hint="Come back.")
    titles, jobs = submit(studio, ["fake", "shop/fox"], blind=False)
    for job in jobs:
        wait_until_final(job)
    page = _render_side_by_side(studio, jobs, titles, hidden=False)
    assert "The &lt;shop&gt; is closed. Come back." in page
    assert page.count("<img") == 1


def test_stop_ends_all_jobs_of_the_user_and_none_of_others(studio: Studio, shop: Shop) -> None:
    gate = threading.Event()
    shop.fail = lambda request, step: gate.wait(10) and None
    _, jobs = submit(studio, ["fake", "shop/fox"], blind=False)
    _stop_jobs(studio, [job.id for job in jobs], User("somebody else"))
    assert not any(job.snapshot.status is Status.CANCELLED for job in jobs)
    _stop_jobs(studio, [jobs[1].id, "no such job"], LOCAL_USER)
    gate.set()
    assert wait_until_final(jobs[1]).status is Status.CANCELLED
    assert wait_until_final(jobs[0]).status is Status.FINISHED


def test_a_closed_page_leaves_its_jobs_to_the_engine(
    studio: Studio, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, left = threading.Event(), []
    monkeypatch.setattr(studio.engine, "leave", lambda job_id, user: left.append(job_id))
    shop.fail = lambda request, step: gate.wait(10) and None
    _, jobs = submit(studio, ["shop/fox"] * 2)
    updates = follow_jobs(studio.engine, jobs, LOCAL_USER)
    assert next(updates) is False
    updates.close()  # type: ignore[attr-defined]
    gate.set()
    assert left == [job.id for job in jobs]
    for job in jobs:
        wait_until_final(job)
    assert list(follow_jobs(studio.engine, jobs, LOCAL_USER)) == [True]


@pytest.mark.parametrize(
    ("models", "blind", "kind"),
    [
        ([], False, InvalidRequest),
        (["fake"], False, InvalidRequest),
        (["fake", "shop/fox", "shop/cat"], True, InvalidRequest),
        (["fake", "nobody"], False, UnknownModel),
        (["fake", "shop/owl"], False, ModelBroken),
    ],
)
def test_nothing_is_sent_when_one_is_refused(
    studio: Studio, models: list[str], blind: bool, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        submit(studio, list(models), blind=blind)
    assert studio.engine.jobs(LOCAL_USER) == []


def test_none_goes_on_when_a_limit_refuses_the_last(studio: Studio, shop: Shop) -> None:
    gate = threading.Event()

    def wait(request: GenerationRequest, step: int) -> None:
        gate.wait(10)

    shop.fail = wait
    user = User(LOCAL_USER.name, limits=(("images_per_day", 1),))
    contenders = build_contenders(studio, {"prompt": "a fox", "models": ["shop/fox", "fake"]}, 7)
    with pytest.raises(QuotaExceeded):
        _submit_jobs(studio, contenders, user, blind=False)
    gate.set()
    (job,) = studio.engine.jobs(user)
    assert wait_until_final(job).status is Status.CANCELLED


def test_the_price_of_all_together(studio: Studio) -> None:
    def price(*models: str, **values: object) -> str:
        return render_price(studio, {"prompt": "a fox", "models": models, **values}, LOCAL_USER)

    assert price("fake") == "", "there is nothing to compare yet"
    assert "Free." in price("fake", "fake")
    assert "About $0.04." in price("fake", "shop/fox")
    assert "About $0.04 plus unknown costs." in price("shop/cat", "shop/fox")
    assert "About $0.12." in price(kind="Settings", model="shop/fox", parameter="Steps", typed="4-6")


def build(studio: Studio, **values: object) -> list[tuple[str, GenerationRequest]]:
    found = build_contenders(studio, {"prompt": "a fox", "model": "fake", **values}, 7)
    return [(one.title, one.request) for one in found]


def test_seeds_and_settings_of_one_model_are_compared(studio: Studio) -> None:
    seeds = build(studio, kind="Seeds", typed="1-3")
    assert [(title, request.seed) for title, request in seeds] == [("Seed: 1", 1), ("Seed: 2", 2), ("Seed: 3", 3)]
    scales = build(studio, kind="Settings", parameter="CFG scale", typed="4, 7.5")
    assert [(title, request.guidance, request.seed) for title, request in scales] == [
        ("CFG scale: 4", 4, 7),
        ("CFG scale: 7.5", 7.5, 7),
    ]


def test_loras_are_compared_at_one_weight_and_with_none(studio: Studio) -> None:
    none, neon = build(studio, kind="LoRAs", loras=["None", "styles/neon"], weight=0.8)
    assert (none[0], none[1].loras) == ("Without a LoRA", ())
    assert neon[0] == "neon 0.8"
    assert [(use.name, use.weight) for use in neon[1].loras] == [("styles/neon", 0.8)]


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "Seeds", "typed": "1"},
        {"kind": "Seeds", "typed": "one, two"},
        {"kind": "Seeds", "typed": f"1-{MAX_CONTENDERS + 1}"},
        {"kind": "Settings", "parameter": "", "typed": "1, 2"},
        {"kind": "LoRAs", "loras": ["a"], "weight": 1},
        {"kind": "LoRAs", "loras": ["a", "b"], "weight": None},
    ],
)
def test_too_few_too_many_and_unreadable_contenders_are_refused(studio: Studio, values: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        build(studio, **values)
    assert refused.value.hint


def test_an_empty_comparison_says_why_when_there_is_one_model(studio: Studio, tmp_path: Path) -> None:
    assert "Only one model" not in render_empty_comparison(studio)
    alone = make_studio(tmp_path / "alone", FakeBackend(), default_model="fake")
    assert "Only one model can be used here, Fake" in render_empty_comparison(alone)


def test_votes_are_counted_per_pair(studio: Studio) -> None:
    votes = studio.engine.votes
    votes.cast("ann", "fake", "shop/fox")
    votes.cast("bob", "shop/fox", "fake")
    votes.cast("bob", "shop/fox", "fake", tie=True)
    assert votes.tallies() == [Tally(first="fake", second="shop/fox", for_first=1, for_second=1, ties=1)]
    assert re.sub(r" data-label=\"\w+\"", "", _render_tallies(votes.tallies())).count("<td>1</td>") == 3
    assert _render_tallies([]) == ""
    assert "<b>" not in _render_tallies([Tally(first="<b>", second="c", for_first=1, for_second=0, ties=0)])
