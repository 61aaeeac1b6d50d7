"""What is peculiar to Black Forest Labs: polling, regional addresses, masks, megapixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import pytest
from PIL import Image
from providers import INVALID_IMAGES, FakeContext, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, run_vendor_server
from vendors.bfl import FIELDS, Bfl

from studio.core.errors import MAY_BE_BILLED, ContentRefused, ProviderError
from studio.core.request import GenerationRequest
from studio.core.request_parts import Inpaint, Outpaint, Reference
from studio.core.task import Task
from studio.providers.bfl import PROVIDER
from studio.providers.common.service_backend import Service


@pytest.fixture
def stand_in() -> Bfl:
    return Bfl()


@pytest.fixture
def server(stand_in: Bfl) -> Iterator[VendorServer]:
    with run_vendor_server(stand_in) as server:
        yield server


@pytest.fixture
def bfl(server: VendorServer) -> Service:
    return make_service(PROVIDER, server)


def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")


def half() -> Image.Image:
    found = Image.new("L", (96, 64))
    found.paste(255, (0, 0, 48, 64))
    return found


@pytest.mark.parametrize("name", [name for name in FIELDS if "1.0" not in name and "tools" not in name])
def test_every_model_draws_from_text_with_fields_that_it_knows(bfl: Service, server: VendorServer, name: str) -> None:
    context = FakeContext()
    [one] = render_images(bfl, context, model=f"bfl/{name}", width=1344, height=768)
    assert (one.seed, one.cost) == (42, 0.045)
    sent = server.find_requests(f"/v1/{name}")[0].json
    assert sent["prompt"] == "a red fox"
    assert ("seed" in sent) == (name != "flux-3-image")
    if name == "flux-3-image":
        assert sent["aspect_ratio"] == "16:9"
    assert len(server.find_requests("get_result")) == 3
    assert max(context.slept) <= 10


def test_edits_send_the_source_first_and_then_the_references(bfl: Service, server: VendorServer) -> None:
    context = FakeContext(photo(), half())
    render_images(
        bfl, context, model="bfl/flux-2-max", task=Task.EDIT, source="p0", references=(Reference(image="p1"),)
    )
    body = server.seen[0].json
    first = Image.open(io.BytesIO(base64.b64decode(body["input_image"])))
    assert first.tobytes() == photo().tobytes()
    assert "input_image_2" in body
    assert "width" not in body  # it follows the source


@pytest.mark.parametrize(
    ("fields", "route"),
    [
        ({"model": "bfl/flux-pro-1.0-fill", "task": Task.INPAINT, "mask": "p1"}, "fill"),
        ({"model": "bfl/flux-tools/erase-v1", "task": Task.ERASE, "mask": "p1"}, "erase-v1"),
        ({"model": "bfl/flux-pro-1.0-expand", "task": Task.OUTPAINT, "outpaint": Outpaint(right=99)}, "expand"),
    ],
)
def test_tools(bfl: Service, server: VendorServer, fields: dict[str, object], route: str) -> None:
    assert len(render_images(bfl, FakeContext(photo(), half()), source="p0", **fields)) == 1
    body = server.find_requests(route)[0].json
    if "mask" in fields:
        mask = Image.open(io.BytesIO(base64.b64decode(body["mask"])))
        assert (mask.getpixel((10, 10)), mask.getpixel((90, 10))) == (255, 0)
    else:
        assert (body["right"], body["left"]) == (99, 0)


def test_an_inverted_mask_is_inverted(bfl: Service, server: VendorServer) -> None:
    render_images(
        bfl,
        FakeContext(photo(), half()),
        model="bfl/flux-pro-1.0-fill",
        task=Task.INPAINT,
        source="p0",
        mask="p1",
        inpaint=Inpaint(invert=True),
    )
    mask = Image.open(io.BytesIO(base64.b64decode(server.seen[0].json["mask"])))
    assert (mask.getpixel((10, 10)), mask.getpixel((90, 10))) == (0, 255)


@pytest.mark.parametrize("status", ["Request Moderated", "Content Moderated"])
def test_a_moderated_task_is_a_refusal(bfl: Service, stand_in: Bfl, status: str) -> None:
    stand_in.ends = {"status": status, "details": {"Moderation Reasons": ["violence"]}}
    error = expect_error(bfl, model="bfl/flux-2-pro")
    assert isinstance(error, ContentRefused)
    assert "violence" in error.message


def test_a_failed_task_and_one_that_is_gone_end(bfl: Service, stand_in: Bfl, server: VendorServer) -> None:
    stand_in.ends = {"status": "Error", "details": "x"}
    assert isinstance(expect_error(bfl, model="bfl/flux-2-pro"), ProviderError)
    server.fail(Reply(status=404, body={"status": "Task not found"}), times=50, path="get_result")
    assert isinstance(expect_error(bfl, model="bfl/flux-2-pro"), ProviderError)


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/x.png", "https://evil.example/x.png", "file:///etc/passwd", "ftp://api.bfl.ai/x", ""],
)
def test_a_image_is_taken_from_its_own_hosts_only(bfl: Service, server: VendorServer, address: str) -> None:
    ready = {"id": "task", "status": "Ready", "result": {"sample": address or None}}
    server.fail(Reply(body=ready), path="get_result")
    error = expect_error(bfl, model="bfl/flux-2-pro")
    assert isinstance(error, ProviderError)
    assert error.details[MAY_BE_BILLED]
    assert server.find_requests("x.png") == []


def test_a_redirect_away_is_not_followed_and_the_key_stays_here(bfl: Service, server: VendorServer) -> None:
    server.fail(Reply(status=302, headers={"Location": "http://127.0.0.1:9/secret"}), path="sample.png", times=3)
    assert isinstance(expect_error(bfl, model="bfl/flux-2-pro"), ProviderError)
    with run_vendor_server(lambda seen: Reply(body={})) as other:
        server.fail(Reply(body={"id": "task", "polling_url": f"{other.url}/steal"}), path="/v1/flux-2-pro")
        assert isinstance(expect_error(bfl, model="bfl/flux-2-pro"), ProviderError)
        assert other.seen == []


@pytest.mark.parametrize("odd", list(INVALID_IMAGES))
def test_what_is_no_image_is_refused(bfl: Service, server: VendorServer, odd: str) -> None:
    server.fail(Reply(body=INVALID_IMAGES[odd]), path="sample.png")
    assert expect_error(bfl, model="bfl/flux-2-pro").details[MAY_BE_BILLED]


def test_prices_grow_with_megapixels_and_inputs(bfl: Service) -> None:
    def price(**fields: object) -> float:
        return bfl.estimate(GenerationRequest(model="bfl/flux-2-pro", **fields)).amount

    assert price() == pytest.approx(0.03)
    assert price(width=2048, height=1024, count=2) == pytest.approx(2 * 0.045)
    assert price(task=Task.EDIT, source="p0") == pytest.approx(0.045)
