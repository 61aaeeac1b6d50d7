from __future__ import annotations

import gc
import os
import zlib

import pytest

# Two cores are shared by everything on a small machine; more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"  # no test writes into the keyring of who runs it

# The files that take longest, first, so that no worker has a long one to do when the others have ended.
LONGEST = (
    "test_img2img_in_browser.py",
    "test_cluster.py",
    "test_in_browser.py",
    "test_conformance.py",
    "test_prompts_in_browser.py",
    "test_accelerator.py",
    "test_clicks_in_browser.py",
    "test_control.py",
    "test_comfort_in_browser.py",
    "test_api_native.py",
    "test_form_in_browser.py",
    "test_preprocessors.py",
    "test_result_side_in_browser.py",
    "test_torch_options.py",
    "test_tabs_in_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give workers the longest files first, and the others mixed, in the same way each time: those of the browser,
    which keep more than one core busy, lie in one folder."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        places = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: (places.get(item.path.name, len(places)), zlib.crc32(item.path.name.encode())))


@pytest.fixture(scope="module", autouse=True)
def leave_packages_uncollected() -> None:
    """What there is before a file's tests, a million objects of packages and tests, is left out of every later
    collection of garbage; each would look through all of them, which takes a second."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or the interpreter would end without having freed them, which extensions report
