"""Recognise files of ControlNets, T2I-Adapters and IP-Adapters and their family by headers and small
configs."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import ModelBroken
from studio.core.ports import PipelineSpec
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.file_stamps import make_stamp
from studio.pipelines.catalog.model_folders import read_component_config

NO_ENCODER = "Its image encoder is missing: put the folder image_encoder of the adapter's own repository beside it."
_SIZED_TEXT_WIDTH = 2048  # text states of SDXL, whose UNet takes the image's size too
_UNET_CLASSES = ("ControlNetModel", "ControlNetUnionModel")
NEEDS_FOLDER = "which the studio cannot read as one file; download the diffusers version, a folder with a config.json."


def guess_header(header: SafetensorsHeader, specs: Sequence[PipelineSpec]) -> tuple[WeightKind, str, str] | None:
    """(kind, family, problem) of a single file that steers, None for any other file."""
    for spec in specs:
        found = spec.control.detect(header)
        if found is not None:
            return found[0], spec.family, found[1]
    names = "\n".join(("", *header.shapes))
    for attempt in (_guess_ip_adapter, _guess_t2i_adapter, _guess_controlnet):
        guess = attempt(header, names, specs)
        if guess is not None:
            return guess
    return None


def guess_folder(path: Path, specs: Sequence[PipelineSpec]) -> tuple[WeightKind, str, str] | None:
    """(kind, family, problem) of a diffusers folder with one model, None where it does not steer."""
    config = read_component_config(path, "")
    class_name = str(config.get("_class_name", ""))
    if class_name == "T2IAdapter":
        downscale = 16 if config.get("adapter_type") == "full_adapter_xl" else 8
        return WeightKind.T2I_ADAPTER, _find_adapter_family(downscale, specs), ""
    if class_name in _UNET_CLASSES:
        return WeightKind.CONTROLNET, _guess_config_family(config, specs), ""
    family = next((spec.family for spec in specs if class_name and spec.control.network_class == class_name), "")
    if family:
        masked = any(config.get(name) for name in ("extra_conditioning_channels", "extra_condition_channels"))
        problem = "It is an inpainting ControlNet, which is not supported." if masked else ""
        return WeightKind.CONTROLNET, family, problem
    if "ControlNet" in class_name:
        return WeightKind.CONTROLNET, "", f"Its kind, {class_name}, is not supported."
    return None


def find_text_width_family(width: int, specs: Sequence[PipelineSpec]) -> str:
    """The family whose UNet reads text states `width` wide, "" where none does."""
    return next((spec.family for spec in specs if width in spec.control.text_widths), "")


def count_parts(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """How many numbered parts stand below `prefix`."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    return len({match[1] for name in shapes if (match := pattern.match(name))})


def read_model_width(file: WeightFile, kind: WeightKind) -> int:
    """A width that differs between models of one build in several sizes, and so between what was made for the one and
    the other: the width of the text states (768 in Stable Diffusion 1), or for the `kind` T2I-Adapter of the UNet's
    first level (320). 0 where it is unknown."""
    if file.is_folder:
        config = read_component_config(file.path, "unet" if file.kind is WeightKind.CHECKPOINT else "")
        if kind is WeightKind.T2I_ADAPTER:
            levels = config.get("block_out_channels") or config.get("channels")
            return levels[0] if isinstance(levels, list) and levels and isinstance(levels[0], int) else 0
        text = config.get("cross_attention_dim")
        return text if isinstance(text, int) else 0
    facts = _get_facts(file)
    return facts.first_level if kind is WeightKind.T2I_ADAPTER else facts.text_states


def count_union_types(file: WeightFile) -> int:
    """How many control types a union ControlNet knows, 0 for one that is made for one type alone."""
    if file.kind is not WeightKind.CONTROLNET:
        return 0
    if file.is_folder:
        config = read_component_config(file.path, "")
        found = config.get("num_mode") or (
            config.get("num_control_type", 6) if config.get("_class_name") == "ControlNetUnionModel" else 0
        )
        return found if isinstance(found, int) else 0
    return _get_facts(file).union_types


def read_image_width(file: WeightFile) -> int:
    """The width of the image states that an IP-Adapter reads: its encoder's `projection_dim`, or its `hidden_size`
    where it reads all states (plus, full face); 0 where it is unknown."""
    return _get_facts(file).image_states


def find_image_encoder(path: Path, width: int) -> Path | None:
    """The folder of the CLIP image encoder for the IP-Adapter at `path` that gives states `width` wide: one named
    image_encoder beside it, or below one of the three folders above it."""
    for above in path.parents[:3]:
        for folder in (above / "image_encoder", *sorted(above.glob("*/image_encoder"))):
            if not (folder / "model.safetensors").is_file():
                continue
            config = read_component_config(folder, "")
            if not width or width in (config.get("projection_dim"), config.get("hidden_size")):
                return folder
    return None


def _guess_ip_adapter(
    header: SafetensorsHeader, names: str, specs: Sequence[PipelineSpec]
) -> tuple[WeightKind, str, str] | None:
    if "\nimage_proj." not in names or "\nip_adapter." not in names:
        return None
    width = _read_cross_width(header)
    faces = "It is an IP-Adapter FaceID, which is not supported."
    return WeightKind.IP_ADAPTER, _guess_width_family(width, specs), faces if "to_q_lora" in names else ""


def _guess_t2i_adapter(
    header: SafetensorsHeader, names: str, specs: Sequence[PipelineSpec]
) -> tuple[WeightKind, str, str] | None:
    for prefix, problem in (("adapter.", ""), ("", f"It is a T2I-Adapter in its original layout, {NEEDS_FOLDER}")):
        first = header.shapes.get(f"{prefix}conv_in.weight")
        if first is not None and f"\n{prefix}body.0." in names and len(first) == 4:
            return WeightKind.T2I_ADAPTER, _find_adapter_family(16 if first[1] % 256 == 0 else 8, specs), problem
    return None


def _guess_controlnet(
    header: SafetensorsHeader, names: str, specs: Sequence[PipelineSpec]
) -> tuple[WeightKind, str, str] | None:
    if "\ncontrolnet_blocks." in names:
        return WeightKind.CONTROLNET, "", f"It is a single file, {NEEDS_FOLDER}"
    if any(f"\n{mark}" in names for mark in ("control_model.", "controlnet_cond_embedding.", "input_hint_block.")):
        return WeightKind.CONTROLNET, _guess_header_family(header, names, specs), ""
    return None


def _guess_header_family(header: SafetensorsHeader, names: str, specs: Sequence[PipelineSpec]) -> str:
    if "add_embedding." in names or "label_emb." in names:  # of the image's size, which only SDXL takes
        return find_text_width_family(_SIZED_TEXT_WIDTH, specs)
    return _guess_width_family(_read_cross_width(header), specs)


def _guess_config_family(config: Mapping[str, Any], specs: Sequence[PipelineSpec]) -> str:
    if config.get("addition_embed_type") == "text_time":
        return find_text_width_family(_SIZED_TEXT_WIDTH, specs)
    width = config.get("cross_attention_dim")
    return _guess_width_family(width if isinstance(width, int) else 1, specs)


def _guess_width_family(width: int, specs: Sequence[PipelineSpec]) -> str:
    """The family of that text width; of any other width the one that exists in others too."""
    other = next((spec.family for spec in specs if spec.control.has_other_widths), "")
    return find_text_width_family(width, specs) or (other if width else "")


def _find_adapter_family(downscale: int, specs: Sequence[PipelineSpec]) -> str:
    return next((spec.family for spec in specs if spec.control.adapter_downscale == downscale), "")


def _read_cross_width(header: SafetensorsHeader) -> int:
    ends = ("attn2.to_k.weight", "to_k_ip.weight")
    return next((shape[1] for name, shape in header.shapes.items() if name.endswith(ends) and len(shape) > 1), 0)


@dataclass(frozen=True, kw_only=True)
class _HeaderFacts:
    """What the header of a single file says of its sizes; 0 where it says nothing."""

    text_states: int = 0
    first_level: int = 0
    union_types: int = 0
    image_states: int = 0


def _get_facts(file: WeightFile) -> _HeaderFacts:
    if file.header is not None:
        return _collect_facts(file.header)
    try:
        return _read_facts(*make_stamp(file.path))
    except (OSError, ModelBroken):
        return _HeaderFacts()


@functools.lru_cache(maxsize=10_000)  # each checkpoint is compared with each ControlNet whenever models are listed
def _read_facts(path: str, size: int, changed: int) -> _HeaderFacts:
    return _collect_facts(read_header(Path(path)))


def _collect_facts(header: SafetensorsHeader) -> _HeaderFacts:
    def find_size(axis: int, *names: str) -> int:
        return next((shape[axis] for name in names if len(shape := header.shapes.get(name, ())) > axis), 0)

    return _HeaderFacts(
        text_states=_read_cross_width(header),
        first_level=find_size(0, "model.diffusion_model.input_blocks.0.0.weight", "adapter.conv_in.weight"),
        union_types=find_size(0, "task_embedding", "controlnet_mode_embedder.weight"),
        image_states=find_size(1, "image_proj.proj.weight", "image_proj.proj_in.weight", "image_proj.proj.0.weight"),
    )
