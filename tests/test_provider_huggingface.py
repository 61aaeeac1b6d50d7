"""What is peculiar to Hugging Face: a hub that names the provider, a router, and each provider's own shape of an
answer."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.inference._providers import _common
from PIL import Image
from providers import INVALID_IMAGES, FakeContext, FakeKeys, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, run_vendor_server
from vendors.huggingface import B64, HuggingFace

from studio.core.errors import (
    MAY_BE_BILLED,
    ContentRefused,
    InvalidRequest,
    JobCancelled,
    NotConfigured,
    ProviderError,
    Unreachable,
)
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.providers import huggingface
from studio.providers.common.service_backend import Service
from studio.providers.huggingface import PROVIDER

MODEL = "huggingface/FLUX.1-schnell"
KEY = "hf_sentinel0123456789abcdefghij"
KONTEXT: dict[str, Any] = {"model": "huggingface/FLUX.1-Kontext-dev", "task": Task.EDIT, "source": "p0"}


@pytest.fixture
def stand_in() -> HuggingFace:
    return HuggingFace()


@pytest.fixture
def server(stand_in: HuggingFace) -> Iterator[VendorServer]:
    with run_vendor_server(stand_in) as server:
        yield server


@pytest.fixture
def plain(server: VendorServer) -> Service:
    return make_service(PROVIDER, server)


@pytest.fixture
def routed(server: VendorServer, stand_in: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service as it is by default, with hub and router on loopback."""
    stand_in.keys = [KEY]
    monkeypatch.setattr(huggingface, "_ROUTER", server.url)
    monkeypatch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", server.url + "/{provider}")
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    _common._fetch_inference_provider_mapping.cache_clear()
    return make_service(PROVIDER, server, key=KEY)


def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")


def test_a_plain_server_is_sent_what_the_vendors_client_sends(plain: Service, server: VendorServer) -> None:
    [one] = render_images(
        plain, model="huggingface/Qwen-Image", width=768, height=512, negative_prompt="fog", steps=4, guidance=3.5
    )
    assert (one.seed, one.image.size, one.cost) == (7, (64, 64), None)
    [sent] = server.seen
    assert sent.path == "/models/Qwen/Qwen-Image"
    parameters = {
        "width": 768,
        "height": 512,
        "seed": 7,
        "negative_prompt": "fog",
        "num_inference_steps": 4,
        "guidance_scale": 3.5,
    }
    assert sent.json == {"inputs": "a red fox", "parameters": parameters}
    assert sent.headers["Accept"] == "image/png"


def test_an_edit_sends_the_source(plain: Service, server: VendorServer) -> None:
    render_images(plain, FakeContext(photo()), **KONTEXT)
    [sent] = server.seen
    assert sent.json["parameters"] == {"prompt": "a red fox"}
    assert Image.open(io.BytesIO(base64.b64decode(sent.json["inputs"]))).tobytes() == photo().tobytes()


@pytest.mark.parametrize("provider", ["fal-ai", "together", "nscale", "replicate", "wavespeed"])
def test_whoever_serves_a_model_behind_the_router_is_understood(
    routed: Service, stand_in: HuggingFace, server: VendorServer, provider: str
) -> None:
    stand_in.provider = provider
    [one] = render_images(routed, model=MODEL, width=768, height=512)
    assert one.image.size == (64, 64)
    assert server.seen[0].query == {"expand": "inferenceProviderMapping"}
    assert len([seen for seen in server.seen if seen.method == "POST"]) == 1
    assert len(server.find_requests("/predictions/t/result")) == (3 if provider == "wavespeed" else 0)


@pytest.mark.parametrize("provider", ["fal-ai", "together", "wavespeed"])
def test_edits_go_through_the_router_too(routed: Service, stand_in: HuggingFace, provider: str) -> None:
    stand_in.provider = provider
    assert len(render_images(routed, FakeContext(photo()), **KONTEXT)) == 1


def test_a_model_that_nobody_serves_is_told_before_anything_is_sent(routed: Service, server: VendorServer) -> None:
    error = expect_error(routed, model=MODEL)
    assert isinstance(error, InvalidRequest)
    assert "FLUX.1-schnell" in error.message
    assert [seen for seen in server.seen if seen.method == "POST"] == []


def test_a_hub_that_fails_costs_nothing(routed: Service, stand_in: HuggingFace, server: VendorServer) -> None:
    stand_in.provider = "together"
    server.fail(Reply(status=404, body={"error": "not found"}), path="/api/models/")
    assert isinstance(expect_error(routed, model=MODEL), InvalidRequest)
    server.fail(Reply(drop=True), path="/api/models/")
    error = expect_error(routed, model=MODEL)
    assert isinstance(error, Unreachable)
    assert not error.details.get(MAY_BE_BILLED)


@pytest.mark.parametrize(
    "case",
    [
        ("wavespeed", {"model": MODEL}, "/predictions/t/result"),
        ("wavespeed", {"model": MODEL}, "/files/out.png"),
        ("fal-ai", {"model": MODEL}, "/files/out.png"),
        ("fal-ai", KONTEXT, "/requests/r/status"),
        ("fal-ai", KONTEXT, "/requests/r"),
        ("fal-ai", KONTEXT, "/files/out.png"),
        ("replicate", {"model": MODEL}, "/files/out.png"),
    ],
)
def test_an_order_is_taken_up_again_after_a_restart_and_not_paid_twice(
    routed: Service,
    stand_in: HuggingFace,
    server: VendorServer,
    tmp_path: Path,
    case: tuple[str, dict[str, Any], str],
) -> None:
    provider, fields, failing = case

    def start() -> Service:
        return Service(PROVIDER, FakeKeys(KEY), lambda: server.url, tmp_path)

    stand_in.provider = provider
    server.fail(Reply(drop=True), times=99, path=failing)
    error = expect_error(start(), FakeContext(photo()), **fields)
    assert error.details[MAY_BE_BILLED]
    assert "not paid twice" in error.hint
    server.clear_failures()
    [one] = render_images(start(), FakeContext(photo()), **fields)
    assert one.ordered_at is not None
    assert len([seen for seen in server.seen if seen.method == "POST"]) == 1
    [one] = render_images(start(), FakeContext(photo()), **fields)
    assert one.ordered_at is None
    assert len([seen for seen in server.seen if seen.method == "POST"]) == 2


def test_a_studio_that_is_told_to_stay_offline_says_so(
    routed: Service, server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = expect_error(routed, model=MODEL)
    assert isinstance(error, NotConfigured)
    assert "HF_HUB_OFFLINE" in error.message
    assert server.seen == []


def test_a_key_of_another_service_is_not_sent_anywhere(
    server: VendorServer, stand_in: HuggingFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "_ROUTER", server.url)
    stand_in.provider = "together"
    assert isinstance(
        expect_error(make_service(PROVIDER, server, key="sk-of-another-service"), model=MODEL), NotConfigured
    )
    assert server.seen == []


def test_a_model_that_is_loading_is_waited_for(plain: Service, server: VendorServer) -> None:
    server.fail(Reply(status=503, body={"error": "Model is currently loading", "estimated_time": 20.0}))
    context = FakeContext()
    assert len(render_images(plain, context, model=MODEL)) == 1
    assert context.slept == [20.0]


@pytest.mark.parametrize(
    "body",
    [
        {"images": [{"url": "http://169.254.169.254/x.png"}]},
        {"output": "https://evil.example/x.png"},
        {"output": ["file:///etc/passwd"]},
        {"images": []},
        {"images": [None]},
        {"data": [{}]},
        {"data": [{"b64_json": "%%"}]},
        {"data": {"urls": {"get": None}}},
        {"request_id": "r", "response_url": "x"},
        {"output": None},
    ],
)
def test_an_answer_without_a_image_of_its_own_is_an_error(plain: Service, server: VendorServer, body: Any) -> None:
    server.fail(Reply(body=body))
    error = expect_error(plain, model=MODEL)
    assert isinstance(error, ProviderError)
    assert error.details[MAY_BE_BILLED]
    assert len(server.seen) == 1


@pytest.mark.parametrize("odd", list(INVALID_IMAGES))
def test_what_is_no_image_is_refused(plain: Service, server: VendorServer, odd: str) -> None:
    server.fail(Reply(body=INVALID_IMAGES[odd]))
    assert expect_error(plain, model=MODEL).details[MAY_BE_BILLED]


def test_base64_with_and_without_its_head(plain: Service, server: VendorServer) -> None:
    for place in (B64, f"data:image/png;base64,{B64}"):
        server.fail(Reply(body={"images": [{"url": place}]}))
        assert len(render_images(plain, model=MODEL)) == 1


@pytest.mark.parametrize(("told", "kind"), [("NSFW content", ContentRefused), ("CUDA", ProviderError)])
def test_a_task_that_failed_is_an_error(
    routed: Service, stand_in: HuggingFace, told: str, kind: type[Exception]
) -> None:
    stand_in.provider, stand_in.ends = "wavespeed", {"status": "failed", "error": told}
    assert isinstance(expect_error(routed, model=MODEL), kind)


def test_stop_is_heard_while_it_is_looked_at(routed: Service, stand_in: HuggingFace, server: VendorServer) -> None:
    stand_in.provider = "wavespeed"
    server.fail(Reply(body={"data": {"status": "processing"}}), times=200, path="/result")
    assert isinstance(expect_error(routed, FakeContext(cancel_after=40), model=MODEL), JobCancelled)


def test_prices_are_told_where_they_are_known(plain: Service) -> None:
    found = plain.estimate(GenerationRequest(model=MODEL, width=1024, height=1024, count=2))
    assert found is not None
    assert found.amount == pytest.approx(0.006)
    assert plain.estimate(GenerationRequest(model="huggingface/Qwen-Image")) is None
