"""Starting, sharing and ending: ports, signals, the drain, the public link."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fakes import FakeBackend, wait_until_final
from fastapi import FastAPI
from serving import make_studio, make_users, mount_small_page, serve_studio, wait_until

from studio import serve
from studio.core.errors import NotConfigured, Unreachable
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.studio import Studio
from studio.serve import build_app, open_listener
from studio.serving import share
from studio.serving.hosts import Hosts
from studio.serving.sessions import SessionOwners

HERE = Path(__file__).parent
API = "/api/image-studio"


@contextlib.contextmanager
def process(folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A studio in its own process, and its address."""
    started = subprocess.Popen(
        [sys.executable, str(HERE / "serve_process.py"), str(folder), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"},
    )
    try:
        assert started.stdout is not None
        yield started, started.stdout.readline().strip()
    finally:
        started.kill()
        started.communicate()


def submit_and_enter(running_process: subprocess.Popen[str], address: str, jobs: int = 1) -> list[str]:
    ids = [httpx.post(f"{address}{API}/create", json={"prompt": f"{n}"}).json()["jobId"] for n in range(jobs)]
    assert running_process.stdout is not None
    assert running_process.stdout.readline() == "entered\n"
    return ids


def statuses(folder: Path) -> dict[str, str]:
    """How the jobs stand for the next process."""
    studio = make_studio(folder, FakeBackend())
    found = {job.id: job.snapshot.status.value for job in studio.engine.jobs(LOCAL_USER)}
    studio.engine.close(drain=0)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_finish_and_ends_with_zero(tmp_path: Path, number: int) -> None:
    with process(tmp_path) as (started, address):
        first, second = submit_and_enter(started, address, jobs=2)
        started.send_signal(number)
        assert started.wait(30) == 0
        assert started.stderr is not None
        assert "Traceback" not in started.stderr.read()
    found = statuses(tmp_path)
    assert found[first] == "finished"
    assert found[second] in ("queued", "finished")


def test_a_second_signal_hurries_and_loses_no_job(tmp_path: Path) -> None:
    with process(tmp_path, "held") as (started, address):
        ids = submit_and_enter(started, address, jobs=2)
        started.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.post(f"{address}{API}/create", json={"prompt": "late"}).status_code == 503)
        started.send_signal(signal.SIGTERM)
        assert started.wait(15) == 0
    assert statuses(tmp_path) == dict.fromkeys(ids, "queued")


def test_the_end_comes_whatever_the_job_does_and_no_job_is_lost(tmp_path: Path) -> None:
    with process(tmp_path, "stuck") as (started, address):
        ids = submit_and_enter(started, address, jobs=2)
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0
    found = statuses(tmp_path)
    assert set(found) == set(ids)
    assert set(found.values()).isdisjoint({"finished", "failed", "cancelled"})


@pytest.mark.parametrize("held", [True, False])
def test_the_process_ends_at_once_where_a_job_computes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    gate, entered, codes = threading.Event(), threading.Event(), []

    def compute(request: GenerationRequest, step: int) -> None:
        entered.set()
        if held:
            gate.wait(60)  # as native code does, which hears no stop

    backend = FakeBackend()
    backend.fail = compute
    studio = make_studio(tmp_path, backend)
    studio.engine.start()
    job = studio.engine.submit(GenerationRequest(model="fake", prompt="x"), LOCAL_USER)
    assert entered.wait(30)
    if not held:
        wait_until_final(job)
    studio.engine.close(drain=0.0)
    monkeypatch.setattr(serve.os, "_exit", codes.append)
    serve.end_process_under_running_code(studio)
    assert codes == ([0] if held else [])
    gate.set()


def test_an_end_by_force_ends_the_tunnels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradio import tunneling

    ended: list[str] = []

    class Tunnel:
        def kill(self) -> None:
            ended.append("killed")

    monkeypatch.setattr(tunneling, "CURRENT_TUNNELS", [Tunnel()])
    share.close_links()
    assert ended == ["killed"]


def test_while_draining_images_can_be_fetched_but_nothing_is_begun(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        client = served.open_client()
        url = client.post(f"{API}/create?wait=true", json={"prompt": "x"}).json()["images"][0]["url"]
        served.app.lifecycle.draining.set()
        answer = client.post(f"{API}/create", json={"prompt": "x"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
        assert client.get(url).status_code == 200


def test_a_taken_port_and_a_foreign_address_are_said(tmp_path: Path) -> None:
    taken = open_listener("127.0.0.1", 0)
    with pytest.raises(NotConfigured, match="is already in use") as refused:
        open_listener("127.0.0.1", taken.getsockname()[1])
    assert "--port" in refused.value.hint
    for host in ("203.0.113.7", "no.such.host.invalid"):
        with pytest.raises(NotConfigured):
            open_listener(host, 0)
    taken.close()


def test_a_small_answer_does_not_wait_for_an_acknowledgement() -> None:
    listener = open_listener("127.0.0.1", 0)

    async def read_option() -> int:
        accepted = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=listener)
        async with server:
            _, client = await asyncio.open_connection(*listener.getsockname())
            writer = await accepted
            option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.close()
            writer.close()
        return option

    assert asyncio.run(read_option())


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"share": True}])
def test_nothing_is_built_for_others_without_users(tmp_path: Path, settings: dict[str, object]) -> None:
    studio = make_studio(tmp_path, FakeBackend(), **settings)
    with pytest.raises(NotConfigured):
        build_app(studio, lambda parent: mount_small_page(parent, studio), None)
    build_app(studio, lambda parent: mount_small_page(parent, studio), make_users(tmp_path))
    studio.engine.close(drain=0)


def test_a_defect_says_nothing_of_itself_and_keeps_its_headers(tmp_path: Path) -> None:
    def page(app: FastAPI, studio: Studio) -> FastAPI:
        @app.get("/defect")
        def defect() -> None:
            raise ZeroDivisionError("CANARY")

        return app

    with serve_studio(tmp_path, page=page) as served:
        answer = served.open_client().get("/defect")
        assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
        assert "CANARY" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        log = tmp_path / "logs" / "studio.log"
        wait_until(lambda: "ZeroDivisionError: CANARY" in log.read_text())


def test_session_owners_are_kept_in_bounded_memory() -> None:
    owners = SessionOwners(capacity=10)
    for n in range(100):
        assert owners.claim(f"session {n}", "ann")
    assert not owners.claim("session 99", "bob")
    assert owners.claim("session 0", "bob")  # forgotten, so free again


def test_the_share_link_is_answered_to_and_throttled_as_a_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "_tunnel", lambda port: "http://abc123.gradio.live")
    with serve_studio(tmp_path, users=True) as served:
        client, seen = served.open_client(), {"Host": "abc123.gradio.live"}
        assert client.get("/login", headers=seen).status_code == 400
        address = share.open_link(Settings(), served.app.users, served.app.hosts, 1)
        assert address == "https://abc123.gradio.live"
        assert client.get("/login", headers=seen).status_code == 200
        answer = client.post(
            "/login",
            data={"username": "ann", "password": "ann's own password"},
            headers={**seen, "Origin": "https://abc123.gradio.live"},
        )
        assert answer.status_code == 303
        assert "Secure" in answer.headers["set-cookie"]
        evil = client.post("/login", data={}, headers={**seen, "Origin": "https://evil.example"})
        assert evil.status_code == 403
        assert "access-control-allow-origin" not in evil.headers


def test_the_share_link_needs_users_and_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(NotConfigured):
        share.open_link(Settings(), None, Hosts(Settings()), 1)
    monkeypatch.setattr("gradio.networking.GRADIO_API_SERVER", "http://127.0.0.1:1/none")
    with pytest.raises(Unreachable) as refused:
        share.open_link(Settings(), make_users(tmp_path), Hosts(Settings()), 1)
    assert "--share" in refused.value.hint
