"""Real diffusers checkpoints with tiny random weights, saved as folders for the real loader.

Their images mean nothing, but every class, config and file is of the kind that a large checkpoint has. The weights are
drawn from `seed`, so that two seeds are two checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_CHARACTERS = [chr(code) for code in range(33, 127)]


def make_tiny_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer that spells: one token a letter, 77 tokens."""
    from transformers import CLIPTokenizer

    words = [*_CHARACTERS, *(letter + "</w>" for letter in _CHARACTERS), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
    tokenizer.model_max_length = 77
    return tokenizer


def make_tiny_text_encoder(tokenizer: Any, *, hidden: int = 32, projection: bool = False, positions: int = 77) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=positions,
        projection_dim=hidden,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def make_tiny_vae() -> Any:
    """A small AutoencoderTiny: 4 latent channels, 8 px a latent pixel."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16, 16), decoder_block_out_channels=(16, 16, 16, 16), latent_channels=4
    ).eval()


def _make_unet(**changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        **{
            "block_out_channels": (16, 32),
            "cross_attention_dim": 32,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            **changes,
        },
    ).eval()


def _make_scheduler(prediction_type: str) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
        timestep_spacing="leading",
    )


def make_tiny_sd15(folder: Path, *, seed: int = 0, prediction_type: str = "epsilon", **unet: Any) -> Path:
    """A StableDiffusionPipeline below `folder`: about 0.3 M parameters, made for 64 px; `unet` says what its UNet has
    else. Returns `folder`."""
    import torch
    from diffusers import StableDiffusionPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tiny_tokenizer(folder)
        pipe = StableDiffusionPipeline(
            unet=_make_unet(**unet),
            vae=make_tiny_vae(),
            text_encoder=make_tiny_text_encoder(tokenizer),
            tokenizer=tokenizer,
            scheduler=_make_scheduler(prediction_type),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def make_tiny_sdxl(folder: Path, *, seed: int = 0) -> Path:
    """A StableDiffusionXLPipeline below `folder`, with two text encoders and pooled conditions. Returns `folder`."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tiny_tokenizer(folder)
        unet = _make_unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=32 + 6 * 8,
            use_linear_projection=True,
        )
        pipe = StableDiffusionXLPipeline(
            unet=unet,
            vae=make_tiny_vae(),
            text_encoder=make_tiny_text_encoder(tokenizer),
            tokenizer=tokenizer,
            text_encoder_2=make_tiny_text_encoder(tokenizer, projection=True),
            tokenizer_2=tokenizer,
            scheduler=_make_scheduler("epsilon"),
            add_watermarker=False,
        )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def make_tiny_refiner(folder: Path, *, seed: int = 0) -> Path:
    """A refiner for `make_tiny_sdxl` below `folder`: the second text encoder alone, and a score among its sizes.
    Returns `folder`."""
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tiny_tokenizer(folder)
        encoder = make_tiny_text_encoder(tokenizer, projection=True)
        unet = _make_unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=32 + 5 * 8,
            use_linear_projection=True,
        )
        pipe = StableDiffusionXLImg2ImgPipeline(
            unet=unet,
            vae=make_tiny_vae(),
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=encoder,
            tokenizer_2=tokenizer,
            scheduler=_make_scheduler("epsilon"),
            requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder
