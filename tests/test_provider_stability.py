"""Stability AI against a server that is as strict as its specification."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from PIL import Image
from providers import FakeContext, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, make_png, run_vendor_server
from vendors.stability import Stability

from studio.core.errors import (
    MAY_BE_BILLED,
    ContentRefused,
    InvalidRequest,
    JobCancelled,
)
from studio.core.finish import Upscale
from studio.core.request import GenerationRequest
from studio.core.request_parts import Inpaint, Outpaint, Reference
from studio.core.task import Task
from studio.providers.common.service_backend import Service
from studio.providers.stability import PROVIDER


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with run_vendor_server(Stability()) as server:
        yield server


@pytest.fixture
def stability(server: VendorServer) -> Service:
    return make_service(PROVIDER, server)


def photo(width: int = 96, height: int = 64) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def mask() -> Image.Image:
    found = Image.new("L", (96, 64))
    found.paste(255, (8, 8, 40, 40))
    return found


def test_images_from_text_one_call_each(stability: Service, server: VendorServer) -> None:
    context = FakeContext()
    drawn = render_images(
        stability, context, seeds=2, model="stability/core", width=1600, height=900, negative_prompt="fog"
    )
    assert [one.seed for one in drawn] == [7, 8]
    assert [one.cost for one in drawn] == [0.03, 0.03]
    assert drawn[0].image.size == (64, 64)
    form = server.seen[0].form
    assert (form["aspect_ratio"], form["negative_prompt"], form["seed"]) == ("16:9", "fog", "7")


TASKS = [
    ({"task": Task.INPAINT, "mask": "p1", "inpaint": Inpaint(mask_blur=8)}, "edit/inpaint", {"grow_mask": "8"}),
    ({"task": Task.ERASE, "mask": "p1"}, "edit/erase", {}),
    ({"task": Task.OUTPAINT, "outpaint": Outpaint(left=200, top=5000)}, "edit/outpaint", {"left": "200", "up": "2000"}),
    ({"task": Task.SEARCH_REPLACE, "search": "dog"}, "edit/search-and-replace", {"search_prompt": "dog"}),
    ({"task": Task.SEARCH_RECOLOR, "search": "car"}, "edit/search-and-recolor", {"select_prompt": "car"}),
    ({"task": Task.REMOVE_BACKGROUND}, "edit/remove-background", {}),
    ({"task": Task.REPLACE_BACKGROUND}, "edit/replace-background-and-relight", {"background_prompt": "a red fox"}),
    ({"task": Task.SKETCH, "strength": 0.25}, "control/sketch", {"control_strength": "0.25"}),
    ({"task": Task.STRUCTURE}, "control/structure", {"control_strength": "0.7"}),
    (
        {"task": Task.STYLE_TRANSFER, "references": (Reference(image="p1"),)},
        "control/style-transfer",
        {"style_strength": "0.6"},
    ),
]


@pytest.mark.parametrize(("fields", "route", "form"), TASKS, ids=[route for _, route, _ in TASKS])
def test_every_operation_goes_to_its_route(
    stability: Service, server: VendorServer, fields: dict[str, object], route: str, form: dict[str, str]
) -> None:
    drawn = render_images(stability, FakeContext(photo(), mask()), model="stability/edit", source="p0", **fields)
    assert len(drawn) == 1
    [sent] = server.find_requests(route)
    assert form.items() <= sent.form.items()
    assert drawn[0].cost == stability.estimate(GenerationRequest(model="stability/edit", task=fields["task"])).amount


def test_the_mask_is_white_where_it_changes(stability: Service, server: VendorServer) -> None:
    import io

    for invert, inside in ((False, 255), (True, 0)):
        render_images(
            stability,
            FakeContext(photo(), mask()),
            model="stability/edit",
            task=Task.INPAINT,
            source="p0",
            mask="p1",
            inpaint=Inpaint(invert=invert),
        )
        sent = Image.open(io.BytesIO(server.seen[-1].files["mask"]))
        assert (sent.getpixel((20, 20)), sent.getpixel((80, 50))) == (inside, 255 - inside)


@pytest.mark.parametrize("name", ["fast", "conservative", "creative"])
def test_upscales(stability: Service, server: VendorServer, name: str) -> None:
    context = FakeContext(photo(2000, 1500))
    [one] = render_images(
        stability, context, model=f"stability/{name}", task=Task.UPSCALE, source="p0", upscale=Upscale(creativity=1.0)
    )
    assert one.image.size == (64, 64)
    sent = server.seen[0]
    with Image.open(__import__("io").BytesIO(sent.files["image"])) as image:
        limit = 9_437_184 if name == "conservative" else 1_048_576
        assert image.width * image.height <= limit
    assert sent.form.get("creativity") == (None if name == "fast" else "0.5")
    if name == "creative":
        assert len(server.find_requests("/v2beta/results/")) == 3
        assert min(context.slept) >= 10


def test_a_blurred_image_is_a_refusal_that_was_paid_for(stability: Service, server: VendorServer) -> None:
    server.fail(Reply(body={"image": base64.b64encode(make_png()).decode(), "finish_reason": "CONTENT_FILTERED"}))
    error = expect_error(stability, model="stability/core")
    assert isinstance(error, ContentRefused)
    assert error.details[MAY_BE_BILLED]


def test_stop_is_heard_while_it_answers_and_while_it_is_polled(stability: Service, server: VendorServer) -> None:
    server.fail(Reply(silent=True))
    assert isinstance(expect_error(stability, FakeContext(cancel_after=3), model="stability/core"), JobCancelled)
    server.fail(Reply(status=202, body={}), times=50, path="/v2beta/results/")
    error = expect_error(
        stability, FakeContext(photo(), cancel_after=30), model="stability/creative", task=Task.UPSCALE, source="p0"
    )
    assert isinstance(error, JobCancelled)


def test_prompts_that_it_needs_are_asked_for_before_anything_is_sent(stability: Service, server: VendorServer) -> None:
    for fields in (
        {"model": "stability/core"},
        {"model": "stability/edit", "task": Task.REPLACE_BACKGROUND, "source": "p0"},
        {"model": "stability/edit", "task": Task.OUTPAINT, "source": "p0"},
    ):
        error = expect_error(stability, FakeContext(photo()), prompt="", **fields)
        assert isinstance(error, InvalidRequest)
    assert server.seen == []
