"""How the images of older files get into the tables of today: before version 6 they stood in a table `pictures`."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, cast

from studio.core.task import Task
from studio.library.asset_rows import OWN_SOURCE, NewRow, count_facets, insert_row, write_words
from studio.library.schema import DONE, SKIPPED, create_asset_tables

_COPIED = (
    "id",
    "job_id",
    "user",
    "number",
    "state",
    "path",
    "digest",
    "width",
    "height",
    "seed",
    "label",
    "source_type",
)


def upgrade_pictures(connection: sqlite3.Connection) -> None:
    """Move the rows of `pictures` over, inside the caller's transaction. Recipes stay as they are, those that this
    version cannot read too."""
    create_asset_tables(connection)
    for old in connection.execute("SELECT * FROM pictures ORDER BY created, number").fetchall():
        seq = insert_row(connection, _convert_picture(old))
        if old["state"] == DONE and seq is not None:
            write_words(connection, seq)
            count_facets(connection, seq, 1)
    connection.execute("DROP TABLE pictures")


def _convert_picture(old: sqlite3.Row) -> NewRow:
    request: dict[str, Any] = _parse(old["request"], {})
    drawn = _find_drawn([*_parse(old["history"], []), request])
    last = (request.get("then") or [request])[-1]
    loras = drawn.get("loras")
    return NewRow(
        columns={
            **{name: old[name] for name in _COPIED},
            "task": "" if old["state"] == SKIPPED else str(last.get("task", Task.TXT2IMG.value)),
            "model": str(drawn.get("model", "")),
            "source": OWN_SOURCE,
        },
        created=old["created"],
        prompt=str(drawn.get("prompt", "")),
        negative=str(drawn.get("negative_prompt", "")),
        request=old["request"],
        infotext=old["infotext"],
        notes=old["notes"],
        history=old["history"],
        parents=tuple(map(str, _parse(old["parents"], []))),
        loras=tuple(str(lora.get("name", "")) for lora in (loras if isinstance(loras, list) else [])),
    )


def _parse(text: str, default: Any) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return default
    return found if isinstance(found, type(default)) else default


def _find_drawn(story: list[dict[str, Any]]) -> dict[str, Any]:
    """The last request of an image's story that drew it; the last of all where none did."""
    known = {task.value: task for task in Task}
    for one in reversed(story):
        task = known.get(one.get("task", Task.TXT2IMG.value))
        if task is not None and task.is_generative:
            return one
    return cast("dict[str, Any]", story[-1])
