"""What every cloud service must keep to, tried on each of them over a real connection."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import vendors
from providers import ODD_REPLIES, SENTINEL, FakeContext, FakeKeys, expect_error, make_service, render_images
from signed_images import make_asset
from vendor_server import Reply, VendorServer, make_png, run_vendor_server
from vendors import Vendor

from studio.core.errors import (
    MAY_BE_BILLED,
    InvalidRequest,
    JobCancelled,
    NotConfigured,
    ProviderError,
    RateLimited,
    Unreachable,
)
from studio.core.model import Feature
from studio.core.provenance import SigningOrder
from studio.core.request import GenerationRequest
from studio.engine.plugins import discover
from studio.providers.common.service_backend import Service
from studio.trust.sign import Credentials

VENDORS: dict[str, Vendor] = {
    name: importlib.import_module(f"vendors.{name}").VENDOR
    for name in sorted(found.name for found in pkgutil.iter_modules(vendors.__path__))
}
STATUSES = [
    pytest.param(vendor, status, body, kind, id=f"{name}-{status}-{kind}")
    for name, vendor in VENDORS.items()
    for status, body, kind in vendor.statuses
]


@pytest.fixture(params=list(VENDORS))
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return VENDORS[request.param]


@pytest.fixture
def server(vendor: Vendor) -> Iterator[VendorServer]:
    with run_vendor_server(vendor.stand_in()) as server:
        yield server


@pytest.fixture
def found(vendor: Vendor, server: VendorServer) -> Service:
    return make_service(vendor.spec, server, path=vendor.base)


def test_a_file_with_content_credentials_comes_along_as_it_was_sent(
    vendor: Vendor, found: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = render_images(found, model=vendor.model)
    assert [one.original for one in plain] == [None]
    signed = Credentials(tmp_path).sign(make_png(), "png", SigningOrder(asset=make_asset()))
    monkeypatch.setattr(sys.modules[vendor.stand_in.__module__], "make_png", lambda *size: signed)
    assert [one.original for one in render_images(found, model=vendor.model)] == [signed]


def test_every_service_that_ships_has_a_stand_in() -> None:
    ids = {spec.id for spec in discover("studio.providers", "PROVIDER")}
    assert ids == {vendor.spec.id for vendor in VENDORS.values()} | {"comfyui"}  # which has a server of its own


def test_images_with_progress_and_cost(vendor: Vendor, found: Service) -> None:
    context = FakeContext()
    drawn = render_images(found, context, seeds=2, model=vendor.model)
    assert len(drawn) == 2
    assert all(one.image.mode in ("RGB", "RGBA") for one in drawn)
    estimate = found.estimate(GenerationRequest(model=vendor.model, prompt="a red fox", count=2))
    assert estimate is None or (estimate.amount >= 0 and (estimate.amount == 0 or estimate.date))


def test_models_say_what_they_are(vendor: Vendor, found: Service) -> None:
    models = found.models()
    assert len({model.id for model in models}) == len(models)
    for model in models:
        assert model.id.startswith(f"{vendor.spec.id}/")
        assert model.lane == vendor.spec.id
        assert Feature.LORA not in model.features
        assert model.tasks
        assert not model.problem


@pytest.mark.parametrize(("vendor", "status", "body", "kind"), STATUSES)
def test_every_status_is_the_right_error(vendor: Vendor, status: int, body: object, kind: str) -> None:
    with run_vendor_server(vendor.stand_in()) as server:
        server.fail(Reply(status=status, body=body), times=9, path=vendor.path)
        error = expect_error(make_service(vendor.spec, server, path=vendor.base), model=vendor.model)
        assert type(error).__name__ == kind
        assert bool(error.details.get(MAY_BE_BILLED)) == (status >= 500 and not vendor.spec.free)
        sent = len(server.find_requests(vendor.path))
        again = isinstance(error, RateLimited) or (vendor.spec.free and status > 500)
        assert sent == (4 if again else 1)  # only what is free for sure is sent again


@pytest.mark.parametrize("odd", list(ODD_REPLIES))
def test_whatever_it_answers_ends_in_an_error_that_says_what_to_do(
    vendor: Vendor, server: VendorServer, found: Service, odd: str
) -> None:
    server.fail(ODD_REPLIES[odd], times=9, path=vendor.path)
    error = expect_error(found, model=vendor.model)
    assert isinstance(error, ProviderError)
    again = vendor.spec.free and odd in ("503 html", "hang up", "short")
    assert len(server.find_requests(vendor.path)) == (4 if again else 1)


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "9" * 400, "Fri, 99 Nov 99999 99:99:99 GMT", "soon"])
def test_a_wait_that_is_no_wait_is_the_error_of_a_busy_service(
    vendor: Vendor, server: VendorServer, found: Service, text: str
) -> None:
    server.fail(Reply(status=429, headers={"Retry-After": text}, body={}), times=9, path=vendor.path)
    error = expect_error(found, model=vendor.model)
    assert isinstance(error, RateLimited)
    json.dumps(error.to_json(), allow_nan=False)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_json_that_is_nested_without_end_is_a_providers_error(
    vendor: Vendor, server: VendorServer, found: Service, status: int
) -> None:
    for deep in (b"[" * 100_000 + b"]" * 100_000, b'{"error":' * 5000 + b"1" + b"}" * 5000):
        reply = Reply(status=status, body=deep, headers={"Content-Type": "application/json"})
        server.fail(reply, times=9, path=vendor.path)
        assert isinstance(expect_error(found, model=vendor.model), ProviderError | InvalidRequest)


@pytest.mark.parametrize("status", [400, 402, 403, 404, 418, 422, 429, 500, 503])
def test_an_error_text_that_repeats_a_key_is_told_without_it(
    vendor: Vendor, server: VendorServer, found: Service, status: int
) -> None:
    other = "sk-another-0123456789abcdefghij"
    for told in (f"cannot use Bearer {SENTINEL}", f"{'x' * 285} {SENTINEL}", f"wrong key: {other} of yours"):
        body = {"error": {"message": told}, "message": told, "detail": told, "errors": [told]}
        server.fail(Reply(status=status, body=body), times=4, path=vendor.path)
        error = expect_error(found, model=vendor.model)
        shown = json.dumps(error.to_json()) + str(error)
        assert not any(key[:12] in shown for key in (SENTINEL, other))
        server.clear_failures()


def test_a_wait_that_the_service_asks_for_is_kept(vendor: Vendor, server: VendorServer, found: Service) -> None:
    server.fail(Reply(status=429, headers={"Retry-After": "3"}, body={}), path=vendor.path)
    context = FakeContext()
    assert len(render_images(found, context, model=vendor.model)) == 1
    assert context.slept[0] == 3.0
    server.fail(Reply(status=429, headers={"Retry-After": "3600"}, body={}), path=vendor.path)
    error = expect_error(found, model=vendor.model)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3600


def test_stop_is_heard_while_the_service_is_silent(vendor: Vendor, server: VendorServer, found: Service) -> None:
    server.fail(Reply(silent=True), path=vendor.path)
    assert isinstance(expect_error(found, FakeContext(cancel_after=4), model=vendor.model), JobCancelled)


def test_nobody_there_is_unreachable_and_free(vendor: Vendor) -> None:
    gone = Service(vendor.spec, FakeKeys(), lambda: "http://127.0.0.1:9" + vendor.base)
    error = expect_error(gone, model=vendor.model)
    assert isinstance(error, Unreachable)
    assert not error.details.get(MAY_BE_BILLED)


def test_locked_without_a_key_and_checked_for_nothing(vendor: Vendor, server: VendorServer, found: Service) -> None:
    told = found.check(FakeContext())
    assert told
    assert SENTINEL not in told
    if vendor.spec.key_optional:
        return
    before = len(server.seen)
    locked = make_service(vendor.spec, server, key="", path=vendor.base)
    assert all(vendor.spec.keys[0] in model.problem for model in locked.models())
    assert isinstance(expect_error(locked, model=vendor.model), NotConfigured)
    assert len(server.seen) == before


def test_a_wrong_key_is_told_by_the_check_and_by_a_call(vendor: Vendor, server: VendorServer) -> None:
    if vendor.spec.key_optional:
        pytest.skip("this server needs no key")
    wrong = make_service(vendor.spec, server, key="sk-another-key-0123456789", path=vendor.base)
    with pytest.raises(NotConfigured):
        wrong.check(FakeContext())
    with pytest.raises(NotConfigured):
        render_images(wrong, model=vendor.model)


def test_the_key_is_in_nothing_that_could_be_shown(vendor: Vendor, found: Service) -> None:
    assert SENTINEL not in f"{found!r} {found.wire(FakeContext())!r} {vars(found.spec)}"
