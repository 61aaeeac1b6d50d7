"""The fixed choices of the parts that work on a finished image."""

from __future__ import annotations

from enum import StrEnum


class MetadataPolicy(StrEnum):
    """How much metadata a written file contains."""

    ALL = "all"  # recipe, infotext, machine-made marker
    MARKER = "marker"  # the machine-made marker alone
    NOTHING = "nothing"


class ExtendMode(StrEnum):
    """How to fill a format that no crop fits."""

    CROP = "crop"  # nothing does: it is cropped all the same
    BLUR = "blur"
    COLOUR = "colour"
    MIRROR = "mirror"
    OUTPAINT = "outpaint"


class Anchor(StrEnum):
    """A place in an image."""

    TOP_LEFT = "top left"
    TOP = "top"
    TOP_RIGHT = "top right"
    LEFT = "left"
    CENTRE = "centre"
    RIGHT = "right"
    BOTTOM_LEFT = "bottom left"
    BOTTOM = "bottom"
    BOTTOM_RIGHT = "bottom right"
