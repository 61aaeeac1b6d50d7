"""The last look at the models folder on disk, so that a start reads the headers of new and changed files only."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from studio import core
from studio.core.codec import decode_json, encode_json
from studio.core.errors import InvalidRequest
from studio.core.model import Model
from studio.core.ports import PipelineSpec
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines import catalog, control, families
from studio.pipelines.catalog.listing import Entry, Listing, Stamp

_log = logging.getLogger(__name__)


class ScanCache:
    """One JSON file. It holds for the program that wrote it: another version may take files for something else.

    A cache that cannot be written or read costs time and nothing else.
    """

    def __init__(self, file: Path, specs: Sequence[PipelineSpec]) -> None:
        self._file = file
        self._specs = specs

    def load(self) -> Listing | None:
        """What was found last, None where that is not known."""
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            if data["program"] != self._hash_program():
                return None
            models = [decode_json(Model, model, "model") for model in data["models"]]
            entries = [_read_entry(row, models) for row in data["entries"]]
            seen = {entry.stamp: entry for row in data["seen"] if (entry := _read_entry(row, models)).stamp}
            if {entry.stamp for entry in entries} != set(seen):
                raise ValueError("two lists that differ")
            return Listing(
                entries={(entry.weight.kind, entry.weight.name): entry for entry in entries},
                seen=seen,
                surroundings=str(data["surroundings"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, InvalidRequest, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            _log.warning("%s is not used: %r", self._file.name, error)
            return None

    def save(self, listing: Listing) -> None:
        """Keep `listing` for the next start."""
        models: dict[str, int] = {}
        data = {
            "program": self._hash_program(),
            "surroundings": listing.surroundings,
            "entries": _build_rows(listing.entries.values(), models),
            "seen": _build_rows(listing.seen.values(), models),
            "models": [],
        }
        data["models"] = [json.loads(text) for text in models]
        part = self._file.with_name(f"{self._file.name}.{os.getpid()}.part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(data), encoding="utf-8")
            part.replace(self._file)
        except OSError as error:
            _log.info("the look at the models folder is not remembered: %s", error)
            with contextlib.suppress(OSError):
                part.unlink()

    def _hash_program(self) -> str:
        """A text that changes with everything that decides what a file is."""
        digest = hashlib.sha256(importlib.metadata.version("diffusers").encode())
        folders = [Path(package.__path__[0]) for package in (catalog, control, families, core)]
        files = {file for folder in folders for file in folder.glob("*.py")}
        files |= {Path(inspect.getfile(spec.describe)) for spec in self._specs}
        for file in sorted(files):
            digest.update(file.read_bytes())
        return digest.hexdigest()


def _build_rows(entries: Iterable[Entry], models: dict[str, int]) -> list[list[Any]]:
    """`entries` JSON-ready; their models are collected in `models` by their JSON, those that are alike but for the name
    once."""
    rows: list[list[Any]] = []
    for entry in entries:
        weight, model, stamp = entry.weight, entry.model, entry.stamp
        named: list[Any] = []
        if model is not None:
            text = json.dumps(encode_json(dataclasses.replace(model, id="", title="")), sort_keys=True)
            named = [models.setdefault(text, len(models)), model.id, model.title]
        facts = [weight.name, weight.kind.value, weight.bytes, weight.family, weight.problem]
        rows.append([list(stamp) if stamp else [], *facts, named])
    return rows


def _read_entry(row: list[Any], models: Sequence[Model]) -> Entry:
    stamp, name, kind, size, family, problem, named = row
    stamp = _read_stamp(stamp)
    weight = WeightFile(
        name=str(name),
        kind=WeightKind(kind),
        path=Path(stamp[0]),
        bytes=int(size),
        family=str(family),
        problem=str(problem),
    )
    model = dataclasses.replace(models[named[0]], id=str(named[1]), title=str(named[2])) if named else None
    return Entry(weight, model, stamp)


def _read_stamp(row: list[Any]) -> Stamp:
    path, size, changed = row
    return str(path), int(size), int(changed)
