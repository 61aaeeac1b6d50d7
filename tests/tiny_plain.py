"""Tiny random-weight pipelines of the families that draw with the sampler of their maker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny_families import make_t5_tokenizer, make_tiny_kl, make_tiny_t5
from tests.tiny_models import make_tiny_text_encoder, make_tiny_tokenizer

_QWEN = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 600,
    "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    "rope_theta": 1000000.0,
}
_QWEN_SPECIAL = {"vision_end_token_id": 303, "vision_start_token_id": 302, "vision_token_id": 304}


def _make_vae(channels: int = 4, **changes: Any) -> Any:
    """8 px a latent pixel, without the convolutions around the latents."""
    return make_tiny_kl(channels, use_quant_conv=False, use_post_quant_conv=False, **changes)


def _make_flow_scheduler(**changes: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**changes)


def _make_bytes_tokenizer() -> Any:
    """A tokenizer of single bytes for language models."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {name: len(vocab) + place for place, name in enumerate(("<pad>", "<s>", "</s>"))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=512
    )


def _make_qwen_encoder() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(text_config=_QWEN, vision_config=vision, **_QWEN_SPECIAL)
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def _make_qwen_tokenizer() -> Any:
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    vocab = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    return Qwen2Tokenizer(vocab={**vocab, "<|endoftext|>": len(vocab)}, merges=[])


def _make_qwen_processor() -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=_make_qwen_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(),
        chat_template="{{ messages }}",
    )


def make_pixart(folder: Path, *, sigma: bool = True) -> Any:
    from diffusers import DDIMScheduler, PixArtAlphaPipeline, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=3,
        cross_attention_dim=24,
        caption_channels=32,
        in_channels=4,
        out_channels=8,
        norm_type="ada_norm_single",
        use_additional_conditions=False,
    )
    return (PixArtSigmaPipeline if sigma else PixArtAlphaPipeline)(
        tokenizer=make_t5_tokenizer(),
        text_encoder=make_tiny_t5(),
        vae=make_tiny_kl(),
        transformer=transformer,
        scheduler=DDIMScheduler(),
    )


def make_pixart_alpha(folder: Path) -> Any:
    return make_pixart(folder, sigma=False)


def make_hidream(folder: Path) -> Any:
    from diffusers import AutoencoderKL, HiDreamImagePipeline, HiDreamImageTransformer2DModel
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tiny_tokenizer(folder)
    tokenizer.model_max_length = 128
    llama = LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        attn_implementation="eager",
    )
    transformer = HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=[32, 16],
        text_emb_dim=64,
        num_routed_experts=4,
        num_activated_experts=2,
        axes_dims_rope=(4, 2, 2),
        max_resolution=(64, 64),
        llama_layers=(0, 1),
    )
    return HiDreamImagePipeline(
        scheduler=_make_flow_scheduler(),
        vae=AutoencoderKL(scaling_factor=0.36, shift_factor=0.1),  # of one level: its makers' draw a megapixel always
        text_encoder=make_tiny_text_encoder(tokenizer, projection=True, positions=128),
        tokenizer=tokenizer,
        text_encoder_2=make_tiny_text_encoder(tokenizer, projection=True, positions=128),
        tokenizer_2=tokenizer,
        text_encoder_3=make_tiny_t5(),
        tokenizer_3=make_t5_tokenizer(),
        text_encoder_4=LlamaForCausalLM(llama),
        tokenizer_4=_make_bytes_tokenizer(),
        transformer=transformer,
    )


def make_chroma(folder: Path) -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    transformer = ChromaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    return ChromaPipeline(
        scheduler=_make_flow_scheduler(),
        vae=_make_vae(shift_factor=0.1),
        text_encoder=make_tiny_t5(),
        tokenizer=make_t5_tokenizer(),
        transformer=transformer,
    )


def make_sana_sprint(folder: Path) -> Any:
    from diffusers import AutoencoderDC, SanaSprintPipeline, SanaTransformer2DModel, SCMScheduler
    from transformers import Gemma2Config, Gemma2Model

    transformer = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=32,
        qk_norm="rms_norm_across_heads",
        guidance_embeds=True,
    )
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    gemma = Gemma2Config(
        head_dim=8,
        hidden_size=8,
        intermediate_size=16,
        num_attention_heads=1,
        num_hidden_layers=1,
        num_key_value_heads=1,
        vocab_size=300,
        attn_implementation="eager",
    )
    return SanaSprintPipeline(
        tokenizer=_make_bytes_tokenizer(),
        text_encoder=Gemma2Model(gemma),
        vae=vae,
        transformer=transformer,
        scheduler=SCMScheduler(),
    )


def make_omnigen(folder: Path) -> Any:
    from diffusers import OmniGenPipeline, OmniGenTransformer2DModel

    transformer = OmniGenTransformer2DModel(
        hidden_size=16,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=32,
        num_layers=1,
        in_channels=4,
        time_step_dim=4,
        rope_scaling={"long_factor": [1, 2], "short_factor": [1, 2]},
        pad_token_id=256,
        vocab_size=300,
    )
    return OmniGenPipeline(
        transformer=transformer,
        scheduler=_make_flow_scheduler(invert_sigmas=True, num_train_timesteps=1),
        vae=make_tiny_kl(),
        tokenizer=_make_bytes_tokenizer(),
    )


def make_kandinsky5(folder: Path) -> Any:
    from diffusers import Kandinsky5T2IPipeline, Kandinsky5Transformer3DModel

    clip = make_tiny_tokenizer(folder)
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        in_text_dim=16,
        in_text_dim2=32,
        time_dim=32,
        out_visual_dim=4,
        patch_size=(1, 2, 2),
        model_dim=48,
        ff_dim=64,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(8, 8, 8),
        visual_cond=False,
    )
    return Kandinsky5T2IPipeline(
        transformer=transformer,
        vae=_make_vae(),
        text_encoder=_make_qwen_encoder(),
        tokenizer=_make_qwen_processor(),
        text_encoder_2=make_tiny_text_encoder(clip),
        tokenizer_2=clip,
        scheduler=_make_flow_scheduler(shift=3.0),
    )


def make_ernie_image(folder: Path) -> Any:
    from diffusers import AutoencoderKLFlux2, ErnieImagePipeline, ErnieImageTransformer2DModel
    from transformers import Mistral3Config, Mistral3Model

    config = Mistral3Config(
        text_config={
            "model_type": "mistral",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "vocab_size": 300,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=32,
        in_channels=16,
        out_channels=16,
        text_in_dim=16,
        rope_axes_dim=(4, 6, 6),
    )
    return ErnieImagePipeline(
        transformer=transformer,
        vae=vae,
        text_encoder=Mistral3Model(config),
        tokenizer=_make_bytes_tokenizer(),
        scheduler=_make_flow_scheduler(shift=4.0),
    )


def make_longcat_image(folder: Path) -> Any:
    from diffusers import LongCatImagePipeline, LongCatImageTransformer2DModel

    transformer = LongCatImageTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=[4, 4, 8],
    )
    return LongCatImagePipeline(
        scheduler=_make_flow_scheduler(use_dynamic_shifting=True),
        vae=_make_vae(16, shift_factor=0.1),
        text_encoder=_make_qwen_encoder(),
        tokenizer=_make_qwen_tokenizer(),
        text_processor=_make_qwen_processor(),
        transformer=transformer,
    )


def make_hunyuan_image(folder: Path) -> Any:
    from diffusers import (
        AdaptiveProjectedMixGuidance,
        AutoencoderKLHunyuanImage,
        HunyuanImagePipeline,
        HunyuanImageTransformer2DModel,
    )
    from transformers import ByT5Tokenizer

    transformer = HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=(1, 1),
        text_embed_dim=16,
        text_embed_2_dim=32,
        rope_axes_dim=(4, 4),
    )
    vae = AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        scaling_factor=0.476986,
        spatial_compression_ratio=8,
        sample_size=128,
    )
    return HunyuanImagePipeline(
        scheduler=_make_flow_scheduler(shift=7.0),
        vae=vae,
        text_encoder=_make_qwen_encoder(),
        tokenizer=_make_qwen_tokenizer(),
        text_encoder_2=make_tiny_t5(vocabulary=400),
        tokenizer_2=ByT5Tokenizer(),
        transformer=transformer,
        guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=2),
        ocr_guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=3),
    )


def make_bria(folder: Path) -> Any:
    from diffusers import BriaPipeline, BriaTransformer2DModel

    transformer = BriaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[0, 4, 4],
    )
    return BriaPipeline(
        transformer=transformer,
        scheduler=_make_flow_scheduler(),
        vae=_make_vae(shift_factor=0.0),
        text_encoder=make_tiny_t5(),
        tokenizer=make_t5_tokenizer(),
    )


def make_bria_fibo(folder: Path) -> Any:
    from diffusers import AutoencoderKLWan, BriaFiboPipeline, BriaFiboTransformer2DModel
    from transformers import SmolLM3Config, SmolLM3ForCausalLM

    transformer = BriaFiboTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        text_encoder_dim=16,
        axes_dims_rope=[0, 4, 4],
    )
    vae = AutoencoderKLWan(
        base_dim=8,
        decoder_base_dim=8,
        num_res_blocks=1,
        out_channels=12,
        in_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        temperal_downsample=[False, True, True],
        z_dim=16,
    )
    smol = SmolLM3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=128100,  # the pipeline knows the number of one token
        pad_token_id=256,
    )
    return BriaFiboPipeline(
        transformer=transformer,
        scheduler=_make_flow_scheduler(),
        vae=vae,
        text_encoder=SmolLM3ForCausalLM(smol),
        tokenizer=_make_bytes_tokenizer(),
    )
