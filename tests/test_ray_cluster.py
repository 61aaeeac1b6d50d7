"""Several machines over Ray: real actors in processes of their own, also where one is killed or a job is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBackend, draw_fake_image, open_engine, wait_for_snapshot
from PIL import Image
from ray_fakes import build_fake_replica
from serving import make_studio, wait_until

from studio.cluster.backend import Cluster
from studio.cluster.machines import Machine, MachineLost, Machines
from studio.cluster.ray_transport import RayAddress, RayReplica, RayTransport, ReplicaStudio, is_ray, parse_ray
from studio.cluster.wire import Order, ReplicaState, encode_order, split_lines
from studio.core.errors import NotConfigured, Unreachable
from studio.core.events import Status
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.wiring import build_replica, collect_replica_settings, start_replica

ASK = GenerationRequest(prompt="a pear", model="fake", seed=7, width=64, height=64)
START_SECONDS = 240.0  # of Ray and two actors, on a machine that does much else
STEPS = 20


# the setting


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ray", RayAddress("", 1)),
        ("ray?replicas=2", RayAddress("", 2)),
        (" ray://10.0.0.2:10001?replicas=8 ", RayAddress("ray://10.0.0.2:10001", 8)),
    ],
)
def test_an_address_of_ray_says_how_many_replicas(text: str, wanted: RayAddress) -> None:
    pytest.importorskip("ray")
    assert is_ray(text)
    assert parse_ray(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "ray?replicas=0",
        "ray?replicas=65",
        "ray?replicas=x",
        "ray?nodes=2",
        "ray://",
        "ray://a/b",
        "ray://u:p@a",
        "ray#1",
    ],
)
def test_what_is_no_address_of_ray_is_refused(text: str) -> None:
    with pytest.raises(NotConfigured):
        parse_ray(text)


def test_addresses_of_studios_are_none_of_ray() -> None:
    assert not any(is_ray(text) for text in ("http://ray:7860", "", "http://a,http://b", "rays"))


def test_without_the_package_the_setting_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NotConfigured, match="not installed") as caught:
        parse_ray("ray")
    assert "pip install" in caught.value.hint


# the actor, without Ray


def make_actor(folder: Path, backend: FakeBackend) -> tuple[RayReplica, Any]:
    studio = make_studio(folder, backend)
    studio.engine.start()
    own = ReplicaStudio(build_replica(studio), studio.settings.current, studio.engine.close)
    return RayReplica(lambda values: own, {}), studio.engine


def read_all(actor: RayReplica, name: str) -> list[dict[str, Any]]:
    lines: list[bytes] = []
    while not lines or lines[-1]:
        lines += actor.read(name)
    return list(split_lines(iter(lines)))


def test_an_actor_tells_steps_images_and_the_end(tmp_path: Path) -> None:
    actor, engine = make_actor(tmp_path, FakeBackend())
    order = Order(request=ASK, seeds=(ImageSeed(seed=1), ImageSeed(seed=2)), images={})
    name = actor.begin(encode_order(order))
    assert isinstance(name, str)
    events = [event["event"] for event in read_all(actor, name)]
    assert events == ["loading", *["progress"] * 4, "image", "image", "end"]
    actor.stop(name)
    assert actor.read(name) == []
    actor.stop(name)
    engine.close()


def test_an_actor_refuses_what_is_no_order(tmp_path: Path) -> None:
    actor, engine = make_actor(tmp_path, FakeBackend())
    for body in (b"", b"[]", b"{", b"[" * 100_000):
        line = actor.begin(body)
        assert isinstance(line, bytes)
        [event] = split_lines(iter([line]))
        assert event["code"] == "INVALID_REQUEST"
    engine.close()


def test_an_actor_says_that_it_is_there_and_stops_within_a_step(tmp_path: Path) -> None:
    backend = FakeBackend(held=True, steps=1000)
    actor, engine = make_actor(tmp_path, backend)
    name = actor.begin(encode_order(Order(request=ASK, seeds=(ImageSeed(seed=1),), images={})))
    assert isinstance(name, str)
    while (lines := actor.read(name)) != [b'{"event":"alive"}\n']:
        assert lines
    actor.stop(name)
    backend.release()
    wait_until(lambda: ReplicaState.from_json(json.loads(actor.describe())).running == 0)
    assert backend.steps_done == 1
    engine.close()


def test_the_studio_of_an_actor_has_the_models_and_no_other_settings(tmp_path: Path) -> None:
    settings = Settings(outputs_dir=tmp_path, memory_budget_gb=3.0, port=1234, guests=True)
    values = collect_replica_settings(settings)
    assert values == {"models_dir": str(Path("models").absolute()), "memory_budget_gb": 3.0}
    studio = start_replica(values)
    folder = studio.settings.outputs_dir.parent
    assert "embedded" in [one.id for one in studio.replica.describe().models]
    assert studio.settings.memory_budget_gb == 3.0
    assert folder not in (tmp_path, Path())
    studio.close()
    assert not folder.exists()


# real actors


@contextlib.contextmanager
def open_front(root: Path, transport: RayTransport) -> Iterator[Engine]:
    """An engine whose model is drawn by the actors of `transport`, once all of them answer."""
    machines = Machines(transport.machines, transport)
    machines.start()
    wait_until(lambda: not machines.list_problems(), START_SECONDS)
    engine = open_engine(root, Cluster(machines, []))
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def two_actors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engine, Path, list[Machine]]]:
    """A studio in front of two actors, the folder of their processes, and the machines."""
    pytest.importorskip("ray")
    tests = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{tests}{os.pathsep}{tests.parent}")
    folder = tmp_path / "actors"
    folder.mkdir()
    values = {"folder": str(folder), "pause": 0.01, "steps": STEPS}
    transport = RayTransport(RayAddress("", 2), build_fake_replica, values)
    with open_front(tmp_path / "front", transport) as engine:
        yield engine, folder, transport.machines


def count_steps(folder: Path) -> dict[int, int]:
    """The steps that each process did."""
    return {int(one.parent.name): int(one.read_text() or 0) for one in folder.glob("*/steps")}


def find_busy(folder: Path) -> int:
    """The process that draws now, where one does."""
    before = count_steps(folder)
    while True:
        time.sleep(0.02)
        for process, steps in count_steps(folder).items():
            if steps > before.get(process, 0):
                return process


def submit_when_there_is_room(engine: Engine, request: GenerationRequest) -> Any:
    wait_until(lambda: engine.count_unfinished(LOCAL_USER) < 50)
    return engine.submit(request, LOCAL_USER)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_actors_draw_the_same_images_stop_and_may_die(
    tmp_path: Path, two_actors: tuple[Engine, Path, list[Machine]]
) -> None:
    """One test, since Ray takes half a minute to start."""
    engine, folder, machines = two_actors

    job = engine.submit(ASK.replace(count=3, batch_size=2), LOCAL_USER)
    now = wait_for_snapshot(job, lambda now: now.step >= 1)
    assert now.steps == STEPS
    ended = wait_for_snapshot(job, lambda now: now.status.is_final)
    assert [asset.seed for asset in ended.assets] == [7, 8, 9]
    for asset in ended.assets:
        with Image.open(asset.path) as image:
            assert image.convert("RGB").tobytes() == draw_fake_image(asset.seed, 64, 64).tobytes()

    job = engine.submit(ASK.replace(count=50), LOCAL_USER)
    wait_for_snapshot(job, lambda now: now.step >= 2)
    engine.cancel(job.id, LOCAL_USER)
    assert wait_for_snapshot(job, lambda now: now.status.is_final).status is Status.CANCELLED
    wait_until(lambda: all(one.running == 0 for one in machines))

    files = len(list((tmp_path / "front").glob("2*/*.png")))
    jobs = [engine.submit(ASK.replace(seed=n), LOCAL_USER) for n in range(50)]
    wait_for_snapshot(jobs[20], lambda now: now.status.is_final)
    os.kill(find_busy(folder), signal.SIGKILL)
    jobs += [submit_when_there_is_room(engine, ASK.replace(seed=50 + n)) for n in range(50)]
    for job in jobs:
        assert wait_for_snapshot(job, lambda now: now.status.is_final, 60).status is Status.FINISHED
    assert [asset.seed for job in jobs for asset in job.snapshot.assets] == list(range(100))
    assert len(list((tmp_path / "front").glob("2*/*.png"))) == files + 100

    wait_until(lambda: all(one.state is not None for one in machines), START_SECONDS)
    assert len(list(folder.iterdir())) == 3, "Ray has started the dead one again"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_that_is_not_there_is_a_problem_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    for limit in ("INITIAL_TIMEOUT_SEC", "MAX_TIMEOUT_SEC"):
        monkeypatch.setattr(f"ray.util.client.worker.{limit}", 0.1)  # s; Ray tries thrice, for half a minute in all
    transport = RayTransport(RayAddress("ray://127.0.0.1:9", 1), build_fake_replica, {})
    [machine] = transport.machines
    with pytest.raises(Unreachable):
        transport.fetch_state(machine)
    with pytest.raises(MachineLost):
        list(transport.stream(machine, Order(request=ASK, seeds=(ImageSeed(seed=1),), images={})))
    transport.close()
