"""Stability AI: multipart only, a bearer key, required and known fields of each route, two looks before an async task
is done."""

from __future__ import annotations

import base64

from providers import SENTINEL
from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.stability import PROVIDER
from vendors import Vendor

BASE = "/v2beta/stable-image/"
# route -> (required fields and files, allowed ones), read from the vendor's specification
COMMON_FIELDS = {"seed", "output_format"}
PROMPT_FIELDS = {"prompt", "negative_prompt"}
ROUTES: dict[str, tuple[set[str], set[str]]] = {
    "generate/ultra": (
        {"prompt"},
        COMMON_FIELDS | PROMPT_FIELDS | {"aspect_ratio", "image", "strength", "style_preset"},
    ),
    "generate/core": ({"prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"aspect_ratio", "style_preset"}),
    "generate/sd3": (
        {"prompt"},
        COMMON_FIELDS | PROMPT_FIELDS | {"aspect_ratio", "image", "strength", "mode", "model", "cfg_scale"},
    ),
    "upscale/fast": ({"image"}, {"output_format"}),
    "upscale/conservative": ({"image", "prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"creativity"}),
    "upscale/creative": ({"image", "prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"creativity", "style_preset"}),
    "edit/remove-background": ({"image"}, {"output_format"}),
    "edit/erase": ({"image"}, COMMON_FIELDS | {"mask", "grow_mask"}),
    "edit/inpaint": ({"image", "prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"mask", "grow_mask", "style_preset"}),
    "edit/outpaint": ({"image"}, COMMON_FIELDS | {"prompt", "left", "right", "up", "down", "creativity"}),
    "edit/search-and-replace": ({"image", "prompt", "search_prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"grow_mask"}),
    "edit/search-and-recolor": ({"image", "prompt", "select_prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"grow_mask"}),
    "edit/replace-background-and-relight": (
        {"subject_image"},
        COMMON_FIELDS | {"negative_prompt", "background_prompt", "background_reference", "light_reference"},
    ),
    "control/sketch": ({"image", "prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"control_strength"}),
    "control/structure": ({"image", "prompt"}, COMMON_FIELDS | PROMPT_FIELDS | {"control_strength"}),
    "control/style-transfer": ({"init_image", "style_image"}, COMMON_FIELDS | PROMPT_FIELDS | {"style_strength"}),
}
POLLED_ROUTES = ("upscale/creative", "edit/replace-background-and-relight")


class Stability:
    """The vendor: multipart only, a key, required and known fields, two looks before an async task is done."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, seen: ReceivedRequest) -> Reply:
        if seen.headers.get("Authorization") != f"Bearer {SENTINEL}":
            return self._reply_with_error(401, "unauthorized", "invalid or missing authorization")
        if seen.path == "/v1/user/balance":
            return Reply(body={"credits": 12.5})
        if seen.path.startswith("/v2beta/results/"):
            self.looks += 1
            return (
                Reply(status=202, body={"id": "x", "status": "in-progress"})
                if self.looks < 3
                else self._reply_with_image(seen)
            )
        route = seen.path.removeprefix(BASE)
        if seen.method != "POST" or route not in ROUTES:
            return self._reply_with_error(404, "not_found", "no such route")
        if not seen.headers.get("Content-Type", "").startswith("multipart/form-data"):
            return self._reply_with_error(400, "bad_request", "content-type: must be multipart/form-data")
        required, allowed = ROUTES[route]
        given = {name for name in (*seen.form, *seen.files) if name != "none"}
        if required - given or given - allowed - required:
            return self._reply_with_error(
                400, "bad_request", f"missing {required - given}, unknown {given - allowed - required}"
            )
        return Reply(body={"id": "a" * 64}) if route in POLLED_ROUTES else self._reply_with_image(seen)

    def _reply_with_image(self, seen: ReceivedRequest) -> Reply:
        seed = int(seen.form.get("seed", 5))
        return Reply(body={"image": base64.b64encode(make_png()).decode(), "seed": seed, "finish_reason": "SUCCESS"})

    def _reply_with_error(self, status: int, name: str, text: str) -> Reply:
        return Reply(status=status, body={"id": "1", "name": name, "errors": [text]})


VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=Stability,
    model="stability/core",
    path="generate/core",
    statuses=(
        (400, {"errors": ["image: too small"]}, "InvalidRequest"),
        (401, {}, "NotConfigured"),
        (402, {}, "PaymentNeeded"),
        (403, {"errors": ["moderated"]}, "ContentRefused"),
        (404, {}, "InvalidRequest"),
        (413, {}, "InvalidRequest"),
        (422, {"errors": ["language"]}, "InvalidRequest"),
        (429, {}, "RateLimited"),
        (500, {}, "Unreachable"),
        (503, {}, "Unreachable"),
    ),
)
