"""The captioners' real network classes with tiny random weights, saved where they are looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] <image> a red cup on the table in an image what does describe".split()
_SEED = 1  # with some random weights a network says nothing at all


def save_tiny_florence(folder: Path) -> None:
    import torch
    import transformers as t

    tokenizer = _make_tokenizer(extra_special_tokens={"image_token": "<image>"})
    vision: dict[str, Any] = {
        "drop_path_rate": 0.0,
        "depths": [1, 1],
        "patch_size": [7, 3],
        "patch_stride": [4, 2],
        "patch_padding": [3, 1],
        "patch_prenorm": [False, True],
        "embed_dim": [8, 16],
        "num_heads": [1, 2],
        "num_groups": [1, 2],
        "window_size": 12,
        "projection_dim": 16,
    }
    text: dict[str, Any] = {
        "model_type": "bart",
        "vocab_size": len(WORDS),
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "encoder_attention_heads": 1,
        "decoder_attention_heads": 1,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 3,
    }
    config = t.Florence2Config(vision_config=vision, text_config=text, image_token_id=WORDS.index("<image>"))
    torch.manual_seed(_SEED)
    t.Florence2ForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    images = t.CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)
    images.image_seq_length = 17  # 4 × 4 places and their mean
    t.Florence2Processor(images, tokenizer).save_pretrained(folder)


def save_tiny_blip(folder: Path) -> None:
    import torch
    import transformers as t

    text: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "encoder_hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = t.BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)
    torch.manual_seed(_SEED)
    t.BlipForConditionalGeneration(config).save_pretrained(folder)
    images = t.BlipImageProcessor(size={"height": 32, "width": 32})
    t.BlipProcessor(images, _make_tokenizer()).save_pretrained(folder)


def _make_tokenizer(**options: Any) -> Any:
    import transformers as t

    vocabulary = {word: index for index, word in enumerate(WORDS)}
    names = ["input_ids", "attention_mask"]
    return t.BertTokenizer(vocab=vocabulary, bos_token="[CLS]", eos_token="[SEP]", model_input_names=names, **options)
