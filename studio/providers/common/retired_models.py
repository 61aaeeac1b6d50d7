"""The names of cloud models that have ended, and who takes their place. The table is retired.toml."""

from __future__ import annotations

import datetime
import functools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class Successor:
    """`name` was asked for; `model` is the id of the living model that takes its place. `ends` is the last day of the
    old one, which may still be to come; `note` is a sentence for the user, "" when there is nothing to add."""

    name: str
    model: str
    ends: datetime.date
    note: str
    source: str


def find_successor(name: str) -> Successor | None:
    """The successor of `name`, None for a name that never ended. `name` may carry the provider's prefix
    ("openai/…"). Checkpoints on disk may bear such names too: ask only for what no model that is there is called."""
    wanted = name.strip().lower()
    for old, found in _load_retired_table():
        provider = found.model.partition("/")[0]
        if fnmatchcase(wanted.removeprefix(f"{provider}/"), old):
            return Successor(name=name, model=found.model, ends=found.ends, note=found.note, source=found.source)
    return None


def list_retired_models() -> tuple[Successor, ...]:
    """The whole table; `name` is the pattern of the old names."""
    return tuple(found for _, found in _load_retired_table())


@functools.cache
def _load_retired_table() -> tuple[tuple[str, Successor], ...]:
    entries = tomllib.loads(files(__package__ or "studio.providers").joinpath("retired.toml").read_text("utf-8"))
    return tuple(
        (
            entry["name"],
            Successor(
                name=entry["name"],
                model=entry["successor"],
                ends=entry["ends"],
                note=entry.get("note", ""),
                source=entry["source"],
            ),
        )
        for entry in entries["retired"]
    )
