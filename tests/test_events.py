from __future__ import annotations

from studio.core.errors import StudioError
from studio.core.events import Cancelled, Failed, Finished, Loading, Notice, Snapshot, Status, Step, Waiting


def fold(*events: object) -> Snapshot:
    snapshot = Snapshot()
    for event in events:
        snapshot = snapshot.after(event)  # type: ignore[arg-type]
    return snapshot


def test_progress_runs_over_all_pictures() -> None:
    assert fold(Step(5, 10, 2, 4)).progress == (1 + 0.5) / 4
    assert fold(Step(5, 10, 1, 4, batch=2)).progress == 2 * 0.5 / 4
    assert fold(Step(10, 10, 4, 4), Finished(3.0)).progress == 1.0
    assert fold(Waiting(2)).progress == 0.0


def test_each_event_moves_the_version_and_the_status() -> None:
    snapshot = fold(Waiting(1), Loading("Loading"), Step(1, 2, 1, 1), Cancelled())
    assert (snapshot.version, snapshot.status, snapshot.notices) == (4, Status.CANCELLED, ("Stopped",))
    assert snapshot.status.final


def test_a_notice_is_kept_once() -> None:
    assert fold(Notice("less"), Notice("less"), Notice("more")).notices == ("less", "more")


def test_a_failure_carries_its_error_in_the_http_shape() -> None:
    error = fold(Failed(StudioError("No.", hint="Do this."))).error
    assert error is not None
    assert error.to_json() == {"error": "No.", "code": "STUDIO_ERROR", "details": {"hint": "Do this."}}
