"""The bodies of work on images. Parts of a request are the studio's own dataclasses, checked by their own rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat

from studio.api.field_bodies import build_body, read_body
from studio.api.schemas import (
    EDIT_FIELDS,
    PROMPT_HELP,
    CreateBody,
    ImageRef,
    Name,
    StrictModel,
    Text,
    build_dataclass_validator,
)
from studio.core.errors import InvalidRequest, UnknownModel
from studio.core.finish import Derivative, FaceRestoration, Finish, OutputOptions, Upscale
from studio.core.model import Model, Quality
from studio.core.model_ids import PREPROCESSOR_PREFIX
from studio.core.operations import OPERATIONS
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit, Inpaint, Option, Outpaint, Reference
from studio.core.task import Task
from studio.core.upscale_modes import UpscaleMode, build_upscale_request, choose_upscale_model


class EditBody(CreateBody, build_body("EditFields", EDIT_FIELDS)):
    """An editing operation. GET /edit/operations lists the fields that it needs; what is left out is the model's own
    default."""

    prompt: Text = Field(default="", description=PROMPT_HELP)
    operation: Annotated[Task, Field(strict=False)] = Field(description="img2img, inpaint, outpaint, …")
    image: ImageRef | None = None
    images: list[ImageRef] = Field(default=[], max_length=500, description="Several images instead of one.")
    mask: ImageRef | None = Field(default=None, description="White areas change. Must have the size of the image.")
    background: ImageRef | None = None
    lighting: ImageRef | None = None
    inpaint: Annotated[Inpaint, build_dataclass_validator(Inpaint)] = Inpaint()
    outpaint: Annotated[Outpaint, build_dataclass_validator(Outpaint)] | None = None
    control: list[Annotated[ControlUnit, build_dataclass_validator(ControlUnit)]] = Field(default=[], max_length=8)
    references: list[Annotated[Reference, build_dataclass_validator(Reference)]] = Field(default=[], max_length=8)
    file: Annotated[OutputOptions, build_dataclass_validator(OutputOptions)] | None = None

    def to_request(self) -> GenerationRequest:
        """The request, its images still as the caller gave them; raises InvalidRequest for work that is no editing."""
        if self.operation not in {operation.task for operation in OPERATIONS}:
            names = ", ".join(operation.task for operation in OPERATIONS)
            raise InvalidRequest(f"Unknown editing operation {self.operation}.", hint=f"There are: {names}.")
        return (
            super()
            .to_request()
            .replace(
                task=self.operation,
                source=self.image,
                batch=tuple(self.images),
                mask=self.mask,
                background=self.background,
                lighting=self.lighting,
                **read_body(self, EDIT_FIELDS),
                inpaint=self.inpaint,
                outpaint=self.outpaint,
                control=tuple(self.control),
                references=tuple(self.references),
                file=self.file,
            )
        )


class PreprocessBody(StrictModel):
    """A control map of an image."""

    image: ImageRef
    preprocessor: Name = Field(
        description="For example canny or depth; GET /models?task=preprocess lists all. “words” returns a mask."
    )
    search: Text = Field(default="", description="What the mask of `words` should show.")
    resolution: int | None = Field(
        default=None, ge=64, le=4096, description="Short side in px. Default: the short side of the image."
    )
    options: dict[str, FiniteFloat] = Field(default={})

    def to_request(self) -> GenerationRequest:
        """The request, its image still as the caller gave it."""
        if self.preprocessor == "words" and not self.search.strip():
            raise InvalidRequest("Nothing to search for was given.", hint="Enter what to search for in `search`.")
        unit = ControlUnit(
            preprocessor=self.preprocessor,
            pixel_perfect=self.resolution is None,
            resolution=self.resolution or 512,
            options=tuple(Option(name=name, value=value) for name, value in self.options.items()),
        )
        return GenerationRequest(
            task=Task.PREPROCESS,
            model=PREPROCESSOR_PREFIX + self.preprocessor,
            source=self.image,
            control=(unit,),
            search=self.search,
        )


class UpscaleBody(StrictModel):
    """A larger image: by a mode and quality, or by naming the model and how large."""

    image: ImageRef | None = None
    images: list[ImageRef] = Field(default=[], max_length=500)
    mode: Name = Field(default="fast", description="fast, conservative or creative. Ignored if `upscale` gives a size.")
    quality: Annotated[Quality, Field(strict=False)] = Quality.STANDARD
    model: Name = Field(
        default="", description="Id of an upscaler from GET /models?task=upscale. Empty: chosen by mode and quality."
    )
    prompt: Text = ""
    negative_prompt: Text = ""
    upscale: Annotated[Upscale, build_dataclass_validator(Upscale)] | None = Field(
        default=None, description="Target size, and how."
    )
    seed: int | None = Field(default=None, ge=0)
    file: Annotated[OutputOptions, build_dataclass_validator(OutputOptions)] | None = None

    def to_request(self, models: Sequence[Model]) -> GenerationRequest:
        """The request, its images still as the caller gave them; `models` are those that are there.

        Raises:
            UnknownModel: no such mode, or nothing that does it.
        """
        mode = next((mode for mode in UpscaleMode if mode.split()[0] == self.mode), None)
        if mode is None:
            names = ", ".join(mode.split()[0] for mode in UpscaleMode)
            raise UnknownModel(f"There is no upscale mode “{self.mode[:60]}”.", hint=f"There are: {names}.")
        named = next((model for model in models if model.id == self.model), None)
        model = named or choose_upscale_model(mode, self.quality, models)
        if model is None or (self.model and named is None):
            raise UnknownModel(
                f"There is no upscaler “{self.model}”." if self.model else f"No installed model supports “{mode}”.",
                hint="GET /models?task=upscale lists the upscalers.",
            )
        found = build_upscale_request(mode, self.quality, model, models)
        return found.replace(
            upscale=self.upscale or found.upscale,
            source=self.image,
            batch=tuple(self.images),
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            seed=self.seed,
            file=self.file,
        )


class RestoreBody(StrictModel):
    """Faces restored."""

    image: ImageRef | None = None
    images: list[ImageRef] = Field(default=[], max_length=500)
    model: Name = ""
    faces: Annotated[FaceRestoration, build_dataclass_validator(FaceRestoration)] = FaceRestoration()
    file: Annotated[OutputOptions, build_dataclass_validator(OutputOptions)] | None = None

    def to_request(self) -> GenerationRequest:
        """The request, its images still as the caller gave them."""
        return GenerationRequest(
            task=Task.RESTORE_FACES,
            model=self.model,
            source=self.image,
            batch=tuple(self.images),
            faces=self.faces,
            file=self.file,
        )


class DerivativesBody(StrictModel):
    """One image, or several, finished and written in as many sizes and formats as asked."""

    image: ImageRef | None = None
    images: list[ImageRef] = Field(default=[], max_length=500)
    finish: Annotated[Finish, build_dataclass_validator(Finish)] = Finish()
    derivatives: list[Annotated[Derivative, build_dataclass_validator(Derivative)]] = Field(default=[], max_length=100)

    def to_request(self) -> GenerationRequest:
        """The request, its images still as the caller gave them."""
        finish = self.finish
        if self.derivatives:
            finish = dataclasses.replace(finish, derivatives=tuple(self.derivatives))
        return GenerationRequest(task=Task.FINISH, source=self.image, batch=tuple(self.images), finish=finish)


class ImageBody(StrictModel):
    """An image to keep, or to look at."""

    image: ImageRef


class StoredImageBody(BaseModel):
    """An image that requests may name by `id`."""

    id: str
    width: int
    height: int
    infotext: str


class ImageInfoBody(BaseModel):
    """How an image was made: which program wrote it, its infotext, the settings as a request of ours (as
    JSON of the recipe), everything else as it stood there, and a hidden watermark."""

    program: str
    infotext: str
    request: dict[str, Any] | None
    history: list[dict[str, Any]]
    raw: dict[str, str]
    passedOver: list[str]  # noqa: N815 - names on the wire are camelCase
    hidden: str | None
    width: int
    height: int
    format: str
    bytes: int


class OperationBody(BaseModel):
    """An editing operation, the fields it `needs` and `takes`, and the models that do it now. `would` names what
    could."""

    operation: str
    title: str
    help: str
    needs: list[str]
    takes: list[str]
    models: list[str]
    would: str


class OperationList(BaseModel):
    operations: list[OperationBody]
