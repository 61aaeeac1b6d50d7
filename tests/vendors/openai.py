"""OpenAI's images API: bearer key, JSON for generations, multipart for edits, no field of the older models, base64
only."""

from __future__ import annotations

import base64
from typing import Any

from providers import SENTINEL
from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.openai import PROVIDER
from vendors import Vendor

GENERATE_FIELDS = {
    "prompt",
    "model",
    "n",
    "size",
    "quality",
    "background",
    "output_format",
    "output_compression",
    "moderation",
    "complexity",
    "safety_identifier",
}
EDIT_FIELDS = GENERATE_FIELDS - {"moderation"}


def make_error(status: int, code: str, text: str = "no") -> Reply:
    return Reply(status=status, body={"error": {"message": text, "type": "x", "param": None, "code": code}})


class OpenAI:
    """Tells the tokens that it used; refuses what today's models refuse."""

    def __call__(self, seen: ReceivedRequest) -> Reply:
        if seen.headers.get("Authorization") != f"Bearer {SENTINEL}":
            return make_error(401, "invalid_api_key")
        if seen.path == "/v1/models":
            data = [
                {"id": "gpt-image-2.6-flare", "object": "model", "created": 1, "owned_by": "x"},
                {"id": "gpt-image-2", "object": "model", "created": 1, "owned_by": "x", "shutdown_date": "2027-06-01"},
            ]
            return Reply(body={"object": "list", "data": data})
        if seen.path == "/v1/images/generations":
            return self._handle_images(seen.json, GENERATE_FIELDS)
        if seen.path == "/v1/images/edits":
            if not (seen.files.keys() & {"image", "image[]"}):
                return make_error(400, "missing_required_parameter", "image")
            return self._handle_images(seen.form, EDIT_FIELDS)
        return make_error(404, "not_found")

    def _handle_images(self, given: dict[str, Any], known: set[str]) -> Reply:
        if set(given) - known:
            return make_error(400, "unknown_parameter", f"Unknown parameter: {sorted(set(given) - known)}")
        if given["model"].startswith("dall-e"):
            return make_error(400, "image_generation_user_error", "The model does not exist")
        width, _, height = str(given.get("size", "1024x1024")).partition("x")
        wide, high = int(width), int(height)
        if wide % 16 or high % 16 or max(wide, high) > 3840:
            return make_error(400, "invalid_value", "size")
        if not 655_360 <= wide * high <= 8_294_400 or not 1 / 3 <= wide / high <= 3:
            return make_error(400, "invalid_value", "size: area or shape")
        data = [{"b64_json": base64.b64encode(make_png()).decode()} for _ in range(int(given.get("n", 1)))]
        usage = {
            "input_tokens": 114,
            "input_tokens_details": {"text_tokens": 14, "image_tokens": 100},
            "output_tokens": 280,
            "total_tokens": 394,
        }
        return Reply(body={"created": 1, "output_format": "png", "data": data, "usage": usage})


VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=OpenAI,
    model="openai/gpt-image-2.5-flare",
    path="/images/generations",
    base="/v1",
    statuses=(
        (400, {"error": {"message": "bad", "code": "invalid_value"}}, "InvalidRequest"),
        (
            400,
            {
                "error": {
                    "message": "no",
                    "code": "moderation_blocked",
                    "moderation_details": {"categories": ["violence"]},
                }
            },
            "ContentRefused",
        ),
        (401, {"error": {"message": "x", "code": "invalid_api_key"}}, "NotConfigured"),
        (403, {"error": {"message": "verify your organization"}}, "NotConfigured"),
        (404, {"error": {"message": "x", "code": "model_not_found"}}, "InvalidRequest"),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}, "PaymentNeeded"),
        (429, {"error": {"message": "x", "code": "credit_balance_exhausted"}}, "PaymentNeeded"),
        (429, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, "RateLimited"),
        (500, {"error": {"message": "x"}}, "Unreachable"),
        (503, {"error": {"message": "x"}}, "Unreachable"),
    ),
)
