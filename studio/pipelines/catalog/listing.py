"""What one look at the models folder found."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.core.model import Model
from studio.core.weights import WEIGHT_SUFFIXES, WeightFile, WeightKind
from studio.pipelines.catalog.file_stamps import make_stamp

Stamp = tuple[str, int, int]
PART_FOLDERS = frozenset({"image_encoder", "text_encoders", "text_encoder", "clip", "vae"})
"""Folders whose weight files decide on others: what is there completes a file that lacks it."""


@dataclass(frozen=True)
class Entry:
    """One weight file or folder, and the model that it is when it is a checkpoint. `stamp` is that of the file when it
    was looked at."""

    weight: WeightFile
    model: Model | None
    stamp: Stamp | None = None

    @property
    def depends_on_surroundings(self) -> bool:
        """Whether what lies beside the file decides on it too: a checkpoint's note and its companion, an IP-Adapter's
        image encoder."""
        return self.model is not None or self.weight.kind is WeightKind.IP_ADAPTER

    def with_hash(self, hashes: Mapping[Stamp, str]) -> Entry:
        """The entry with its hash, where `hashes` has it."""
        digest = hashes.get(self.stamp, "") if self.stamp else ""
        if digest == self.weight.sha256:
            return self
        return dataclasses.replace(self, weight=dataclasses.replace(self.weight, sha256=digest))


@dataclass(frozen=True)
class Listing:
    """One look at the folder; replaced as a whole. `seen` has the files by stamp, `entries` the same by kind and name,
    each checkpoint with the tasks that the files around it give it."""

    entries: dict[tuple[WeightKind, str], Entry]
    seen: dict[Stamp, Entry]
    surroundings: str


def stamp_surroundings(root: Path) -> str:
    """A text that stays the same while nothing below `root` changes that can decide on what a weight file is, other
    weight files aside: notes, configs, indexes, parts of pipelines."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = os.path.basename(os.path.dirname(folder))
        is_part = os.path.basename(folder) in PART_FOLDERS or (above == "hub" and "model_index.json" not in names)
        for name in sorted(names):
            weights = os.path.splitext(name)[1].lower() in WEIGHT_SUFFIXES
            if name.startswith(".") or (weights and not is_part):
                continue
            try:
                digest.update(repr(make_stamp(Path(folder, name))).encode())
            except OSError:  # it went away while we looked
                continue
    return digest.hexdigest()
