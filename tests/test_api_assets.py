"""The asset library over HTTP: what it answers, and that nobody sees or changes what is another's."""

from __future__ import annotations

import dataclasses

import httpx
import pytest
from fakes import FAKE_MODEL, FakeBackend, wait_until_final
from serving import serve_studio

from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User

API = "/api/image-studio"
MODEL = dataclasses.replace(FAKE_MODEL, tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve_studio(tmp_path_factory.mktemp("assets"), users=True, backend=FakeBackend(MODEL, steps=1)) as running:
        yield running


def make(client: httpx.Client, prompt: str, count: int = 1) -> list[str]:
    job = client.post(f"{API}/create?wait=true", json={"prompt": prompt, "model": "fake", "count": count}).json()
    return [image["id"] for image in job["images"]]


def list_ids(client: httpx.Client, **query: str | int) -> list[str]:
    answer = client.get(f"{API}/assets", params=query)
    assert answer.status_code == 200, answer.text
    return [asset["id"] for asset in answer.json()["assets"]]


def test_images_are_found_described_and_served(served):
    ann = served.open_client("ann")
    (one,) = make(ann, "a lighthouse at dusk")
    page = ann.get(f"{API}/assets", params={"q": "lighthouse"}).json()
    (asset,) = page["assets"]
    assert (page["total"], page["next"], page["total_is_exact"]) == (1, None, True)
    assert (asset["id"], asset["prompt"], asset["model"], asset["kind"]) == (
        one,
        "a lighthouse at dusk",
        "fake",
        "image",
    )
    assert (asset["model"], asset["width"], asset["favourite"], asset["tags"]) == ("fake", 64, False, [])
    assert ann.get(asset["url"]).headers["content-type"] == "image/png"
    assert ann.get(asset["thumbnail"]).headers["content-type"] == "image/jpeg"
    details = ann.get(f"{API}/assets/{one}").json()
    assert details["request"]["prompt"] == "a lighthouse at dusk"
    assert "a lighthouse at dusk" in details["infotext"]
    assert (details["parents"], details["children"], details["history"], details["collections"]) == ([], [], [], [])
    assert details["job"] == one.split("-")[0]


def test_an_edited_image_knows_where_it_came_from(served):
    ann = served.open_client("ann")
    (parent,) = make(ann, "a source")
    engine = served.studio.engine
    kept = engine.keep_asset(parent, User("ann"))
    request = GenerationRequest(task=Task.IMG2IMG, model="fake", prompt="a change", source=kept.hash, strength=0.5)
    (child,) = [asset.id for asset in wait_until_final(engine.submit(request, User("ann"))).assets]
    assert [one["id"] for one in ann.get(f"{API}/assets/{parent}").json()["children"]] == [child]
    details = ann.get(f"{API}/assets/{child}").json()
    assert [one["id"] for one in details["parents"]] == [parent]
    assert (details["task"], details["history"]) == ("img2img", ["txt2img"])


def test_notes_are_kept_and_found(served):
    ann = served.open_client("ann")
    (one,) = make(ann, "something to note")
    change = {"favourite": True, "rating": 4, "tags": ["Sea", "sea", "two words"], "note": "for the book", "title": "T"}
    answer = ann.patch(f"{API}/assets/{one}", json=change).json()
    assert (answer["favourite"], answer["rating"], answer["tags"]) == (True, 4, ["Sea", "two words"])
    assert (answer["note"], answer["title"]) == ("for the book", "T")
    assert list_ids(ann, q="is:favourite rating:4 tag:sea book") == [one]
    facets = ann.get(f"{API}/assets/facets").json()
    assert {"value": "two words", "count": 1} in facets["tags"]
    assert ann.patch(f"{API}/assets/{one}", json={"rating": 0}).json()["favourite"] is True
    assert ann.post(f"{API}/assets/undo").json() == {"restored": 1}
    assert ann.get(f"{API}/assets/{one}").json()["rating"] == 4
    completed = ann.get(f"{API}/assets/complete", params={"text": "tag:tw", "position": 6}).json()
    assert completed == {"from": 4, "to": 6, "options": [{"text": '"two words"', "label": "two words", "count": 1}]}


@pytest.mark.parametrize(
    "change",
    [
        {"rating": 6},
        {"rating": "5"},
        {"favourite": 1},
        {"tags": [""]},
        {"tags": ["x" * 101]},
        {"tags": ["a\nb"]},
        {"tags": [str(number) for number in range(1000)]},
        {"tags": "sea"},
        {"title": "x" * 301},
        {"note": "x" * 20_001},
        {"note": "\x00"},
        {"state": "trashed"},
        {"user": "bob"},
        {"path": "/etc/passwd"},
    ],
)
def test_impossible_changes_are_refused(served, change):
    ann = served.open_client("ann")
    (one,) = make(ann, "steady")
    before = ann.get(f"{API}/assets/{one}").json()
    answer = ann.patch(f"{API}/assets/{one}", json=change)
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"]["hint"]
    assert ann.get(f"{API}/assets/{one}").json() == before


@pytest.mark.parametrize("tag", ["a,b", "<script>alert(1)</script>", "ü" * 100, "🦊", "日本", "-", "tag:x"])
def test_odd_tags_are_kept_as_they_are(served, tag):
    ann = served.open_client("ann")
    (one,) = make(ann, "odd")
    assert ann.patch(f"{API}/assets/{one}", json={"tags": [tag]}).json()["tags"] == [tag]
    assert list_ids(ann, q=f'tag:"{tag}"') == [one]
    ann.patch(f"{API}/assets/{one}", json={"tags": []})


def test_wrong_queries_are_400_with_their_place(served):
    ann = served.open_client("ann")
    answer = ann.get(f"{API}/assets", params={"q": "a seed:abc"})
    assert answer.status_code == 400
    assert (answer.json()["details"]["from"], answer.json()["details"]["to"]) == (2, 10)
    for query in ({"limit": 0}, {"limit": 501}, {"order": "random"}, {"cursor": "x"}, {"q": "x" * 2001}):
        assert ann.get(f"{API}/assets", params=query).status_code == 400, query


def test_nothing_of_another_user_is_seen_or_changed(served):
    ann, bob = served.open_client("ann"), served.open_client("bob")
    (hers,) = make(ann, "her secret unicorn")
    (shelf,) = [ann.post(f"{API}/collections", json={"name": "hers"}).json()["id"]]
    assert hers not in list_ids(bob) + list_ids(bob, q="unicorn") + list_ids(bob, q="-x", order="unused")
    for method, path, body in (
        ("GET", f"assets/{hers}", None),
        ("GET", f"assets/{hers}/file", None),
        ("GET", f"assets/{hers}/thumbnail", None),
        ("PATCH", f"assets/{hers}", {"favourite": True}),
        ("PATCH", f"collections/{shelf}", {"name": "his"}),
        ("DELETE", f"collections/{shelf}", None),
    ):
        answer = bob.request(method, f"{API}/{path}", json=body)
        assert answer.status_code == 404, path
        assert hers not in answer.text
    assert ann.get(f"{API}/assets/{hers}").json()["favourite"] is False
    assert "unicorn" not in bob.get(f"{API}/assets/facets").text
    assert bob.get(f"{API}/collections").json()["collections"] == []


@pytest.mark.parametrize("asset_id", ["..%2f..%2flibrary.db", "x", "%00", "a" * 5000, "..%2ffacets", "library.db"])
def test_ids_are_never_paths(served, asset_id):
    ann = served.open_client("ann")
    for path in (f"assets/{asset_id}", f"assets/{asset_id}/file", f"assets/{asset_id}/thumbnail"):
        assert ann.get(f"{API}/{path}").status_code in (400, 404)


def test_strangers_are_told_nothing(served):
    stranger = served.open_client()
    for path in ("assets", "assets/facets", "assets/complete", "collections", "assets/x", "assets/x/file"):
        assert stranger.get(f"{API}/{path}", follow_redirects=False).status_code == 401


def test_collections_are_made_renamed_and_deleted(served):
    ann = served.open_client("ann")
    made = ann.post(f"{API}/collections", json={"name": " Best  of "})
    assert made.status_code == 201
    shelf = made.json()
    assert (shelf["name"], shelf["count"], shelf["query"]) == ("Best of", 0, None)
    assert ann.post(f"{API}/collections", json={"name": "best OF"}).status_code == 400
    assert ann.post(f"{API}/collections", json={"name": "x", "query": "seed:x"}).status_code == 400
    renamed = ann.patch(f"{API}/collections/{shelf['id']}", json={"name": "Better"}).json()
    assert renamed["name"] == "Better"
    assert ann.patch(f"{API}/collections/{shelf['id']}", json={"query": "x"}).status_code == 400
    assert ann.delete(f"{API}/collections/{shelf['id']}").status_code == 204
    assert ann.delete(f"{API}/collections/{shelf['id']}").status_code == 404


def test_the_routes_are_documented(served):
    paths = served.open_client("ann").get("/api/openapi.json").json()["paths"]
    for path in ("assets", "assets/{asset_id}", "assets/facets", "assets/complete", "collections"):
        assert f"{API}/{path}" in paths


def test_many_are_changed_trashed_and_brought_back(served):
    ann, bob = served.open_client("ann"), served.open_client("bob")
    ids = make(ann, "one of many", 3)
    (his,) = make(bob, "one of many")
    body = {"ids": [*ids, his], "change": {"favourite": True, "add_tags": ["batch"]}}
    answer = ann.post(f"{API}/assets/bulk", json=body).json()
    assert answer["changed"] == 3
    assert bob.get(f"{API}/assets/{his}").json()["favourite"] is False
    assert bob.post(f"{API}/assets/undo", json={"token": answer["undo"]}).status_code == 404
    trashed = ann.post(f"{API}/assets/bulk", json={"query": "tag:batch", "change": {"trash": True}}).json()
    assert trashed["changed"] == 3
    assert list_ids(ann, q="tag:batch") == []
    assert set(list_ids(ann, q="tag:batch", trashed="true")) == set(ids)
    assert ann.post(f"{API}/assets/undo").json() == {"restored": 3}
    assert ann.post(f"{API}/assets/undo", json={"token": answer["undo"]}).json() == {"restored": 3}
    assert set(list_ids(ann, q='"one of many" -is:favourite')) == set(ids)
    gone = ann.delete(f"{API}/assets/{ids[0]}").json()
    assert (gone["id"], gone["trashed"]) == (ids[0], True)
    assert bob.delete(f"{API}/assets/{ids[1]}").status_code == 404
    assert bob.post(f"{API}/trash/empty").json() == {"removed": 0}
    assert ann.get(f"{API}/assets/{ids[0]}").json()["trashed"] is True
    assert ann.post(f"{API}/trash/empty").json()["removed"] == 1
    assert ann.get(f"{API}/assets/{ids[0]}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"change": {"favourite": True}},
        {"ids": ["x"], "change": {}},
        {"ids": ["x"], "change": {"trash": True, "restore": True}},
        {"ids": ["x"] * 10_001, "change": {"rating": 1}},
        {"query": "seed:x", "change": {"rating": 1}},
        {"query": "", "change": {"state": "done"}},
        {"ids": "x", "change": {"rating": 1}},
    ],
)
def test_impossible_bulk_steps_are_refused(served, body):
    answer = served.open_client("ann").post(f"{API}/assets/bulk", json=body)
    assert answer.status_code == 400, answer.text
