"""Several machines: passes on other studios over real connections, also where a machine dies, lies or is asked by
somebody else."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import DEADLINE, FAKE_MODEL, FakeBackend, draw_fake_image, open_engine, wait_for_snapshot
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from serving import RunningStudio, serve_studio, wait_until

from studio import serve
from studio.cluster import backend as backend_module
from studio.cluster.backend import Cluster
from studio.cluster.http_transport import HttpTransport, parse_machines
from studio.cluster.machines import Machine, MachineLost, Machines
from studio.cluster.wire import RENDER_PATH, STATE_PATH, Order, ReplicaState, decode_error, encode_error, split_lines
from studio.core.errors import (
    InvalidRequest,
    JobCancelled,
    NotConfigured,
    ProviderError,
    RateLimited,
    StudioError,
    Unreachable,
)
from studio.core.events import Status
from studio.core.image_gate import ImageLimits
from studio.core.model import CLUSTER_LANE, Model
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.secrets_filter import redact
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.api_tokens import TokenScope
from studio.engine.engine import Engine
from tools.cluster_demo import run_replica

ASK = GenerationRequest(prompt="a pear", model="fake", seed=7, width=64, height=64)
TESTS = Path(__file__).parent


@contextlib.contextmanager
def open_front(root: Path, *urls: str, tokens: str = "", local: FakeBackend | None = None) -> Iterator[Engine]:
    """An engine whose model is drawn at `urls`, once all of them answer."""
    machines = Machines(parse_machines(",".join(urls), tokens), HttpTransport())
    machines.start()
    wait_until(lambda: not machines.list_problems())
    engine = open_engine(root, Cluster(machines, [local] if local else []))
    engine.machines = machines  # type: ignore[attr-defined]
    try:
        yield engine
    finally:
        engine.close()


def finish(engine: Engine, request: GenerationRequest = ASK) -> Any:
    job = engine.submit(request, LOCAL_USER)
    return wait_for_snapshot(job, lambda now: now.status.is_final)


def read_pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path / "replica", replica=True) as found:
        yield found


# drawing elsewhere


def test_another_machine_draws_the_same_image(tmp_path: Path, served: RunningStudio) -> None:
    local = FakeBackend()
    with open_front(tmp_path / "front", served.url, local=local) as engine:
        ended = finish(engine, ASK.replace(count=3, batch_size=2))
        assert ended.status is Status.FINISHED
        assert [asset.seed for asset in ended.assets] == [7, 8, 9]
        for asset in ended.assets:
            assert read_pixels(asset.path) == draw_fake_image(asset.seed, 64, 64).tobytes()
    assert [len(seeds) for _, seeds in served.backend.seen] == [2, 1]
    assert local.seen == []
    assert list((tmp_path / "replica" / "outputs").glob("2*")) == [], "the other machine keeps no image"


def test_the_file_is_the_same_byte_for_byte_but_for_its_time(tmp_path: Path, served: RunningStudio) -> None:
    def read_parts(path: Path) -> tuple[bytes, dict[str, Any]]:
        with Image.open(path) as image:
            texts = {str(name): text for name, text in image.info.items() if isinstance(text, str)}
            return image.tobytes(), texts

    here = open_engine(tmp_path / "here")
    with open_front(tmp_path / "front", served.url) as there:
        [one], [other] = finish(here).assets, finish(there).assets
        pixels, texts = read_parts(one.path)
        others, other_texts = read_parts(other.path)
    here.close()
    assert pixels == others
    assert texts["parameters"] == other_texts["parameters"]


def test_steps_and_previews_come_along(tmp_path: Path, served: RunningStudio) -> None:
    served.backend.held = True
    with open_front(tmp_path / "front", served.url) as engine:
        job = engine.submit(ASK, LOCAL_USER)
        served.backend.release()
        now = wait_for_snapshot(job, lambda now: now.step == 1)
        assert (now.steps, now.preview is not None) == (4, True)
        served.backend.release(100)
        assert wait_for_snapshot(job, lambda now: now.status.is_final).status is Status.FINISHED


def test_images_of_a_request_travel(tmp_path: Path) -> None:
    model = Model(id="fake", title="Fake", family="fake", tasks=frozenset({Task.IMG2IMG}), sizes=FAKE_MODEL.sizes)
    seen: list[Image.Image] = []

    class Reading(FakeBackend):
        def render(self, request: GenerationRequest, seeds: Any, ctx: Any) -> Any:
            seen.append(ctx.load_image(request.source))
            return super().render(request, seeds, ctx)

    with (
        serve_studio(tmp_path / "replica", replica=True, backend=Reading(model)) as served,
        open_front(tmp_path / "front", served.url) as engine,
    ):
        source = Image.effect_noise((64, 64), 50).convert("RGB")
        kept = engine.keep_image(source, LOCAL_USER)
        ended = finish(engine, ASK.replace(task=Task.IMG2IMG, source=kept.hash))
        assert ended.status is Status.FINISHED, ended.error
    assert seen[0].tobytes() == source.tobytes()


def test_the_model_list_tells_the_machines_models_and_the_rest(tmp_path: Path, served: RunningStudio) -> None:
    other = Model(id="other", title="Other", family="fake")
    with open_front(tmp_path / "front", served.url, local=FakeBackend(FAKE_MODEL, other)) as engine:
        assert {model.id: model.lane for model in engine.models()} == {"fake": CLUSTER_LANE, "other": "gpu"}
        assert finish(engine, ASK.replace(model="other")).status is Status.FINISHED
    assert served.backend.seen == []


def test_a_model_that_others_draw_with_is_not_loaded_here(
    tmp_path: Path, served: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(serve, "WARM_UP_DELAY", 0.0)
    monkeypatch.setattr(os, "setpriority", lambda *args: None)
    store = types.SimpleNamespace(warm_up=loaded.append)
    with open_front(tmp_path / "front", served.url, local=FakeBackend()) as engine:
        serve._warm_up(types.SimpleNamespace(engine=engine, store=store))  # type: ignore[arg-type]
        assert loaded == []
    alone = open_engine(tmp_path / "alone")
    serve._warm_up(types.SimpleNamespace(engine=alone, store=store))  # type: ignore[arg-type]
    assert loaded == ["fake"]
    alone.close()


def test_two_machines_draw_side_by_side(tmp_path: Path, served: RunningStudio) -> None:
    served.backend.held = True
    with (
        serve_studio(tmp_path / "second", replica=True, backend=FakeBackend(held=True)) as second,
        open_front(tmp_path / "front", served.url, second.url) as engine,
    ):
        jobs = [engine.submit(ASK.replace(seed=n), LOCAL_USER) for n in range(2)]
        for one in (served, second):
            assert one.backend.entered.acquire(timeout=DEADLINE), "both have begun before any ended"
        for one in (served, second):
            one.backend.release(100)
        for job in jobs:
            assert wait_for_snapshot(job, lambda now: now.status.is_final).status is Status.FINISHED


# cancel, errors


def test_a_stopped_job_stops_there_too(tmp_path: Path, served: RunningStudio) -> None:
    served.backend.held, served.backend.steps = True, 1000
    with open_front(tmp_path / "front", served.url) as engine:
        job = engine.submit(ASK, LOCAL_USER)
        assert served.backend.entered.acquire(timeout=DEADLINE)
        served.backend.release()
        wait_for_snapshot(job, lambda now: now.step == 1)
        engine.cancel(job.id, LOCAL_USER)
        assert wait_for_snapshot(job, lambda now: now.status.is_final).status is Status.CANCELLED
        client = served.open_client()

        def is_free_after_a_step() -> bool:
            served.backend.release()
            return client.get(STATE_PATH).json().get("running", 0) == 0

        wait_until(is_free_after_a_step)
        assert served.backend.steps_done < 100, "it did not go on to the end"
        served.backend.steps = 4
        served.backend.release(100)
        assert finish(engine).status is Status.FINISHED


def test_an_error_there_is_the_error_here(tmp_path: Path, served: RunningStudio) -> None:
    served.backend.fail = lambda request, step: InvalidRequest("No such LoRA.", hint="Pick another.", details={"a": 1})
    with open_front(tmp_path / "front", served.url) as engine:
        error = finish(engine).error
        assert (error.code, error.message, error.hint, error.details) == (
            "INVALID_REQUEST",
            "No such LoRA.",
            "Pick another.",
            {"a": 1},
        )
        served.backend.fail = lambda request, step: RuntimeError("CANARY: a defect")
        error = finish(engine).error
        assert "CANARY" not in error.message + error.hint


@pytest.mark.parametrize("kind", [StudioError, InvalidRequest, ProviderError, JobCancelled, Unreachable])
def test_errors_keep_their_kind_on_the_way(kind: type[StudioError]) -> None:
    [event] = split_lines(iter([encode_error(kind("what", hint="do", details={"path": Path("x")}))]))
    found = decode_error(event)
    assert (type(found), found.message, found.hint, found.details) == (kind, "what", "do", {"path": "x"})


def test_an_error_with_a_field_keeps_it() -> None:
    [event] = split_lines(iter([encode_error(RateLimited("slow", retry_after=3.0))]))
    found = decode_error(event)
    assert isinstance(found, RateLimited)
    assert found.retry_after == 3.0


# a machine dies


@contextlib.contextmanager
def run_fake_replica(folder: Path, pause: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A machine in a process of its own that takes `pause` seconds a step, and its address."""
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, TESTS / "replica_process.py", folder, str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(DEADLINE)
        process.stdout.close()


@pytest.mark.slow
def test_a_machine_killed_at_step_10_costs_no_image(tmp_path: Path) -> None:
    with (
        run_fake_replica(tmp_path / "a", 0.05) as (first, one),
        run_fake_replica(tmp_path / "b", 0.05) as (second, two),
        open_front(tmp_path / "front", one, two) as engine,
    ):
        job = engine.submit(ASK, LOCAL_USER)
        wait_for_snapshot(job, lambda now: now.step >= 10)
        machines = engine.machines._machines  # type: ignore[attr-defined]
        busy = next(each.url for each in machines if each.running)
        (first if busy == one else second).send_signal(signal.SIGKILL)
        ended = wait_for_snapshot(job, lambda now: now.status.is_final)
        assert ended.status is Status.FINISHED, ended.error
        [asset] = ended.assets
        assert read_pixels(asset.path) == draw_fake_image(7, 64, 64).tobytes()
        assert ended.notices == (), "the recipe does not depend on where it was drawn"
        assert len(list((tmp_path / "front").glob("2*/*.png"))) == 1


@pytest.mark.slow
def test_of_a_hundred_jobs_none_is_lost_or_doubled_when_a_machine_dies(tmp_path: Path) -> None:
    with (
        run_fake_replica(tmp_path / "a", 0.002) as (first, one),
        run_fake_replica(tmp_path / "b", 0.002) as (_, two),
        open_front(tmp_path / "front", one, two) as engine,
    ):
        jobs = [engine.submit(ASK.replace(seed=n), LOCAL_USER) for n in range(50)]
        wait_for_snapshot(jobs[20], lambda now: now.status.is_final)
        first.send_signal(signal.SIGKILL)
        jobs += [submit_when_there_is_room(engine, ASK.replace(seed=50 + n)) for n in range(50)]
        for job in jobs:
            assert wait_for_snapshot(job, lambda now: now.status.is_final).status is Status.FINISHED
        seeds = [asset.seed for job in jobs for asset in job.snapshot.assets]
        assert seeds == list(range(100))
        assert len(list((tmp_path / "front").glob("2*/*.png"))) == 100


def submit_when_there_is_room(engine: Engine, request: GenerationRequest) -> Any:
    wait_until(lambda: engine.count_unfinished(LOCAL_USER) < 50)
    return engine.submit(request, LOCAL_USER)


@pytest.mark.slow
@pytest.mark.torch
def test_the_embedded_model_draws_the_same_image_when_its_machine_is_killed(tmp_path: Path) -> None:
    """A whole studio in each process, with the real model."""
    ask = GenerationRequest(prompt="a red apple", model="embedded", seed=3, steps=20, width=256, height=256)
    flags = ("--no-warm-up", "--accelerator", "none")
    with (
        run_replica(tmp_path / "a", *flags) as (first, one),
        run_replica(tmp_path / "b", *flags) as (second, two),
        open_front(tmp_path / "front", one, two) as engine,
    ):
        before = wait_for_snapshot(engine.submit(ask, LOCAL_USER), lambda now: now.status.is_final, 120)
        job = engine.submit(ask, LOCAL_USER)
        wait_for_snapshot(job, lambda now: now.step >= 10, 120)
        busy = next(each.url for each in engine.machines._machines if each.running)  # type: ignore[attr-defined]
        (first if busy == one else second).kill()
        ended = wait_for_snapshot(job, lambda now: now.status.is_final, 120)
        assert ended.status is Status.FINISHED, ended.error
        assert [read_pixels(asset.path) for asset in ended.assets] == [
            read_pixels(asset.path) for asset in before.assets
        ]


def test_without_any_machine_the_job_says_so(
    tmp_path: Path, served: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "PATIENCE", 0.2)
    with open_front(tmp_path / "front", served.url) as engine:
        job = engine.submit(ASK, LOCAL_USER)
        wait_for_snapshot(job, lambda now: now.status.is_final)
        machines: Machines = engine.machines  # type: ignore[attr-defined]
        [machine] = machines._machines
        order = Order(request=ASK, seeds=(ImageSeed(seed=1),), images={})
        machine.url = "http://127.0.0.1:9"
        with pytest.raises(MachineLost):
            list(machines.stream(machine, order))
        ended = finish(engine)
        assert ended.error is not None
        assert ended.error.code == "UNREACHABLE"


class Counting(FakeBackend):
    """A fake that knows how many passes it drew at once."""

    def __init__(self) -> None:
        super().__init__(steps=10)
        self.now = self.most = 0
        self.lock = threading.Lock()

    def render(self, request: GenerationRequest, seeds: Any, ctx: Any) -> Any:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return super().render(request, seeds, ctx)
        finally:
            with self.lock:
                self.now -= 1


def test_when_all_machines_are_gone_the_studio_draws_itself_one_pass_at_a_time(
    tmp_path: Path, served: RunningStudio
) -> None:
    served.backend.held = True
    local = Counting()
    local.fail = lambda request, step: time.sleep(0.01)
    with open_front(tmp_path / "front", served.url, local=local) as engine:
        jobs = [engine.submit(ASK.replace(seed=n), LOCAL_USER) for n in range(4)]
        assert served.backend.entered.acquire(timeout=DEADLINE)
        machines: Machines = engine.machines  # type: ignore[attr-defined]
        machines._machines[0].url = "http://127.0.0.1:9"
        served.app.lifecycle.draining.set()
        served.backend.fail = lambda request, step: JobCancelled("The studio is shutting down.")
        served.backend.release(100)
        for number, job in enumerate(jobs):
            ended = wait_for_snapshot(job, lambda now: now.status.is_final)
            assert ended.status is Status.FINISHED, ended.error
            assert read_pixels(ended.assets[0].path) == draw_fake_image(number, 64, 64).tobytes()
        local_jobs = [engine.submit(ASK.replace(seed=n), LOCAL_USER) for n in range(2)]
        for job in local_jobs:
            assert wait_for_snapshot(job, lambda now: now.status.is_final).status is Status.FINISHED
    assert len(local.seen) == 6
    assert local.most == 1


# who is asked


def make_machine(name: str, *models: str, residents: tuple[str, ...] = (), running: int = 0) -> Machine:
    made = tuple(Model(id=model, title=model, family="fake") for model in models)
    return Machine(name, "", ReplicaState(models=made, residents=residents), running=running)


def test_a_machine_with_the_model_in_memory_is_asked_first() -> None:
    cold, warm = make_machine("cold", "a", "b"), make_machine("warm", "a", "b", residents=("b",))
    machines = Machines([cold, warm], HttpTransport())
    assert machines.take("b", [], lambda: None, 0) is warm
    assert machines.take("b", [], lambda: None, 0) is cold, "the other one is busy"
    machines.give_back(warm)
    machines.give_back(cold)
    assert machines.take("a", [], lambda: None, 0) is cold, "which has room in its memory"


def test_the_self_check_tells_which_machines_answer() -> None:
    checks = Machines(
        [make_machine("http://a", "x", "y"), Machine("http://b", "", problem="It is off.")], HttpTransport()
    ).run_checks()
    assert [(one.ok, one.text) for one in checks] == [(True, "answers, 2 models"), (False, "It is off.")]
    assert checks[1].hint


def test_a_machine_without_the_model_or_an_answer_is_not_asked() -> None:
    gone, other, right = Machine("gone", ""), make_machine("other", "b"), make_machine("right", "a")
    machines = Machines([gone, other, right], HttpTransport())
    assert machines.take("a", [], lambda: None, 0) is right
    with pytest.raises(Unreachable):
        Machines([gone, other], HttpTransport()).take("a", [], lambda: None, 0)


def test_a_machine_that_was_lost_is_asked_again_only_when_no_other_is_there() -> None:
    first, second = make_machine("first", "a"), make_machine("second", "a")
    machines = Machines([first, second], HttpTransport())
    assert machines.take("a", [first], lambda: None, 0) is second
    machines.give_back(second)
    assert Machines([first], HttpTransport()).take("a", [first], lambda: None, 0) is first


def test_waiting_for_a_machine_hears_the_stop() -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 2:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        Machines([make_machine("busy", "a", running=1)], HttpTransport()).take("a", [], check, 60)


@pytest.mark.parametrize("text", ["10.0.0.2:7860", "ftp://a", "http://", "http://user:pass@a", "http://a?x=y"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(NotConfigured):
        parse_machines(text, "")


def test_tokens_are_one_for_all_or_one_each() -> None:
    assert [one.token for one in parse_machines("http://a, http://b/", "x")] == ["x", "x"]
    assert [one.token for one in parse_machines("http://a,http://b", "x,y")] == ["x", "y"]
    with pytest.raises(NotConfigured):
        parse_machines("http://a,http://b,http://c", "x,y")
    [machine] = parse_machines("http://a", "easel_a-long-secret-token")
    assert "secret" not in repr(machine)
    assert "secret" not in redact(f"sent {machine.token}")


# who may ask


def test_only_users_with_a_token_that_generates_may_ask(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True, guests=True, replica=True) as served:
        nobody, guest = served.open_client(), served.open_client()
        guest.get("/", headers={"Accept": "text/html"})
        order = Order(request=ASK, seeds=(ImageSeed(seed=1),), images={}).to_json()
        assert nobody.get(STATE_PATH).status_code == 401
        assert nobody.post(RENDER_PATH, json=order).status_code == 401
        assert guest.get(STATE_PATH).status_code == 403
        assert guest.post(RENDER_PATH, json=order).status_code == 403
        tokens = served.studio.engine.tokens
        reader = {"Authorization": f"Bearer {tokens.create('ann', 'reader', TokenScope.READ)}"}
        writer = {"Authorization": f"Bearer {tokens.create('ann', 'front', TokenScope.GENERATE)}"}
        assert nobody.post(RENDER_PATH, json=order, headers=reader).status_code == 403
        assert nobody.get(STATE_PATH, headers=writer).status_code == 200
        assert nobody.post(RENDER_PATH, json=order, headers=writer).status_code == 200
        assert len(served.backend.seen) == 1


def test_without_the_setting_nobody_may_ask(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        client = served.open_client()
        assert client.get(STATE_PATH).status_code == 404
        assert client.post(RENDER_PATH, json={}).status_code == 404


def test_models_that_cost_money_are_neither_told_nor_run(tmp_path: Path) -> None:
    paid = Model(id="paid", title="Paid", family="fake", lane="cloud", paid=True)
    odd = Model(id="odd", title="Odd", family="fake", paid=True)
    with serve_studio(tmp_path, replica=True, backend=FakeBackend(FAKE_MODEL, paid, odd)) as served:
        client = served.open_client()
        assert [one["id"] for one in client.get(STATE_PATH).json()["models"]] == ["fake"]
        for model in ("paid", "odd"):
            order = Order(request=ASK.replace(model=model), seeds=(ImageSeed(seed=1),), images={})
            [event] = split_lines(iter([client.post(RENDER_PATH, json=order.to_json()).content]))
            assert event["code"] == "FORBIDDEN"
        assert served.backend.seen == []


CHANGES: tuple[dict[str, Any], ...] = (
    {"protocol": 99},
    {"seeds": [[-1, None]]},
    {"seeds": [["x", None]]},
    {"seeds": [[2**64, None]]},
    {"seeds": 3},
    {"request": {"no": "field"}},
    {"images": {"a": "no image"}},
    {"images": {"a": "aGVsbG8="}},
    {"images": []},
    {"preview_side": "wide"},
)


def test_an_order_that_is_none_is_refused(served: RunningStudio) -> None:
    client = served.open_client()
    right = Order(request=ASK, seeds=(ImageSeed(seed=1),), images={}).to_json()
    for change in CHANGES:
        answer = client.post(RENDER_PATH, json={**right, **change})
        assert answer.status_code == 400, (change, answer.text)
    for body in (b"", b"[]", b"{", b"[" * 100_000):
        assert client.post(RENDER_PATH, content=body).status_code == 400
    assert served.backend.seen == []


# a machine lies


@contextlib.contextmanager
def serve_liar(answer: bytes, state: bytes | None = None, asked: list[str] | None = None) -> Iterator[str]:
    """A machine that says it has the model, and answers any order with `answer`; each is noted in `asked`."""
    told = state or json.dumps(ReplicaState(models=(FAKE_MODEL,)).to_json()).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head

        def do_GET(self) -> None:
            self._send(told)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if asked is not None:
                asked.append(self.path)
            self._send(answer)

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


LIES = {
    "nothing": b"",
    "no JSON": b"<html>\n",
    "a list": b"[]\n",
    "an image that is none": b'{"event":"image","png":"aGVsbG8=","seed":1,"variation_seed":null,"notes":[]}\n',
    "an image without a seed": b'{"event":"image","png":"aGVsbG8=","notes":[]}\n',
    "too few images": b'{"event":"end","peak":0}\n',
    "a wrong error": b'{"event":"error","code":7,"message":null,"details":[]}\n',
    "a deep one": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_machine_that_lies_ends_the_job_with_an_error(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "PATIENCE", 0.2)
    with serve_liar(LIES[lie]) as url, open_front(tmp_path, url) as engine:
        ended = finish(engine)
        assert ended.status is Status.FAILED
        assert ended.assets == ()


def test_a_pass_that_two_machines_are_lost_with_is_given_to_no_third(tmp_path: Path) -> None:
    asked: list[str] = []
    with (
        serve_liar(b"", asked=asked) as one,
        serve_liar(b"", asked=asked) as two,
        serve_liar(b"", asked=asked) as three,
        open_front(tmp_path, one, two, three) as engine,
    ):
        ended = finish(engine)
        assert ended.error is not None
        assert ended.error.code == "UNREACHABLE"
    assert len(asked) == 2


@pytest.mark.parametrize("state", [b"[]", b"{}", b'{"protocol":1}', b'{"protocol":2,"models":[{}]}', b"no"])
def test_a_machine_of_another_kind_has_no_models(state: bytes) -> None:
    with serve_liar(b"", state) as url:
        transport = HttpTransport()
        with pytest.raises(StudioError):
            transport.fetch_state(*parse_machines(url, ""))
        transport.close()


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_break_the_reader(data: bytes, size: int) -> None:
    with contextlib.suppress(ProviderError):
        list(split_lines(iter([data[k : k + size] for k in range(0, len(data), size)])))


_LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(_LEAVES, lambda below: st.lists(below) | st.dictionaries(st.text(), below)))
def test_no_json_breaks_an_order(data: Any) -> None:
    with contextlib.suppress(InvalidRequest):
        Order.from_json(data, ImageLimits())
