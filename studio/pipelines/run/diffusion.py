"""One run of any family's pipeline: own scheduler, own noise, progress after every step, images out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from studio.core.model import Model
from studio.core.ports import ImageSeed, JobContext, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.pipelines import device_memory
from studio.pipelines.run import conditioning, finite_values, noise
from studio.pipelines.run.cfg_plus_plus import raise_guidance, split_guidance
from studio.pipelines.run.dynamic_threshold import threshold_guidance
from studio.pipelines.run.freeu import apply_freeu
from studio.pipelines.run.guidance_rescale import rescale_guidance
from studio.pipelines.run.live_preview import Previewer, StepRecorder, can_show, unpack_latents
from studio.pipelines.run.perturbed_attention import guide_by_perturbation
from studio.pipelines.run.prompt_cache import cache_encoding
from studio.pipelines.run.refining import Refiner, switch_models
from studio.pipelines.run.samplers import make_scheduler
from studio.pipelines.run.seamless import wrap_edges
from studio.pipelines.run.self_attention_guidance import guide_by_self_attention
from studio.pipelines.run.skip_layers import guide_by_skipped_layers
from studio.pipelines.run.token_merging import merge_tokens


class Progress:
    """Steps counted over the passes of one call, so that the user sees one bar."""

    def __init__(self, ctx: JobContext, total: int) -> None:
        self.ctx = ctx
        self.total = total
        self.before = 0

    def step(self, done: int, preview: Callable[[], Image.Image] | None) -> None:
        self.ctx.report_progress(min(self.before + done, self.total), self.total, preview)

    def take_share(self, start: float, steps: float) -> Progress:
        """A progress of its own whose `total`, once that is known, counts as `steps` of this one's, from `start` on."""
        return _ShareOfProgress(self, start, steps)


class _ShareOfProgress(Progress):
    def __init__(self, whole: Progress, start: float, steps: float) -> None:
        super().__init__(whole.ctx, 1)
        self._whole, self._start, self._steps = whole, start, steps

    def step(self, done: int, preview: Callable[[], Image.Image] | None) -> None:
        share = min(self.before + done, self.total) / max(1, self.total)
        whole = self._whole
        self.ctx.report_progress(min(int(self._start + self._steps * share), whole.total), whole.total, preview)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass. `request` says everything in full (steps, guidance, sizes are set); `steps` are those that are really
    run; `inputs` are further arguments of the pipeline call; `latents` asks for latents instead of images; `prompts`
    says what its prompts are read with."""

    spec: PipelineSpec
    model: Model
    request: GenerationRequest
    seeds: tuple[ImageSeed, ...]
    steps: int
    first_pass: int | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    latents: bool = False
    prompts: conditioning.PromptTools = field(default_factory=conditioning.PromptTools)
    refiner: Refiner | None = None


def make_pipeline_view(pipe: Any, *, class_name: str | None = None, **parts: Any) -> Any:
    """A pipeline of this run alone around `pipe`'s components, with `parts` in place of some of them. What is set on it
    (scheduler, VAE, tokenizer) is never seen by the resident one."""
    import diffusers

    cls = getattr(diffusers, class_name) if class_name else type(pipe)
    known = inspect.signature(cls.__init__).parameters
    config = {
        name: value for name, value in pipe.config.items() if name in known and not isinstance(value, list | tuple)
    }
    fresh = cls(**{**config, **{name: part for name, part in pipe.components.items() if name in known}, **parts})
    fresh.set_progress_bar_config(disable=True)
    channels = fresh.vae.config.get("latent_channels") or fresh.vae.config.get("z_dim")
    if channels and hasattr(
        fresh, "image_processor"
    ):  # it distinguishes latents from images; some classes do not set it
        fresh.image_processor.register_to_config(vae_latent_channels=channels)
    return fresh


def choose_scheduler(pipe: Any, request: GenerationRequest, model: Model) -> Any:
    """A fresh scheduler: the request's sampler, else the model's default one, else a new one of the checkpoint's own
    kind."""
    config, sampling = pipe.scheduler.config, model.sampling
    if not sampling.combinations:
        return type(pipe.scheduler).from_config(config)
    sampler = request.sampler or sampling.sampler
    schedule = request.schedule or ("Automatic" if request.sampler else sampling.schedule)
    return make_scheduler(sampler, schedule, config, xl="XL" in type(pipe).__name__)


def run_pass(pipe: Any, task: Pass, previewer: Previewer, progress: Progress, ctx: JobContext) -> Any:
    """The images of `task` as a list of PIL RGB, or its latents as the pipeline holds them.

    `pipe` is a view with its own scheduler. Leaves no trace in the shared components, cancelled or not.
    """
    with ctx.phase("encode"):
        prompts, conditions = _build_prompts(pipe, task)
    generators = noise.prepare_generators(pipe, task.seeds, task.request)
    accepted = inspect.signature(pipe.__call__).parameters
    arguments = {
        **task.spec.arguments(task.request, task.model),
        **prompts,
        **_build_callback_arguments(accepted, _make_step_callback(pipe, task, conditions, previewer, progress, ctx)),
        "num_inference_steps": task.request.steps,
        "generator": generators,
        "output_type": "latent" if task.latents else "pil",
        **task.inputs,
    }
    if getattr(pipe.scheduler, "needs_unguided", False):
        arguments["guidance_scale"] = raise_guidance(pipe.unet, task.request.guidance or 0.0)
    for name in ("width", "height"):
        if name in accepted:
            arguments[name] = getattr(task.request, name)
    with ExitStack() as stack:
        if conditions is not None:
            stack.enter_context(conditions.apply_composition(pipe))
            stack.enter_context(_guide_by_attention(pipe, task, conditions))
        if task.refiner is not None:
            with ctx.phase("encode"):
                refined = _encode(task.refiner.pipe, task.refiner.request, task, task.refiner.prompts)
            stack.enter_context(switch_models(pipe, task.refiner, refined, len(task.seeds)))
        for change in _list_network_changes(pipe, task):
            stack.enter_context(change)
        stack.enter_context(_time_phases(pipe, ctx, task.model.title))
        images = pipe(**arguments).images
    return (
        finite_values.check_latents(images, task.model.title)
        if task.latents
        else [image.convert("RGB") for image in images]
    )


def _build_prompts(pipe: Any, task: Pass) -> tuple[dict[str, Any], conditioning.Conditioning | None]:
    request, images = task.request, len(task.seeds)
    if task.spec.clip and request.task is not Task.EDIT:  # instructions are plain text, guided in two directions
        found = _encode(pipe, request, task, task.prompts)
        return found.arguments(), found
    cache_encoding(pipe, task.prompts.cache)
    prompts: dict[str, Any] = {"prompt": [request.prompt] * images}
    if "negative_prompt" in inspect.signature(pipe.__call__).parameters and request.negative_prompt.strip():
        prompts["negative_prompt"] = [request.negative_prompt] * images
    return prompts, None


@contextmanager
def _guide_by_attention(pipe: Any, task: Pass, conditions: conditioning.Conditioning) -> Iterator[None]:
    """Within the block the UNet is guided by perturbed and by blurred attention, where the request asks for it."""
    request, images = task.request, len(task.seeds)
    plain = not (conditions.is_composed or request.control or request.references)
    unguided = pipe.unet.forward
    with ExitStack() as stack:
        if request.pag_scale and request.guidance is not None:
            stack.enter_context(
                guide_by_perturbation(pipe.unet, request.guidance, request.pag_scale, images, halves=plain)
            )
        if request.sag_scale and request.guidance is not None:
            stack.enter_context(guide_by_self_attention(pipe, unguided, request, images, halves=plain))
        yield


def _list_network_changes(pipe: Any, task: Pass) -> Iterator[AbstractContextManager[None]]:
    """What the request asks of the network for this pass, in the order in which it is put around it."""
    request = task.request
    if request.skip_layers and (request.guidance or 0) > 1:
        yield guide_by_skipped_layers(pipe, request, len(task.seeds))
    if not task.spec.clip:
        return
    if request.guidance_rescale > 0 and request.guidance is not None:
        yield rescale_guidance(pipe.unet, request.guidance, request.guidance_rescale, len(task.seeds))
    if request.mimic_scale and request.guidance is not None:
        yield threshold_guidance(pipe.unet, pipe.scheduler, request, len(task.seeds))
    if request.freeu:
        yield apply_freeu(pipe.unet, request.freeu)
    if request.token_merging_ratio:
        yield merge_tokens(pipe.unet, request.token_merging_ratio)
    if request.tiling:
        refined = [task.refiner.pipe.unet] if task.refiner is not None else []
        yield wrap_edges(pipe.unet, pipe.vae, *refined)
    if getattr(pipe.scheduler, "needs_unguided", False):  # around all else that guides
        yield split_guidance(pipe.unet, pipe.scheduler, len(task.seeds), request.guidance or 0.0)


def _encode(
    pipe: Any, request: GenerationRequest, task: Pass, tools: conditioning.PromptTools
) -> conditioning.Conditioning:
    return conditioning.encode_prompts(
        pipe, request, steps=task.steps, images=len(task.seeds), first_pass=task.first_pass, tools=tools
    )


def _build_callback_arguments(accepted: Collection[str], after_step: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The arguments that let the pipeline call `after_step`: under its name of today, or of 2022 in the few that kept
    it."""
    if "callback_on_step_end" in accepted:
        return {"callback_on_step_end": after_step}
    return {"callback": lambda step, timestep, latents: after_step(None, step, timestep, {"latents": latents})}


def _make_step_callback(
    pipe: Any,
    task: Pass,
    conditions: conditioning.Conditioning | None,
    previewer: Previewer,
    progress: Progress,
    ctx: JobContext,
) -> Callable[..., dict[str, Any]]:
    preview = _make_preview(pipe, task, previewer, ctx) if ctx.settings.previews else None

    def after_step(_: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        calls = getattr(pipe, "num_timesteps", task.steps)  # samplers of second order call the model twice a step
        shown = preview if preview is not None and can_show(pipe, tensors["latents"]) else None
        share = getattr(pipe.scheduler, "share_done", None)  # of samplers that choose their steps by themselves
        progress.step((index + 1) * task.steps // calls if share is None else int(share * task.steps), shown)
        if getattr(pipe.scheduler, "is_finished", False):
            pipe._interrupt = True  # the pipeline leaves the timesteps out that are not needed
        changed = conditions.at_call(index + 1) if conditions is not None and index + 1 < calls else None
        return changed or {}

    return after_step


def _make_preview(pipe: Any, task: Pass, previewer: Previewer, ctx: JobContext) -> Callable[[], Image.Image]:
    prediction = StepRecorder(pipe.scheduler)
    width, height = task.request.width or 0, task.request.height or 0
    return lambda: previewer.decode_preview(
        unpack_latents(pipe, prediction.predict_clean(), height, width), ctx.settings.preview_side
    )


@contextmanager
def _time_phases(pipe: Any, ctx: JobContext, title: str) -> Iterator[None]:
    """Time denoising and decoding apart, and let a decode that runs out of memory try again in tiles: the steps are
    kept. Numbers that overflow are never taken for an image."""
    vae = pipe.vae
    decode = vae.decode
    timer = ExitStack()

    def decode_timed(z: Any, **kwargs: Any) -> Any:
        timer.close()
        finite_values.check_latents(z, title)
        with ctx.phase("decode"):
            try:
                return finite_values.decode_finite(vae, decode, z, ctx.add_notice, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not device_memory.is_out_of_memory(error) or vae.use_tiling:
                    raise
            device_memory.release_memory()
            ctx.add_notice("Low memory: the image was decoded in tiles.")
            with enable_vae_tiling(vae):
                return finite_values.decode_finite(vae, decode, z, ctx.add_notice, **kwargs)

    before = vars(vae).get("decode")
    vae.decode = decode_timed
    try:
        with timer:
            timer.enter_context(ctx.phase("denoise"))
            yield
    finally:
        if before is None:
            del vae.decode
        else:
            vae.decode = before


@contextmanager
def enable_vae_tiling(vae: Any) -> Iterator[None]:
    """Within the block the VAE works image by image and tile by tile."""
    before = vae.use_slicing, vae.use_tiling
    vae.use_slicing = vae.use_tiling = True
    try:
        yield
    finally:
        vae.use_slicing, vae.use_tiling = before


def resolve_defaults(request: GenerationRequest, model: Model) -> GenerationRequest:
    """The request with the model's defaults filled in: width, height, steps and guidance are set."""
    width, height = model.get_size(request)
    guidance = model.sampling.guidance if request.guidance is None else request.guidance
    return request.replace(width=width, height=height, steps=request.steps or model.sampling.steps, guidance=guidance)
