"""Images of several things redrawn: each thing by itself, at the size that the model was trained at, and all put back
where they stood."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.request_choices import Resize
from studio.core.request_parts import ComposedSource
from studio.pipelines.run import diffusion
from studio.pipelines.run.composed_drawing import describe_prompts, find_redrawn_scenes, name_other_plans
from studio.pipelines.run.composed_run import ComposedRun
from studio.pipelines.run.edit_tasks import EditContext, plan_img2img
from studio.pipelines.run.ground_editing import plan_on_ground
from studio.pipelines.run.image_to_image import Editing
from studio.pipelines.run.prepared_run import PassRunner
from studio.pipelines.run.run_plan import Resources
from studio.pipelines.run.scene_layout import (
    place_by_nature,
    place_others,
    place_things,
    put_into_place,
    put_together,
    take_apart,
    take_out_of_place,
)
from studio.pipelines.run.scenery import choose_scenery
from studio.pipelines.run.source_images import flatten_alpha
from studio.pipelines.upscale import upscale_request
from studio.prompting.networks import move_tags_to_loras
from studio.prompting.scene import Scene

Join = Callable[[Sequence[Image.Image]], Image.Image]


class ComposedEditing(ComposedRun):
    """A planned request for a composed image whose things are redrawn."""

    def __init__(
        self,
        resources: Resources,
        request: GenerationRequest,
        runs: PassRunner,
        scenes: tuple[Scene, Scene],
        composed: ComposedSource,
    ) -> None:
        """`scenes` are that of the source and the one that is drawn. Raises what planning one of the things raises,
        before anything is loaded."""
        if request.source is None:
            raise InvalidRequest("No image to redraw.", hint="Choose an image.")
        model = resources.model(request.model)
        size = model.get_result_size(request)
        if request.enlarge:
            upscale_request.check_output_size(size, runs.ctx)
        before, scene = scenes
        source = flatten_alpha(runs.ctx.load_image(request.source))
        in_place = composed.scenery and choose_scenery(before) is not None
        plan = _plan_in_place if in_place else _plan_on_ground
        sources, join = plan(before, scene, source, size, composed.seed)
        prompts = [thing.bare_prompt if in_place else thing.prompt for thing in scene.things]
        width, height = model.sizes.liked[0]
        one = request.replace(width=width, height=height, enlarged_size="", seed_resize="", resize=Resize.CROP)
        one = diffusion.resolve_defaults(one.replace(compose=False, composed=None), model)
        tools = EditContext(model=model, ctx=runs.ctx, annotators=resources.annotators)
        things = [
            _plan_thing(resources, one.replace(prompt=prompt), runs, image, tools)
            for prompt, image in zip(prompts, sources, strict=True)
        ]
        super().__init__(things, lambda images, _seed: join(images))
        runs.ctx.add_notice(f"Redrawn thing by thing: {describe_prompts(prompts)}.")


def plan_redrawing(resources: Resources, request: GenerationRequest, runs: PassRunner) -> Editing | ComposedRun:
    """What redraws the source of `request`: thing by thing where it asks for that and is composed of as many things as
    its prompt names, else as one image. Raises as both do."""
    if not request.compose or request.composed is None or name_other_plans(request):
        return plan_on_ground(resources, request, runs)
    moved = move_tags_to_loras(request)
    scenes = find_redrawn_scenes(resources.catalog, moved)
    if scenes is None:
        return plan_on_ground(resources, request, runs)
    return ComposedEditing(resources, moved, runs, scenes, request.composed)


def _plan_thing(
    resources: Resources, request: GenerationRequest, runs: PassRunner, image: Image.Image, tools: EditContext
) -> Editing:
    return Editing(resources, request, runs, edit=plan_img2img(request, image, tools))


def _plan_on_ground(
    before: Scene, scene: Scene, source: Image.Image, size: tuple[int, int], seed: int
) -> tuple[tuple[Image.Image, ...], Join]:
    """(an image of each thing, what makes one image of them): on a ground of one colour."""
    spots = place_things(before, *size)
    return take_apart(source, place_things(before, *source.size)), lambda images: put_together(images, spots, size)


def _plan_in_place(
    before: Scene, scene: Scene, source: Image.Image, size: tuple[int, int], seed: int
) -> tuple[tuple[Image.Image, ...], Join]:
    """As `_plan_on_ground` in a place: that of the scene that is drawn, or else as before."""
    stood, scenery = place_by_nature(before, *source.size), choose_scenery(before)
    assert scenery is not None
    placement, behind = place_others(place_by_nature(before, *size), scene), choose_scenery(scene) or scenery
    return (
        take_out_of_place(source, stood, scenery, seed),
        lambda images: put_into_place(images, placement, behind, size, seed),
    )
