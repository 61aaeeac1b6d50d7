"""Functions that the engine calls in the rest of the studio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from studio.core.errors import NotConfigured
from studio.core.provenance import ContentCredentials
from studio.core.trust import Moderator
from studio.library.meaning import Embedder


def raise_no_key(name: str) -> str:
    """The keys of a studio that has none; raises NotConfigured."""
    raise NotConfigured(f"{name} is not set.", hint="Set it in the environment, or in Configurations.")


@dataclass(frozen=True)
class Successor:
    """The model that replaces one that has ended: `model` is its id, `notice` says so to the user."""

    model: str
    notice: str


@dataclass(frozen=True)
class Lookups:
    """`find_successor` gives the successor of a name that no model has any more, None for a name that never ended.
    `model_hash` gives a model's short hash at once, "" while it is not known, and `find_by_hash` the model whose known
    hash begins so, "" where there is none; `key` an API key by its name, and raises NotConfigured when it is not set.
    `embedder` gives the meaning of texts as vectors, None where no model does. `credentials` signs files and reads what
    others signed, None where nothing does; `moderator` looks at texts and images, None where nothing is filtered.
    `hide_text` hides a text in an image."""

    model_hash: Callable[[str], str] = lambda model_id: ""
    find_by_hash: Callable[[str], str] = lambda beginning: ""
    key: Callable[[str], str] = raise_no_key
    embedder: Embedder | None = None
    credentials: ContentCredentials | None = None
    find_successor: Callable[[str], Successor | None] = lambda name: None
    moderator: Moderator | None = None
    hide_text: Callable[[Image.Image, str], Image.Image] | None = None
