"""Logging in with an OpenID provider, over real connections, also where the provider or the browser cheats."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from openid_server import CLIENT_ID, CLIENT_SECRET, Provider, make_key, serve_provider
from serving import RunningStudio, serve_studio

from studio.core.errors import Forbidden, NotConfigured, ProviderError, StudioError
from studio.core.rights import Right, Role
from studio.serving.cookies import COOKIE_NAME
from studio.serving.openid import MAX_ANSWER, PENDING_SECONDS, OpenIdClient, OpenIdSettings
from studio.serving.openid_routes import MAX_BEGUN
from studio.serving.visitors import Visitors, make_openid_name

HTML = {"Accept": "text/html"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serve_provider() as found:
        yield found


def make_client(provider: Provider, **options: Any) -> OpenIdClient:
    settings = OpenIdSettings(
        provider=provider.address,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        title="Test provider",
        administrators=frozenset({"the creator"}),
    )
    return OpenIdClient(settings, **options)


@pytest.fixture
def served(tmp_path: Path, provider: Provider) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path, openid=make_client(provider)) as found:
        yield found


def log_in(client: httpx.Client, provider: Provider, target: str = "/") -> httpx.Response:
    """The whole way: to the provider, the user's consent, and back."""
    begun = client.get("/login/openid", params={"next": target})
    assert begun.status_code == 303, begun.text
    return client.get(provider.authorize(begun.headers["location"]))


def test_a_user_of_the_provider_is_logged_in_and_led_on(served: RunningStudio, provider: Provider) -> None:
    client = served.open_client()
    turned = client.get("/?view=light", headers=HTML)
    assert turned.headers["location"].startswith("/login?next=")
    assert "Log in with Test provider" in client.get("/login").text
    answer = log_in(client, provider, "/?view=light")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?view=light")
    assert client.get("/config").status_code == 200
    assert client.post("/logout").status_code == 303
    assert client.get("/config").status_code == 401


def test_the_same_subject_is_the_same_user_and_another_sees_nothing_of_it(
    served: RunningStudio, provider: Provider
) -> None:
    ann, again, bob = (served.open_client() for _ in range(3))
    log_in(ann, provider)
    made = ann.post("/api/image-studio/create", params={"wait": "true"}, json={"prompt": "x", "model": "fake"}).json()
    log_in(again, provider)
    assert again.get(f"/api/image-studio/jobs/{made['jobId']}").status_code == 200
    provider.subject = "somebody else"
    log_in(bob, provider)
    assert bob.get(f"/api/image-studio/jobs/{made['jobId']}").status_code == 404
    assert bob.get("/api/image-studio/jobs").json()["jobs"] == []


def test_only_the_named_subject_is_an_administrator(tmp_path: Path) -> None:
    visitors = Visitors(None, tmp_path, guests=False, administrators=frozenset({"the creator"}))
    creator, other = visitors.get(make_openid_name("the creator")), visitors.get(make_openid_name("another"))
    assert creator is not None
    assert other is not None
    assert creator.role is Role.ADMINISTRATOR
    assert other.role is Role.MEMBER
    assert not other.may(Right.SPEND)
    assert visitors.get("openid-") is None
    assert visitors.get("guest-0123456789abcdef") is None


def _resign(provider: Provider, **options: Any) -> Callable[[dict[str, Any]], str]:
    return lambda claims: jwt.encode(claims, **options)


def _sign_with_the_public_key(provider: Provider) -> Callable[[dict[str, Any]], str]:
    """HS256 with what everybody knows as the secret: PyJWT refuses to make one, so it is made by hand."""
    import base64
    import hmac

    def sign(claims: dict[str, Any]) -> str:
        parts = [
            base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=")
            for one in ({"alg": "HS256", "kid": "one"}, claims)
        ]
        secret = json.dumps(provider.list_keys()["keys"][0]).encode()
        mac = hmac.digest(secret, ".".join(parts).encode(), "sha256")
        return ".".join((*parts, base64.urlsafe_b64encode(mac).decode().rstrip("=")))

    return sign


CHEATS: dict[str, Callable[[Provider], object]] = {
    "another login's nonce": lambda p: setattr(p, "change", lambda c: c.update(nonce="another")),
    "no nonce": lambda p: setattr(p, "change", lambda c: c.pop("nonce")),
    "another program's token": lambda p: setattr(p, "change", lambda c: c.update(aud="another-program")),
    "several audiences and no party": lambda p: setattr(p, "change", lambda c: c.update(aud=[CLIENT_ID, "other"])),
    "another party": lambda p: setattr(p, "change", lambda c: c.update(azp="other")),
    "another issuer": lambda p: setattr(p, "change", lambda c: c.update(iss="https://huggingface.co.evil")),
    "expired": lambda p: setattr(p, "change", lambda c: c.update(exp=int(time.time()) - 3600)),
    "from the future": lambda p: setattr(p, "change", lambda c: c.update(iat=int(time.time()) + 3600)),
    "no end": lambda p: setattr(p, "change", lambda c: c.pop("exp")),
    "nobody": lambda p: setattr(p, "change", lambda c: c.update(sub="")),
    "a subject that is no text": lambda p: setattr(p, "change", lambda c: c.update(sub=7)),
    "unsigned": lambda p: setattr(p, "sign", _resign(p, key=None, algorithm="none", headers={"kid": "one"})),
    "signed with the client's secret": lambda p: setattr(
        p, "sign", _resign(p, key=CLIENT_SECRET * 2, algorithm="HS256", headers={"kid": "one"})
    ),
    "signed with the public key as a secret": lambda p: setattr(p, "sign", _sign_with_the_public_key(p)),
    "signed by another": lambda p: setattr(
        p,
        "sign",
        _resign(
            p,
            key=make_key(2),
            algorithm="RS256",
            headers={"kid": "one"},
        ),
    ),
    "an unknown key": lambda p: setattr(p, "sign", _resign(p, key=p.key, algorithm="RS256", headers={"kid": "two"})),
    "no token": lambda p: p.answers.update({"/oauth/token": (200, {"access_token": "x"})}),
    "a token that is none": lambda p: setattr(p, "sign", lambda claims: "a.b"),
    "a list": lambda p: p.answers.update({"/oauth/token": (200, [])}),
    "no JSON": lambda p: p.answers.update({"/oauth/token": (200, b"<html>")}),
    "too long": lambda p: p.answers.update({"/oauth/token": (200, b" " * (MAX_ANSWER + 1))}),
    "a failure": lambda p: p.answers.update({"/oauth/token": (500, {})}),
    "another place": lambda p: p.answers.update({"/oauth/token": (307, {})}),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_token_that_is_not_right_is_refused(cheat: str, provider: Provider) -> None:
    CHEATS[cheat](provider)
    with pytest.raises(StudioError) as refused:
        log_in_at(make_client(provider), provider)
    assert refused.value.status in (403, 502)
    assert "/elsewhere" not in provider.seen


def test_a_token_that_is_not_right_logs_nobody_in(served: RunningStudio, provider: Provider) -> None:
    client = served.open_client()
    CHEATS["signed by another"](provider)
    assert log_in(client, provider).status_code == 403
    assert COOKIE_NAME not in client.cookies
    assert client.get("/config").status_code == 401


def test_a_provider_that_changed_its_keys_is_understood(served: RunningStudio, provider: Provider) -> None:
    clock = Clock()
    client = make_client(provider, clock=clock)
    assert log_in_at(client, provider) == provider.subject
    provider.key = make_key(2)
    provider.sign = lambda claims: jwt.encode(claims, provider.key, algorithm="RS256", headers={"kid": "new"})
    keys = provider.list_keys()
    keys["keys"][0]["kid"] = "new"
    provider.answers["/oauth/jwks"] = (200, keys)
    clock.now += 61
    assert log_in_at(client, provider) == provider.subject


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def begin(client: OpenIdClient, provider: Provider) -> tuple[str, str]:
    """(state, code) of a login that the user agreed to."""
    address, state = client.begin("http://127.0.0.1/login/callback", "/")
    back = httpx.URL(provider.authorize(address))
    assert back.params["state"] == state
    return state, back.params["code"]


def test_a_login_counts_once_in_its_own_browser_and_for_ten_minutes(provider: Provider) -> None:
    clock = Clock()
    client = make_client(provider, clock=clock)
    state, code = begin(client, provider)
    with pytest.raises(Forbidden):  # the victim's browser was led to the attacker's login
        client.finish(state, "another", code)
    with pytest.raises(Forbidden):
        client.finish(state, state, code)
    state, code = begin(client, provider)
    clock.now += PENDING_SECONDS + 1
    with pytest.raises(Forbidden):
        client.finish(state, state, code)
    with pytest.raises(Forbidden):
        client.finish("", "", code)
    state, code = begin(client, provider)
    assert client.finish(state, state, code) == (provider.subject, "/")
    with pytest.raises(Forbidden):
        client.finish(state, state, code)


def test_a_callback_from_nowhere_logs_nobody_in(served: RunningStudio, provider: Provider) -> None:
    client = served.open_client()
    for query in ("", "?code=x", "?code=x&state=y", "?error=access_denied&error_description=<script>"):
        answer = client.get(f"/login/callback{query}")
        assert answer.status_code in (403, 500)
        assert "<script>" not in answer.text
    begun = client.get("/login/openid")
    back = provider.authorize(begun.headers["location"])
    assert served.open_client().get(back).status_code == 403, "another browser, without the cookie"


def test_a_login_leads_to_no_other_site(served: RunningStudio, provider: Provider) -> None:
    for target in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"):
        assert log_in(served.open_client(), provider, target).headers["location"] == "/"


def test_nobody_begins_logins_without_an_end(served: RunningStudio, provider: Provider) -> None:
    ann, flood = served.open_client(), served.open_client()
    begun = ann.get("/login/openid", params={"next": "/" + "x" * 3000})
    answers = [flood.get("/login/openid").status_code for _ in range(MAX_BEGUN)]
    assert answers == [303] * (MAX_BEGUN - 1) + [429]
    assert ann.get(provider.authorize(begun.headers["location"])).headers["location"] == "/", "hers goes on"


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_a_description_that_names_other_hosts_is_refused(name: str, provider: Provider) -> None:
    facts = {**provider.describe(), name: "http://127.0.0.1:1/steal"}
    provider.answers["/.well-known/openid-configuration"] = (200, facts)
    client = make_client(provider)
    with pytest.raises(StudioError):
        log_in_at(client, provider)
    assert provider.seen[-1] != "/steal"


def log_in_at(client: OpenIdClient, provider: Provider) -> str:
    state, code = begin(client, provider)
    return client.finish(state, state, code)[0]


def test_a_description_by_another_name_is_refused(provider: Provider) -> None:
    facts = {**provider.describe(), "issuer": "https://huggingface.co"}
    provider.answers["/.well-known/openid-configuration"] = (200, facts)
    with pytest.raises(ProviderError, match="another name"):
        begin(make_client(provider), provider)


def test_without_the_provider_the_page_says_so(tmp_path: Path, provider: Provider) -> None:
    gone = make_client(provider)
    gone.settings = dataclasses.replace(gone.settings, provider="http://127.0.0.1:9")
    with serve_studio(tmp_path, openid=gone) as served:
        answer = served.open_client().get("/login/openid")
        assert answer.status_code == 504
        assert "does not answer" in answer.text


@pytest.mark.parametrize("address", ["", "http://provider.example", "ftp://127.0.0.1", "huggingface.co"])
def test_a_provider_is_reached_by_tls_or_on_this_machine(address: str) -> None:
    with pytest.raises(NotConfigured):
        OpenIdSettings(provider=address, client_id="a", client_secret="b")
