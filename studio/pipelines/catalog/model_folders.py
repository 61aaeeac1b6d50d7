"""Looking at a diffusers folder without loading it: whose it is, whether it is whole, whether it wants to run its own
code."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import ModelBroken
from studio.core.weights import SafetensorsHeader
from studio.pipelines.catalog.file_headers import check_characters, read_header
from studio.pipelines.catalog.file_stamps import FileStamp, read_stamp
from studio.prompting.scene import Vocabulary

MAX_CONFIG_BYTES = 4_000_000
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")
_WEIGHTLESS = (
    "Tokenizer",
    "TokenizersBackend",  # what transformers calls a tokenizer of no particular model
    "Scheduler",
    "Processor",
    "FeatureExtractor",
    "Extractor",
    "Guidance",
)
_LIBRARIES = ("diffusers", "transformers")
_UPSCALER = Path("upscaler", "model.safetensors")
_THINGS = "things.json"
_WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?")  # without a variant's name
_MAIN = ("transformer", "unet", "prior", "decoder")


@dataclass(frozen=True)
class Folder:
    """A diffusers folder. `class_name` is its pipeline's or, for a single component, its model's class; `main`
    is the header of its UNet or transformer; `bytes` are those of its files."""

    class_name: str
    bytes: int
    problem: str = ""
    main: SafetensorsHeader | None = None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        ModelBroken: no such file, too long, or no JSON object.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelBroken(f"{path.name} is too long for a settings file.", hint="Download the model again.")
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        check_characters(text, data)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelBroken(
            f"{path.parent.name}/{path.name} cannot be read.", hint="Download the model again."
        ) from error
    if not isinstance(data, dict):
        raise ModelBroken(
            f"{path.parent.name}/{path.name} is not a table of settings.", hint="Download the model again."
        )
    return data


def inspect_folder(path: Path) -> Folder:
    """Read a folder with a model_index.json, or with one component's config.json. Never raises for its
    content."""
    size = _sum_bytes(path)
    try:
        if (path / "model_index.json").is_file():
            return _inspect_pipeline(path, size)
        name = read_json(path / "config.json").get("_class_name", "")
        return Folder(str(name), size, main=_read_weights_header(path))
    except ModelBroken as error:
        return Folder("", size, problem=_format_error(error))


def _sum_bytes(path: Path) -> int:
    total = 0
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):  # one that a download has just renamed
            total += file.stat().st_size if file.is_file() else 0
    return total


def read_component_config(path: Path, component: str) -> Mapping[str, Any]:
    """The config.json of a folder's component, empty when there is none that can be read."""
    try:
        return read_json(path / component / ("scheduler_config.json" if component == "scheduler" else "config.json"))
    except ModelBroken:
        return {}


def find_model_upscaler(path: Path) -> Path | None:
    """The file of the upscaler in a model's folder that was made for this model's images, None where there is none."""
    file = path / _UPSCALER
    return file if file.is_file() else None


def read_vocabulary(path: Path) -> Vocabulary | None:
    """What the model in a folder says that it knows, one thing at a time; None where it says nothing of that."""
    file = path / _THINGS
    return _read_vocabulary(file, read_stamp(file)) if file.is_file() else None


@functools.lru_cache(maxsize=16)
def _read_vocabulary(file: Path, _stamp: FileStamp) -> Vocabulary | None:
    """Read once while the file stays the same: each prompt that is looked at asks for it."""
    try:
        found = read_json(file)
    except ModelBroken:
        return None
    names, places, words = found.get("names"), found.get("places", {}), found.get("words", [])
    if not isinstance(names, list) or not isinstance(places, dict) or not isinstance(words, list):
        return None
    grounds = {str(place): str(ground) for place, ground in places.items()}
    return Vocabulary(frozenset(map(str, names)), grounds, frozenset(map(str, words)))


def find_variant(path: Path) -> str | None:
    """ "fp16" when the folder's main weights are there in that variant only, else None."""
    for component in (path / name for name in _MAIN):
        files = [file.name for file in component.glob("*.safetensors")]
        if files and all(".fp16" in name for name in files):
            return "fp16"
    return None


def list_loaded_files(path: Path) -> list[Path]:
    """The .safetensors files of a pipeline's or a single component's folder that its loader reads: not those of other
    variants, nor of components that are left out.

    Raises:
        ModelBroken: model_index.json cannot be read.
    """
    if not (path / "model_index.json").is_file():
        return _choose_files(path, None)
    index, variant = read_json(path / "model_index.json"), find_variant(path)
    wanted = [name for name, entry in index.items() if isinstance(entry, list) and entry[-1:] != [None]]
    return [file for name in wanted if name not in _OPTIONAL for file in _choose_files(path / name, variant)]


def _choose_files(folder: Path, variant: str | None) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    named = [file for file in files if variant and f".{variant}" in file.name]
    return named or [file for file in files if _WEIGHTS.fullmatch(file.stem)] or files


def _inspect_pipeline(path: Path, size: int) -> Folder:
    index = read_json(path / "model_index.json")
    name = index.get("_class_name")
    if not isinstance(name, str):
        return Folder("", size, "It brings its own pipeline code, which the studio never runs.")
    main = None
    for component, entry in index.items():
        if component.startswith("_") or not isinstance(entry, list) or len(entry) != 2 or entry[1] is None:
            continue
        library, class_name = entry
        if component in _OPTIONAL:
            continue
        if library not in _LIBRARIES and not _is_diffusers_module(str(library), path):
            return Folder(name, size, f"Its {component} brings its own code ({library}), which the studio never runs.")
        if not os.path.isdir(path / component):  # of any name, also one that no file can have
            return Folder(name, size, f"Its {component} is missing because the download is incomplete.")
        if str(class_name).removesuffix("Fast").endswith(_WEIGHTLESS):
            continue
        try:
            read_json(path / component / "config.json")
            header = _read_weights_header(path / component)
        except ModelBroken as error:
            return Folder(name, size, f"Its {component} is broken: {_format_error(error)}")
        main = header if component in _MAIN else main
    return Folder(name, size, main=main)


def _is_diffusers_module(library: str, path: Path) -> bool:
    """Whether this is one of diffusers' own pipeline packages ("stable_diffusion") and not a file that the folder
    brings."""
    found = importlib.util.find_spec("diffusers")  # finds the package without importing it
    if found is None or found.origin is None or not library.isidentifier():
        return False
    ours = (Path(found.origin).parent / "pipelines" / library).is_dir()
    return ours and not any(path.glob(f"**/{library}.py"))


def _read_weights_header(folder: Path) -> SafetensorsHeader:
    """The header of a component's weights, the first part's when they come in parts, after checking that all are there.

    Raises:
        ModelBroken: none, not all, pickles only, or a broken one.
    """
    for index in sorted(folder.glob("*.safetensors.index*.json")):
        parts = read_json(index).get("weight_map")
        if not isinstance(parts, dict):
            raise ModelBroken(f"{index.name} lists no weights.", hint="Download the model again.")
        missing = sorted(part for part in set(map(str, parts.values())) if not os.path.isfile(folder / part))
        if missing:
            raise ModelBroken(f"{missing[0]} is missing.", hint="The download is incomplete; start it again.")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        if any(file.suffix in _PICKLES for file in folder.iterdir()):
            raise ModelBroken(
                "it holds pickle files only, which can run code when opened.",
                hint="Convert it to safetensors, or download a version that has them.",
            )
        raise ModelBroken("its weights are missing.", hint="The download is incomplete; start it again.")
    headers = [read_header(file) for file in files]
    return headers[0]


def _format_error(error: ModelBroken) -> str:
    return f"{error.message} {error.hint}"
