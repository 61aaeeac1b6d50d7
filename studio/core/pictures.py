"""Pictures inside a request: named by content hash, kept once, found by walking the request's own fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, cast


def picture(default: Any = None) -> Any:
    """A field that holds a picture's content hash, or a tuple of them."""
    return dataclasses.field(default=default, metadata={"picture": True})


def pictures_in(value: Any) -> tuple[str, ...]:
    """The content hashes of all pictures that the dataclass `value` names, in the order of its fields, each once."""
    return tuple(dict.fromkeys(_walk(value)))


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for item in cast("tuple[Any, ...]", value):
            yield from _walk(item)
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            held = getattr(value, f.name)
            if f.metadata.get("picture"):
                named = cast("tuple[str | None, ...]", held if isinstance(held, tuple) else (held,))
                yield from (one for one in named if one)
            else:
                yield from _walk(held)
