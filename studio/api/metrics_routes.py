"""GET /metrics for Prometheus, and what an orchestrator asks: is the studio alive, is it ready for work."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from studio import __version__
from studio.api.responses import PREFIX
from studio.api.rights import needs
from studio.api.submit_request import NO_STORE
from studio.core.errors import NotFound
from studio.core.rights import Right
from studio.engine.studio import Studio


def build_metrics_router(studio: Studio) -> APIRouter:
    """The routes below the root that no page calls."""
    router = APIRouter()
    studio.engine.metrics.add_source(lambda: _collect_state(studio))

    @router.get("/metrics", include_in_schema=False, dependencies=[needs(Right.SETTINGS)])
    def get_metrics() -> Response:
        """Where the setting is on: to administrators, and to everybody where there are no users."""
        if not studio.settings.current.metrics:
            raise NotFound("Metrics are switched off.", hint="Switch “metrics” on in Configurations.")
        return Response(studio.engine.metrics.render(), media_type=CONTENT_TYPE_LATEST, headers=NO_STORE)

    @router.get(f"{PREFIX}/health/live", tags=["image-studio"], dependencies=[needs(None)])
    def get_liveness() -> dict[str, str]:
        """Whether the process answers; restart it when it does not."""
        return {"status": "alive"}

    @router.get(f"{PREFIX}/health/ready", tags=["image-studio"], dependencies=[needs(None)])
    def get_readiness() -> JSONResponse:
        """Whether new jobs are taken: 503 before the start is over, while the studio shuts down, and while the library
        cannot be read."""
        ready = studio.engine.is_ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503, headers=NO_STORE)

    return router


def _collect_state(studio: Studio) -> Iterator[Metric]:
    """How things stand now."""
    info = GaugeMetricFamily("easel_info", "The version that runs.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    jobs = GaugeMetricFamily("easel_jobs", "Jobs in the queue by state.", labels=["lane", "state"])
    for lane, (running, waiting) in studio.engine.count_jobs_by_lane().items():
        jobs.add_metric([lane, "running"], running)
        jobs.add_metric([lane, "waiting"], waiting)
    yield jobs
    if "torch" in sys.modules:  # asking for the memory must not load it, which takes seconds
        yield from _collect_memory(studio)
    spent = CounterMetricFamily("easel_spent_dollars", "Spent at cloud services, in US dollars.", labels=["provider"])
    for provider, dollars in studio.engine.ledger.sum_by_provider().items():
        spent.add_metric([provider], dollars)
    yield spent


def _collect_memory(studio: Studio) -> Iterator[Metric]:
    memory = studio.store.get_memory_report()
    held = sum(model.bytes for model in memory.resident)
    yield GaugeMetricFamily("easel_resident_models", "Models held in memory.", len(memory.resident))
    yield GaugeMetricFamily("easel_resident_bytes", "Memory that resident models take.", held)
    yield GaugeMetricFamily("easel_memory_budget_bytes", "Memory that models may take.", memory.budget)
    yield GaugeMetricFamily("easel_device_free_bytes", "Free memory of the device.", memory.free)
