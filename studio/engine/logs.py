"""Three logs in one folder: what the program does, one JSON line per job, and who called what. No key ever gets into
one."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import logging.handlers
import re
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from studio.core.durable_files import translate_os_errors
from studio.core.request import GenerationRequest
from studio.core.secrets_filter import redact
from studio.core.settings import Settings

_MAX_BYTES, _BACKUP_COUNT = 5_000_000, 5  # size of one file, and how many old ones stay
_APPLICATION, _GENERATION, _ACCESS = "studio.log", "generation.jsonl", "access.log"


class Logs:
    """Opens the log files of `folder`, keeps them from growing without end, and closes them again.

    The application log takes whatever the package's loggers say; it is the only place where a traceback goes.
    """

    def __init__(self, folder: Path, *, level: str = "info", form: str = "text", console: bool = False) -> None:
        """`level` and `form` are of the words of Settings.log_level and log_format; with `console` the application log
        is written to standard error too.

        Raises:
            StorageFailed: the folder cannot be written.
        """
        self._folder = folder
        with translate_os_errors("the log"):
            folder.mkdir(parents=True, exist_ok=True)
            lines = _make_formatter(form, "%(asctime)s %(levelname)s %(name)s: %(message)s")
            calls = _make_formatter(form, "%(asctime)s %(message)s")
            self._application = _make_handler(folder / _APPLICATION, lines)
            self._lines = _make_handler(folder / _GENERATION, logging.Formatter("%(message)s"))
            self._calls = _make_handler(folder / _ACCESS, calls)
        self._console = logging.StreamHandler() if console else logging.NullHandler()
        self._console.setFormatter(lines)
        self._root = logging.getLogger("studio")
        self._root.addHandler(self._application)
        self._root.addHandler(self._console)
        self._generation = _make_detached_logger("studio.log.generation", self._lines)
        self._access = _make_detached_logger("studio.log.access", self._calls)
        self.set_level(level)

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """The logs as `settings` want them; raises as the constructor."""
        return cls(settings.logs_dir, level=settings.log_level, form=settings.log_format, console=settings.log_console)

    def set_level(self, level: str) -> None:
        """Change the level of the application log."""
        self._root.setLevel(level.upper())

    def get_access_logger(self) -> logging.Logger:
        """The logger of the access log; the server writes one line per call to it."""
        return self._access

    def log_generation(self, line: Mapping[str, Any], request: GenerationRequest, settings: Settings) -> None:
        """Write one job's line; prompts only when the studio is private or the settings allow it."""
        entry: dict[str, Any] = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **line}
        if not settings.is_shared or settings.log_prompts:
            entry["prompt"], entry["negative_prompt"] = redact(request.prompt), redact(request.negative_prompt)
        self._generation.info(json.dumps(entry, ensure_ascii=False))

    def read_tail(self, lines: int = 200) -> list[str]:
        """The last lines of the application log."""
        try:
            with (self._folder / _APPLICATION).open(encoding="utf-8", errors="replace") as file:
                return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
        except OSError:
            return []

    def sweep(self, days: int) -> None:
        """Delete lines that are older than `days`, at the latest half as long after; 0 keeps them until the files are
        full."""
        for handler in (self._application, self._lines, self._calls):
            sweep_log_files(handler, days)

    def close(self) -> None:
        """Let the files go."""
        for logger, handler in (
            (self._root, self._application),
            (self._root, self._console),
            (self._generation, self._lines),
            (self._access, self._calls),
        ):
            logger.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()


def sweep_log_files(handler: logging.handlers.RotatingFileHandler, days: int) -> None:
    """As `Logs.sweep`, for the files of one handler: a file is closed after half of `days`, and deleted when its last
    line is that old."""
    if not days:
        return
    now, path = time.time(), Path(handler.baseFilename)
    closed = [path.with_name(f"{path.name}.{number}") for number in range(1, handler.backupCount + 1)]
    ages = {one: (now - one.stat().st_mtime) / 86_400 for one in closed if one.is_file()}
    for one, age in ages.items():
        if age > days:
            one.unlink(missing_ok=True)
    if path.is_file() and path.stat().st_size and min(ages.values(), default=days) >= days / 2:
        with handler.lock or contextlib.nullcontext():
            handler.doRollover()


class _Formatter(logging.Formatter):
    """Redacts the finished line, and keeps a message on one line so that nobody can forge entries."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return re.sub(r"[\x00-\x1f\x7f]", lambda char: repr(char[0])[1:-1], super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _JsonFormatter(logging.Formatter):
    """One JSON object per record, for programs that collect logs: time, level, logger, message, the named values of the
    message where it has any, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in getattr(record, "fields", {}).items():
            entry[name] = redact(value) if isinstance(value, str) else value
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)


def _make_formatter(form: str, line: str) -> logging.Formatter:
    """Of records as JSON, or as `line` for people."""
    return _JsonFormatter() if form == "json" else _Formatter(line)


def _make_handler(path: Path, formatter: logging.Formatter) -> logging.handlers.RotatingFileHandler:
    """Writes to `path`, which does not grow without end."""
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=_MAX_BYTES, backupCount=_BACKUP_COUNT, encoding="utf-8"
    )
    handler.setFormatter(formatter)
    return handler


def _make_detached_logger(name: str, handler: logging.Handler) -> logging.Logger:
    """A logger of our own, known to nobody by name, that writes to `handler` alone."""
    logger = logging.Logger(name, logging.INFO)
    logger.addHandler(handler)
    return logger
