"""Roles, limits, accounts, logins that are listed and ended, and the audit log."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from dialect_studio import serve_dialects
from fakes import FakeBackend, open_engine, wait_until_final
from serving import PASSWORDS, RunningStudio, make_users

from studio.core.errors import Forbidden, InvalidRequest, NotFound, QuotaExceeded
from studio.core.request import GenerationRequest
from studio.core.rights import RIGHTS, Right, Role
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER, User
from studio.engine.api_tokens import TokenScope
from studio.engine.audit import AuditEvent, AuditLog
from studio.engine.usage import Usage
from studio.library.changes import Change
from studio.library.database import Database
from studio.library.file_sizes import fill_sizes
from studio.serving.cookies import Cookies
from studio.serving.users import Users, save_user

API = "/api/image-studio"
ASKED = GenerationRequest(prompt="a red apple")


def log_in(served: RunningStudio, name: str, password: str) -> httpx.Client:
    client = served.open_client()
    answer = client.post("/login", data={"username": name, "password": password})
    assert answer.status_code == 303, answer.text
    return client


def test_each_role_has_the_rights_of_the_one_below_it() -> None:
    assert RIGHTS[Role.GUEST] < RIGHTS[Role.MEMBER] < RIGHTS[Role.ADMINISTRATOR] == frozenset(Right)
    assert Right.SPEND not in RIGHTS[Role.GUEST]
    assert all(LOCAL_USER.may(right) for right in Right)


def test_a_refusal_says_what_is_not_allowed_and_whom_to_ask() -> None:
    with pytest.raises(Forbidden, match="Your account may not use models that cost money") as refused:
        User("gil", Role.GUEST).require(Right.SPEND)
    assert "administrator" in refused.value.hint
    token = User("ann", denied=frozenset({Right.SPEND}), by_token=True)
    with pytest.raises(Forbidden, match="This token may not") as refused:
        token.require(Right.SPEND)
    assert "token" in refused.value.hint


def test_limits_of_a_user_stand_above_those_of_the_role_and_of_everybody() -> None:
    everybody = Settings(images_per_day=20, queue_limit_per_user=50)
    assert User("ann").adjust_settings(everybody) is everybody
    guest = User("gil", Role.GUEST).adjust_settings(everybody)
    assert (guest.images_per_day, guest.queue_limit_per_user, guest.disk_gb_per_user) == (20, 2, 1.0)
    own = User("gil", Role.GUEST, limits=(("images_per_day", 500),)).adjust_settings(everybody)
    assert own.images_per_day == 500


def test_a_users_file_of_an_earlier_version_opens_with_its_administrators(tmp_path: Path) -> None:
    make_users(tmp_path)
    file = tmp_path / "users.json"
    entries = json.loads(file.read_text())["users"]
    old = {name: {"hash": one["hash"], "admin": name == "root"} for name, one in entries.items()}
    file.write_text(json.dumps({"users": old}))
    users = Users(file)
    assert users.verify_password("root", PASSWORDS["root"]) == User("root", Role.ADMINISTRATOR)
    assert users.verify_password("ann", PASSWORDS["ann"]) == User("ann")
    save_user(file, "ann", "another password")
    assert Users(file).get("root") == User("root", Role.ADMINISTRATOR)


def test_a_role_of_a_newer_version_gives_the_fewest_rights(tmp_path: Path) -> None:
    make_users(tmp_path)
    file = tmp_path / "users.json"
    data = json.loads(file.read_text())
    data["users"]["ann"] |= {"role": "emperor", "limits": {"images_per_day": 3, "wishes": 9}}
    file.write_text(json.dumps(data))
    assert Users(file).get("ann") == User("ann", Role.GUEST, limits=(("images_per_day", 3),))


def test_the_last_administrator_stays(tmp_path: Path) -> None:
    users = make_users(tmp_path)
    for change in ({"role": Role.MEMBER}, {"disabled": True}):
        with pytest.raises(InvalidRequest, match="last administrator"):
            users.change("root", **change)
    with pytest.raises(InvalidRequest, match="last administrator"):
        users.remove("root")
    users.change("ann", role=Role.ADMINISTRATOR)
    users.remove("root")
    assert [entry.user.name for entry in users.list_entries()] == ["ann", "bob"]


@pytest.mark.parametrize(
    "limits", [{"port": 1}, {"images_per_day": -1}, {"images_per_day": "many"}, {"x": None, "y": 1}]
)
def test_what_is_no_limit_of_a_user_is_refused(tmp_path: Path, limits: dict[str, Any]) -> None:
    users = make_users(tmp_path)
    with pytest.raises(InvalidRequest):
        users.change("ann", limits=limits)
    assert users.get("ann") == User("ann")


def test_a_guest_makes_images_but_spends_nothing(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        served.app.users.add("gil", "the guest's password", Role.GUEST, {})
        guest = log_in(served, "gil", "the guest's password")
        assert guest.post(f"{API}/create?wait=true", json={"prompt": "a pear"}).status_code == 200
        refused = guest.post(f"{API}/create", json={"prompt": "a pear", "model": "cloud/paid"})
        assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
        assert guest.post(f"{API}/trash/empty").status_code == 403


def test_the_images_of_a_day_are_limited_whatever_becomes_of_them(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    user = User("ann", limits=(("images_per_day", 3),))
    wait_until_final(engine.submit(ASKED.replace(count=2), user))
    with pytest.raises(QuotaExceeded, match="1 is left") as refused:
        engine.submit(ASKED.replace(count=2), user)
    assert refused.value.details == {"limit": 3, "used": 2, "waiting": 0, "requested": 2}
    for asset in engine.assets(user):
        engine.asset_library.change_many(Change(trash=True), user.name, ids=[asset.id])
    engine.asset_library.empty_trash(user.name)
    wait_until_final(engine.submit(ASKED, user))
    with pytest.raises(QuotaExceeded, match="0 are left") as refused:
        engine.submit(ASKED, user)
    assert "tomorrow" in refused.value.hint
    wait_until_final(engine.submit(ASKED, User("bob", limits=(("images_per_day", 3),))))
    engine.close()


def test_images_that_are_yet_to_come_count_too(tmp_path: Path) -> None:
    backend = FakeBackend(held=True)
    engine = open_engine(tmp_path, backend)
    user = User("ann", limits=(("images_per_day", 3),))
    job = engine.submit(ASKED.replace(count=2), user)
    with pytest.raises(QuotaExceeded) as refused:
        engine.submit(ASKED.replace(count=2), user)
    assert refused.value.details["waiting"] == 2
    engine.cancel(job.id, user)
    backend.release(100)
    wait_until_final(job)
    engine.submit(ASKED.replace(count=2), user)
    engine.close()


def test_full_disk_space_stops_jobs_and_uploads(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    user = User("ann", limits=(("disk_gb_per_user", 1e-7),))
    wait_until_final(engine.submit(ASKED, user))
    with pytest.raises(QuotaExceeded, match="GiB"):
        engine.submit(ASKED, user)
    assert engine.usage.sum_disk("ann") > 107
    assert engine.usage.sum_disk("bob") == 0
    engine.close()


def test_sizes_that_an_earlier_version_did_not_write_are_filled_in(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    wait_until_final(engine.submit(ASKED.replace(count=2), User("ann")))
    used = engine.usage.sum_disk("ann")
    assert used == sum(asset.path.stat().st_size for asset in engine.assets(User("ann")))
    engine.close()
    database = Database(tmp_path / "library.db")
    with database.transaction() as connection:
        connection.execute("UPDATE assets SET bytes = 0")
    assert Usage(database).sum_disk("ann") == 0
    assert fill_sizes(database, tmp_path) == 2
    assert Usage(database).sum_disk("ann") == used
    assert fill_sizes(database, tmp_path) == 0
    database.close()


def test_waiting_jobs_are_limited_by_user(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True, backend=None) as served:
        served.app.users.change("ann", limits={"queue_limit_per_user": 1})
        client = served.open_client("ann")
        assert client.get(f"{API}/me").json()["applied"]["queue_limit_per_user"] == 1


def test_an_administrator_manages_users_over_http(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        root = served.open_client("root")
        made = root.post(f"{API}/users", json={"name": "gil", "role": "guest", "limits": {"images_per_day": 5}})
        assert made.status_code == 201
        password = made.json()["password"]
        guest = log_in(served, "gil", password)
        me = guest.get(f"{API}/me").json()
        assert (me["role"], me["applied"]["images_per_day"], me["password"]) == ("guest", 5, None)
        assert [one["name"] for one in root.get(f"{API}/users").json()["users"]] == ["ann", "bob", "gil", "root"]
        changed = root.patch(f"{API}/users/gil", json={"role": "member", "limits": {}})
        assert (changed.json()["role"], changed.json()["limits"]) == ("member", {})
        assert root.patch(f"{API}/users/gil", json={"disabled": True}).json()["disabled"]
        assert guest.get(f"{API}/me").status_code == 401
        assert root.post(f"{API}/users", json={"name": "gil"}).status_code == 400
        assert root.patch(f"{API}/users/nobody", json={"disabled": True}).status_code == 404
        assert root.delete(f"{API}/users/gil").status_code == 204
        assert root.delete(f"{API}/users/gil").status_code == 404
        assert root.delete(f"{API}/users/root").status_code == 400


def test_a_new_password_ends_logins_and_is_told_once(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        ann, root = served.open_client("ann"), served.open_client("root")
        password = root.patch(f"{API}/users/ann", json={"newPassword": True}).json()["password"]
        assert ann.get(f"{API}/me").status_code == 401
        assert log_in(served, "ann", password).get(f"{API}/me").json()["password"] is None
        assert root.get(f"{API}/users/ann").json()["password"] is None


def test_a_user_changes_the_own_password_with_the_old_one(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        ann = served.open_client("ann")
        wrong = ann.put(f"{API}/me/password", json={"old": "guess", "new": "a new password"})
        assert wrong.status_code == 403
        right = ann.put(f"{API}/me/password", json={"old": PASSWORDS["ann"], "new": "a new password"})
        assert right.status_code == 204
        log_in(served, "ann", "a new password")
        secret = served.studio.engine.tokens.create("bob", "all", TokenScope.SPEND)
        by_token = served.open_client().put(
            f"{API}/me/password",
            json={"old": PASSWORDS["bob"], "new": "a new password"},
            headers={"Authorization": f"Bearer {secret}"},
        )
        assert by_token.status_code == 403


def test_a_removed_user_loses_tokens_and_logins_at_once(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        bearer = {"Authorization": f"Bearer {served.studio.engine.tokens.create('ann', 'x', TokenScope.SPEND)}"}
        ann, root, plain = served.open_client("ann"), served.open_client("root"), served.open_client()
        assert plain.get(f"{API}/me", headers=bearer).status_code == 200
        assert root.delete(f"{API}/users/ann").status_code == 204
        assert plain.get(f"{API}/me", headers=bearer).status_code == 401
        assert ann.get(f"{API}/me").status_code == 401
        assert served.studio.engine.tokens.list_tokens("ann") == []


def test_logins_are_listed_and_ended_by_their_user_and_by_administrators(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        first, second, bob = (served.open_client(name) for name in ("ann", "ann", "bob"))
        listed = first.get(f"{API}/sessions").json()["sessions"]
        assert {one["user"] for one in listed} == {"ann"}
        [other] = [one["id"] for one in listed if not one["own"]]
        assert bob.delete(f"{API}/sessions/{other}").status_code == 404
        assert bob.get(f"{API}/sessions?everybody=true").status_code == 403
        assert first.delete(f"{API}/sessions/{other}").status_code == 204
        assert second.get(f"{API}/me").status_code == 401
        assert first.get(f"{API}/me").status_code == 200
        root = served.open_client("root")
        everybody = root.get(f"{API}/sessions?everybody=true").json()["sessions"]
        assert {one["user"] for one in everybody} == {"ann", "bob", "root"}
        assert root.post(f"{API}/users/bob/sessions/end").json() == {"ended": 1}
        assert bob.get(f"{API}/me").status_code == 401
        third = served.open_client("ann")
        assert third.post(f"{API}/sessions/end").json() == {"ended": 1}
        assert first.get(f"{API}/me").status_code == 401
        assert third.get(f"{API}/me").status_code == 200


def test_logins_are_listed_after_a_restart_and_those_of_earlier_versions_when_they_are_used(tmp_path: Path) -> None:
    users = make_users(tmp_path)
    value = Cookies(users, b"k" * 32).issue_cookie(User("ann"), "a browser", "192.0.2.1")
    later = Cookies(users, b"k" * 32)
    [(session_id, session)] = later.list_sessions("ann").items()
    assert (session.client, session.address, later.find_session_id(value)) == ("a browser", "192.0.2.1", session_id)
    assert value.split(".")[0] not in users.sessions_file.read_text()
    assert stat.S_IMODE(users.sessions_file.stat().st_mode) == 0o600
    users.sessions_file.write_text("broken")
    unknown = Cookies(users, b"k" * 32)
    assert unknown.list_sessions("ann") == {}
    assert unknown.read(value) == User("ann")
    assert list(unknown.list_sessions("ann")) == [session_id]
    unknown.end_session(session_id)
    assert unknown.read(value) is None
    assert Cookies(users, b"k" * 32).read(value) is None
    with pytest.raises(NotFound):
        unknown.end_session(session_id)


def test_without_accounts_the_routes_of_users_say_so(tmp_path: Path) -> None:
    with serve_dialects(tmp_path) as served:
        client = served.open_client()
        me = client.get(f"{API}/me").json()
        assert (me["role"], me["accounts"]) == ("administrator", False)
        for answer in (client.get(f"{API}/users"), client.get(f"{API}/sessions")):
            assert (answer.status_code, answer.json()["code"]) == (409, "NOT_CONFIGURED")


def test_the_audit_log_tells_who_did_what_and_no_secret(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        root = served.open_client("root")
        served.open_client().post("/login", data={"username": "ann", "password": "a wrong guess"})
        root.post(f"{API}/users", json={"name": "gil", "password": "the guest's password"})
        root.post(f"{API}/create?wait=true", json={"prompt": "a SECRETWORD apple", "model": "cloud/paid"})
        root.get("/logout")
        again = served.open_client("root")
        entries = again.get(f"{API}/audit").json()["entries"]
        told = [(entry["event"], entry["user"]) for entry in reversed(entries)]
        assert told == [
            ("login", "root"),
            ("login_failed", "ann"),
            ("user_added", "root"),
            ("paid_job", "root"),
            ("logout", "root"),
            ("login", "root"),
        ]
        assert again.get(f"{API}/audit?event=user_added").json()["entries"][0]["of"] == "gil"
        assert again.get(f"{API}/audit?user=ann&limit=1").json()["entries"][0]["event"] == "login_failed"
        assert served.open_client("ann").get(f"{API}/audit").status_code == 403
        text = (tmp_path / "logs" / "audit.jsonl").read_text()
        assert not any(secret in text for secret in ("SECRETWORD", "guess", "the guest's password"))


def test_the_audit_log_is_private_and_goes_on_over_full_and_broken_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.engine.audit._MAX_BYTES", 500)
    log = AuditLog(tmp_path)
    for number in range(20):
        log.record(AuditEvent.LOGIN, f"user {number}", forged='"}\n{"event": "user_added"')
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600
    assert [entry["user"] for entry in log.list_latest(7)] == [f"user {number}" for number in range(19, 12, -1)]
    assert log.list_latest(50, event="user_added") == []
    with (tmp_path / "audit.jsonl").open("a") as file:
        file.write('{"time": "cut of')
    assert log.list_latest(1)[0]["user"] == "user 19"
    log.close()
