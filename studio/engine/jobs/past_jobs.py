"""Jobs of earlier runs and other processes, read from the journal and the index."""

from __future__ import annotations

from studio.core.errors import InvalidRequest, StudioError
from studio.core.events import Snapshot, Status
from studio.core.model import Model
from studio.core.settings import Settings
from studio.engine.jobs.job import Job
from studio.engine.jobs.journal import JournalEntry
from studio.engine.jobs.passes import plan_images
from studio.engine.models.model_list import Models
from studio.library.asset_index import AssetIndex


def restore_job(entry: JournalEntry, models: Models, library: AssetIndex, settings: Settings) -> Job:
    """The job of `entry` as it stood, ready to be queued again when it has not ended."""
    try:
        model = models.find(entry.model)[1]
    except StudioError:
        model = Model(id=entry.model, title=entry.model, family="", problem="it is not there any more")
    job = Job(
        job_id=entry.id, user=entry.user, request=entry.request, model=model, settings=settings, created=entry.created
    )
    job.notes = entry.notices
    job.images = _count_images(entry)
    status = entry.status if entry.status.is_final else Status.QUEUED
    job.restore(
        Snapshot(
            status=status,
            assets=library.list_job_assets(entry.id),
            notices=entry.notices,
            error=entry.error,
            seconds=entry.seconds,
            images=job.images,
        )
    )
    return job


def _count_images(entry: JournalEntry) -> int:
    try:
        return len(plan_images(entry.request))
    except InvalidRequest:  # a grid that this version does not know; running it says so
        return 1
