from __future__ import annotations

import gc
import os

import pytest

# Two cores are shared by everything on a small machine; more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"  # no test writes into the keyring of who runs it

# The files that take longest, first, so that no worker has a long one to do when the others have ended. Those of the
# browser, which keep more than one core busy, stand between others.
LONGEST = (
    "test_access.py",
    "test_img2img_in_browser.py",
    "test_samplers.py",
    "test_in_browser.py",
    "test_conformance.py",
    "test_prompts_in_browser.py",
    "test_cluster.py",
    "test_result_side_in_browser.py",
    "test_accelerator.py",
    "test_make_for_in_browser.py",
    "test_control.py",
    "test_library_in_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="module", autouse=True)
def leave_packages_uncollected() -> None:
    """What there is before a file's tests, a million objects of packages and tests, is left out of every later
    collection of garbage; each would look through all of them, which takes a second."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or the interpreter would end without having freed them, which extensions report
