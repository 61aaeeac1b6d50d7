"""A server of one's own that speaks the images dialect: no key, an address for one image and base64 for the next; it
knows its models, and can answer in the odd forms that such servers have."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.compatible import PROVIDER
from vendors import Vendor

MODELS = ("sd", "org/flux.1-dev")


class CompatibleServer:
    """Serves its images itself. `entry` makes one image of an answer of the number and the host; `limit` is how many it
    gives at most."""

    def __init__(self) -> None:
        self.limit = 99
        self.entry: Callable[[int, str], Any] = make_entry
        self.wrap: Callable[[list[Any]], Any] = lambda entries: {"created": 1, "data": entries}

    def __call__(self, seen: ReceivedRequest) -> Reply:
        if seen.path == "/v1/models":
            data = [{"id": name, "object": "model", "created": 1, "owned_by": "me"} for name in MODELS]
            return Reply(body={"object": "list", "data": data})
        if seen.path in ("/files/a.png", "/v1/b.png"):
            return Reply(body=make_png(32, 32))
        if seen.path not in ("/v1/images/generations", "/v1/images/edits"):
            return Reply(status=404, body=b"404 page not found", headers={"Content-Type": "text/plain"})
        given = seen.form if seen.form else seen.json
        if given.get("model", MODELS[0]) not in MODELS:
            return Reply(status=404, body={"error": {"message": f"model {given['model']} not found"}})
        wanted = min(self.limit, int(given.get("n", 1)))
        return Reply(body=self.wrap([self.entry(k, seen.headers["Host"]) for k in range(wanted)]))


def make_entry(number: int, host: str) -> dict[str, str]:
    if number % 2:
        return {"url": f"http://{host}/files/a.png"}
    return {"b64_json": base64.b64encode(make_png()).decode()}


VENDOR = Vendor(
    spec=PROVIDER,
    stand_in=CompatibleServer,
    model="compatible/default",
    path="/images/generations",
    base="/v1",
    statuses=(
        (400, {"error": "bad size"}, "InvalidRequest"),
        (401, {}, "NotConfigured"),
        (404, {"detail": "x"}, "InvalidRequest"),
        (429, {}, "RateLimited"),
        (500, {}, "Unreachable"),
        (502, {}, "Unreachable"),
        (503, {"error": "overloaded"}, "Unreachable"),
        (503, {"error": "model is loading", "estimated_time": 20}, "RateLimited"),
    ),
)
