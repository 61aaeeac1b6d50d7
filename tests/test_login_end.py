"""What was open when somebody logs out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import RunningStudio, serve_studio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from studio.serving.cookies import COOKIE_NAME

API = "/api/image-studio"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path, users=True) as found:
        yield found


def submit_job(client: httpx.Client) -> str:
    answer = client.post(f"{API}/create", json={"prompt": "a cat", "width": 64, "height": 64})
    assert answer.status_code in (200, 202), answer.text
    return answer.json()["jobId"]


def read_to_end(socket: ClientConnection) -> None:
    while True:
        socket.recv(20)


def test_a_stream_of_events_ends_with_its_login_and_others_go_on(served: RunningStudio) -> None:
    leaving, staying = served.open_client("ann"), served.open_client("ann")
    with leaving.stream("GET", f"{API}/jobs/events") as ended, staying.stream("GET", f"{API}/jobs/events") as going:
        lines, others = ended.iter_lines(), going.iter_lines()
        before = submit_job(staying)
        assert any(before in line for line in lines)
        copied = served.open_client(cookies={COOKIE_NAME: leaving.cookies[COOKIE_NAME]})
        assert copied.post("/logout").status_code == 303
        after = submit_job(staying)
        assert not [line for line in lines if after in line], "the rest of the stream, which has ended"
        assert any(after in line for line in others)


def test_a_stream_ends_when_its_user_is_removed(served: RunningStudio) -> None:
    ann, root = served.open_client("ann"), served.open_client("root")
    with ann.stream("GET", f"{API}/jobs/events") as stream:
        lines = stream.iter_lines()
        before = submit_job(ann)
        assert any(before in line for line in lines)
        assert root.delete(f"{API}/users/ann").status_code in (200, 204)
        assert not [line for line in lines if "event: job" in line and before not in line]


def test_a_websocket_is_closed_with_its_login(served: RunningStudio) -> None:
    leaving = served.open_client("ann")
    cookie = {"Cookie": f"{COOKIE_NAME}={leaving.cookies[COOKIE_NAME]}"}
    address = served.url.replace("http", "ws") + "/ws?clientId=x"
    with connect(address, additional_headers=cookie) as socket:
        assert socket.recv(10)
        assert leaving.post("/logout").status_code == 303
        with pytest.raises(ConnectionClosed) as closed:
            read_to_end(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
