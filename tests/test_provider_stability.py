"""Stability AI against a server that is as strict as its specification."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from providers import NO_PICTURES, ODD_REPLIES, SENTINEL, Context, draw, refused, service
from vendor_server import Reply, Seen, VendorServer, png, serving

from studio.core.errors import (
    ContentRefused,
    InvalidRequest,
    JobCancelled,
    NotConfigured,
    PaymentNeeded,
    ProviderError,
    RateLimited,
    StudioError,
    Unreachable,
)
from studio.core.finish import Upscale
from studio.core.parts import Inpaint, Outpaint, Reference
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.providers._http import MAY_BE_BILLED
from studio.providers._service import Service
from studio.providers.stability import PROVIDER

BASE = "/v2beta/stable-image/"
# route -> (required fields and files, allowed ones), read from the vendor's specification
COMMON = {"seed", "output_format"}
WORDS = {"prompt", "negative_prompt"}
ROUTES: dict[str, tuple[set[str], set[str]]] = {
    "generate/ultra": ({"prompt"}, COMMON | WORDS | {"aspect_ratio", "image", "strength", "style_preset"}),
    "generate/core": ({"prompt"}, COMMON | WORDS | {"aspect_ratio", "style_preset"}),
    "generate/sd3": ({"prompt"}, COMMON | WORDS | {"aspect_ratio", "image", "strength", "mode", "model", "cfg_scale"}),
    "upscale/fast": ({"image"}, {"output_format"}),
    "upscale/conservative": ({"image", "prompt"}, COMMON | WORDS | {"creativity"}),
    "upscale/creative": ({"image", "prompt"}, COMMON | WORDS | {"creativity", "style_preset"}),
    "edit/remove-background": ({"image"}, {"output_format"}),
    "edit/erase": ({"image"}, COMMON | WORDS | {"mask", "grow_mask"}),
    "edit/inpaint": ({"image", "prompt"}, COMMON | WORDS | {"mask", "grow_mask", "style_preset"}),
    "edit/outpaint": ({"image"}, COMMON | WORDS | {"left", "right", "up", "down", "creativity"}),
    "edit/search-and-replace": ({"image", "prompt", "search_prompt"}, COMMON | WORDS | {"grow_mask"}),
    "edit/search-and-recolor": ({"image", "prompt", "select_prompt"}, COMMON | WORDS | {"grow_mask"}),
    "edit/replace-background-and-relight": (
        {"subject_image"}, COMMON | {"negative_prompt", "background_prompt", "background_reference", "light_reference"},
    ),
    "control/sketch": ({"image", "prompt"}, COMMON | WORDS | {"control_strength"}),
    "control/structure": ({"image", "prompt"}, COMMON | WORDS | {"control_strength"}),
    "control/style-transfer": ({"init_image", "style_image"}, COMMON | WORDS | {"style_strength"}),
}  # fmt: skip
POLLED = ("upscale/creative", "edit/replace-background-and-relight")


class Stability:
    """The vendor: multipart only, a key, required and known fields, two looks before an async task is done."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, seen: Seen) -> Reply:
        if seen.headers.get("Authorization") != f"Bearer {SENTINEL}":
            return self._error(401, "unauthorized", "invalid or missing authorization")
        if seen.path == "/v1/user/balance":
            return Reply(body={"credits": 12.5})
        if seen.path.startswith("/v2beta/results/"):
            self.looks += 1
            return (
                Reply(status=202, body={"id": "x", "status": "in-progress"}) if self.looks < 3 else self._picture(seen)
            )
        route = seen.path.removeprefix(BASE)
        if seen.method != "POST" or route not in ROUTES:
            return self._error(404, "not_found", "no such route")
        if not seen.headers.get("Content-Type", "").startswith("multipart/form-data"):
            return self._error(400, "bad_request", "content-type: must be multipart/form-data")
        required, allowed = ROUTES[route]
        given = {name for name in (*seen.form, *seen.files) if name != "none"}
        if required - given or given - allowed - required:
            return self._error(400, "bad_request", f"missing {required - given}, unknown {given - allowed - required}")
        return Reply(body={"id": "a" * 64}) if route in POLLED else self._picture(seen)

    def _picture(self, seen: Seen) -> Reply:
        seed = int(seen.form.get("seed", 5))
        return Reply(body={"image": base64.b64encode(png()).decode(), "seed": seed, "finish_reason": "SUCCESS"})

    def _error(self, status: int, name: str, text: str) -> Reply:
        return Reply(status=status, body={"id": "1", "name": name, "errors": [text]})


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with serving(Stability()) as server:
        yield server


@pytest.fixture
def stability(server: VendorServer) -> Service:
    return service(PROVIDER, server)


def photo(width: int = 96, height: int = 64) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def mask() -> Image.Image:
    found = Image.new("L", (96, 64))
    found.paste(255, (8, 8, 40, 40))
    return found


def test_pictures_from_text_one_call_each(stability: Service, server: VendorServer) -> None:
    context = Context()
    drawn = draw(stability, context, seeds=2, model="stability/core", width=1600, height=900, negative_prompt="fog")
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
    ({"task": Task.STYLE_TRANSFER, "references": (Reference(picture="p1"),)}, "control/style-transfer", {"style_strength": "0.6"}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "route", "form"), TASKS, ids=[route for _, route, _ in TASKS])
def test_every_operation_goes_to_its_route(
    stability: Service, server: VendorServer, fields: dict[str, object], route: str, form: dict[str, str]
) -> None:
    drawn = draw(stability, Context(photo(), mask()), model="stability/edit", source="p0", **fields)
    assert len(drawn) == 1
    [sent] = server.sent(route)
    assert form.items() <= sent.form.items()
    assert drawn[0].cost == stability.estimate(GenerationRequest(model="stability/edit", task=fields["task"])).amount  # type: ignore[union-attr, arg-type]


def test_the_mask_is_white_where_it_changes(stability: Service, server: VendorServer) -> None:
    import io

    for invert, inside in ((False, 255), (True, 0)):
        draw(
            stability, Context(photo(), mask()), model="stability/edit", task=Task.INPAINT, source="p0", mask="p1",
            inpaint=Inpaint(invert=invert),
        )  # fmt: skip
        sent = Image.open(io.BytesIO(server.seen[-1].files["mask"]))
        assert (sent.getpixel((20, 20)), sent.getpixel((80, 50))) == (inside, 255 - inside)


@pytest.mark.parametrize("name", ["fast", "conservative", "creative"])
def test_upscales(stability: Service, server: VendorServer, name: str) -> None:
    context = Context(photo(2000, 1500))
    [one] = draw(
        stability, context, model=f"stability/{name}", task=Task.UPSCALE, source="p0", upscale=Upscale(creativity=1.0)
    )
    assert one.image.size == (64, 64)
    sent = server.seen[0]
    with Image.open(__import__("io").BytesIO(sent.files["image"])) as image:
        limit = 9_437_184 if name == "conservative" else 1_048_576
        assert image.width * image.height <= limit
    assert sent.form.get("creativity") == (None if name == "fast" else "0.5")
    if name == "creative":
        assert len(server.sent("/v2beta/results/")) == 3
        assert min(context.slept) >= 10


ERRORS = [
    (401, {}, NotConfigured), (402, {}, PaymentNeeded), (403, {"errors": ["moderated"]}, ContentRefused),
    (400, {"errors": ["image: too small"]}, InvalidRequest), (413, {}, InvalidRequest), (422, {}, InvalidRequest),
    (404, {}, InvalidRequest), (500, {}, Unreachable), (503, {}, Unreachable), (429, {}, RateLimited), (418, {}, ProviderError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), ERRORS, ids=[str(status) for status, _, _ in ERRORS])
def test_every_status_is_the_right_error(
    stability: Service, server: VendorServer, status: int, body: dict[str, object], kind: type[StudioError]
) -> None:
    server.fail(Reply(status=status, body=body), times=9)
    error = refused(stability, model="stability/core")
    assert type(error) is kind
    assert bool(error.details.get(MAY_BE_BILLED)) == (status >= 500)
    assert len(server.seen) == (4 if status == 429 else 1)  # only what is free for sure is sent again
    for told in body.get("errors", ()):  # type: ignore[attr-defined]
        assert told in error.message


def test_a_wait_that_the_service_asks_for_is_kept(stability: Service, server: VendorServer) -> None:
    server.fail(Reply(status=429, headers={"Retry-After": "3"}, body={}))
    context = Context()
    assert len(draw(stability, context, model="stability/core")) == 1
    assert context.slept == [3.0]
    server.fail(Reply(status=429, headers={"Retry-After": "3600"}, body={}))
    error = refused(stability, model="stability/core")
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3600


@pytest.mark.parametrize("odd", list(ODD_REPLIES))
def test_whatever_it_answers_ends_in_an_error_that_says_what_to_do(
    stability: Service, server: VendorServer, odd: str
) -> None:
    server.fail(ODD_REPLIES[odd], times=9)
    error = refused(stability, model="stability/core")
    assert isinstance(error, ProviderError)
    assert len(server.seen) == 1


@pytest.mark.parametrize("odd", list(NO_PICTURES))
def test_what_is_no_picture_is_refused(stability: Service, server: VendorServer, odd: str) -> None:
    server.fail(Reply(body={"image": base64.b64encode(NO_PICTURES[odd]).decode(), "finish_reason": "SUCCESS"}))
    error = refused(stability, model="stability/core")
    assert error.details[MAY_BE_BILLED]


def test_a_blurred_picture_is_a_refusal_that_was_paid_for(stability: Service, server: VendorServer) -> None:
    server.fail(Reply(body={"image": base64.b64encode(png()).decode(), "finish_reason": "CONTENT_FILTERED"}))
    error = refused(stability, model="stability/core")
    assert isinstance(error, ContentRefused)
    assert error.details[MAY_BE_BILLED]


def test_stop_is_heard_while_it_answers_and_while_it_is_polled(stability: Service, server: VendorServer) -> None:
    server.fail(Reply(silent=True))
    assert isinstance(refused(stability, Context(cancel_after=3), model="stability/core"), JobCancelled)
    server.fail(Reply(status=202, body={}), times=50, path="/v2beta/results/")
    error = refused(
        stability, Context(photo(), cancel_after=30), model="stability/creative", task=Task.UPSCALE, source="p0"
    )
    assert isinstance(error, JobCancelled)


def test_nobody_there_is_unreachable_and_free(server: VendorServer) -> None:
    gone = Service(PROVIDER, service(PROVIDER, server)._keys, lambda: "http://127.0.0.1:9")
    context = Context()
    error = refused(gone, context, model="stability/core")
    assert isinstance(error, Unreachable)
    assert MAY_BE_BILLED not in error.details
    assert len(context.slept) == 3  # tried again, for nothing was sent


def test_locked_without_a_key_and_checked_for_nothing(stability: Service, server: VendorServer) -> None:
    locked = service(PROVIDER, server, key="")
    assert all("STABILITY_API_KEY" in model.problem for model in locked.models())
    assert isinstance(refused(locked, model="stability/core"), NotConfigured)
    assert server.seen == []
    assert not any(model.problem for model in stability.models())
    assert "12.5 credits" in stability.check(Context())


def test_prompts_that_it_needs_are_asked_for_before_anything_is_sent(stability: Service, server: VendorServer) -> None:
    for fields in (
        {"model": "stability/core"},
        {"model": "stability/edit", "task": Task.REPLACE_BACKGROUND, "source": "p0"},
        {"model": "stability/edit", "task": Task.OUTPAINT, "source": "p0"},
    ):
        error = refused(stability, Context(photo()), prompt="", **fields)
        assert isinstance(error, InvalidRequest)
    assert server.seen == []


def test_the_key_stays_out_of_files(stability: Service, tmp_path: Path) -> None:
    assert SENTINEL not in f"{stability!r} {stability.wire(Context())!r} {vars(stability.spec)}"
