"""The editing operations by the names that users know, as data: what each needs, and what could do it where nothing
can."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.task import Task


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation. `needs` are fields of the request without which it is refused, `takes` those that it also heeds;
    `would` says what to install or set where no model does it."""

    task: Task
    title: str
    help: str
    needs: tuple[str, ...] = ("source",)
    takes: tuple[str, ...] = ()
    would: str = "an image-to-image checkpoint, or a cloud provider with a key"


_DRAWING_FIELDS = (
    "negative_prompt",
    "strength",
    "steps",
    "guidance",
    "sampler",
    "seed",
    "loras",
    "control",
    "references",
)
_INPAINT_MODELS = "a Stable Diffusion, SDXL or FLUX checkpoint, or a cloud provider with a key"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        task=Task.IMG2IMG,
        title="Image to image",
        help="Draw the image anew from a prompt, near it or far from it.",
        needs=("source", "prompt"),
        takes=(*_DRAWING_FIELDS, "resize", "loops", "batch"),
    ),
    Operation(
        task=Task.INPAINT,
        title="Inpaint & fix",
        help="Redraw what you paint over; the rest stays as it is.",
        needs=("source", "mask"),
        takes=("prompt", *_DRAWING_FIELDS, "inpaint"),
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.OUTPAINT,
        title="Outpaint",
        help="Let the image go on beyond its edges.",
        needs=("source", "outpaint"),
        takes=("prompt", *_DRAWING_FIELDS),
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.ERASE,
        title="Erase",
        help="Remove what you paint over and fill the place.",
        needs=("source", "mask"),
        takes=("steps", "seed", "inpaint"),
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.EDIT,
        title="Edit by instruction",
        help="Say in words what is to change.",
        needs=("source", "prompt"),
        takes=("mask", "references", "steps", "guidance", "seed"),
        would="InstructPix2Pix, FLUX.1 Kontext or Qwen-Image-Edit, or a cloud provider with a key",
    ),
    Operation(
        task=Task.SEARCH_REPLACE,
        title="Search & replace",
        help="Name a thing and what is to stand in its place.",
        needs=("source", "search", "prompt"),
        takes=("mask", *_DRAWING_FIELDS),
        would="a model that finds things by words (Configurations fetches one), or a cloud provider with a key",
    ),
    Operation(
        task=Task.SEARCH_RECOLOR,
        title="Search & recolor",
        help="Name a thing and give it another colour.",
        needs=("source", "search", "prompt"),
        takes=("mask", *_DRAWING_FIELDS),
        would="a model that finds things by words (Configurations fetches one), or a cloud provider with a key",
    ),
    Operation(
        task=Task.REMOVE_BACKGROUND,
        title="Remove background",
        help="Keep what stands in front; the rest becomes transparent.",
        would="a background model (Configurations fetches one), or a cloud provider with a key",
    ),
    Operation(
        task=Task.REPLACE_BACKGROUND,
        title="Replace background & relight",
        help="Put what stands in front somewhere else, in its light.",
        takes=("prompt", "background", "lighting", *_DRAWING_FIELDS),
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.SKETCH,
        title="Sketch to image",
        help="Turn a drawing into an image.",
        needs=("source", "prompt"),
        takes=_DRAWING_FIELDS,
        would="a scribble or edges ControlNet beside its checkpoint, or Stability AI with a key",
    ),
    Operation(
        task=Task.STRUCTURE,
        title="Structure control",
        help="Keep the shapes of the image and draw everything else anew.",
        needs=("source", "prompt"),
        takes=_DRAWING_FIELDS,
        would="a depth or canny ControlNet beside its checkpoint, or Stability AI with a key",
    ),
    Operation(
        task=Task.STYLE_TRANSFER,
        title="Style transfer",
        help="Draw the image in the style of another one.",
        needs=("source", "references"),
        takes=("prompt", *_DRAWING_FIELDS),
        would="an IP-Adapter beside its checkpoint, or Stability AI with a key",
    ),
)


def find_operation(task: Task) -> Operation | None:
    """The operation that `task` is, None for work that is no editing."""
    return next((operation for operation in OPERATIONS if operation.task is task), None)
