"""What is peculiar to Google Gemini: refusals that look well, answers in words, the bill by tokens, delays inside the
body."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from providers import INVALID_IMAGES, FakeContext, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, run_vendor_server
from vendors.gemini import USAGE, Gemini, make_error, make_image_reply

from studio.core.errors import MAY_BE_BILLED, ContentRefused, InvalidRequest, ProviderError
from studio.core.request import GenerationRequest
from studio.core.request_parts import Reference
from studio.core.task import Task
from studio.providers.common.service_backend import Service
from studio.providers.gemini import PROVIDER

MODEL = "gemini/gemini-nano-banana-2.1"


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with run_vendor_server(Gemini()) as server:
        yield server


@pytest.fixture
def gemini(server: VendorServer) -> Service:
    return make_service(PROVIDER, server)


def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")


@pytest.mark.parametrize("name", [one.name for one in PROVIDER.models()])
@pytest.mark.parametrize(("size", "step"), [((1344, 768), "1K"), ((2048, 2048), "2K"), ((4096, 2304), "4K")])
def test_every_model_draws_in_the_nearest_shape(
    gemini: Service, server: VendorServer, name: str, size: tuple[int, int], step: str
) -> None:
    render_images(gemini, model=f"gemini/{name}", width=size[0], height=size[1])
    sent = server.seen[0].json["generationConfig"]["imageConfig"]
    assert sent["aspectRatio"] == ("1:1" if step == "2K" else "16:9")
    assert sent.get("imageSize") == (step if name in ("gemini-nano-banana-2.1", "gemini-3-pro-image") else None)


def test_the_bill_is_by_the_tokens_that_were_used(gemini: Service, server: VendorServer) -> None:
    first, second = render_images(gemini, seeds=2, model=MODEL)
    assert first.cost == pytest.approx(8 * 1.5e-6 + 1120 * 30e-6 + 60 * 7.5e-6)
    assert (first.seed, second.seed) == (7, 8)
    assert len(server.seen) == 2
    plain = {**USAGE, "candidatesTokensDetails": None, "candidatesTokenCount": 1000, "thoughtsTokenCount": None}
    server.fail(Reply(body={**make_image_reply().body, "usageMetadata": plain}))
    [one] = render_images(gemini, model=MODEL)
    assert one.cost == pytest.approx(8 * 1.5e-6 + 1000 * 30e-6)
    server.fail(Reply(body={"candidates": make_image_reply().body["candidates"]}))
    [one] = render_images(gemini, model=MODEL)
    assert one.cost is None


def test_estimates_are_those_of_the_vendors_table(gemini: Service) -> None:
    def price(model: str, **fields: Any) -> float:
        found = gemini.estimate(GenerationRequest(model=model, count=2, **fields))
        assert found is not None
        return found.amount

    assert price(MODEL) == pytest.approx(2 * 0.0336)
    assert price("gemini/gemini-3-pro-image", width=4096, height=4096) == pytest.approx(2 * 0.24)
    assert price("gemini/gemini-2.5-flash-image", width=4096, height=4096) == pytest.approx(2 * 0.039)


def test_an_edit_sends_the_source_first_then_the_references_then_the_words(
    gemini: Service, server: VendorServer
) -> None:
    context = FakeContext(photo(), photo().rotate(180))
    render_images(gemini, context, model=MODEL, task=Task.EDIT, source="p0", references=(Reference(image="p1"),))
    parts = server.seen[0].json["contents"][0]["parts"]
    assert [next(iter(part)) for part in parts] == ["inlineData", "inlineData", "text"]
    first = Image.open(io.BytesIO(base64.urlsafe_b64decode(parts[0]["inlineData"]["data"])))
    assert first.tobytes() == photo().tobytes()
    assert "aspectRatio" not in server.seen[0].json["generationConfig"].get("imageConfig", {})  # it follows the source
    render_images(
        gemini, context, model=MODEL, task=Task.REPLACE_BACKGROUND, source="p0", background="p1", prompt="a beach"
    )
    text = server.seen[1].json["contents"][0]["parts"][-1]["text"]
    assert text.endswith("a beach")
    assert "background" in text


@pytest.mark.parametrize("reason", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "NEW_ONE"])
@pytest.mark.filterwarnings("ignore:NEW_ONE is not a valid")  # the client says so of a reason that is newer than itself
def test_a_prompt_that_is_blocked_is_refused_and_free(gemini: Service, server: VendorServer, reason: str) -> None:
    server.fail(Reply(body={"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 8}}))
    found = expect_error(gemini, model=MODEL)
    assert isinstance(found, ContentRefused)
    assert not found.details.get(MAY_BE_BILLED)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "reason",
    ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"],
)
def test_a_image_that_is_held_back_is_refused_and_says_whether_it_was_billed(
    gemini: Service, server: VendorServer, reason: str
) -> None:
    server.fail(make_image_reply(finishReason=reason, content=None))
    found = expect_error(gemini, model=MODEL)
    assert isinstance(found, ContentRefused)
    assert found.details[MAY_BE_BILLED]
    free = {**make_image_reply(finishReason=reason, content=None).body, "usageMetadata": {"promptTokenCount": 8}}
    server.fail(Reply(body=free))
    assert not expect_error(gemini, model=MODEL).details.get(MAY_BE_BILLED)


@pytest.mark.parametrize("reason", ["NO_IMAGE", "IMAGE_OTHER", "MAX_TOKENS", "STOP"])
def test_no_image_is_an_error(gemini: Service, server: VendorServer, reason: str) -> None:
    server.fail(make_image_reply(finishReason=reason, content=None))
    found = expect_error(gemini, model=MODEL)
    assert type(found) is ProviderError
    assert reason in found.message


def test_an_answer_in_words_is_shown(gemini: Service, server: VendorServer) -> None:
    parts = [{"text": "secret thought", "thought": True}, {"text": "Which fox do you mean?"}]
    server.fail(make_image_reply(content={"role": "model", "parts": parts}))
    found = expect_error(gemini, model=MODEL)
    assert "Which fox do you mean?" in found.message
    assert "secret thought" not in found.message


@pytest.mark.parametrize(
    "body",
    [{}, {"candidates": []}, {"candidates": [{}]}, {"candidates": "x"}, {"candidates": [{"content": {"parts": [7]}}]}],
)
def test_an_answer_without_a_image_is_an_error(gemini: Service, server: VendorServer, body: Any) -> None:
    server.fail(Reply(body=body))
    found = expect_error(gemini, model=MODEL)
    assert isinstance(found, ProviderError)
    assert found.details[MAY_BE_BILLED]
    assert len(server.seen) == 1


@pytest.mark.parametrize("odd", list(INVALID_IMAGES))
def test_what_is_no_image_is_refused(gemini: Service, server: VendorServer, odd: str) -> None:
    data = base64.b64encode(INVALID_IMAGES[odd]).decode()
    server.fail(make_image_reply(content={"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}))
    assert expect_error(gemini, model=MODEL).details[MAY_BE_BILLED]


def test_the_delay_in_the_body_is_kept(gemini: Service, server: VendorServer) -> None:
    server.fail(make_error(429, "RESOURCE_EXHAUSTED", "quota", {"@type": "RetryInfo", "retryDelay": "11s"}))
    context = FakeContext()
    assert len(render_images(gemini, context, model=MODEL)) == 1
    assert context.slept[0] == 11.0


def test_the_environment_does_not_move_the_calls(
    gemini: Service, server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GENAI_API_VERSION": "beta",
        "GOOGLE_API_KEY": "another",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    assert len(render_images(gemini, model=MODEL)) == 1
    assert server.seen[0].path == "/v1/models/gemini-nano-banana-2.1:generateContent"


def test_a_prompt_is_asked_for_before_anything_is_sent(gemini: Service, server: VendorServer) -> None:
    assert isinstance(expect_error(gemini, model=MODEL, prompt=" "), InvalidRequest)
    assert server.seen == []
