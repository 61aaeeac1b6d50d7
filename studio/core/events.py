"""Events of a running job, and the snapshot that they reduce to, which page and API read.

The last event is always Finished, Failed or Cancelled.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.result import Asset


class Status(StrEnum):
    QUEUED = "queued"
    LOADING = "loading"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (Status.FINISHED, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True)
class WaitingEvent:
    """`ahead` jobs run first; `eta` is in seconds, None while nothing is known."""

    ahead: int
    eta: float | None = None


@dataclass(frozen=True)
class LoadingEvent:
    """Something is being made ready; `what` is a phrase for the user, "Loading Stable Diffusion 1.5". `seconds` is what
    it took before, None where that is not known."""

    what: str
    seconds: float | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class StepEvent:
    """`step` of `steps` are done for image `image` (counted from 1) of `images`, and for the rest of its `batch`;
    `eta` in seconds for the whole job.

    `preview` is a small image file, or None when there is no new one.
    """

    step: int
    steps: int
    image: int
    images: int
    eta: float | None = None
    preview: Path | None = None
    batch: int = 1


@dataclass(frozen=True)
class SavedEvent:
    """One image of the job is on disk."""

    asset: Asset


@dataclass(frozen=True)
class NoticeEvent:
    """Something the user should know and need not act on."""

    text: str


@dataclass(frozen=True)
class FinishedEvent:
    seconds: float


@dataclass(frozen=True)
class FailedEvent:
    error: StudioError


@dataclass(frozen=True)
class CancelledEvent:
    """`text` is what the page says: "Stopped"."""

    text: str = "Stopped"


Event = (
    WaitingEvent | LoadingEvent | StepEvent | SavedEvent | NoticeEvent | FinishedEvent | FailedEvent | CancelledEvent
)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a job. `version` grows with every event, so that a reader can wait for the next one."""

    version: int = 0
    status: Status = Status.QUEUED
    ahead: int = 0
    eta: float | None = None
    loading: str = ""
    loading_seconds: float | None = None  # that it took before
    loading_since: float = 0.0  # of time.monotonic()
    step: int = 0
    steps: int = 0
    image: int = 0
    images: int = 0
    batch: int = 1
    preview: Path | None = None
    assets: tuple[Asset, ...] = ()
    notices: tuple[str, ...] = ()
    seconds: float | None = None
    error: StudioError | None = None

    @property
    def progress(self) -> float:
        """0 to 1 over the whole job."""
        if self.status is Status.FINISHED:
            return 1.0
        if not self.images or not self.steps:
            return 0.0
        return min(1.0, (max(self.image - 1, 0) + self.batch * self.step / self.steps) / self.images)

    def after(self, event: Event) -> Snapshot:
        """The snapshot once `event` has happened."""
        return dataclasses.replace(self, version=self.version + 1, **_build_changes(self, event))


def _build_changes(old: Snapshot, event: Event) -> dict[str, object]:
    match event:
        case WaitingEvent():
            return {"status": Status.QUEUED, "ahead": event.ahead, "eta": event.eta}
        case LoadingEvent():
            return {
                "status": Status.LOADING,
                "ahead": 0,
                "loading": event.what,
                "loading_seconds": event.seconds,
                "loading_since": event.since,
            }
        case StepEvent():
            return {
                "status": Status.RUNNING,
                "ahead": 0,
                "step": event.step,
                "steps": event.steps,
                "image": event.image,
                "images": event.images,
                "batch": event.batch,
                "eta": event.eta,
                "preview": event.preview or old.preview,
            }
        case SavedEvent():
            return {"assets": tuple(sorted((*old.assets, event.asset), key=lambda asset: asset.index))}
        case NoticeEvent():
            return {"notices": old.notices if event.text in old.notices else (*old.notices, event.text)}
        case FinishedEvent():
            return {"status": Status.FINISHED, "eta": 0.0, "seconds": event.seconds, "preview": None}
        case FailedEvent():
            return {"status": Status.FAILED, "error": event.error, "preview": None}
        case CancelledEvent():
            return {"status": Status.CANCELLED, "preview": None, "notices": (*old.notices, event.text)}
