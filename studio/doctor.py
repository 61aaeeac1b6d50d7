"""The self-check behind the Configurations tab and `python run.py --doctor`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.core.self_check import Check
from studio.core.settings import Settings

# The oldest versions that are known to work together; Pillow 12 lacks two critical and thirteen high-severity fixes.
MIN_VERSIONS = {
    "gradio": "6.31",
    "diffusers": "0.42.1",
    "torch": "2.13",
    "transformers": "5.20",
    "pillow": "13",
    "starlette": "1.3.1",
    "safetensors": "0.8",
    "huggingface_hub": "2.4",
    "peft": "0.19",
    "accelerate": "1.13",
}
MIN_FREE_DISK = 2 * 2**30  # bytes: a day of images and one small download
HUB_TIMEOUT = 3.0  # seconds
_DIGEST = re.compile(r"[0-9a-f]{64}")


def run_checks(settings: Settings) -> list[Check]:
    """Look at everything that tends to go wrong. Takes seconds: torch is imported and the hub is called."""
    checks: list[Callable[[Settings], Iterator[Check]]] = [
        _check_python,
        _check_packages,
        _check_device,
        _check_folders,
        _check_hub,
        _check_embedded_model,
        _check_signing,
    ]
    return [check for look in checks for check in look(settings)]


def _check_python(_: Settings) -> Iterator[Check]:
    yield Check("Python", sys.version_info >= (3, 11), platform.python_version(), "Install Python 3.11 or newer.")


def _check_packages(_: Settings) -> Iterator[Check]:
    for name, oldest in MIN_VERSIONS.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, False, "not installed", "Run make setup.")
            continue
        ok = _parse_version(version) >= _parse_version(oldest)
        yield Check(name, ok, version, f"Version {oldest} or newer is needed: run make setup.")


def _parse_version(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, "2.15.0+cu132" as (2, 15, 0)."""
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())


def _check_device(settings: Settings) -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        yield Check("Device", True, f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    else:
        wanted = settings.device == "cuda"
        found = "Apple GPU" if torch.backends.mps.is_available() else f"CPU with {os.cpu_count()} cores"
        yield Check(
            "Device", not wanted, found, "No CUDA device is visible: check the driver, or set the device to auto."
        )


def _check_folders(settings: Settings) -> Iterator[Check]:
    for name, folder in (("Models folder", settings.models_dir), ("Outputs folder", settings.outputs_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as error:
            yield Check(name, False, f"{folder}: {error.strerror}", "Choose a writable folder under Paths.")
            continue
        free = shutil.disk_usage(folder).free
        yield Check(name, free > MIN_FREE_DISK, f"{folder}, {free / 2**30:.1f} GiB free", "Free some disk space.")


def _check_signing(settings: Settings) -> Iterator[Check]:
    """Whether images can be signed; without the package that is a fault only where the settings ask for it."""
    try:
        text = f"{settings.sign}, c2pa-python {importlib.metadata.version('c2pa-python')}"
    except importlib.metadata.PackageNotFoundError:
        hint = "Run make setup, or set sign to off. Windows on ARM has no such package."
        yield Check("Signing", settings.sign == "off", f"{settings.sign}, c2pa-python is not installed", hint)
    else:
        yield Check("Signing", True, text)


def _check_hub(settings: Settings) -> Iterator[Check]:
    if settings.offline:
        yield Check("Model hub", True, "not contacted: the studio is set to offline")
        return
    from huggingface_hub.constants import ENDPOINT

    url = urllib.parse.urlsplit(ENDPOINT)
    try:
        socket.create_connection((url.hostname or "", url.port or 443), timeout=HUB_TIMEOUT).close()
    except OSError:
        yield Check(
            "Model hub",
            False,
            f"{url.hostname} is not reachable",
            "Models cannot be downloaded. Everything else works.",
        )
    else:
        yield Check("Model hub", True, f"{url.hostname} is reachable")


def _check_embedded_model(settings: Settings) -> Iterator[Check]:
    folder = settings.models_dir / "embedded"
    sums = folder / "SHA256SUMS"
    hint = "Restore models/embedded from the repository."
    if not sums.exists():
        yield Check("Embedded model", False, f"{sums} is missing", hint)
        return
    listed = _read_sums(sums)
    if not listed:
        yield Check("Embedded model", False, f"{sums} is damaged", hint)
        return
    wrong = [name for digest, name in listed if not _has_digest(folder / name, digest)]
    yield Check(
        "Embedded model", not wrong, f"differs: {', '.join(wrong)}" if wrong else "complete and unchanged", hint
    )


def _read_sums(sums: Path) -> list[tuple[str, str]]:
    """The digests and names of files, none where a line holds anything else."""
    lines = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8", errors="replace").splitlines()]
    if any(len(line) != 2 or not _DIGEST.fullmatch(line[0]) for line in lines):
        return []
    return [(digest, name) for digest, name in lines]


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
