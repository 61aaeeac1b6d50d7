"""Prices of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ImageSizes = Mapping[str, tuple[int, int]]  # (width, height) in px of images that a request names, by content hash


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected cost of a request, in `currency`. `exact` is true for a fixed price, false for an estimate;
    `source` and `date` (YYYY-MM-DD) say where the price was read. A local model costs 0."""

    amount: float
    currency: str = "USD"
    exact: bool = True
    source: str = ""
    date: str = ""
