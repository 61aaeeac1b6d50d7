from __future__ import annotations

from studio.core.errors import StudioError
from studio.core.events import (
    CancelledEvent,
    FailedEvent,
    FinishedEvent,
    LoadingEvent,
    NoticeEvent,
    Snapshot,
    Status,
    StepEvent,
    WaitingEvent,
)


def fold(*events: object) -> Snapshot:
    snapshot = Snapshot()
    for event in events:
        snapshot = snapshot.after(event)  # type: ignore[arg-type]
    return snapshot


def test_progress_runs_over_all_images() -> None:
    assert fold(StepEvent(5, 10, 2, 4)).progress == (1 + 0.5) / 4
    assert fold(StepEvent(5, 10, 1, 4, batch=2)).progress == 2 * 0.5 / 4
    assert fold(StepEvent(10, 10, 4, 4), FinishedEvent(3.0)).progress == 1.0
    assert fold(WaitingEvent(2)).progress == 0.0


def test_each_event_moves_the_version_and_the_status() -> None:
    snapshot = fold(WaitingEvent(1), LoadingEvent("Loading"), StepEvent(1, 2, 1, 1), CancelledEvent())
    assert (snapshot.version, snapshot.status, snapshot.notices) == (4, Status.CANCELLED, ("Stopped",))
    assert snapshot.status.is_final


def test_a_notice_is_kept_once() -> None:
    assert fold(NoticeEvent("less"), NoticeEvent("less"), NoticeEvent("more")).notices == ("less", "more")


def test_a_failure_carries_its_error_in_the_http_shape() -> None:
    error = fold(FailedEvent(StudioError("No.", hint="Do this."))).error
    assert error is not None
    assert error.to_json() == {"error": "No.", "code": "STUDIO_ERROR", "details": {"hint": "Do this."}}
