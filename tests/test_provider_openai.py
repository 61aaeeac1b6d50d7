"""What is peculiar to OpenAI and to servers that speak its dialect."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import pytest
from PIL import Image
from providers import INVALID_IMAGES, SENTINEL, FakeContext, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, make_png, run_vendor_server
from vendors.compatible import CompatibleServer
from vendors.openai import OpenAI

from studio.core.errors import MAY_BE_BILLED, ContentRefused, InvalidRequest, ProviderError
from studio.core.request import GenerationRequest
from studio.core.request_parts import Inpaint, Reference
from studio.core.task import Task
from studio.providers.common.service_backend import Service
from studio.providers.compatible import PROVIDER as COMPATIBLE
from studio.providers.openai import PROVIDER


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with run_vendor_server(OpenAI()) as server:
        yield server


@pytest.fixture
def openai(server: VendorServer) -> Service:
    return make_service(PROVIDER, server, path="/v1")


def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")


def half() -> Image.Image:
    found = Image.new("L", (96, 64))
    found.paste(255, (0, 0, 48, 64))
    return found


def test_all_images_in_one_call_with_the_bill_by_tokens(openai: Service, server: VendorServer) -> None:
    drawn = render_images(openai, seeds=3, model="openai/gpt-image-2.5-flare", width=1536, height=1024)
    assert len(drawn) == 3
    [sent] = server.find_requests("generations")
    assert (sent.json["n"], sent.json["size"], sent.json["quality"]) == (3, "1536x1024", "medium")
    assert sum(one.cost or 0 for one in drawn) == pytest.approx(14 * 5e-6 + 100 * 8e-6 + 280 * 30e-6)


@pytest.mark.parametrize(
    ("name", "size", "price"),
    [
        ("gpt-image-2.5-flare", (1024, 1024), 0.0132),
        ("gpt-image-2.5-sunburst", (1024, 1024), 0.0527),
        ("gpt-image-2.6-sunburst", (2048, 2048), 0.4282),
        ("gpt-image-2", (1536, 1024), 0.0412),
    ],
)
def test_estimates_are_those_of_the_vendors_table(
    openai: Service, name: str, size: tuple[int, int], price: float
) -> None:
    request = GenerationRequest(model=f"openai/{name}", width=size[0], height=size[1], count=2)
    found = openai.estimate(request)
    assert found is not None
    assert found.amount == pytest.approx(2 * price, abs=2e-4)


def read_alpha(server: VendorServer) -> tuple[int, int]:
    """The alpha at the left and at the right of the mask that was sent last, which is as large as its image."""
    files = server.seen[-1].files
    mask, image = (Image.open(io.BytesIO(files[name])) for name in ("mask", "image"))
    assert mask.format == "PNG"
    assert mask.size == image.size
    alpha, row = mask.getchannel("A"), mask.height // 2
    return alpha.getpixel((mask.width // 10, row)), alpha.getpixel((mask.width * 9 // 10, row))


def test_an_edit_sends_the_images_and_a_mask_that_is_clear_where_it_changes(
    openai: Service, server: VendorServer
) -> None:
    context = FakeContext(photo(), half())
    render_images(openai, context, model="openai/gpt-image-2", task=Task.INPAINT, source="p0", mask="p1")
    assert read_alpha(server) == (0, 255)
    render_images(
        openai,
        context,
        model="openai/gpt-image-2",
        task=Task.INPAINT,
        source="p0",
        mask="p1",
        inpaint=Inpaint(invert=True),
    )
    assert read_alpha(server) == (255, 0)
    render_images(
        openai, context, model="openai/gpt-image-2", task=Task.EDIT, source="p0", references=(Reference(image="p1"),)
    )
    assert "image[]" in server.seen[-1].files
    render_images(openai, context, model="openai/gpt-image-2", task=Task.ERASE, prompt="", source="p0", mask="p1")
    assert "Remove" in server.seen[-1].form["prompt"]


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


@pytest.mark.parametrize("soft", [False, True])
def test_the_mask_of_a_large_image_keeps_its_hole(openai: Service, server: VendorServer, soft: bool) -> None:
    side, half = 2880, 1440
    mask = Image.new("L", (side, side))
    mask.paste(noise(half, side).convert("L") if soft else 255, (0, 0, half, side))
    context = FakeContext(noise(side, side), mask)
    fields = {"task": Task.INPAINT, "source": "p0", "mask": "p1", "width": side, "height": side}
    render_images(openai, context, model="openai/gpt-image-2", **fields)
    assert len(server.seen[-1].files["mask"]) <= 4 * 1024 * 1024
    sent = Image.open(io.BytesIO(server.seen[-1].files["mask"]))
    assert (sent.format, sent.mode, sent.size) == ("PNG", "RGBA", (side, side))
    assert sent.getchannel("A").crop((half, 0, side, side)).getextrema() == (255, 255)
    assert sent.getchannel("A").getextrema()[0] == 0
    assert len(sent.convert("RGB").getcolors()) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [Task.EDIT, Task.ERASE, Task.INPAINT, Task.REPLACE_BACKGROUND, Task.STYLE_TRANSFER])
@pytest.mark.parametrize("size", [(720, 512), (96, 64), (2048, 512), (300, 1800), (4000, 3000), (1024, 1024)])
def test_a_source_of_any_size_is_drawn_at_an_allowed_one_and_brought_back(
    openai: Service, server: VendorServer, task: Task, size: tuple[int, int]
) -> None:
    model = next(one for one in openai.models() if one.id == "openai/gpt-image-2")
    width, height = model.sizes.find_nearest_size(*size)
    context = FakeContext(Image.new("RGB", size, "red"), Image.new("L", size, 255), Image.new("RGB", (64, 64)))
    masked = {"mask": "p1"} if task.needs_mask else {}
    style = {"references": (Reference(image="p2"),)} if task is Task.STYLE_TRANSFER else {}
    [one] = render_images(
        openai, context, model=model.id, task=task, source="p0", width=width, height=height, **masked, **style
    )
    assert one.image.size == size
    assert server.seen[-1].form["size"] == f"{width}x{height}"
    first = server.seen[-1].files.get("image") or server.seen[-1].files["image[]"]
    assert style or Image.open(io.BytesIO(first)).size == (width, height)


@pytest.mark.parametrize("size", [(512, 512), (768, 768), (2048, 512), (3840, 3840)])
def test_a_size_that_the_service_refuses_is_refused_before_it_is_sent(openai: Service, size: tuple[int, int]) -> None:
    model = next(one for one in openai.models() if one.id == "openai/gpt-image-2")
    with pytest.raises(InvalidRequest) as caught:
        model.check(GenerationRequest(model=model.id, prompt="x", width=size[0], height=size[1]))
    assert "0.66 to 8.3 megapixels, at most 3:1" in caught.value.hint


def test_a_shape_without_a_size_is_asked_for_as_a_size(openai: Service, server: VendorServer) -> None:
    render_images(openai, model="openai/gpt-image-2", aspect="16:9")
    assert server.seen[-1].json["size"] == "1360x768"


def test_fewer_images_than_asked_are_completed_and_none_is_thrown_away(openai: Service, server: VendorServer) -> None:
    one = {"b64_json": base64.b64encode(make_png(32, 32)).decode()}
    server.fail(Reply(body={"created": 1, "data": [one]}))
    drawn = render_images(openai, seeds=3, model="openai/gpt-image-2")
    assert [image.image.size for image in drawn] == [(32, 32), (64, 64), (64, 64)]
    assert [image.seed for image in drawn] == [7, 8, 9]
    assert [seen.json["n"] for seen in server.seen] == [3, 2]


@pytest.mark.parametrize("odd", list(INVALID_IMAGES))
def test_what_is_no_image_is_refused(openai: Service, server: VendorServer, odd: str) -> None:
    data = [{"b64_json": base64.b64encode(INVALID_IMAGES[odd]).decode()}]
    server.fail(Reply(body={"created": 1, "data": data}))
    assert expect_error(openai, model="openai/gpt-image-2").details[MAY_BE_BILLED]


@pytest.mark.parametrize(
    "data", [[], None, [{}], [{"url": "https://evil.example/a.png"}], [{"b64_json": "%%%"}], "x", [7]]
)
def test_too_few_images_are_an_error_and_no_address_is_followed(
    openai: Service, server: VendorServer, data: object
) -> None:
    server.fail(Reply(body={"created": 1, "data": data}))
    assert isinstance(expect_error(openai, model="openai/gpt-image-2"), ProviderError)
    assert len(server.seen) == 1


def test_a_refusal_names_its_categories(openai: Service, server: VendorServer) -> None:
    body = {"message": "refused", "code": "moderation_blocked", "moderation_details": {"categories": ["violence"]}}
    server.fail(Reply(status=400, body={"error": body}))
    error = expect_error(openai, model="openai/gpt-image-2")
    assert isinstance(error, ContentRefused)
    assert "violence" in error.message


def test_the_check_names_models_that_end(openai: Service) -> None:
    told = openai.check(FakeContext())
    assert "gpt-image-2 will be retired on 2027-06-01" in told
    assert SENTINEL not in told


def test_a_day_of_shutdown_that_the_service_tells_is_in_the_note_of_the_model(openai: Service) -> None:
    assert not any("retire" in model.note for model in openai.models())
    openai.check(FakeContext())
    notes = {model.id: model.note for model in openai.models()}
    assert notes["openai/gpt-image-2"] == "OpenAI will retire it on 2027-06-01."
    assert notes["openai/gpt-image-2.6-flare"] == ""


def test_an_own_server_gives_images_as_text_or_at_its_own_address() -> None:
    with run_vendor_server(CompatibleServer()) as server:
        own = make_service(COMPATIBLE, server, path="/v1")
        drawn = render_images(own, seeds=2, model="compatible/default")
        assert [one.image.size for one in drawn] == [(64, 64), (32, 32)]
        assert "sd" in own.check(FakeContext())
        server.fail(Reply(body={"created": 1, "data": [{"url": "http://169.254.169.254/x"}]}))
        assert isinstance(expect_error(own, model="compatible/default"), ProviderError)
    unset = Service(COMPATIBLE, make_service(COMPATIBLE, server)._keys, lambda: "")
    assert "COMPATIBLE_BASE_URL" in unset.models()[0].problem
