"""Reference images: IP-Adapters on a run's own pipeline, and off again with every layer of the checkpoint as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.annotate import flatten_on_white
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.ports import JobContext, LoadOptions
from studio.core.request import GenerationRequest
from studio.core.request_parts import Reference
from studio.core.task import Task
from studio.core.weight_reading import disable_mapping, read_tensors
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines import device_memory
from studio.pipelines.catalog.file_stamps import read_stamp
from studio.pipelines.control import control_files
from studio.pipelines.control.control_units import check_compatible, is_compatible
from studio.pipelines.load_notices import add_load_notice, describe_unused
from studio.pipelines.registry import PipelineKey, PipelineRegistry

if TYPE_CHECKING:
    from PIL import Image

    from studio.pipelines.catalog.catalog import Catalog

_STYLE_SDXL = {"up": {"block_0": [0.0, 1.0, 0.0]}}
"""The one attention that carries style in SDXL (InstantStyle, arXiv 2404.02733), as diffusers writes it; times the
weight."""


@dataclass(frozen=True, kw_only=True)
class ResolvedReference:
    """One reference with its adapter and the folder of the image encoder that the adapter reads."""

    reference: Reference
    file: WeightFile
    encoder: str


def resolve_references(catalog: Catalog, request: GenerationRequest) -> tuple[ResolvedReference, ...]:
    """The references of `request` that weigh something, each with its adapter.

    Raises:
        InvalidRequest: a reference without an image, an adapter that is unknown or does not fit, a family without
            adapters.
    """
    wanted = [reference for reference in request.references if reference.weight > 0]
    if not wanted or request.task is Task.EDIT:  # models that edit by instruction look at the references themselves
        return ()
    checkpoint = catalog.checkpoint(request.model)
    if not catalog.spec(checkpoint).control.has_ip_adapters:
        raise InvalidRequest(
            f"{checkpoint.name} does not support reference images.",
            hint="Remove them, or choose a Stable Diffusion 1.5 or SDXL checkpoint.",
        )
    chosen: list[ResolvedReference] = []
    for number, reference in enumerate(wanted, 1):
        if not reference.image:
            raise InvalidRequest(f"Reference {number} has no image.", hint="Choose an image, or remove the reference.")
        file = _find_adapter(catalog, checkpoint, reference)
        encoder = control_files.find_image_encoder(file.path, control_files.read_image_width(file))
        if encoder is None:
            raise InvalidRequest(
                f"The IP-Adapter {file.name} cannot be used: {control_files.NO_ENCODER}",
                hint="Download the encoder, or pick another one.",
            )
        chosen.append(ResolvedReference(reference=reference, file=file, encoder=str(encoder)))
    if len({one.encoder for one in chosen}) > 1:
        raise InvalidRequest(
            "The references use IP-Adapters with different image encoders.",
            hint="Choose the same adapter for all of them.",
        )
    return tuple(chosen)


def check_reference_names(catalog: Catalog, request: GenerationRequest) -> None:
    """Look up the adapters that references name.

    Raises:
        InvalidRequest: as `resolve_references` for an unknown or broken adapter, or one that does not fit.
    """
    if request.task is not Task.EDIT:
        checkpoint = catalog.checkpoint(request.model)
        for reference in request.references:
            if reference.weight > 0 and reference.model:
                _find_adapter(catalog, checkpoint, reference)


def _find_adapter(catalog: Catalog, checkpoint: WeightFile, reference: Reference) -> WeightFile:
    spec = catalog.spec(checkpoint)
    if reference.model:
        file = catalog.find(WeightKind.IP_ADAPTER, reference.model)
        check_compatible(file, checkpoint, spec)
        return file
    found = [
        file
        for file in catalog.weights()
        if file.kind is WeightKind.IP_ADAPTER and is_compatible(file, checkpoint, spec)
    ]
    if not found:
        raise InvalidRequest(
            f"There is no IP-Adapter for {checkpoint.family}, which reference images need.",
            hint="Put one (h94/IP-Adapter on the hub) with its image encoder below models/ip_adapters/.",
        )
    return min(found, key=lambda file: (len(file.name), file.name))  # the plain one; variants have longer names


@dataclass(frozen=True, kw_only=True)
class LoadedReferences:
    """The references of a pass while their networks are leased. `parts` are the pipeline's encoder and image
    processor."""

    references: tuple[ResolvedReference, ...] = ()
    states: tuple[Mapping[str, Any], ...] = ()
    parts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def load_images(self, ctx: JobContext) -> list[list[Image.Image]]:
        """The pipeline's `ip_adapter_image`: the images of each adapter."""
        return [[flatten_on_white(ctx.load_image(one.reference.image))] for one in self.references]

    @contextmanager
    def on(self, pipe: Any) -> Iterator[None]:
        """Within the block the UNet of `pipe` reads the references.

        Raises:
            InvalidRequest: an adapter whose layers are not those of this UNet.
        """
        if not self.references:
            yield
            return
        unet = pipe.unet
        processors = unet.attn_processors
        projection, kind = unet.encoder_hid_proj, unet.config.encoder_hid_dim_type
        try:
            self._load_adapters(pipe)
            pipe.set_ip_adapter_scale([_compute_scale(one.reference, unet) for one in self.references])
            yield
        finally:
            unet.encoder_hid_proj = (
                None  # a projection has attention of its own, which would be counted among the UNet's
            )
            unet.set_attn_processor(dict(processors))
            unet.encoder_hid_proj = projection
            unet.register_to_config(encoder_hid_dim_type=kind)

    def _load_adapters(self, pipe: Any) -> None:
        names = [""] * len(self.states)
        try:
            pipe.load_ip_adapter([dict(state) for state in self.states], subfolder=names, weight_name=names)
        except (ValueError, RuntimeError, KeyError, AttributeError) as error:
            if device_memory.is_out_of_memory(error):
                raise
            raise InvalidRequest(
                f"The IP-Adapter {self.references[0].file.name} does not fit this checkpoint: its layers have other"
                " sizes.",
                hint="Choose one made for this checkpoint.",
            ) from error


@contextmanager
def lease_references(
    references: Sequence[ResolvedReference], registry: PipelineRegistry, options: LoadOptions, ctx: JobContext
) -> Iterator[LoadedReferences]:
    """Adapters and image encoder, resident for the length of the block at least.

    Raises:
        ModelBroken: a file that cannot be read.
    """
    if not references:
        yield LoadedReferences()
        return
    with ExitStack() as stack:

        def lease_part(path: Path, kind: str, title: str, size: int, load: Any) -> Any:
            def load_part() -> Any:
                ctx.report_loading(f"Loading {title}")
                with ctx.phase("load"):
                    return load()

            key = PipelineKey(f"{kind}/{title}", options.device, options.dtype, stamp=read_stamp(path))
            registry.drop_changed(key, title, ctx.add_notice)
            held = stack.enter_context(registry.lease(key, title, load_part, expected=size))
            held.report_notices(ctx.add_notice)
            return held.pipe

        folder = references[0].encoder
        encoder = lease_part(Path(folder), folder, "the image encoder", 0, lambda: _ImageEncoder(folder, options))
        states = [
            lease_part(
                one.file.path,
                one.file.kind,
                one.file.name,
                one.file.bytes,
                lambda one=one: _Adapter(one.file, options),
            )
            for one in references
        ]
        yield LoadedReferences(
            references=tuple(references),
            states=tuple(state.tensors for state in states),
            parts={"image_encoder": encoder.model, "feature_extractor": encoder.processor},
        )


class _ImageEncoder:
    """A CLIP image encoder with the processor that its images go through."""

    def __init__(self, folder: str, options: LoadOptions) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        disable_mapping()
        try:
            model: Any = CLIPVisionModelWithProjection.from_pretrained(
                folder, dtype=getattr(torch, options.dtype), local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            if device_memory.is_out_of_memory(error):
                raise
            raise ModelBroken(
                "The image encoder of the IP-Adapter cannot be loaded.", hint="Download it again."
            ) from error
        self.model = model.to(options.device).eval()
        side = model.config.image_size
        self.processor = CLIPImageProcessor(size=side, crop_size=side)
        self.components = {"image_encoder": self.model}


class _Adapter:
    """The tensors of an IP-Adapter, by its two parts as diffusers wants them. They wait on the CPU: each run's UNet
    gets copies."""

    def __init__(self, file: WeightFile, options: LoadOptions) -> None:
        import torch
        from safetensors import SafetensorError

        self.tensors: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        left = 0
        try:
            for name, tensor in read_tensors(file.path).items():
                part, _, rest = name.partition(".")
                if part in self.tensors:
                    self.tensors[part][rest] = tensor.to(getattr(torch, options.dtype))
                else:
                    left += 1
        except (OSError, SafetensorError) as error:
            raise ModelBroken(f"The IP-Adapter {file.name} cannot be read.", hint="Download it again.") from error
        if left:
            add_load_notice(describe_unused(left, file.name, "an IP-Adapter"))
        held = torch.nn.Module()
        for number, tensor in enumerate(t for part in self.tensors.values() for t in part.values()):
            held.register_buffer(str(number), tensor)
        self.components = {"adapter": held}  # so that the registry can weigh it


def _compute_scale(reference: Reference, unet: Any) -> Any:
    """The weight for diffusers: a number for all layers, or by block where only the style is wanted.

    In SDXL that is InstantStyle's one block. In Stable Diffusion 1 no single block carries the style; what is left out
    are the deepest attentions, which carry the layout.
    """
    if not reference.style_only:
        return reference.weight
    ups = [index for index, name in enumerate(unet.config.up_block_types) if name.startswith("CrossAttn")]
    downs = [index for index, name in enumerate(unet.config.down_block_types) if name.startswith("CrossAttn")]
    if unet.config.addition_embed_type == "text_time":
        layers = unet.config.layers_per_block + 1
        middle = [float(layer == layers // 2) * reference.weight for layer in range(layers)]
        return {"up": {f"block_{ups[0]}": middle}}
    weight, layers = reference.weight, unet.config.layers_per_block
    return {
        "down": {f"block_{index}": [weight * (index != downs[-1] or len(downs) == 1)] * layers for index in downs},
        "mid": weight,
        "up": {f"block_{index}": [weight * (index != ups[0] or len(ups) == 1)] * (layers + 1) for index in ups},
    }
