"""How long torch's threads wait for each other before they let another thread have their core."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_SPINS = "10000"  # of 300,000 by default: fewer cost time on idle cores, more cost it on busy ones


def limit_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let GNU OpenMP, which torch computes with on Linux, give up a core soon: on busy cores a thread would otherwise
    hold the one that the thread it waits for needs. Call it before torch is imported; what the user chose stays."""
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
