"""Recognise weight files by the names and shapes of their tensors. Checkpoints are recognised by their families'
`detect`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from studio.core.ports import PipelineSpec
from studio.core.weights import SafetensorsHeader, WeightKind
from studio.pipelines.control import control_files

_LORA_MARKS = (
    ".oft_blocks",
    ".oft_diag",
    ".on_input",
    ".a1.weight",
    ".lora_down.",
    ".lora_up.",
    ".lora_A.",
    ".lora_B.",
    ".lora.down.",
    ".lora.up.",
    "_lora.down.",
    "_lora.up.",
    "lora_linear_layer",
    ".lokr_w",
    ".hada_w1",
)
_OFT_MARKS = (".oft_blocks", ".oft_diag")
_RESTORERS = (
    ("stylegan_decoder.style_mlp.1.weight", "toRGB.0.weight"),  # GFPGAN
    ("position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"),  # CodeFormer
    ("quantize.embedding.weight", "quant_conv.weight", "encoder.mid.attn_1.norm1.weight"),  # RestoreFormer
)
IMAGE_NETWORKS = frozenset({WeightKind.UPSCALER, WeightKind.RESTORER})
"""Kinds of so many architectures that a file in their folder is taken for one, whatever its tensors are called."""
_PARTS = {
    "a T5 text encoder": ("encoder.block.0.layer.0.SelfAttention.q.weight",),
    "a CLIP text encoder": ("text_model.embeddings.token_embedding.weight",),
    "a language model": ("model.embed_tokens.weight",),
    "a CLIP image encoder": ("vision_model.embeddings.class_embedding",),
}


@dataclass(frozen=True)
class Guess:
    """`family` is a PipelineSpec's family or empty, `problem` why the file is of no use, or empty."""

    kind: WeightKind
    family: str = ""
    problem: str = ""


def find_quantisation_problem(header: SafetensorsHeader, *, is_unet: bool) -> str:
    """Why a checkpoint's numbers cannot be read, "" when they can."""
    names = header.shapes
    if any(".quant_state.bitsandbytes__" in name for name in names):
        return "Its weights are in bitsandbytes' 4 bits (NF4), which a single file cannot be read in; take GGUF or fp8."
    quantised = any(name.endswith(".comfy_quant") for name in names)
    if quantised and any(dtype in ("U8", "I8", "F4") for name, dtype in header.dtypes.items() if ".weight" in name):
        return "Its weights are quantised in a form of ComfyUI that is not supported; take GGUF or fp8."
    if is_unet and any(dtype.startswith(("Q", "GGUF")) for dtype in header.dtypes.values()):
        return "It is a UNet in GGUF, which is not supported; take the .safetensors file."
    if is_unet and any(name.endswith((".scale_weight", ".weight_scale")) for name in names):
        return "It is a UNet in scaled 8 bits, which is not supported; take the file with 16 bits."
    return ""


def guess_special(header: SafetensorsHeader, specs: Sequence[PipelineSpec]) -> Guess | None:
    """Recognise control networks, LoRAs and textual inversions; None for everything else. These come before
    checkpoints, whose tensors some hold too."""
    found = control_files.guess_header(header, specs)
    if found is not None:
        return Guess(*found)
    return _guess_lora(header, specs) or _guess_embedding(header, specs)


def guess_part(header: SafetensorsHeader, specs: Sequence[PipelineSpec]) -> Guess:
    """Recognise a file that is neither special nor a checkpoint: a VAE, an upscaler, a face restorer, or unknown with
    the best word for it."""
    if any(header.has_tensors(*names) for names in _RESTORERS):
        return Guess(WeightKind.RESTORER)
    vae = _guess_vae(header, specs)
    if vae is not None:
        return vae
    if _is_upscaler(header):
        return Guess(WeightKind.UPSCALER)
    for what, names in _PARTS.items():
        if any(name in header.shapes for name in names):
            return Guess(WeightKind.UNKNOWN, problem=f"It is only {what}, which cannot be used by itself.")
    return Guess(WeightKind.UNKNOWN, problem="Its model type is unknown.")


def _guess_lora(header: SafetensorsHeader, specs: Sequence[PipelineSpec]) -> Guess | None:
    names = "\n".join(("", *header.shapes))  # one text: a search in it is a hundred times faster than one in each name
    if not _is_mostly_lora(header):
        return None
    if any(name.endswith(_OFT_MARKS) and len(shape) != 3 for name, shape in header.shapes.items()) or (
        ".rescale" in names
    ):
        problem = "It is a LyCORIS BOFT or a rescaled OFT, which the studio cannot apply."
        return Guess(WeightKind.LORA, _guess_lora_family(header, names, specs), problem)
    if any(mark in names for mark in _LORA_MARKS):
        return Guess(WeightKind.LORA, _guess_lora_family(header, names, specs))
    if "\nlora_" in names:
        return Guess(WeightKind.LORA, problem="diffusers does not know its layer names.")
    return None


def _is_mostly_lora(header: SafetensorsHeader) -> bool:
    """Whether at least half of the tensors are a LoRA's: a single one astray makes no checkpoint a LoRA."""
    marks = ("lora", *_OFT_MARKS, ".on_input", ".a1.weight", ".hada_", ".lokr_", ".alpha", ".dora_scale")
    return 2 * sum(any(mark in name for mark in marks) for name in header.shapes) >= len(header.shapes)


def _guess_lora_family(header: SafetensorsHeader, names: str, specs: Sequence[PipelineSpec]) -> str:
    family = next((spec.family for spec in specs if spec.add_ons.detect_lora(header, names)), "")
    if family:
        return family
    found = re.search(
        r"\n(.*attn2[._](?:processor[._])?to_[kv][._].*(?:lora_down|lora_A|lora\.down|hada_w1_b)\b.*)", names
    )
    shape = header.shapes[found.group(1)] if found is not None else ()
    return control_files.find_text_width_family(shape[1], specs) if len(shape) >= 2 else ""  # a UNet's


def _guess_embedding(header: SafetensorsHeader, specs: Sequence[PipelineSpec]) -> Guess | None:
    """diffusers writes one tensor under the token's name, A1111 `emb_params` or `string_to_param`, SDXL's have `clip_l`
    and `clip_g`."""
    names = header.shapes
    for spec in specs:
        if spec.add_ons.embedding_names and header.has_tensors(*spec.add_ons.embedding_names):
            return Guess(WeightKind.EMBEDDING, spec.family)
    if len(names) != 1:
        return None
    name, shape = next(iter(names.items()))
    named = name == "emb_params" or name.startswith(("string_to_param", "<"))
    if len(shape) not in (1, 2):
        return None
    family = next((spec.family for spec in specs if spec.add_ons.embedding_width == shape[-1]), "")
    return Guess(WeightKind.EMBEDDING, family) if named or (family and "." not in name) else None


def _guess_vae(header: SafetensorsHeader, specs: Sequence[PipelineSpec]) -> Guess | None:
    """Family by latent channels; with 4, Stable Diffusion 1, 2 and XL have the same layers and any of them may use
    it."""
    for prefix in ("", "first_stage_model.", "vae."):
        first = header.shapes.get(f"{prefix}decoder.conv_in.weight")
        if first is None or len(first) < 2:
            continue
        if len(first) != 4:
            return Guess(WeightKind.VAE, problem="It is the VAE of a video model, which the studio cannot use.")
        return Guess(WeightKind.VAE, next((spec.family for spec in specs if spec.add_ons.vae_channels == first[1]), ""))
    if _has_prefixes(header.shapes, "decoder.layers.", "encoder.layers.") or header.has_tensors(
        "taesd_decoder.1.weight"
    ):
        return Guess(WeightKind.VAE)
    return None


def _is_upscaler(header: SafetensorsHeader) -> bool:
    """ESRGAN in its old and new names, SRVGG ("compact"), SwinIR, HAT and DAT: all begin with a convolution over an
    image."""
    shapes = header.shapes
    for first in ("conv_first.weight", "model.0.weight", "body.0.weight", "params_ema.conv_first.weight"):
        shape = shapes.get(first)
        if shape is not None and len(shape) == 4 and shape[1] in (1, 3, 4, 12, 48):
            return True
    return False


def _has_prefixes(names: Iterable[str], *prefixes: str) -> bool:
    names = list(names)
    return all(any(name.startswith(prefix) for name in names) for prefix in prefixes)
