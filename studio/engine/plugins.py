"""Plug-ins: every file of a package that defines a given constant is one."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from types import ModuleType
from typing import Any

_log = logging.getLogger(__name__)


def discover(package: str | ModuleType, constant: str) -> list[Any]:
    """The values of `constant` in the modules of `package`, in the order of the modules' names.

    A module without that constant is a helper and passed over, and so is one whose name begins with an underscore. One
    that cannot be imported is logged and left out: it takes nothing else down.
    """
    folder = importlib.import_module(package) if isinstance(package, str) else package
    found: list[Any] = []
    for name in sorted(module.name for module in pkgutil.iter_modules(folder.__path__)):
        if name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"{folder.__name__}.{name}")
        except Exception:  # noqa: BLE001 - plug-in discovery: whatever is wrong with a file, the others still count
            _log.exception("the plug-in %s.%s is left out", folder.__name__, name)
            continue
        if hasattr(module, constant):
            found.append(getattr(module, constant))
    return found
