"""Ranges and texts that the tables of several topics share."""

from __future__ import annotations

from studio.core.field_spec import Limits
from studio.core.range_checks import MAX_SIDE

MAX_SEED = 2**64 - 1  # what ComfyUI, Fooocus and torch take
MAX_PROMPT_CHARS = 20_000

SIDE = Limits(8, MAX_SIDE, 8)
SEED = Limits(0, MAX_SEED)
STEPS = Limits(1, 1000)
CFG_SCALE = Limits(0, 100)
FRACTION = Limits(0, 1, 0.01)
STRENGTH_HELP = "How much may change: 0 keeps the image, 1 redraws it."
