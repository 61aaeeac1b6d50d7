"""Regional prompts: how the image is divided, and how its regions are kept apart."""

from __future__ import annotations

from studio.core.feature import Feature
from studio.core.field_spec import FieldSpec, Group, Widget
from studio.core.field_tables.limits import FRACTION
from studio.core.request_choices import RegionMode, RegionSplit

REGION_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="regions",
        kind=RegionSplit,
        label="Regional prompts",
        help="Columns and rows share the prompt, divided by BREAK; areas have prompts of their own.",
        group=Group.REGIONS,
        widget=Widget.RADIO,
        options={
            "Off": None,
            "Areas": RegionSplit.AREAS,
            "Columns": RegionSplit.COLUMNS,
            "Rows": RegionSplit.ROWS,
        },
        feature=Feature.REGIONS,
    ),
    FieldSpec(
        name="region_ratios",
        kind=str,
        label="Region shares",
        help='Sizes against each other: "1,1,2"; rows of columns as "1,1,1;2,1,1".',
        group=Group.REGIONS,
        widget=Widget.TEXT,
        unset="1,1",
        max_length=200,
        initial="1,1",
        feature=Feature.REGIONS,
        depends_on="regions",
    ),
    FieldSpec(
        name="region_base",
        kind=float,
        label="Base share",
        help="Above 0 the first part is for the whole image, and counts this much. Of areas it is the prompt.",
        group=Group.REGIONS,
        widget=Widget.SLIDER,
        unset=0.0,
        limits=FRACTION,
        feature=Feature.REGIONS,
        depends_on="regions",
    ),
    FieldSpec(
        name="region_common",
        kind=bool,
        label="Common part",
        help="The first part begins each region's prompt. Of areas it is the prompt.",
        group=Group.REGIONS,
        widget=Widget.CHECKBOX,
        unset=False,
        feature=Feature.REGIONS,
        depends_on="regions",
    ),
    FieldSpec(
        name="region_mode",
        kind=RegionMode,
        label="Region mode",
        help="“Latent” predicts once for each region, “Attention” once for all: faster, its regions less strict.",
        group=Group.REGIONS,
        widget=Widget.RADIO,
        unset=RegionMode.LATENT,
        options={"Latent": RegionMode.LATENT, "Attention": RegionMode.ATTENTION},
        feature=Feature.REGIONS,
        depends_on="regions",
    ),
)
