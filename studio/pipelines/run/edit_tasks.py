"""Every task that works on a picture, said as one kind of thing: what is given to the pipeline, how strongly, and what is
made of its answer."""

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
from studio.core.request_parts import Fill, Resize
from studio.core.task import Task
from studio.pipelines.run import lab_colour, masks, outpaint
from studio.pipelines.run.masks import Canvas
from studio.pipelines.run.source_images import opaque, resized


class Way(Enum):
    """How a pipeline is entered."""

    PICTURE = auto()  # the source with noise on it
    MASK = auto()  # the same, held to a mask
    INSTRUCTION = auto()  # the source beside the noise, strength has no meaning


@dataclass(frozen=True, kw_only=True)
class Edit:
    """`request` is what is drawn, its prompt and size among it. `ready` makes a source ready, once per loop; `strength` 0
    draws nothing. `fill` acts on latents (NOISE, NOTHING). With `latent` the source is resized as latents."""

    request: GenerationRequest
    way: Way
    strength: float
    source: Image.Image
    ready: Callable[[Image.Image], Canvas]
    fill: Fill = Fill.ORIGINAL
    soft: bool = False
    latent: bool = False
    references: tuple[Image.Image, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What an edit is planned with."""

    model: Model
    ctx: JobContext
    annotators: Annotators | None

    @property
    def masked_only(self) -> bool:
        """Whether the model was trained to fill masks: it starts from noise and sees the surroundings beside it."""
        return Task.TXT2IMG not in self.model.tasks

    def strength(self, request: GenerationRequest, plain: float) -> float:
        """The request's, else what suits the task: `plain` for a model that starts from the source."""
        return request.strength if request.strength is not None else 1.0 if self.masked_only else plain

    def asked(self) -> Annotators:
        """Raises NotConfigured without annotators."""
        if self.annotators is None:
            raise NotConfigured("Nothing here finds things in pictures.", hint="Paint a mask and use inpaint.")
        return self.annotators


def edit_of(request: GenerationRequest, tools: Tools) -> Edit:
    """The edit that `request` asks for. Its width and height are set. Finding a region by words, or the foreground, happens here.

    Raises:
        InvalidRequest: no source, a task that pictures do not pass through here, or what the annotators raise.
    """
    make = _EDITS.get(request.task)
    if make is None or request.source is None:
        raise InvalidRequest(f"{tools.model.title} cannot do {request.task} as it is asked.", hint="Choose a picture.")
    return make(request, tools.ctx.picture(request.source), tools)


def _img2img(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    size, latent = _size(request), request.resize is Resize.LATENT

    def ready(image: Image.Image) -> Canvas:
        picture = opaque(image)
        side = tools.model.sizes.near(*picture.size) if latent and picture.size != size else size
        return Canvas(image=resized(picture, side, request.resize), finish=lambda drawn: drawn)

    strength = tools.strength(request, 0.75)
    if strength == 0:
        latent = False
    return Edit(request=request, way=Way.PICTURE, strength=strength, source=source, ready=ready, latent=latent)


def _inpaint(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    if request.mask is None:
        raise InvalidRequest("There is no mask.", hint="Paint over what is to change.")
    mask = masks.prepared(tools.ctx.picture(request.mask), request.inpaint)
    return _masked(request, source, mask, tools, tools.strength(request, 0.75))


def _erase(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    """Inpainting without words that begins from the surroundings."""
    inpaint = dataclasses.replace(request.inpaint, fill=Fill.FILL)
    return _inpaint(request.replace(prompt="", inpaint=inpaint), source, tools)


def _outpaint(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    """Drawn at the canvas' own size, or as near as the model can."""
    canvas = outpaint.grown(request.outpaint, *source.size)
    width, height = tools.model.sizes.near(canvas.width, canvas.height)
    whole = outpaint.prefilled(source if source.mode == "RGBA" else opaque(source), canvas)
    mask = outpaint.mask(canvas, *source.size)
    inpaint = dataclasses.replace(request.inpaint, fill=Fill.ORIGINAL, only_masked=False)
    request = request.replace(width=width, height=height, inpaint=inpaint)
    return _masked(request, whole, mask, tools, tools.strength(request, 0.9))


def _search_replace(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    return _masked(request, source, _found(request, source, tools), tools, tools.strength(request, 1.0))


def _search_recolor(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    """Redrawn, then only the colours of what was drawn are taken."""
    mask, strength = _found(request, source, tools), tools.strength(request, 0.75)
    return _masked(request, source, mask, tools, strength, blend=lab_colour.recoloured)


def _replace_background(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    """The foreground is lit by `lighting`; behind it comes the `background`, with strength drawn over gently as a whole,
    or what the prompt says."""
    transparent = source.mode == "RGBA" and source.getchannel("A").getextrema() != (255, 255)  # cut out already
    front = source.convert("RGB")
    opacity = source.getchannel("A") if transparent else tools.asked().foreground(front, tools.ctx)
    if request.lighting:
        front = lab_colour.lit(front, opaque(tools.ctx.picture(request.lighting)))
    behind = ImageChops.invert(opacity)
    if request.background is None:
        return _masked(request, front, behind, tools, tools.strength(request, 1.0))
    back = ImageOps.fit(opaque(tools.ctx.picture(request.background)), front.size, Image.Resampling.LANCZOS)
    pasted = Image.composite(front, back, opacity)
    size, own = _size(request), front.size

    def ready(image: Image.Image) -> Canvas:
        if not request.strength:
            return Canvas(image=image, finish=lambda drawn: drawn)
        return Canvas(
            image=resized(image, size, Resize.STRETCH), finish=lambda drawn: resized(drawn, own, Resize.STRETCH)
        )

    if request.strength and tools.masked_only:
        raise InvalidRequest(
            f"{tools.model.title} draws masked parts only.", hint="Leave the strength open, or pick another model."
        )
    return Edit(request=request, way=Way.PICTURE, strength=request.strength or 0.0, source=pasted, ready=ready)


def _instruct(request: GenerationRequest, source: Image.Image, tools: Tools) -> Edit:
    """The whole picture by instruction; with a mask, the rest stays as it was."""
    size = _size(request)
    mask = masks.prepared(tools.ctx.picture(request.mask), request.inpaint) if request.mask else None

    def ready(image: Image.Image) -> Canvas:
        if mask is not None:
            return masks.canvas(image, mask, size)
        return Canvas(image=resized(opaque(image), size, request.resize), finish=lambda drawn: drawn)

    references = tuple(opaque(tools.ctx.picture(one.picture)) for one in request.references)
    return Edit(
        request=request, way=Way.INSTRUCTION, strength=1.0, source=source, ready=ready, references=references
    )  # fmt: skip


def _masked(
    request: GenerationRequest,
    source: Image.Image,
    mask: Image.Image,
    tools: Tools,
    strength: float,
    blend: masks.Blend | None = None,
) -> Edit:
    inpaint, size = request.inpaint, _size(request)
    soft = inpaint.soft and not tools.masked_only  # a model trained on masks knows black and white ones
    seen = dataclasses.replace(inpaint, soft=soft)
    box = masks.region(mask, inpaint.padding, size[0] / size[1]) if inpaint.only_masked else None

    def ready(image: Image.Image) -> Canvas:
        return masks.canvas(image, mask, size, box=box, inpaint=seen, blend=blend)

    return Edit(
        request=request, way=Way.MASK, strength=strength, source=source, ready=ready, fill=inpaint.fill, soft=soft
    )  # fmt: skip


def _found(request: GenerationRequest, source: Image.Image, tools: Tools) -> Image.Image:
    """The mask that was looked at already; else that of what is searched for, shown before anything is drawn."""
    if request.mask is not None:
        return masks.prepared(tools.ctx.picture(request.mask), request.inpaint)
    found = tools.asked().find(request.search, opaque(source), tools.ctx)
    tools.ctx.progress(0, request.steps or tools.model.sampling.steps, lambda: masks.shown(source, found))
    return masks.prepared(found, request.inpaint)


def _size(request: GenerationRequest) -> tuple[int, int]:
    assert request.width is not None
    assert request.height is not None
    return request.width, request.height


_EDITS = MappingProxyType(
    {
        Task.IMG2IMG: _img2img,
        Task.INPAINT: _inpaint,
        Task.OUTPAINT: _outpaint,
        Task.ERASE: _erase,
        Task.SEARCH_REPLACE: _search_replace,
        Task.SEARCH_RECOLOR: _search_recolor,
        Task.REPLACE_BACKGROUND: _replace_background,
        Task.EDIT: _instruct,
    }
)

NEED_ANNOTATORS = frozenset({Task.SEARCH_REPLACE, Task.SEARCH_RECOLOR, Task.REPLACE_BACKGROUND})
"""Tasks that ask the annotators."""
