"""Shared by the families: loading without a network, small configs, sizes, recognising a checkpoint's training."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.errors import ModelBroken
from studio.core.model import Feature, Sizes
from studio.core.ports import LoadOptions
from studio.core.task import Task
from studio.core.weight_reading import use_lowercase_ending
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.model_folders import find_variant, read_json

CONFIGS = Path(__file__).parent.parent / "configs"
"""Configs of models that come as one file, and CLIP's tokenizer, so that nothing has to be asked of the hub."""

FEATURES = frozenset(Feature) - {
    Feature.CONTROL,
    Feature.REFERENCE,
    Feature.DETAILER,
    Feature.ENLARGE,
    Feature.COMPOSE,
    Feature.SKIP_LAYERS,
}
"""Features of a checkpoint by itself; control, reference images and enlarging take weights of their own, composing a
list of names, detailers follow from inpainting, and layers are skipped in one family alone."""
NON_CLIP_FEATURES = FEATURES - {
    Feature.CLIP_SKIP,
    Feature.PROMPT_SYNTAX,
    Feature.EMBEDDING,
    Feature.REFINER,
    Feature.REGIONS,
    Feature.TILING,
    Feature.RESCALE,
    Feature.PAG,
    Feature.FREEU,
    Feature.SAG,
    Feature.THRESHOLDING,
    Feature.TILES,
    Feature.TOKEN_MERGING,
}
"""Features of families whose text encoder is not CLIP alone."""
MASKED_TASKS = frozenset(
    {
        Task.INPAINT,
        Task.OUTPAINT,
        Task.ERASE,
        Task.SEARCH_REPLACE,
        Task.SEARCH_RECOLOR,
        Task.REPLACE_BACKGROUND,
    }
)
"""Tasks of a checkpoint that redraws under a mask."""
TASKS = MASKED_TASKS | {Task.TXT2IMG, Task.IMG2IMG, Task.UPSCALE}
"""Tasks of a family with img2img and inpainting in diffusers."""
INPAINT_FEATURES = FEATURES - {Feature.HIRES, Feature.REFINER}
"""Features of checkpoints that were trained to fill masks."""
INSTRUCT_FEATURES = NON_CLIP_FEATURES - {Feature.HIRES, Feature.STRENGTH}
"""Features of checkpoints that were trained to follow instructions."""
IGNORES_SYNTAX = "Prompt weights, BREAK, AND and prompt editing are read as plain text."

_RATIOS = ((3, 4), (2, 3), (9, 16))


def load_folder(weight: WeightFile, options: LoadOptions, class_name: str, **parts: Any) -> Any:
    """The pipeline in a diffusers folder: safetensors only, no network, no code from the folder. `parts` replace
    components."""
    import diffusers

    return load_class(weight, options, getattr(diffusers, class_name), **parts)


def load_class(weight: WeightFile, options: LoadOptions, pipeline_class: Any, **parts: Any) -> Any:
    """The same, for a class at hand.

    Raises:
        ModelBroken: weights quantised by a package that is not installed.
    """
    import torch

    _check_quantisation(weight)
    # Parts that were left out when the folder was saved: diffusers misses those of them that it thinks necessary.
    index = read_json(weight.path / "model_index.json")
    parts = {name: None for name, entry in index.items() if entry == [None, None]} | parts
    pipe = pipeline_class.from_pretrained(
        weight.path,
        dtype=getattr(torch, options.dtype),
        use_safetensors=True,
        local_files_only=True,
        variant=find_variant(weight.path),
        **parts,
    )
    return pipe.to(options.device)


def _check_quantisation(weight: WeightFile) -> None:
    for config in sorted(weight.path.glob("*/config.json")):
        method = str((read_json(config).get("quantization_config") or {}).get("quant_method", ""))
        if "bitsandbytes" in method and importlib.util.find_spec("bitsandbytes") is None:
            raise ModelBroken(
                f"The {config.parent.name} of {weight.name} is quantised with bitsandbytes, which is not installed.",
                hint="Install bitsandbytes (NVIDIA cards), or take the model in 16 bits or as GGUF.",
            )


def load_file(weight: WeightFile, options: LoadOptions, class_name: str, config: Path, **parts: Any) -> Any:
    """The pipeline in one .safetensors file in the original layout, after the configs in the folder `config`."""
    import diffusers
    import torch

    with use_lowercase_ending(weight.path) as path:
        pipe = getattr(diffusers, class_name).from_single_file(
            str(path), config=str(config), dtype=getattr(torch, options.dtype), local_files_only=True, **parts
        )
    return pipe.to(options.device)


def load_transformer_file(
    weight: WeightFile, options: LoadOptions, class_name: str, transformer: str, repos: Sequence[str]
) -> Any:
    """The pipeline whose transformer is in one file and whose other parts are in the hub folder of one of `repos`.

    Raises:
        ModelBroken: no such folder.
    """
    import diffusers
    import torch

    from studio.pipelines.families._quantised import load_transformer

    folder = find_companion(weight, repos)
    if folder is None:
        raise ModelBroken(
            f"{weight.name} {describe_missing_repo(repos)}", hint=f"Download {repos[0]} in Configurations."
        )
    model = load_transformer(weight, options, transformer, folder / "transformer")
    pipe = getattr(diffusers, class_name).from_pretrained(
        folder, transformer=model, dtype=getattr(torch, options.dtype), use_safetensors=True, local_files_only=True
    )
    return pipe.to(options.device)


def read_class_name(weight: WeightFile) -> str:
    """The pipeline class that a folder names; "" when it cannot be read."""
    try:
        return str(read_json(weight.path / "model_index.json").get("_class_name"))
    except ModelBroken:
        return ""


def find_companion(weight: WeightFile, repos: Sequence[str]) -> Path | None:
    """The downloaded folder of the first of `repos` that is there, below the same models folder as the file."""
    for above in weight.path.parents[:8]:
        for repo in repos:
            folder = above / "hub" / repo.replace("/", "--")
            if (folder / "model_index.json").is_file():
                return folder
    return None


def describe_missing_repo(repos: Sequence[str]) -> str:
    """The problem of a transformer alone."""
    return (
        f"holds the transformer only; its text encoders and VAE are taken from {' or '.join(repos)}, which is not"
        " downloaded yet."
    )


def find_transformer_problem(weight: WeightFile, repos: Sequence[str]) -> str:
    """Why this file cannot be used, empty when it can: a folder is whole, a single file needs a companion."""
    if weight.is_folder or find_companion(weight, repos) is not None:
        return ""
    return "It " + describe_missing_repo(repos)


def load_clip_tokenizer(pad_token: str = "<|endoftext|>") -> Any:
    """CLIP's tokenizer. Stable Diffusion 1 pads with its end token; OpenCLIP's encoders pad with "!", which is token
    0."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(CONFIGS / "clip_tokenizer", pad_token=pad_token, local_files_only=True)


def load_clip_scheduler(config: Path, prediction: str, **changes: Any) -> Any:
    """The scheduler of a single file's config folder, for `prediction` ("epsilon" or "v_prediction")."""
    import diffusers

    settings = read_json(config / "scheduler" / "scheduler_config.json")
    return getattr(diffusers, settings["_class_name"]).from_config(
        {**settings, "prediction_type": prediction, **changes}
    )


def build_sizes(side: int, *, multiple: int, smallest: int = 256, largest: int = 0) -> Sizes:
    """Sizes near the area `side`² that a model was trained at: the square first, then portrait and landscape in the
    usual ratios, in steps of 64 px as training buckets have them (finer below 512 px, where those would be coarse)."""
    step = 64 if side >= 512 else multiple
    liked = [(side, side)]
    for a, b in _RATIOS:
        short, long = (max(step, round(side * ratio**0.5 / step) * step) for ratio in (a / b, b / a))
        liked += [(short, long), (long, short)]
    largest = largest or 4 * side
    return Sizes(
        liked=tuple(liked), multiple=multiple, smallest=smallest, largest=largest, max_pixels=largest * largest
    )


def has_any(header: SafetensorsHeader, *names: str, prefixes: Sequence[str] = ("", "model.diffusion_model.")) -> bool:
    """Whether one of `names` is in the file, bare or below one of `prefixes`."""
    return any(prefix + name in header.shapes for prefix in prefixes for name in names)


def find_shape(header: SafetensorsHeader, name: str) -> tuple[int, ...]:
    """The shape of a tensor that may stand below "model.diffusion_model."; () when it is not there."""
    return header.shapes.get(f"model.diffusion_model.{name}") or header.shapes.get(name) or ()


def get_header(weight: WeightFile) -> SafetensorsHeader | None:
    """The header of a single file, read again when the catalog did not keep it; None for a folder.

    Raises:
        ModelBroken: the file is not what it was.
    """
    return None if weight.is_folder else weight.header or read_header(weight.path)


def read_prediction_type(weight: WeightFile) -> str:
    """The prediction type of the checkpoint's UNet, "epsilon" or "v_prediction", or "" when unknown.

    Asked in this order: a file beside it with the same name and the ending .json (`{"prediction_type": …}`) or .yaml
    (the same, or the original training config's `parameterization`); the metadata by the ModelSpec standard
    (github.com/Stability-AI/ModelSpec); the marker tensor `v_pred` that SDXL finetunes carry.
    """
    for suffix in (".json", ".yaml", ".yml"):
        found = _read_sidecar(weight.path.with_name(weight.path.stem + suffix))
        if found:
            return found
    header = get_header(weight)
    if header is None:
        return ""
    return (
        "v_prediction"
        if "v_pred" in header.shapes
        else _parse_prediction(header.metadata.get("modelspec.prediction_type"))
    )


def _read_sidecar(path: Path) -> str:
    import yaml

    try:
        if not path.is_file() or path.stat().st_size > 100_000:
            return ""
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return ""
    if not isinstance(data, dict):
        return ""
    params = data.get("model", {}).get("params", {}) if isinstance(data.get("model"), dict) else {}
    return _parse_prediction(data.get("prediction_type")) or _parse_prediction(
        isinstance(params, dict) and params.get("parameterization")
    )


def _parse_prediction(word: Any) -> str:
    text = str(word or "").lower()
    return (
        "v_prediction" if re.fullmatch(r"v([-_]prediction)?", text) else "epsilon" if text in ("eps", "epsilon") else ""
    )


def has_flux_lora_blocks(names: str) -> bool:
    """Whether a LoRA with these tensors is for FLUX.1 or FLUX.2."""
    return any(mark in names for mark in ("single_transformer_blocks", "double_blocks", "single_blocks"))


def has_flux2_lora_widths(header: SafetensorsHeader, names: str) -> bool:
    """Whether it is for FLUX.2: klein 9B and dev are 4096 and 6144 wide, FLUX.1 is 3072."""
    if "to_qkv_mlp_proj" in names:
        return True
    wide = any(width in (4096, 6144) for shape in header.shapes.values() for width in shape)
    return has_flux_lora_blocks(names) and wide


def has_qwen_lora_blocks(names: str) -> bool:
    """Whether it is for Qwen-Image: its modulations are named so, and it has 60 blocks where others have fewer."""
    if "joint_blocks" in names or "joint_transformer_blocks" in names:
        return False
    if re.search(r"transformer_blocks[._]\d+[._](img|txt)_m", names):
        return True
    joint = "attn.add_q_proj" in names or "attn_add_q_proj" in names
    return joint and re.search(r"transformer_blocks[._](4\d|5\d)[._]", names) is not None
