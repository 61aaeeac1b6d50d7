"""Single files of Stable Diffusion 1 and 2, which have one layout: what is in them, and how they are described and loaded."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model, Sizes
from studio.core.ports import LoadOptions
from studio.core.request import GenerationRequest
from studio.core.weights import Header, WeightFile
from studio.pipelines.families import _parts
from studio.pipelines.folder import component_config

CLASSES = ("StableDiffusionPipeline", "StableDiffusionPAGPipeline")
_CONTEXT = (
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
)
_VAE = "first_stage_model.decoder.conv_in.weight"
_TEXT = ("cond_stage_model.transformer.text_model.embeddings.position_embedding.weight", "cond_stage_model.transformer.embeddings.position_embedding.weight", "cond_stage_model.model.token_embedding.weight")  # fmt: skip


def text_width(header: Header) -> int:
    """The width of the text states that the UNet attends to: 768 in Stable Diffusion 1, 1024 in 2; 0 when this is no such UNet."""
    if _parts.has_any(header, "label_emb.0.0.weight", "add_embedding.linear_1.weight"):
        return 0  # Stable Diffusion XL
    return next((header.shapes[name][1] for name in _CONTEXT if name in header.shapes), 0)


def problem(weight: WeightFile) -> str:
    """Why the checkpoint cannot draw from text, empty when it can."""
    header = weight.header
    channels = channels_in(weight)
    if channels == 9:
        return "It is an inpainting model, which cannot draw from text alone."
    if channels == 8:
        return "It is an instruction model (pix2pix), which cannot draw from text alone."
    if weight.is_folder or header is None:
        return ""
    if not any(name.startswith("model.diffusion_model.") for name in header.shapes):
        return "It is a UNet alone, without text encoder and VAE."
    lacks = [
        what
        for what, names in (("VAE", (_VAE,)), ("text encoder", _TEXT))
        if not any(name in header.shapes for name in names)
    ]
    return f"It holds no {' and no '.join(lacks)}." if lacks else ""


def channels_in(weight: WeightFile) -> int:
    """Input channels of the UNet: 4 for text to image, 9 for inpainting; 0 when unknown."""
    if weight.is_folder:
        return int(component_config(weight.path, "unet").get("in_channels") or 0)
    names = ("model.diffusion_model.input_blocks.0.0.weight", "conv_in.weight")
    shapes = weight.header.shapes if weight.header else {}
    return next((shapes[name][1] for name in names if name in shapes), 0)


def native_side(weight: WeightFile, otherwise: int) -> int:
    """The side in px of the pictures that a folder's checkpoint was trained at."""
    unet, vae = component_config(weight.path, "unet"), component_config(weight.path, "vae")
    sample = unet.get("sample_size")
    blocks = vae.get("block_out_channels") or vae.get("decoder_block_out_channels") or [0] * 4
    if isinstance(sample, list):
        sample = max(sample)
    return sample * 2 ** (len(blocks) - 1) if isinstance(sample, int) else otherwise


def sizes(side: int) -> Sizes:
    """The sizes of a UNet that was trained at `side`²."""
    return _parts.sizes(side, multiple=8, smallest=64, largest=4 * side)


def load(weight: WeightFile, options: LoadOptions, config: str, prediction: str, pad_token: str) -> Any:
    """The text-to-image pipeline, without safety checker: its gigabyte is no part of drawing."""
    if weight.is_folder:
        parts = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        return _parts.load_folder(weight, options, CLASSES[0], **parts)
    folder = _parts.CONFIGS / config
    return _parts.load_file(
        weight, options, CLASSES[0], folder, tokenizer=_parts.clip_tokenizer(pad_token),
        scheduler=_parts.clip_scheduler(folder, prediction),
    )  # fmt: skip


def arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """All of Stable Diffusion 1, 2 and XL call it guidance_scale."""
    return {"guidance_scale": request.guidance}
