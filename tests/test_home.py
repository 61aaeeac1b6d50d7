"""What the start page is told: one's own jobs and money, and the machine only for who runs the studio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts

from studio.engine.studio import Studio
from studio.tabs.home.home_routes import build_home_router

API = "/api/image-studio"


def mount_home(app: FastAPI, studio: Studio) -> FastAPI:
    app.include_router(build_home_router(studio))
    return app


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("home")
    social, painter, backends = make_social_parts(folder)
    painter.held = True
    with serve_studio(
        folder,
        users=True,
        page=mount_home,
        backend=backends,
        social=social,
        default_model="fake",
        budget_day=5.0,
    ) as running:
        running.backend = painter
        yield running
        painter.release(1000)


def test_a_stranger_is_told_nothing(served: RunningStudio) -> None:
    answer = served.open_client().get("/page/home", headers={"Accept": "application/json"})
    assert answer.status_code in (303, 401)
    assert "jobs" not in answer.text


def test_everybody_sees_their_own_unfinished_jobs_alone(served: RunningStudio) -> None:
    ann, bob = served.open_client("ann"), served.open_client("bob")
    made = ann.post(f"{API}/create", json={"prompt": "ann's secret garden"}).json()
    (job,) = ann.get("/page/home").json()["jobs"]
    assert (job["id"], job["prompt"], job["task"]) == (made["jobId"], "ann's secret garden", "txt2img")
    others = bob.get("/page/home")
    assert others.json()["jobs"] == []
    assert "secret garden" not in others.text
    assert bob.delete(f"{API}/jobs/{made['jobId']}").status_code == 404
    ann.delete(f"{API}/jobs/{made['jobId']}")


def test_spending_is_told_with_the_budgets(served: RunningStudio) -> None:
    with served.studio.engine.ledger.record_purchase(("j", "ann"), ("cloud", "m"), 1, 0.5) as bought:
        bought.cost = 1.25
    told = {one["period"]: one for one in served.open_client("ann").get("/page/home").json()["spending"]}
    assert told["day"] == {"period": "day", "spent": 1.25, "budget": 5.0}
    assert told["month"] == {"period": "month", "spent": 1.25, "budget": 0.0}
    assert served.open_client("bob").get("/page/home").json()["spending"][0]["spent"] == 0


def test_the_machine_is_shown_to_administrators_alone(served: RunningStudio) -> None:
    assert served.open_client("bob").get("/page/home").json()["machine"] is None
    machine = served.open_client("root").get("/page/home").json()["machine"]
    assert 0 < machine["disk"]["free"] <= machine["disk"]["total"]
    assert machine["memory"]["device"] == "cpu"


def test_models_and_templates_are_counted_and_named(served: RunningStudio) -> None:
    told = served.open_client("ann").get("/page/home").json()
    assert told["models"]["local"] >= 1
    assert set(told["models"]) == {"local", "cloud", "locked", "broken"}
    assert 0 < len(told["templates"]) <= 8
    assert all(set(one) == {"id", "name", "purpose"} for one in told["templates"])
