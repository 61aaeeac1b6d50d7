"""The check that a number lies within its range, with one message everywhere."""

from __future__ import annotations

import math

from studio.core.errors import InvalidRequest

MAX_SIDE = 16_384  # px; a model's own limit is lower, this one keeps nonsense out of the journal
MAX_LORA_WEIGHT = 10.0  # LoRAs that work as sliders are made for as much


def check_range(name: str, value: float | None, low: float, high: float, *, label: str = "") -> None:
    """Raises InvalidRequest, naming the field, unless `low` <= `value` <= `high`; None is the default and passes.
    `label` is what the user knows the field called `name` as."""
    if value is not None and not low <= value <= high:
        raise InvalidRequest(
            f"{label or name.replace('_', ' ').capitalize()} is {value}, outside {low} to {high}.",
            hint=f"Choose a value from {low} to {high}.",
            details={
                "field": name,
                "value": value if isinstance(value, int) or math.isfinite(value) else str(value),
                "minimum": low,
                "maximum": high,
            },
        )
