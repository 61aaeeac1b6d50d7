"""A single thing on a plain ground redrawn by a model that knows squares: in wide and high images it would show the
thing twice or stretched, so the square that the thing stands in is redrawn, and the ground around it stays plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from studio.core.model import is_alike
from studio.core.request import GenerationRequest
from studio.core.request_choices import Resize
from studio.pipelines.run import diffusion
from studio.pipelines.run.composed_drawing import name_other_plans
from studio.pipelines.run.composed_run import ComposedRun
from studio.pipelines.run.edit_tasks import EditContext, plan_img2img
from studio.pipelines.run.image_to_image import Editing
from studio.pipelines.run.prepared_run import PassRunner
from studio.pipelines.run.run_plan import Resources
from studio.pipelines.run.scene_layout import Spot, put_together
from studio.pipelines.run.source_images import flatten_alpha
from studio.pipelines.run.thing_cutouts import find_ground, find_ground_share
from studio.pipelines.upscale import upscale_request

if TYPE_CHECKING:
    import numpy as np

_THING = 0.5  # of a pixel: what has less ground belongs to the thing


def plan_on_ground(resources: Resources, request: GenerationRequest, runs: PassRunner) -> Editing | ComposedRun:
    """What redraws the source of `request` as one image, or only the square that its single thing stands in where the
    model enlarges what it draws in squares and the source has another shape. Raises as `Editing` does."""
    model = resources.model(request.model)
    side, height = model.sizes.liked[0]
    if not request.enlarge or side != height or request.source is None or name_other_plans(request):
        return Editing(resources, request, runs)
    size = model.get_result_size(request)
    source = flatten_alpha(runs.ctx.load_image(request.source))
    if is_alike(size, (side, side)) or not is_alike(size, source.size):
        return Editing(resources, request, runs)
    spot = find_square(source)
    if spot is None:
        return Editing(resources, request, runs)
    upscale_request.check_output_size(size, runs.ctx)
    one = request.replace(width=side, height=side, enlarged_size="", seed_resize="", resize=Resize.CROP)
    square = source.crop((spot.left, spot.top, spot.left + spot.side, spot.top + spot.side))
    tools = EditContext(model=model, ctx=runs.ctx, annotators=resources.annotators)
    edit = plan_img2img(diffusion.resolve_defaults(one, model), square, tools)
    scale = min(size) / spot.side
    put = Spot(round(spot.left * scale), round(spot.top * scale), min(size))
    runs.ctx.add_notice(f"Redrawn at {side}×{side} px on its plain ground.")
    return ComposedRun(
        [Editing(resources, one, runs, edit=edit)], lambda images, _seed: put_together(images, [put], size)
    )


def find_square(image: Image.Image) -> Spot | None:
    """The square, as high or wide as an RGB `image`, around all that is not plain ground; None where that does not fit
    into one, or where there is nothing else."""
    import numpy as np

    pixels = np.asarray(image, np.float32)
    is_thing = find_ground_share(pixels, find_ground(pixels))[..., 0] < _THING
    if not is_thing.any():
        return None
    side = min(image.size)
    left, top = (_place(np.asarray(is_thing.any(axis)), side) for axis in (0, 1))
    return None if left is None or top is None else Spot(left, top, side)


def _place(is_thing: np.ndarray, side: int) -> int | None:
    """Where `side` px begin that hold all of what is true, with it in their middle as far as there is room."""
    first, last = int(is_thing.argmax()), len(is_thing) - int(is_thing[::-1].argmax())
    if last - first > side:
        return None
    return min(max(0, (first + last - side) // 2), len(is_thing) - side)
