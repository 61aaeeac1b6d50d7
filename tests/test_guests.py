"""Visitors without a login: who they are, what they may do, and that nothing of them stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import DEADLINE, FAKE_MODEL, FakeBackend, open_engine, wait_for_snapshot
from gradio_client import Client
from PIL import Image
from serving import RunningStudio, serve_studio

from studio.core.errors import Forbidden, InvalidRequest, QueueFull, QuotaExceeded
from studio.core.model import GPU_LANE, TOOLS_LANE, Model
from studio.core.request import GenerationRequest
from studio.core.rights import ROLE_LIMITS, Role
from studio.core.user import User
from studio.engine.api_tokens import TokenScope
from studio.engine.engine import Engine
from studio.engine.guests import GuestLimits, GuestQuota
from studio.serving.cookies import COOKIE_NAME
from studio.serving.login import GUEST_NAME
from studio.serving.visitors import MAX_NEW_GUESTS

HTML = {"Accept": "text/html"}
ANN, BOB = User("guest-00000000000000aa", Role.GUEST), User("guest-00000000000000bb", Role.GUEST)
EMBEDDED = Model(id="embedded", title="Embedded", family="fake", sizes=FAKE_MODEL.sizes)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path, guests=True, backend=FakeBackend(EMBEDDED, FAKE_MODEL)) as found:
        yield found


def open_guest_engine(root: Path, **backend: Any) -> tuple[Engine, FakeBackend]:
    fake = FakeBackend(EMBEDDED, FAKE_MODEL, **backend)
    return open_engine(root, fake, guests=True, default_model="embedded"), fake


def ask(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a pear", "model": "embedded", "width": 64, "height": 64, **fields})


# who they are


def test_a_visitor_becomes_a_guest_by_opening_the_page(served: RunningStudio) -> None:
    client = served.open_client()
    assert client.get("/config").status_code == 401
    assert client.get("/", headers=HTML).status_code == 200
    name = client.cookies[COOKIE_NAME]
    assert client.get("/config").status_code == 200
    assert client.get("/", headers=HTML).status_code == 200
    assert client.cookies[COOKIE_NAME] == name, "a guest stays the same one"


def test_two_guests_see_nothing_of_each_other(served: RunningStudio) -> None:
    ann, bob = served.open_client(), served.open_client()
    for client in (ann, bob):
        client.get("/", headers=HTML)
    made = ann.post("/api/image-studio/create", params={"wait": "true"}, json={"prompt": "a pear"}).json()
    image = made["images"][0]["url"]
    assert ann.get(image).status_code == 200
    assert bob.get(image).status_code == 404
    assert bob.get(f"/api/image-studio/jobs/{made['jobId']}").status_code == 404
    assert bob.get("/api/image-studio/jobs").json()["jobs"] == []


def test_a_program_becomes_a_guest_by_name(served: RunningStudio) -> None:
    client = served.open_client()
    assert client.post("/login", data={"username": GUEST_NAME, "password": "any"}).status_code == 200
    assert client.get("/config").status_code == 200
    gradio = Client(served.url, auth=(GUEST_NAME, "any"), verbose=False, download_files=False)
    assert gradio.predict(api_name="/who").startswith("user:guest-")


def test_nobody_can_make_a_guest_or_administrator_of_a_name(served: RunningStudio) -> None:
    for value in ("guest-00000000000000aa", "Z3Vlc3Q.x", ""):
        assert served.open_client(cookies={COOKIE_NAME: value}).get("/config").status_code == 401
    client = served.open_client()
    assert client.post("/login", data={"username": ANN.name, "password": ""}).status_code == 401
    assert client.post("/login", data={"username": "root", "password": ""}).status_code == 401


def test_one_address_cannot_become_guests_without_end(served: RunningStudio) -> None:
    found = [served.open_client().get("/", headers=HTML) for _ in range(MAX_NEW_GUESTS + 1)]
    assert [one.status_code for one in found] == [200] * MAX_NEW_GUESTS + [429]
    assert int(found[-1].headers["Retry-After"]) > 0


def test_without_the_setting_there_are_no_guests(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True) as served:
        client = served.open_client()
        assert client.get("/", headers=HTML).headers["location"].startswith("/login")
        assert client.post("/login", data={"username": GUEST_NAME, "password": "any"}).status_code == 401


def test_users_of_the_file_log_in_beside_guests(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True, guests=True) as served:
        client = served.open_client()
        client.get("/", headers=HTML)
        assert 'name="password"' in client.get("/login").text, "a guest may log in"
        ann = served.open_client("ann")
        assert ann.get("/config").status_code == 200
        assert ann.get("/login").status_code == 303


def test_a_token_of_a_guest_spends_nothing_either(served: RunningStudio) -> None:
    paid = Model(id="paid", title="Paid", family="fake", sizes=FAKE_MODEL.sizes, paid=True, lane="paid")
    served.backend.list = (EMBEDDED, paid)
    token = served.studio.engine.tokens.create(ANN.name, "mine", TokenScope.SPEND)
    client = served.open_client(headers={"Authorization": f"Bearer {token}"})
    assert client.get("/api/image-studio/jobs").status_code == 200
    answer = client.post("/api/image-studio/create", json={"prompt": "x", "model": "paid"})
    assert (answer.status_code, served.backend.seen) == (403, [])


# what they may do


def test_guests_draw_with_the_embedded_model_alone(tmp_path: Path) -> None:
    engine, _ = open_guest_engine(tmp_path)
    wait_for_snapshot(engine.submit(ask(), ANN), lambda now: now.status.is_final)
    for request in (ask(model="fake"), ask(fallbacks=("fake",))):
        with pytest.raises(Forbidden, match="Guests cannot use Fake"):
            engine.submit(request, ANN)
    assert engine.submit(ask(model="fake"), User("ann")).model.id == "fake"
    engine.close()


def test_a_broken_model_does_not_lead_a_guest_to_another(tmp_path: Path) -> None:
    fake = FakeBackend(EMBEDDED, FAKE_MODEL)
    engine = open_engine(tmp_path, fake, guests=True, default_model="embedded", fallback_model="fake")
    fake.fail = lambda request, step: MemoryError("no room")
    ended = wait_for_snapshot(engine.submit(ask(), ANN), lambda now: now.status.is_final)
    assert not ended.assets
    assert {request.model for request, _ in fake.seen} == {"embedded"}
    engine.close()


def test_a_guest_has_one_job_that_runs_and_two_that_wait(tmp_path: Path) -> None:
    engine, fake = open_guest_engine(tmp_path, held=True)
    engine.submit(ask(), ANN)
    assert fake.entered.acquire(timeout=DEADLINE)
    for _ in range(int(ROLE_LIMITS[Role.GUEST]["queue_limit_per_user"])):
        engine.submit(ask(), ANN)
    with pytest.raises(QueueFull):
        engine.submit(ask(), ANN)
    engine.submit(ask(), BOB)
    fake.release(1000)
    engine.close()


def test_a_guest_has_twenty_images_an_hour() -> None:
    now = [0.0]
    quota = GuestQuota(GuestLimits(), clock=lambda: now[0])
    for _ in range(5):
        quota.admit([EMBEDDED], 4, ANN.name, generations=4)
    with pytest.raises(QuotaExceeded) as refused:
        quota.admit([EMBEDDED], 1, ANN.name, generations=1)
    assert refused.value.details["retry_after"] == 3600
    quota.admit([EMBEDDED], 4, BOB.name, generations=4)
    now[0] += 3601
    quota.admit([EMBEDDED], 4, ANN.name, generations=4)


def test_a_refused_job_counts_nothing() -> None:
    quota = GuestQuota(GuestLimits(images_an_hour=4), clock=lambda: 0.0)
    with pytest.raises(InvalidRequest):
        quota.admit([EMBEDDED], 5, ANN.name, generations=5)
    quota.admit([EMBEDDED], 4, ANN.name, generations=4)
    with pytest.raises(QuotaExceeded):
        quota.admit([EMBEDDED], 1, ANN.name, generations=1)


def test_each_thing_of_a_composed_image_counts_among_a_guests_images() -> None:
    quota = GuestQuota(GuestLimits(), clock=lambda: 0.0)
    with pytest.raises(InvalidRequest, match=r"this would be 27\. Each thing"):
        quota.admit([EMBEDDED], 3, ANN.name, generations=27)
    quota.admit([EMBEDDED], 2, ANN.name, generations=18)
    with pytest.raises(QuotaExceeded):
        quota.admit([EMBEDDED], 1, ANN.name, generations=3)
    quota.admit([EMBEDDED], 1, ANN.name, generations=2)


def test_tools_are_free_to_guests_and_paid_models_never() -> None:
    quota = GuestQuota(GuestLimits())
    tool = Model(id="finish", title="Finish", family="tools", lane=TOOLS_LANE)
    quota.admit([EMBEDDED, tool], 1, ANN.name, generations=1)
    paid = Model(id="embedded", title="Paid", family="fake", lane=GPU_LANE, paid=True)
    with pytest.raises(Forbidden):
        quota.admit([paid], 1, ANN.name, generations=1)


# what stays


def test_after_an_hour_nothing_of_a_guest_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = open_guest_engine(tmp_path)
    image = Image.new("RGB", (64, 64), "red")
    kept = engine.keep_image(image, ANN)
    shared = engine.keep_image(Image.new("RGB", (64, 64), "blue"), ANN)
    engine.keep_image(Image.new("RGB", (64, 64), "blue"), User("ann"))
    for user in (ANN, User("ann")):
        wait_for_snapshot(engine.submit(ask(), user), lambda now: now.status.is_final)
    files = [asset.path for asset in engine.assets(ANN)]
    assert len(files) == 1
    assert engine._sweeper.sweep() == 0, "nothing is an hour old"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    assert engine._sweeper.sweep() == 1
    assert engine.jobs(ANN) == []
    rows = engine._database.rows
    assert rows("SELECT 1 FROM usage WHERE user = ?", (ANN.name,)) == []
    assert rows("SELECT 1 FROM assets WHERE user = ?", (ANN.name,)) == []
    assert rows("SELECT 1 FROM jobs WHERE user = ?", (ANN.name,)) == []
    assert rows("SELECT 1 FROM inputs WHERE user = ?", (ANN.name,)) == []
    assert len(rows("SELECT 1 FROM assets WHERE user = 'ann'")) == 1
    left = {path.stem for path in (tmp_path / ".inputs").glob("??/*.png")}
    assert kept.hash not in left
    assert shared.hash in left, "somebody else has the same one"
    assert not any(path.exists() for path in files)
    assert not [path for path in tmp_path.rglob("*.png") if "guest-" in str(path)]
    engine.close()


def test_a_guest_who_goes_on_keeps_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = open_guest_engine(tmp_path)
    wait_for_snapshot(engine.submit(ask(), ANN), lambda now: now.status.is_final)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    wait_for_snapshot(engine.submit(ask(), ANN), lambda now: now.status.is_final)
    assert engine._sweeper.sweep() == 1
    assert [asset.job_id for asset in engine.assets(ANN)] == [engine.jobs(ANN)[0].id]
    assert engine.usage.count_images_today(ANN.name) == 2
    engine.close()
