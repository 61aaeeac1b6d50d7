"""Parts of a pipeline in files of their own, as ComfyUI and Forge lay them out: a transformer in `diffusion_models/` or
`unet/`, text encoders in `text_encoders/` or `clip/`, the VAE in `vae/`; or all of them in one file.

Parts are known by their tensors. VAEs of FLUX.1 and Stable Diffusion 3 have the same ones, so that there the name
decides. What else a pipeline needs (configs, tokenizers, the scheduler) is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.core.errors import ModelBroken
from studio.core.ports import LoadOptions
from studio.core.weight_reading import read_tensors_below
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.families import _parts, _quantised

FOLDERS = ("text_encoders", "text_encoder", "clip", "vae")
"""Folders beside or above the transformer's where parts are looked for."""
_HUB, _CACHE = "hub", ".cache"
_MAX_FILES, _MAX_LEVELS = 200, 6
_T5_TOKENIZER = "T5TokenizerFast"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One text encoder or VAE. `mark` is a tensor that it has, with `shape` (None in it for any); `inside` are the
    prefixes that it has in a file that holds everything. `names` are words in the name of a file that is the right one
    where another family has the same tensors, `others` in one that is not. The pipeline can do without an `optional`
    one."""

    title: str
    mark: str
    shape: tuple[int | None, ...]
    inside: tuple[str, ...]
    transformers_class: str = ""
    others: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a family's pipeline is put together. `config` is the shipped folder with a folder for each of `parts`, which
    are by their name in the pipeline; `training` is the folder in it with the configs of the transformer and the
    scheduler; `tokenizers` makes the rest."""

    config: str
    training: str
    parts: Mapping[str, Part]
    tokenizers: Mapping[str, Callable[[], Any]] = field(default_factory=dict[str, Callable[[], Any]])


_EMBEDDING = "text_model.embeddings.token_embedding.weight"
CLIP_L = Part(
    title="CLIP-L (clip_l)",
    mark=_EMBEDDING,
    shape=(None, 768),
    inside=("text_encoders.clip_l.transformer.", "conditioner.embedders.0.transformer."),
    transformers_class="CLIPTextModel",
)
CLIP_L_PROJECTED = Part(
    title=CLIP_L.title,
    mark=_EMBEDDING,
    shape=(None, 768),
    inside=CLIP_L.inside,
    transformers_class="CLIPTextModelWithProjection",
)
CLIP_G = Part(
    title="CLIP-G (clip_g)",
    mark=_EMBEDDING,
    shape=(None, 1280),
    inside=("text_encoders.clip_g.transformer.",),
    transformers_class="CLIPTextModelWithProjection",
)
T5 = Part(
    title="T5 (t5xxl)",
    mark="encoder.block.0.layer.0.SelfAttention.q.weight",
    shape=(None, 4096),
    inside=("text_encoders.t5xxl.transformer.",),
    transformers_class="T5EncoderModel",
)
_VAE_MARK, _VAE_SHAPE = "decoder.conv_in.weight", (None, 16, 3, 3)
FLUX_VAE = Part(
    title="the VAE (ae)",
    mark=_VAE_MARK,
    shape=_VAE_SHAPE,
    inside=("vae.", "first_stage_model."),
    others=("sd3", "sd_3", "stable-diffusion-3", "qwen", "wan", "hunyuan"),
)
SD3_VAE = Part(
    title="the VAE (sd3_vae)",
    mark=_VAE_MARK,
    shape=_VAE_SHAPE,
    inside=("first_stage_model.", "vae."),
    others=("flux", "qwen", "wan", "hunyuan"),
)


def load_t5_tokenizer() -> Any:
    """T5's tokenizer, from the vocabulary that is shipped."""
    import transformers

    tokenizer: Any = getattr(transformers, _T5_TOKENIZER)
    return tokenizer.from_pretrained(_parts.CONFIGS / "t5_tokenizer", local_files_only=True)


def find_problem(weight: WeightFile, layout: Layout, repos: tuple[str, ...]) -> str:
    """Why a single file cannot be used, "" when it can: its parts are there, or a folder that has them."""
    if weight.is_folder or _parts.find_companion(weight, repos) is not None:
        return ""
    missing = list_missing(weight, layout)
    if not missing:
        return ""
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"It holds the transformer only, and {' and '.join(missing)} {verb} missing: put the files into"
        f" models/text_encoders and models/vae, or download {' or '.join(repos)}."
    )


def list_missing(weight: WeightFile, layout: Layout) -> list[str]:
    """Titles of the parts that are neither in the file nor beside it."""
    found = find_parts(weight, layout)
    return [part.title for name, part in layout.parts.items() if name not in found and not part.optional]


def find_parts(weight: WeightFile, layout: Layout) -> dict[str, tuple[Path, str]]:
    """The file of each part by its name in the pipeline, and its tensors' prefix there; those that are found."""
    header = _parts.get_header(weight)
    found: dict[str, tuple[Path, str]] = {}
    for name, part in layout.parts.items():
        prefix = next((one for one in part.inside if header and _fits(header, one + part.mark, part.shape)), None)
        if prefix is not None:
            found[name] = weight.path, prefix
    wanted = {name: part for name, part in layout.parts.items() if name not in found}
    if not wanted:
        return found
    sized: dict[str, int] = {}
    for path, size, other in _list_files(weight.path):
        for name, part in wanted.items():
            plain = _fits(other, part.mark, part.shape)
            named = any(word in path.stem.lower() for word in part.others)
            if plain and not named and size > sized.get(name, 0):  # of several numbers formats the finest
                found[name], sized[name] = (path, ""), size
    return found


def load_assembled(weight: WeightFile, options: LoadOptions, layout: Layout, names: tuple[str, str]) -> Any:
    """The pipeline of parts, on `options.device`; `names` are the classes of the pipeline and of the transformer.

    Raises:
        ModelBroken: a part is missing.
    """
    import diffusers
    import torch
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    missing = list_missing(weight, layout)
    if missing:
        raise ModelBroken(
            f"{weight.name} needs {' and '.join(missing)}.",
            hint="Put the files into models/text_encoders and models/vae.",
        )
    dtype = getattr(torch, options.dtype)
    config = _parts.CONFIGS / layout.config
    found = find_parts(weight, layout)
    parts: dict[str, Any] = {
        name: _load_part(*found[name], part, config / name, dtype) if name in found else None
        for name, part in layout.parts.items()
    }
    parts |= {
        name: make() if parts.get(name.replace("tokenizer", "text_encoder")) is not None else None
        for name, make in layout.tokenizers.items()
    }
    class_name, transformer = names
    training = config / layout.training
    pipe = getattr(diffusers, class_name)(
        transformer=_quantised.load_transformer(weight, options, transformer, training / "transformer"),
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(training / "scheduler"),
        **parts,
    )
    return pipe.to(options.device)


def _load_part(path: Path, prefix: str, part: Part, config: Path, dtype: Any) -> Any:
    tensors = _quantised.expand_scaled(read_tensors_below(path, prefix), dtype)
    if part.transformers_class:
        return _load_encoder(tensors, part, config)
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    vae: Any = AutoencoderKL
    return vae.from_single_file(tensors, config=str(config), dtype=dtype, local_files_only=True)


def _load_encoder(tensors: dict[str, Any], part: Part, config: Path) -> Any:
    """A text encoder of transformers with these tensors, assigned and not copied.

    Raises:
        ValueError: one is missing.
    """
    import torch
    import transformers

    cls: Any = getattr(transformers, part.transformers_class)
    with torch.device("meta"):
        model = cls(cls.config_class.from_pretrained(config, local_files_only=True))
    if not hasattr(model, "text_model"):  # where transformers has no level of that name
        tensors = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    if "shared.weight" in tensors:
        tensors.setdefault("encoder.embed_tokens.weight", tensors["shared.weight"])
    missing, _ = model.load_state_dict(tensors, strict=False, assign=True)
    missing = [name for name in missing if not name.endswith("position_ids")]
    if missing:
        raise ValueError(f"{missing[0]} is missing in {part.title}")
    for name, buffer in list(model.named_buffers()):  # counted numbers, which no file has
        if buffer.is_meta:
            owner, _, last = name.rpartition(".")
            counted = torch.arange(buffer.shape[-1]).expand(buffer.shape)
            setattr(model.get_submodule(owner), last, counted)
    return model.eval()


def _fits(header: SafetensorsHeader, name: str, shape: tuple[int | None, ...]) -> bool:
    there = header.shapes.get(name)
    return (
        there is not None
        and len(there) == len(shape)
        and all(wanted is None or side == wanted for side, wanted in zip(there, shape, strict=True))
    )


def _list_files(beside: Path) -> Iterator[tuple[Path, int, SafetensorsHeader]]:
    """(path, size, header) of the files in the folders of parts next to `beside` and above it, and of single files from
    the hub. No further up than the models folder, which the catalog's cache marks: what is there is not the
    studio's."""
    paths: list[Path] = []
    for above in beside.parents[:_MAX_LEVELS]:
        if not (above / "model_index.json").exists():
            folders = [above / name for name in FOLDERS]
            hub = [] if not (above / _HUB).is_dir() else sorted((above / _HUB).iterdir())
            folders += [folder for folder in hub if not (folder / "model_index.json").exists()]
            paths += [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.safetensors"))]
        if (above / _CACHE).is_dir():
            break
    for path in paths[:_MAX_FILES]:
        try:
            yield path, path.stat().st_size, read_header(path)
        except (ModelBroken, OSError):
            continue
