"""The editing operations by the names that users know, as data: what each needs and takes, where a form offers it and
which parts of the form it uses, and what could do it where nothing can."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from studio.core.model import Feature, Model
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
    ENLARGE = "enlarge"
    COMPOSE = "compose"
    LOOPS = "loops"
    DRAWING = "drawing"
    BATCH = "batch"
    CONTROL = "control"
    DETAILER = "detailer"
    REFERENCE = "reference"


EDIT = "Edit"  # the mode that has a list of operations


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation. `needs` are fields of the request without which it is refused, `takes` those that it also heeds;
    `mode` is where a form offers it and `parts` what it uses of that form; `would` names what does it where no
    installed model can."""

    task: Task
    title: str
    help: str
    needs: tuple[str, ...] = ("source",)
    takes: tuple[str, ...] = ()
    mode: str = EDIT
    parts: frozenset[Part]
    would: str = "an image-to-image checkpoint, or a cloud provider with a key"

    @property
    def would_hint(self) -> str:
        """`would` as a sentence."""
        return f"Add {self.would}."


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
    "detailers",
    "enlarge",
    "enlarged_size",
)
_DRAWING_PARTS = frozenset(
    {
        Part.PROMPT,
        Part.DRAWING,
        Part.STRENGTH,
        Part.SIZE,
        Part.ENLARGE,
        Part.CONTROL,
        Part.REFERENCE,
        Part.DETAILER,
    }
)
_SEARCH_PARTS = frozenset(
    {Part.PROMPT, Part.SEARCH, Part.MASK, Part.DRAWING, Part.STRENGTH, Part.INPAINT, Part.ENLARGE}
)
_FOLLOWING_PARTS = frozenset({Part.PROMPT, Part.DRAWING, Part.STRENGTH, Part.SIZE, Part.ENLARGE, Part.DETAILER})
_INPAINT_MODELS = "a Stable Diffusion, SDXL or FLUX checkpoint, or a cloud provider with a key"
_SEARCH_MODELS = "a text-prompted segmentation model (see Configurations), or a cloud provider with a key"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        task=Task.IMG2IMG,
        title="Image to image",
        help="Redraw the image from a prompt, as far from it as the denoising strength says.",
        needs=("source", "prompt"),
        takes=(*_DRAWING_FIELDS, "compose", "resize", "loops", "batch"),
        mode="Img2Img",
        parts=_DRAWING_PARTS | {Part.COMPOSE, Part.LOOPS, Part.BATCH},
    ),
    Operation(
        task=Task.INPAINT,
        title="Inpaint & fix",
        help="Redraw the masked area and keep the rest.",
        needs=("source", "mask"),
        takes=("prompt", *_DRAWING_FIELDS, "inpaint"),
        mode="Inpaint",
        parts=_DRAWING_PARTS | {Part.MASK, Part.INPAINT},
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.OUTPAINT,
        title="Outpaint",
        help="Enlarge the canvas and generate what lies beyond the edges.",
        needs=("source", "outpaint"),
        takes=("prompt", *_DRAWING_FIELDS),
        mode="Outpaint",
        parts=_DRAWING_PARTS - {Part.SIZE} | {Part.GROW},
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.EDIT,
        title="Edit by instruction",
        help="Describe the change in words.",
        needs=("source", "prompt"),
        takes=("mask", "references", "steps", "guidance", "seed"),
        parts=frozenset({Part.PROMPT, Part.DRAWING, Part.SIZE, Part.BATCH}),
        would="InstructPix2Pix, FLUX.1 Kontext or Qwen-Image-Edit, or a cloud provider with a key",
    ),
    Operation(
        task=Task.REMOVE_BACKGROUND,
        title="Remove background",
        help="Cut out the foreground; the rest becomes transparent.",
        parts=frozenset({Part.BATCH}),
        would="a background removal model (see Configurations), or a cloud provider with a key",
    ),
    Operation(
        task=Task.REPLACE_BACKGROUND,
        title="Replace background & relight",
        help="Keep the foreground and generate another background, or take one from an image.",
        takes=("prompt", "background", "lighting", *_DRAWING_FIELDS),
        parts=frozenset({Part.PROMPT, Part.DRAWING, Part.BACKGROUND, Part.STRENGTH, Part.ENLARGE}),
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.ERASE,
        title="Erase",
        help="Remove what you paint over and fill the place from what is around it.",
        needs=("source", "mask"),
        takes=("steps", "seed", "inpaint", "enlarge"),
        parts=frozenset({Part.MASK, Part.DRAWING, Part.ENLARGE}),
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.SEARCH_REPLACE,
        title="Search & replace",
        help="Name a thing in the image and what is to stand in its place; a mask that you paint is used instead.",
        needs=("source", "search", "prompt"),
        takes=("mask", *_DRAWING_FIELDS),
        parts=_SEARCH_PARTS,
        would=_SEARCH_MODELS,
    ),
    Operation(
        task=Task.SEARCH_RECOLOR,
        title="Search & recolor",
        help="Name a thing in the image and its new colour; a mask that you paint is used instead.",
        needs=("source", "search", "prompt"),
        takes=("mask", *_DRAWING_FIELDS),
        parts=_SEARCH_PARTS,
        would=_SEARCH_MODELS,
    ),
    Operation(
        task=Task.DETAIL,
        title="Detail faces & objects",
        help="Find faces, or what you name, and redraw them at full resolution.",
        takes=("prompt", "negative_prompt", "steps", "guidance", "sampler", "seed", "loras", "detailers"),
        parts=frozenset({Part.PROMPT, Part.DRAWING, Part.DETAILER, Part.BATCH}),
        would=_INPAINT_MODELS,
    ),
    Operation(
        task=Task.SKETCH,
        title="Sketch to image",
        help="Turn a drawing into an image that follows its lines.",
        needs=("source", "prompt"),
        takes=_DRAWING_FIELDS,
        parts=_FOLLOWING_PARTS | {Part.PAINT},
        would="a scribble or edges ControlNet beside its checkpoint, or Stability AI with a key",
    ),
    Operation(
        task=Task.STRUCTURE,
        title="Structure control",
        help="Keep the shapes of the image and redraw everything else.",
        needs=("source", "prompt"),
        takes=_DRAWING_FIELDS,
        parts=_FOLLOWING_PARTS,
        would="a depth or canny ControlNet beside its checkpoint, or Stability AI with a key",
    ),
    Operation(
        task=Task.STYLE_TRANSFER,
        title="Style transfer",
        help="Redraw the image in the style of another one.",
        needs=("source", "references"),
        takes=("prompt", *_DRAWING_FIELDS),
        parts=_FOLLOWING_PARTS | {Part.STYLE},
        would="an IP-Adapter beside its checkpoint, or Stability AI with a key",
    ),
)

EDITS: Mapping[str, Operation] = {one.title: one for one in OPERATIONS if one.mode == EDIT}
"""The operations that a form lists under the mode Edit, by title."""


def _build_modes() -> dict[str, Operation]:
    """The operations with a mode of their own; Sketch is image to image with paint over the source."""
    own = {one.mode: one for one in OPERATIONS if one.mode != EDIT}
    sketch = dataclasses.replace(
        own["Img2Img"],
        title="Sketch",
        help="Paint over the image in colours and redraw it from there.",
        mode="Sketch",
        parts=_DRAWING_PARTS | {Part.PAINT, Part.LOOPS},
    )
    return {"Img2Img": own.pop("Img2Img"), "Sketch": sketch, **own}


MODES: Mapping[str, Operation] = _build_modes()


def find_operation(mode: object, title: object) -> Operation:
    """The operation that the two choosers of a form select together; unknown names select the first of each."""
    if mode == EDIT:
        return EDITS.get(str(title)) or next(iter(EDITS.values()))
    return MODES.get(str(mode)) or next(iter(MODES.values()))


def find_selection(task: Task) -> tuple[str, str] | None:
    """The mode and the title under Edit that `task` is asked for by, None where it is no editing operation."""
    operation = next((one for one in OPERATIONS if one.task is task), None)
    if operation is None:
        return None
    return operation.mode, operation.title if operation.mode == EDIT else next(iter(EDITS))


def get_visible_parts(operation: Operation, model: Model | None) -> frozenset[Part]:
    """The parts that `operation` uses and `model` can do something with; without a model, what the operation works
    on."""
    if model is None:
        return operation.parts & {Part.MASK, Part.PAINT, Part.PROMPT, Part.GROW, Part.SEARCH}
    lacking = {
        Part.MASK: Part.SEARCH in operation.parts and not model.is_own,  # a service searches by itself
        Part.CONTROL: Feature.CONTROL not in model.features,
        Part.REFERENCE: Feature.REFERENCE not in model.features,
        Part.DETAILER: Feature.DETAILER not in model.features,
        Part.STRENGTH: Feature.STRENGTH not in model.features,
        Part.ENLARGE: Feature.ENLARGE not in model.features,
        Part.COMPOSE: Feature.COMPOSE not in model.features,
    }
    return frozenset(part for part in operation.parts if not lacking.get(part))
