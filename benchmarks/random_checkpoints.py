"""Checkpoints of the size that people use, with random 16-bit weights, written tensor by tensor: nothing is held in
memory but a part of one."""

from __future__ import annotations

import importlib
import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tests.tiny_families import convert_to_original

_CHUNK = 2**24  # numbers that are made at once
_BYTES = 2  # of a number


def build_sdxl_file(file: Path) -> None:
    """A single file in Stable Diffusion XL's layout, 6.9 GB, once."""
    if file.is_file():
        return
    from studio.pipelines.families._parts import CONFIGS

    modules = _describe_modules(CONFIGS / "sdxl", ("text_encoder", "text_encoder_2", "unet", "vae"))
    write_random_file(file, {name: tuple(one.shape) for name, one in convert_to_original(modules, "sdxl").items()})


def build_sd3_folder(folder: Path) -> None:
    """A diffusers folder in Stable Diffusion 3 medium's layout, a transformer of two thousand million weights without
    the T5 encoder, 5.9 GB, once."""
    if (folder / "model_index.json").is_file():
        return
    from studio.pipelines.families._parts import CONFIGS, load_clip_tokenizer

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time

    config = CONFIGS / "sd3"
    modules = _describe_modules(config, ("text_encoder", "text_encoder_2", "vae"))
    modules |= _describe_modules(config / "medium", ("transformer",))
    for name, module in modules.items():
        is_encoder = name.startswith("text")
        save = module.config.save_pretrained if is_encoder else module.save_config
        save(folder / name)
        file = folder / name / ("model.safetensors" if is_encoder else "diffusion_pytorch_model.safetensors")
        write_random_file(file, {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()})
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler.from_pretrained(config / "medium" / "scheduler").save_pretrained(folder / "scheduler")
    for name, pad in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        load_clip_tokenizer(pad).save_pretrained(folder / name)
    index = {
        "_class_name": "StableDiffusion3Pipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_3": [None, None],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "tokenizer_3": [None, None],
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))  # last: a folder without it is begun anew


def _describe_modules(config: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The modules of the configs in the folder `config`, without data."""
    import torch
    import transformers

    diffusers: Any = importlib.import_module("diffusers")

    found: dict[str, Any] = {}
    for name in names:
        settings = json.loads((config / name / "config.json").read_text())
        with torch.device("meta"):
            if name.startswith("text"):
                cls = getattr(transformers, settings["architectures"][0])
                found[name] = cls(cls.config_class.from_pretrained(config / name, local_files_only=True))
            else:
                cls = getattr(diffusers, settings["_class_name"])
                found[name] = cls.from_config(cls.load_config(config / name))
    return found


def write_random_file(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A .safetensors file with tensors of these names and shapes in 16-bit floats, as random as layers begin with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        _write_header(file, shapes)
        for name, shape in shapes.items():
            for part in _make_numbers(name, shape):
                file.write(part)
    unfinished.rename(path)


def _write_header(file: IO[bytes], shapes: Mapping[str, tuple[int, ...]]) -> None:
    table: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + _BYTES * math.prod(shape)
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    header = json.dumps(table).encode()
    file.write(struct.pack("<Q", len(header)) + header)


def _make_numbers(name: str, shape: tuple[int, ...]) -> Iterator[bytes]:
    """A tensor's bytes: weights spread so that a layer's answer is about as large as what it is given, norms of one,
    biases of zero."""
    import torch

    source = torch.Generator().manual_seed(len(name))
    left = math.prod(shape)
    spread = (3 * left / shape[0]) ** -0.5 if len(shape) > 1 else 0.0
    middle = float(len(shape) < 2 and name.endswith("weight"))
    while left > 0:
        count = min(left, _CHUNK)
        numbers = torch.randn(count, generator=source).mul_(spread).add_(middle)
        yield numbers.half().numpy().tobytes()
        left -= count
