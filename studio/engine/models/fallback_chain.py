"""Choose the next model when one fails."""

from __future__ import annotations

from studio.core.errors import (
    MAY_BE_BILLED,
    ModelBroken,
    NotConfigured,
    OutOfMemory,
    RateLimited,
    StudioError,
    UnknownModel,
    Unreachable,
)
from studio.engine.jobs.job import Job

_LOCAL_FAILURES = (UnknownModel, ModelBroken, OutOfMemory)  # go to the fallback model of the settings
_REMOTE_FAILURES = (Unreachable, RateLimited, NotConfigured)  # go to the next model of the request's own chain
FALLBACK_ERRORS = (*_LOCAL_FAILURES, *_REMOTE_FAILURES)


def find_next_model(job: Job, failure: StudioError) -> tuple[str, tuple[str, ...]]:
    """(the model to try after `failure`, "" for none; those that are left after it). Nothing is tried once money may
    have been spent: the user decides whether to spend it twice."""
    if failure.details.get(MAY_BE_BILLED):
        return "", ()
    chain = job.request.fallbacks
    if chain:
        return chain[0], chain[1:]
    return (job.settings.fallback_model if isinstance(failure, _LOCAL_FAILURES) else ""), ()
