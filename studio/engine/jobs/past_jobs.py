"""Jobs of earlier runs and other processes, read from the journal and the index."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.errors import InvalidRequest, StudioError
from studio.core.events import Snapshot, Status
from studio.core.model import Model
from studio.core.result import Asset
from studio.core.settings import Settings
from studio.engine.jobs.generation_count import count_generations
from studio.engine.jobs.job import Job
from studio.engine.jobs.journal import JournalEntry
from studio.engine.jobs.passes import count_images
from studio.engine.models.model_list import Models
from studio.library.asset_index import AssetIndex


def restore_jobs(entries: Sequence[JournalEntry], models: Models, library: AssetIndex, settings: Settings) -> list[Job]:
    """The jobs of `entries` as they stood, ready to be queued again when they have not ended."""
    found: dict[str, Model] = {}  # many jobs have few models, and finding one goes through the lists of all backends
    assets = library.list_assets_by_job([entry.id for entry in entries]) if entries else {}
    jobs: list[Job] = []
    for entry in entries:
        if entry.model not in found:
            found[entry.model] = _find_model(entry.model, models)
        job = _restore_job(entry, found[entry.model], assets[entry.id], settings)
        job.generations = _count_generations(job, models)
        jobs.append(job)
    return jobs


def _find_model(model_id: str, models: Models) -> Model:
    try:
        return models.find(model_id)[1]
    except StudioError:
        return Model(id=model_id, title=model_id, family="", problem="it is not there any more")


def _restore_job(entry: JournalEntry, model: Model, assets: tuple[Asset, ...], settings: Settings) -> Job:
    job = Job(
        job_id=entry.id, user=entry.user, request=entry.request, model=model, settings=settings, created=entry.created
    )
    job.notes = entry.notices
    job.images = _count_images(entry)
    status = entry.status if entry.status.is_final else Status.QUEUED
    job.restore(
        Snapshot(
            status=status,
            assets=assets,
            notices=entry.notices,
            error=entry.error,
            seconds=entry.seconds,
            images=job.images,
        )
    )
    return job


def _count_images(entry: JournalEntry) -> int:
    try:
        return count_images(entry.request)
    except InvalidRequest:  # a grid that this version does not know; running it says so
        return 1


def _count_generations(job: Job, models: Models) -> int:
    """Those of a job that has not ended; of others nothing hangs on it."""
    try:
        if job.snapshot.status.is_final:
            return job.images
        return count_generations(job.request, models, job.settings.fallback_model)
    except InvalidRequest:  # as above
        return job.images
