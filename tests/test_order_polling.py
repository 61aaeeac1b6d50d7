"""Orders that a service has taken: looked after while looks fail, and never called free."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from providers import FakeContext, FakeKeys, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, make_png, run_vendor_server

from studio.core.errors import MAY_BE_BILLED
from studio.core.request_parts import Outpaint
from studio.core.task import Task
from studio.providers.common.service_backend import Service


@dataclass(frozen=True)
class Polled:
    """A service that is polled: where it is ordered, where it is looked at, and what to ask for."""

    vendor: str
    ordered: str
    looked: str
    fields: dict[str, Any]


POLLED = [
    Polled("bfl", "/v1/flux-2-pro", "get_result", {"model": "bfl/flux-2-pro"}),
    Polled("wavespeed", "/qwen-image/text-to-image", "predictions/task", {"model": "wavespeed/qwen-image"}),
    Polled(
        "stability",
        "upscale/creative",
        "/results/",
        {"model": "stability/creative", "task": Task.UPSCALE, "source": "p0"},
    ),
    Polled(
        "ideogram",
        "remove-object",
        "/v2/generations/",
        {"model": "ideogram/remove-object", "task": Task.ERASE, "source": "p0", "mask": "p1"},
    ),
]
LOOK_FAULTS = {
    "reset": Reply(drop=True),
    "401": Reply(status=401, body={}),
    "403": Reply(status=403, body={}),
    "404": Reply(status=404, body={}),
    "429": Reply(status=429, body={}),
    "429 for long": Reply(status=429, headers={"Retry-After": "3600"}, body={}),
    "500": Reply(status=500, body={}),
    "html": Reply(body=b"<html>busy</html>"),
}


@pytest.fixture(params=POLLED, ids=lambda one: one.vendor)
def polled(request: pytest.FixtureRequest) -> Polled:
    return request.param


@pytest.fixture
def server(polled: Polled) -> Iterator[VendorServer]:
    with run_vendor_server(importlib.import_module(f"vendors.{polled.vendor}").VENDOR.stand_in()) as server:
        yield server


@pytest.fixture
def found(polled: Polled, server: VendorServer) -> Service:
    return make_service(importlib.import_module(f"vendors.{polled.vendor}").VENDOR.spec, server)


def context() -> FakeContext:
    return FakeContext(Image.new("RGB", (96, 64), "red"), Image.new("L", (96, 64), 255))


@pytest.mark.parametrize("fault", list(LOOK_FAULTS))
def test_looks_that_fail_are_repeated_and_nothing_is_ordered_twice(
    polled: Polled, server: VendorServer, found: Service, fault: str
) -> None:
    server.fail(LOOK_FAULTS[fault], times=3, path=polled.looked)
    assert len(render_images(found, context(), **polled.fields)) == 1
    assert len(server.find_requests(polled.ordered)) == 1


@pytest.mark.parametrize("fault", list(LOOK_FAULTS))
def test_an_order_whose_end_cannot_be_asked_may_be_billed(
    polled: Polled, server: VendorServer, found: Service, fault: str
) -> None:
    server.fail(LOOK_FAULTS[fault], times=99, path=polled.looked)
    error = expect_error(found, context(), **polled.fields)
    assert error.details[MAY_BE_BILLED]
    assert error.details["order"]
    assert "billed" in error.hint
    assert len(server.find_requests(polled.ordered)) == 1


@pytest.mark.parametrize("fault", ["reset", "401", "429", "500"])
def test_the_same_order_is_taken_up_again_after_a_restart_and_not_paid_twice(
    polled: Polled, server: VendorServer, tmp_path: Path, fault: str
) -> None:
    spec = importlib.import_module(f"vendors.{polled.vendor}").VENDOR.spec

    def start() -> Service:
        return Service(spec, FakeKeys(), lambda: server.url, tmp_path)

    server.fail(LOOK_FAULTS[fault], times=99, path=polled.looked)
    assert "not paid twice" in expect_error(start(), context(), **polled.fields).hint
    server.clear_failures()
    assert len(render_images(start(), context(), **polled.fields)) == 1
    assert len(server.find_requests(polled.ordered)) == 1
    assert len(render_images(start(), context(), **polled.fields)) == 1  # that one has ended: a new order
    assert len(server.find_requests(polled.ordered)) == 2


def test_an_order_that_the_service_does_not_know_is_ordered_anew(
    polled: Polled, server: VendorServer, found: Service
) -> None:
    server.fail(LOOK_FAULTS["404"], times=99, path=polled.looked)
    assert "anew" in expect_error(found, context(), **polled.fields).hint
    server.clear_failures()
    assert len(render_images(found, context(), **polled.fields)) == 1
    assert len(server.find_requests(polled.ordered)) == 2


@pytest.mark.parametrize(
    ("name", "model", "ordered", "file"),
    [
        ("bfl", "bfl/flux-2-pro", "/v1/flux-2-pro", "sample.png"),
        ("wavespeed", "wavespeed/qwen-image-2.0", "/qwen-image-2.0/text-to-image", "outputs/out.png"),
    ],
)
def test_an_image_that_could_not_be_fetched_is_fetched_later_and_not_paid_twice(
    name: str, model: str, ordered: str, file: str
) -> None:
    vendor = importlib.import_module(f"vendors.{name}").VENDOR
    with run_vendor_server(vendor.stand_in()) as server:
        found = make_service(vendor.spec, server)
        server.fail(Reply(drop=True), times=99, path=file)
        assert expect_error(found, model=model).details[MAY_BE_BILLED]
        server.clear_failures()
        assert len(render_images(found, model=model)) == 1
        assert len(server.find_requests(ordered)) == 1


def test_another_image_or_prompt_is_another_order(server: VendorServer, polled: Polled, found: Service) -> None:
    server.fail(LOOK_FAULTS["500"], times=99, path=polled.looked)
    expect_error(found, context(), **polled.fields)
    server.clear_failures()
    images = FakeContext(Image.new("RGB", (96, 64), "blue"), Image.new("L", (96, 64), 255))
    assert len(render_images(found, images, **polled.fields, prompt="another fox")) == 1
    assert len(server.find_requests(polled.ordered)) == 2


@pytest.mark.parametrize(
    "address", ["http://[::1", "https://api.bfl.ai:port/x", "http://a b/", "//", "https://\udcff/"]
)
@pytest.mark.parametrize("field", ["polling_url", "sample"])
def test_an_address_that_is_none_is_the_services_error(address: str, field: str) -> None:
    vendor = importlib.import_module("vendors.bfl").VENDOR
    with run_vendor_server(vendor.stand_in()) as server:
        if field == "sample":
            server.fail(Reply(body={"status": "Ready", "result": {"sample": address}}), path="get_result")
        else:
            server.fail(Reply(body={"id": "task", "polling_url": address}), path="flux-2-pro")
        error = expect_error(make_service(vendor.spec, server), model="bfl/flux-2-pro")
        assert error.details[MAY_BE_BILLED]


@pytest.mark.parametrize("name", ["stability", "ideogram"])
@pytest.mark.parametrize("used", [0, 99, "1234"])
def test_the_seed_that_the_service_used_is_the_images(name: str, used: object) -> None:
    vendor = importlib.import_module(f"vendors.{name}").VENDOR
    with run_vendor_server(vendor.stand_in()) as server:
        entry = {"url": f"{server.url}/api/images/ephemeral/x.png", "is_image_safe": True}
        body = {"image": base64.b64encode(make_png()).decode(), "finish_reason": "SUCCESS", "data": [entry]}
        server.fail(Reply(body={**body, "seed": used}), path=vendor.path)
        [one] = render_images(make_service(vendor.spec, server), model=vendor.model)
        assert one.seed == int(str(used))


@pytest.mark.parametrize("task", [Task.ERASE, Task.OUTPAINT, Task.REMOVE_BACKGROUND])
def test_stability_is_not_sent_words_that_a_route_does_not_have(task: Task) -> None:
    vendor = importlib.import_module("vendors.stability").VENDOR
    with run_vendor_server(vendor.stand_in()) as server:
        wish = {"outpaint": Outpaint(left=64)} if task is Task.OUTPAINT else {}
        fields = {"source": "p0", "negative_prompt": "fog", **wish, **({"mask": "p1"} if task is Task.ERASE else {})}
        found = make_service(vendor.spec, server)
        assert len(render_images(found, context(), model="stability/edit", task=task, **fields)) == 1
        assert "negative_prompt" not in server.seen[-1].form
