"""WaveSpeed: bearer key, an envelope around everything, uploads before use, asterisks in sizes, two looks before a task
is done."""

from __future__ import annotations

import base64
from typing import Any

from providers import SENTINEL
from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.wavespeed import PROVIDER
from vendors import Vendor

_IDEOGRAM3_FIELDS = {
    "prompt",
    "image",
    "mask_image",
    "style",
    "aspect_ratio",
    "reference_images",
    "enable_base64_output",
    "enable_safety_checker",
}
_QWEN_FIELDS = {"prompt", "size", "seed", "output_format", "enable_sync_mode"}
FIELDS: dict[str, set[str]] = {
    **dict.fromkeys(
        [f"ideogram-ai/ideogram-v3-{speed}" for speed in ("turbo", "balanced", "quality")], _IDEOGRAM3_FIELDS
    ),
    "wavespeed-ai/qwen-image/text-to-image": _QWEN_FIELDS | {"enable_base64_output"},
    "wavespeed-ai/qwen-image/text-to-image-2512": _QWEN_FIELDS,
    "wavespeed-ai/qwen-image/edit": {"prompt", "image", "size", "seed", "output_format"},
    "wavespeed-ai/qwen-image-2.0/text-to-image": {"prompt", "size", "seed"},
    "wavespeed-ai/qwen-image-2.0/edit": {"prompt", "images", "seed"},
}


def make_reply(data: Any, *, code: int = 200, message: str = "success", status: int = 200) -> Reply:
    return Reply(status=status, body={"code": code, "message": message, "data": data})


class WaveSpeed:
    """Remembers what was uploaded; `ends` lets tasks end otherwise."""

    def __init__(self) -> None:
        self.looks = 0
        self.uploads: list[bytes] = []
        self.ends: dict[str, Any] | None = None
        self._inline = False

    def __call__(self, seen: ReceivedRequest) -> Reply:
        host = f"http://{seen.headers['Host']}"
        if seen.path == "/outputs/out.png":
            return Reply(body=make_png()) if "Authorization" not in seen.headers else Reply(status=400)
        if seen.headers.get("Authorization") != f"Bearer {SENTINEL}":
            return make_reply(None, code=401, message="invalid api key", status=401)
        route = seen.path.removeprefix("/api/v3/")
        if seen.method == "GET" and route == "predictions/task/result":
            return self._handle_poll(host)
        if seen.method != "POST":
            return make_reply(None, code=404, message="not found", status=404)
        if route == "predictions":
            return make_reply({"page": seen.json["page"], "items": []})
        if route == "media/upload/binary":
            self.uploads.append(seen.files["file"])
            name = f"{host}/media/{len(self.uploads) - 1}.png"
            return make_reply({"type": "image", "download_url": name, "filename": "x", "size": 1})
        return self._handle_submit(route, seen.json)

    def _handle_submit(self, route: str, given: dict[str, Any]) -> Reply:
        if route not in FIELDS:
            return make_reply(None, code=404, message="model not found", status=404)
        extra = set(given) - FIELDS[route]
        sides = str(given.get("size", "1024*1024")).split("*")
        fits = len(sides) == 2 and all(256 <= int(side) <= 1536 for side in sides)
        aspect = given.get("aspect_ratio", "1:1") in ("1:1", "16:9", "9:16", "4:3", "3:4")
        if extra or not given.get("prompt") or not fits or not aspect or not -1 <= given.get("seed", -1) < 2**31:
            return make_reply(None, code=1401, message=f"invalid parameter {extra} {sides}", status=400)
        self._inline = bool(given.get("enable_base64_output"))
        return make_reply({"id": "task", "model": route, "status": "created", "outputs": [], "error": ""})

    def _handle_poll(self, host: str) -> Reply:
        self.looks += 1
        found: dict[str, Any] = {"id": "task", "outputs": [], "has_nsfw_contents": [], "error": ""}
        if self.looks % 3:
            return make_reply({**found, "status": ("created", "processing")[self.looks % 3 - 1]})
        if self.ends is not None:
            return make_reply({**found, **self.ends})
        output = base64.b64encode(make_png()).decode() if self._inline else f"{host}/outputs/out.png"
        return make_reply({**found, "status": "completed", "outputs": [output], "has_nsfw_contents": [False]})


VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=WaveSpeed,
    model="wavespeed/qwen-image",
    path="/qwen-image/text-to-image",
    statuses=(
        (400, {"code": 1400, "message": "missing parameter"}, "InvalidRequest"),
        (400, {"code": 1401, "message": "bad"}, "InvalidRequest"),
        (400, {"code": 1200, "message": "moderated"}, "ContentRefused"),
        (400, {"code": 400, "message": "Insufficient balance"}, "PaymentNeeded"),
        (401, {"code": 401, "message": "x"}, "NotConfigured"),
        (402, {}, "PaymentNeeded"),
        (403, {"message": "no credits"}, "PaymentNeeded"),
        (403, {"message": "forbidden"}, "NotConfigured"),
        (404, {"code": 404, "message": "x"}, "InvalidRequest"),
        (413, {}, "InvalidRequest"),
        (429, {"code": 429, "message": "too many"}, "RateLimited"),
        (500, {"code": 5000, "message": "x"}, "Unreachable"),
        (503, {}, "Unreachable"),
    ),
)
