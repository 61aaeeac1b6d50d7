"""One call of `render`, from the request to pictures: what to load, what to put on, one pass or two, and what if memory ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.errors import ModelBroken
from studio.core.model import Model
from studio.core.ports import JobContext, LoadOptions, PictureSeed, PipelineSpec
from studio.core.request import GenerationRequest, Hires, Saving
from studio.core.weights import Kind, WeightFile
from studio.pipelines import diffusion, embeddings, hires, memory, saving, upscale
from studio.pipelines.diffusion import Pass, Progress
from studio.pipelines.ladder import Ladder
from studio.pipelines.lora import check_family
from studio.pipelines.memory import Peaks
from studio.pipelines.preview import as_map, can_show
from studio.pipelines.registry import Held, Key, Registry
from studio.prompting.networks import extract_loras, with_tags_as_loras

if TYPE_CHECKING:
    from studio.pipelines.catalog import Catalog


@dataclass(frozen=True)
class Resources:
    """What all calls share. `device` is "cpu", "cuda" or "mps"; `precision` a torch dtype's name or "auto"."""

    catalog: Catalog
    registry: Registry
    peaks: Peaks
    device: str
    precision: str

    def model(self, model_id: str) -> Model:
        """The catalog's entry."""
        self.catalog.checkpoint(model_id)  # says it best when there is none
        return next(model for model in self.catalog.models() if model.id == model_id)

    def options(self, spec: PipelineSpec) -> LoadOptions:
        """Where and how to load: float16 for the CLIP families on a graphics card, whose weights were made in it, bfloat16
        for the rest, float32 on a CPU."""
        precision = self.precision
        if precision == "auto":
            precision = "float32" if self.device == "cpu" else "float16" if spec.clip else "bfloat16"
        return LoadOptions(device=self.device, dtype=precision)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One pass with everything looked up and checked. `request` is resolved."""

    model: Model
    weight: WeightFile
    spec: PipelineSpec
    request: GenerationRequest
    loras: tuple[tuple[WeightFile, float], ...]
    embeddings: tuple[WeightFile, ...]
    vae: WeightFile | None

    @property
    def steps(self) -> int:
        assert self.request.steps is not None
        return self.request.steps

    @property
    def size(self) -> tuple[int, int]:
        assert self.request.width is not None
        assert self.request.height is not None
        return self.request.width, self.request.height


def plan(resources: Resources, request: GenerationRequest) -> Plan:
    """Look up everything that a pass needs and refuse what does not go together, before anything is loaded.

    Raises:
        UnknownModel, InvalidRequest: a name that is not there, a LoRA of another family.
    """
    catalog = resources.catalog
    model, weight = resources.model(request.model), catalog.checkpoint(request.model)
    spec = catalog.spec(weight)
    request = with_tags_as_loras(request)
    request = diffusion.resolved(request.replace(negative_prompt=extract_loras(request.negative_prompt)[0]), model)
    loras = tuple((catalog.find(Kind.LORA, use.name), use) for use in request.loras)
    check_family(loras, spec.family, model.title)
    files: list[WeightFile] = []
    if spec.clip:
        known = [file for file in catalog.weights() if file.kind is Kind.EMBEDDING and not file.problem]
        request, files = embeddings.named_in(request, known)
    return Plan(
        model=model, weight=weight, spec=spec, request=request,
        loras=tuple((file, use.weight) for file, use in loras), embeddings=tuple(files),
        vae=catalog.find(Kind.VAE, request.vae) if request.vae else None,
    )  # fmt: skip


class Rendering:
    """One pass of the engine: `pictures(seeds)` may be called once."""

    def __init__(self, resources: Resources, request: GenerationRequest, ctx: JobContext) -> None:
        self._resources = resources
        self._ctx = ctx
        model = resources.model(request.model)
        if request.saving is Saving.TIME:
            request, told = saving.save_time(request, model)
            ctx.notice(told)
        self._frugal = request.saving is Saving.MEMORY
        offload = self._frugal and resources.device == "cuda"
        self._ladder = Ladder(resources.registry, ctx, device=resources.device, offloaded=offload)
        if self._frugal:
            ctx.notice(f"{saving.MEMORY_NOTICE} {saving.OFFLOAD_NOTICE if offload else ''}".strip())
        self._first = plan(resources, request)
        self._hires = request.hires
        self._second = self._plan_second(request.hires) if request.hires else None

    def pictures(self, seeds: Sequence[PictureSeed]) -> list[Image.Image]:
        """A picture per seed, in order."""
        groups = [[seed] for seed in seeds] if self._frugal else [list(seeds)]
        progress = Progress(self._ctx, self._steps() * len(groups))
        pictures: list[Image.Image] = []
        for number, group in enumerate(groups):

            def attempt(part: Sequence[PictureSeed], before: int = number * self._steps()) -> list[Image.Image]:
                progress.before = before
                return self._attempt(tuple(part), progress)

            pictures += self._ladder.run(group, attempt)
        return pictures

    def _steps(self) -> int:
        return self._first.steps + (self._second.steps if self._second and self._redraws else 0)

    @property
    def _redraws(self) -> bool:
        return self._hires is not None and self._hires.strength > 0

    def _plan_second(self, wish: Hires) -> Plan:
        first, catalog = self._first, self._resources.catalog
        model = self._resources.model(wish.model or first.model.id)
        upscalers = tuple(file.name for file in catalog.weights() if file.kind is Kind.UPSCALER and not file.problem)
        hires.check(
            wish,
            first.spec.family,
            catalog.spec(catalog.checkpoint(model.id)).family,
            (*upscale.RESAMPLERS, *upscalers),
        )
        return plan(self._resources, hires.second_request(first.request, wish, first.model, model))

    def _attempt(self, seeds: tuple[PictureSeed, ...], progress: Progress) -> list[Image.Image]:
        first, second, wish = self._first, self._second, self._hires
        if second is None or wish is None:
            with self._pipeline(first, len(seeds)) as (held, pipe):
                return self._run(held, pipe, first, seeds, progress)
        source = self._enlarged_first(seeds, progress, second, wish)
        if not self._redraws:
            return source
        progress.before += first.steps
        total, strength = hires.timing(second.steps, wish.strength)
        inputs = {"image": source, "strength": strength, "num_inference_steps": total}
        with self._pipeline(second, len(seeds), class_name=second.spec.image_to_image) as (held, pipe):
            return self._run(held, pipe, second, seeds, progress, inputs=inputs, first_pass=first.steps)

    def _enlarged_first(self, seeds: tuple[PictureSeed, ...], progress: Progress, second: Plan, wish: Hires) -> Any:
        """The first pass at the second's size: latents where the upscaler works on them, else pictures."""
        first = self._first
        with self._pipeline(first, len(seeds)) as (held, pipe):
            latent = hires.is_latent(wish) and self._redraws and self._can_enlarge(pipe, first)
            drawn = self._run(held, pipe, first, seeds, progress, latents=latent)
            if latent:
                width, height = first.size
                latents = as_map(pipe, drawn, height, width)
                return hires.enlarge_latents(latents, wish.upscaler, *second.size, width // latents.shape[-1])
        return [self._enlarged(image, second.size, wish) for image in drawn]

    def _run(
        self, held: Held, pipe: Any, what: Plan, seeds: tuple[PictureSeed, ...], progress: Progress, **more: Any
    ) -> Any:
        import torch

        task = Pass(spec=what.spec, model=what.model, request=what.request, seeds=seeds, steps=what.steps, **more)
        tiles = diffusion.tiled(pipe.vae) if self._frugal else nullcontext()
        with tiles, torch.inference_mode():
            return diffusion.run(pipe, task, held.previewer(pipe.vae), progress, self._ctx)

    def _can_enlarge(self, pipe: Any, what: Plan) -> bool:
        """Whether this family's latents can be enlarged as a map; if not, the picture is, and the user is told."""
        import torch

        dimensions = 3 if hasattr(pipe, "_unpack_latents") else 4
        if can_show(pipe, torch.empty([0] * dimensions)):
            return True
        self._ctx.notice(f"Latents of {what.spec.title} cannot be enlarged: the picture was, by Lanczos.")
        return False

    def _enlarged(self, image: Image.Image, size: tuple[int, int], wish: Hires) -> Image.Image:
        kind = upscale.RESAMPLERS.get(wish.upscaler)
        if kind is not None or hires.is_latent(wish):
            return image.resize(size, kind or Image.Resampling.LANCZOS)
        with self._upscaler(wish.upscaler) as upscaler:
            return upscale.enlarge(image, size, upscaler, self._resources.device)

    @contextmanager
    def _upscaler(self, name: str) -> Iterator[upscale.Upscaler]:
        file, device = self._resources.catalog.find(Kind.UPSCALER, name), self._resources.device

        def load() -> upscale.Upscaler:
            self._ctx.loading(f"Loading {name}")
            with self._ctx.stage("load"):
                return upscale.load_upscaler(file, device)

        with self._resources.registry.lease(Key(name, device, ""), name, load, expected=file.bytes) as held:
            yield held.pipe

    @contextmanager
    def _pipeline(self, what: Plan, batch: int, *, class_name: str | None = None) -> Iterator[tuple[Held, Any]]:
        """The plan's checkpoint, resident, and a pipeline of this run alone around it, with LoRAs, VAE and embeddings on."""
        resources, ctx = self._resources, self._ctx
        offloaded = self._ladder.offloaded
        options = resources.options(what.spec)
        if offloaded:
            options = LoadOptions(device="cpu", dtype=options.dtype)
        key = Key(what.model.id, options.device, options.dtype, offloaded)
        self._ladder.working = key
        working = resources.peaks.expected(what.model.id, *what.size, batch)

        def load() -> Any:
            ctx.loading(f"Loading {what.model.title}")
            with ctx.stage("load"):
                return load_checkpoint(what.spec, what.weight, options)

        expected = what.weight.bytes * (2 if options.dtype == "float32" else 1)
        with (
            resources.registry.lease(key, what.model.title, load, expected=expected, working=working) as held,
            ExitStack() as stack,
        ):
            held.adapters.wear(held.pipe, what.loras)
            vae = held.vae(what.vae)
            scheduler = diffusion.scheduler_for(held.pipe, what.request, what.model)
            pipe = diffusion.view(held.pipe, class_name=class_name, scheduler=scheduler, vae=vae)
            if offloaded:
                pipe.enable_model_cpu_offload(device=resources.device)
                stack.callback(_bring_back, pipe)
            stack.enter_context(embeddings.worn(pipe, what.embeddings))
            stack.enter_context(memory.measured(resources.device, lambda peak: self._remember(what, batch, peak)))
            yield held, pipe

    def _remember(self, what: Plan, batch: int, peak: int) -> None:
        self._ctx.peak_memory(peak)
        if self._resources.device == "cuda" and not self._ladder.offloaded:
            weights = self._resources.registry.resident_bytes
            self._resources.peaks.remember(what.model.id, what.size, batch, max(0, peak - weights))


def load_checkpoint(spec: PipelineSpec, weight: WeightFile, options: LoadOptions) -> Any:
    """The family's loader.

    Raises:
        ModelBroken: a file that does not hold what its header promised.
        what torch raises when memory runs out.
    """
    from safetensors import SafetensorError

    try:
        return spec.load(weight, options)
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        if memory.is_full(error):
            raise
        raise ModelBroken(
            f"The checkpoint {weight.name} cannot be loaded: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="Download it again, or pick another model.",
            details={"file": weight.path.name},
        ) from error


def _bring_back(pipe: Any) -> None:
    """After an offloaded run, also a cancelled one: hooks off, everything in the computer's memory again."""
    pipe.remove_all_hooks()
    pipe.to("cpu")
