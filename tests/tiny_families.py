"""Tiny random-weight pipelines of the larger families, and Stable Diffusion 1, 2 and XL as single files in their
original layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.tiny_models import make_tiny_text_encoder, make_tiny_tokenizer

_CLIP_TOKENS = 49408


def make_clip_encoder(width: int, *, act: str = "quick_gelu", projection: bool = False) -> Any:
    """A CLIP text encoder with the real vocabulary and two layers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=_CLIP_TOKENS,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=width // 64 or 1,
        max_position_embeddings=77,
        hidden_act=act,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def make_tiny_kl(channels: int = 4, **changes: Any) -> Any:
    """An AutoencoderKL of four levels, 8 px a latent pixel, as the published ones have."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=channels,
        norm_num_groups=4,
        **changes,
    ).eval()


def make_tiny_t5(width: int = 32, vocabulary: int = 200) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=vocabulary, d_model=width, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    ).eval()


def _make_flow_scheduler(**changes: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**changes)


def make_tiny_flux(folder: Path, *, guided: bool) -> Path:
    """FluxPipeline: dev when `guided`, else schnell."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    tokenizer = make_tiny_tokenizer(folder)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guided,
    )
    pipe = FluxPipeline(
        scheduler=_make_flow_scheduler(use_dynamic_shifting=guided),
        vae=make_tiny_kl(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder=make_tiny_text_encoder(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=make_tiny_t5(),
        tokenizer_2=make_t5_tokenizer(),
        transformer=transformer,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def make_tiny_sd3(folder: Path, *, channels: int = 4) -> Path:
    """StableDiffusion3Pipeline. The published ones have 16 latent `channels`, which inpainting insists on."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    tokenizer = make_tiny_tokenizer(folder)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=channels,
        out_channels=channels,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
    )
    clips = make_tiny_text_encoder(tokenizer, projection=True), make_tiny_text_encoder(tokenizer, projection=True)
    pipe = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=_make_flow_scheduler(shift=3.0),
        vae=make_tiny_kl(channels, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=clips[0],
        tokenizer=tokenizer,
        text_encoder_2=clips[1],
        tokenizer_2=tokenizer,
        text_encoder_3=make_tiny_t5(64),
        tokenizer_3=make_t5_tokenizer(),
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def make_t5_tokenizer() -> Any:
    """A unigram tokenizer of single letters, of the class that T5 has."""
    from transformers import T5TokenizerFast

    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((chr(code), -3.0) for code in range(97, 123)),
    ]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)


def make_single_file(folder: Path, family: str) -> tuple[Path, Path, dict[str, Any]]:
    """A tiny checkpoint of `family` in the layout of the published single files: (file, config folder, the modules in
    it)."""
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file

    from studio.pipelines.catalog.model_folders import read_component_config
    from studio.pipelines.families._parts import CONFIGS

    torch.manual_seed(3)
    xl, width = family == "sdxl", {"sd15": 64, "sd2": 1024, "sdxl": 192}[family]
    real = dict(read_component_config(CONFIGS / family, "unet"))
    levels = len(real["block_out_channels"])
    unet = UNet2DConditionModel.from_config(
        {
            **real,
            "block_out_channels": [32, 64, 64, 64][:levels],
            "cross_attention_dim": width,
            "sample_size": 8,
            "attention_head_dim": 8 if family == "sd15" else [2, 4, 4, 4][:levels],
            **(
                {"transformer_layers_per_block": [1, 1, 1], "projection_class_embeddings_input_dim": 128 + 6 * 256}
                if xl
                else {}
            ),
        }
    )
    modules: dict[str, Any] = {"unet": unet, "vae": make_tiny_kl()}
    if xl:
        modules |= {
            "text_encoder": make_clip_encoder(64),
            "text_encoder_2": make_clip_encoder(128, act="gelu", projection=True),
        }
    else:
        modules["text_encoder"] = make_clip_encoder(width, act="gelu" if family == "sd2" else "quick_gelu")
    config = folder / f"{family}-config"
    for name, module in modules.items():
        module.config.save_pretrained(config / name) if "text" in name else module.save_config(config / name)
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        (config / name).parent.mkdir(exist_ok=True)
        (config / name).write_bytes((CONFIGS / family / name).read_bytes())
    tensors = convert_to_original(modules, family)
    file = folder / f"{family}.safetensors"
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, file)
    return file, config, modules


def convert_to_original(modules: dict[str, Any], family: str) -> dict[str, Any]:
    """The tensors of `modules`, by their names in diffusers' pipeline, under the names that single files have."""
    return {
        **_convert_unet_keys(modules["unet"], len(modules["unet"].config["block_out_channels"])),
        **convert_vae_keys(modules["vae"]),
        **_convert_text_keys(modules, family),
    }


def _convert_unet_keys(unet: Any, levels: int) -> dict[str, Any]:
    """diffusers' names to the original ones: the blocks are counted through, in and out."""
    plain = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
    resnet = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }
    starts: dict[str, str] = {"mid_block.attentions.0.": "middle_block.1."}
    for level in range(levels):
        for layer in range(2):
            starts[f"down_blocks.{level}.resnets.{layer}."] = f"input_blocks.{3 * level + layer + 1}.0."
            starts[f"down_blocks.{level}.attentions.{layer}."] = f"input_blocks.{3 * level + layer + 1}.1."
        for layer in range(3):
            starts[f"up_blocks.{level}.resnets.{layer}."] = f"output_blocks.{3 * level + layer}.0."
            starts[f"up_blocks.{level}.attentions.{layer}."] = f"output_blocks.{3 * level + layer}.1."
        starts[f"down_blocks.{level}.downsamplers.0.conv."] = f"input_blocks.{3 * (level + 1)}.0.op."
        attends = hasattr(unet.up_blocks[level], "attentions")
        starts[f"up_blocks.{level}.upsamplers.0."] = f"output_blocks.{3 * level + 2}.{2 if attends else 1}."
    for layer in range(2):
        starts[f"mid_block.resnets.{layer}."] = f"middle_block.{2 * layer}."
    found: dict[str, Any] = {}
    for name, tensor in unet.state_dict().items():
        base, kind = name.rsplit(".", 1)
        new = (
            f"{plain[base]}.{kind}" if base in plain else _rename_key(name, starts, resnet if "resnets" in name else {})
        )
        found["model.diffusion_model." + new] = tensor
    return found


def _rename_key(name: str, starts: dict[str, str], inner: dict[str, str]) -> str:
    start = next(start for start in starts if name.startswith(start))
    rest = name[len(start) :]
    for old, new in inner.items():
        rest = re.sub(rf"^{old}\.", f"{new}.", rest)
    return starts[start] + rest


def convert_vae_keys(vae: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, tensor in vae.state_dict().items():
        new = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        new = new.replace("mid_block.attentions.0.", "mid.attn_1.")
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", new)
        new = re.sub(r"encoder\.down_blocks\.(\d)\.resnets\.", r"encoder.down.\1.block.", new)
        new = re.sub(r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample", new)
        new = re.sub(r"decoder\.up_blocks\.(\d)\.resnets\.", lambda m: f"decoder.up.{3 - int(m[1])}.block.", new)
        new = re.sub(r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{3 - int(m[1])}.upsample", new)
        if "attn_1" in new:
            for old, short in (
                ("group_norm", "norm"),
                ("to_q", "q"),
                ("to_k", "k"),
                ("to_v", "v"),
                ("to_out.0", "proj_out"),
            ):
                new = new.replace(f".{old}.", f".{short}.")
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        found["first_stage_model." + new] = tensor
    return found


def _convert_text_keys(modules: dict[str, Any], family: str) -> dict[str, Any]:
    first = modules["text_encoder"].state_dict()
    if family == "sd2":
        return _convert_open_clip_keys(first, "cond_stage_model.model.")
    prefix = "conditioner.embedders.0.transformer." if family == "sdxl" else "cond_stage_model.transformer."
    found = {prefix + ("" if name.startswith("text_model.") else "text_model.") + name: t for name, t in first.items()}
    if family == "sdxl":
        found |= _convert_open_clip_keys(modules["text_encoder_2"].state_dict(), "conditioner.embedders.1.model.")
    return found


def _convert_open_clip_keys(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """OpenCLIP holds query, key and value as one matrix and the projection the other way round."""
    import torch

    state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    found: dict[str, Any] = {}
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    inner = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for name, tensor in state.items():
        layer = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
        if name in names:
            found[prefix + names[name]] = tensor
        elif name == "text_projection.weight":
            found[prefix + "text_projection"] = tensor.T
        elif layer is not None and layer[2] in inner:
            found[f"{prefix}transformer.resblocks.{layer[1]}.{inner[layer[2]]}.{layer[3]}"] = tensor
        elif layer is not None and layer[2] == "self_attn.q_proj":
            parts = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            found[f"{prefix}transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}"] = torch.cat(parts)
    if "text_projection.weight" not in state:
        found[prefix + "text_projection"] = torch.zeros(state["embeddings.token_embedding.weight"].shape[1], 64)
    return found
