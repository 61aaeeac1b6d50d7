"""Loading what steers: a ControlNet or T2I-Adapter in any layout, without a network and without code from the file."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.family_facts import ControlFacts
from studio.core.ports import JobContext, LoadOptions
from studio.core.weight_reading import convert_weights, disable_mapping, read_tensors, use_lowercase_ending
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.file_stamps import read_stamp
from studio.pipelines.catalog.model_folders import read_component_config, read_json
from studio.pipelines.control import control_files
from studio.pipelines.load_errors import translate_load_errors
from studio.pipelines.registry import PipelineKey
from studio.pipelines.weight_sizes import estimate_loaded_bytes

if TYPE_CHECKING:
    from studio.pipelines.registry import PipelineRegistry

_CONFIGS = Path(__file__).parent.parent / "configs"


class ControlNetwork:
    """One network as the registry holds it."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.components = {"module": module}


@contextmanager
def lease_control_network(
    registry: PipelineRegistry, file: WeightFile, options: LoadOptions, facts: ControlFacts, ctx: JobContext
) -> Iterator[Any]:
    """The network in `file`, resident for the length of the block at least.

    Raises:
        ModelBroken: a file that does not hold what its header promised.
    """

    def load() -> ControlNetwork:
        ctx.report_loading(f"Loading {file.name}")
        with ctx.phase("load"):
            return ControlNetwork(load_control_network(file, options, facts))

    key = PipelineKey(f"{file.kind}/{file.name}", options.device, options.dtype, stamp=read_stamp(file.path))
    registry.drop_changed(key, file.name, ctx.add_notice)
    with registry.lease(key, file.name, load, expected=estimate_loaded_bytes(file, options)) as held:
        held.report_notices(ctx.add_notice)
        yield held.pipe.module


def load_control_network(file: WeightFile, options: LoadOptions, facts: ControlFacts) -> Any:
    """The module in `file`, which was made for the family of `facts`, on `options.device` with `options.dtype`.

    Raises:
        ModelBroken: a file that does not hold what its header promised.
        what torch raises when memory runs out.
    """
    import torch

    disable_mapping()
    dtype = getattr(torch, options.dtype)
    with translate_load_errors(file), convert_weights(dtype):
        module = _load_folder(file, dtype) if file.is_folder else _load_single_file(file, dtype, facts)
        return module.to(options.device).eval()


def _load_folder(file: WeightFile, dtype: Any) -> Any:
    import diffusers

    name = str(read_json(file.path / "config.json")["_class_name"])
    names = [weights.name for weights in file.path.glob("*.safetensors")]
    variant = "fp16" if names and all(".fp16" in one for one in names) else None
    return getattr(diffusers, name).from_pretrained(
        file.path, dtype=dtype, use_safetensors=True, local_files_only=True, variant=variant
    )


def _load_single_file(file: WeightFile, dtype: Any, facts: ControlFacts) -> Any:
    """One file: by diffusers' own reader where it has the original layout, else straight into a model of its config."""
    import diffusers

    header = read_header(file.path)
    name, config = _describe_file(file, header, facts)
    cls = getattr(diffusers, name)
    original = any(key.startswith("control_model.") or key == "time_embed.0.weight" for key in header.shapes)
    if original or facts.is_original:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "config.json").write_text(json.dumps({"_class_name": name, **config}))
            with use_lowercase_ending(file.path) as path:
                return cls.from_single_file(str(path), config=folder, dtype=dtype, local_files_only=True)
    known = inspect.signature(cls.__init__).parameters
    module = cls.from_config({key: value for key, value in config.items() if key in known})
    module.load_state_dict(read_tensors(file.path))
    return module.to(dtype)


def _describe_file(file: WeightFile, header: SafetensorsHeader, facts: ControlFacts) -> tuple[str, Mapping[str, Any]]:
    """The diffusers class of a single file, and the config of that class."""
    shapes = header.shapes
    if file.kind is WeightKind.T2I_ADAPTER:
        return "T2IAdapter", _build_adapter_config(shapes)
    if facts.build_config is not None:
        return facts.network_class, facts.build_config(header)
    unet = read_component_config(_CONFIGS / file.family, "unet")
    known = {key: value for key, value in unet.items() if not key.startswith("_")}
    types = control_files.count_union_types(file)
    if types:
        return "ControlNetUnionModel", {**known, "num_control_type": types}
    return "ControlNetModel", known


def _build_adapter_config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """diffusers' layout: pixels unshuffled by 8, or by 16 for SDXL, where the second level begins with a change of
    width only."""
    folded = shapes["adapter.conv_in.weight"][1]
    downscale = 16 if folded % 256 == 0 else 8
    levels = control_files.count_parts(shapes, "adapter.body")
    channels = [shapes[f"adapter.body.{level}.resnets.0.block1.weight"][0] for level in range(levels)]
    return {
        "in_channels": folded // downscale**2,
        "downscale_factor": downscale,
        "channels": channels,
        "num_res_blocks": control_files.count_parts(shapes, "adapter.body.0.resnets"),
        "adapter_type": "full_adapter_xl" if downscale == 16 else "full_adapter",
    }
