"""The settings in force, where each comes from, and their way to the file: defaults < file < environment < flags."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest
from studio.core.settings import Settings

ENV_PREFIX = "STUDIO_"

_log = logging.getLogger(__name__)


class SettingsStore:
    """Holds one frozen Settings at a time and swaps it as a whole; whoever holds an older one keeps it. Thread-safe.

    `notices` say what was wrong with the file when it was read.
    """

    def __init__(self, settings: Settings | None = None, *, config_file: Path | None = None) -> None:
        """A store that holds `settings`; without `config_file` changes last as long as the process."""
        self.notices: tuple[str, ...] = ()
        self._config_file = config_file
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = {}  # entries of the file that this version does not know
        self._own = settings or Settings()  # what the file says, over the defaults
        self._fixed: dict[str, Any] = {}
        self._origin: dict[str, str] = {}
        self._current = self._own

    @classmethod
    def load(cls, config_file: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> SettingsStore:
        """Read all four sources. Flags that are None were not given.

        What is wrong with the file is reported in `notices` and never fatal: a file that is no JSON is renamed to
        `.broken`, an unknown entry is kept aside, a value that does not fit gives way to the default.

        Raises:
            InvalidRequest: a value in the environment or among the flags does not fit.
        """
        store = cls(config_file=config_file)
        store._read_file(config_file)
        for name in (f.name for f in dataclasses.fields(Settings)):
            variable = ENV_PREFIX + name.upper()
            if environment.get(variable, "") != "":
                store._fix(name, environment[variable], variable)
            if flags.get(name) is not None:
                store._fix(name, flags[name], "--" + name.replace("_", "-"))
        store._current = store._own.apply_values(store._fixed)
        for notice in store.notices:
            _log.warning("%s", notice)
        return store

    @property
    def folder(self) -> Path:
        """The folder of the studio's private files: keys, the user's own formats and templates. It need not be there
        yet."""
        beside = self._config_file.parent if self._config_file is not None else self._current.outputs_dir
        return beside / "user"

    @property
    def current(self) -> Settings:
        """The settings in force."""
        return self._current

    def get_overrides(self) -> dict[str, str]:
        """The settings that the environment or a flag fixes: name -> "STUDIO_PORT" or "--port"."""
        return dict(self._origin)

    def change(self, values: Mapping[str, Any]) -> Settings:
        """Check `values`, write the file, and put them in force; all or nothing.

        Raises:
            InvalidRequest: an unknown name, a value that does not fit, or one that is fixed from outside.
            StorageFailed: the file cannot be written; nothing has changed.
        """
        with self._lock:
            wanted = self._current.apply_values(values)
            for name, origin in self._origin.items():
                if getattr(wanted, name) != getattr(self._current, name):
                    raise InvalidRequest(
                        f"The setting {name} is set by {origin}.", hint="Change it there and restart the studio."
                    )
            own = self._own.apply_values({name: value for name, value in values.items() if name not in self._origin})
            self._write(own)
            self._own, self._current = own, wanted
            return wanted

    def _write(self, settings: Settings) -> None:
        if self._config_file is None:
            return
        text = json.dumps({**self._kept, **settings.to_json()}, indent=2, ensure_ascii=False, sort_keys=True)
        with translate_os_errors("the settings"):
            self._config_file.parent.mkdir(parents=True, exist_ok=True)
            replace_synced(self._config_file, text.encode() + b"\n")

    def _fix(self, name: str, value: Any, origin: str) -> None:
        try:
            self._own.apply_values({name: value})
        except InvalidRequest as error:
            raise InvalidRequest(f"{origin}: {error.message}", hint=error.hint) from error
        self._fixed[name] = value
        self._origin[name] = origin

    def _read_file(self, path: Path) -> None:
        try:
            data: object = json.loads(path.read_bytes())
            if not isinstance(data, dict):
                raise ValueError("not an object")
        except FileNotFoundError:
            return
        except OSError as error:
            self._add_notice(f"The settings file {path.name} cannot be read ({error.strerror}); defaults are used.")
            return
        except (ValueError, RecursionError):
            path.replace(path.with_name(path.name + ".broken"))
            self._add_notice(
                f"The settings file {path.name} was broken; it is kept as {path.name}.broken, defaults are used."
            )
            return
        known = {f.name for f in dataclasses.fields(Settings)}
        for name, value in cast("dict[str, Any]", data).items():
            if name not in known:
                self._kept[name] = value
                self._add_notice(
                    f"The settings file {path.name} has an unknown entry {name[:80]!r}; it is kept but does nothing."
                )
                continue
            try:
                self._own = self._own.apply_values({name: value})
            except InvalidRequest as error:
                self._add_notice(f"{path.name}: {error.message} The default is used. {error.hint}")

    def _add_notice(self, notice: str) -> None:
        self.notices = (*self.notices, notice)
