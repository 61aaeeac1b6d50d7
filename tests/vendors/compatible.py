"""A server of one's own that speaks the images dialect: no key, an address for one image and base64 for the next."""

from __future__ import annotations

import base64

from vendor_server import ReceivedRequest, Reply, make_png

from studio.providers.compatible import PROVIDER
from vendors import Vendor


class CompatibleServer:
    """Serves its images itself."""

    def __call__(self, seen: ReceivedRequest) -> Reply:
        if seen.path == "/v1/models":
            return Reply(
                body={"object": "list", "data": [{"id": "sd", "object": "model", "created": 1, "owned_by": "me"}]}
            )
        if seen.path == "/files/a.png":
            return Reply(body=make_png(32, 32))
        if seen.path not in ("/v1/images/generations", "/v1/images/edits"):
            return Reply(status=404, body={"detail": "no"})
        wanted = int((seen.form if seen.form else seen.json).get("n", 1))
        entries = [
            {"url": f"http://{seen.headers['Host']}/files/a.png"}
            if k % 2
            else {"b64_json": base64.b64encode(make_png()).decode()}
            for k in range(wanted)
        ]
        return Reply(body={"created": 1, "data": entries})


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
    ),
)
