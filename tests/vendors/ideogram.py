"""Ideogram's second dialect: Api-Key, JSON or multipart, lower-case words, one of two fields for a shape, known fields
only."""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image
from providers import SENTINEL
from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.common.ideogram_fields import SIZES3
from studio.providers.ideogram import PROVIDER
from vendors import Vendor

_STYLE_FIELDS = {"style_type", "style_preset", "style_codes", "color_palette", "style_reference_images"}
_COMMON_FIELDS = {"seed", "num_images", "rendering_speed", "magic_prompt"}
_DRAW_FIELDS = (
    _COMMON_FIELDS | _STYLE_FIELDS | {"resolution", "aspect_ratio", "negative_prompt", "character_reference_images"}
)
# route -> (required, allowed), from the vendor's file of the first dialect and the notes on the second
ROUTES: dict[str, tuple[set[str], set[str]]] = {
    "generate/ideogram-3": ({"prompt"}, _DRAW_FIELDS),
    "remix/ideogram-3": ({"image", "prompt"}, _DRAW_FIELDS | {"image_weight"}),
    "inpaint/ideogram-3": ({"image", "mask", "prompt"}, _COMMON_FIELDS | _STYLE_FIELDS),
    "reframe/ideogram-3": ({"image", "resolution"}, (_COMMON_FIELDS | _STYLE_FIELDS) - {"magic_prompt", "style_type"}),
    "replace-background/ideogram-3": ({"image", "prompt"}, _COMMON_FIELDS | _STYLE_FIELDS),
    "generate/ideogram-4": ({"prompt"}, _COMMON_FIELDS | {"resolution"}),
    "remix/ideogram-4": ({"image", "prompt"}, _COMMON_FIELDS | {"resolution", "image_weight"}),
    "generate/ideogram-4-5": (
        {"prompt"},
        {"size", "quality", "images", "mask", "magic_prompt", "seed", "num_images"},
    ),
    "precise-edit/ideogram-4-5": ({"image", "prompt"}, {"mask", "reference_images", "quality"}),
    "remove-background/ideogram-1": ({"image"}, set()),
    "remove-object/ideogram-1": ({"image", "mask"}, set()),
}
_SIZES = {f"{width}x{height}" for width, height in SIZES3}
_LARGE_SIZES = {"2048x2048", "1440x2560", "2560x1440", "1664x2496", "2496x1664"}
_ASPECTS = {
    "1x3",
    "3x1",
    "1x2",
    "2x1",
    "9x16",
    "16x9",
    "10x16",
    "16x10",
    "2x3",
    "3x2",
    "3x4",
    "4x3",
    "4x5",
    "5x4",
    "1x1",
}


def make_error(status: int, text: str, **more: Any) -> Reply:
    return Reply(status=status, body={"error": text, **more})


class Ideogram:
    """Answers at once but for removed objects, which take two looks. `ends` lets such a task end otherwise."""

    def __init__(self) -> None:
        self.looks = 0
        self.safe = True
        self.ends: dict[str, Any] | None = None

    def __call__(self, seen: ReceivedRequest) -> Reply:
        if seen.path.startswith("/api/images/"):
            return Reply(body=make_png()) if "Api-Key" not in seen.headers else make_error(400, "the key came along")
        if seen.headers.get("Api-Key") != SENTINEL:
            return make_error(401, "No authorization token provided")
        host = f"http://{seen.headers['Host']}"
        if seen.path.startswith("/v2/generations/"):
            return self._handle_poll(host) if seen.path.endswith("/made") else make_error(404, "no such generation")
        route = seen.path.removeprefix("/v2/image/")
        if seen.method != "POST" or route not in ROUTES:
            return make_error(404, "no such route")
        kind = seen.headers.get("Content-Type", "").partition(";")[0]
        if kind not in ("application/json", "multipart/form-data"):
            return Reply(
                status=415, body={"type": "x", "title": "Unsupported Media Type", "status": 415, "detail": kind}
            )
        given: dict[str, Any] = json.loads(seen.body) if kind == "application/json" else seen.form
        wrong = self._find_problem(route, given, seen.files)
        if wrong:
            return Reply(status=400, body={"type": "x", "title": "Bad Request", "status": 400, "detail": wrong})
        if route.startswith("remove-object"):
            return Reply(body={"generation_id": "made", "seed": 0})
        return Reply(body={"generation_id": "made", "seed": 3, "data": [self._build_entry(host, given)]})

    def _find_problem(self, route: str, given: dict[str, Any], files: dict[str, bytes]) -> str:
        required, allowed = ROUTES[route]
        names = {*given, *files}
        if required - names or names - allowed - required:
            return f"missing {required - names}, unknown {names - allowed - required}"
        if {"resolution", "aspect_ratio"} <= names:
            return "resolution and aspect_ratio are exclusive"
        sizes = _LARGE_SIZES if route.endswith("ideogram-4") else _SIZES
        if given.get("resolution", next(iter(sizes))) not in sizes or given.get("aspect_ratio", "1x1") not in _ASPECTS:
            return f"no such shape: {given}"
        if given.get("rendering_speed", "turbo") not in ("flash", "turbo", "default", "quality"):
            return "rendering_speed"
        if given.get("quality", "low") not in ("very_low", "low", "medium", "high"):
            return "quality"
        if not 0 <= int(given.get("seed", 0)) <= 2147483647 or not 1 <= int(given.get("image_weight", 50)) <= 100:
            return "seed or image_weight"
        if "mask" in files:
            with Image.open(io.BytesIO(files["image"])) as image, Image.open(io.BytesIO(files["mask"])) as mask:
                if image.size != mask.size or max(map(len, files.values())) > 10 * 2**20:
                    return "the mask must have the size of the image"
        return ""

    def _build_entry(self, host: str, given: dict[str, Any]) -> dict[str, Any]:
        address = f"{host}/api/images/ephemeral/x.png?exp=1&sig=2" if self.safe else None
        return {
            "url": address,
            "prompt": given.get("prompt", ""),
            "resolution": "1024x1024",
            "seed": int(given.get("seed", 3)),
            "is_image_safe": self.safe,
        }

    def _handle_poll(self, host: str) -> Reply:
        self.looks += 1
        if self.looks % 3:
            return Reply(body={"generation_id": "made", "status": "pending", "data": []})
        if self.ends is not None:
            return Reply(body={"generation_id": "made", **self.ends})
        entry = self._build_entry(host, {})
        return Reply(
            body={
                "generation_id": "made",
                "status": "completed",
                "usage_cost_usd_micros": 25_000,
                "failure_reason": None,
                "data": [entry],
            }
        )


VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=Ideogram,
    model="ideogram/ideogram-3",
    path="/v2/image/generate/ideogram-3",
    statuses=(
        (400, {"type": "x", "title": "Bad Request", "status": 400, "detail": "bad"}, "InvalidRequest"),
        (401, {"error": "No authorization token provided"}, "NotConfigured"),
        (402, {"error": "x", "reject_reason": "insufficient_funds"}, "PaymentNeeded"),
        (402, {"error": "x", "reject_reason": "daily_limit"}, "PaymentNeeded"),
        (403, {"error": "x"}, "NotConfigured"),
        (404, {"error": "x"}, "InvalidRequest"),
        (413, {}, "InvalidRequest"),
        (415, {"title": "Unsupported Media Type"}, "InvalidRequest"),
        (422, {"error": "failed the safety check"}, "ContentRefused"),
        (429, {"error": "x", "reject_reason": "inflight_limit", "max_inflight_requests": 10}, "RateLimited"),
        (500, {}, "Unreachable"),
        (503, {}, "Unreachable"),
    ),
)
