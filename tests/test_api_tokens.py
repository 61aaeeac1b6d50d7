"""Tokens of programs: what they open, what they do not, and how they end; and errors in each API's own shape."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx
import pytest
from dialect_studio import serve_dialects
from serving import PASSWORDS

from studio.core.errors import InvalidRequest, NotFound
from studio.core.user import User
from studio.engine.api_tokens import MAX_TOKENS, ApiTokens, TokenScope

API = "/api/image-studio"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_only_the_hash_of_a_token_is_kept_in_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "user" / "tokens.json"
    secret = ApiTokens(file).create("ann", "  SillyTavern ", TokenScope.GENERATE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in file.read_text()
    found = ApiTokens(file).find(secret)
    assert found is not None
    assert (found.user, found.name, found.scope) == ("ann", "SillyTavern", TokenScope.GENERATE)
    assert ApiTokens(file).find(secret[:-1]) is None
    assert ApiTokens(file).find(found.digest) is None


def test_a_token_needs_a_name_and_has_a_limit(tmp_path: Path) -> None:
    tokens = ApiTokens(tmp_path / "tokens.json")
    with pytest.raises(InvalidRequest):
        tokens.create("ann", "  ", TokenScope.READ)
    for number in range(MAX_TOKENS):
        tokens.create("ann", f"token {number}", TokenScope.READ)
    with pytest.raises(InvalidRequest):
        tokens.create("ann", "one more", TokenScope.READ)
    tokens.create("bob", "another user's", TokenScope.READ)


def test_nobody_revokes_the_token_of_another(tmp_path: Path) -> None:
    tokens = ApiTokens(tmp_path / "tokens.json")
    secret = tokens.create("ann", "mine", TokenScope.READ)
    (token,) = tokens.list_tokens("ann")
    with pytest.raises(NotFound):
        tokens.revoke("bob", token.id)
    assert tokens.list_tokens("bob") == []
    tokens.revoke("ann", token.id)
    assert tokens.find(secret) is None


@pytest.mark.parametrize("content", ["", "{}", '[{"id": 1}]', "\0"])
def test_a_broken_file_lets_nobody_in(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(content)
    assert ApiTokens(file).find("easel_x") is None


def test_a_token_opens_what_its_scope_says_and_only_for_its_user(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        tokens = served.studio.engine.tokens
        scopes = (TokenScope.READ, TokenScope.GENERATE, TokenScope.SPEND)
        read, generate, spend = (tokens.create("ann", scope.value, scope) for scope in scopes)
        client = served.open_client()

        def create(secret: str, **body: object) -> httpx.Response:
            sent = {"prompt": "a red apple", **body}
            return client.post(f"{API}/create?wait=true", json=sent, headers=bearer(secret))

        assert client.get(f"{API}/jobs", headers=bearer(read)).status_code == 200
        assert (create(read).status_code, create(read).json()["error"]) == (403, "This token may only read.")
        made = create(generate)
        assert made.status_code == 200
        refused = create(generate, model="cloud/paid")
        assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
        assert create(generate, fallbacks=["cloud/paid"]).status_code == 403
        grid = [{"parameter": "Model", "values": ["cloud/paid"]}]
        assert create(generate, model="cloud/paid", axes=grid).status_code == 403
        served.studio.settings.change({"fallback_model": "cloud/paid"})
        assert create(generate, model="none such").status_code == 404
        kept = served.studio.engine.job(create(generate).json()["jobId"], User("ann"))
        assert kept.request.fallbacks == (kept.model.id,), "a restart must not let the paid fallback take over"
        assert client.post(f"{API}/trash/empty", headers=bearer(generate)).status_code == 403
        assert client.post(f"{API}/trash/empty", headers=bearer(spend)).status_code == 200
        assert create(spend, model="none such").status_code == 200
        assert create(spend, model="cloud/paid").status_code == 200
        bobs = tokens.create("bob", "bob's", TokenScope.SPEND)
        image = made.json()["images"][0]["url"]
        assert client.get(image, headers=bearer(generate)).status_code == 200
        assert client.get(image, headers=bearer(bobs)).status_code == 404
        (token, *_) = [one for one in tokens.list_tokens("ann") if one.scope is TokenScope.GENERATE]
        tokens.revoke("ann", token.id)
        assert create(generate).status_code == 401


def test_a_token_that_generates_removes_and_changes_nothing_that_is_there(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        tokens = served.studio.engine.tokens
        generate = bearer(tokens.create("ann", "draws", TokenScope.GENERATE))
        organize = bearer(tokens.create("ann", "sorts", TokenScope.ORGANIZE))
        client = served.open_client()
        made = [client.post(f"{API}/create?wait=true", json={"prompt": "x"}, headers=generate).json() for _ in range(2)]
        one, other = (job["images"][0]["id"] for job in made)
        attacks: list[tuple[str, str, dict[str, object]]] = [
            ("POST", "/assets/bulk", {"query": "", "change": {"trash": True}}),
            ("POST", "/assets/bulk", {"ids": [one, other], "change": {"trash": True}}),
            ("POST", "/assets/bulk", {"query": "", "change": {"note": "gone"}}),
            ("DELETE", f"/assets/{one}", {}),
            ("PATCH", f"/assets/{one}", {"title": "gone"}),
            ("POST", "/assets/undo", {}),
            ("POST", "/sessions/end", {}),
        ]
        for method, path, body in attacks:
            refused = client.request(method, API + path, json=body, headers=generate)
            assert refused.status_code == 403, path
        assert refused.json()["error"] == "A token may not do this."
        assert len(client.get(f"{API}/assets", headers=generate).json()["assets"]) == 2
        bulk = client.post(API + attacks[0][1], json=attacks[0][2], headers=organize)
        assert (bulk.status_code, bulk.json()["changed"]) == (200, 2)
        assert client.post(f"{API}/trash/empty", headers=organize).status_code == 403
        assert client.post(f"{API}/assets/undo", headers=organize).status_code == 200
        paid = {"prompt": "x", "model": "cloud/paid"}
        assert client.post(f"{API}/create", json=paid, headers=organize).status_code == 403
        bobs = bearer(tokens.create("bob", "bob's", TokenScope.SPEND))
        bulk = client.post(f"{API}/assets/bulk", json={"ids": [one], "change": {"trash": True}}, headers=bobs)
        assert bulk.json()["changed"] == 0


def test_a_token_ends_with_its_user_and_opens_no_page(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        secret = served.studio.engine.tokens.create("ann", "mine", TokenScope.SPEND)
        client = served.open_client()
        assert client.get(f"{API}/jobs", headers=bearer(secret)).status_code == 200
        assert client.get("/config", headers=bearer(secret)).status_code == 401
        assert client.post("/gradio_api/queue/join", json={}, headers=bearer(secret)).status_code == 401
        file = tmp_path / "users.json"
        users = json.loads(file.read_text())
        del users["users"]["ann"]
        file.write_text(json.dumps(users))
        assert client.get(f"{API}/jobs", headers=bearer(secret)).status_code == 401


def test_a_token_of_an_administrator_is_no_administrator(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        secret = served.studio.engine.tokens.create("root", "mine", TokenScope.SPEND)
        client = served.open_client()
        assert client.post("/sdapi/v1/unload-checkpoint", headers=bearer(secret)).status_code == 403
        assert client.post("/sdapi/v1/unload-checkpoint", auth=("root", PASSWORDS["root"])).status_code == 200


@pytest.mark.parametrize("path", ["/sdapi/v1/options", "/controlnet/version", "/api/image-studio/jobs"])
def test_basic_and_bearer_are_taken_below_every_api(tmp_path: Path, path: str) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        secret = served.studio.engine.tokens.create("ann", "mine", TokenScope.READ)
        client = served.open_client()
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(secret)).status_code == 200
        assert client.get(path, auth=("ann", PASSWORDS["ann"])).status_code == 200
        assert client.get(path, auth=("ann", "a wrong password")).status_code == 401
