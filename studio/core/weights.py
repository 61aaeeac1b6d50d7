"""Weight files and folders in models/, recognised by their contents, not by their names."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class WeightKind(StrEnum):
    CHECKPOINT = "checkpoint"
    LORA = "LoRA"
    VAE = "VAE"
    EMBEDDING = "textual inversion"
    CONTROLNET = "ControlNet"
    T2I_ADAPTER = "T2I-Adapter"
    IP_ADAPTER = "IP-Adapter"
    RESTORER = "face restorer"
    UPSCALER = "upscaler"
    UNKNOWN = "unknown"


WEIGHT_SUFFIXES = frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf"})


def is_same_name(full: str, written: str) -> bool:
    """Whether `written` may mean the file called `full`: letter case, the way accents are composed, a missing folder
    and an ending are forgiven."""
    known, wanted = _fold_name(full), _fold_name(written)
    stem = wanted.removesuffix(next((end for end in WEIGHT_SUFFIXES if wanted.endswith(end)), ""))
    return any(one in (known, known.rsplit("/", 1)[-1]) for one in (wanted, stem))


def _fold_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True, kw_only=True)
class SafetensorsHeader:
    """The header of a .safetensors file: tensor shapes and dtypes by name (dtype as the format writes it, "F16"), and
    its metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]

    def has_tensors(self, *names: str) -> bool:
        """Whether every one of `names` is a tensor in the file."""
        return all(name in self.shapes for name in names)


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file, or one diffusers folder, below models/ or in the hub's cache.

    `name` is what users and requests call it: the path below its folder without the ending, or the hub's repo id.
    `family` is a PipelineSpec's family, empty when none claims it. `problem` says why it cannot be used, and is empty
    when it can. `bytes` is the size on disk; `sha256` is empty until somebody asked for it.
    """

    name: str
    kind: WeightKind
    path: Path
    bytes: int
    family: str = ""
    sha256: str = ""
    problem: str = ""
    header: SafetensorsHeader | None = field(default=None, repr=False, compare=False)

    @property
    def is_folder(self) -> bool:
        """Whether this is a diffusers folder rather than a single file."""
        return self.path.is_dir()


@dataclass(frozen=True, kw_only=True)
class DownloadableWeights:
    """A weight file that is not here and can be fetched on request, never unasked. It is written to
    models/`folder`/`filename`, checked against `sha256` (in hex) first.

    `source` is "repo_id:path/in/repo" for the hub, or an https URL; `bytes` its size, `licence` its licence in words,
    with "non-commercial" in it where that is so. `id` is what Configurations and HTTP name it by.
    """

    id: str
    title: str
    folder: str
    filename: str
    source: str
    bytes: int
    sha256: str
    licence: str
