"""Several servers of one's own behind one setting: who is asked, and what happens when one is gone."""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Iterator

import pytest
from providers import FakeKeys, render_images
from vendor_server import ReceivedRequest, Reply, VendorServer, run_vendor_server
from vendors.compatible import CompatibleServer

from studio.core.errors import ContentRefused, InvalidRequest, ProviderError, RateLimited, Unreachable
from studio.providers.common import http_wire
from studio.providers.common.address_pool import REST_SECONDS, AddressPool, split_addresses
from studio.providers.common.service_backend import Service
from studio.providers.compatible import PROVIDER

GONE = "http://127.0.0.1:9/v1"
MODEL = "compatible/default"


@pytest.fixture
def servers() -> Iterator[list[VendorServer]]:
    with run_vendor_server(CompatibleServer()) as one, run_vendor_server(CompatibleServer()) as two:
        yield [one, two]


def test_passes_go_to_the_server_with_the_least_to_do() -> None:
    pool = AddressPool()
    with pool.lease(["a", "b"]) as first, pool.lease(["a", "b"]) as second, pool.lease(["a", "b"]) as third:
        assert {first, second} == {"a", "b"}
        assert third in ("a", "b")
    with pool.lease(["a", "b"]) as again:
        assert again == "a"


def test_a_server_that_did_not_answer_rests_for_a_while() -> None:
    now = [100.0]
    pool = AddressPool(clock=lambda: now[0])
    with pytest.raises(Unreachable), pool.lease(["a", "b"]):
        raise Unreachable("gone")
    for _ in range(3):
        with pool.lease(["a", "b"]) as address:
            assert address == "b"
    with pool.lease(["a"]) as address:
        assert address == "a", "there is no other"
    now[0] += REST_SECONDS
    with pool.lease(["a", "b"]) as address:
        assert address == "a"


@pytest.mark.parametrize("error", [ContentRefused("no"), RateLimited("later")])
def test_a_refusal_is_not_the_servers_absence(error: ProviderError) -> None:
    pool = AddressPool()
    with pytest.raises(ProviderError), pool.lease(["a", "b"]):
        raise error
    with pool.lease(["a", "b"]) as address:
        assert address == "a"


def test_addresses_are_separated_by_commas() -> None:
    assert split_addresses(" http://a/v1 ,http://b/v1,, ") == ["http://a/v1", "http://b/v1"]


def test_a_pass_goes_to_another_server_when_one_is_gone(
    servers: list[VendorServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_wire, "_MAX_ATTEMPTS", 1)
    service = Service(PROVIDER, FakeKeys(), lambda: f"{GONE},{servers[0].url}/v1")
    assert len(render_images(service, model=MODEL)) == 1
    assert len(render_images(service, model=MODEL)) == 1
    service.close()


BROKEN = {
    "an internal error": Reply(status=500, body={"error": {"message": "out of memory"}}),
    "trouble": Reply(status=502, body=b"<html>Bad gateway</html>"),
    "still loading": Reply(status=503, body={"error": {"message": "model is loading"}}, headers={"Retry-After": "30"}),
    "too many requests": Reply(status=429, headers={"Retry-After": "30"}),
    "no JSON": Reply(body=b"<html>It works!</html>"),
    "a list": Reply(body=[]),
    "no image": Reply(body={"data": []}),
    "an image that is none": Reply(body={"data": [{"b64_json": "aGVsbG8="}]}),
    "half an answer": Reply(body={"data": []}, short=True),
    "nothing": Reply(drop=True),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_pass_goes_to_another_server_when_one_is_broken_or_busy(
    kind: str, servers: list[VendorServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_wire, "_get_retry_delay", lambda state: 0.0)
    bad, good = servers
    bad.fail(BROKEN[kind], times=10)
    service = Service(PROVIDER, FakeKeys(), lambda: f"{bad.url}/v1,{good.url}/v1")
    assert len(render_images(service, model=MODEL)) == 1
    assert len(bad.find_requests("/images/")) in (1, 2), "one that breaks off is asked again at most once"
    assert len(good.find_requests("/images/")) == 1
    service.close()


@pytest.mark.parametrize("kind", ["no JSON", "an internal error"])
def test_a_broken_server_is_left_alone_for_a_while(
    kind: str, servers: list[VendorServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_wire, "_get_retry_delay", lambda state: 0.0)
    bad, good = servers
    bad.fail(BROKEN[kind], times=10)
    service = Service(PROVIDER, FakeKeys(), lambda: f"{bad.url}/v1,{good.url}/v1")
    for _ in range(4):
        assert len(render_images(service, model=MODEL)) == 1
    assert len(bad.find_requests("/images/")) == 1
    assert len(good.find_requests("/images/")) == 4
    service.close()


def test_what_is_wrong_with_the_request_is_asked_of_no_other_server(servers: list[VendorServer]) -> None:
    bad, good = servers
    bad.fail(Reply(status=422, body={"error": {"message": "the prompt is too long"}}), times=10)
    service = Service(PROVIDER, FakeKeys(), lambda: f"{bad.url}/v1,{good.url}/v1")
    with pytest.raises(InvalidRequest):
        render_images(service, model=MODEL)
    assert good.find_requests("/images/") == []
    service.close()


def test_two_misbehaving_servers_cost_no_image_of_many(
    servers: list[VendorServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them fails now and then, in turn with answers; passes run side by side."""
    monkeypatch.setattr(http_wire, "_get_retry_delay", lambda state: 0.0)
    kinds = list(BROKEN.values())
    answer = CompatibleServer()

    def misbehave(seen: ReceivedRequest) -> Reply:
        number = next(counter)
        return kinds[number // 3 % len(kinds)] if number % 3 == 0 else answer(seen)

    counter = itertools.count()
    with run_vendor_server(misbehave) as first, run_vendor_server(misbehave) as second:
        addresses = ",".join(f"{one.url}/v1" for one in (first, second, servers[0]))
        service = Service(PROVIDER, FakeKeys(), lambda: addresses)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda seed: render_images(service, model=MODEL, seed=seed), range(40)))
        service.close()
    assert [len(images) for images in made] == [1] * 40


def test_without_any_server_the_job_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_wire, "_MAX_ATTEMPTS", 1)
    service = Service(PROVIDER, FakeKeys(), lambda: f"{GONE},http://127.0.0.1:10/v1")
    with pytest.raises(Unreachable):
        render_images(service, model=MODEL)
    service.close()
