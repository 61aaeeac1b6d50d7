"""A resident checkpoint made ready for one pass, run, and left as it was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from studio.core.ports import ImageSeed, JobContext
from studio.pipelines import device_memory
from studio.pipelines.accelerate.cuda_graphs import replay_denoiser
from studio.pipelines.accelerate.torch_options import apply_torch_options, arrange_channels
from studio.pipelines.catalog.file_stamps import read_stamp
from studio.pipelines.control import apply_control
from studio.pipelines.control.apply_control import ControlPlan
from studio.pipelines.registry import PipelineKey, ResidentPipeline
from studio.pipelines.run import diffusion, embeddings
from studio.pipelines.run.conditioning import PromptTools
from studio.pipelines.run.diffusion import Pass, Progress
from studio.pipelines.run.offloading import offload_parts
from studio.pipelines.run.oom_fallbacks import OomFallbacks
from studio.pipelines.run.refining import Refiner, check_predictions
from studio.pipelines.run.region_loras import RegionLoras
from studio.pipelines.run.run_plan import PassPlan, Resources
from studio.pipelines.run.source_images import Part
from studio.pipelines.run.tiled_diffusion import Tiles, draw_in_tiles
from studio.pipelines.upscale import upscale_request
from studio.pipelines.upscale.upscale_image import Upscaler


@dataclass(frozen=True, kw_only=True)
class OpenedPipeline:
    """A pipeline of this pass alone around resident components. `inputs` are what its call needs besides, to be
    steered."""

    held: ResidentPipeline
    pipe: Any
    plan: PassPlan
    inputs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PassRunner:
    """Opens and runs the passes of one call. `frugal` decodes in tiles."""

    resources: Resources
    ctx: JobContext
    oom_fallbacks: OomFallbacks
    frugal: bool

    @contextmanager
    def open(
        self, what: PassPlan, batch: int, *, class_name: str | None = None, control: ControlPlan | None = None
    ) -> Iterator[OpenedPipeline]:
        """The plan's checkpoint, resident, and a pipeline of the class `class_name` (None: the checkpoint's own) around
        it, with LoRAs, VAE, embeddings and control on."""
        resources, oom_fallbacks = self.resources, self.oom_fallbacks
        offloaded = oom_fallbacks.offloaded
        options = resources.choose_options(what.model.id, what.spec, what.weight, bool(what.loras or what.region_loras))
        if offloaded:
            options = dataclasses.replace(options, device="cpu")
        stamp = read_stamp(what.weight.path)
        key = PipelineKey(what.model.id, options.device, options.format, offloaded, stamp)
        resources.registry.drop_changed(key, what.model.title, self.ctx.add_notice)
        oom_fallbacks.working = key
        working = resources.peaks.get_expected_peak(what.model.id, *what.computed_size, batch)

        # also while another thread loads it, as the studio does when it starts
        if not resources.registry.is_resident(key):
            self.ctx.report_loading(f"Loading {what.model.title}")

        def load() -> Any:
            with self.ctx.phase("load"):
                return resources.load(what.model.title, what.spec, what.weight, options)

        expected = resources.plan_load(key, what.model.title, what.weight, options)
        with (
            resources.registry.lease(key, what.model.title, load, expected=expected, working=working) as held,
            ExitStack() as stack,
        ):
            held.report_notices(self.ctx.add_notice)
            if what.removed_tags:
                tags = ", ".join(what.removed_tags)
                self.ctx.add_notice(f"Left out of the prompt: {tags}. Only LoRAs are written as tags.")
            loaded = held.load_vae(what.vae)
            for notice in (*held.adapters.apply(held.pipe, what.loras), *loaded.notices):
                self.ctx.add_notice(notice)
            scheduler = diffusion.choose_scheduler(held.pipe, what.request, what.model)
            loaded_control = stack.enter_context(apply_control.lease_control(control, resources, options, self.ctx))
            class_name = loaded_control.class_name or class_name
            pipe = diffusion.make_pipeline_view(
                held.pipe, class_name=class_name, scheduler=scheduler, vae=loaded.vae, **loaded_control.parts
            )
            if resources.device == "cuda":  # on a CPU the weights may be read by what compiles them
                arrange_channels(pipe.vae, self.ctx.settings.channels_last)
            if offloaded:
                stack.enter_context(offload_parts(pipe, resources.device, oom_fallbacks.offload_by))
            stack.enter_context(self._accelerate(held, pipe, what))
            stack.enter_context(embeddings.activate_embeddings(pipe, what.embeddings, self.ctx.add_notice))
            stack.enter_context(
                device_memory.measure_peak(resources.device, lambda peak: self._record_peak(what, batch, peak))
            )
            if what.request.tile_size:  # within all that steers the UNet
                tiles = Tiles.of(what.request, pipe.vae_scale_factor)
                stack.enter_context(draw_in_tiles(pipe.unet, tiles, self.ctx.raise_if_cancelled))
            stack.enter_context(loaded_control.on(pipe, batch))
            yield OpenedPipeline(held=held, pipe=pipe, plan=what, inputs=loaded_control.inputs)

    def run(self, opened: OpenedPipeline, seeds: tuple[ImageSeed, ...], progress: Progress, **more: Any) -> Any:
        """The images of `seeds`, or their latents; `more` are fields of Pass, `part` what is drawn where that is a part
        of the image alone."""
        planned = opened.plan.refiner
        if planned is None:
            return self._run(opened, seeds, progress, **more)
        with self.open(planned, len(seeds)) as refined:
            check_predictions(opened.pipe, refined.pipe, planned.model.title)
            self._keep_prompts(refined)
            refiner = Refiner(
                pipe=refined.pipe,
                request=planned.request,
                switch=opened.plan.request.refiner_switch,
                prompts=self._choose_tools(refined, more.get("part")),
            )
            return self._run(opened, seeds, progress, refiner=refiner, **more)

    @contextmanager
    def _accelerate(self, held: ResidentPipeline, pipe: Any, what: PassPlan) -> Iterator[None]:
        """Within the block the networks run as the settings say. Entered before what steers the run is put around them;
        compiled and recorded ones do not see what changes inside."""
        settings, tell = self.ctx.settings, self.ctx.add_notice
        with ExitStack() as stack:
            stack.enter_context(apply_torch_options(pipe, settings, tell))
            if not what.changes_networks:
                stack.enter_context(replay_denoiser(held.graphs, pipe, settings, tell))
                if self.resources.accelerator is not None:
                    stack.enter_context(self.resources.accelerator.accelerate(held, pipe, self.ctx))
            yield

    def _keep_prompts(self, opened: OpenedPipeline) -> None:
        files = ((file.path, read_stamp(file.path)) for file in opened.plan.embeddings)
        opened.held.prompts.keep_for((opened.held.adapters.changes, *files))

    def _choose_tools(self, opened: OpenedPipeline, part: Part | None) -> PromptTools:
        held, plan = opened.held, opened.plan
        loras = None
        if plan.region_loras:
            general = tuple(use for _, use in plan.loras)
            loras = RegionLoras(pipe=held.pipe, adapters=held.adapters, general=general, uses=plan.region_loras)
        return PromptTools(cache=held.prompts, load_image=self.ctx.load_image, part=part, loras=loras)

    def _run(
        self,
        opened: OpenedPipeline,
        seeds: tuple[ImageSeed, ...],
        progress: Progress,
        *,
        part: Part | None = None,
        **more: Any,
    ) -> Any:
        import torch

        what, pipe = opened.plan, opened.pipe
        given = {"steps": what.steps, **more, "inputs": {**opened.inputs, **more.get("inputs", {})}}
        self._keep_prompts(opened)
        prompts = self._choose_tools(opened, part)
        task = Pass(spec=what.spec, model=what.model, request=what.request, seeds=seeds, prompts=prompts, **given)
        tiles = diffusion.enable_vae_tiling(pipe.vae) if self.frugal else nullcontext()
        with tiles, torch.inference_mode():
            return diffusion.run_pass(pipe, task, opened.held.get_previewer(pipe.vae), progress, self.ctx)

    def upscaler(self, name: str) -> AbstractContextManager[Upscaler]:
        """The upscaler of that name, resident."""
        return upscale_request.lease_upscaler(self.resources, name, self.ctx)

    def model_upscaler(self, what: PassPlan) -> AbstractContextManager[Upscaler]:
        """The upscaler that the plan's checkpoint brings for its own images, resident."""
        return upscale_request.lease_model_upscaler(self.resources, what.weight, self.ctx)

    def _record_peak(self, what: PassPlan, batch: int, peak: int) -> None:
        self.ctx.record_peak_memory(peak)
        whole = what.computed_size == what.size
        if whole and self.resources.device == "cuda" and not self.oom_fallbacks.offloaded:
            weights = self.resources.registry.resident_bytes
            self.resources.peaks.record_peak(what.model.id, what.size, batch, max(0, peak - weights))
