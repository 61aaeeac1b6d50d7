"""Stage "fetch": download and unpack the packages that hold images, names and words."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from .paths import RAW

NPM_PACKAGES = (
    "@lobehub/fluent-emoji-3d@1.1.0",
    "@iconify-json/fluent-emoji-flat@1.2.6",
    "@iconify-json/twemoji@1.2.5",
    "@iconify-json/noto@1.2.9",
    "emojibase-data@17.0.0",
)
"""npm packages, with the versions that the shipped weights were made from."""
DEBIAN_PACKAGES = ("wordnet-base",)
"""Debian packages; any release will do."""


def fetch_npm(package: str) -> None:
    """Download one npm package with the npm client and unpack it to .train/raw/NAME-VERSION."""
    archive = RAW / (package.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz")
    folder = archive.with_suffix("")
    if folder.exists():
        return
    subprocess.run(["npm", "pack", "--silent", package], cwd=RAW, check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def fetch_debian(package: str) -> None:
    """Download one Debian package with apt and unpack it to .train/raw/deb."""
    if not list(RAW.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", package], cwd=RAW, check=True)
    archive: Path = next(RAW.glob(f"{package}_*.deb"))
    subprocess.run(["dpkg", "-x", archive.name, "deb"], cwd=RAW, check=True)


def fetch_packages() -> None:
    """Fetch what is not there yet."""
    RAW.mkdir(parents=True, exist_ok=True)
    for package in NPM_PACKAGES:
        fetch_npm(package)
    for package in DEBIAN_PACKAGES:
        fetch_debian(package)
    print(f"packages are in {RAW}")
