"""The one table of a request's plain fields, and the tables of its parts, put together from those of each topic
(`field_tables/`): checks, forms, infotext, grids, fallbacks and APIs follow them.

Fields with a structure of their own (LoRAs, images, control units, chains, axes) are not here; they keep their code.
A table's order is that of the form and of an infotext's keys. A new field belongs into the table of its topic.
"""

from __future__ import annotations

from studio.core.field_spec import FieldSpec
from studio.core.field_tables.guidance import GUIDANCE_FIELDS, SKIP_LAYER_FIELDS
from studio.core.field_tables.hires import HIRES_FIELDS
from studio.core.field_tables.inpaint import INPAINT_FIELDS
from studio.core.field_tables.limits import MAX_PROMPT_CHARS, MAX_SEED
from studio.core.field_tables.model import CLIP_SKIP_FIELDS, MODEL_FIELDS, REFINER_FIELDS
from studio.core.field_tables.outpaint import OUTPAINT_FIELDS
from studio.core.field_tables.prompt import PROMPT_FIELDS, PROMPT_WEIGHT_FIELDS, TEMPLATE_FIELDS
from studio.core.field_tables.regions import REGION_FIELDS
from studio.core.field_tables.sampling import NOISE_FIELDS, SAMPLING_FIELDS, SEED_FIELDS
from studio.core.field_tables.size import SIZE_FIELDS
from studio.core.field_tables.source import SOURCE_FIELDS, STRENGTH_FIELDS
from studio.core.field_tables.tiles import SAVING_FIELDS, TILE_FIELDS, TILING_FIELDS

__all__ = [
    "HIRES_FIELDS",
    "INPAINT_FIELDS",
    "MAX_PROMPT_CHARS",
    "MAX_SEED",
    "OUTPAINT_FIELDS",
    "REQUEST_FIELDS",
]

REQUEST_FIELDS: tuple[FieldSpec, ...] = (
    *PROMPT_FIELDS,
    *SAMPLING_FIELDS,
    *SEED_FIELDS,
    *SIZE_FIELDS,
    *MODEL_FIELDS,
    *STRENGTH_FIELDS,
    *CLIP_SKIP_FIELDS,
    *PROMPT_WEIGHT_FIELDS,
    *NOISE_FIELDS,
    *REGION_FIELDS,
    *TILING_FIELDS,
    *GUIDANCE_FIELDS,
    *TILE_FIELDS,
    *SKIP_LAYER_FIELDS,
    *REFINER_FIELDS,
    *SAVING_FIELDS,
    *TEMPLATE_FIELDS,
    *SOURCE_FIELDS,
)
