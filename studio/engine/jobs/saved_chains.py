"""Chains of steps that users gave a name, to be used again: on Extras, after Txt2Img and Img2Img, and through HTTP."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any, cast

from studio.core.errors import InvalidRequest, NotFound
from studio.core.finish import OutputOptions
from studio.core.request import MAX_CHAIN_STEPS, GenerationRequest
from studio.core.text_checks import check_name, clean_texts
from studio.library.database import Database

MAX_CHAINS = 100  # chains of one user
MAX_CHAIN_NAME_LENGTH = 60  # characters

_log = logging.getLogger(__name__)


class SavedChains:
    """The named chains of all users, each seeing their own. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self, user: str) -> list[str]:
        """The user's chains, in the order of the alphabet."""
        rows = self._database.rows("SELECT name FROM chains WHERE user = ? ORDER BY name COLLATE NOCASE", (user,))
        return [row["name"] for row in rows]

    def steps(self, user: str, name: str) -> tuple[GenerationRequest, ...]:
        """The steps of one chain, as a request's `then` takes them.

        Raises:
            NotFound: the user has no such chain.
        """
        rows = self._database.rows("SELECT steps FROM chains WHERE user = ? AND name = ?", (user, name))
        if not rows:
            known = ", ".join(self.names(user)) or "none yet"
            raise NotFound(f"Chain “{name[:MAX_CHAIN_NAME_LENGTH]}” not found.", hint=f"Saved chains: {known}.")
        return parse_steps(clean_texts(json.loads(rows[0]["steps"])))

    def all(self, user: str) -> dict[str, tuple[GenerationRequest, ...]]:
        """The user's chains by name; one that this version cannot read is left out."""
        found: dict[str, tuple[GenerationRequest, ...]] = {}
        for name in self.names(user):
            try:
                found[name] = self.steps(user, name)
            except InvalidRequest as error:
                _log.warning("the chain %r cannot be read: %s", name, error.message)
        return found

    def find_name(self, user: str, steps: Sequence[GenerationRequest]) -> str | None:
        """The name of the user's chain that was carried out as `steps`, None when there is none; a step that leaves its
        model open was carried out by any."""

        def alike(kept: Sequence[GenerationRequest]) -> bool:
            pairs = zip(kept, steps, strict=False)
            return len(kept) == len(steps) and all(one in (other, other.replace(model="")) for one, other in pairs)

        return next((name for name, kept in self.all(user).items() if alike(kept)), None)

    def save(self, user: str, name: str, steps: Sequence[GenerationRequest]) -> str:
        """Keep `steps` under `name`, in the place of what had that name; gives the name as it is kept.

        Raises:
            InvalidRequest: no name, no steps or steps that cannot follow an image, or too many chains.
        """
        kept = check_name(" ".join(name.split())[:MAX_CHAIN_NAME_LENGTH], "The name of the chain")
        if not kept:
            raise InvalidRequest("The chain needs a name.", hint="Enter a name.")
        if not steps:
            raise InvalidRequest("The chain has no steps.", hint="Choose at least one.")
        GenerationRequest(then=tuple(steps))  # refuses what cannot follow
        names = self.names(user)
        if kept not in names and len(names) >= MAX_CHAINS:
            raise InvalidRequest(f"The limit of {MAX_CHAINS} saved chains is reached.", hint="Delete one first.")
        text = json.dumps([step.to_json() for step in steps], ensure_ascii=False)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO chains (user, name, steps, created) VALUES (?, ?, ?, ?)",
                (user, kept, text, time.time()),
            )
        return kept

    def delete(self, user: str, name: str) -> None:
        """Forget one chain; raises NotFound as `steps`."""
        self.steps(user, name)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM chains WHERE user = ? AND name = ?", (user, name))


def append_steps(request: GenerationRequest, steps: Sequence[GenerationRequest]) -> GenerationRequest:
    """`request` with `steps` after what follows it already; the file is written as the last that says so wants it.

    Raises:
        InvalidRequest: steps that cannot follow.
    """
    if not steps:
        return request
    file = next((step.file for step in reversed(steps) if step.file is not None), request.file)
    return request.replace(file=file, then=(*request.then, *(step.replace(file=None) for step in steps)))


def extract_steps(request: GenerationRequest) -> tuple[GenerationRequest, ...]:
    """The steps that follow `request`, the file with the last, as they are saved: the inverse of `followed`."""
    then = request.then
    file = None if request.file == OutputOptions() else request.file
    return (*then[:-1], then[-1].replace(file=file)) if then else ()


def build_chain_request(steps: Sequence[GenerationRequest], images: Sequence[str]) -> GenerationRequest:
    """The request that sends `images` through `steps`, one or many.

    Raises:
        InvalidRequest: no images.
    """
    if not images:
        raise InvalidRequest("No image for the chain.", hint="Select one or more images.")
    first, *rest = steps
    one = len(images) == 1
    first = first.replace(source=images[0] if one else None, batch=() if one else tuple(images))
    return append_steps(first, rest)


def parse_steps(data: Any) -> tuple[GenerationRequest, ...]:
    """The steps of JSON data: a list of requests, or one.

    Raises:
        InvalidRequest: no such list, or what a request refuses.
    """
    listed: list[Any] = [data] if isinstance(data, dict) else cast("list[Any]", data) if isinstance(data, list) else []
    if not 1 <= len(listed) <= MAX_CHAIN_STEPS:
        raise InvalidRequest("A chain is a list of steps.", hint=f"Give 1 to {MAX_CHAIN_STEPS} requests.")
    steps = tuple(GenerationRequest.from_json(step) for step in listed)
    GenerationRequest(then=steps)  # refuses what cannot follow
    return steps
