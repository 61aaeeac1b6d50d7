"""Orders that a service has taken: looked after while looks fail, and never called free."""

from __future__ import annotations

import base64
import importlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import open_engine, wait_until_final
from PIL import Image
from providers import FakeContext, FakeKeys, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, make_png, run_vendor_server

from studio.core.errors import MAY_BE_BILLED, JobCancelled
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.request_parts import Outpaint
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.engine.jobs.job import Job
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


@dataclass(frozen=True)
class Fetched:
    """A service whose result lies at an address of its own: where it is ordered, and the file."""

    vendor: str
    ordered: str
    file: str
    fields: dict[str, Any]


FETCHED = [
    Fetched("bfl", "/v1/flux-2-pro", "sample.png", {"model": "bfl/flux-2-pro"}),
    Fetched("wavespeed", "/qwen-image-2.0/text-to-image", "outputs/out.png", {"model": "wavespeed/qwen-image-2.0"}),
    Fetched("ideogram", "generate/ideogram-3", "/api/images/", {"model": "ideogram/ideogram-3"}),
    Fetched(
        "ideogram",
        "remove-object",
        "/api/images/",
        {"model": "ideogram/remove-object", "task": Task.ERASE, "source": "p0", "mask": "p1"},
    ),
]


@pytest.mark.parametrize("case", FETCHED, ids=lambda case: f"{case.vendor} {case.ordered.rpartition('/')[2]}")
@pytest.mark.parametrize("ends", ["no answer", "stopped"])
def test_an_image_that_could_not_be_fetched_is_fetched_after_a_restart_and_not_paid_twice(
    case: Fetched, ends: str, tmp_path: Path
) -> None:
    vendor = importlib.import_module(f"vendors.{case.vendor}").VENDOR
    with run_vendor_server(vendor.stand_in()) as server:

        def start() -> Service:
            return Service(vendor.spec, FakeKeys(), lambda: server.url, tmp_path)

        if ends == "no answer":
            server.fail(Reply(drop=True), times=99, path=case.file)
            error = expect_error(start(), context(), **case.fields)
            assert error.details[MAY_BE_BILLED]
            assert "not paid twice" in error.hint
        else:
            server.fail(Reply(silent=True), times=99, path=case.file)
            stopped = context()
            threading.Thread(target=_stop_at_request, args=(server, case.file, stopped), daemon=True).start()
            assert isinstance(expect_error(start(), stopped, **case.fields), JobCancelled)
        server.clear_failures()
        before = time.time()
        [one] = render_images(start(), context(), **case.fields)
        assert one.ordered_at is not None
        assert one.ordered_at <= before
        assert len(server.find_requests(case.ordered)) == 1
        assert render_images(start(), context(), **case.fields)[0].ordered_at is None
        assert len(server.find_requests(case.ordered)) == 2


def _stop_at_request(server: VendorServer, path: str, stopped: FakeContext) -> None:
    while not server.find_requests(path):
        time.sleep(0.01)
    stopped.stop()


def test_a_result_that_comes_damaged_is_asked_for_again(tmp_path: Path) -> None:
    vendor = importlib.import_module("vendors.stability").VENDOR
    fields = {"model": "stability/creative", "task": Task.UPSCALE, "source": "p0"}
    damaged = Reply(body={"image": base64.b64encode(make_png()[:60]).decode(), "finish_reason": "SUCCESS"})
    with run_vendor_server(vendor.stand_in()) as server:
        found = make_service(vendor.spec, server)
        server.fail(damaged, times=2, path="/results/")
        assert len(render_images(found, context(), **fields)) == 1
        server.fail(damaged, times=99, path="/results/")
        assert "not paid twice" in expect_error(found, context(), **fields).hint
        server.clear_failures()
        assert len(render_images(found, context(), **fields)) == 1
        assert len(server.find_requests("upscale/creative")) == 2


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job waits a hundredth of what a service is given."""
    sleep = Job.sleep
    monkeypatch.setattr(Job, "sleep", lambda job, seconds: sleep(job, seconds / 100))


def _open_studio(tmp_path: Path, server: VendorServer) -> Engine:
    service = Service(importlib.import_module("vendors.bfl").VENDOR.spec, FakeKeys(), lambda: server.url, tmp_path)
    return open_engine(tmp_path, service)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("user", [LOCAL_USER, User("bob")])
def test_an_order_that_is_taken_up_again_stands_in_the_ledger_once(tmp_path: Path, user: User) -> None:
    request = GenerationRequest(model="bfl/flux-2-pro", prompt="a fox", seed=7, width=1024, height=1024)
    with run_vendor_server(importlib.import_module("vendors.bfl").VENDOR.stand_in()) as server:
        engine = _open_studio(tmp_path, server)
        server.fail(Reply(body={"status": "Ready", "result": {"sample": server.url + "/gone.png"}}), path="get_result")
        server.fail(Reply(status=503), times=99, path="gone.png")
        assert wait_until_final(engine.submit(request, LOCAL_USER)).status is Status.FAILED
        [open_row] = engine.ledger.lines(None)
        engine.close()
        server.clear_failures()

        engine = _open_studio(tmp_path, server)
        assert wait_until_final(engine.submit(request, user)).status is Status.FINISHED
        [row] = engine.ledger.lines(None)
        assert (row.user, row.images, row.estimated) == (open_row.user, 1, open_row.estimated)
        assert row.billed == pytest.approx(0.045)  # as the service said when it took the order
        assert wait_until_final(engine.submit(request, user)).status is Status.FINISHED
        assert sum(row.images for row in engine.ledger.lines(None)) == 2
        assert len(server.find_requests("/v1/flux-2-pro")) == 2
        engine.close()


@pytest.mark.usefixtures("short_waits")
def test_an_order_that_stays_unknown_is_not_counted_anew_by_each_look(tmp_path: Path) -> None:
    request = GenerationRequest(model="bfl/flux-2-pro", prompt="a fox", seed=7)
    with run_vendor_server(importlib.import_module("vendors.bfl").VENDOR.stand_in()) as server:
        engine = _open_studio(tmp_path, server)
        server.fail(Reply(status=503), times=99, path="sample.png")
        for _ in range(3):
            assert wait_until_final(engine.submit(request, LOCAL_USER)).status is Status.FAILED
        [row] = engine.ledger.lines(None)
        assert row.images == 1
        engine.close()


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
