"""How numbers are written for people and for other programs to read."""

from __future__ import annotations


def format_number(value: float) -> str:
    """The shortest text that reads back as `value`: 7 for 7.0, 0.35 for 0.35."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
