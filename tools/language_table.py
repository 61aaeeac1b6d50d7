"""How much of the page each language covers: the table of docs/page.md, and what the tests check catalogs by."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.core.settings import Settings
from studio.engine.settings_store import SettingsStore
from studio.page import build_page
from studio.tabs.common.languages import Languages, read_messages, use_texts
from studio.tabs.common.translated_page import NUMBERED, translate_components
from studio.wiring import build_studio
from tools.message_templates import list_messages
from tools.provider_tables import replace_tables

PAGE = Path(__file__).parent.parent / "docs" / "page.md"
SCRIPTS = Path(__file__).parent.parent / "studio" / "assets" / "js"
NAMES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "ja": "Japanese",
    "ko": "Korean",
    "pt": "Portuguese",
    "zh-CN": "Chinese (simplified)",
}
_SCRIPT_TEXTS = (
    re.compile(r'\b(?:makeButton|translate)\(\s*"([^"]+)"'),
    re.compile(r'(?:title|"aria-label"|placeholder): "([^"]+)"'),
)
_WORD = re.compile(r"[^\W\d_]{2}")
_TEXT_VALUES = ("button", "markdown")


class _AskedTexts(Mapping[str, str]):
    """An empty catalog that notes what it is asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1  # so that it does not pass for English


def list_texts(components: Iterable[Mapping[str, Any]]) -> set[str]:
    """All texts that are looked up in `components`, as Gradio describes them."""
    asked = _AskedTexts()
    with use_texts(asked):
        translate_components({"components": list(components)})
    return asked.names


def list_names(components: Iterable[Mapping[str, Any]]) -> set[str]:
    """The labels, tabs, accordions, buttons and headings among `components`; of those with a number one stands for
    all."""
    bare = [{**each, "props": _select_names(each["type"], each["props"])} for each in components]
    return {text for text in list_texts(bare) if _WORD.search(text) and not NUMBERED.fullmatch(text)} - _list_wholes(
        bare
    )


def list_script_texts(folder: Path = SCRIPTS) -> set[str]:
    """The texts that the page's scripts look up as they stand there."""
    sources = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.js"))]
    found = {text for source in sources for pattern in _SCRIPT_TEXTS for text in pattern.findall(source)}
    return {text for text in found if _WORD.search(text)}


def fill_table(text: str, components: Iterable[Mapping[str, Any]]) -> str:
    """`text` with its table of languages written anew."""
    return replace_tables(text, {"languages": lambda: _render_table(list(components))})


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(outputs_dir=Path(folder) / "outputs", logs_dir=Path(folder) / "logs")
        blocks, _ = build_page(build_studio(SettingsStore(settings)))
        components: Any = blocks.get_config_file()["components"]
    PAGE.write_text(fill_table(PAGE.read_text(encoding="utf-8"), components), encoding="utf-8")


def _select_names(kind: str, props: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("label", "value") if kind in _TEXT_VALUES else ("label",)
    return {name: props[name] for name in kept if name in props}


def _list_wholes(components: Iterable[Mapping[str, Any]]) -> set[str]:
    """Headings and buttons with an arrow, of which the text behind the sign counts."""
    values = (each["props"].get("value") for each in components)
    return {value for value in values if isinstance(value, str) and value.startswith(("#", "→"))}


def _render_table(components: list[Mapping[str, Any]]) -> str:
    languages, names, scripts = Languages(), list_names(components), list_script_texts()
    messages = set(list_messages())
    rows = ["| language | labels and buttons | texts of scripts | messages | texts in all |", "|---|---|---|---|---|"]
    rows.append(f"| English | {len(names)} | {len(scripts)} | {len(messages)} | all |")
    for code in languages.codes:
        texts, said = languages.get_texts(code), read_messages(code)
        kinds = ((names, texts), (scripts, texts), (messages, said))
        shares = (f"{len(wanted & known.keys()) / len(wanted):.0%}" for wanted, known in kinds)
        rows.append(f"| {NAMES[code]} (`{code}`) | {' | '.join(shares)} | {len(texts) + len(said)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
