"""What can be done to an image: the modes and operations of Img2Img, each with the part of the form that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from studio.core.model import GPU_LANE, Feature, Model
from studio.core.task import Task


class Part(StrEnum):
    """A part of the form that is shown or hidden as a whole."""

    PROMPT = "prompt"
    MASK = "mask"
    PAINT = "paint"
    INPAINT = "inpaint"
    GROW = "grow"
    SEARCH = "search"
    BACKGROUND = "background"
    STYLE = "style"
    STRENGTH = "strength"
    SIZE = "size"
    LOOPS = "loops"
    DRAWING = "drawing"
    BATCH = "batch"
    CONTROL = "control"
    REFERENCE = "reference"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One entry of the chooser. `hint` says what it does, `missing` what would do it where no installed model does."""

    title: str
    task: Task
    hint: str
    parts: frozenset[Part]
    missing: str


_DRAWING_PARTS = frozenset({Part.PROMPT, Part.DRAWING, Part.STRENGTH, Part.SIZE, Part.CONTROL, Part.REFERENCE})
_ANY_CHECKPOINT = "Any Stable Diffusion, SDXL or FLUX checkpoint in the models folder does it."
_SERVICE_HINT = "a cloud service that offers it, once its key is set in Configurations"

EDIT = "Edit"
MODES: Mapping[str, Operation] = {
    "Img2Img": Operation(
        title="Img2Img",
        task=Task.IMG2IMG,
        hint="Draws the image anew, as far from it as the strength says.",
        parts=_DRAWING_PARTS | {Part.LOOPS, Part.BATCH},
        missing=_ANY_CHECKPOINT,
    ),
    "Sketch": Operation(
        title="Sketch",
        task=Task.IMG2IMG,
        hint="Paint over the image in colours; it is drawn anew from there.",
        parts=_DRAWING_PARTS | {Part.PAINT, Part.LOOPS},
        missing=_ANY_CHECKPOINT,
    ),
    "Inpaint": Operation(
        title="Inpaint & fix",
        task=Task.INPAINT,
        hint="Paint over what is to change; everything else stays as it is.",
        parts=_DRAWING_PARTS | {Part.MASK, Part.INPAINT},
        missing=_ANY_CHECKPOINT,
    ),
    "Outpaint": Operation(
        title="Outpaint",
        task=Task.OUTPAINT,
        hint="Makes the canvas larger and draws what lies beyond the edges.",
        parts=_DRAWING_PARTS - {Part.SIZE} | {Part.GROW},
        missing=_ANY_CHECKPOINT,
    ),
}

OPERATIONS: Mapping[str, Operation] = {
    operation.title: operation
    for operation in (
        Operation(
            title="Edit by instruction",
            task=Task.EDIT,
            hint="Say in words what should be different.",
            parts=frozenset({Part.PROMPT, Part.DRAWING, Part.SIZE, Part.BATCH}),
            missing=(
                f"InstructPix2Pix, FLUX.1 Kontext or Qwen-Image-Edit in the models folder would, or {_SERVICE_HINT}."
            ),
        ),
        Operation(
            title="Remove background",
            task=Task.REMOVE_BACKGROUND,
            hint="Cuts the foreground out; the rest becomes transparent.",
            parts=frozenset({Part.BATCH}),
            missing=f"The background removal that comes with rembg would, or {_SERVICE_HINT}.",
        ),
        Operation(
            title="Replace background & relight",
            task=Task.REPLACE_BACKGROUND,
            hint="Keeps the foreground and draws another background, or takes one from an image.",
            parts=frozenset({Part.PROMPT, Part.DRAWING, Part.BACKGROUND, Part.STRENGTH}),
            missing=f"{_ANY_CHECKPOINT[:-1]}, or {_SERVICE_HINT}.",
        ),
        Operation(
            title="Erase",
            task=Task.ERASE,
            hint="Paint over what should go; it is filled from what is around it.",
            parts=frozenset({Part.MASK, Part.DRAWING}),
            missing=_ANY_CHECKPOINT,
        ),
        Operation(
            title="Search & replace",
            task=Task.SEARCH_REPLACE,
            hint="Name a thing in the image, and what should stand there instead. Where there is a mask, it counts.",
            parts=frozenset({Part.PROMPT, Part.SEARCH, Part.MASK, Part.DRAWING, Part.STRENGTH, Part.INPAINT}),
            missing=f"A text-prompted segmentation model beside any checkpoint would, or {_SERVICE_HINT}.",
        ),
        Operation(
            title="Search & recolor",
            task=Task.SEARCH_RECOLOR,
            hint="Name a thing in the image, and its new colour. Where there is a mask, it counts.",
            parts=frozenset({Part.PROMPT, Part.SEARCH, Part.MASK, Part.DRAWING, Part.STRENGTH, Part.INPAINT}),
            missing=f"A text-prompted segmentation model beside any checkpoint would, or {_SERVICE_HINT}.",
        ),
        Operation(
            title="Sketch to image",
            task=Task.SKETCH,
            hint="The image is a drawing; its lines are followed.",
            parts=frozenset({Part.PROMPT, Part.PAINT, Part.DRAWING, Part.STRENGTH, Part.SIZE}),
            missing=f"A scribble or lineart ControlNet for an installed checkpoint would, or {_SERVICE_HINT}.",
        ),
        Operation(
            title="Structure control",
            task=Task.STRUCTURE,
            hint="Keeps the shapes of the image and draws everything else anew.",
            parts=frozenset({Part.PROMPT, Part.DRAWING, Part.STRENGTH, Part.SIZE}),
            missing=f"A canny or depth ControlNet for an installed checkpoint would, or {_SERVICE_HINT}.",
        ),
        Operation(
            title="Style transfer",
            task=Task.STYLE_TRANSFER,
            hint="The content of the image in the style of another.",
            parts=frozenset({Part.PROMPT, Part.DRAWING, Part.STRENGTH, Part.STYLE, Part.SIZE}),
            missing=f"An IP-Adapter for an installed checkpoint would, or {_SERVICE_HINT}.",
        ),
    )
}


def find_operation(mode: object, title: object) -> Operation:
    """What the two choosers together name; unknown names mean the first of each."""
    if mode == EDIT:
        return OPERATIONS.get(str(title)) or next(iter(OPERATIONS.values()))
    return MODES.get(str(mode)) or next(iter(MODES.values()))


def find_selection(task: Task) -> tuple[str, str] | None:
    """The mode and the operation's title that `task` is asked for by, None where this form does not offer it."""
    for mode, operation in MODES.items():
        if operation.task is task:
            return mode, next(iter(OPERATIONS))
    return next(((EDIT, title) for title, operation in OPERATIONS.items() if operation.task is task), None)


def get_visible_parts(operation: Operation, model: Model | None) -> frozenset[Part]:
    """The parts that `operation` uses and `model` can do something with; without a model, what the operation works
    on."""
    if model is None:
        return operation.parts & {Part.MASK, Part.PAINT, Part.PROMPT, Part.GROW, Part.SEARCH}
    lacking = {
        Part.MASK: Part.SEARCH in operation.parts and model.lane != GPU_LANE,  # a service searches by itself
        Part.CONTROL: Feature.CONTROL not in model.features,
        Part.REFERENCE: Feature.REFERENCE not in model.features,
        Part.STRENGTH: Feature.STRENGTH not in model.features,
    }
    return frozenset(part for part in operation.parts if not lacking.get(part))
