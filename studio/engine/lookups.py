"""What the engine asks of the rest of the studio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from studio.core.errors import NotConfigured


def no_key(name: str) -> str:
    """The keys of a studio that has none; raises NotConfigured."""
    raise NotConfigured(f"{name} is not set.", hint="Set it in the environment, or in Configurations.")


@dataclass(frozen=True)
class Heir:
    """Who takes the place of a model that has ended: `model` is its id, `told` says so to the user."""

    model: str
    told: str


@dataclass(frozen=True)
class Lookups:
    """`heir` gives the successor of a name that no model has any more, None for a name that never ended. `model_hash` gives a model's short hash at once, "" while it is not known; `key` an API key by its name, and raises
    NotConfigured when it is not set."""

    model_hash: Callable[[str], str] = lambda model_id: ""
    key: Callable[[str], str] = no_key
    heir: Callable[[str], Heir | None] = lambda name: None
