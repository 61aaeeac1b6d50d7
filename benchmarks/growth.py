"""What the program costs when it has much: jobs, waiting jobs, model files, images, sessions. Each row says whether the
cost stays flat, or how much each one adds."""

from __future__ import annotations

import gc
import json
import re
import shutil
import statistics
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from PIL import Image

from benchmarks.library import fill
from benchmarks.overhead import build_base_settings
from benchmarks.report import Row
from benchmarks.startup import start_studio_process
from studio.core.model import TOOLS_LANE, Model, Sizes
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.library.database import Database

JOBS = 10_000
FILES = 3_000
WAITING = 1_000
SESSIONS = 60
ASSETS = 100_000
STARTS = 3
WARM_UP_JOBS = 1_000  # until what is kept of ended jobs is full
API = "/api/image-studio"


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return [
            *_measure_lists(root / "jobs"),
            *_measure_waiting(root / "waiting"),
            *_measure_files(root / "models"),
            *_measure_assets(root / "assets"),
        ]


class TinyBackend:
    """Draws 8 × 8 px at once, so that nothing but the engine's own work is left."""

    def models(self) -> Sequence[Model]:
        sizes = Sizes(liked=((8, 8),), smallest=8)
        return [Model(id="tiny", title="Tiny", family="", lane=TOOLS_LANE, sizes=sizes)]

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        return [RenderedImage(image=Image.new("RGB", (8, 8), seed.seed % 256), seed=seed.seed) for seed in seeds]

    def close(self) -> None:
        """Nothing is held."""


def _measure_lists(folder: Path) -> list[Row]:
    """JOBS jobs with an image each are made in this process, which tells what each leaves in memory; then a studio is
    asked for its health and lists."""
    memory = _fill_library(folder)
    with start_studio_process(folder, warm_up="0") as (url, pid), httpx.Client(base_url=url, timeout=60) as client:
        health, jobs = (_measure_answer_ms(client, f"{API}/{path}") for path in ("health", "jobs?limit=50"))
        many = _measure_answer_ms(client, f"{API}/jobs?limit=500")
        session = _measure_session_mb(client, pid)
    with start_studio_process(warm_up="0") as (url, _), httpx.Client(base_url=url, timeout=60) as client:
        empty = _measure_answer_ms(client, f"{API}/health")
    return [
        Row("/health with 10,000 jobs", health, 20, " ms", f"with none {empty:.1f} ms; median of 15"),
        Row("a list of 50 jobs out of 10,000", jobs, 20, " ms", f"of 500: {many:.0f} ms; median of 15"),
        Row("memory that each of 10,000 ended jobs leaves", memory, 1, " kB", f"after the first {WARM_UP_JOBS}"),
        Row("memory of a browser session", session, 3, " MB", f"mean of {SESSIONS}; at most `session_limit` are kept"),
    ]


def _fill_library(folder: Path) -> float:
    """Make the jobs; the kB that each adds to the memory of the process once WARM_UP_JOBS have ended."""
    settings = build_base_settings(folder).replace(default_model="tiny", queue_limit=JOBS, queue_limit_per_user=JOBS)
    engine = Engine(
        settings=SettingsStore(settings), backends=[TinyBackend()], database=Database(folder / "library.db")
    )
    engine.start()
    try:
        _run_jobs(engine, WARM_UP_JOBS)
        before = _read_memory()
        _run_jobs(engine, JOBS - WARM_UP_JOBS)
        return (_read_memory() - before) / (JOBS - WARM_UP_JOBS) / 1e3
    finally:
        engine.close()


def _run_jobs(engine: Engine, count: int) -> None:
    request = GenerationRequest(model="tiny", prompt="a red apple on a table " * 5, seed=1)
    for begin in range(0, count, 100):
        jobs = [engine.submit(request, LOCAL_USER) for _ in range(min(100, count - begin))]
        for job in jobs:
            while not job.snapshot.status.is_final:
                job.wait(job.snapshot.version, 60)


def _read_memory(pid: int | None = None) -> int:
    gc.collect()
    return psutil.Process(pid).memory_info().rss


def _measure_answer_ms(client: httpx.Client, path: str) -> float:
    taken: list[float] = []
    for _ in range(16):
        begin = time.perf_counter()
        client.get(path).raise_for_status()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[1:]) * 1e3


def _measure_session_mb(client: httpx.Client, pid: int) -> float:
    """What a session leaves that has opened the page and stopped a job."""

    def open_sessions(count: int, name: str) -> None:
        for number in range(count):
            client.get("/")
            body = {"data": [""], "session_hash": f"{name}{number}"}
            client.post("/gradio_api/run/txt2img_stop", json=body)

    open_sessions(10, "warm-up")
    before = _read_memory(pid)
    open_sessions(SESSIONS, "session")
    return (_read_memory(pid) - before) / SESSIONS / 1e6


def _measure_waiting(folder: Path) -> list[Row]:
    """Start and stop with WAITING jobs in the queue, beyond a start and a stop with one that runs."""
    _add_waiting_jobs(folder / "one", 1)
    _add_waiting_jobs(folder / "many", WAITING)
    start, stop = _time_start_and_stop(folder / "one")
    many_start, many_stop = _time_start_and_stop(folder / "many")
    return [
        Row(f"{what} with 1,000 waiting jobs, beyond one with one", many - one, 3, " s", f"{many:.1f} s / {one:.1f} s")
        for what, many, one in (("start", many_start, start), ("stop", many_stop, stop))
    ]


def _add_waiting_jobs(folder: Path, count: int) -> None:
    database = Database(folder / "library.db")
    request = json.dumps(GenerationRequest(model="embedded", prompt="a red apple", steps=1).to_json())
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO jobs (id, user, model, request, status, created, owner)"
            " VALUES (?, ?, 'embedded', ?, 'queued', 1, 'gone')",
            [(f"{number:016x}", LOCAL_USER.name, request) for number in range(count)],
        )
    database.close()


def _time_start_and_stop(outputs: Path) -> tuple[float, float]:
    begin = time.perf_counter()
    with start_studio_process(outputs, queue_limit=str(WAITING), queue_limit_per_user=str(WAITING)):
        started = time.perf_counter()
    return started - begin, time.perf_counter() - started


@dataclass(frozen=True)
class Start:
    """Seconds until the page answers, its bytes without digits and addresses (ports and Gradio's number of the
    start vary, and it names a function with its address), and the memory of the process then."""

    seconds: float
    page: int
    memory: int


def _measure_files(folder: Path) -> list[Row]:
    """The second start with FILES model files, and the page with them, against those with the embedded model alone."""
    shutil.copytree("models/embedded", folder / "embedded")
    few = _measure_start(models_dir=str(folder))
    _write_model_files(folder)
    first = _measure_start(models_dir=str(folder))
    second = _measure_start(models_dir=str(folder))
    note = f"{second.seconds:.1f} s / {few.seconds:.1f} s; the first start {first.seconds:.1f} s"
    size = f"{few.page / 1e3:.0f} kB of HTML"
    return [
        Row("second start with 3,000 model files, beyond one with none", second.seconds - few.seconds, 1, " s", note),
        Row("bytes that 3,000 model files add to the page", abs(second.page - few.page), 0, "", size),
    ]


def _measure_assets(folder: Path) -> list[Row]:
    """A start with ASSETS images in the library against one with none, in turns."""
    for name, count in (("few", 0), ("many", ASSETS)):
        database = Database(folder / name / "library.db")
        fill(database, count)
        database.close()
    starts = [(_measure_start(folder / "few"), _measure_start(folder / "many")) for _ in range(STARTS)]
    few, many = (min(start.seconds for start in each) for each in zip(*starts, strict=True))
    grown = statistics.median(many.memory - few.memory for few, many in starts)
    note = f"{many:.1f} s / {few:.1f} s, the fastest of {STARTS} each"
    return [
        Row("start with 100,000 images, beyond one with none", many - few, 0.5, " s", note),
        Row("bytes that 100,000 images add to the page", abs(starts[0][1].page - starts[0][0].page), 0),
        Row("memory that 100,000 images add to a start", grown / 1e6, 20, " MB"),
    ]


def _measure_start(outputs: Path | None = None, **settings: str) -> Start:
    begin = time.perf_counter()
    with start_studio_process(outputs, warm_up="0", **settings) as (url, pid):
        seconds = time.perf_counter() - begin
        page = httpx.get(url, timeout=60, headers={"Accept-Encoding": "identity"}).text
        memory = psutil.Process(pid).memory_full_info().uss
    return Start(seconds, len(re.sub(r"0x[0-9a-f]+|\d+", "", page)), memory)


def _write_model_files(folder: Path) -> None:
    """LoRAs with the 720 tensors of a usual one; their data are holes in the files."""
    blocks = [f"down_blocks_{a}_attentions_{b}_transformer_blocks_0" for a in range(4) for b in range(6)]
    parts = ("attn1_to_q", "attn1_to_k", "attn1_to_v", "attn1_to_out_0", "attn2_to_q", "attn2_to_k", "attn2_to_v")
    layers = [f"lora_unet_{block}_{part}" for block in blocks for part in (*parts, "ff_net_2", "proj_in", "proj_out")]
    table: dict[str, object] = {}
    offset = 0
    for layer in layers:
        for end, shape in (("lora_down.weight", [16, 320]), ("lora_up.weight", [320, 16]), ("alpha", [1])):
            size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            table[f"{layer}.{end}"] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
    header = json.dumps(table).encode()
    (folder / "loras").mkdir()
    for number in range(FILES):
        with (folder / "loras" / f"a style {number:05}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + offset)
