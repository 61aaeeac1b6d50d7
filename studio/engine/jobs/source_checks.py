"""The images of a request looked at before it is taken: is each there, is the mask one, how large will the result
be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from studio.core.annotate import read_mask
from studio.core.errors import InvalidRequest, NotFound
from studio.core.image_fields import list_image_hashes
from studio.core.model import Model
from studio.core.region_area import MAX_MASK_PIXELS, read_area_mask
from studio.core.request import GenerationRequest
from studio.core.request_choices import RegionSplit
from studio.core.request_parts import ComposedSource
from studio.core.task import Task
from studio.engine.storage.inputs import Images, KeptImage

_SEARCH_TASKS = (Task.SEARCH_REPLACE, Task.SEARCH_RECOLOR)
REDRAWING_TASKS = (Task.IMG2IMG, Task.SKETCH, Task.STRUCTURE, Task.STYLE_TRANSFER)
"""Tasks that draw the whole image anew, where no mask is given."""
_NO_IMAGE_HINT = "Choose an image first."


def check_images(request: GenerationRequest, user: str, images: Images) -> None:
    """Refuse a request that lacks an image, names one that is not there, or has a mask that does not fit.

    Raises:
        InvalidRequest, NotFound: the message says which image, the hint what to do.
    """
    for name in list_image_hashes(request):
        images.get(name, user)
    if request.task is Task.TXT2IMG:
        if any(not unit.image for unit in request.control):
            raise InvalidRequest("A control unit has no image.", hint="Give it one, or switch the unit off.")
    elif not request.source and not request.batch:
        raise InvalidRequest(f"No image for {_format_task(request.task)}.", hint=_NO_IMAGE_HINT)
    if request.source and request.batch:
        raise InvalidRequest("The request has both a source and a batch.", hint="Remove one of them.")
    if request.task is Task.STYLE_TRANSFER and not request.references:
        raise InvalidRequest("No style image selected.", hint="Choose a style image.")
    if any(not reference.image for reference in request.references):
        raise InvalidRequest("A reference image is missing.", hint="Give it one, or remove it.")
    if request.task in _SEARCH_TASKS and not request.mask and not request.search.strip():
        raise InvalidRequest("Nothing to search for was given.", hint="Enter what to search for.")
    if request.task is Task.PREPROCESS and len(request.control) != 1:
        raise InvalidRequest("A preprocessor job needs exactly one control unit.", hint="Name one preprocessor.")
    _check_mask(request, user, images)
    if request.regions is RegionSplit.AREAS:
        _check_areas(request, user, images)


def fill_size(request: GenerationRequest, model: Model, user: str, images: Images) -> GenerationRequest:
    """`request` with a size: that of its source, as near as the model can, where it names none."""
    first = list_sources(request)
    if not first or not request.task.is_generative or request.width or request.height or request.aspect:
        return request
    kept = images.get(first[0], user)
    return model.fit_to_source(request, kept.width, kept.height)


def fill_composed(request: GenerationRequest, model: Model, user: str, images: Images) -> GenerationRequest:
    """`request` with what its source is composed of, where it asks for the things of that to be redrawn one by one;
    without that wish where the source is nothing that `model` composed, or was changed afterwards."""
    if not request.compose or request.task is Task.TXT2IMG or request.composed is not None:
        return request
    kept = images.get(request.source, user) if request.source else None
    if kept is None or len(kept.history) != 1 or request.axes:
        return request.replace(compose=False)
    [first] = kept.history
    size = model.get_result_size(first)
    if not first.compose or first.then or first.model != model.id or size != (kept.width, kept.height):
        return request.replace(compose=False)
    return request.replace(composed=ComposedSource(prompt=first.prompt, scenery=first.scenery, seed=first.seed or 0))


def describe_rounded_size(request: GenerationRequest, model: Model, sizes: Iterable[tuple[int, int]]) -> str:
    """What to say of sources, of `sizes`, that `request` draws at a size of its own, which it does not ask for; ""
    where they keep theirs. What is drawn under a mask is put back into the source at its size."""
    drawn = (request.width, request.height)
    others = [size for size in dict.fromkeys(sizes) if size != drawn]
    if request.task not in REDRAWING_TASKS or request.mask or not all(drawn) or not others:
        return ""
    if request.enlarge:
        width, height = model.get_result_size(request)
        return f"Drawn at {drawn[0]}×{drawn[1]} px and enlarged to {width}×{height} px."
    if len(others) > 1:
        return (
            f"The sources have {len(others)} other sizes; all were drawn at {drawn[0]}×{drawn[1]} px, the nearest size "
            f"of {model.title}."
        )
    width, height = others[0]
    return (
        f"The source has {width}×{height} px; it was drawn at {drawn[0]}×{drawn[1]} px, the nearest size of "
        f"{model.title}."
    )


def describe_large_size(request: GenerationRequest, model: Model) -> str:
    """What to say where `request` draws larger than `model` draws well although that enlarges its images itself, ""
    elsewhere."""
    if not request.task.is_generative or not request.width or not request.height:
        return ""
    better = model.plan_enlarging(request.replace(enlarge=False), *model.get_result_size(request))
    if better is None or model.plan_enlarging(request, request.width, request.height) is None:
        return ""
    width, height = model.get_result_size(better)
    return (
        f"Drawn at {request.width}×{request.height} px, where {model.title} shows things twice or stretched. Draw at "
        f"{better.width}×{better.height} px and enlarge to {width}×{height} px instead."
    )


def describe_things(count: int, model: Model) -> str:
    """What to say where `count` things are redrawn by a model that knows one at a time, "" for one."""
    if count < 2:
        return ""
    return (
        f"{model.title} knows one thing at a time and redraws these {count} things as one. To change one of them, mask "
        f"it, set Area to only masked, and name it alone in the prompt."
    )


def collect_image_sizes(request: GenerationRequest, user: str, images: Images) -> dict[str, tuple[int, int]]:
    """The sizes of the images that `request` names; one that is not there has none."""
    sizes: dict[str, tuple[int, int]] = {}
    for name in list_image_hashes(request):
        with contextlib.suppress(NotFound):
            kept = images.get(name, user)
            sizes[name] = (kept.width, kept.height)
    return sizes


def list_sources(request: GenerationRequest) -> tuple[str, ...]:
    """The images that the request works on, one or many."""
    return request.batch or ((request.source,) if request.source else ())


def _check_mask(request: GenerationRequest, user: str, images: Images) -> None:
    if request.mask is None:
        if request.task.needs_mask:
            raise InvalidRequest(f"No mask for {_format_task(request.task)}.", hint="Paint over the area to change.")
        return
    mask = images.get(request.mask, user)
    for name in list_sources(request):
        _check_same_size(mask, images.get(name, user))
    low, high = read_mask(images.open(request.mask, user)).getextrema()
    nothing = low == 255 if request.inpaint.invert else high == 0
    if nothing:
        raise InvalidRequest("The mask is empty.", hint="Paint over the area to change.")


def _check_areas(request: GenerationRequest, user: str, images: Images) -> None:
    for number, area in enumerate(request.areas, 1):
        if area.mask:
            kept = images.get(area.mask, user)
            if kept.width * kept.height > MAX_MASK_PIXELS:
                raise InvalidRequest(
                    f"The mask of area {number} is {kept.width}×{kept.height}, which is too large.",
                    hint="Use one of the size of the image, or smaller.",
                )
        if area.mask and not read_area_mask(images.open(area.mask, user), area.colour).getbbox():
            raise InvalidRequest(
                f"Area {number} is empty.", hint="Paint it, or leave its prompt empty.", details={"area": number}
            )


def _check_same_size(mask: KeptImage, source: KeptImage) -> None:
    if (mask.width, mask.height) != (source.width, source.height):
        raise InvalidRequest(
            f"The mask is {mask.width}×{mask.height}, the image {source.width}×{source.height}.",
            hint="Use a mask of the image's size.",
        )


def _format_task(task: Task) -> str:
    return task.value.replace("_", " ")
