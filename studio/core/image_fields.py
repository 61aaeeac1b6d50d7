"""Images inside a request: named by content hash, kept once, found by walking the request's own fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

T = TypeVar("T")


def image_field(default: Any = None, *, old_name: str = "") -> Any:
    """A field that holds an image's content hash, or a tuple of them. `old_name` is what recipes of earlier versions
    call it."""
    return dataclasses.field(default=default, metadata={"image": True, "old_name": old_name})


def list_image_hashes(value: Any) -> tuple[str, ...]:
    """The content hashes of all images that the dataclass `value` names, in the order of its fields, each once."""
    return tuple(dict.fromkeys(_walk_hashes(value)))


def replace_images(value: T, change: Callable[[str], str]) -> T:
    """The dataclass `value` with every image that it names passed through `change`."""
    changes: dict[str, Any] = {}
    for f in dataclasses.fields(cast("Any", value)):
        held = getattr(value, f.name)
        new = _change_value(held, change, is_image=bool(f.metadata.get("image")))
        if new is not held:
            changes[f.name] = new
    return dataclasses.replace(cast("Any", value), **changes) if changes else value


def _change_value(held: Any, change: Callable[[str], str], *, is_image: bool) -> Any:
    if isinstance(held, tuple):
        items = cast("tuple[Any, ...]", held)
        new = tuple(_change_value(item, change, is_image=is_image) for item in items)
        return items if all(a is b for a, b in zip(items, new, strict=True)) else new
    if is_image:
        return change(held) if held else held
    return replace_images(held, change) if dataclasses.is_dataclass(held) and not isinstance(held, type) else held


def _walk_hashes(value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for item in cast("tuple[Any, ...]", value):
            yield from _walk_hashes(item)
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            held = getattr(value, f.name)
            if f.metadata.get("image"):
                named = cast("tuple[str | None, ...]", held if isinstance(held, tuple) else (held,))
                yield from (one for one in named if one)
            else:
                yield from _walk_hashes(held)
