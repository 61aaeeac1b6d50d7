"""InvokeAI's own database, read only: boards, stars, and which images are mere steps on the way."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_DATABASE = Path("databases", "invokeai.db")
_PARENTS = 3  # folders above the images in which the database may be

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InvokeAIBoards:
    """By file name: the board that an image is on; and the names of starred and of intermediate images."""

    boards: Mapping[str, str] = field(default_factory=dict[str, str])
    starred: frozenset[str] = frozenset()
    intermediate: frozenset[str] = frozenset()


def read_boards(folder: Path) -> InvokeAIBoards:
    """What InvokeAI knows of the images in `folder`; empty where its database is not near or is not understood. Nothing
    is written, not even beside the database."""
    places = [folder, *list(folder.parents)[:_PARENTS]]
    path = next((place / _DATABASE for place in places if (place / _DATABASE).is_file()), None)
    if path is None:
        return InvokeAIBoards()
    try:
        address = path.absolute().as_uri() + "?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            boards = dict(
                connection.execute(
                    "SELECT image_name, board_name FROM board_images JOIN boards USING (board_id)"
                ).fetchall()
            )
            return InvokeAIBoards(
                boards={str(name): str(board) for name, board in boards.items()},
                starred=_list_names(connection, "starred"),
                intermediate=_list_names(connection, "is_intermediate"),
            )
    except (sqlite3.Error, ValueError, OSError) as error:
        _log.warning("the boards of InvokeAI are not read: %s", error)
        return InvokeAIBoards()


def _list_names(connection: sqlite3.Connection, flag: str) -> frozenset[str]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(images)")}
    if flag not in columns:
        return frozenset()
    return frozenset(str(row[0]) for row in connection.execute(f"SELECT image_name FROM images WHERE {flag} = 1"))
