"""A map that the page needs before the image: of a control unit, or of what words name."""

from __future__ import annotations

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.user import User
from studio.engine.studio import Studio

MAP_POLL_SECONDS = 2.0  # s without news until the job is looked at again


def make_map(studio: Studio, wanted: GenerationRequest, user: User) -> Asset:
    """Make the map of the preprocessor request `wanted` and wait for its job; the job is stopped when the page goes
    away meanwhile.

    Raises:
        StudioError: what the job ended with.
    """
    job = studio.engine.submit(wanted, user)
    try:
        snapshot = job.snapshot
        while not snapshot.status.is_final:
            snapshot = job.wait(snapshot.version, MAP_POLL_SECONDS)
    finally:
        if not job.snapshot.status.is_final:
            studio.engine.cancel(job.id, user)
    if snapshot.error is not None:
        raise snapshot.error
    if not snapshot.assets:
        raise InvalidRequest("The control map could not be created.", hint="Press Preview again.")
    return snapshot.assets[0]
