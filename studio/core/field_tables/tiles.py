"""Images that tile, images computed in tiles, and what is done for memory or time."""

from __future__ import annotations

from studio.core.feature import Feature
from studio.core.field_spec import FieldSpec, GridAxis, Group, InfotextKey, Limits, Widget
from studio.core.range_checks import MAX_SIDE
from studio.core.request_choices import Saving

TILING_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="tiling",
        kind=bool,
        label="Tiling",
        help="Makes a texture that continues beyond its edges.",
        group=Group.DETAILS,
        widget=Widget.CHECKBOX,
        unset=False,
        feature=Feature.TILING,
        infotext=InfotextKey("Tiling"),
        a1111="tiling",
    ),
)

TILE_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="tile_size",
        kind=int,
        label="Tile size",
        help="Tiled diffusion: larger images are computed in windows of this side, in px; 0: off.",
        group=Group.DETAILS,
        widget=Widget.SLIDER,
        unset=0,
        limits=Limits(0, MAX_SIDE, 1),
        slider=Limits(0, 2048, 64),
        feature=Feature.TILES,
        infotext=InfotextKey("Tile size", foreign=("tile_size",)),
        grid=GridAxis("Tile size", "512, 768"),
    ),
    FieldSpec(
        name="tile_overlap",
        kind=float,
        label="Tile overlap",
        help="How much of a tile its neighbour covers too.",
        group=Group.DETAILS,
        widget=Widget.SLIDER,
        unset=0.5,
        limits=Limits(0, 0.9, 0.01),
        feature=Feature.TILES,
        depends_on="tile_size",
        infotext=InfotextKey("Tile overlap", foreign=("tile_overlap",)),
        grid=GridAxis("Tile overlap", "0.25, 0.5"),
    ),
    FieldSpec(
        name="tile_batch",
        kind=int,
        label="Tiles at once",
        help="How many tiles go through the model together; more take more memory.",
        group=Group.DETAILS,
        widget=Widget.SLIDER,
        unset=1,
        limits=Limits(1, 8),
        feature=Feature.TILES,
        depends_on="tile_size",
        infotext=InfotextKey("Tile batch size", foreign=("tile_batch",)),
    ),
)

SAVING_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="saving",
        kind=Saving,
        label="Optimise for",
        help="Memory decodes in tiles, one image at a time; time uses few steps and a fast sampler.",
        group=Group.DETAILS,
        widget=Widget.RADIO,
        options={"Balanced": None, "Save memory": Saving.MEMORY, "Save time": Saving.TIME},
    ),
)
