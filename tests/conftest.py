from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

# Two cores are shared by everything on a small machine; more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"  # no test writes into the keyring of who runs it

SECONDS = {"slow": 5.0, "browser": 5.0, "torch": 1.0}  # that a test with this mark takes, about
QUICK_SECONDS = 0.1  # any other


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first. They are dealt out to workers one by one, and at the end all wait for the
    last one."""
    seconds: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        marked = (value for name, value in SECONDS.items() if item.get_closest_marker(name))
        seconds[item.path] += next(marked, QUICK_SECONDS)
    items.sort(key=lambda item: -seconds[item.path])
