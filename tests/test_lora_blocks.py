"""Weights of single blocks in a LoRA."""

from __future__ import annotations

import pytest

from studio.core.codec import decode_json, encode_json
from studio.core.errors import InvalidRequest
from studio.core.lora_tags import split_tags, write_tag
from studio.core.request import GenerationRequest, LoraUse
from studio.pipelines.run.lora_blocks import find_lora_block, scale_blocks

TWELVE = ",".join(["1"] * 12)
TAGS = {
    "<lora:a:0.8:lbw=IN04=0.5,OUT03-OUT05=0>": "IN04=0.5,OUT03-OUT05=0",
    f"<lora:a:0.8:lbw={TWELVE}>": TWELVE,
    "<lora:a:0.8:lbw=MIDD>": "",
    "<lora:a:0.8:lbw=ALL0.5>": "",
    "<lora:a:0.8:lbw=1,2,3>": "",
    "<lora:a:0.8>": "",
}


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_says_the_weights_of_blocks(tag: str) -> None:
    (use,) = split_tags(tag)[1]
    assert (use.weight, use.blocks) == (0.8, TAGS[tag])
    assert split_tags(write_tag(use))[1] == (use,)


def test_entries_with_colons_survive_as_a_tag() -> None:
    use = LoraUse(name="a", weight=0.5, blocks="IN04: 0.5, M00: 0")
    (again,) = split_tags(write_tag(use))[1]
    assert again.blocks == "IN04= 0.5, M00= 0"


def test_a_request_checks_them_and_a_recipe_without_them_is_read() -> None:
    with pytest.raises(InvalidRequest, match="block"):
        GenerationRequest(loras=(LoraUse(name="a", blocks="IN99999: 1"),))
    with pytest.raises(InvalidRequest, match="Block weight"):
        GenerationRequest(loras=(LoraUse(name="a", blocks="IN04: 99"),))
    request = GenerationRequest(loras=(LoraUse(name="a", blocks="IN04: 0.5"),))
    data = encode_json(request)
    assert decode_json(GenerationRequest, data, "request") == request
    for lora in data["loras"]:
        lora.pop("blocks")
    assert decode_json(GenerationRequest, data, "request").loras == (LoraUse(name="a"),)


NAMES = {
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_up.weight": "IN04",
    "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight": "IN04",
    "unet.down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.lora_B.weight": "IN08",
    "lora_unet_down_blocks_0_resnets_1_conv1.lora_up.weight": "IN02",
    "lora_unet_down_blocks_0_downsamplers_0_conv.lora_up.weight": "IN03",
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_2.lora_up.weight": "M00",
    "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q.lora_up.weight": "M00",
    "lora_unet_up_blocks_1_attentions_2_proj_in.lora_up.weight": "OUT05",
    "lora_unet_output_blocks_5_1_proj_in.lora_up.weight": "OUT05",
    "lora_unet_up_blocks_0_upsamplers_0_conv.lora_up.weight": "OUT02",
    "lora_unet_time_embed_0.lora_up.weight": "BASE",
    "lora_te_text_model_encoder_layers_4_mlp_fc1.lora_up.weight": "BASE",
    "lora_te1_text_model_encoder_layers_4_mlp_fc1.lora_up.weight": "BASE",
    "text_encoder.text_model.encoder.layers.4.mlp.fc1.lora_B.weight": "BASE",
    "lora_unet_double_blocks_11_img_attn_qkv.lora_up.weight": "DOUBLE11",
    "transformer.transformer_blocks.11.attn.to_q.lora_B.weight": "DOUBLE11",
    "transformer.single_transformer_blocks.7.attn.to_q.lora_B.weight": "SINGLE07",
    "lora_unet_single_blocks_7_linear1.lora_up.weight": "SINGLE07",
    "diffusion_model.joint_blocks.3.x_block.attn.qkv.lora_B.weight": "JOINT03",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_its_block_under_any_name(name: str) -> None:
    assert find_lora_block(name) == NAMES[name]


def test_one_factor_of_each_layer_is_scaled() -> None:
    layer = "lora_unet_down_blocks_1_attentions_0_proj_in"
    tensors = {f"{layer}.{part}": 2.0 for part in ("lora_up.weight", "lora_down.weight", "alpha")}
    tensors |= {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": 2.0}
    tensors |= {f"{layer}.{part}": 2.0 for part in ("lokr_w1_a", "lokr_w1_b", "lokr_w2", "hada_w1_a", "hada_w1_b")}
    scaled = scale_blocks(tensors, {"IN04": 0.25})
    assert {name: value for name, value in scaled.items() if value != 2.0} == {
        f"{layer}.lora_up.weight": 0.5,
        f"{layer}.lokr_w1_a": 0.5,
        f"{layer}.hada_w1_a": 0.5,
    }
