"""Where an installed studio keeps what is the user's: models, images, settings. One that is started from its source
folder keeps them there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from studio.core.durable_files import translate_os_errors

HOME_VARIABLE = "EASEL_HOME"
_PACKAGE = Path(__file__).parent
_BUNDLED = _PACKAGE / "bundled_models"  # in an installed package only; in a source folder the same lies in models/
_OWN_MODELS = ("embedded", "controlnet/embedded-edges", "loras/embedded-neon.safetensors")


def is_source_folder() -> bool:
    """Whether the program runs from its source folder rather than from an installed package."""
    return (_PACKAGE.parent / "app.py").is_file() and (_PACKAGE.parent / "models" / "embedded").is_dir()


def find_data_folder(environment: Mapping[str, str]) -> Path | None:
    """The user's folder for an installed studio: EASEL_HOME, or Easel's in the place that the system has for data of
    programs. None where nothing has to be found: the source folder is one."""
    if environment.get(HOME_VARIABLE):
        return Path(environment[HOME_VARIABLE]).expanduser()
    if is_source_folder():
        return None
    import platformdirs

    return platformdirs.user_data_path("easel", appauthor=False)


def enter_data_folder(folder: Path, bundled: Path | None = None) -> None:
    """Make `folder`, put the models that come with the program, those in the folder `bundled`, into it where they are
    missing, and go there: the paths of settings begin there.

    Raises:
        StorageFailed: it cannot be written.
    """
    with translate_os_errors("the data folder"):
        folder.mkdir(parents=True, exist_ok=True)
        origin = bundled or (_BUNDLED if _BUNDLED.is_dir() else _PACKAGE.parent / "models")
        for source in _list_own_files(origin):
            target = folder / "models" / source.relative_to(origin)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(f"{target.name}.part")
                shutil.copyfile(source, part)
                part.replace(target)
        os.chdir(folder)


def _list_own_files(origin: Path) -> Iterator[Path]:
    """The files of the program's own models below `origin`, where the user's may lie too."""
    for name in _OWN_MODELS:
        path = origin / name
        yield from [path] if path.is_file() else (file for file in sorted(path.rglob("*")) if file.is_file())
