"""Jobs of earlier runs and other processes, as the journal and the index tell of them."""

from __future__ import annotations

from studio.core.errors import InvalidRequest, StudioError
from studio.core.events import Snapshot, Status
from studio.core.model import Model
from studio.core.settings import Settings
from studio.engine.jobs.job import Job
from studio.engine.jobs.journal import Entry
from studio.engine.jobs.passes import plan
from studio.engine.models.model_list import Models
from studio.engine.storage.asset_index import Library


def restored(entry: Entry, models: Models, library: Library, settings: Settings) -> Job:
    """The job of `entry` as it stood, ready to be queued again when it has not ended."""
    try:
        model = models.find(entry.model)[1]
    except StudioError:
        model = Model(id=entry.model, title=entry.model, family="", problem="it is not there any more")
    job = Job(
        job_id=entry.id, user=entry.user, request=entry.request, model=model, settings=settings, created=entry.created
    )
    job.notes = entry.notices
    job.pictures = _count(entry)
    status = entry.status if entry.status.final else Status.QUEUED
    job.restore(
        Snapshot(
            status=status, assets=library.of_job(entry.id), notices=entry.notices, error=entry.error,
            seconds=entry.seconds, pictures=job.pictures,
        )
    )  # fmt: skip
    return job


def _count(entry: Entry) -> int:
    try:
        return len(plan(entry.request))
    except InvalidRequest:  # a grid that this version does not know; running it says so
        return 1
