"""Texts of the page in the language of a visitor, put in as the page is sent.

Components hold English texts whatever the language: forms, recipes, saved settings and the API know nothing of it. Of
what is sent, labels, help, placeholders, the texts of buttons and the labels of choices are looked up; values stay.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gradio.blocks import Block

from studio.tabs.common.languages import Texts, get_current_texts, translate, translate_message, use_texts

_TEXT_PROPS = ("label", "info", "placeholder")
_TEXT_NODE = re.compile(r">([^<>]+)<")
_ATTRIBUTE = re.compile(r'(\s(?:title|aria-label|placeholder)=)"([^"]+)"')
_SCRIPT_OPTION = re.compile(r'("(?:label|hint)": )("(?:[^"\\]|\\.)*")')
_CONFIG_START = "window.gradio_config = "
_UNSAFE_IN_HTML = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&'"})
_SCRIPTED = "scripted"
NOTES = (" Takes effect after a restart.",)  # that stand behind a help which is a text of its own
_MARKED = re.compile(r"(#+ |→ )(.+)")
NUMBERED = re.compile(r"(.+) (\d+)")
_NUMBER = "{number}"  # in a catalog


def translate_components(described: Mapping[str, Any]) -> dict[str, Any]:
    """Gradio's description of a page or a part of one, with its texts looked up."""
    if not get_current_texts():
        return dict(described)
    components = [
        {**each, "props": translate_props(_name_kind(each["type"], each["props"].get("html_template")), each["props"])}
        for each in described.get("components", ())
    ]
    return {**described, "components": components}


def translate_outputs(blocks: Sequence[Block], values: list[Any]) -> list[Any]:
    """What an event answers for `blocks`: updates, the texts of buttons, and HTML, with their texts looked up."""
    if not get_current_texts():
        return values
    return [_translate_output(block, value) for block, value in zip(blocks, values, strict=True)]


def _translate_output(block: Block, value: Any) -> Any:
    kind = _name_kind(block.get_block_name(), getattr(block, "html_template", None))
    if isinstance(value, dict) and value.get("__type__") == "update":
        return translate_props(kind, value)
    return _translate_value(kind, value)


def translate_props(kind: str, props: Mapping[str, Any]) -> dict[str, Any]:
    """The props of a component of type `kind`, or an update of some of them."""
    changed: dict[str, Any] = {
        name: translate_label(props[name]) for name in _TEXT_PROPS if isinstance(props.get(name), str)
    }
    if isinstance(props.get("choices"), (list, tuple)):
        changed["choices"] = [_translate_choice(choice) for choice in props["choices"]]
    if "value" in props:
        changed["value"] = _translate_value(kind, props["value"])
    if kind == _SCRIPTED and isinstance(props.get("js_on_load"), str):
        changed["js_on_load"] = _SCRIPT_OPTION.sub(_translate_option, props["js_on_load"])
    return {**props, **changed}


def translate_label(text: str) -> str:
    """`text`, where it is not known as a whole then as what it is made of: a text and a number behind it, a heading
    or an arrow and a text, a text and a note that others have too."""
    if (shown := translate(text)) != text:
        return shown
    for end in NOTES:
        if text.endswith(end):
            return f"{translate(text.removesuffix(end))} {translate(end.strip())}"
    if (found := _MARKED.fullmatch(text)) is not None:
        return found[1] + translate(found[2])
    if (found := NUMBERED.fullmatch(text)) is not None:
        return translate(f"{found[1]} {_NUMBER}").replace(_NUMBER, found[2])
    return text


def translate_html(text: str) -> str:
    """HTML with its text nodes looked up, and what readers are read: titles, labels and placeholders."""
    replaced = _TEXT_NODE.sub(lambda found: f">{_translate_escaped(found[1])}<", f">{text}<")[1:-1]
    return _ATTRIBUTE.sub(lambda found: f'{found[1]}"{_translate_escaped(found[2])}"', replaced)


def translate_page(page: str, texts: Texts) -> str:
    """The HTML of Gradio's page, which describes the first components in a script, with their texts from `texts`; as it
    was where there is no such description."""
    start = page.find(_CONFIG_START)
    if start < 0:
        return page
    start += len(_CONFIG_START)
    config, end = json.JSONDecoder().raw_decode(page, start)
    with use_texts(texts):
        described = json.dumps(translate_components(config), ensure_ascii=False, separators=(",", ":"))
    return page[:start] + described.translate(_UNSAFE_IN_HTML) + page[end:]


def _name_kind(name: str, template: object) -> str:
    """The kind of a component: HTML whose template shows no value is a field of our scripts, and its value is data."""
    return _SCRIPTED if name == "html" and "value" not in str(template) else name


def _translate_value(kind: str, value: Any) -> Any:
    """The text of a button or a heading, or HTML; the values of other components are data."""
    if not isinstance(value, str):
        return value
    if kind in ("button", "markdown"):
        return translate_label(value)
    return translate_html(value) if kind == "html" else value


def _translate_choice(choice: Any) -> Any:
    label, value = choice if isinstance(choice, (list, tuple)) else (choice, choice)
    return [translate(label) if isinstance(label, str) else label, value]


def _translate_option(found: re.Match[str]) -> str:
    return found[1] + json.dumps(translate(json.loads(found[2])))


def _translate_escaped(text: str) -> str:
    """Escaped text, with the white space around it kept."""
    bare = text.strip()
    if not bare:
        return text
    plain = html.unescape(bare)
    shown = translate_message(plain)
    return text if shown == plain else text.replace(bare, html.escape(shown), 1)
