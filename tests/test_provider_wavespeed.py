"""What is peculiar to WaveSpeed: its envelope, uploads, asterisks, codes inside answers that look well."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from providers import INVALID_IMAGES, FakeContext, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, run_vendor_server
from vendors.wavespeed import WaveSpeed, make_reply

from studio.core.errors import (
    MAY_BE_BILLED,
    ContentRefused,
    InvalidRequest,
    JobCancelled,
    NotConfigured,
    PaymentNeeded,
    ProviderError,
    RateLimited,
    Unreachable,
)
from studio.core.request_parts import Inpaint, Reference
from studio.core.task import Task
from studio.providers.common.service_backend import Service
from studio.providers.wavespeed import PROVIDER

SUBMIT = "/qwen-image/text-to-image"


@pytest.fixture
def stand_in() -> WaveSpeed:
    return WaveSpeed()


@pytest.fixture
def server(stand_in: WaveSpeed) -> Iterator[VendorServer]:
    with run_vendor_server(stand_in) as server:
        yield server


@pytest.fixture
def wavespeed(server: VendorServer) -> Service:
    return make_service(PROVIDER, server)


def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")


def half() -> Image.Image:
    found = Image.new("L", (96, 64))
    found.paste(255, (0, 0, 48, 64))
    return found


@pytest.mark.parametrize("name", [one.name for one in PROVIDER.models()])
def test_every_model_draws_from_text_with_fields_that_it_knows(
    wavespeed: Service, server: VendorServer, name: str
) -> None:
    context = FakeContext()
    [one] = render_images(wavespeed, context, model=f"wavespeed/{name}", width=1344, height=768)
    sent = next(seen for seen in server.seen if seen.method == "POST").json
    if name.startswith("qwen"):
        assert (sent["size"], sent["seed"]) == ("1344*768", 7)
    else:
        assert sent["aspect_ratio"] == "16:9"
        assert "seed" not in sent
    assert one.cost
    assert len(server.find_requests("/predictions/task/result")) == 3
    assert max(context.slept) <= 3


def test_a_mask_makes_it_inpaint_and_is_white_where_it_changes(
    wavespeed: Service, server: VendorServer, stand_in: WaveSpeed
) -> None:
    for invert, ends in ((False, (255, 0)), (True, (0, 255))):
        stand_in.uploads.clear()
        render_images(
            wavespeed,
            FakeContext(photo(), half()),
            model="wavespeed/ideogram-v3-turbo",
            task=Task.INPAINT,
            source="p0",
            mask="p1",
            seeds=2,
            inpaint=Inpaint(invert=invert),
        )
        assert len(stand_in.uploads) == 2  # once for both images
        body = server.find_requests("ideogram-v3-turbo")[-1].json
        sent = [stand_in.uploads[int(body[name][-5])] for name in ("image", "mask_image")]
        image, mask = (Image.open(io.BytesIO(data)) for data in sent)
        assert image.tobytes() == photo().tobytes()
        assert (mask.getpixel((10, 10)), mask.getpixel((90, 10))) == ends


def test_edits_name_their_images(wavespeed: Service, server: VendorServer) -> None:
    references = (Reference(image="p1"),)
    edit: dict[str, Any] = {"task": Task.EDIT, "source": "p0"}
    render_images(
        wavespeed, FakeContext(photo(), half()), model="wavespeed/qwen-image-2.0", references=references, **edit
    )
    assert len(server.find_requests("2.0/edit")[0].json["images"]) == 2
    render_images(wavespeed, FakeContext(photo()), model="wavespeed/qwen-image", width=512, height=768, **edit)
    assert server.find_requests("qwen-image/edit")[0].json["size"] == "512*768"


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (1200, "moderated", ContentRefused),
        (1400, "missing", InvalidRequest),
        (1402, "media", InvalidRequest),
        (5003, "unavailable", Unreachable),
        (5004, "timed out", Unreachable),
        (401, "key", NotConfigured),
        (429, "slow down", RateLimited),
        (400, "Insufficient balance", PaymentNeeded),
        (1403, "failed", ProviderError),
        ("x", "odd", ProviderError),
    ],
)
def test_a_code_in_an_answer_that_looks_well_is_an_error(
    wavespeed: Service, server: VendorServer, code: Any, message: str, kind: type[Exception]
) -> None:
    server.fail(make_reply(None, code=code, message=message), path=SUBMIT, times=9)
    error = expect_error(wavespeed, model="wavespeed/qwen-image")
    assert isinstance(error, kind)
    assert len(server.find_requests(SUBMIT)) == 1


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ({"status": "failed", "error": "content moderation"}, ContentRefused),
        ({"status": "failed", "error": "insufficient balance"}, PaymentNeeded),
        ({"status": "failed", "error": "CUDA"}, ProviderError),
        ({"status": "deleted"}, ProviderError),
        ({"status": "completed", "outputs": []}, ProviderError),
        ({"status": "completed", "outputs": [None]}, ProviderError),
        ({"status": "completed", "outputs": None}, ProviderError),
        ({"status": "completed", "outputs": ["%%%"]}, ProviderError),
        ({"status": "completed", "outputs": ["x"], "has_nsfw_contents": [True]}, ContentRefused),
    ],
)
def test_a_task_that_ends_badly_is_an_error(
    wavespeed: Service, stand_in: WaveSpeed, end: dict[str, object], kind: type[Exception]
) -> None:
    stand_in.ends = end
    assert isinstance(expect_error(wavespeed, model="wavespeed/qwen-image"), kind)


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/x.png", "https://evil.cloudfront.net/x.png", "ftp://api.wavespeed.ai/x.png"]
)
def test_a_image_is_taken_from_its_own_hosts_only(
    wavespeed: Service, stand_in: WaveSpeed, server: VendorServer, address: str
) -> None:
    stand_in.ends = {"status": "completed", "outputs": [address]}
    error = expect_error(wavespeed, model="wavespeed/qwen-image")
    assert isinstance(error, ProviderError)
    assert error.details[MAY_BE_BILLED]
    assert server.find_requests("x.png") == []


@pytest.mark.parametrize("odd", list(INVALID_IMAGES))
def test_what_is_no_image_is_refused(wavespeed: Service, server: VendorServer, odd: str) -> None:
    server.fail(Reply(body=INVALID_IMAGES[odd]), path="/outputs/")
    assert expect_error(wavespeed, model="wavespeed/qwen-image").details[MAY_BE_BILLED]


def test_an_upload_that_fails_costs_nothing_and_submits_nothing(wavespeed: Service, server: VendorServer) -> None:
    edit: dict[str, Any] = {"model": "wavespeed/qwen-image", "task": Task.EDIT, "source": "p0"}
    server.fail(make_reply({"type": "image"}), path="/media/upload")
    assert isinstance(expect_error(wavespeed, FakeContext(photo()), **edit), ProviderError)
    server.fail(make_reply(None, code=413, message="too large", status=413), path="/media/upload")
    assert isinstance(expect_error(wavespeed, FakeContext(photo()), **edit), InvalidRequest)
    assert server.find_requests("qwen-image/edit") == []


def test_stop_is_heard_while_it_is_looked_at(wavespeed: Service, server: VendorServer) -> None:
    server.fail(make_reply({"status": "processing"}), times=200, path="/result")
    assert isinstance(expect_error(wavespeed, FakeContext(cancel_after=30), model="wavespeed/qwen-image"), JobCancelled)


def test_what_it_needs_is_asked_for_before_anything_is_sent(wavespeed: Service, server: VendorServer) -> None:
    edit: dict[str, Any] = {"task": Task.EDIT, "source": "p0"}
    error = expect_error(wavespeed, FakeContext(photo()), model="wavespeed/qwen-image", prompt=" ", **edit)
    assert isinstance(error, InvalidRequest)
    error = expect_error(wavespeed, FakeContext(photo()), model="wavespeed/qwen-image-2.0", prompt="x" * 801, **edit)
    assert "800" in error.message
    assert server.seen == []
