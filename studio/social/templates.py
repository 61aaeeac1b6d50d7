"""Templates: ours in templates/*.toml beside this file, one file per group; the user's own in a folder, one file
each."""

from __future__ import annotations

import dataclasses
import difflib
import re
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound, StorageFailed
from studio.core.social_templates import PURPOSES, QUALITIES, SPACES, Template
from studio.core.text_checks import check_all_texts, check_name
from studio.core.user import LOCAL_USER
from studio.social.toml_entries import TomlEntry, read_toml

BUNDLED_TEMPLATES = Path(__file__).parent / "templates"
MAX_OWN_TEMPLATES = 1_000
MAX_IMPORTED_TEMPLATES = 200  # templates of one file
_ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_]{0,79}")
_COLOUR_PATTERN = re.compile(r"#[0-9a-fA-F]{6}")
_FORMAT_PATTERN = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
MIN_SIMILARITY = 0.74  # of two words, from which a typing error is forgiven
_SEARCH_FIELDS = ("name", "purpose", "uses", "platform", "style", "frame")  # what a search looks at, with its weight
_FIELD_WEIGHTS = (4.0, 3.0, 3.0, 3.0, 1.0, 1.0)


@dataclass
class _TemplateTables:
    templates: dict[str, Template] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Templates:
    """The template library (TemplateLibrary of studio.core.social). `folder` holds the user's own, one TOML file each;
    it is made at the first save. A broken file or entry is left out and named in `problems`. Safe to ask from any
    thread."""

    def __init__(self, folder: Path | None = None, *, ours: Path = BUNDLED_TEMPLATES) -> None:
        self._folder, self._ours = folder, ours
        self._lock = threading.RLock()
        self._data: _TemplateTables | None = None
        self._libraries: dict[str, Templates] = {}

    @property
    def problems(self) -> Sequence[str]:
        return tuple(self._get_tables().problems)

    def of(self, user: str) -> Templates:
        """Ours with that user's own. Those of the one user without a login lie in the folder itself, everybody else's
        in a folder below it."""
        if user == LOCAL_USER.name:
            return self
        with self._lock:
            if user not in self._libraries:
                own = (
                    None if self._folder is None else self._folder / "users" / quote(user, safe="").replace(".", "%2E")
                )
                self._libraries[user] = Templates(own, ours=self._ours)
            return self._libraries[user]

    def templates(self, *, platform: str | None = None, purpose: str | None = None) -> Sequence[Template]:
        """All of them, the user's own first, or those of a platform ("instagram", also a whole format id) and a
        purpose."""
        found = sorted(self._get_tables().templates.values(), key=lambda each: not each.own)
        return tuple(
            each
            for each in found
            if platform in (None, each.platform, each.format) and purpose in (None, each.purpose, *each.uses)
        )

    def get_template(self, template_id: str) -> Template:
        known = self._get_tables().templates
        if template_id not in known:
            near = difflib.get_close_matches(template_id, list(known), n=4, cutoff=0.5)
            raise NotFound(
                f"Template {template_id[:80]!r} not found.",
                hint="Did you mean: " + ", ".join(near) + "." if near else "See the list of templates.",
            )
        return known[template_id]

    def search(self, words: str, limit: int = 20) -> Sequence[Template]:
        """The best first, only such as fit every word; typing errors are forgiven. Without words: all, in their
        order."""
        terms = _split_words(words)[:16]
        if not terms:
            return self.templates()[:limit]
        scored = [(score, each) for each in self.templates() if (score := _score_template(terms, each)) > 0]
        return tuple(each for _, each in sorted(scored, key=lambda pair: -pair[0])[:limit])

    def recommend(self, platform: str, purpose: str, limit: int = 5) -> Sequence[Template]:
        """The templates that fit the platform (or format id) and the purpose in plain words best; never empty while
        there are templates."""
        terms = _split_words(purpose)[:16]

        def worth(each: Template) -> float:
            there = 4.0 if platform in (each.platform, each.format) else 0.0
            meant = 3.0 if purpose in (each.purpose, *each.uses) else 0.0
            return (
                there
                + meant
                + sum(_score_word(word, each) for word in terms) / (4 * max(1, len(terms)))
                + 0.5 * each.own
            )

        return tuple(sorted(self.templates(), key=lambda each: -worth(each))[:limit])

    def save(self, template: Template) -> Template:
        """Keep one of the user's own; one of the same id is replaced, ours cannot be. Raises InvalidRequest,
        StorageFailed."""
        check_name(template.name, "The name of the template")
        check_all_texts(template, "template")
        own = _check_template(dataclasses.replace(template, own=True))
        with self._lock:
            data = self._get_tables()
            held = data.templates.get(own.id)
            if held is not None and not held.own:
                raise InvalidRequest(f"The template {own.id} is built in.", hint="Choose another name.")
            if held is None and sum(each.own for each in data.templates.values()) >= MAX_OWN_TEMPLATES:
                raise InvalidRequest(f"The limit of {MAX_OWN_TEMPLATES} own templates is reached.", hint="Delete some.")
            self._write_template(own)
            data.templates[own.id] = own
        return own

    def remove(self, template_id: str) -> None:
        """Delete one of the user's own. Raises NotFound, and InvalidRequest for ours."""
        with self._lock:
            if not self.get_template(template_id).own:
                raise InvalidRequest(f"The template {template_id} is built in.", hint="It cannot be deleted.")
            try:
                self._get_template_file(template_id).unlink(missing_ok=True)
            except OSError as error:
                raise StorageFailed(
                    "The template could not be deleted.", hint="Check the folder's permissions."
                ) from error
            del self._get_tables().templates[template_id]

    def import_file(self, source: Path) -> Sequence[Template]:
        """Take in a file that `export` wrote: all of its templates or, when one is wrong, none. Raises
        InvalidRequest."""
        tables = read_toml(source)
        entries = tables.get("template", [])
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_IMPORTED_TEMPLATES:
            raise InvalidRequest(
                f"{source.name} holds no templates, or more than {MAX_IMPORTED_TEMPLATES}.",
                hint="Each begins with [[template]].",
            )
        read = [read_template(TomlEntry(fields, f"{source.name}, template {i}")) for i, fields in enumerate(entries, 1)]
        with self._lock:
            return tuple(self.save(template) for template in read)

    def export(self, template_ids: Sequence[str]) -> str:
        """The templates as the text of a TOML file."""
        return "schema = 1\n\n" + "\n".join(to_toml(self.get_template(each)) for each in template_ids)

    def _get_tables(self) -> _TemplateTables:
        with self._lock:
            if self._data is None:
                self._data = self._read_folders()
            return self._data

    def _read_folders(self) -> _TemplateTables:
        data = _TemplateTables()
        for folder, own in ((self._ours, False), (self._folder, True)):
            for file in sorted(folder.glob("*.toml")) if folder is not None and folder.is_dir() else ():
                _add_template_file(file, data, own=own)
        return data

    def _get_template_file(self, template_id: str) -> Path:
        if self._folder is None:
            raise InvalidRequest("No folder for own templates is configured.", hint="Set one in the configuration.")
        return self._folder / f"{template_id}.toml"

    def _write_template(self, template: Template) -> None:
        file = self._get_template_file(template.id)
        with translate_os_errors("the template"):
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_synced(file, ("schema = 1\n\n" + to_toml(template)).encode())


def read_template(entry: TomlEntry, *, own: bool = False) -> Template:
    """Raises InvalidRequest, naming entry and field, when anything is wrong or unknown."""
    made = Template(
        id=entry.text("id"),
        name=entry.text("name"),
        format=entry.text("format"),
        purpose=entry.text("purpose"),
        uses=entry.texts("uses"),
        frame=entry.text("frame", "{subject}"),
        style=entry.texts("style"),
        negative=entry.text("negative", ""),
        space=entry.text("space", "none"),
        models=entry.texts("models"),
        provider=entry.text("provider", ""),
        quality=entry.text("quality", "standard"),
        palette=entry.texts("palette"),
        own=own,
    )
    entry.reject_unread_keys()
    return _check_template(made)


def to_toml(template: Template) -> str:
    """One [[template]], as `read_template` reads it."""
    lines = ["[[template]]"]
    for each in dataclasses.fields(template):
        value: Any = getattr(template, each.name)
        if each.name == "own" or value == each.default:
            continue
        said = "[" + ", ".join(map(_quote_toml, value)) + "]" if isinstance(value, tuple) else _quote_toml(value)
        lines.append(f"{each.name} = {said}")
    return "\n".join(lines) + "\n"


def _quote_toml(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


def _check_template(template: Template) -> Template:
    rules: list[tuple[str, bool, str]] = [
        ("id", bool(_ID_PATTERN.fullmatch(template.id)), "lowercase letters, digits and underscores"),
        ("name", 0 < len(template.name.strip()) <= 80, "1 to 80 characters"),
        ("format", bool(_FORMAT_PATTERN.fullmatch(template.format)), 'a format id such as "instagram.story"'),
        ("purpose", template.purpose in PURPOSES, "one of " + ", ".join(PURPOSES)),
        ("space", template.space in SPACES, "one of " + ", ".join(SPACES)),
        ("quality", template.quality in QUALITIES, "one of " + ", ".join(QUALITIES)),
        (
            "palette",
            all(map(_COLOUR_PATTERN.fullmatch, template.palette)) and len(template.palette) <= 12,
            "colours as #rrggbb",
        ),
        ("frame", 0 < len(template.frame) <= 2_000, "1 to 2000 characters"),
    ]
    for name, fine, wanted in rules:
        if not fine:
            raise InvalidRequest(f"The template {template.id[:80]!r}: {name} is wrong.", hint=f"It must be {wanted}.")
    return template


def _add_template_file(file: Path, data: _TemplateTables, *, own: bool) -> None:
    try:
        entries = read_toml(file).get("template", [])
    except InvalidRequest as error:
        data.problems.append(error.message)
        return
    for number, fields in enumerate(entries if isinstance(entries, list) else [], 1):
        try:
            made = read_template(TomlEntry(fields, f"{file.name}, template {number}"), own=own)
            if made.id in data.templates:
                raise InvalidRequest(f"{file.name}: the template {made.id} exists twice.", hint="Remove one.")
        except InvalidRequest as error:
            data.problems.append(error.message)
        else:
            data.templates[made.id] = made


def _split_words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", plain)


def _score_template(terms: Iterable[str], template: Template) -> float:
    """The sum over all words, 0 when one of them fits nothing."""
    scores = [_score_word(word, template) for word in terms]
    return sum(scores) if all(scores) else 0.0


def _score_word(word: str, template: Template) -> float:
    """How well `word` fits: its place's weight, less for a beginning of a word, and for a word that is only alike."""
    return max(
        weight * _score_match(word, _get_field_words(template, name))
        for name, weight in zip(_SEARCH_FIELDS, _FIELD_WEIGHTS, strict=True)
    )


def _get_field_words(template: Template, name: str) -> list[str]:
    value: Any = f"{template.format} {template.platform}" if name == "platform" else getattr(template, name)
    return _split_words(" ".join(value) if isinstance(value, tuple) else value)


def _score_match(word: str, among: list[str]) -> float:
    if word in among:
        return 1.0
    if any(each.startswith(word) for each in among):
        return 0.8
    if len(word) < 4:
        return 0.0
    near = (each for each in among if abs(len(each) - len(word)) <= 2)
    best = max((_measure_similarity(word, each) for each in near), default=0.0)
    return 0.6 * best if best >= MIN_SIMILARITY else 0.0


def _measure_similarity(one: str, other: str) -> float:
    """0 to 1; the matcher's answer depends on the order, the better one counts."""
    return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in ((one, other), (other, one)))
