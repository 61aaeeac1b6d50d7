"""Every route and every event, as they stand in the server's own tables, for three roles, two users and nobody.

What is expected follows from the right that each declares: nothing is listed here by hand but what a parameter of that
name stands for.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from access import Endpoint, find_blocks, list_endpoints, list_undeclared_events, make_body
from dialect_studio import make_backend, make_png, make_store
from fakes import wait_until_final
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts

from studio import page
from studio.core.finish import Finish
from studio.core.request import GenerationRequest
from studio.core.rights import RIGHTS, Right, Role
from studio.core.task import Task
from studio.core.user import User
from studio.engine.api_tokens import TokenScope
from studio.library.changes import Change
from studio.serving.login import OPEN_PATHS
from studio.tabs.common.current_user import find_right

WORD = "CANARYWORD"  # in all that ann owns
PASSWORD = "a password of a test"
pytestmark = pytest.mark.slow
ROLES = {"ann": Role.MEMBER, "bob": Role.MEMBER, "gil": Role.GUEST, "root": Role.ADMINISTRATOR}
REFUSED = " may not "  # in the sentence of every refusal for want of a right
_MAX_BODY = 4_000_000  # bytes of an answer that are looked at
# Streams that end when the caller hangs up, and what ends the caller's own session.
_ENDLESS = ("/jobs/events", "/gradio_api/heartbeat", "/gradio_api/queue/data", "/logout", "/login")


@dataclass
class House:
    """A served studio with all its endpoints, and what ann owns by the name of the parameter that stands for it."""

    served: RunningStudio
    endpoints: list[Endpoint]
    clients: dict[str, httpx.Client]
    owned: dict[str, str]
    files: list[bytes] = field(default_factory=list)

    def call(self, endpoint: Endpoint, who: str, values: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer at `endpoint`."""
        body = make_body(endpoint.body, values) if endpoint.body else {}
        options: dict[str, Any] = {} if endpoint.method in ("GET", "DELETE") and not endpoint.body else {"json": body}
        try:
            return self._send(who, endpoint.method, endpoint.address(values), options)
        except httpx.TransportError:  # a connection that the server closed after the call before
            return self._send(who, endpoint.method, endpoint.address(values), options)

    def _send(self, who: str, method: str, address: str, options: dict[str, Any]) -> tuple[int, bytes]:
        with self.clients[who].stream(method, address, **options) as answer:
            found = b""
            for piece in answer.iter_bytes():
                found += piece
                if len(found) > _MAX_BODY or answer.headers.get("content-type", "").startswith("text/event-stream"):
                    break
            return answer.status_code, found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    social, _, _ = make_social_parts(folder)
    with serve_studio(
        folder,
        users=True,
        backend=make_backend(),
        models=make_store(folder / "models"),
        social=social,
        page=page.mount,
        default_model="fake",
        metrics=True,
        queue_limit=10_000,
        queue_limit_per_user=10_000,
    ) as served:
        users = served.app.users
        assert users is not None
        users.add("gil", PASSWORD, Role.GUEST, {"queue_limit_per_user": 10_000, "images_per_day": 100_000})
        clients = {name: served.open_client(name) for name in ("ann", "bob", "root")}
        clients["gil"] = served.open_client()
        assert clients["gil"].post("/login", data={"username": "gil", "password": PASSWORD}).status_code == 303
        clients["nobody"] = served.open_client()
        owned = furnish(served)
        file = served.studio.engine.asset(owned["asset_id"], User("ann")).path.read_bytes()
        yield House(served, list_endpoints(served.app), clients, owned, [file])


def furnish(served: RunningStudio) -> dict[str, str]:
    """Give ann one of everything, each with WORD in it; returns what a parameter of that name may stand for."""
    engine, ann = served.studio.engine, User("ann")
    kept = engine.keep_image(make_png(), ann)
    job = engine.submit(GenerationRequest(prompt=f"{WORD} prompt", source=None), ann)
    [asset] = wait_until_final(job).assets
    library = engine.asset_library
    library.change(asset.id, Change(note=f"{WORD} note", tags=(f"{WORD}tag",), favourite=True), "ann")
    collection = library.collections.create(f"{WORD} collection", "ann", None)
    engine.wildcards.of("ann").save("annslist", f"{WORD} wildcard\n")
    engine.chains.save("ann", "annschain", (GenerationRequest(task=Task.FINISH, finish=Finish(width=8)),))
    engine.tokens.create("ann", f"{WORD} token", TokenScope.READ)
    ann_client = served.open_client("ann")
    api = "/api/image-studio"
    recipe = ann_client.post(f"{api}/recipes", json={"name": f"{WORD} recipe", "request": {"prompt": f"{WORD}"}})
    persona = ann_client.post(f"{api}/personas", json={"name": f"{WORD} persona"})
    sessions = ann_client.get(f"{api}/sessions").json()["sessions"]
    owned = {
        "job_id": job.id,
        "asset_id": asset.id,
        "image_id": asset.id,
        "content_hash": kept.hash,
        "collection_id": collection.id,
        "session_id": next(one["id"] for one in sessions if not one["own"]),
        "prompt_id": str(uuid.uuid4()),
        "name": "annslist",
    }
    for key, answer in (("recipe_id", recipe), ("persona_id", persona)):
        if answer.status_code < 300:
            owned[key] = str(answer.json().get("id", ""))
    return owned


def list_values(house: House, endpoint: Endpoint, kind: str) -> dict[str, str]:
    """What the parameters of `endpoint` stand for: ann's own, or what is not there at all."""
    absent = {
        "content_hash": "0" * 64,
        "prompt_id": str(uuid.UUID(int=0)),
        "job_id": "0" * 16,
        "session_id": "0" * 16,
        "folder_id": "4711",
    }
    unknown = {name: absent.get(name, "nothing-of-that-name") for name in {*house.owned, *endpoint.parameters}}
    return unknown if kind == "absent" else {**unknown, **house.owned}


def is_reachable(endpoint: Endpoint) -> bool:
    return endpoint.method != "WEBSOCKET" and not any(part in endpoint.path for part in _ENDLESS)


def test_every_route_declares_its_right(house: House) -> None:
    ours = [endpoint for endpoint in house.endpoints if not endpoint.gradio]
    assert len(ours) > 150
    assert [endpoint.name for endpoint in ours if not endpoint.is_declared] == []


def test_every_event_of_the_page_declares_its_right(house: House) -> None:
    blocks = find_blocks(house.served.app)
    assert len(blocks.fns) > 100
    assert list_undeclared_events(blocks) == []


def test_nobody_gets_past_the_login_but_where_that_is_declared(house: House) -> None:
    wrong: list[str] = []
    for endpoint in filter(is_reachable, house.endpoints):
        if endpoint.is_open or endpoint.path in OPEN_PATHS:
            continue
        status, body = house.call(endpoint, "nobody", list_values(house, endpoint, "owned"))
        closed = endpoint.gradio and status == 404  # by the guard, to everybody
        if (status not in (401, 405) and not closed) or WORD.encode() in body:
            wrong.append(f"{endpoint.name}: {status}")
    assert wrong == [], "\n".join(wrong)


def is_foreign_error(endpoint: Endpoint, status: int) -> bool:
    """Whether that is how AUTOMATIC1111's API answers a bad image, Gradio an event that is not there, or a studio a
    service that is not set up."""
    return status == 503 or endpoint.gradio or endpoint.path.startswith(("/sdapi/", "/controlnet/"))


@pytest.mark.parametrize("who", ["gil", "bob", "root"])
def test_each_role_is_let_in_where_it_has_the_right_and_nowhere_else(house: House, who: str) -> None:
    """With ids that are not there, so that nothing is changed."""
    wrong: list[str] = []
    counts = {True: 0, False: 0}
    for endpoint in filter(is_reachable, house.endpoints):
        status, body = house.call(endpoint, who, list_values(house, endpoint, "absent"))
        allowed = endpoint.rights <= RIGHTS[ROLES[who]]
        counts[allowed] += 1
        refused = status == 403 and REFUSED in body.decode("utf-8", "replace")
        if refused == allowed or status == 401 or (status >= 500 and not is_foreign_error(endpoint, status)):
            wrong.append(f"{endpoint.name}: {status} {body[:200]!r}")
    assert wrong == [], "\n".join(wrong)
    assert counts[True] > 150
    assert (counts[False] > 10) == (who != "root")


@pytest.mark.parametrize("who", ["bob", "gil"])
def test_nobody_reads_or_changes_what_is_anothers(house: House, who: str) -> None:
    """Another's id is answered as one that is not there, nothing of ann's is in any answer, and all of hers stays."""
    before = read_rows(house, "ann")
    wrong: list[str] = []
    for endpoint in filter(is_reachable, house.endpoints):
        if endpoint.gradio:
            continue
        own, body = house.call(endpoint, who, list_values(house, endpoint, "owned"))
        absent, _ = house.call(endpoint, who, list_values(house, endpoint, "absent"))
        if WORD.encode() in body or any(data in body for data in house.files):
            wrong.append(f"{endpoint.name} tells what is ann's: {body[:200]!r}")
        if own != absent and endpoint.parameters:
            wrong.append(f"{endpoint.name}: {own} for ann's, {absent} for none")
    assert wrong == [], "\n".join(wrong)
    assert read_rows(house, "ann") == before


def test_the_owner_gets_what_is_hers(house: House) -> None:
    """So that the test above looks at endpoints that open."""
    opened = [
        endpoint.name
        for endpoint in filter(is_reachable, house.endpoints)
        if endpoint.method == "GET"
        and {"asset_id", "job_id", "content_hash", "image_id"} & set(endpoint.parameters)
        and house.call(endpoint, "ann", list_values(house, endpoint, "owned"))[0] == 200
    ]
    assert len(opened) >= 12, opened


@pytest.mark.parametrize("who", ["gil", "bob", "root"])
def test_each_event_runs_for_those_who_have_the_right_and_tells_nothing_of_others(house: House, who: str) -> None:
    """With ann's ids in its fields: whoever lacks the right is refused before these are looked at, and whoever has it
    finds nothing by them."""
    before = read_rows(house, "ann")
    ids = [house.owned[name] for name in ("job_id", "asset_id", "content_hash", "name")]
    wrong: list[str] = []
    counts = {True: 0, False: 0}

    def run(number: int) -> str:
        values = [ids[(number + place) % len(ids)] for place in range(len(events[number].inputs))]
        return run_event(house.clients[who], number, values, f"{who}{threading.get_ident()}")

    events = find_blocks(house.served.app).fns
    rights = {number: find_right(event.fn) for number, event in events.items() if event.fn is not None}
    guarded = {number: right for number, right in rights.items() if right is not None}
    with ThreadPoolExecutor(4) as pool:  # an event mostly waits for Gradio's queue
        answers = dict(zip(guarded, pool.map(run, guarded), strict=True))
    for number, right in guarded.items():
        event, said = events[number], answers[number]
        allowed = right in RIGHTS[ROLES[who]]
        counts[allowed] += 1
        if (REFUSED in said) == allowed or WORD in said:
            wrong.append(f"{event.api_name or event.fn.__name__} ({right}): {said[:200]}")
    assert wrong == [], "\n".join(wrong)
    assert counts[True] > 80
    assert (counts[False] >= 10) == (who != "root")
    assert read_rows(house, "ann") == before


def run_event(client: httpx.Client, number: int, values: list[str], session: str) -> str:
    """All that Gradio says of one event with `values` in its fields."""
    body = {"data": values, "fn_index": number, "session_hash": session}
    answer = client.post("/gradio_api/queue/join", json=body)
    if answer.status_code != 200:
        direct = client.post("/gradio_api/run/predict", json=body)
        return f"{answer.text} {direct.text}"
    said = ""
    with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            said += line
            if line.startswith("data:") and json.loads(line[5:]).get("msg") in ("process_completed", "close_stream"):
                break
    return said


def test_a_token_that_reads_changes_nothing(house: House) -> None:
    """Whatever the route: reading is a matter of the method."""
    secret = house.served.studio.engine.tokens.create("bob", "reads", TokenScope.READ)
    client = house.served.open_client()
    for endpoint in filter(is_reachable, house.endpoints):
        if endpoint.method == "GET" or endpoint.gradio or endpoint.is_open or endpoint.path.startswith("/page"):
            continue
        address = endpoint.address(list_values(house, endpoint, "absent"))
        answer = client.request(endpoint.method, address, headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code in (401, 403), endpoint.name


def test_a_token_that_generates_leaves_all_that_is_kept(house: House) -> None:
    """Whatever the route: what ann keeps, and that she is logged in, is as before."""
    secret = house.served.studio.engine.tokens.create("ann", "draws", TokenScope.GENERATE)
    client, ann = house.served.open_client(headers={"Authorization": f"Bearer {secret}"}), house.clients["ann"]
    owned = house.owned
    kept = [f"/assets/{owned['asset_id']}", "/wildcards/annslist", "/chains/annschain", "/recipes", "/personas"]

    def read() -> list[Any]:
        found = [ann.get(f"/api/image-studio{path}") for path in kept]
        assert [answer.status_code for answer in found] == [200] * len(kept)
        collections = ann.get("/api/image-studio/collections").json()["collections"]
        mine = [one for one in collections if one["id"] == owned["collection_id"]]
        added = ("uses", "use_counts", "children")  # by what is drawn from the image
        return [*({**answer.json(), **dict.fromkeys(added)} for answer in found), mine]

    before = read()
    for endpoint in filter(is_reachable, house.endpoints):
        if endpoint.method == "GET" or endpoint.gradio or endpoint.is_open or endpoint.path.startswith("/page"):
            continue
        body = make_body(endpoint.body, owned) if endpoint.body else {}
        client.request(endpoint.method, endpoint.address(list_values(house, endpoint, "owned")), json=body)
    assert read() == before


def test_no_token_has_a_right_of_administrators(house: House) -> None:
    secret = house.served.studio.engine.tokens.create("root", "all", TokenScope.SPEND)
    client = house.served.open_client()
    above = RIGHTS[Role.ADMINISTRATOR] - RIGHTS[Role.MEMBER] | {Right.TOKENS}
    seen = 0
    for endpoint in filter(is_reachable, house.endpoints):
        if endpoint.rights & above:
            address = endpoint.address(list_values(house, endpoint, "absent"))
            answer = client.request(endpoint.method, address, headers={"Authorization": f"Bearer {secret}"})
            assert answer.status_code == 403, endpoint.name
            seen += 1
    assert seen > 10


def read_rows(house: House, user: str) -> dict[str, list[Any]]:
    """All rows of the database that name the user."""
    found: dict[str, list[Any]] = {}
    with sqlite3.connect(house.served.studio.engine.outputs_dir / "library.db") as connection:
        tables = connection.execute(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'user'"
            " WHERE m.type = 'table'"
        ).fetchall()
        for (table,) in tables:
            found[table] = connection.execute(f"SELECT * FROM {table} WHERE user = ? ORDER BY 1, 2", (user,)).fetchall()
    folder = house.served.studio.settings.folder
    found["files"] = sorted(
        (str(path), path.read_bytes()) for path in Path(folder).rglob("*") if path.is_file() and user in path.parts
    )
    return found
