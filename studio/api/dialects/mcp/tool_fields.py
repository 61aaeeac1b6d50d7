"""The arguments of tools, with their texts and ranges from the table of fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from studio.core.field_spec import get_field
from studio.core.fields import REQUEST_FIELDS

MAX_TOOL_IMAGES = 4  # images of one call


def _describe(name: str) -> Any:
    """Text and range of the argument that fills the request's field `name`."""
    spec = get_field(REQUEST_FIELDS, name)
    limits: dict[str, Any] = {}
    if spec.limits is not None:
        limits = {"ge": spec.limits.low, "le": spec.limits.high}
    if spec.max_length is not None:
        limits["max_length"] = spec.max_length
    return Field(description=f"{spec.label}. {spec.api_help or spec.help}", **limits)


Prompt = Annotated[str, _describe("prompt")]
NegativePrompt = Annotated[str, _describe("negative_prompt")]
Width = Annotated[int | None, _describe("width")]
Height = Annotated[int | None, _describe("height")]
AspectRatio = Annotated[str | None, _describe("aspect")]
Steps = Annotated[int | None, _describe("steps")]
Guidance = Annotated[float | None, _describe("guidance")]
Seed = Annotated[int | None, _describe("seed")]
Sampler = Annotated[str | None, _describe("sampler")]
Schedule = Annotated[str | None, _describe("schedule")]
Strength = Annotated[float | None, _describe("strength")]
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
