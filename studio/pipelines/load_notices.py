"""What a loader left out, told to the user: weights that a file has and the model has no place for, and weights that
the model needs and the file lacks."""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from studio.core.weights import SafetensorsHeader

_LIBRARIES = ("diffusers", "transformers")  # which log what they left out, and do not return it
_UNUSED = re.compile(r"were not used when initializing (\w+): \s*\['(.*)'\]", re.DOTALL)
_MISSING = re.compile(r"Some weights of (\w+) were not initialized .* newly initialized: \[(.*?)\]", re.DOTALL)
_TABLE = re.compile(r"(\w+) LOAD REPORT")
_TABLE_ROW = re.compile(r"^(\S+)\s*\|\s*(UNEXPECTED|MISSING)\b", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_HARMLESS = re.compile(r"(^|[._])position_ids$")  # counted numbers, which models no longer store
_MAIN_PARTS = (  # a prefix in a checkpoint's file, the pipeline's parts of which one is meant, and their name
    ("model.diffusion_model.", ("unet", "transformer"), "denoiser"),
    ("first_stage_model.", ("vae",), "VAE"),
)
_LACKS = re.compile(r" lacks \d+ weights? of ")
_TRAINING_ONLY = "first_stage_model.loss."

_notices: ContextVar[list[str] | None] = ContextVar("load notices", default=None)


@contextmanager
def collect_load_notices(title: str) -> Iterator[list[str]]:
    """What the block's loaders leave out of the file called `title`, one sentence each; complete at the block's end."""
    found: list[str] = []
    handler = _ReportHandler(title, found)
    token = _notices.set(found)
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield found
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        _notices.reset(token)


def add_load_notice(text: str) -> None:
    """Report what a loader of the studio's own left out; outside of a collecting block nobody is told."""
    found = _notices.get()
    if found is not None and text not in found:
        found.append(text)


def explain_load_error(error: Exception) -> str:
    """Why a loader failed: the weights that it missed, where it says no more than that something has no data."""
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    missing = [notice for notice in _notices.get() or () if _LACKS.search(notice)]
    return missing[-1] if missing and "meta tensor" in text else text


def report_unused_weights(title: str, header: SafetensorsHeader, pipe: Any) -> None:
    """Report numbers in the denoiser and the VAE of a checkpoint's single file that `pipe` has no place for: layouts
    are converted when they are read, and what the conversion does not know is dropped without a word. Conversions
    split and join tensors, so that only the numbers can be compared."""
    shapes = {name: shape for name, shape in header.shapes.items() if not name.startswith(_TRAINING_ONLY)}
    for prefix, names, part_name in _MAIN_PARTS:
        part = next((part for name in names if (part := getattr(pipe, name, None)) is not None), None)
        there = sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(prefix))
        used = sum(tensor.numel() for tensor in part.state_dict().values()) if part is not None else there
        if there > used:
            add_load_notice(
                f"{there - used:,} of {there:,} numbers in the {part_name} of {title} were not used; the model has no"
                " place for them."
            )


def describe_unused(count: int, title: str, part: str) -> str:
    """The notice of weights in the file called `title` that `part` has no place for."""
    weights = "1 weight" if count == 1 else f"{count} weights"
    return f"{weights} in {title} not used: {part} has no place for {'it' if count == 1 else 'them'}."


class _ReportHandler(logging.Handler):
    """Turns the reports that this thread's loaders log into notices."""

    def __init__(self, title: str, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._title = title
        self._found = found
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() != self._thread:
            return
        for part, unused, missing in _read_report(_COLOURS.sub("", record.getMessage())):
            if unused:
                self._add(describe_unused(unused, self._title, part))
            if missing:
                weights = "1 weight" if missing == 1 else f"{missing} weights"
                self._add(f"{self._title} lacks {weights} of {part}.")

    def _add(self, text: str) -> None:
        if text not in self._found:
            self._found.append(text)


def _read_report(text: str) -> Iterator[tuple[str, int, int]]:
    """(class, unused weights, missing weights) of each report in a message of the libraries."""
    for match in _UNUSED.finditer(text):
        yield match[1], _count_harmful(match[2].split(", ")), 0
    for match in _MISSING.finditer(text):
        yield match[1], 0, _count_harmful(re.findall(r"'([^']+)'", match[2]))
    table = _TABLE.search(text)
    if table:
        rows = _TABLE_ROW.findall(text)
        unused, missing = (
            _count_harmful([name for name, state in rows if state == wanted]) for wanted in ("UNEXPECTED", "MISSING")
        )
        yield table[1], unused, missing


def _count_harmful(names: list[str]) -> int:
    return sum(not _HARMLESS.search(name) for name in names)
