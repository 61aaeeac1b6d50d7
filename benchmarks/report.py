"""One row per measurement, printed as a Markdown table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`value` and `bar` share a unit; at most `bar` is wanted."""

    what: str
    value: float
    bar: float
    unit: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.value <= self.bar

    def __str__(self) -> str:
        figures = f"{self.value:.3g}{self.unit} | ≤ {self.bar:g}{self.unit}"
        return f"| {self.what} | {figures} | {'yes' if self.ok else '**no**'} | {self.note} |"


TABLE_HEADER = "| what | measured | target | reached | note |\n|---|---|---|---|---|"
