"""Several servers of one's own behind one setting: who is asked, and what happens when one is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from providers import FakeKeys, render_images
from vendor_server import VendorServer, run_vendor_server
from vendors.compatible import CompatibleServer

from studio.core.errors import ProviderError, Unreachable
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


def test_another_error_is_not_the_servers_absence() -> None:
    pool = AddressPool()
    with pytest.raises(ProviderError), pool.lease(["a", "b"]):
        raise ProviderError("refused")
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


def test_without_any_server_the_job_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_wire, "_MAX_ATTEMPTS", 1)
    service = Service(PROVIDER, FakeKeys(), lambda: f"{GONE},http://127.0.0.1:10/v1")
    with pytest.raises(Unreachable):
        render_images(service, model=MODEL)
    service.close()
