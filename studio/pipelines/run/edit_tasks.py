"""Every task that works on an image, said as one kind of thing: what is given to the pipeline, how strongly, and what
is made of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from PIL import Image, ImageChops, ImageOps

from studio.core.errors import InvalidRequest, NotConfigured
from studio.core.model import Model
from studio.core.ports import Annotators, JobContext
from studio.core.request import GenerationRequest
from studio.core.request_parts import MaskedContent, Resize
from studio.core.task import Task
from studio.pipelines.run import lab_colour, masks, outpaint
from studio.pipelines.run.masks import Canvas
from studio.pipelines.run.source_images import find_shown_part, flatten_alpha, resize_source


class EditMode(Enum):
    """How a pipeline is entered."""

    IMAGE = auto()  # the source with noise on it
    MASK = auto()  # the same, held to a mask
    INSTRUCTION = auto()  # the source beside the noise, strength has no meaning


@dataclass(frozen=True, kw_only=True)
class Edit:
    """`request` is what is drawn, its prompt and size among it. `ready` makes a source ready, once per loop; `strength`
    0 draws nothing. `fill` acts on latents (NOISE, NOTHING). With `latent` the source is resized as latents."""

    request: GenerationRequest
    way: EditMode
    strength: float
    source: Image.Image
    ready: Callable[[Image.Image], Canvas]
    fill: MaskedContent = MaskedContent.ORIGINAL
    soft: bool = False
    latent: bool = False
    references: tuple[Image.Image, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EditContext:
    """The inputs for planning an edit."""

    model: Model
    ctx: JobContext
    annotators: Annotators | None

    @property
    def is_inpaint_only(self) -> bool:
        """Whether the model was trained to fill masks: it starts from noise and sees the surroundings beside it."""
        return Task.TXT2IMG not in self.model.tasks

    def strength(self, request: GenerationRequest, plain: float) -> float:
        """The request's, else what suits the task: `plain` for a model that starts from the source."""
        return request.strength if request.strength is not None else 1.0 if self.is_inpaint_only else plain

    def require_annotators(self) -> Annotators:
        """Raises NotConfigured without annotators."""
        if self.annotators is None:
            raise NotConfigured(
                "No model for searching in images is installed.", hint="Paint a mask and use Inpaint instead."
            )
        return self.annotators


def plan_edit(request: GenerationRequest, tools: EditContext) -> Edit:
    """The edit that `request` asks for. Its width and height are set. Finding a region by words, or the foreground,
    happens here.

    Raises:
        InvalidRequest: no source, a task that images do not pass through here, or what the annotators raise.
    """
    make = _EDIT_PLANNERS.get(request.task)
    if make is None or request.source is None:
        raise InvalidRequest(
            f"{tools.model.title} does not support {request.task} with these settings.", hint="Choose an image."
        )
    return make(request, tools.ctx.load_image(request.source), tools)


def plan_img2img(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    """The edit that redraws the whole of `source`. The size of `request` is set."""
    size, latent = _get_size(request), request.resize is Resize.LATENT

    def prepare_canvas(image: Image.Image) -> Canvas:
        source = flatten_alpha(image)
        side = tools.model.sizes.find_nearest_size(*source.size) if latent and source.size != size else size
        shown = find_shown_part(source.size, side, request.resize)
        return Canvas(image=resize_source(source, side, request.resize), finish=lambda drawn: drawn, shown=shown)

    strength = tools.strength(request, 0.75)
    if strength == 0:
        latent = False
    return Edit(
        request=request, way=EditMode.IMAGE, strength=strength, source=source, ready=prepare_canvas, latent=latent
    )


def _plan_inpaint(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    if request.mask is None:
        raise InvalidRequest("No mask.", hint="Paint over the area to change.")
    mask = masks.prepare_mask(tools.ctx.load_image(request.mask), request.inpaint)
    return plan_masked(request, source, mask, tools, tools.strength(request, 0.75))


def _plan_erase(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    """Inpainting without words that begins from the surroundings."""
    inpaint = dataclasses.replace(request.inpaint, fill=MaskedContent.FILL)
    return _plan_inpaint(request.replace(prompt="", inpaint=inpaint), source, tools)


def _plan_outpaint(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    """Drawn at the canvas' own size, or as near as the model can."""
    canvas = outpaint.grow_canvas(request.outpaint, *source.size)
    width, height = tools.model.get_source_size(request, canvas.width, canvas.height)
    whole = outpaint.prefill_canvas(source if source.mode == "RGBA" else flatten_alpha(source), canvas)
    mask = outpaint.build_outpaint_mask(canvas, *source.size)
    inpaint = dataclasses.replace(request.inpaint, fill=MaskedContent.ORIGINAL, only_masked=False)
    request = request.replace(width=width, height=height, enlarged_size="", inpaint=inpaint)
    return plan_masked(request, whole, mask, tools, tools.strength(request, 0.9))


def _plan_search_replace(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    return plan_masked(request, source, _find_mask(request, source, tools), tools, tools.strength(request, 1.0))


def _plan_search_recolor(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    """Redrawn, then only the colours of what was drawn are taken."""
    mask, strength = _find_mask(request, source, tools), tools.strength(request, 0.75)
    return plan_masked(request, source, mask, tools, strength, blend=lab_colour.transfer_colours)


def _plan_replace_background(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    """The foreground is lit by `lighting`; behind it comes the `background`, with strength drawn over gently as a
    whole, or what the prompt says."""
    transparent = source.mode == "RGBA" and source.getchannel("A").getextrema() != (255, 255)  # cut out already
    front = source.convert("RGB")
    opacity = source.getchannel("A") if transparent else tools.require_annotators().find_foreground(front, tools.ctx)
    if request.lighting:
        front = lab_colour.relight_image(front, flatten_alpha(tools.ctx.load_image(request.lighting)))
    behind = ImageChops.invert(opacity)
    if request.background is None:
        return plan_masked(request, front, behind, tools, tools.strength(request, 1.0))
    back = ImageOps.fit(flatten_alpha(tools.ctx.load_image(request.background)), front.size, Image.Resampling.LANCZOS)
    pasted = Image.composite(front, back, opacity)
    size, own = _get_size(request), front.size

    def prepare_canvas(image: Image.Image) -> Canvas:
        if not request.strength:
            return Canvas(image=image, finish=lambda drawn: drawn)
        return Canvas(
            image=resize_source(image, size, Resize.STRETCH),
            finish=lambda drawn: resize_source(drawn, own, Resize.STRETCH),
        )

    if request.strength and tools.is_inpaint_only:
        raise InvalidRequest(
            f"{tools.model.title} supports inpainting only.", hint="Leave the strength empty, or choose another model."
        )
    return Edit(
        request=request, way=EditMode.IMAGE, strength=request.strength or 0.0, source=pasted, ready=prepare_canvas
    )


def _plan_instruction(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Edit:
    """The whole image by instruction; with a mask, the rest stays as it was."""
    size = _get_size(request)
    mask = masks.prepare_mask(tools.ctx.load_image(request.mask), request.inpaint) if request.mask else None

    def prepare_canvas(image: Image.Image) -> Canvas:
        if mask is not None:
            return masks.build_canvas(image, mask, size)
        fitted = resize_source(flatten_alpha(image), size, request.resize)
        shown = find_shown_part(image.size, size, request.resize)
        return Canvas(image=fitted, finish=lambda drawn: drawn, shown=shown)

    references = tuple(flatten_alpha(tools.ctx.load_image(one.image)) for one in request.references)
    return Edit(
        request=request,
        way=EditMode.INSTRUCTION,
        strength=1.0,
        source=source,
        ready=prepare_canvas,
        references=references,
    )


def plan_masked(
    request: GenerationRequest,
    source: Image.Image,
    mask: Image.Image,
    tools: EditContext,
    strength: float,
    blend: masks.Blend | None = None,
) -> Edit:
    """The edit that redraws `source` where `mask` (mode L, its size, prepared) is not black. The size of `request` is
    set."""
    inpaint, size = request.inpaint, _get_size(request)
    soft = inpaint.soft and not tools.is_inpaint_only  # a model trained on masks knows black and white ones
    seen = dataclasses.replace(inpaint, soft=soft)
    box = masks.find_region(mask, inpaint.padding, size[0] / size[1]) if inpaint.only_masked else None

    def prepare_canvas(image: Image.Image) -> Canvas:
        return masks.build_canvas(image, mask, size, box=box, inpaint=seen, blend=blend)

    return Edit(
        request=request,
        way=EditMode.MASK,
        strength=strength,
        source=source,
        ready=prepare_canvas,
        fill=inpaint.fill,
        soft=soft,
    )


def _find_mask(request: GenerationRequest, source: Image.Image, tools: EditContext) -> Image.Image:
    """The mask that was looked at already; else that of what is searched for, shown before anything is drawn."""
    if request.mask is not None:
        return masks.prepare_mask(tools.ctx.load_image(request.mask), request.inpaint)
    found = tools.require_annotators().find(request.search, flatten_alpha(source), tools.ctx)
    tools.ctx.report_progress(0, request.steps or tools.model.sampling.steps, lambda: masks.tint_mask(source, found))
    return masks.prepare_mask(found, request.inpaint)


def _get_size(request: GenerationRequest) -> tuple[int, int]:
    assert request.width is not None
    assert request.height is not None
    return request.width, request.height


_EDIT_PLANNERS = MappingProxyType(
    {
        Task.IMG2IMG: plan_img2img,
        Task.INPAINT: _plan_inpaint,
        Task.OUTPAINT: _plan_outpaint,
        Task.ERASE: _plan_erase,
        Task.SEARCH_REPLACE: _plan_search_replace,
        Task.SEARCH_RECOLOR: _plan_search_recolor,
        Task.REPLACE_BACKGROUND: _plan_replace_background,
        Task.EDIT: _plan_instruction,
    }
)

ANNOTATOR_TASKS = frozenset({Task.SEARCH_REPLACE, Task.SEARCH_RECOLOR, Task.REPLACE_BACKGROUND})
"""Tasks that ask the annotators."""
