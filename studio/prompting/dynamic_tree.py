"""Dynamic prompts as a tree: the syntax of `{a|b}`, `{2$$a|b|c}`, `__wildcard__` and `${variable}` is read once here,
and drawn from in `dynamic`.

Whatever is not this syntax stays as it is, character by character: single `$`, `#`, `__` without a name, brackets
without a choice in them such as those of JSON, AUTOMATIC1111's `[a|b]`, and LoRA tags.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections import Counter
from dataclasses import dataclass, field

from studio.core.errors import InvalidRequest

MAX_DEPTH = 24  # groups inside each other
MAX_TEMPLATE_CHARS = 20_000
DEFAULT_SEPARATOR = ", "

_NAME = r"[^\W_*/]|\*"  # the first character of a wildcard's name
_TOKEN = re.compile(
    rf"""
    (?P<backslashes>\\\\)
    | (?P<escape>\\(?:[{{}}|]|__))
    | (?P<tag><(?:lora|lyco|hypernet):[^<>{{}}|\n]{{1,300}}>)
    | (?P<variable>\$\{{\s*(?P<variable_name>[A-Za-z]\w{{0,39}})\s*(?P<action>=!?|:|\}}))
    | (?P<wildcard>(?<![^\W_])__(?P<wildcard_once>[@~])?(?P<wildcard_name>(?:{_NAME})(?:(?!__)[\w\-/*]){{0,119}})__)
    | (?P<mark>[{{}}|\[\]])
    | (?P<text>[^\\<$_{{}}|\[\]]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_HEADER = re.compile(
    r"(?P<once>[@~])?(?:(?P<low>\d{1,4})?(?P<dash>-)?(?P<high>\d{1,4})?\$\$(?:(?P<separator>[^{}|$]{0,40})\$\$)?)?"
)
_WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})::")
_WILDCARD_IN_TAG = re.compile(r":__[^:<>]+__[:>]")


@dataclass(frozen=True)
class Wildcard:
    """`__name__`. `key` tells this place from all others of the template."""

    name: str
    each_once: bool
    key: str


@dataclass(frozen=True)
class Choice:
    """`{…}`: `low` to `high` of the options are drawn, each at most once, and joined by `separator`."""

    options: tuple[Sequence, ...]
    weights: tuple[float, ...]
    low: int
    high: int
    separator: str
    each_once: bool
    key: str


@dataclass(frozen=True)
class SetVariable:
    """`${name=value}`; with `fixed` (`=!`) the value is drawn here, otherwise anew wherever it is used."""

    name: str
    value: Sequence
    fixed: bool
    key: str


@dataclass(frozen=True)
class UseVariable:
    """`${name}`; `default` stands there where the variable is not set."""

    name: str
    default: Sequence | None
    key: str


Node = str | Wildcard | Choice | SetVariable | UseVariable
Sequence = tuple[Node, ...]


class _Bar:
    """A `|` that may divide options."""


_BAR = _Bar()


@dataclass
class _Frame:
    """A brace that is still open: what stands in it so far. `bars` are the places of dividing bars, `brackets` for each
    open square bracket the number of bars before it."""

    start: int
    opening: str
    kind: str  # "group", "set", "fix", "default", or "" for the whole template
    name: str = ""
    header: re.Match[str] | None = None
    items: list[Node | _Bar] = field(default_factory=list["Node | _Bar"])
    bars: list[int] = field(default_factory=list[int])
    brackets: list[int] = field(default_factory=list[int])


@functools.lru_cache(maxsize=512)
def parse_template(text: str) -> Sequence:
    """The tree of `text`.

    Raises:
        InvalidRequest: longer than MAX_TEMPLATE_CHARS, a group with several options or a variable that never ends,
            groups more than MAX_DEPTH deep, or a variable that is set inside a group; the place is named.
    """
    if len(text) > MAX_TEMPLATE_CHARS:
        raise InvalidRequest(
            f"The prompt is longer than {MAX_TEMPLATE_CHARS} characters.", hint="Shorten it, or use wildcards."
        )
    return _Parser(text).parse()


def is_dynamic(text: str) -> bool:
    """Whether drawing from `text` could give anything but `text`. Raises InvalidRequest as `parse_template`."""
    return any(mark in text for mark in ("{", "}", "__")) and parse_template(text) not in ((), (text,))


def escape_text(text: str) -> str:
    """A template that gives `text` as it is."""
    try:
        if not is_dynamic(text):
            return text
    except InvalidRequest:  # an open group, which is text here
        pass
    return re.sub(r"(?<!_)__(?=[^\W_]|\*)|[{}]", lambda found: "\\" + found[0], text)


class _Parser:
    """Reads one template from left to right; linear in its length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stack = [_Frame(0, "", "")]
        self._seen: Counter[str] = Counter()
        self._at = 0

    def parse(self) -> Sequence:
        text = self._text
        while self._at < len(text):
            token = _TOKEN.match(text, self._at)
            assert token is not None  # its last alternative takes any character
            self._at = token.end()
            self._take(token)
        while len(self._stack) > 1:
            frame = self._stack.pop()
            if frame.kind != "group" or frame.bars:
                raise InvalidRequest(
                    f"The brace at {self._describe_place(frame.start)} is never closed.",
                    hint="Close it with }, or write \\{ for a brace.",
                    details={"position": frame.start},
                )
            self._put_all(_flatten(frame))
        return _join(self._stack[0].items)

    def _take(self, token: re.Match[str]) -> None:
        frame = self._stack[-1]
        inside = len(self._stack) > 1
        if token["mark"]:
            self._take_mark(token["mark"], token.start())
        elif token["escape"]:
            frame.items.append(token[0] if token["escape"] == "\\|" and not inside else token[0][1:])
        elif token["wildcard"]:
            self._put_wildcard(token)
        elif token["variable"]:
            self._open_variable(token)
        elif token["tag"] and _WILDCARD_IN_TAG.search(token[0]):
            frame.items.append(token[0][0])  # its wildcard is to be drawn: go on behind the bracket
            self._at = token.start() + 1
        else:
            frame.items.append(token[0])

    def _take_mark(self, mark: str, start: int) -> None:
        frame = self._stack[-1]
        grouped = frame.kind == "group"
        if mark == "{":
            self._open_group(start)
        elif mark == "}" and len(self._stack) > 1:
            self._close(start + 1)
        elif mark == "|" and grouped:
            frame.bars.append(len(frame.items))
            frame.items.append(_BAR)
        else:
            if mark == "[" and grouped:
                frame.brackets.append(len(frame.bars))
            elif mark == "]" and frame.brackets:
                del frame.bars[frame.brackets.pop() :]  # those of an alternation
            frame.items.append(mark)

    def _put_wildcard(self, token: re.Match[str]) -> None:
        key = self._make_key(token["wildcard"])
        once = token["wildcard_once"] == "@"
        self._stack[-1].items.append(Wildcard(token["wildcard_name"].casefold(), once, key))

    def _push(self, frame: _Frame) -> None:
        if len(self._stack) > MAX_DEPTH:
            raise InvalidRequest(
                f"The braces at {self._describe_place(frame.start)} are nested too deep.",
                hint=f"At most {MAX_DEPTH} levels are read.",
                details={"position": frame.start},
            )
        self._stack.append(frame)

    def _open_group(self, start: int) -> None:
        header = _HEADER.match(self._text, start + 1)
        assert header is not None  # it may be empty
        counted = header["low"] or header["dash"] or header["high"]
        if "$$" in header[0] and not counted:
            header = re.compile("").match(self._text, start + 1)  # "$$" without a number is text
            assert header is not None
        self._at = header.end()
        self._push(_Frame(start, "{" + header[0], "group", header=header if header[0] else None))

    def _open_variable(self, token: re.Match[str]) -> None:
        start, action = token.start(), token["action"]
        if action == "}":
            self._stack[-1].items.append(UseVariable(token["variable_name"], None, self._make_key(token[0])))
            return
        if action != ":" and len(self._stack) > 1:
            raise InvalidRequest(
                f"The variable at {self._describe_place(start)} is set inside of braces.",
                hint="Set variables at the beginning of the prompt.",
                details={"position": start},
            )
        kind = {"=": "set", "=!": "fix", ":": "default"}[action]
        self._push(_Frame(start, token[0], kind, name=token["variable_name"]))

    def _close(self, end: int) -> None:
        frame = self._stack.pop()
        source = self._text[frame.start : end]
        if frame.kind == "group":
            self._put_all(self._build_group(frame, source))
            return
        value = _join(frame.items)
        if frame.kind == "default":
            self._stack[-1].items.append(UseVariable(frame.name, value, self._make_key(source)))
        else:
            self._stack[-1].items.append(SetVariable(frame.name, value, frame.kind == "fix", self._make_key(source)))

    def _build_group(self, frame: _Frame, source: str) -> list[Node | _Bar]:
        """The choice of a closed group; its text where there is nothing to choose."""
        cuts = [-1, *frame.bars, len(frame.items)]
        parts = [_join(frame.items[low + 1 : high]) for low, high in itertools.pairwise(cuts)]
        weighed = [_split_weight(part) for part in parts]
        only = parts[0] if len(parts) == 1 else ()
        is_one_place = len(only) == 1 and not isinstance(only[0], str)
        if len(parts) == 1 and frame.header is None and weighed[0][1] is None and not is_one_place:
            return [*_flatten(frame), "}"]
        low, high = _read_counts(frame.header)
        return [
            Choice(
                options=tuple(option for option, _ in weighed),
                weights=tuple(1.0 if weight is None else weight for _, weight in weighed),
                low=low,
                high=high,
                separator=_read_separator(frame.header),
                each_once=frame.header is not None and frame.header["once"] == "@",
                key=self._make_key(source),
            )
        ]

    def _put_all(self, items: list[Node | _Bar]) -> None:
        self._stack[-1].items += items

    def _make_key(self, source: str) -> str:
        """The text of the place and how often it stood there before: edits elsewhere change neither."""
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        self._seen[digest] += 1
        return f"{digest}#{self._seen[digest]}"

    def _describe_place(self, position: int) -> str:
        around = " ".join(self._text[position : position + 24].split())
        return f"character {position + 1} (“{around}”)"


def _flatten(frame: _Frame) -> list[Node | _Bar]:
    return [frame.opening, *frame.items]


def _join(items: list[Node | _Bar]) -> Sequence:
    """The items with neighbouring texts joined; a bar that divides nothing is text."""
    joined: list[Node] = []
    texts: list[str] = []
    for item in items:
        if isinstance(item, str | _Bar):
            texts.append(item if isinstance(item, str) else "|")
            continue
        if texts:
            joined.append("".join(texts))
            texts.clear()
        joined.append(item)
    text = "".join(texts)
    return (*joined, text) if text else tuple(joined)


def _split_weight(option: Sequence) -> tuple[Sequence, float | None]:
    """An option without its weight in front, and the weight."""
    first = option[0] if option else None
    found = _WEIGHT.match(first) if isinstance(first, str) else None
    if found is None or not isinstance(first, str):
        return option, None
    rest = first[found.end() :]
    return ((rest, *option[1:]) if rest else option[1:]), float(found[1])


def split_line_weight(line: str) -> tuple[str, float]:
    """A wildcard's line without its weight in front, and the weight (1 where there is none)."""
    found = _WEIGHT.match(line)
    return (line, 1.0) if found is None else (line[found.end() :].strip(), float(found[1]))


def _read_counts(header: re.Match[str] | None) -> tuple[int, int]:
    """How many options are drawn at least and at most: `2$$`, `1-3$$`, `-3$$` and `2-$$` (as many as there are)."""
    if header is None or "$$" not in header[0]:
        return 1, 1
    low = int(header["low"] or 0)
    high = int(header["high"] or (9999 if header["dash"] else low))
    return (min(low, high), max(low, high))


def _read_separator(header: re.Match[str] | None) -> str:
    separator = header["separator"] if header is not None else None
    return DEFAULT_SEPARATOR if separator is None else separator
