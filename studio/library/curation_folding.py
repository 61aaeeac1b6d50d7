"""The shortest log that says the same: what each asset came to, in place of every change on the way there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.core.errors import StudioError
from studio.library.changes import Change
from studio.library.index_text import fold_name

Line = tuple[str, Mapping[str, Any], Sequence[str]]  # user, change, ids of assets

_MAX_IDS = 500  # in a line
_NOTES = ("favourite", "rating", "title", "note")


@dataclass
class _Asset:
    """What the lines so far made of an asset; only what they name."""

    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    tags: dict[str, str] | None = None  # spelling by folded name
    collections: dict[str, bool] = field(default_factory=dict[str, bool])
    trashed: bool | None = None
    removed: bool = False
    uses: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class _User:
    assets: dict[str, _Asset] = field(default_factory=dict[str, _Asset])
    collections: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    media: list[Line] = field(default_factory=list[Line])
    spellings: dict[str, str] = field(default_factory=dict[str, str])  # of a tag, the first one


def fold_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Lines with the same outcome as `lines`: assets that came to the same share one. What is not understood, such as
    a line of a later version, stays as it is, at the end."""
    users: dict[str, _User] = {}
    others: list[Line] = []
    for line in lines:
        name, change, ids = line
        user = users.setdefault(name, _User())
        try:
            _take_line(user, line, change, ids)
        except (StudioError, TypeError, KeyError, ValueError, AttributeError):
            others.append(line)
    for name, user in users.items():
        yield from ((name, {"collection": values}, []) for values in user.collections.values())
        yield from user.media
        yield from _group(name, user)
    yield from others


def _take_line(user: _User, line: Line, change: Mapping[str, Any], ids: Sequence[str]) -> None:
    if "collection" in change:
        user.collections[str(change["collection"]["id"])] = change["collection"]
    elif "delete_collection" in change:
        gone = str(change["delete_collection"])
        user.collections.pop(gone, None)
        for asset in user.assets.values():
            asset.collections.pop(gone, None)
    elif "media" in change:
        user.media.append(line)
    elif "removed" in change:
        user.assets.update((one, _Asset(removed=True)) for one in ids)
        user.media = [each for each in user.media if not {*each[2]} & {*ids}]
    elif "trashed" in change:
        for one in ids:
            user.assets.setdefault(one, _Asset()).trashed = bool(change["trashed"])
    elif "uses" in change:
        counts = {str(use): int(count) for use, count in change["uses"].items()}
        for one in ids:
            user.assets.setdefault(one, _Asset()).uses.update(counts)
    else:
        noted = Change.from_json(change)
        for one in ids:
            _take_change(user, user.assets.setdefault(one, _Asset()), noted)


def _take_change(user: _User, asset: _Asset, change: Change) -> None:
    asset.notes.update((name, value) for name in _NOTES if (value := getattr(change, name)) is not None)
    if change.tags is not None or change.add_tags or change.remove_tags:
        kept = {} if change.tags is not None else dict(asset.tags or {})
        for name in change.remove_tags:
            kept.pop(fold_name(name), None)
        for name in (*(change.tags or ()), *change.add_tags):
            kept[fold_name(name)] = user.spellings.setdefault(fold_name(name), name)
        asset.tags = kept
    if change.add_to:
        asset.collections[change.add_to] = True
    if change.remove_from:
        asset.collections[change.remove_from] = False


def _group(name: str, user: _User) -> Iterator[Line]:
    groups: dict[str, list[str]] = {}
    for one, asset in user.assets.items():
        for change in _list_changes(asset):
            groups.setdefault(json.dumps(change), []).append(one)
    for text, ids in groups.items():
        for begin in range(0, len(ids), _MAX_IDS):
            yield name, json.loads(text), ids[begin : begin + _MAX_IDS]


def _list_changes(asset: _Asset) -> Iterator[Mapping[str, Any]]:
    notes = {key: asset.notes[key] for key in _NOTES if key in asset.notes}
    if asset.tags is not None:
        notes["tags"] = sorted(asset.tags.values())
    if notes:
        yield notes
    for collection, is_in in asset.collections.items():
        yield {"add_to" if is_in else "remove_from": collection}
    if asset.trashed is not None:
        yield {"trashed": asset.trashed}
    if asset.uses:
        yield {"uses": dict(sorted(asset.uses.items()))}
    if asset.removed:
        yield {"removed": True}
