"""How the canvas grows."""

from __future__ import annotations

from studio.core.field_spec import ChoiceSource, FieldSpec, Group, Limits, Widget
from studio.core.field_tables.limits import SIDE
from studio.core.range_checks import MAX_SIDE

_EDGE = Limits(0, MAX_SIDE, 8)

OUTPAINT_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="left",
        kind=int,
        label="Left",
        help="Px that the canvas grows on the left.",
        group=Group.OUTPAINT,
        widget=Widget.NUMBER,
        unset=0,
        limits=_EDGE,
    ),
    FieldSpec(
        name="top",
        kind=int,
        label="Top",
        help="Px that the canvas grows at the top.",
        group=Group.OUTPAINT,
        widget=Widget.NUMBER,
        unset=0,
        limits=_EDGE,
    ),
    FieldSpec(
        name="right",
        kind=int,
        label="Right",
        help="Px that the canvas grows on the right.",
        group=Group.OUTPAINT,
        widget=Widget.NUMBER,
        unset=0,
        limits=_EDGE,
        initial=128,
    ),
    FieldSpec(
        name="bottom",
        kind=int,
        label="Bottom",
        help="Px that the canvas grows at the bottom.",
        group=Group.OUTPAINT,
        widget=Widget.NUMBER,
        unset=0,
        limits=_EDGE,
    ),
    FieldSpec(
        name="aspect",
        kind=str,
        label="Canvas aspect ratio",
        help="Such as 16:9; the source stays in the middle.",
        group=Group.OUTPAINT,
        widget=Widget.DROPDOWN,
        source=ChoiceSource.ASPECTS,
        initial="16:9",
        form="canvas_aspect",
    ),
    FieldSpec(
        name="width",
        kind=int,
        label="Canvas width",
        help="In px.",
        group=Group.OUTPAINT,
        widget=Widget.NUMBER,
        limits=SIDE,
        initial=1024,
        form="canvas_width",
    ),
    FieldSpec(
        name="height",
        kind=int,
        label="Canvas height",
        help="In px.",
        group=Group.OUTPAINT,
        widget=Widget.NUMBER,
        limits=SIDE,
        initial=1024,
        form="canvas_height",
    ),
)
