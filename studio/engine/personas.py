"""Personas that users keep under a name, one JSON file each."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from studio.core.codec import decode_json
from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound
from studio.core.file_ids import make_file_id
from studio.core.prompts import Persona
from studio.core.text_checks import check_name
from studio.core.user import LOCAL_USER

MAX_PERSONAS = 200  # of one user
MAX_FIELD_CHARS = 500
_MAX_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class Personas:
    """The personas of one user; the folder is made at the first save. Safe to ask from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()

    def of(self, user: str) -> Personas:
        """Those of that user."""
        if user == LOCAL_USER.name:
            return self
        return Personas(self._folder / "users" / quote(user, safe="").replace(".", "%2E"))

    def all(self) -> list[Persona]:
        """All of them in the order of their names; one that cannot be read is left out."""
        found: list[Persona] = []
        for file in sorted(self._folder.glob("*.json"))[:MAX_PERSONAS] if self._folder.is_dir() else []:
            try:
                found.append(self._read(file))
            except InvalidRequest as error:
                _log.warning("the persona %s cannot be read: %s", file.name, error.message)
        return sorted(found, key=lambda each: each.name.casefold())

    def get(self, name: str) -> Persona:
        """The persona of that name. Raises NotFound, and InvalidRequest where its file cannot be read."""
        file = self._locate(name)
        if not file.is_file():
            known = ", ".join(each.name for each in self.all()[:10]) or "none yet"
            raise NotFound(f"Persona “{name[:60]}” not found.", hint=f"There are: {known}.")
        return self._read(file)

    def save(self, persona: Persona) -> Persona:
        """Keep a persona, in the place of what had its name.

        Raises:
            InvalidRequest: no name, a field that is too long, or too many personas. StorageFailed.
        """
        kept = dataclasses.replace(persona, name=check_name(" ".join(persona.name.split()), "The name of the persona"))
        for field in dataclasses.fields(kept):
            if len(getattr(kept, field.name)) > MAX_FIELD_CHARS:
                raise InvalidRequest(f"{field.name} is longer than {MAX_FIELD_CHARS} characters.", hint="Shorten it.")
        file = self._locate(kept.name)
        with self._lock, translate_os_errors("the persona"):
            if not file.is_file() and self._folder.is_dir() and len(list(self._folder.glob("*.json"))) >= MAX_PERSONAS:
                raise InvalidRequest(f"The limit of {MAX_PERSONAS} personas is reached.", hint="Delete some.")
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_synced(file, json.dumps(dataclasses.asdict(kept), ensure_ascii=False, indent=2).encode())
        return kept

    def delete(self, name: str) -> None:
        """Delete a persona. Raises NotFound."""
        self.get(name)
        with translate_os_errors("the personas"):
            self._locate(name).unlink(missing_ok=True)

    def _locate(self, name: str) -> Path:
        return self._folder / f"{make_file_id(name, 'persona')}.json"

    def _read(self, file: Path) -> Persona:
        try:
            if file.stat().st_size > _MAX_BYTES:
                raise InvalidRequest(f"{file.name} is too large.", hint="Delete it.")
            data: Any = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"The persona {file.name} is no JSON.", hint="Correct or delete it.") from error
        return decode_json(Persona, data, "persona")
