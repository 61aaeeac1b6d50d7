"""Style presets: ready-made words around a prompt. Ours are in styles.json beside this file; users add or replace their
own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.core.errors import InvalidRequest

_PRESETS_FILE = Path(__file__).with_name("styles.json")
_FIELDS = ("name", "group", "prompt", "negative_prompt")


@dataclass(frozen=True, kw_only=True)
class Style:
    """A preset. `{prompt}` in its texts is where the user's own text goes; without it, the style's words come
    behind."""

    name: str
    group: str = "My styles"
    prompt: str = ""
    negative_prompt: str = ""


def load_styles(own: Path | None = None) -> Mapping[str, Style]:
    """All styles by name, ours first. `own` is the user's file of the same form; its styles replace ours of the same
    name.

    Raises:
        InvalidRequest: the user's file cannot be read or is not a list of styles. A file that is not there is no error.
    """
    styles = _read_styles(_PRESETS_FILE)
    return {**styles, **_read_styles(own)} if own is not None and own.is_file() else styles


def apply_styles(
    prompt: str, negative_prompt: str, names: Iterable[str], styles: Mapping[str, Style] | None = None
) -> tuple[str, str]:
    """(prompt, negative prompt) with the named styles around them, in their order; `styles` are ours unless given.

    Raises:
        InvalidRequest: there is no style of that name.
    """
    known = styles if styles is not None else load_styles()
    for name in names:
        if name not in known:
            raise InvalidRequest(f"Style {name!r} not found.", hint="There are: " + ", ".join(known) + ".")
        prompt = _merge_text(known[name].prompt, prompt)
        negative_prompt = _merge_text(known[name].negative_prompt, negative_prompt)
    return prompt, negative_prompt


def _merge_text(style: str, text: str) -> str:
    """As A1111 merges: into the place held for it, else with a comma between."""
    if "{prompt}" in style:
        return style.replace("{prompt}", text.strip()).strip(" ,")
    return ", ".join(part.strip() for part in (text, style) if part.strip())


def _read_styles(file: Path) -> dict[str, Style]:
    try:
        entries: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The styles in {file.name} cannot be read.", hint="It must be a JSON list of styles."
        ) from error
    if not isinstance(entries, list):
        raise InvalidRequest(
            f"{file.name} is not a list of styles.", hint='It must start with [{"name": …, "prompt": …}].'
        )
    return {style.name: style for style in (_parse_style(entry, file) for entry in cast("list[Any]", entries))}


def _parse_style(entry: Any, file: Path) -> Style:
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    if (
        not fields.get("name")
        or set(fields) - set(_FIELDS)
        or not all(isinstance(value, str) for value in fields.values())
    ):
        raise InvalidRequest(
            f"{file.name} contains an invalid style: {str(cast('object', entry))[:60]}",
            hint="A style needs a name and may have the texts group, prompt and negative_prompt.",
        )
    return Style(**fields)
