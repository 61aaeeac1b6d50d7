"""Users, passwords, cookies, and what happens to those who guess."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from serving import PASSWORDS, RunningStudio, make_users, serve_studio

from studio.core.errors import InvalidRequest, NotConfigured, StorageFailed
from studio.core.rights import Role
from studio.core.settings import Settings
from studio.core.user import User
from studio.serving import users as users_module
from studio.serving.cookies import COOKIE_LIFETIME, COOKIE_NAME, Cookies
from studio.serving.login import MAX_FAILURES, MAX_FAILURES_PER_ADDRESS, sanitize_target
from studio.serving.throttle import Throttle
from studio.serving.users import Users, add_user, load_secret, require_users, save_user


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path, users=True) as found:
        yield found


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def log_in(client: httpx.Client, name: str, password: str) -> httpx.Response:
    return client.post("/login", data={"username": name, "password": password})


# the users file


def test_the_file_holds_hashes_and_is_the_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    users = make_users(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert all(password not in file.read_text() for password in PASSWORDS.values())
    assert "$argon2id$" in file.read_text()
    assert users.verify_password("ann", PASSWORDS["ann"]) == User("ann")
    assert users.verify_password("root", PASSWORDS["root"]) == User("root", Role.ADMINISTRATOR)
    assert users.verify_password("ann", PASSWORDS["bob"]) is None
    assert users.verify_password("nobody", PASSWORDS["ann"]) is None
    assert [path.name for path in tmp_path.iterdir()] == ["users.json"]


def test_a_hash_takes_the_memory_and_time_that_argon2_recommends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_module, "PasswordHasher", PasswordHasher)  # tests.serving makes do with less
    make_users(tmp_path)
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in (tmp_path / "users.json").read_text()


def test_a_user_added_later_may_log_in_at_once(tmp_path: Path) -> None:
    users = make_users(tmp_path)
    save_user(tmp_path / "users.json", "carol", "carol's password")
    assert users.verify_password("carol", "carol's password") == User("carol")


@pytest.mark.parametrize("name", ["", " ", "a b", "../x", "a|b", "ä", "x" * 65, "-a", "a\n"])
def test_a_name_that_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest):
        save_user(tmp_path / "users.json", name, "a fine password")


def test_short_passwords_and_twin_names_are_refused(tmp_path: Path) -> None:
    make_users(tmp_path)
    for name, password in (("dora", "short"), ("dora", "x" * 2000), ("Ann", "a fine password")):
        with pytest.raises(InvalidRequest):
            save_user(tmp_path / "users.json", name, password)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"users": {}}', '{"users": {"a": 1}}', '{"users": []}', "\0"])
def test_a_broken_or_empty_file_says_how_to_add_a_user(tmp_path: Path, content: str) -> None:
    (tmp_path / "users.json").write_text(content)
    with pytest.raises(NotConfigured) as refused:
        Users(tmp_path / "users.json")
    assert "--add-user" in refused.value.hint


def test_the_flag_reads_the_password_from_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.json"
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped password\n"))
    add_user(Settings(auth_file=file), "eve", Role.ADMINISTRATOR)
    assert Users(file).verify_password("eve", "piped password") == User("eve", Role.ADMINISTRATOR)
    assert "--auth-file" in capsys.readouterr().out


def test_a_disk_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        save_user(tmp_path / "file" / "users.json", "ann", "a fine password")


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"share": True}, {"host": "192.168.1.5"}, {"host": "::"}])
def test_a_shared_studio_needs_users(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(NotConfigured) as refused:
        require_users(Settings(**settings), None)  # type: ignore[arg-type]
    assert "--add-user" in refused.value.hint
    assert "\n" not in refused.value.message + refused.value.hint
    require_users(Settings(**settings), make_users(tmp_path))  # type: ignore[arg-type]
    require_users(Settings(), None)


def test_the_signing_key_is_random_private_and_kept(tmp_path: Path) -> None:
    first = load_secret(tmp_path / "a.key")
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    os.chmod(tmp_path / "a.key", 0o644)
    assert load_secret(tmp_path / "a.key") == first
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert load_secret(tmp_path / "b.key") != first
    (tmp_path / "c.key").write_bytes(b"short")
    assert len(load_secret(tmp_path / "c.key")) >= 32


# cookies


def test_a_cookie_ends_with_time_logout_a_new_password_and_a_changed_letter(tmp_path: Path) -> None:
    users, clock = make_users(tmp_path), Clock()
    cookies = Cookies(users, b"k" * 32, clock=clock)
    value = cookies.issue_cookie(User("ann"))
    assert cookies.read(value) == User("ann")
    assert Cookies(users, b"j" * 32, clock=clock).read(value) is None
    for place in range(len(value)):
        for letter in "ABCDEFGHabcdefgh0123-_.= ":
            changed = value[:place] + letter + value[place + 1 :]
            assert cookies.read(changed) == (User("ann") if changed == value else None)
    assert cookies.read(value + "=") is None
    clock.now += COOKIE_LIFETIME + 1
    assert cookies.read(value) is None
    fresh, other = cookies.issue_cookie(User("ann")), cookies.issue_cookie(User("ann"))
    cookies.end(fresh)
    assert (cookies.read(fresh), cookies.read(other)) == (None, User("ann"))
    save_user(tmp_path / "users.json", "ann", "another password")
    assert cookies.read(other) is None


def test_a_logged_out_cookie_stays_so_when_the_studio_starts_again(tmp_path: Path) -> None:
    users, clock = make_users(tmp_path), Clock()
    cookies = Cookies(users, b"k" * 32, clock=clock)
    ended, other = cookies.issue_cookie(User("ann")), cookies.issue_cookie(User("ann"))
    cookies.end(ended)
    again = Cookies(users, b"k" * 32, clock=clock)
    assert (again.read(ended), again.read(other)) == (None, User("ann"))
    clock.now += COOKIE_LIFETIME + 1
    again.end(again.issue_cookie(User("ann")))
    kept = json.loads(users.ended_file.read_text())
    assert len(kept) == 1, "what has ended by itself is forgotten"
    assert users.ended_file.stat().st_mode & 0o077 == 0


def test_a_list_of_logouts_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    users = make_users(tmp_path)
    users.ended_file.write_text('{"half')
    with pytest.raises(NotConfigured, match="ended") as refused:
        Cookies(users, b"k" * 32)
    assert ".key" in refused.value.hint


def test_a_logout_holds_even_when_the_disk_refuses_it(tmp_path: Path) -> None:
    users = make_users(tmp_path)
    cookies = Cookies(users, b"k" * 32)
    users.ended_file.mkdir()
    value = cookies.issue_cookie(User("ann"))
    cookies.end(value)
    assert cookies.read(value) is None


def test_a_cookie_says_what_the_file_says_now(tmp_path: Path) -> None:
    users = make_users(tmp_path)
    cookies = Cookies(users, b"k" * 32)
    value = cookies.issue_cookie(User("root", Role.ADMINISTRATOR))
    data = json.loads((tmp_path / "users.json").read_text())
    data["users"]["root"]["role"] = "member"
    (tmp_path / "users.json").write_text(json.dumps(data))
    assert cookies.read(value) == User("root")
    del data["users"]["root"]
    (tmp_path / "users.json").write_text(json.dumps(data))
    assert cookies.read(value) is None


def test_a_short_key_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32"):
        Cookies(make_users(tmp_path), b"short")


@given(st.text(max_size=200))
def test_no_text_is_a_cookie(value: str) -> None:
    class Nobody:
        ended_file = sessions_file = Path("no such file")

        def fingerprint(self, name: str) -> bytes:
            return b""

        def get(self, name: str) -> User | None:
            return User(name)

    assert Cookies(Nobody(), b"k" * 32).read(value) is None  # type: ignore[arg-type]


# the throttle


def test_the_throttle_lets_go_when_the_window_has_passed() -> None:
    clock = Clock()
    throttle = Throttle(limit=2, window=300, clock=clock)
    assert [throttle.begin("a"), throttle.begin("a")] == [0, 0]
    assert throttle.begin("a") == 300
    assert throttle.begin("b") == 0
    clock.now += 301
    assert throttle.begin("a") == 0
    throttle.record_success("a", forget=True)
    throttle.record_success("never seen", forget=True)
    assert [throttle.begin("a"), throttle.begin("a")] == [0, 0]


def test_the_throttle_does_not_grow_without_end() -> None:
    throttle = Throttle(limit=1, capacity=10)
    for key in range(1000):
        throttle.begin(key)
    assert throttle.begin(999) > 0
    assert throttle.begin(0) == 0


# the page


def test_the_login_page_works_without_a_script_and_leads_back(served: RunningStudio) -> None:
    client = served.open_client()
    turned = client.get("/?view=light", headers={"Accept": "text/html"})
    assert turned.headers["location"] == "/login?next=/%3Fview%3Dlight"
    page = client.get(turned.headers["location"])
    assert "<script" not in page.text
    assert 'value="/?view=light"' in page.text
    answer = client.post("/login", data={"username": "ann", "password": PASSWORDS["ann"], "next": "/?view=light"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?view=light")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "Secure" not in cookie
    assert client.get("/").status_code == 200
    assert client.get("/login").status_code == 303


def test_logout_ends_the_cookie_even_for_who_kept_a_copy(served: RunningStudio) -> None:
    client = served.open_client("ann")
    kept = client.cookies[COOKIE_NAME]
    assert client.post("/logout").headers["location"] == "/login"
    thief = served.open_client(cookies={COOKIE_NAME: kept})
    assert thief.get("/config").status_code == 401


def test_another_site_cannot_log_anybody_out(served: RunningStudio) -> None:
    client = served.open_client("ann")
    client.get("/logout", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert client.get("/config").status_code == 200


def test_the_sixth_wrong_password_is_not_even_looked_at(served: RunningStudio) -> None:
    client = served.open_client()
    assert [log_in(client, "ann", f"wrong {n}").status_code for n in range(MAX_FAILURES)] == [401] * MAX_FAILURES
    answer = log_in(client, "ann", PASSWORDS["ann"])
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 300
    assert log_in(client, "ANN", PASSWORDS["ann"]).status_code == 429
    assert client.get("/api/image-studio/models", headers=basic("ann", PASSWORDS["ann"])).status_code == 429
    assert log_in(client, "bob", PASSWORDS["bob"]).status_code == 303


def test_many_names_from_one_address_are_stopped_too(served: RunningStudio) -> None:
    client = served.open_client()
    found = [log_in(client, f"user{n}", "wrong password").status_code for n in range(MAX_FAILURES_PER_ADDRESS + 1)]
    assert found == [401] * MAX_FAILURES_PER_ADDRESS + [429]


def test_a_right_password_forgives_the_wrong_ones(served: RunningStudio) -> None:
    client = served.open_client()
    for _ in range(3):
        assert [log_in(client, "ann", "wrong").status_code for _ in range(MAX_FAILURES - 1)] == [401] * (
            MAX_FAILURES - 1
        )
        assert log_in(client, "ann", PASSWORDS["ann"]).status_code == 303
        client.cookies.clear()


def test_a_script_may_use_http_basic_on_the_api_only(served: RunningStudio) -> None:
    client = served.open_client()
    good = basic("ann", PASSWORDS["ann"])
    assert client.get("/api/image-studio/models", headers=good).status_code == 200
    assert client.get("/config", headers=good).status_code == 401
    assert client.post("/api/image-studio/create", json={"prompt": "x"}, headers=good).status_code == 202
    for header in (
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    ):
        assert client.get("/api/image-studio/models", headers={"Authorization": header}).status_code == 401
    assert client.get("/api/image-studio/models", headers=basic("ann", "wrong")).status_code == 401


def test_a_remembered_basic_login_ends_with_the_password(served: RunningStudio, tmp_path: Path) -> None:
    client, good = served.open_client(), basic("ann", PASSWORDS["ann"])
    assert client.get("/api/image-studio/models", headers=good).status_code == 200
    save_user(tmp_path / "users.json", "ann", "another password")
    assert client.get("/api/image-studio/models", headers=good).status_code == 401


def test_what_was_typed_comes_back_as_text(served: RunningStudio) -> None:
    answer = log_in(served.open_client(), '"><img src=x onerror=alert(1)>', "wrong")
    assert "<img" not in answer.text
    assert served.open_client().get("/login?next=/%22%3E%3Cscript%3E").text.count("<script") == 0


@pytest.mark.parametrize(
    "body", [b"", b"&" * 60_000, b"username=ann", b"\xff\xfe=\xff", b"username[]=a&password=" + b"x" * 50_000]
)
def test_an_odd_form_is_a_failed_login(served: RunningStudio, body: bytes) -> None:
    answer = served.open_client().post(
        "/login", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 401


def test_a_huge_form_is_refused(served: RunningStudio) -> None:
    assert served.open_client().post("/login", content=b"x" * 100_000).status_code == 413


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\nb", "", "/login", "/ä"],
)
def test_no_login_leads_to_another_site(target: str) -> None:
    assert sanitize_target(target) == "/"


def test_an_own_path_is_led_back_to() -> None:
    assert sanitize_target("/?view=1") == "/?view=1"


def test_without_users_login_and_logout_lead_to_the_page(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        client = served.open_client()
        assert client.get("/login").headers["location"] == "/"
        assert client.post("/login").headers["location"] == "/"
        assert client.get("/logout").headers["location"] == "/"
