"""What tabs and HTTP dialects are handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from studio.core.check import Check
from studio.core.ports import ModelStore
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore


@dataclass(frozen=True)
class Studio:
    """The running studio. `doctor` looks at everything that could be wrong and may take seconds."""

    engine: Engine
    settings: SettingsStore
    store: ModelStore
    doctor: Callable[[], list[Check]]
