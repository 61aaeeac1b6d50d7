"""Plan a pass: look up and check everything before anything is loaded."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidRequest
from studio.core.model import Feature, Model
from studio.core.ports import Annotators, LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest, LoraUse
from studio.core.request_choices import RegionMode
from studio.core.settings import AUTOMATIC_PRECISIONS
from studio.core.weight_reading import convert_weights, disable_mapping
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.accelerate.small_weights import EXACT_STORAGES, STORAGE, choose_read_options, keep_weights_small
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.device_memory import PeakStore
from studio.pipelines.load_errors import translate_load_errors
from studio.pipelines.load_notices import add_load_notice, report_unused_weights
from studio.pipelines.registry import PipelineKey, PipelineRegistry
from studio.pipelines.run import diffusion, embeddings
from studio.pipelines.run.lora import find_loras
from studio.pipelines.run.refining import check_refiner
from studio.pipelines.run.region_checks import check_regions
from studio.pipelines.run.region_loras import Uses, check_region_loras, merge_region_loras, move_region_tags
from studio.pipelines.weight_sizes import check_room, estimate_loaded_bytes, find_storage, measure_room
from studio.prompting.networks import extract_loras, remove_other_tags

if TYPE_CHECKING:
    from studio.pipelines.accelerate.accelerator import Accelerator
    from studio.pipelines.catalog.catalog import Catalog


@dataclass(frozen=True)
class Resources:
    """Resources of all calls. `device` is "cpu", "cuda" or "mps"; `precision` the setting of that name."""

    catalog: Catalog
    registry: PipelineRegistry
    peaks: PeakStore
    device: str
    precision: str
    annotators: Annotators | None = None
    accelerator: Accelerator | None = None

    def model(self, model_id: str) -> Model:
        """The catalog's entry."""
        self.catalog.checkpoint(model_id)  # says it best when there is none
        return next(model for model in self.catalog.models() if model.id == model_id)

    def options(self, spec: PipelineSpec) -> LoadOptions:
        """Device and number format of a load: float16 for the CLIP families on a graphics card, whose weights were made
        in it, bfloat16 for the rest, float32 on a CPU. With "float8" the weights are kept in 8 bits."""
        precision = self.precision
        if precision in AUTOMATIC_PRECISIONS:
            precision = "float32" if self.device == "cpu" else "float16" if spec.clip else "bfloat16"
        storage = STORAGE if self.precision == "float8" else ""
        return LoadOptions(device=self.device, dtype=precision, storage=storage)

    def choose_options(self, model: str, spec: PipelineSpec, weight: WeightFile, changed: bool = False) -> LoadOptions:
        """As `options`, but with a denoiser kept in the 16 bits that it was written in where the checkpoint would else
        not fit into the memory of a CPU: the images are the same, a step takes longer. Not for a job by which weights
        are `changed`."""
        options = self.options(spec)
        if changed or self.device != "cpu" or self.precision != "auto":
            return options
        if self.registry.is_resident(PipelineKey(model, options.device, options.format)):
            return options
        small = dataclasses.replace(options, storage=find_storage(weight))
        if self.registry.is_resident(PipelineKey(model, small.device, small.format)):
            return small
        idle = self.registry.measure_idle()
        room = measure_room(self.registry.measure_room() + idle, idle)
        return small if small.storage and estimate_loaded_bytes(weight, options) > room else options

    def plan_load(self, key: PipelineKey, title: str, weight: WeightFile, options: LoadOptions) -> int:
        """Bytes that a checkpoint takes, 0 for one that is resident, whose files are not looked at again.

        Raises:
            OutOfMemory: it would not fit even if all idle models left; none does then.
        """
        if self.registry.is_resident(key):
            return 0
        wanted, idle = estimate_loaded_bytes(weight, options), self.registry.measure_idle()
        check_room(title, wanted, self.registry.measure_room() + idle, self.device, idle)
        return wanted

    def load(self, title: str, spec: PipelineSpec, weight: WeightFile, options: LoadOptions) -> Any:
        """The checkpoint's pipeline, for a lease that has made room for it.

        Raises:
            OutOfMemory: there is less room than it needs. Else as `load_checkpoint`.
        """
        wanted = estimate_loaded_bytes(weight, options)
        self.registry.make_room(wanted)  # it may have left again since the lease asked for it
        check_room(title, wanted, self.registry.measure_room(), self.device)
        return load_checkpoint(spec, weight, options)


@dataclass(frozen=True, kw_only=True)
class PassPlan:
    """One pass with everything looked up and checked. `request` is resolved, without the tags that `prompt`, as it was
    asked for, has; `removed_tags` are those of them that name nothing that there is; `region_loras` are the LoRAs of
    each region, where they differ."""

    model: Model
    weight: WeightFile
    spec: PipelineSpec
    request: GenerationRequest
    prompt: str
    loras: tuple[tuple[WeightFile, LoraUse], ...]
    embeddings: tuple[WeightFile, ...]
    vae: WeightFile | None
    region_loras: tuple[Uses, ...] = ()
    removed_tags: tuple[str, ...] = ()
    refiner: PassPlan | None = None

    @property
    def steps(self) -> int:
        assert self.request.steps is not None
        return self.request.steps

    @property
    def changes_networks(self) -> bool:
        """Whether layers inside the networks work otherwise during the pass."""
        attends = self.request.regions is not None and self.request.region_mode is RegionMode.ATTENTION
        request = self.request
        guides = request.pag_scale or request.sag_scale or request.skip_layers
        return bool(
            attends or self.region_loras or request.tiling or request.freeu or guides or request.token_merging_ratio
        )

    @property
    def size(self) -> tuple[int, int]:
        assert self.request.width is not None
        assert self.request.height is not None
        return self.request.width, self.request.height

    @property
    def computed_size(self) -> tuple[int, int]:
        """Width and height in px of what the model computes at once: the image, or a tile of it."""
        tile = self.request.tile_size
        width, height = self.size
        return (min(width, tile), min(height, tile)) if tile else (width, height)


def plan_pass(resources: Resources, request: GenerationRequest) -> PassPlan:
    """Look up everything that a pass needs and refuse what does not go together, before anything is loaded.

    Raises:
        UnknownModel, InvalidRequest: a name that is not there, a LoRA of another family.
    """
    catalog = resources.catalog
    model, weight = resources.model(request.model), catalog.checkpoint(request.model)
    spec = catalog.spec(weight)
    asked_prompt = request.prompt
    request, own = move_region_tags(request)
    prompt, removed = remove_other_tags(request.prompt)
    request = request.replace(prompt=prompt)
    request = diffusion.resolve_defaults(
        request.replace(negative_prompt=extract_loras(request.negative_prompt)[0]), model
    )
    check_regions(request)
    own = own if Feature.LORA in model.features else ()
    uses, region_loras = merge_region_loras(request.loras, own)
    loras = find_loras(catalog, uses, spec.family, model.title)
    check_region_loras(request, own, loras)
    if loras and resources.precision == "float8":
        raise InvalidRequest(
            "LoRAs cannot be used while weights are kept in 8 bits.",
            hint="Remove the LoRAs, or choose another precision in Configurations.",
        )
    files: list[WeightFile] = []
    if spec.clip and Feature.EMBEDDING in model.features:
        request, files = embeddings.find_embeddings(request, catalog.weights(), spec.family)
    return PassPlan(
        model=model,
        weight=weight,
        spec=spec,
        request=request,
        prompt=asked_prompt,
        loras=loras,
        region_loras=region_loras,
        embeddings=tuple(files),
        vae=catalog.find(WeightKind.VAE, request.vae) if request.vae else None,
        removed_tags=removed,
        refiner=_plan_refiner(resources, request, asked_prompt, model) if request.refiner and spec.clip else None,
    )


def _plan_refiner(resources: Resources, request: GenerationRequest, prompt: str, model: Model) -> PassPlan | None:
    """The pass that `request`'s refiner would make of it, None where that is the model itself. LoRAs are put on it too,
    those whose tags `prompt` has included, but for a refiner by trade, which has other layers."""
    assert request.refiner is not None
    found = resources.model(resources.catalog.checkpoint(request.refiner).name)
    if found.id == model.id:
        return None
    check_refiner(model, found)
    takes_loras = Feature.LORA in found.features
    asked = request.replace(
        model=found.id,
        prompt=prompt if takes_loras else request.prompt,
        refiner=None,
        hires=None,
        control=(),
        references=(),
        sampler=request.sampler or model.sampling.sampler,
        schedule=request.schedule or (None if request.sampler else model.sampling.schedule),
        loras=request.loras if takes_loras else (),
    )
    return plan_pass(resources, asked)


def load_checkpoint(spec: PipelineSpec, weight: WeightFile, options: LoadOptions) -> Any:
    """The family's loader.

    Raises:
        ModelBroken: a file that does not hold what its header promised.
        what torch raises when memory runs out.
    """
    import torch

    disable_mapping()
    read = choose_read_options(options)
    with translate_load_errors(weight), convert_weights(getattr(torch, read.dtype)):
        pipe = spec.load(weight, read)
        if not weight.is_folder:
            report_unused_weights(weight.name, weight.header or read_header(weight.path), pipe)
        if options.storage:
            keep_weights_small(pipe, options)
    if options.storage in EXACT_STORAGES:
        name = weight.name
        add_load_notice(
            f"Low memory: the weights of {name} were kept in 16 bits. The image is the same; a step takes longer."
        )
    return pipe
