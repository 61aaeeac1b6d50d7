"""The JSON of the native API. Only here does pydantic stand between the wire and the studio's own types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from studio.core.request import MAX_SEED, Axis, GenerationRequest, Hires, LoraUse, Saving, Task


def _plain(text: str) -> str:
    """Refuse what no file, log or database can hold."""
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half a character (a lone surrogate)") from error
    return text


Text = Annotated[str, Field(max_length=20_000), AfterValidator(_plain)]
Name = Annotated[str, Field(max_length=512), AfterValidator(_plain)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class LoraBody(Strict):
    """A LoRA by its catalog name."""

    name: Name = Field(min_length=1)
    weight: FiniteFloat = 1.0


class HiresBody(Strict):
    """A second pass: enlarge, then denoise again. Fields left out are as in the first pass."""

    upscaler: Name = "Latent"
    scale: FiniteFloat = 2.0
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    denoising_strength: FiniteFloat = Field(default=0.7, description="0 to 1")
    guidance_scale: FiniteFloat | None = None
    prompt: Text = ""
    negative_prompt: Text = ""
    sampler: Name | None = None
    schedule: Name | None = None
    model: Name | None = None


class AxisBody(Strict):
    """One axis of a grid: a parameter and its values as one would type them on the page."""

    parameter: Name
    values: list[Text] = Field(max_length=200)


class CreateBody(Strict):
    """What to make. Only `prompt` is required; everything left out is the model's own default."""

    prompt: Text
    negative_prompt: Text = ""
    prompt_weight: FiniteFloat = 1.0
    negative_weight: FiniteFloat = 1.0
    model: Name = Field(default="", description="An id from GET /models; empty is the default model.")
    width: int | None = Field(default=None, description="px")
    height: int | None = Field(default=None, description="px")
    aspect_ratio: Name | None = Field(default=None, description='"16:9"; instead of width and height')
    count: int = Field(default=1, ge=1, le=1000, description="Pictures to make; picture k has the seed + k.")
    batch_size: int = Field(default=1, ge=1, le=64, description="Pictures drawn together; faster, same pictures.")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="Left out: random.")
    variation_seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    variation_strength: FiniteFloat = Field(default=0.0, ge=0, le=1)
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: FiniteFloat | None = Field(default=None, ge=0, le=100)
    sampler: Name | None = None
    schedule: Name | None = None
    clip_skip: int | None = Field(default=None, ge=1, le=24)
    vae: Name | None = None
    loras: list[LoraBody] = Field(default=[], max_length=50)
    hires: HiresBody | None = None
    saving: Annotated[Saving, Field(strict=False)] | None = Field(
        default=None, description="Save memory, or save time."
    )
    fallbacks: list[Name] = Field(
        default=[],
        max_length=8,
        description="Models to try, in this order, when the chosen one cannot be reached or is broken.",
    )
    axes: list[AxisBody] = Field(default=[], max_length=3, description="Turns the request into a grid job.")
    chain: Name = Field(default="", description="A saved chain whose steps follow, by its name.")
    then: list[dict[str, Any]] = Field(
        default=[],
        max_length=12,
        description="Steps that follow, each on the picture before it: requests as recipes hold them.",
    )

    def to_request(self) -> GenerationRequest:
        """The request that the engine takes.

        Raises:
            InvalidRequest: a value that no model could use.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in _SAME}
        hires = self.hires
        return GenerationRequest(
            task=Task.TXT2IMG,
            **values,
            aspect=self.aspect_ratio,
            guidance=self.guidance_scale,
            loras=tuple(LoraUse(name=lora.name, weight=lora.weight) for lora in self.loras),
            hires=None if hires is None else _hires(hires),
            fallbacks=tuple(self.fallbacks),
            axes=tuple(Axis(parameter=axis.parameter, values=tuple(axis.values)) for axis in self.axes),
        )


_RENAMED = {"aspect_ratio", "guidance_scale", "loras", "hires", "axes", "fallbacks", "chain", "then"}
_SAME = tuple(name for name in CreateBody.model_fields if name not in _RENAMED)


def _hires(body: HiresBody) -> Hires:
    values = body.model_dump()
    return Hires(strength=values.pop("denoising_strength"), guidance=values.pop("guidance_scale"), **values)


class Queued(BaseModel):
    """The answer to a job that was taken."""

    jobId: str  # noqa: N815 - names on the wire are camelCase
    status: str
    queuePosition: int = Field(description="Jobs that run first.")  # noqa: N815


class ImageInfo(BaseModel):
    """One finished picture. `imageData` is base64 of the file, and only in results."""

    id: str
    url: str
    format: str
    width: int
    height: int
    seed: int
    infotext: str
    imageData: str | None = None  # noqa: N815


class ErrorBody(BaseModel):
    """The shape of every error."""

    error: str
    code: str
    details: dict[str, Any]


class JobBody(Queued):
    """Where a job stands. `progress` is 0 to 1, `eta` in seconds, null while unknown; `step` of `steps` for picture `picture` of `pictures`."""

    model: str
    created: float
    progress: float
    step: int
    steps: int
    picture: int
    pictures: int
    eta: float | None
    seconds: float | None
    loading: str
    notices: list[str]
    error: ErrorBody | None
    images: list[ImageInfo]


class JobList(BaseModel):
    jobs: list[JobBody]


class Result(BaseModel):
    images: list[ImageInfo]


class ModelBody(BaseModel):
    """A model and what it can do; `problem` says why it cannot be used, empty when it can."""

    id: str
    title: str
    family: str
    tasks: list[str]
    features: list[str]
    default: dict[str, Any]
    sizes: list[tuple[int, int]]
    samplers: dict[str, list[str]]
    maxCount: int  # noqa: N815
    maxBatch: int  # noqa: N815
    problem: str


class ModelList(BaseModel):
    models: list[ModelBody]


class Health(BaseModel):
    """`status` is all that callers without a login learn."""

    status: str
    version: str | None = None
    uptime: float | None = Field(default=None, description="Seconds since the start.")
    queueLength: int | None = Field(default=None, description="The caller's jobs that have not ended.")  # noqa: N815
    device: str | None = None
