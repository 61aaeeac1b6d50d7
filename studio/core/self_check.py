"""One line of the self-check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """`name` says what was looked at, `text` what was found, `hint` what to do when it is not `ok`."""

    name: str
    ok: bool
    text: str
    hint: str = ""
