"""The arguments of tools, with their texts and ranges from the table of fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from studio.core.field_spec import get_field
from studio.core.fields import REQUEST_FIELDS

MAX_TOOL_IMAGES = 4  # images of one call


def _annotate(name: str, *, kind: Any = None) -> Any:
    """The type of an argument that fills the request's field `name`."""
    spec = get_field(REQUEST_FIELDS, name)
    limits: dict[str, Any] = {}
    if spec.limits is not None:
        limits = {"ge": spec.limits.low, "le": spec.limits.high}
    if spec.max_length is not None:
        limits["max_length"] = spec.max_length
    text = f"{spec.label}. {spec.api_help or spec.help}"
    optional = kind or (spec.kind if spec.unset == "" else spec.kind | None)
    return Annotated[optional, Field(description=text, **limits)]


Prompt = _annotate("prompt")
NegativePrompt = _annotate("negative_prompt")
Width = _annotate("width")
Height = _annotate("height")
AspectRatio = _annotate("aspect")
Steps = _annotate("steps")
Guidance = _annotate("guidance")
Seed = _annotate("seed")
Sampler = _annotate("sampler")
Strength = _annotate("strength")
Model = Annotated[str, Field(description="Model id from list_models. Empty: the default model.", max_length=200)]
Count = Annotated[int, Field(description="Number of images.", ge=1, le=MAX_TOOL_IMAGES)]
Image = Annotated[
    str,
    Field(description="The image: the id of an earlier result, a data: address, or base64 of a file.", min_length=1),
]
Mask = Annotated[
    str | None, Field(description="Optional mask of the image's size, as `image`; white areas change, the rest stays.")
]
ConfirmSpend = Annotated[
    bool, Field(description="Set to true only after the user agreed to the cost of a model that costs money.")
]
JobId = Annotated[str, Field(description="Id of a job, from an earlier result.", min_length=1, max_length=64)]
