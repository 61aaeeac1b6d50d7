"""Stand-ins for the cloud services, one file each, as strict as what is known of the vendor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vendor_server import ReceivedRequest, Reply

from studio.core.provider import ProviderSpec


@dataclass(frozen=True)
class Vendor:
    """A service and its stand-in. `model` draws from text; `path` is where that call goes; `statuses` are what it
    answers when it refuses, with the name of the error that each must become."""

    spec: ProviderSpec
    stand_in: Callable[[], Callable[[ReceivedRequest], Reply]]
    model: str
    path: str
    statuses: tuple[tuple[int, object, str], ...]
    base: str = ""
