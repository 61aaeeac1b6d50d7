"""The user's own formats, written into their platforms.toml; whatever else stands in that file stays as it is."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound
from studio.core.social_formats import Format
from studio.core.text_checks import check_name
from studio.social.format_entries import read_format
from studio.social.toml_entries import TomlEntry, parse_toml, read_toml

OWN_PLATFORM = "own"
MAX_OWN_FORMATS = 500  # in one file
_PLATFORM_TABLE = '[platform.own]\ntitle = "Your own"\nchannel = false\n'
_TABLE_START = re.compile(r"(?m)^(?=\[)")  # where a table begins


def make_own_format(name: str, width: int, height: int, max_bytes: int | None) -> Format:
    """The format that is kept under `name`; raises as `PlatformData.save`."""
    name = check_name(" ".join(name.split()), "The name of the format")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    key = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:64]
    if not key or len(name) > 60:
        raise InvalidRequest(
            "Invalid format name.",
            hint="Enter 1 to 60 characters, for example “Shop tile”.",
        )
    fields: dict[str, object] = {
        "platform": OWN_PLATFORM,
        "id": key,
        "name": name,
        "width": width,
        "height": height,
    }
    if max_bytes is not None:
        fields["max_bytes"] = max_bytes
    return read_format(TomlEntry(fields, "Your format"), {}, own=True)


def write_own_format(file: Path, of: Format) -> None:
    """Put `of` into the file, in place of one of the same id. Raises InvalidRequest when the file is broken or has
    MAX_OWN_FORMATS already."""
    blocks = _exclude_format(file, of.id)
    if sum(block.startswith("[[format]]") for block in blocks) >= MAX_OWN_FORMATS:
        raise InvalidRequest(f"There are {MAX_OWN_FORMATS} formats of your own already.", hint="Delete some.")
    if not any(re.match(r"\[platform\.own\]", block) for block in blocks):
        blocks.append(_PLATFORM_TABLE + "\n")
    lines = [
        "[[format]]",
        f'platform = "{OWN_PLATFORM}"',
        f'id = "{of.id.partition(".")[2]}"',
        f"name = {json.dumps(of.name, ensure_ascii=False)}",
    ]
    lines += [f"width = {of.width}", f"height = {of.height}"]
    if of.max_bytes is not None:
        lines.append(f"max_bytes = {of.max_bytes}")
    _replace_file(file, "".join([*blocks, "\n".join(lines) + "\n"]))


def remove_own_format(file: Path, format_id: str) -> None:
    """Take a format out of the file. Raises NotFound."""
    before = _read_blocks(file)
    after = _exclude_format(file, format_id)
    if len(after) == len(before):
        raise NotFound(f"You have no format {format_id[:80]!r}.", hint="Reload the page.")
    _replace_file(file, "".join(after))


def _read_blocks(file: Path) -> list[str]:
    """The file in pieces, a table each, with what belongs to it."""
    if not file.is_file():
        return []
    read_toml(file)  # a broken file is not written over
    text = file.read_text(encoding="utf-8")
    return [block for block in _TABLE_START.split(text if text.endswith("\n") else text + "\n") if block]


def _exclude_format(file: Path, format_id: str) -> list[str]:
    """All pieces but the format `format_id` and the tables inside it."""
    kept: list[str] = []
    dropping = False
    for block in _read_blocks(file):
        if block.startswith("[[format]]"):
            dropping = _read_format_id(block) == format_id
        elif not block.startswith(("[format.", "[[format.")):
            dropping = False
        if not dropping:
            kept.append(block)
    return kept


def _read_format_id(block: str) -> str:
    entry = parse_toml(block, "format")["format"][0]
    return f"{entry.get('platform')}.{entry.get('id')}"


def _replace_file(file: Path, text: str) -> None:
    """Write the file anew; raises InvalidRequest, and leaves it as it is, when `text` could not be read again."""
    parse_toml(text, file.name)
    with translate_os_errors("your formats"):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_synced(file, text.encode())
