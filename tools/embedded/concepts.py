"""The concept list (concepts.txt) joined with the emoji data that names the images."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass

from .paths import PACKAGE, RAW


@dataclass(frozen=True)
class Concept:
    """One thing the model can draw: the emoji label it is drawn from, its names, the usual one first."""

    label: str
    names: tuple[str, ...]
    held_out: bool = False
    everyday: bool = False


def parse_concepts(text: str) -> list[Concept]:
    """Read the lines "label | name, name" of concepts.txt; "!" before it marks a held-out concept, "+" an everyday
    one."""
    concepts = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        label, _, names = line.partition("|")
        parts = tuple(name.strip() for name in names.split(",") if name.strip())
        concepts.append(Concept(label.strip("!+ "), parts, label.startswith("!"), label.startswith("+")))
    return concepts


def load_concepts() -> list[Concept]:
    """Return every concept of concepts.txt, held-out ones included."""
    return parse_concepts((PACKAGE / "concepts.txt").read_text(encoding="utf-8"))


def make_slug(label: str) -> str:
    """Return the icon name that Iconify's packages give to an emoji label, e.g. "red apple" -> "red-apple"."""
    plain = unicodedata.normalize("NFKD", re.sub(r"[’'“”!.]", "", label.lower()))
    return re.sub(r"[^a-z0-9]+", "-", plain.encode("ascii", "ignore").decode()).strip("-")


@dataclass(frozen=True)
class Emoji:
    """One emoji of emojibase-data: its English label, code points ("1f34e") and search words."""

    label: str
    code: str
    tags: tuple[str, ...]


def load_emoji() -> list[Emoji]:
    """Return the emoji of the unpacked emojibase-data package, without skin-tone variants."""
    path = next(RAW.glob("emojibase-data-*/package/en/data.json"))
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Emoji(row["label"], normalize_code(row["hexcode"]), tuple(row.get("tags", ()))) for row in rows]


def normalize_code(hexcode: str) -> str:
    """Return code points in lower case without the variation selector, which the packages use differently."""
    return hexcode.lower().replace("-fe0f", "")
