"""Our time over the bare call of the vendor's own client, per image: OpenAI's, against a server on loopback that
answers at once."""

from __future__ import annotations

import base64
import importlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.overhead import build_base_settings, time_job
from benchmarks.report import Row
from studio.core.request import GenerationRequest
from studio.engine.engine import Engine
from studio.engine.money.keys import KeyStore
from studio.engine.settings_store import SettingsStore
from studio.library.database import Database
from studio.providers.common.service_backend import Service
from studio.providers.openai import PROVIDER

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))


ROUNDS = 25
SIDE = 1024
REQUEST = GenerationRequest(model="openai/gpt-image-2", prompt="a red fox", width=SIDE, height=SIDE)


def rows() -> list[Row]:
    grain = Image.effect_noise((SIDE // 4, SIDE // 4), 60).convert("RGB")
    image = grain.resize((SIDE, SIDE), Image.Resampling.BICUBIC)  # as fine as what models draw, two megabytes as PNG
    out = io.BytesIO()
    image.save(out, "PNG")
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(out.getvalue()).decode()}]}
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    vendor: Any = importlib.import_module("vendor_server")  # the tests' own
    server = vendor.VendorServer(lambda seen: vendor.Reply(body=body))
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measure(Path(folder), server, out.getvalue(), image)
    finally:
        server.close()


def _measure(folder: Path, server: Any, data: bytes, image: Image.Image) -> list[Row]:
    settings = SettingsStore(build_base_settings(folder))
    keys = KeyStore(folder / "keys.json", {"OPENAI_API_KEY": "sk-of-nobody-000000000000"})
    service = Service(PROVIDER, keys, lambda: f"{server.url}/v1")
    engine = Engine(settings=settings, backends=[service], database=Database(folder / "library.db"))
    engine.start()
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: time_job(engine, REQUEST),
        "bare": _build_bare_call(server),
        "decode": lambda: Image.open(io.BytesIO(data)).load(),
        "encode": lambda: image.save(io.BytesIO(), "PNG", compress_level=1),
    }
    try:
        for work in works.values():
            work()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(ROUNDS):  # interleaved, so that a slow moment of the machine hits all alike
            for name, work in works.items():
                times[name].append(_measure_seconds(work))
    finally:
        engine.close()
    wall, cpu = ({name: statistics.median(one[k] for one in times[name]) * 1000 for name in works} for k in (0, 1))
    return [_build_row("wall time", wall), _build_row("CPU", cpu)]


def _build_row(clock: str, ms: dict[str, float]) -> Row:
    over = ms["ours"] - ms["bare"] - ms["decode"] - ms["encode"]
    note = (
        f"{SIDE}×{SIDE}, median of {ROUNDS}: ours {ms['ours']:.0f} ms, bare {ms['bare']:.0f} ms, decode"
        f" {ms['decode']:.0f} ms, encode {ms['encode']:.0f} ms; ratio {ms['ours'] / (ms['ours'] - over):.2f}"
    )
    return Row(f"a cloud image beyond the bare SDK call, decode and encode, {clock}", over, 25, " ms", note)


def _build_bare_call(server: Any) -> Callable[[], object]:
    """The vendor's own client, kept between calls as its manual says, with the image's bytes in hand at the end."""
    import openai

    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-of-nobody-000000000000", max_retries=0)

    def call() -> bytes:
        answer = client.images.generate(
            model="gpt-image-2", prompt="a red fox", n=1, size="1024x1024", quality="medium", output_format="png"
        )
        return base64.b64decode((answer.data or [])[0].b64_json or "")

    return call


def _measure_seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu
