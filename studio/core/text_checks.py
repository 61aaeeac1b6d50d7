"""The checks that a text holds nothing that no file, log or database can hold, said the same way everywhere."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, cast

from studio.core.errors import InvalidRequest

MAX_DEPTH = 32  # of lists and objects inside each other; a whole request with its chain has about ten

# Line breaks and tabs belong to a text; a name is one line. Half a character is what is left of a pair of surrogates.
_BAD_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# A bracket, or a whole string with the brackets in it; "++" and "*+" keep no way back, which would cost memory.
_JSON_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_BAD_IN_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_text(text: str, where: str) -> str:
    """`text` as it is; raises InvalidRequest, naming the field `where`, when it holds a control character other than
    line breaks and tabs, or a lone surrogate."""
    return _check(text, where, _BAD_IN_TEXT)


def check_name(name: str, where: str) -> str:
    """As `check_text`, for a name, which is one line without tabs."""
    return _check(name, where, _BAD_IN_NAME)


def check_all_texts(value: Any, where: str) -> None:
    """`check_text` for every text inside `value`, a dataclass whose fields are dataclasses, tuples and plain values."""
    if isinstance(value, str):
        check_text(value, where)
    elif isinstance(value, tuple):
        for number, item in enumerate(cast(tuple[Any, ...], value)):
            check_all_texts(item, f"{where}[{number}]")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            check_all_texts(getattr(value, field.name), field.name if where == "request" else f"{where}.{field.name}")


def check_json_depth(text: bytes, where: str) -> None:
    """`check_depth` before JSON is parsed, which recurses: a text that holds too few brackets costs two counts."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return
    encoding = json.detect_encoding(text)
    if not encoding.startswith("utf-8"):  # whose brackets and quotes are more than one byte each
        text = text.decode(encoding, "replace").encode("utf-8", "replace")
    depth = 0
    for found in _JSON_BRACKET.finditer(text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            raise _refuse_depth(where)


def check_depth(data: Any, where: str) -> None:
    """Raises InvalidRequest when lists and objects in the JSON `data` lie more than MAX_DEPTH deep; itself it does not
    recurse."""
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH + 1):
        level = [child for each in level for child in _get_children(each)]
        if not level:
            return
    raise _refuse_depth(where)


def _refuse_depth(where: str) -> InvalidRequest:
    return InvalidRequest(f"The {where} is nested too deep.", hint=f"At most {MAX_DEPTH} levels are read.")


def clean_texts(data: Any) -> Any:
    """JSON data without the characters that `check_text` refuses, which earlier versions let in."""
    if isinstance(data, str):
        return _BAD_IN_TEXT.sub("", data)
    if isinstance(data, list):
        return [clean_texts(item) for item in cast(list[Any], data)]
    if isinstance(data, dict):
        return {clean_texts(name): clean_texts(item) for name, item in cast(dict[str, Any], data).items()}
    return data


def _get_children(value: Any) -> list[Any]:
    """The values inside a list or object, without the plain ones."""
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = list(cast(dict[str, Any], value).values())
    elif isinstance(value, list | tuple):
        inside = list(cast(list[Any], value))
    return [item for item in inside if isinstance(item, dict | list | tuple)]


def _check(text: str, where: str, bad: re.Pattern[str]) -> str:
    found = bad.search(text)
    if found is None:
        return text
    code = ord(found[0])
    what = "a NUL character" if not code else "a control character"
    if 0xD800 <= code <= 0xDFFF:
        what = "half a character (a lone surrogate)"
    around = _BAD_IN_NAME.sub(" ", text[max(0, found.start() - 20) : found.start()]).strip()
    raise InvalidRequest(
        f"{where} holds {what}, U+{code:04X}.",
        hint=f"Remove it; it stands after “{around}”." if around else "Remove it; it stands at the beginning.",
        details={"field": where},
    )
