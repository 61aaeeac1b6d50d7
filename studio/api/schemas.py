"""The JSON of the native API. Only here does pydantic stand between the wire and the studio's own types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat

from studio.api.field_bodies import Name, StrictModel, Text, build_body, describe_field, read_body
from studio.core.codec import decode_json
from studio.core.detailer import MAX_DETAILERS, Detailer
from studio.core.field_spec import Group, get_field, select_fields
from studio.core.field_tables.detailer import DETAILER_FIELDS
from studio.core.field_tables.social import BORDER, SOCIAL_FIELDS
from studio.core.fields import HIRES_FIELDS, REQUEST_FIELDS
from studio.core.finish import Box, MetadataPolicy, TextOverlay, Watermark
from studio.core.region_area import MAX_AREAS, RegionArea
from studio.core.request import Axis, GenerationRequest, Hires, LoraUse, Task
from studio.core.request_choices import RegionSplit
from studio.core.social import MAX_FORMATS, ExtendMode, FormatCrop

CREATE_FIELDS = select_fields(
    REQUEST_FIELDS,
    Group.PROMPT,
    Group.TEMPLATE,
    Group.MODEL,
    Group.SIZE,
    Group.ENLARGE,
    Group.SAMPLING,
    Group.SEED,
    Group.DETAILS,
    Group.REGIONS,
)
EDIT_FIELDS = select_fields(REQUEST_FIELDS, Group.STRENGTH, Group.RESIZE, Group.LOOPS, Group.SEARCH)
_SOCIAL = {spec.name: spec for spec in SOCIAL_FIELDS}
PROMPT_HELP = get_field(REQUEST_FIELDS, "prompt").api_help
ImageRef = Annotated[
    str,
    Field(
        min_length=1,
        description="The id of a kept image or of a result, or a file in base64 (a form may send the file).",
    ),
]


def build_dataclass_validator(kind: Any) -> Any:
    """A validator that reads JSON as the dataclass `kind` with the studio's own, strict reader."""
    return BeforeValidator(lambda data: decode_json(kind, data, kind.__name__) if isinstance(data, dict) else data)


class LoraBody(StrictModel):
    """A LoRA by its catalog name; `encoder_weight` is for the text encoders where they get another weight, `blocks` has
    weights of single blocks ("IN04: 0.5, OUT03-OUT05: 0", or a list of numbers)."""

    name: Name = Field(min_length=1)
    weight: FiniteFloat = 1.0
    encoder_weight: FiniteFloat | None = None
    blocks: str = Field(default="", max_length=2000)


class HiresBody(build_body("HiresFields", HIRES_FIELDS)):
    """A second pass: enlarge, then denoise again. Fields left out are as in the first pass."""

    def to_hires(self) -> Hires:
        """The hires pass of a request."""
        return Hires(**read_body(self, HIRES_FIELDS))


class DetailerBody(build_body("DetailerFields", DETAILER_FIELDS)):
    """Faces, or what words name, to find in the finished image and redraw at full resolution. Fields left out are as
    for the image."""

    def to_detailer(self) -> Detailer:
        """The detailer of a request."""
        return Detailer(**read_body(self, DETAILER_FIELDS))


class AxisBody(StrictModel):
    """One axis of a grid: a parameter and its values as one would type them on the page."""

    parameter: Name
    values: list[Text] = Field(max_length=200)


class SocialBody(StrictModel):
    """Platform formats: those named in `formats`, and all of `platforms`. At least one of the two."""

    formats: list[Name] = Field(
        default=[], max_length=MAX_FORMATS, description='"instagram.story": GET /social/platforms lists them.'
    )
    platforms: list[Name] = Field(default=[], max_length=50, description='"instagram": every format of it.')
    crops: list[Annotated[FormatCrop, build_dataclass_validator(FormatCrop)]] = Field(
        default=[], max_length=MAX_FORMATS, description="Your own crops. They override automatic crops."
    )
    focus: Annotated[Box, build_dataclass_validator(Box)] | None = Field(
        default=None, description="Area that every crop must keep, as fractions of the image."
    )
    same: bool = describe_field(_SOCIAL["same"])
    extend: Annotated[ExtendMode, Field(strict=False)] = describe_field(_SOCIAL["extend"])
    colour: Name = BORDER
    ground: Name = describe_field(_SOCIAL["ground"])
    text: list[Annotated[TextOverlay, build_dataclass_validator(TextOverlay)]] = Field(default=[], max_length=8)
    watermark: Annotated[Watermark, build_dataclass_validator(Watermark)] | None = None
    keep: Annotated[MetadataPolicy, Field(strict=False)] = describe_field(_SOCIAL["keep"])
    file_type: Name | None = describe_field(_SOCIAL["file_type"])
    zones: bool = describe_field(_SOCIAL["zones"])
    upscale: bool = describe_field(_SOCIAL["upscale"])
    sheet: bool = describe_field(_SOCIAL["sheet"])
    original: bool = describe_field(_SOCIAL["original"])


class CreateBody(build_body("CreateFields", CREATE_FIELDS)):
    """A request for images. Only `prompt` is required; everything left out is the model's own default."""

    prompt: Text = Field(description=PROMPT_HELP)
    loras: list[LoraBody] = Field(default=[], max_length=50)
    hires: HiresBody | None = None
    detailers: list[DetailerBody] = Field(
        default=[], max_length=MAX_DETAILERS, description="Areas of each image to find and redraw."
    )
    areas: list[Annotated[RegionArea, build_dataclass_validator(RegionArea)]] = Field(
        default=[],
        max_length=MAX_AREAS,
        description="Areas with prompts of their own: rectangles, masks, or colours of a mask. Sets `regions`.",
    )
    fallbacks: list[Name] = Field(
        default=[],
        max_length=8,
        description="Models to try in this order if the chosen one is unreachable or broken.",
    )
    axes: list[AxisBody] = Field(default=[], max_length=3, description="Turns the request into a grid job.")
    chain: Name = Field(default="", description="Name of a saved chain to run on every image.")
    then: list[dict[str, Any]] = Field(
        default=[],
        max_length=12,
        description="Steps to run after generation, each on the previous image, as requests in recipe form.",
    )
    social: SocialBody | None = Field(
        default=None,
        description="Platform formats to make. With one format and no size, the size follows from the format.",
    )

    def to_request(self) -> GenerationRequest:
        """The request that the engine takes.

        Raises:
            InvalidRequest: a value that no model could use.
        """
        return GenerationRequest(
            task=Task.TXT2IMG,
            **self._read_fields(),
            loras=tuple(
                LoraUse(name=lora.name, weight=lora.weight, encoder_weight=lora.encoder_weight, blocks=lora.blocks)
                for lora in self.loras
            ),
            hires=None if self.hires is None else self.hires.to_hires(),
            detailers=tuple(one.to_detailer() for one in self.detailers),
            areas=tuple(self.areas),
            fallbacks=tuple(self.fallbacks),
            axes=tuple(Axis(parameter=axis.parameter, values=tuple(axis.values)) for axis in self.axes),
        )

    def _read_fields(self) -> dict[str, Any]:
        """The plain fields; areas need not be named twice."""
        fields = read_body(self, CREATE_FIELDS)
        if self.areas and fields["regions"] is None:
            fields["regions"] = RegionSplit.AREAS
        return fields


class QueuedJobBody(BaseModel):
    """The answer to a job that was taken."""

    jobId: str  # noqa: N815 - names on the wire are camelCase
    status: str
    queuePosition: int = Field(description="Jobs ahead in the queue.")  # noqa: N815


class ImageInfo(BaseModel):
    """One finished image. `imageData` is base64 of the file, and only in results."""

    id: str
    url: str
    format: str
    width: int
    height: int
    seed: int
    infotext: str
    label: str = Field(
        default="", description='Name of one of several files of an image, for example "instagram.story".'
    )
    notes: list[str] = Field(default=[], description="Changes made while generating.")
    blurred: bool = Field(default=False, description="Moderation holds the original back; notes say why.")
    imageData: str | None = None  # noqa: N815


class ErrorBody(BaseModel):
    """The shape of every error."""

    error: str
    code: str
    details: dict[str, Any]


class JobBody(QueuedJobBody):
    """The state of a job. `progress` is 0 to 1, `eta` in seconds, null while unknown; `step` of `steps` for image
    number `image` of `imageCount`."""

    model: str
    created: float
    progress: float
    step: int
    steps: int
    image: int
    imageCount: int  # noqa: N815
    picture: int = Field(description="Old name of `image`.", deprecated=True)
    pictures: int = Field(description="Old name of `imageCount`.", deprecated=True)
    eta: float | None
    seconds: float | None
    loading: str
    notices: list[str]
    error: ErrorBody | None
    unsaved: int = Field(default=0, description="Images that are drawn and that the disk refused; see retry-save.")
    images: list[ImageInfo]
    zip: str | None = Field(default=None, description="Address of a zip of all images so far.")


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
    look: str = Field(default="any", description="What it was made to draw: photo, anime or any.")
    problem: str


class ModelList(BaseModel):
    models: list[ModelBody]


class Health(BaseModel):
    """`status` is all that callers without a login learn."""

    status: str
    version: str | None = None
    uptime: float | None = Field(default=None, description="Seconds since the start.")
    queueLength: int | None = Field(default=None, description="Unfinished jobs of the caller.")  # noqa: N815
    device: str | None = None
