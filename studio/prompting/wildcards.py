"""Wildcards: named lists of words. Ours lie in words/ beside this file, a user's own in a folder, as text files with a
value a line or as YAML; a list of the user's replaces ours of the same name.

A list is named by its path below the folder, without the file's ending: `animals/sea` is animals/sea.txt. Lists in a
YAML file are named by their keys.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound
from studio.core.text_checks import clean_texts
from studio.core.user import LOCAL_USER
from studio.prompting.dynamic_tree import split_line_weight

BUNDLED_WORDS = Path(__file__).parent / "words"
MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_YAML_BYTES = 1024 * 1024
MAX_FILES = 5_000  # looked at in one folder
MAX_OWN_LISTS = 1_000  # kept through the page and HTTP
MAX_LINE_CHARS = 2_000
_USERS_FOLDER = "users"
_NAME = re.compile(r"[^\W_][\w\-]{0,59}(?:/[^\W_][\w\-]{0,59}){0,4}")
_COMMENT = re.compile(r"#(?![0-9a-fA-F]{3,8}\b)")  # "#ff8800" is a value


@dataclass(frozen=True)
class WordList:
    """The values of a wildcard in the order of its file, and what each weighs against the others."""

    name: str
    values: tuple[str, ...]
    weights: tuple[float, ...]
    own: bool

    @functools.cached_property
    def cumulative(self) -> tuple[float, ...] | None:
        """Running sums of the weights; None where all values weigh the same."""
        if len(set(self.weights)) < 2:
            return None
        return tuple(itertools.accumulate(self.weights))

    @functools.cached_property
    def distinct(self) -> tuple[str, ...]:
        """Each value once."""
        return tuple(dict.fromkeys(self.values))


class WordLists(Protocol):
    """Wildcards as they are at one moment."""

    def get(self, name: str) -> WordList:
        """The list called `name`, or all lists that a name with `*` fits, joined. Raises NotFound, InvalidRequest."""
        ...


class Wildcards:
    """The lists of one user. `folder` is made at the first save. Safe to ask from any thread."""

    def __init__(self, folder: Path | None = None, *, ours: Path = BUNDLED_WORDS) -> None:
        self._folder, self._ours = folder, ours
        self._lock = threading.RLock()
        self._files: dict[Path, tuple[tuple[int, int], Mapping[str, WordList]]] = {}
        self._others: dict[str, Wildcards] = {}

    def of(self, user: str) -> Wildcards:
        """Ours with the own lists of that user."""
        if user == LOCAL_USER.name:
            return self
        with self._lock:
            if user not in self._others:
                below = quote(user, safe="").replace(".", "%2E")
                own = None if self._folder is None else self._folder / _USERS_FOLDER / below
                self._others[user] = Wildcards(own, ours=self._ours)
            return self._others[user]

    def open(self) -> OpenWordLists:
        """The lists as they are now; later changes of the files are not seen in it."""
        return OpenWordLists(self)

    def names(self) -> dict[str, bool]:
        """All names in the order of the alphabet, and whether the list is the user's own.

        Raises:
            InvalidRequest: a file of the user's own cannot be read.
        """
        found = {_name_file(file, self._ours): False for file in _walk(self._ours)}
        for file in self._list_own_files():
            if file.suffix == ".txt":
                found[_name_file(file, self._folder or file)] = True
            else:
                found |= dict.fromkeys(self._read(file, self._folder or file, own=True), True)
        return dict(sorted(found.items()))

    def find(self, name: str) -> list[WordList]:
        """The lists that `name` fits, in the order of their names: one, or several where it has a `*`.

        Raises:
            NotFound: there is none; near names are told. InvalidRequest: a file cannot be read.
        """
        asked = name.casefold()
        if "*" not in asked:
            found = self._find_one(asked)
            if found is not None:
                return [found]
        else:
            pattern = asked.replace("**", "*")
            lists = [self._find_one(each) for each in self.names() if fnmatch.fnmatchcase(each, pattern)]
            if lists:
                return [each for each in lists if each is not None]
        raise NotFound(
            f"Wildcard “{name[:80]}” not found.",
            hint=_suggest_names(asked, self.names()),
            details={"wildcard": name[:120]},
        )

    def read_text(self, name: str) -> tuple[str, bool]:
        """A list as the text of a file with a value a line, and whether it is the user's own. Raises NotFound."""
        own = self._locate_own(name)
        if own.is_file():
            return _decode(own.read_bytes(), own.name), True
        (found,) = self.find(check_wildcard_name(name))
        lines = (
            line if weight == 1 else f"{weight:g}::{line}"
            for line, weight in zip(found.values, found.weights, strict=True)
        )
        return "\n".join(lines) + "\n", found.own

    def save(self, name: str, text: str) -> WordList:
        """Keep `text`, a value a line, as the user's own list `name`; what had that name is replaced.

        Raises:
            InvalidRequest: a bad name, too much text, no value, or too many lists. StorageFailed.
        """
        file = self._locate_own(name)
        data = text.replace("\r\n", "\n").encode("utf-8", "replace")
        if len(data) > MAX_FILE_BYTES:
            raise InvalidRequest("The wildcard is larger than 5 MB.", hint="Divide it into several.")
        if not _parse_lines(text):
            raise InvalidRequest("The wildcard has no values.", hint="Enter one value per line.")
        with self._lock:
            if not file.is_file() and len(self._list_own_files()) >= MAX_OWN_LISTS:
                raise InvalidRequest(f"The limit of {MAX_OWN_LISTS} own wildcards is reached.", hint="Delete some.")
            with translate_os_errors("the wildcard"):
                file.parent.mkdir(parents=True, exist_ok=True)
                replace_synced(file, data if data.endswith(b"\n") else data + b"\n")
            self._files.pop(file, None)
        (saved,) = self.find(check_wildcard_name(name))
        return saved

    def delete(self, name: str) -> None:
        """Delete a list of the user's own. Raises NotFound, and InvalidRequest for ours and for lists inside YAML."""
        file = self._locate_own(name)
        with self._lock:
            if not file.is_file():
                (found,) = self.find(check_wildcard_name(name))
                where = "part of a YAML file" if found.own else "built in"
                raise InvalidRequest(f"The wildcard “{name}” is {where}.", hint="It cannot be deleted here.")
            with translate_os_errors("the wildcards"):
                file.unlink()
            self._files.pop(file, None)

    def _locate_own(self, name: str) -> Path:
        """The file of an own list, whether it is there or not. Raises InvalidRequest for what is no name."""
        checked = check_wildcard_name(name)
        if self._folder is None:
            raise InvalidRequest("There is no folder for wildcards.", hint="Start the studio with a writable folder.")
        return self._folder / f"{checked}.txt"

    def _find_one(self, name: str) -> WordList | None:
        if _NAME.fullmatch(name) is None:
            return None
        if self._folder is not None:
            own = self._folder / f"{name}.txt"
            if own.is_file() and not name.startswith(_USERS_FOLDER + "/"):
                return self._read(own, self._folder, own=True).get(name)
            for file in self._list_own_files():
                found = None if not _may_hold(file, name, self._folder) else self._read(file, self._folder, own=True)
                if found is not None and name in found:
                    return found[name]
        ours = self._ours / f"{name}.txt"
        return self._read(ours, self._ours, own=False).get(name) if ours.is_file() else None

    def _list_own_files(self) -> list[Path]:
        if self._folder is None:
            return []
        return [file for file in _walk(self._folder) if file.relative_to(self._folder).parts[0] != _USERS_FOLDER]

    def _read(self, file: Path, folder: Path, *, own: bool) -> Mapping[str, WordList]:
        """The lists of a file by name, read anew when it changed."""
        try:
            status = file.stat()
        except OSError:
            return {}
        stamp = (status.st_mtime_ns, status.st_size)
        with self._lock:
            kept = self._files.get(file)
            if kept is None or kept[0] != stamp:
                kept = (stamp, _read_lists(file, folder, status.st_size, own=own))
                self._files[file] = kept
            return kept[1]


class OpenWordLists:
    """Wildcards as they were when they were first asked for (WordLists)."""

    def __init__(self, wildcards: Wildcards) -> None:
        self._wildcards = wildcards
        self._found: dict[str, WordList] = {}

    def get(self, name: str) -> WordList:
        if name not in self._found:
            lists = self._wildcards.find(name)
            self._found[name] = lists[0] if len(lists) == 1 else _merge(name, lists)
        return self._found[name]


def check_wildcard_name(name: str) -> str:
    """`name` as it is kept: in small letters, spaces as underscores.

    Raises:
        InvalidRequest: it could not stand between two `__`, or is no name of a file.
    """
    kept = "_".join(name.split()).casefold()
    if _NAME.fullmatch(kept) is None or "__" in kept or kept.endswith("_") or kept.split("/")[0] == _USERS_FOLDER:
        raise InvalidRequest(
            "Invalid wildcard name.",
            hint="Use letters, digits, - and single _; folders are divided by /, for example animals/sea.",
        )
    return kept


def _walk(folder: Path) -> Iterator[Path]:
    """The files of lists below `folder`, in the order of their paths; at most MAX_FILES."""
    found = (
        Path(root, name)
        for root, folders, names in os.walk(folder)
        for name in _sort_names(folders, names)
        if not name.startswith(".") and name.lower().endswith((".txt", ".yaml", ".yml"))
    )
    return itertools.islice(found, MAX_FILES)


def _sort_names(folders: list[str], names: list[str]) -> list[str]:
    folders.sort()  # os.walk goes on in this order
    return sorted(names)


def _name_file(file: Path, folder: Path) -> str:
    relative = file.relative_to(folder).with_suffix("").as_posix()
    return "_".join(relative.split()).casefold()


def _may_hold(file: Path, name: str, folder: Path) -> bool:
    """Whether a file could hold the list: every YAML file, and a text file whose name differs by case or spaces."""
    return file.suffix.lower() != ".txt" or _name_file(file, folder) == name


def _read_lists(file: Path, folder: Path, size: int, *, own: bool) -> Mapping[str, WordList]:
    is_text = file.suffix.lower() == ".txt"
    limit = MAX_FILE_BYTES if is_text else MAX_YAML_BYTES
    if size > limit:
        raise InvalidRequest(
            f"The wildcard file {file.name} is larger than {limit // 1024**2} MB.", hint="Divide it into several."
        )
    try:
        text = _decode(file.read_bytes(), file.name)
    except OSError as error:
        raise InvalidRequest(f"The wildcard file {file.name} cannot be read.", hint="Check its permissions.") from error
    name = _name_file(file, folder)
    if is_text:
        return {name: _build_list(name, _parse_lines(text), own=own)}
    return {key: _build_list(key, lines, own=own) for key, lines in _parse_yaml(text, file.name, name).items()}


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The wildcard file {name} is not UTF-8.", hint="Save it as UTF-8.", details={"position": error.start}
        ) from error


def _parse_lines(text: str) -> list[str]:
    """The values: lines without blank ones and comments."""
    lines = (line.strip() for line in clean_texts(text.replace("\r", "\n")).split("\n"))
    return [line[:MAX_LINE_CHARS] for line in lines if line and not _COMMENT.match(line)]


def _build_list(name: str, lines: list[str], *, own: bool) -> WordList:
    weighed = [split_line_weight(line) for line in lines]
    kept = [(line, weight) for line, weight in weighed if weight > 0]
    return WordList(name, tuple(line for line, _ in kept), tuple(weight for _, weight in kept), own)


def _merge(name: str, lists: list[WordList]) -> WordList:
    return WordList(
        name,
        tuple(value for each in lists for value in each.values),
        tuple(weight for each in lists for weight in each.weights),
        own=any(each.own for each in lists),
    )


def _parse_yaml(text: str, file_name: str, name: str) -> dict[str, list[str]]:
    """The lists of a YAML file by their keys joined with `/`; a list without a key has the file's name."""
    import yaml

    parser: Any = yaml  # untyped
    loader = getattr(parser, "CSafeLoader", parser.SafeLoader)
    problem = InvalidRequest(
        f"The wildcard file {file_name} cannot be read.", hint="Write lists below keys, without anchors and aliases."
    )
    try:
        if any(isinstance(event, parser.AliasEvent) for event in parser.parse(text, Loader=loader)):
            raise problem  # a few of them can stand for more values than any memory holds
        data: Any = parser.load(text, Loader=loader)
    except (parser.YAMLError, RecursionError, ValueError) as error:
        raise problem from error
    found: dict[str, list[str]] = {}
    _collect_lists(data, "" if isinstance(data, dict) else name, found)
    return found


def _collect_lists(data: Any, name: str, found: dict[str, list[str]]) -> None:
    if isinstance(data, dict):
        for key, value in cast(dict[Any, Any], data).items():
            below = "_".join(str(key).split()).casefold()
            _collect_lists(value, f"{name}/{below}" if name else below, found)
    elif isinstance(data, list):
        lines = [str(item) for item in cast(list[Any], data) if isinstance(item, str | int | float)]
        if lines and _NAME.fullmatch(name):
            found[name] = [line for each in lines for line in _parse_lines(each)]
    elif isinstance(data, str) and _NAME.fullmatch(name):
        found[name] = _parse_lines(data)


def _suggest_names(name: str, known: Mapping[str, bool]) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if near:
        return "Did you mean: " + ", ".join(near) + "?"
    return "Write \\__ where two underscores are meant, or add the wildcard."
