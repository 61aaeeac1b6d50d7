"""Walking models/: which files and folders are entries, what they are called, and what their place says they should
be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.core.weights import WEIGHT_SUFFIXES, WeightKind

MAX_DEPTH = 8
_PLACES = {
    "checkpoints": WeightKind.CHECKPOINT,
    "stable-diffusion": WeightKind.CHECKPOINT,
    "diffusion_models": WeightKind.CHECKPOINT,
    "unet": WeightKind.CHECKPOINT,
    "hub": WeightKind.CHECKPOINT,
    "loras": WeightKind.LORA,
    "lora": WeightKind.LORA,
    "lycoris": WeightKind.LORA,
    "vae": WeightKind.VAE,
    "embeddings": WeightKind.EMBEDDING,
    "controlnet": WeightKind.CONTROLNET,
    "controlnets": WeightKind.CONTROLNET,
    "t2i_adapters": WeightKind.T2I_ADAPTER,
    "t2i_adapter": WeightKind.T2I_ADAPTER,
    "ip_adapters": WeightKind.IP_ADAPTER,
    "ip_adapter": WeightKind.IP_ADAPTER,
    "ipadapter": WeightKind.IP_ADAPTER,
    "upscalers": WeightKind.UPSCALER,
    "upscale_models": WeightKind.UPSCALER,
    "esrgan": WeightKind.UPSCALER,
    "realesrgan": WeightKind.UPSCALER,
    "swinir": WeightKind.UPSCALER,
    "restorers": WeightKind.RESTORER,
    "facerestore_models": WeightKind.RESTORER,
    "gfpgan": WeightKind.RESTORER,
    "codeformer": WeightKind.RESTORER,
    "text_encoders": WeightKind.UNKNOWN,
}
_GENERIC = ("pytorch_lora_weights", "adapter_model", "learned_embeds", "diffusion_pytorch_model")
"""File names that diffusers gives to everything: the folder around them says what it is."""


@dataclass(frozen=True)
class ModelEntry:
    """One entry. `name` is what users call it; `expected` is the kind that its place suggests, for files that say
    nothing themselves; `is_component` is true for a folder with one model, false for one with a whole pipeline."""

    path: Path
    name: str
    expected: WeightKind
    is_folder: bool = False
    is_component: bool = False
    problem: str = ""


def walk_models(root: Path) -> Iterator[ModelEntry]:
    """Every weight file and diffusers folder below `root`, in the order of their paths. Hidden ones are passed over,
    links that leave `root` and names that are no text are named and not followed, and what cannot be read is passed
    over."""
    try:
        home = root.resolve(strict=True)
    except OSError:
        return
    yield from _walk_folder(root, root, home, frozenset({home}))


def _walk_folder(root: Path, folder: Path, home: Path, above: frozenset[Path]) -> Iterator[ModelEntry]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        try:
            real, is_folder = path.resolve() if entry.is_symlink() else None, entry.is_dir()
        except (OSError, RuntimeError):  # a link that leads back to itself
            continue
        problem = _find_problem(entry.name, real, home)
        if problem:
            if is_folder or path.suffix.lower() in WEIGHT_SUFFIXES:
                yield _make_entry(root, path, problem=problem)
        elif is_folder:
            real = real or path.resolve()
            if real not in above and len(above) <= MAX_DEPTH:
                yield from _visit_folder(root, path, home, above | {real})
        elif path.suffix.lower() in WEIGHT_SUFFIXES:
            yield _make_entry(root, path)


def _find_problem(name: str, real: Path | None, home: Path) -> str:
    """Why a file or folder is not looked at, "" where it is; `real` is where a link leads."""
    if real is not None and not real.is_relative_to(home):
        return "It is a link to a place outside the models folder and is not followed."
    return "" if _replace_bad_characters(name) == name else "Its name holds characters that are no UTF-8; rename it."


def _replace_bad_characters(name: str) -> str:
    """A name that can be shown, of a file whose name may be any bytes."""
    return name.encode(errors="replace").decode()


def _visit_folder(root: Path, path: Path, home: Path, above: frozenset[Path]) -> Iterator[ModelEntry]:
    if (path / "model_index.json").is_file():
        yield _make_entry(root, path, is_folder=True)
    elif (path / "config.json").is_file() and any(path.glob("diffusion_pytorch_model*")):
        yield _make_entry(root, path, is_folder=True, is_component=True)
    else:
        yield from _walk_folder(root, path, home, above)


def _make_entry(root: Path, path: Path, **more: bool | str) -> ModelEntry:
    parts = list(path.relative_to(root).parts)
    expected = _PLACES.get(parts[0].lower(), WeightKind.UNKNOWN) if len(parts) > 1 else WeightKind.CHECKPOINT
    in_hub = parts[0] == "hub" and len(parts) > 1
    if len(parts) > 1 and parts[0].lower() in _PLACES:
        del parts[0]
    if in_hub:
        parts[0] = parts[0].replace("--", "/", 1)
    if not more.get("is_folder") and path.suffix.lower() in WEIGHT_SUFFIXES:
        parts[-1] = path.stem
        if path.stem in _GENERIC and len(parts) > 1:
            del parts[-1]
    return ModelEntry(path, _replace_bad_characters("/".join(parts)), expected, **more)  # type: ignore[arg-type]
