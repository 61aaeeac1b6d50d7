"""Notifications of ended jobs, and the stream of all jobs of a caller."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from dialect_studio import make_backend, serve_dialects
from serving import PASSWORDS, wait_until

from studio.api import webhook_queue, webhooks
from studio.api.webhook_queue import MAX_SENDING, MAX_SENDING_PER_USER, Notification, WebhookQueue
from studio.api.webhooks import Webhooks
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER

API = "/api/image-studio"
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four").decode()


class Receiver:
    """A small server that keeps what it is sent; its first answers are `refusals`."""

    def __init__(self, *refusals: int) -> None:
        self.refusals = list(refusals)
        self.taken: list[tuple[dict[str, str], bytes]] = []


@contextmanager
def receive(*refusals: int) -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver(*refusals)

    class Handler(http.server.BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.taken.append((dict(self.headers.items()), body))
            self.send_response(receiver.refusals.pop(0) if receiver.refusals else 204)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def hold() -> Iterator[tuple[str, list[str], threading.Event]]:
    """A receiver that says nothing until it is let; the ids of what it was sent."""
    asked: list[str] = []
    released = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head

        def do_POST(self) -> None:
            asked.append(self.headers["webhook-id"])
            released.wait(30)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked, released
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def create(client: httpx.Client, url: str, secret: str = SECRET) -> httpx.Response:
    headers = {"Webhook-Url": url, "Webhook-Secret": secret}
    return client.post(f"{API}/create", json={"prompt": "a red apple"}, headers=headers)


def test_the_end_of_a_job_is_told_with_a_signature_that_openais_client_accepts(tmp_path: Path) -> None:
    with receive() as (host, receiver), serve_dialects(tmp_path, webhook_hosts=host) as served:
        job = create(served.open_client(), f"http://{host}/hook").json()["jobId"]
        wait_until(lambda: receiver.taken)
        headers, body = receiver.taken[0]
        told = json.loads(body)
        assert (told["type"], told["data"]["jobId"]) == ("job.finished", job)
        assert told["data"]["images"][0]["imageData"] is None
        checker = openai.OpenAI(api_key="x", webhook_secret=SECRET).webhooks
        checker.verify_signature(body, headers)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            checker.verify_signature(body + b" ", headers)
        wait_until(lambda: not list(tmp_path.rglob("msg_*.json")))


def test_a_notification_is_sent_again_until_it_is_taken(tmp_path: Path) -> None:
    with receive(500, 302) as (host, receiver), serve_dialects(tmp_path, webhook_hosts=host) as served:
        studio = served.studio
        hooks = Webhooks(studio, tmp_path / "hooks", (0.0, 0.1, 0.1, 0.1))
        job = studio.engine.submit(GenerationRequest(prompt="x"), LOCAL_USER)
        with hooks.expect(LOCAL_USER, f"http://{host}/hook", SECRET) as register:
            register(job)
        wait_until(lambda: len(receiver.taken) == 3)
        assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 1


def test_a_notification_outlives_the_process(tmp_path: Path) -> None:
    with receive() as (host, receiver):
        with serve_dialects(tmp_path, webhook_hosts=host, backend=make_backend(held=True)) as served:
            create(served.open_client(), f"http://{host}/hook")
            (file,) = tmp_path.rglob("msg_*.json")
            assert file.stat().st_mode & 0o077 == 0
        assert not receiver.taken
        with serve_dialects(tmp_path, webhook_hosts=host):
            wait_until(lambda: receiver.taken)


def test_only_listed_hosts_are_notified_and_nothing_is_made_otherwise(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, webhook_hosts="hooks.example") as served:
        client = served.open_client()
        for url in (
            "http://127.0.0.1:1/hook",
            "http://169.254.169.254/latest/meta-data",
            "http://hooks.example:8080/",
            "http://hooks.example.evil.example/",
            "http://user:password@hooks.example/",
            "file:///etc/passwd",
            "http://[::1]/",
            "hooks.example",
        ):
            assert create(client, url).status_code == 400, url
        assert create(client, "http://hooks.example/", "short").status_code == 400
        assert create(client, "http://hooks.example/", "whsec_###############").status_code == 400
        assert not served.backend.seen


def test_receivers_that_do_not_answer_hold_up_nobody_elses_notifications(tmp_path: Path) -> None:
    with (
        hold() as (slow, asked, released),
        receive() as (quick, receiver),
        serve_dialects(tmp_path, users=True, webhook_hosts=f"{slow},{quick}") as served,
    ):
        ann, bob = (served.open_client(auth=(name, PASSWORDS[name])) for name in ("ann", "bob"))
        for _ in range(3 * MAX_SENDING):
            assert create(ann, f"http://{slow}/hook").status_code == 202
        wait_until(lambda: len(asked) == MAX_SENDING_PER_USER)
        assert create(bob, f"http://{quick}/hook").status_code == 202
        wait_until(lambda: receiver.taken)
        assert len(asked) == MAX_SENDING_PER_USER
        released.set()
        wait_until(lambda: len(set(asked)) == 3 * MAX_SENDING)


def test_a_receiver_that_answers_for_ever_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_SEND_SECONDS", 0.3)
    with hold() as (slow, asked, _), serve_dialects(tmp_path, webhook_hosts=slow) as served:
        hooks = Webhooks(served.studio, tmp_path / "hooks", (0.0, 0.1, 0.1, 60.0))
        job = served.studio.engine.submit(GenerationRequest(prompt="x"), LOCAL_USER)
        with hooks.expect(LOCAL_USER, f"http://{slow}/hook", SECRET) as register:
            register(job)
        wait_until(lambda: len(asked) == 3)
        assert len(set(asked)) == 1
        (file,) = (tmp_path / "hooks").iterdir()
        wait_until(lambda: json.loads(file.read_text())["attempts"] == 3)


def test_each_user_has_a_limit_of_notifications_and_takes_no_other_users_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_queue, "MAX_PENDING_PER_USER", 2)
    held = make_backend(held=True)
    with serve_dialects(tmp_path, users=True, webhook_hosts="127.0.0.1:9", backend=held) as served:
        ann, bob = (served.open_client(auth=(name, PASSWORDS[name])) for name in ("ann", "bob"))
        headers = {"Webhook-Url": "http://127.0.0.1:9/", "Webhook-Secret": SECRET}
        for _ in range(3):
            refused = ann.post(f"{API}/create", json={"prompt": "x", "model": "none such"}, headers=headers)
            assert refused.status_code == 404, "and what it had reserved is free again"
        assert [create(ann, "http://127.0.0.1:9/").status_code for _ in range(3)] == [202, 202, 429]
        assert len(ann.get(f"{API}/jobs").json()["jobs"]) == 2
        assert create(bob, "http://127.0.0.1:9/").status_code == 202


def make_notification(number: int, user: str) -> Notification:
    return Notification(id=f"{user}{number}", job_id="j", user=user, url="http://x/", secret=SECRET, due=1.0 + number)


def test_users_take_turns_whoever_was_first() -> None:
    queue = WebhookQueue(make_notification(number, user) for user in ("ann", "bob", "cid") for number in range(4))
    taken: list[str] = []
    while (one := queue.take_next(100.0)) is not None:
        taken.append(one.id)
        queue.finish(one)
        queue.remove(one)
    assert taken == [f"{user}{number}" for number in range(4) for user in ("ann", "bob", "cid")]
    assert queue.is_empty()


def test_no_user_has_all_senders_and_all_together_have_a_limit() -> None:
    users = [f"user{number}" for number in range(MAX_SENDING)]
    queue = WebhookQueue(make_notification(number, user) for user in users for number in range(4))
    taken = [one for _ in range(20) if (one := queue.take_next(100.0)) is not None]
    assert [one.user for one in taken] == users
    queue = WebhookQueue(make_notification(number, "ann") for number in range(20))
    first = queue.take_next(100.0)
    assert first is not None
    assert queue.take_next(100.0) is not None
    assert queue.take_next(100.0) is None
    queue.finish(first)
    assert queue.take_next(100.0) == first


def test_a_stream_tells_all_jobs_of_the_caller_and_nobody_elses(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        ann, bob = (served.open_client(auth=(name, PASSWORDS[name])) for name in ("ann", "bob"))
        ann.post(f"{API}/create?wait=true", json={"prompt": "an earlier one"})
        with ann.stream("GET", f"{API}/jobs/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 3000"
            bob.post(f"{API}/create?wait=true", json={"prompt": "bob's"})
            wanted = {ann.post(f"{API}/create", json={"prompt": "x"}).json()["jobId"] for _ in range(2)}
            ended: set[str] = set()
            for line in lines:
                if line.startswith("data: "):
                    told = json.loads(line[6:])
                    assert told["jobId"] in wanted
                    if told["status"] == "finished":
                        ended.add(told["jobId"])
                if ended == wanted:
                    break


def test_the_streams_of_one_user_leave_room_for_anothers(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served, ExitStack() as opened:
        ann, bob = (served.open_client(auth=(name, PASSWORDS[name])) for name in ("ann", "bob"))
        streams = [opened.enter_context(ann.stream("GET", f"{API}/jobs/events")) for _ in range(48)]
        read = [stream.iter_lines() for stream in streams]  # kept: one that is forgotten closes its connection
        assert {next(lines) for lines in read} == {"retry: 3000"}
        assert ann.get(f"{API}/jobs/events").status_code == 503
        with bob.stream("GET", f"{API}/jobs/events") as stream:
            assert next(stream.iter_lines()) == "retry: 3000"
