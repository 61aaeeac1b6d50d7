"""Drawing on actors of a Ray cluster of this machine: the same measures as benchmarks/cluster.py."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster import measure_gain, measure_overhead, open_front
from benchmarks.overhead import build_base_settings, time_job
from benchmarks.report import Row
from studio.cluster.backend import Cluster
from studio.cluster.machines import Machine, Machines
from studio.cluster.ray_transport import RayTransport, parse_ray
from studio.core.allocator import keep_freed_memory
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.engine.settings_store import SettingsStore
from studio.library.database import Database
from studio.wiring import collect_replica_settings, start_replica

START_SECONDS = 180.0


def rows() -> list[Row]:
    keep_freed_memory()  # as the actors do

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        values = collect_replica_settings(build_base_settings(root))
        transport = RayTransport(parse_ray("ray?replicas=2"), start_replica, values)
        here = open_front(root / "here", "")
        single = open_over(root / "single", transport.machines[:1], transport)
        double = open_over(root / "double", transport.machines, transport)
        try:
            return [*measure_overhead(here, single, "Ray"), measure_gain(single, double, "Ray")]
        finally:
            for engine in (here, single, double):
                engine.close()


def open_over(folder: Path, machines: Sequence[Machine], transport: RayTransport) -> Engine:
    """A studio without page that draws on those `machines` alone, once all of them answer."""
    folder.mkdir()
    chosen = Machines([Machine(one.url) for one in machines], transport)
    chosen.start()
    end = time.monotonic() + START_SECONDS
    while chosen.list_problems() and time.monotonic() < end:
        time.sleep(0.1)
    engine = Engine(
        settings=SettingsStore(build_base_settings(folder)),
        backends=[Cluster(chosen, [])],
        database=Database(folder / "library.db"),
        lookups=Lookups(),
    )
    engine.start()
    time_job(engine)
    return engine
