"""The safe variant of the soft edge annotators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from studio.core.annotate import OptionSpec

SAFE_OPTION = OptionSpec(
    name="safe",
    label="Safe",
    low=0,
    high=1,
    default=0,
    step=1,
    help="1 keeps three levels of grey only, so that nothing of the image shines through the edges.",
)


def apply_safe_option(edges: np.ndarray[Any, Any], options: Mapping[str, float]) -> np.ndarray[Any, Any]:
    """`edges` of 0–1, with the option "safe" brought to 0, ½ and 1."""
    return np.floor(edges * 3).clip(0, 2) / 2 if options["safe"] else edges
