"""Work that one thread does and another waits for."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any


def resolve_future(future: concurrent.futures.Future[Any], work: Callable[[], Any]) -> None:
    """Do `work` for whoever waits for `future`: they get its result, or whatever it raised."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 - nothing is swallowed: it is raised again where somebody waits
        future.set_exception(error)
