"""What the actors of tests/test_ray_cluster.py run: a studio that draws fakes, slowly."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes import FakeBackend
from serving import make_studio

from studio.cluster.ray_transport import ReplicaStudio
from studio.wiring import build_replica


def build_fake_replica(values: Mapping[str, Any]) -> ReplicaStudio:
    """A replica of `steps` steps of `pause` seconds. Each step is written to a file below `folder` that is named by the
    process."""
    folder, pause = Path(values["folder"]), float(values["pause"])
    backend = FakeBackend(steps=values["steps"])
    own = folder / str(os.getpid())
    own.mkdir()

    def note_step(request: object, step: int) -> None:
        time.sleep(pause)
        (own / "steps").write_text(str(backend.steps_done))

    backend.fail = note_step
    studio = make_studio(own, backend)
    studio.engine.start()
    return ReplicaStudio(build_replica(studio), studio.settings.current, studio.engine.close)
