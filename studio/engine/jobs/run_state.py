"""One run of a job, and what it is run with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from studio.core.errors import StudioError
from studio.core.events import Status
from studio.core.model import Model
from studio.engine.jobs.chain_steps import ChainRenderer
from studio.engine.jobs.job import Job
from studio.engine.jobs.job_context import RunContext
from studio.engine.jobs.journal import Journal
from studio.engine.jobs.saver import PendingSaves, Saver
from studio.engine.logs import Logs
from studio.engine.metrics import Metrics
from studio.engine.models.model_list import Models
from studio.engine.models.timings import Timings
from studio.engine.money.ledger import Ledger
from studio.engine.storage.asset_builder import AssetBuilder
from studio.engine.storage.outputs import Outputs
from studio.engine.usage import Usage
from studio.library.asset_index import AssetIndex


@dataclass(frozen=True, kw_only=True)
class RunnerServices:
    """The services that a runner uses."""

    models: Models
    chain: ChainRenderer
    contexts: Callable[[Job, float | None], RunContext]
    ledger: Ledger
    journal: Journal
    library: AssetIndex
    outputs: Outputs
    saver: Saver
    timings: Timings
    drafts: AssetBuilder
    logs: Logs
    metrics: Metrics
    usage: Usage


@dataclass
class JobRun:
    """One run of a job, from its start in the lane to its end. `ahead` images of other jobs were `drawn` with its own,
    and for all of them `generations` were generated; `taken` says that its own were drawn with another job's."""

    job: Job
    context: RunContext
    saves: PendingSaves
    lane: str
    started: float = field(default_factory=time.monotonic)
    drawn: int = 0
    ahead: int = 0
    generations: int = 0
    taken: bool = False
    substitutes: dict[str, tuple[Model, str]] = field(default_factory=dict[str, tuple[Model, str]])
    fell_back: bool = False
    error: StudioError | None = None

    def line(self, status: Status, seconds: float) -> dict[str, Any]:
        """The run's entry in the generation log: the `seconds` it took in all, and how it ended."""
        job = self.job
        width, height = job.model.get_result_size(job.request) if job.request.task.is_generative else (None, None)
        return {
            "job": job.id,
            "user": job.user,
            "model": job.model.id,
            "task": job.request.task.value,
            "status": status.value,
            "success": status is Status.FINISHED,
            "error": self.error.code if self.error else None,
            "width": width,
            "height": height,
            "steps": job.request.steps or job.model.sampling.steps,
            "pictures": self.drawn,
            "asked": job.images,
            "seconds": round(seconds, 3),
            "stages": {name: round(took, 4) for name, took in self.context.phases.items()},
            "peak_memory": self.context.peak,
        }
