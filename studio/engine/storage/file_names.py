"""File names for images, from a pattern with fields: always inside the outputs folder, always fit for any file
system."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from studio.core.user import LOCAL_USER

MAX_PART_BYTES = 180
_MIN_PART_BYTES = 40
_MAX_FIELD_CHARS = 60
_USERS = "users"
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def find_part_limit(folder: Path) -> int:
    """How many bytes a name in `folder` may have: MAX_PART_BYTES, or fewer where its file system takes fewer
    (encrypted ones often take 143)."""
    try:
        longest = os.statvfs(folder).f_namemax
    except (AttributeError, OSError):  # Windows; or a share that does not say
        return MAX_PART_BYTES
    return min(MAX_PART_BYTES, max(_MIN_PART_BYTES, longest))


def build_file_name(
    pattern: str, fields: Mapping[str, str], ending: str, longest: int = MAX_PART_BYTES
) -> PurePosixPath:
    """The relative path that `pattern` gives: "{name}" becomes the field's value, an unknown field its bare name.

    A slash in the pattern makes a folder; a slash in a value does not. Every part is at most `longest` bytes long.
    """
    filled = re.sub(r"\{(\w+)\}", lambda found: _clean_value(fields.get(found[1], found[1])), pattern)
    parts = [part for part in (_clean_part(raw, longest) for raw in filled.replace("\\", "/").split("/")) if part]
    *folders, stem = parts or ["image"]
    return PurePosixPath(*folders, _cut(stem, longest - len(ending) - 8) + ending)


def add_number(name: PurePosixPath, number: int) -> PurePosixPath:
    """`name` with "-number" before its ending, to step aside for a file that is there already."""
    return name.with_name(f"{name.stem}-{number}{name.suffix}")


def get_user_folder(user: str) -> PurePosixPath:
    """The folder of a user's images below the outputs folder; different users never share one."""
    if user == LOCAL_USER.name:
        return PurePosixPath()
    safe = quote(user, safe="@+-_ ").replace(".", "%2E")
    return PurePosixPath(_USERS, safe)


def find_path_user(path: PurePosixPath) -> str:
    """The inverse of `user_folder` for an image's relative path."""
    return unquote(path.parts[1]) if len(path.parts) > 2 and path.parts[0] == _USERS else LOCAL_USER.name


def _clean_value(text: str) -> str:
    words = re.sub(
        r"[\s/\\]+", "-", "".join(char for char in text if unicodedata.category(char)[0] != "C" or char.isspace())
    )
    return words.strip("-.")[:_MAX_FIELD_CHARS].rstrip("-.")


def _clean_part(text: str, longest: int) -> str:
    kept = "".join("_" if char in '<>:"|?*' or unicodedata.category(char)[0] == "C" else char for char in text)
    kept = _cut(kept.strip(" .-"), longest - 1)
    return f"_{kept}" if _RESERVED.match(kept) else kept


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore").rstrip(" .")
