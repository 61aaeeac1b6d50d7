"""Templates: what they are about, where they are kept, how one becomes a prompt, and how a recipe becomes one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest

PURPOSES = ("product", "ad", "brand", "blog", "email", "social")
SPACES = ("top", "bottom", "left", "right", "middle", "full", "none")
QUALITIES = ("draft", "standard", "high")
MAX_FIELDS = 6  # of one frame; more than a form should ask
_FIELD = re.compile(r"\{([a-zA-Z][a-zA-Z0-9_ ]{0,39})\}")


@dataclass(frozen=True, kw_only=True)
class Template:
    """A starting point for one purpose on one format. `frame` is a prompt with fields in braces, "{subject}" among
    them; `style` words that follow it. `space` is where the image stays quiet for text: top, bottom, left, right,
    middle, full (a poster of text) or none. `models` and `provider` are advice; `palette` are colours "#rrggbb"."""

    id: str
    name: str
    format: str
    purpose: str
    uses: tuple[str, ...] = ()
    frame: str = "{subject}"
    style: tuple[str, ...] = ()
    negative: str = ""
    space: str = "none"
    models: tuple[str, ...] = ()
    provider: str = ""
    quality: str = "standard"
    palette: tuple[str, ...] = ()
    own: bool = False

    @property
    def platform(self) -> str:
        return self.format.partition(".")[0]


class TemplateLibrary(Protocol):
    """Templates, ours and a user's own: `of` gives the library of the user of that name."""

    def of(self, user: str) -> TemplateLibrary: ...

    def templates(self, *, platform: str | None = None, purpose: str | None = None) -> Sequence[Template]: ...

    def get_template(self, template_id: str) -> Template:
        """Raises NotFound, naming near ones."""
        ...

    def search(self, words: str, limit: int = 20) -> Sequence[Template]:
        """The best first; typing errors are forgiven."""
        ...

    def recommend(self, platform: str, purpose: str, limit: int = 5) -> Sequence[Template]: ...

    def save(self, template: Template) -> Template:
        """Keep one of the user's own; one of the same id is replaced. Raises InvalidRequest."""
        ...

    def remove(self, template_id: str) -> None: ...

    def import_file(self, source: Path) -> Sequence[Template]:
        """Take in a file that `export` wrote. Raises InvalidRequest, naming what is wrong."""
        ...

    def export(self, template_ids: Sequence[str]) -> str:
        """The templates as the text of a TOML file."""
        ...


def find_fields(frame: str) -> tuple[str, ...]:
    """The names in braces, each once, in the order in which they stand; at most MAX_FIELDS."""
    return tuple(dict.fromkeys(_FIELD.findall(frame)))[:MAX_FIELDS]


def fill_prompt(template: Template, values: Mapping[str, str]) -> str:
    """The frame with its fields filled, then the style words. A field without a value goes, with the comma that it
    leaves behind."""
    filled = _FIELD.sub(lambda found: " ".join(values.get(found[1], "").split()), template.frame)
    parts = [" ".join(part.split()) for part in (*filled.split(","), *template.style)]
    return ", ".join(part for part in parts if part)


def from_recipe(request: GenerationRequest, name: str, format_id: str, purpose: str = "social") -> Template:
    """A template of the user's own with the prompt of `request`; fields in braces stay fields. It is not looked at
    before it is saved.

    Raises:
        InvalidRequest: there is no name.
    """
    if not name.strip():
        raise InvalidRequest("The template needs a name.", hint="Enter a name such as “Summer sale”.")
    return Template(
        id=make_template_id(name),
        name=name.strip(),
        format=format_id,
        purpose=purpose,
        frame=" ".join(request.prompt.split()) or "{subject}",
        negative=" ".join(request.negative_prompt.split()),
        models=(request.model,) if request.model else (),
        own=True,
    )


def make_template_id(name: str) -> str:
    """An id made of a name: "Summer sale!" becomes "own_summer_sale"."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "own_" + (re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:70] or "template")
