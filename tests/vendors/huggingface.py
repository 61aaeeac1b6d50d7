"""Hugging Face: the hub that tells who serves a model, the plain inference route, and the providers' own shapes behind
the router."""

from __future__ import annotations

import base64
from typing import Any

from providers import SENTINEL
from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.huggingface import PROVIDER
from vendors import Vendor

_DRAW_FIELDS = {"width", "height", "seed", "negative_prompt", "num_inference_steps", "guidance_scale"}
_EDIT_FIELDS = {"prompt", "num_inference_steps", "guidance_scale"}
B64 = base64.b64encode(make_png()).decode()


class HuggingFace:
    """`provider` serves every model behind the router; `keys` are what it lets in."""

    def __init__(self) -> None:
        self.provider = ""
        self.keys = [SENTINEL]
        self.looks = 0
        self.ends: dict[str, Any] = {}

    def __call__(self, seen: ReceivedRequest) -> Reply:
        host = f"http://{seen.headers['Host']}"
        if seen.path == "/files/out.png":
            return Reply(body=make_png()) if "Authorization" not in seen.headers else Reply(status=400)
        if seen.path.startswith("/api/models/"):
            return self._handle_model(seen)
        if seen.headers.get("Authorization") not in [f"Bearer {key}" for key in self.keys]:
            return Reply(status=401, body={"error": "Invalid username or password."})
        if seen.path == "/api/whoami-v2":
            return Reply(body={"name": "ada", "type": "user"})
        if seen.path.startswith("/models/"):
            return self._handle_inference(seen)
        return self._handle_routed(seen, host)

    def _handle_model(self, seen: ReceivedRequest) -> Reply:
        name = seen.path.removeprefix("/api/models/")
        task = "image-to-image" if "Kontext" in name else "text-to-image"
        served = {self.provider: {"status": "live", "providerId": f"{self.provider}/x", "task": task}}
        return Reply(
            body={
                "id": name,
                "pipeline_tag": task,
                "tags": [],
                "inferenceProviderMapping": served if self.provider else {},
            }
        )

    def _handle_inference(self, seen: ReceivedRequest) -> Reply:
        given = seen.json
        parameters = given.get("parameters", {})
        known = _EDIT_FIELDS if "Kontext" in seen.path else _DRAW_FIELDS
        if set(given) - {"inputs", "parameters"} or set(parameters) - known or not given.get("inputs"):
            return Reply(status=422, body={"error": f"unknown {set(given)} {set(parameters) - known}"})
        if any(value is None for value in parameters.values()):
            return Reply(status=422, body={"error": "null"})
        return Reply(body=make_png())

    def _handle_routed(self, seen: ReceivedRequest, host: str) -> Reply:
        if seen.method == "GET":
            return self._handle_poll(seen, host)
        given = seen.json
        match seen.path:
            case "/fal-ai/fal-ai/x" if seen.query.get("_subdomain") == "queue" and given.get("image_url"):
                return Reply(
                    body={
                        "request_id": "r",
                        "status": "IN_QUEUE",
                        "response_url": "https://queue.fal.run/fal-ai/x/requests/r",
                    }
                )
            case "/fal-ai/fal-ai/x" if given.get("image_size"):
                return Reply(body={"images": [{"url": f"{host}/files/out.png"}], "seed": 1})
            case "/together/v1/images/generations" | "/nscale/v1/images/generations" if given.get("model"):
                return Reply(body={"data": [{"b64_json": B64}]})
            case "/replicate/v1/models/replicate/x/predictions" if (
                given.get("input") and seen.headers.get("Prefer") == "wait"
            ):
                return Reply(body={"output": [f"{host}/files/out.png"]})
            case "/wavespeed/api/v3/wavespeed/x" if given.get("prompt"):
                get = "https://api.wavespeed.ai/api/v3/predictions/t/result"
                return Reply(body={"code": 200, "data": {"id": "t", "status": "created", "urls": {"get": get}}})
            case _:
                return Reply(status=404, body={"error": f"no route {seen.path} {seen.query} {sorted(given)}"})

    def _handle_poll(self, seen: ReceivedRequest, host: str) -> Reply:
        self.looks += 1
        done, place = self.looks > 2, f"{host}/files/out.png"
        if seen.path == "/wavespeed/api/v3/predictions/t/result":
            state = {"status": "completed", "outputs": [place], **self.ends} if done else {"status": "processing"}
            return Reply(body={"code": 200, "data": state})
        if seen.path == "/fal-ai/fal-ai/x/requests/r/status":
            return Reply(status=200 if done else 202, body={"status": "COMPLETED" if done else "IN_PROGRESS"})
        if seen.path == "/fal-ai/fal-ai/x/requests/r":
            return Reply(body={"images": [{"url": place}]})
        return Reply(status=404, body={"error": f"no route {seen.path}"})


VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=HuggingFace,
    model="huggingface/FLUX.1-schnell",
    path="/models/black-forest-labs/FLUX.1-schnell",
    statuses=(
        (400, {"error": "bad parameters"}, "InvalidRequest"),
        (400, {"error": "NSFW content detected"}, "ContentRefused"),
        (401, {"error": "Invalid credentials"}, "NotConfigured"),
        (402, {"error": "You have exceeded your monthly included credits"}, "PaymentNeeded"),
        (403, {"error": "missing permission: Inference Providers"}, "NotConfigured"),
        (404, {"error": "x"}, "InvalidRequest"),
        (413, {}, "InvalidRequest"),
        (422, {"error": "x"}, "InvalidRequest"),
        (429, {"error": "x"}, "RateLimited"),
        (500, {"error": "x"}, "Unreachable"),
        (502, {"error": "x"}, "Unreachable"),
        (503, {"error": "x"}, "Unreachable"),
        (504, {"error": "x"}, "Unreachable"),
    ),
)
