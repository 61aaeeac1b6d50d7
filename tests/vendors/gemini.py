"""Google Gemini: the key in a header, camel case in and out, known fields only, refusals and bills in the answer."""

from __future__ import annotations

import base64
from typing import Any

from providers import SENTINEL
from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.gemini import PROVIDER
from vendors import Vendor

_ASPECT_RATIOS = {"1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"}
# model -> (image sizes, aspect ratios)
MODELS: dict[str, tuple[set[str], set[str]]] = {
    "gemini-nano-banana-2.1": ({"1K", "2K", "4K"}, _ASPECT_RATIOS | {"1:4", "4:1", "1:8", "8:1"}),
    "gemini-3-pro-image": ({"1K", "2K", "4K"}, _ASPECT_RATIOS),
    "gemini-3.1-flash-lite-image": ({"1K"}, _ASPECT_RATIOS),
    "gemini-2.5-flash-image": (set(), _ASPECT_RATIOS),
}
USAGE = {
    "promptTokenCount": 8,
    "candidatesTokenCount": 1130,
    "totalTokenCount": 1188,
    "thoughtsTokenCount": 50,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}


def make_error(status: int, word: str, text: str, *details: dict[str, Any]) -> Reply:
    body = {"code": status, "message": text, "status": word, "details": list(details)}
    return Reply(status=status, body={"error": body})


def make_image_reply(**candidate: Any) -> Reply:
    """A good answer, or one whose candidate is as told."""
    parts = [
        {"text": "I think of foxes.", "thought": True},
        {"text": "Here it is."},
        {
            "inlineData": {"mimeType": "image/png", "data": base64.b64encode(make_png()).decode()},
            "thoughtSignature": "AAAA",
        },
    ]
    found = {"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": parts}, **candidate}
    kept = {name: value for name, value in found.items() if value is not None}
    return Reply(body={"candidates": [kept], "usageMetadata": USAGE, "modelVersion": "x"})


class Gemini:
    """Says what is wrong with a body that it does not know. Both spellings of a field are taken, as the vendor does;
    the client leaves one in its own."""

    def __call__(self, seen: ReceivedRequest) -> Reply:
        if seen.headers.get("x-goog-api-key") != SENTINEL:
            reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            return make_error(400, "INVALID_ARGUMENT", "API key not valid.", reason)
        if (seen.method, seen.path) == ("GET", "/v1/models"):
            return Reply(body={"models": [{"name": "models/gemini-nano-banana-2.1"}]})
        name, _, verb = seen.path.removeprefix("/v1/models/").partition(":")
        if seen.method != "POST" or verb != "generateContent" or name not in MODELS:
            return make_error(404, "NOT_FOUND", f"models/{name} is not found")
        wrong = self._find_problem(seen.json, *MODELS[name])
        return make_error(400, "INVALID_ARGUMENT", wrong) if wrong else make_image_reply()

    def _find_problem(self, given: dict[str, Any], sizes: set[str], aspects: set[str]) -> str:
        config = given.get("generationConfig", {})
        image = config.get("imageConfig", {})
        extra = [
            *(set(given) - {"contents", "generationConfig", "safetySettings"}),
            *(set(config) - {"responseModalities", "imageConfig", "seed", "temperature", "thinkingConfig"}),
            *(set(image) - {"aspectRatio", "imageSize"}),
        ]
        if extra:
            return f"Unknown name {extra}"
        if image.get("aspectRatio", "1:1") not in aspects or ("imageSize" in image and image["imageSize"] not in sizes):
            return f"imageConfig {image}"
        for content in given["contents"]:
            for part in content["parts"]:
                if set(part) - {"text", "inlineData"} or (
                    "inlineData" in part and not {"mimeType", "mime_type"} & set(part["inlineData"])
                ):
                    return f"part {set(part)}"
        return "" if any(part.get("text") for content in given["contents"] for part in content["parts"]) else "no text"


_DELAY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "11s"}
VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=Gemini,
    model="gemini/gemini-nano-banana-2.1",
    path=":generateContent",
    statuses=(
        (400, make_error(400, "INVALID_ARGUMENT", "bad").body, "InvalidRequest"),
        (400, make_error(400, "INVALID_ARGUMENT", "x", {"reason": "API_KEY_INVALID"}).body, "NotConfigured"),
        (401, make_error(401, "UNAUTHENTICATED", "x").body, "NotConfigured"),
        (402, make_error(402, "RESOURCE_EXHAUSTED", "x").body, "PaymentNeeded"),
        (403, make_error(403, "PERMISSION_DENIED", "x").body, "NotConfigured"),
        (404, make_error(404, "NOT_FOUND", "x").body, "InvalidRequest"),
        (429, make_error(429, "RESOURCE_EXHAUSTED", "quota", _DELAY).body, "RateLimited"),
        (429, make_error(429, "RESOURCE_EXHAUSTED", "free tier, limit: 0", _DELAY).body, "PaymentNeeded"),
        (500, make_error(500, "INTERNAL", "x").body, "Unreachable"),
        (503, make_error(503, "UNAVAILABLE", "x").body, "Unreachable"),
        (504, make_error(504, "DEADLINE_EXCEEDED", "x").body, "Unreachable"),
    ),
)
