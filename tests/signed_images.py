"""Image files to sign, and what c2pa itself says of signed ones."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

from fakes import draw_fake_image

from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.source_type import GENERATED

KINDS = ("png", "jpeg", "webp", "avif")
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def make_file(kind: str, seed: int = 1, side: int = 64) -> bytes:
    out = io.BytesIO()
    draw_fake_image(seed, side, side).save(out, kind.upper())
    return out.getvalue()


def make_asset(request: GenerationRequest | None = None, **fields: Any) -> Asset:
    """An asset as the engine hands it to whoever signs."""
    values: dict[str, Any] = {
        "id": "aa-0",
        "job_id": "aa",
        "user": "ann",
        "index": 0,
        "path": Path("a-secret-name.png"),
        "width": 64,
        "height": 64,
        "seed": 1,
        "created": time.time(),
        "request": request or GenerationRequest(model="fake", prompt="a secret prompt"),
        "source_type": GENERATED,
    }
    return Asset(**{**values, **fields})


def read_store(data: bytes, kind: str, root: bytes = b"") -> dict[str, Any]:
    """The manifest store as c2pa reads it, without anything of ours; trusted with `root`."""
    import c2pa

    settings = {**OFFLINE, **({"trust": {"user_anchors": root.decode()}} if root else {})}
    with c2pa.Reader(f"image/{kind}", io.BytesIO(data), context=c2pa.Context.from_dict(settings)) as reader:
        return json.loads(reader.json())


def list_actions(store: dict[str, Any]) -> list[dict[str, Any]]:
    """The actions of the active manifest."""
    assertions = store["manifests"][store["active_manifest"]]["assertions"]
    return next(one["data"]["actions"] for one in assertions if one["label"].startswith("c2pa.actions"))


def move_png_credentials(signed: bytes, other: bytes) -> bytes:
    """The PNG `other` with the credentials of another one, as careless programs leave them behind."""
    place = signed.index(b"caBX") - 4
    chunk = signed[place : place + 12 + int.from_bytes(signed[place : place + 4], "big")]
    return other[:33] + chunk + other[33:]  # behind signature and header
