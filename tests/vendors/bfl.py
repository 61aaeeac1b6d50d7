"""Black Forest Labs: x-key, submit once, poll where it says, a signed address for the image; bodies as its OpenAPI file
says."""

from __future__ import annotations

from typing import Any

from providers import SENTINEL
from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.bfl import PROVIDER
from vendors import Vendor

_FLUX2_FIELDS = {
    "prompt",
    "input_image",
    "input_image_2",
    "input_image_3",
    "seed",
    "width",
    "height",
    "output_format",
    "safety_tolerance",
}
_FLUX1_FIELDS = {
    "prompt",
    "width",
    "height",
    "seed",
    "output_format",
    "safety_tolerance",
    "prompt_upsampling",
    "image_prompt",
}
FIELDS: dict[str, set[str]] = {
    "flux-3-image": {"prompt", "images", "aspect_ratio", "resolution", "safety_tolerance", "grounding", "version"},
    "flux-2-max": _FLUX2_FIELDS,
    "flux-2-pro": _FLUX2_FIELDS,
    "flux-2-klein-4b": _FLUX2_FIELDS,
    "flux-2-klein-9b": _FLUX2_FIELDS,
    "flux-2-flex": _FLUX2_FIELDS | {"guidance", "steps", "prompt_upsampling"},
    "flux-pro-1.1": _FLUX1_FIELDS,
    "flux-dev": _FLUX1_FIELDS | {"steps", "guidance"},
    "flux-pro-1.1-ultra": {
        "prompt",
        "aspect_ratio",
        "raw",
        "seed",
        "output_format",
        "image_prompt",
        "safety_tolerance",
    },
    "flux-kontext-pro": {
        "prompt",
        "input_image",
        "input_image_2",
        "aspect_ratio",
        "seed",
        "output_format",
        "safety_tolerance",
    },
    "flux-kontext-max": {
        "prompt",
        "input_image",
        "input_image_2",
        "aspect_ratio",
        "seed",
        "output_format",
        "safety_tolerance",
    },
    "flux-pro-1.0-fill": {"image", "mask", "prompt", "steps", "guidance", "seed", "output_format", "safety_tolerance"},
    "flux-pro-1.0-expand": {
        "image",
        "top",
        "bottom",
        "left",
        "right",
        "prompt",
        "seed",
        "output_format",
        "steps",
        "guidance",
    },
    "flux-tools/erase-v1": {"image", "mask", "dilate_pixels", "safety_tolerance", "output_format", "seed"},
}


class Bfl:
    """Two looks at a pending task before it is ready; `ends` lets tasks end otherwise."""

    def __init__(self) -> None:
        self.looks = 0
        self.ends: dict[str, Any] | None = None

    def __call__(self, seen: ReceivedRequest) -> Reply:
        if seen.path == "/sample.png":
            ours = "x-key" not in seen.headers
            return Reply(body=make_png()) if ours else Reply(status=400, body={"detail": "the key came along"})
        if seen.headers.get("x-key") != SENTINEL:
            return Reply(status=403, body={"detail": "Not authenticated"})
        if seen.path == "/v1/credits":
            return Reply(body={"credits": 42})
        host = f"http://{seen.headers['Host']}"
        if seen.path == "/v1/get_result":
            return self._handle_poll(host)
        name = seen.path.removeprefix("/v1/")
        if seen.method != "POST" or name not in FIELDS:
            return Reply(status=404, body={"detail": "Not Found"})
        extra = set(seen.json) - FIELDS[name]
        if extra or not seen.json.get("prompt", name.endswith(("erase-v1", "fill", "expand")) and "x"):
            return Reply(status=422, body={"detail": [{"loc": ["body", *extra], "msg": "not allowed", "type": "x"}]})
        return Reply(body={"id": "task", "polling_url": f"{host}/v1/get_result?id=task", "cost": 4.5})

    def _handle_poll(self, host: str) -> Reply:
        self.looks += 1
        if self.looks % 3:
            return Reply(body={"id": "task", "status": "Pending", "result": None})
        if self.ends is not None:
            return Reply(body={"id": "task", "result": None, **self.ends})
        return Reply(body={"id": "task", "status": "Ready", "result": {"sample": f"{host}/sample.png", "seed": 42}})


VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=Bfl,
    model="bfl/flux-2-pro",
    path="/v1/flux-2-pro",
    statuses=(
        (400, {"detail": "reference too large"}, "InvalidRequest"),
        (402, {"detail": "no credits"}, "PaymentNeeded"),
        (403, {"detail": "Not authenticated"}, "NotConfigured"),
        (404, {"detail": "Not Found"}, "InvalidRequest"),
        (422, {"detail": [{"loc": ["body"], "msg": "bad", "type": "x"}]}, "InvalidRequest"),
        (422, {"status": "Request Moderated", "details": "no"}, "ContentRefused"),
        (429, {"detail": "too many"}, "RateLimited"),
        (500, {}, "Unreachable"),
        (503, {}, "Unreachable"),
    ),
)
