"""What is peculiar to Ideogram: black masks, two fields for a shape, images that are withheld and billed, tasks to wait
for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from providers import INVALID_IMAGES, FakeContext, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, run_vendor_server
from vendors.ideogram import Ideogram

from studio.core.errors import MAY_BE_BILLED, ContentRefused, InvalidRequest, JobCancelled, PaymentNeeded, ProviderError
from studio.core.request import GenerationRequest
from studio.core.request_parts import Inpaint, Outpaint, Reference
from studio.core.task import Task
from studio.providers.common.ideogram_fields import SIZES3
from studio.providers.common.service_backend import Service
from studio.providers.ideogram import PROVIDER


@pytest.fixture
def stand_in() -> Ideogram:
    return Ideogram()


@pytest.fixture
def server(stand_in: Ideogram) -> Iterator[VendorServer]:
    with run_vendor_server(stand_in) as server:
        yield server


@pytest.fixture
def ideogram(server: VendorServer) -> Service:
    return make_service(PROVIDER, server)


def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")


def half() -> Image.Image:
    found = Image.new("L", (96, 64))
    found.paste(255, (0, 0, 48, 64))
    return found


def test_the_vendor_has_sixty_nine_sizes() -> None:
    assert len(SIZES3) == len(set(SIZES3)) == 69


@pytest.mark.parametrize(
    ("size", "field", "value"),
    [
        ((1312, 736), "resolution", "1312x736"),
        ((1600, 900), "aspect_ratio", "16x9"),
        ((None, None), "aspect_ratio", "1x1"),
    ],
)
def test_a_shape_is_said_once_in_the_vendors_spelling(
    ideogram: Service, server: VendorServer, size: tuple[int, int], field: str, value: str
) -> None:
    [one] = render_images(
        ideogram,
        model="ideogram/ideogram-3-turbo",
        width=size[0],
        height=size[1],
        negative_prompt="fog",
    )
    assert (one.seed, one.cost) == (7, 0.03)
    sent = server.find_requests("generate")[0].json
    assert {field: value, "rendering_speed": "turbo", "negative_prompt": "fog", "seed": 7}.items() <= sent.items()
    assert len({"resolution", "aspect_ratio"} & set(sent)) == 1


@pytest.mark.parametrize("name", [one.name for one in PROVIDER.models() if Task.TXT2IMG in one.model.tasks])
def test_every_model_draws_from_text_with_fields_that_it_knows(ideogram: Service, name: str) -> None:
    drawn = render_images(ideogram, model=f"ideogram/{name}", seeds=2, width=1024, height=1024)
    assert [one.seed for one in drawn] == [7, 8]


TASKS = [
    ("ideogram-3", {"task": Task.IMG2IMG, "strength": 0.25}, "remix/ideogram-3", {"image_weight": "75"}),
    ("ideogram-3", {"task": Task.INPAINT, "mask": "p1"}, "inpaint/ideogram-3", {"rendering_speed": "default"}),
    (
        "ideogram-3",
        {"task": Task.OUTPAINT, "outpaint": Outpaint(right=18)},
        "reframe/ideogram-3",
        {"resolution": "1312x736"},
    ),
    (
        "ideogram-3",
        {"task": Task.OUTPAINT, "outpaint": Outpaint(aspect="1:3")},
        "reframe/ideogram-3",
        {"resolution": "512x1536"},
    ),
    ("ideogram-3-quality", {"task": Task.REPLACE_BACKGROUND}, "replace-background/ideogram-3", {"prompt": "a red fox"}),
    (
        "ideogram-4",
        {"task": Task.IMG2IMG, "width": 96, "height": 64},
        "remix/ideogram-4",
        {"resolution": "2496x1664", "image_weight": "50"},
    ),
    ("ideogram-4-5-low", {"task": Task.EDIT}, "precise-edit/ideogram-4-5", {"quality": "low"}),
    ("ideogram-4-5", {"task": Task.INPAINT, "mask": "p1"}, "precise-edit/ideogram-4-5", {"quality": "medium"}),
    ("remove-background", {"task": Task.REMOVE_BACKGROUND}, "remove-background/ideogram-1", {}),
]


@pytest.mark.parametrize(
    ("name", "fields", "route", "form"), TASKS, ids=[f"{route}-{form}" for _, _, route, form in TASKS]
)
def test_every_operation_goes_to_its_route(
    ideogram: Service, server: VendorServer, name: str, fields: dict[str, Any], route: str, form: dict[str, str]
) -> None:
    [one] = render_images(ideogram, FakeContext(photo(), half()), model=f"ideogram/{name}", source="p0", **fields)
    [sent] = server.find_requests(route)
    assert form.items() <= sent.form.items()
    estimate = ideogram.estimate(GenerationRequest(model=f"ideogram/{name}", task=fields["task"]))
    assert estimate is not None
    assert one.cost == estimate.amount


@pytest.mark.parametrize("invert", [False, True])
def test_masks_are_black_where_it_changes_but_white_where_an_object_goes(
    ideogram: Service, server: VendorServer, invert: bool
) -> None:
    def mask(model: str, task: Task) -> tuple[object, object]:
        render_images(
            ideogram,
            FakeContext(photo(), half()),
            model=model,
            task=task,
            source="p0",
            mask="p1",
            inpaint=Inpaint(invert=invert),
        )
        sent = Image.open(io.BytesIO(next(seen for seen in reversed(server.seen) if seen.files).files["mask"]))
        return sent.getpixel((10, 10)), sent.getpixel((90, 10))

    black, white = ((0, 255), (255, 0)) if not invert else ((255, 0), (0, 255))
    assert mask("ideogram/ideogram-3", Task.INPAINT) == black
    assert mask("ideogram/ideogram-4-5", Task.EDIT) == black
    assert mask("ideogram/remove-object", Task.ERASE) == white


def test_references_go_as_styles_or_beside_an_edit(ideogram: Service, server: VendorServer) -> None:
    context, references = FakeContext(photo(), half()), (Reference(image="p1"),)
    render_images(ideogram, context, model="ideogram/ideogram-3", references=references)
    render_images(ideogram, context, model="ideogram/ideogram-4-5", task=Task.EDIT, source="p0", references=references)
    assert "style_reference_images" in server.find_requests("generate")[0].files
    assert "reference_images" in server.find_requests("precise-edit")[0].files


def test_a_withheld_image_is_a_refusal_that_was_billed(ideogram: Service, stand_in: Ideogram) -> None:
    stand_in.safe = False
    error = expect_error(ideogram, model="ideogram/ideogram-4")
    assert isinstance(error, ContentRefused)
    assert error.details[MAY_BE_BILLED]
    assert "billed" in error.hint


def test_an_object_is_removed_by_a_task_that_is_looked_at(ideogram: Service, server: VendorServer) -> None:
    [one] = render_images(
        ideogram, FakeContext(photo(), half()), model="ideogram/remove-object", task=Task.ERASE, source="p0", mask="p1"
    )
    assert one.cost == 0.025
    assert len(server.find_requests("/v2/generations/")) == 3
    assert len(server.find_requests("remove-object")) == 1


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ({"status": "failed", "failure_reason": "safety"}, ContentRefused),
        ({"status": "failed", "failure_reason": "internal"}, ProviderError),
        ({"status": "completed", "data": []}, ProviderError),
        ({"status": "completed"}, ProviderError),
    ],
)
def test_a_task_that_ends_badly_is_an_error(
    ideogram: Service, stand_in: Ideogram, end: dict[str, object], kind: type[Exception]
) -> None:
    stand_in.ends = end
    erase = {"model": "ideogram/remove-object", "task": Task.ERASE, "source": "p0", "mask": "p1"}
    assert isinstance(expect_error(ideogram, FakeContext(photo(), half()), **erase), kind)


def test_stop_is_heard_while_it_is_looked_at(ideogram: Service, server: VendorServer) -> None:
    server.fail(Reply(body={"status": "pending"}), times=200, path="/v2/generations/")
    erase = {"model": "ideogram/remove-object", "task": Task.ERASE, "source": "p0", "mask": "p1"}
    assert isinstance(expect_error(ideogram, FakeContext(photo(), half(), cancel_after=30), **erase), JobCancelled)


@pytest.mark.parametrize("data", [[], None, [None], [{}], [{"url": ""}], "x", {"url": "http://x"}])
def test_an_answer_without_a_image_is_an_error(ideogram: Service, server: VendorServer, data: object) -> None:
    server.fail(Reply(body={"generation_id": "made", "data": data}))
    error = expect_error(ideogram, model="ideogram/ideogram-3")
    assert isinstance(error, ProviderError)
    assert error.details[MAY_BE_BILLED]


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/x.png", "https://evil.example/x.png", "file:///etc/passwd"]
)
def test_a_image_is_taken_from_its_own_hosts_only(ideogram: Service, server: VendorServer, address: str) -> None:
    server.fail(Reply(body={"data": [{"url": address, "is_image_safe": True}]}))
    assert isinstance(expect_error(ideogram, model="ideogram/ideogram-3"), ProviderError)
    assert server.find_requests("x.png") == []


@pytest.mark.parametrize("odd", list(INVALID_IMAGES))
def test_what_is_no_image_is_refused(ideogram: Service, server: VendorServer, odd: str) -> None:
    server.fail(Reply(body=INVALID_IMAGES[odd]), path="/api/images/")
    assert expect_error(ideogram, model="ideogram/ideogram-3").details[MAY_BE_BILLED]


def test_a_plan_that_does_not_cover_it_is_named(ideogram: Service, server: VendorServer) -> None:
    server.fail(Reply(status=402, body={"error": "x", "reject_reason": "subscription_required"}))
    error = expect_error(ideogram, model="ideogram/ideogram-3")
    assert isinstance(error, PaymentNeeded)
    assert "subscription required" in error.message


def test_what_it_needs_is_asked_for_before_anything_is_sent(ideogram: Service, server: VendorServer) -> None:
    for fields in (
        {"prompt": "", "model": "ideogram/ideogram-3"},
        {"model": "ideogram/ideogram-3", "task": Task.OUTPAINT, "source": "p0"},
        {"model": "ideogram/ideogram-3", "task": Task.OUTPAINT, "source": "p0", "outpaint": Outpaint()},
    ):
        assert isinstance(expect_error(ideogram, FakeContext(photo()), **fields), InvalidRequest)
    assert server.seen == []
