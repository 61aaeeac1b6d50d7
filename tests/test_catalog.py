"""What the catalog finds, what it calls it, and what it says of files that are no good."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest, ModelBroken, UnknownModel
from studio.core.model import Feature
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.engine.plugins import discover
from studio.pipelines.catalog import catalog as catalog_module
from studio.pipelines.catalog.catalog import Catalog
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

UNET = "model.diffusion_model."
_CONTEXT = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_CLIP = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
_VAE = "first_stage_model.decoder.conv_in.weight"


def write(path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    """A .safetensors file of zero bytes with these F16 tensors; the data is a hole in the file, so that size costs
    nothing."""
    table: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(table).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + offset)
    return path


def sd(width: int, channels: int = 4, **more: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    first = UNET + "input_blocks.0.0.weight"
    return {UNET + _CONTEXT: (320, width), first: (320, channels, 3, 3), _CLIP: (77, 768), _VAE: (512, 4, 3, 3), **more}


def sdxl(**more: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {
        UNET + "label_emb.0.0.weight": (1280, 2816),
        UNET + "input_blocks.4.1.proj_in.weight": (640, 640),
        UNET + "input_blocks.0.0.weight": (320, 4, 3, 3),
        _VAE: (512, 4, 3, 3),
        "conditioner.embedders.1.model.positional_embedding": (77, 1280),
        **more,
    }


def lora(name: str, width: int = 768) -> dict[str, tuple[int, ...]]:
    return {f"{name}.lora_down.weight": (4, width), f"{name}.lora_up.weight": (320, 4)}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    root.mkdir()
    return root


@pytest.fixture
def look(models: Path, tmp_path: Path) -> Callable[[], Catalog]:
    specs = discover("studio.pipelines.families", "PIPELINE")
    return lambda: Catalog(models, specs, tmp_path / "cache")


def only(catalog: Catalog) -> WeightFile:
    (found,) = catalog.weights()
    return found


SINGLE_FILES: dict[str, tuple[dict[str, tuple[int, ...]], WeightKind, str]] = {
    "sd15": (sd(768), WeightKind.CHECKPOINT, "sd15"),
    "sd2": (sd(1024), WeightKind.CHECKPOINT, "sd2"),
    "sdxl": (sdxl(), WeightKind.CHECKPOINT, "sdxl"),
    "sd3": (
        {UNET + "joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,), UNET + "pos_embed": (1, 36864, 1536)},
        WeightKind.CHECKPOINT,
        "sd3",
    ),
    "flux": (
        {"double_blocks.0.img_attn.norm.key_norm.scale": (128,), "img_in.weight": (3072, 64)},
        WeightKind.CHECKPOINT,
        "flux",
    ),
    "flux2": (
        {"single_stream_modulation.lin.weight": (18432, 6144), "double_blocks.0.img_attn.norm.key_norm.scale": (128,)},
        WeightKind.CHECKPOINT,
        "flux2",
    ),
    "chroma": (
        {"distilled_guidance_layer.in_proj.bias": (5120,), "double_blocks.0.img_attn.norm.key_norm.scale": (128,)},
        WeightKind.CHECKPOINT,
        "chroma",
    ),
    "qwen": (
        {"transformer_blocks.0.img_mod.1.weight": (18432, 3072), "txt_norm.weight": (3584,)},
        WeightKind.CHECKPOINT,
        "qwen_image",
    ),
    "z_image": (
        {"layers.0.adaLN_modulation.0.weight": (15360, 256), "cap_embedder.0.weight": (2560,)},
        WeightKind.CHECKPOINT,
        "z_image",
    ),
    "kohya sd15": (
        lora("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"),
        WeightKind.LORA,
        "sd15",
    ),
    "kohya sd2": (
        lora("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 1024),
        WeightKind.LORA,
        "sd2",
    ),
    "kohya sdxl": (lora("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048), WeightKind.LORA, "sdxl"),
    "peft sd15": (
        {
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 768),
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_B.weight": (320, 4),
        },
        WeightKind.LORA,
        "sd15",
    ),
    "sdxl text lora": (lora("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280), WeightKind.LORA, "sdxl"),
    "kohya flux": (lora("lora_unet_double_blocks_0_img_attn_proj", 3072), WeightKind.LORA, "flux"),
    "peft flux": (
        {"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (4, 3072)},
        WeightKind.LORA,
        "flux",
    ),
    "flux2 lora": (
        {"diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight": (4, 6144)},
        WeightKind.LORA,
        "flux2",
    ),
    "sd3 lora": ({"transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight": (4, 1536)}, WeightKind.LORA, "sd3"),
    "qwen lora": (
        {"transformer.transformer_blocks.0.img_mod.1.lora_A.weight": (4, 3072)},
        WeightKind.LORA,
        "qwen_image",
    ),
    "z_image lora": ({"diffusion_model.layers.0.attention.to_q.lora_A.weight": (4, 3840)}, WeightKind.LORA, "z_image"),
    "a1111 embedding": ({"emb_params": (2, 768)}, WeightKind.EMBEDDING, "sd15"),
    "diffusers embedding": ({"<cat-toy>": (1024,)}, WeightKind.EMBEDDING, "sd2"),
    "sdxl embedding": ({"clip_l": (2, 768), "clip_g": (2, 1280)}, WeightKind.EMBEDDING, "sdxl"),
    "controlnet": (
        {
            "control_model.time_embed.0.weight": (1280, 320),
            "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        },
        WeightKind.CONTROLNET,
        "sd15",
    ),
    "diffusers controlnet xl": (
        {
            "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
            "add_embedding.linear_1.weight": (1280, 2816),
        },
        WeightKind.CONTROLNET,
        "sdxl",
    ),
    "vae": ({"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)}, WeightKind.VAE, ""),
    "ldm vae": ({_VAE: (512, 4, 3, 3)}, WeightKind.VAE, ""),
    "taesd": ({"decoder.layers.0.weight": (64, 4, 3, 3), "encoder.layers.0.weight": (64, 3, 3, 3)}, WeightKind.VAE, ""),
    "esrgan": (
        {"conv_first.weight": (64, 3, 3, 3), "body.0.rdb1.conv1.weight": (32, 64, 3, 3)},
        WeightKind.UPSCALER,
        "",
    ),
    "old esrgan": (
        {"model.0.weight": (64, 3, 3, 3), "model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3)},
        WeightKind.UPSCALER,
        "",
    ),
    "compact": ({"body.0.weight": (64, 3, 3, 3), "body.1.weight": (64,)}, WeightKind.UPSCALER, ""),
}


@pytest.mark.parametrize("name", SINGLE_FILES)
def test_a_file_is_known_by_its_header_wherever_it_lies(models: Path, look: Callable[[], Catalog], name: str) -> None:
    shapes, kind, family = SINGLE_FILES[name]
    write(models / "somewhere" / "file.safetensors", shapes)
    found = only(look())
    assert (found.kind, found.family, found.name) == (kind, family, "somewhere/file")
    assert found.problem == ""


USELESS = {
    "oft": (lora("x") | {"lora_unet_a.oft_blocks": (2, 2, 4, 4)}, WeightKind.LORA, "OFT"),
    "lllite": ({"lllite_unet_input_blocks_4_1.down.0.weight": (4, 4)}, WeightKind.CONTROLNET, "LLLite"),
    "t5": ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4)}, WeightKind.UNKNOWN, "T5 text encoder"),
    "strange": ({"layer": (4, 4)}, WeightKind.UNKNOWN, "type is unknown"),
}


@pytest.mark.parametrize("name", USELESS)
def test_a_file_of_no_use_says_what_it_is(models: Path, look: Callable[[], Catalog], name: str) -> None:
    shapes, kind, word = USELESS[name]
    write(models / "file.safetensors", shapes)
    assert only(look()).kind is kind
    assert word in only(look()).problem


UNFIT = {
    "no text": ({k: v for k, v in sd(768).items() if k != _CLIP}, "no text encoder"),
    "unet alone": (
        {
            "conv_in.weight": (320, 4, 3, 3),
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        },
        "UNet alone",
    ),
    "flux": (SINGLE_FILES["flux"][0], "black-forest-labs/FLUX.1-schnell"),
    "flux fill": (SINGLE_FILES["flux"][0] | {"img_in.weight": (3072, 384)}, "FLUX.1-Fill-dev"),
    "flux control": (SINGLE_FILES["flux"][0] | {"img_in.weight": (3072, 128)}, "control image"),
    "sd3": (SINGLE_FILES["sd3"][0], "stable-diffusion-3-medium-diffusers"),
    "flux2": (SINGLE_FILES["flux2"][0], "FLUX.2-dev"),
    "chroma": (SINGLE_FILES["chroma"][0], "Chroma1-HD"),
    "z_image": (SINGLE_FILES["z_image"][0], "Z-Image-Turbo"),
    "qwen": (SINGLE_FILES["qwen"][0], "Qwen/Qwen-Image"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_checkpoint_that_cannot_draw_is_listed_with_the_reason(
    models: Path, look: Callable[[], Catalog], name: str
) -> None:
    shapes, word = UNFIT[name]
    write(models / "file.safetensors", shapes)
    (model,) = look().models()
    assert word in model.problem


@pytest.mark.parametrize("shapes", [sd(768), sd(1024), sdxl()], ids=["sd15", "sd2", "sdxl"])
def test_a_checkpoint_without_vae_asks_for_one(models: Path, look: Callable[[], Catalog], shapes) -> None:
    write(models / "file.safetensors", {name: shape for name, shape in shapes.items() if name != _VAE})
    write(models / "whole.safetensors", shapes)
    without, whole = look().models()
    assert (without.problem, without.has_vae, whole.has_vae) == ("", False, True)
    with pytest.raises(InvalidRequest, match="no VAE of its own") as caught:
        without.check(GenerationRequest(model="file", prompt="a cat"))
    assert "Choose a VAE" in caught.value.hint
    without.check(GenerationRequest(model="file", prompt="a cat", vae="any"))


@pytest.mark.parametrize("stray", ["lora_te_something.alpha", "lora_te_x.lora_up.weight", "x.hada_w1_a"])
def test_a_tensor_astray_makes_no_checkpoint_a_lora(models: Path, look: Callable[[], Catalog], stray: str) -> None:
    write(models / "file.safetensors", {**sd(768), stray: (1,)})
    found = only(look())
    assert (found.kind, found.family, found.problem) == (WeightKind.CHECKPOINT, "sd15", "")


@pytest.mark.parametrize("kind", ["hada_w1_b", "lokr_w2"])
def test_lycoris_files_are_loras(models: Path, look: Callable[[], Catalog], kind: str) -> None:
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    write(models / "file.safetensors", {f"{layer}.{kind}": (4, 768), f"{layer}.{kind[:4]}_w1": (4, 4)})
    found = only(look())
    assert (found.kind, found.problem) == (WeightKind.LORA, "")


MADE_FOR = {
    "inpainting": (sd(768, channels=9), Task.INPAINT),
    "pix2pix": (sd(768, channels=8), Task.EDIT),
    "sdxl inpainting": (sdxl() | {UNET + "input_blocks.0.0.weight": (320, 9, 3, 3)}, Task.INPAINT),
    "sdxl pix2pix": (sdxl() | {UNET + "input_blocks.0.0.weight": (320, 8, 3, 3)}, Task.EDIT),
    "text to image": (sd(768), Task.TXT2IMG),
}


@pytest.mark.parametrize("name", MADE_FOR)
def test_a_checkpoint_does_what_its_input_was_made_for(models: Path, look: Callable[[], Catalog], name: str) -> None:
    shapes, task = MADE_FOR[name]
    write(models / "file.safetensors", shapes)
    (model,) = look().models()
    assert model.problem == ""
    assert task in model.tasks
    assert (Task.TXT2IMG in model.tasks) == (task is Task.TXT2IMG)
    assert (Feature.HIRES in model.features) == (task is Task.TXT2IMG)
    assert (Feature.STRENGTH in model.features) == (task is not Task.EDIT)


@pytest.mark.parametrize(
    ("class_name", "family", "task"),
    [
        ("FluxKontextPipeline", "flux", Task.EDIT),
        ("FluxFillPipeline", "flux", Task.INPAINT),
        ("QwenImageEditPipeline", "qwen_image", Task.EDIT),
        ("QwenImageEditPlusPipeline", "qwen_image", Task.EDIT),
        ("QwenImage21Pipeline", "qwen_image", Task.EDIT),
        ("Flux2Pipeline", "flux2", Task.EDIT),
        ("StableDiffusionInstructPix2PixPipeline", "sd15", Task.EDIT),
    ],
)
def test_a_folder_does_what_its_pipeline_does(
    models: Path, look: Callable[[], Catalog], class_name: str, family: str, task: Task
) -> None:
    (models / "folder" / "unet").mkdir(parents=True)
    (models / "folder" / "unet" / "config.json").write_text('{"in_channels": 8}')
    (models / "folder" / "model_index.json").write_text(json.dumps({"_class_name": class_name}))
    (model,) = look().models()
    assert (model.family, model.problem) == (family, "")
    assert task in model.tasks
    several = class_name in ("QwenImageEditPlusPipeline", "QwenImage21Pipeline", "Flux2Pipeline")
    assert (Feature.REFERENCE in model.features) == several


def test_a_transformer_alone_is_usable_once_its_companion_is_there(models: Path, look: Callable[[], Catalog]) -> None:
    write(models / "checkpoints" / "deep" / "tuned.safetensors", SINGLE_FILES["flux"][0])
    catalog = look()
    assert catalog.models()[0].problem
    folder = models / "hub" / "black-forest-labs--FLUX.1-schnell"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    catalog.refresh()
    assert {model.id: model.problem for model in catalog.models()} == {
        "deep/tuned": "",
        "black-forest-labs/FLUX.1-schnell": "",
    }


def test_names_are_paths_below_their_folder(models: Path, look: Callable[[], Catalog]) -> None:
    write(models / "checkpoints" / "a" / "one.v2.safetensors", sd(768))
    write(models / "loras" / "style.safetensors", lora("lora_unet_x"))
    write(models / "loras" / "other" / "pytorch_lora_weights.safetensors", lora("lora_unet_x"))
    write(models / "hub" / "org--name" / "file.safetensors", sd(768))
    write(models / "checkpoints" / "twice.safetensors", sd(768))
    write(models / "twice.safetensors", sd(768))
    write(models / ".hidden" / "secret.safetensors", sd(768))
    assert [(file.kind, file.name) for file in look().weights()] == [
        (WeightKind.CHECKPOINT, "a/one.v2"),
        (WeightKind.CHECKPOINT, "org/name/file"),
        (WeightKind.CHECKPOINT, "twice"),
        (WeightKind.CHECKPOINT, "twice.safetensors"),
        (WeightKind.LORA, "other"),
        (WeightKind.LORA, "style"),
    ]


def test_pickles_are_listed_and_not_opened(models: Path, look: Callable[[], Catalog]) -> None:
    for name in ("checkpoints/old.ckpt", "embeddings/bad.pt", "upscalers/RealESRGAN.pth"):
        (models / name).parent.mkdir(exist_ok=True)
        (models / name).write_bytes(b"\x80\x02ctorch\n.")
    found = {file.name: file for file in look().weights()}
    assert found["old"].kind is WeightKind.CHECKPOINT
    assert "run code" in found["old"].problem
    assert found["bad"].kind is WeightKind.EMBEDDING
    assert "run code" in found["bad"].problem
    assert (found["RealESRGAN"].kind, found["RealESRGAN"].problem) == (WeightKind.UPSCALER, "")
    (model,) = look().models()
    assert "run code" in model.problem


def test_a_broken_file_is_shown_and_harms_nothing(models: Path, look: Callable[[], Catalog]) -> None:
    good = write(models / "good.safetensors", sd(768))
    (models / "cut.safetensors").write_bytes(good.read_bytes()[:5000])
    (models / "loras").mkdir()
    (models / "loras" / "page.safetensors").write_bytes(b"<!DOCTYPE html>")
    catalog = look()
    assert {model.id: bool(model.problem) for model in catalog.models()} == {"good": False, "cut": True}
    with pytest.raises(InvalidRequest, match="web page"):
        catalog.find(WeightKind.LORA, "page")


@pytest.mark.slow
def test_diffusers_folders_are_known_by_their_class_and_their_unet(models: Path, look: Callable[[], Catalog]) -> None:
    make_tiny_sd15(models / "embedded", prediction_type="v_prediction")
    make_tiny_sdxl(models / "hub" / "org--xl")
    catalog = look()
    found = {model.id: model for model in catalog.models()}
    assert {name: model.family for name, model in found.items()} == {"embedded": "sd15", "org/xl": "sdxl"}
    assert not any(model.problem for model in found.values())
    assert found["embedded"].sizes.liked[0] == (64, 64)
    assert found["embedded"].title == "Easel embedded (small, offline)"
    assert catalog.checkpoint("org/xl").is_folder
    assert catalog.spec(catalog.checkpoint("org/xl")).family == "sdxl"


def _drop_unet(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def _pickle_unet(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))


def _cut_vae(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    os.truncate(file, file.stat().st_size - 4)


def _drop_config(folder: Path) -> None:
    (folder / "text_encoder" / "config.json").unlink()


def _drop_tokenizer(folder: Path) -> None:
    (folder / "tokenizer").rename(folder / "tokenizer.old")


def _lose_a_part(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))


def _list_no_parts(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors.index.json").write_text('{"weight_map": null}')


def _list_odd_parts(folder: Path) -> None:
    index = {"weight_map": {"a": ["x"], "b": None, "c": "n" * 300, "d": "nul\0"}}
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))


def _odd_config(folder: Path) -> None:
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "down_block_types": 5}))


def _own_pipeline(folder: Path) -> None:
    _edit(folder, _class_name=["pipeline", "Mine"])


def _own_component(folder: Path) -> None:
    _edit(folder, unet=["my_unet", "MyUNet"])


def _masked_component(folder: Path) -> None:
    _edit(folder, unet=["stable_diffusion", "MyUNet"])
    (folder / "unet" / "stable_diffusion.py").write_text("raise SystemExit")


def _unknown_class(folder: Path) -> None:
    _edit(folder, _class_name="NobodyPipeline")


def _edit(folder: Path, **changes: object) -> None:
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


SPOILT = {
    _drop_unet: "weights are missing",
    _pickle_unet: "pickle",
    _cut_vae: "truncated",
    _drop_config: "cannot be read",
    _drop_tokenizer: "tokenizer is missing",
    _lose_a_part: "00001-of-00002",
    _list_no_parts: "lists no weights",
    _list_odd_parts: "None is missing",
    _odd_config: "not those of its kind",
    lambda folder: _edit(folder, **{"part" * 100: ["diffusers", "UNet"]}): "part is missing",
    lambda folder: _edit(folder, **{"nul\0": ["diffusers", "UNet"]}): "\0 is missing",
    lambda folder: _edit(folder, _class_name="half \ud800"): "model_index.json cannot be read",
    _own_pipeline: "own pipeline code",
    _own_component: "own code",
    _masked_component: "own code",
    _unknown_class: "NobodyPipeline",
    lambda folder: (folder / "model_index.json").write_text("{"): "cannot be read",
    lambda folder: (folder / "model_index.json").write_text("[]"): "not a table",
}


@pytest.mark.torch
@pytest.mark.parametrize("spoil", SPOILT, ids=[word.replace(" ", "-") for word in SPOILT.values()])
def test_a_folder_that_is_not_whole_says_what_is_wrong(
    models: Path, look: Callable[[], Catalog], spoil: Callable[[Path], object]
) -> None:
    spoil(make_tiny_sd15(models / "model"))
    catalog = look()
    (model,) = catalog.models()
    assert SPOILT[spoil] in model.problem
    assert str(models) not in model.problem
    weight = catalog.checkpoint("model")
    if not weight.family:
        with pytest.raises(ModelBroken):
            catalog.spec(weight)


def test_the_prediction_of_stable_diffusion_2_comes_from_note_metadata_and_name(
    models: Path, look: Callable[[], Catalog]
) -> None:
    write(models / "plain.safetensors", sd(1024))
    write(models / "noted.safetensors", sd(1024))
    (models / "noted.json").write_text('{"prediction_type": "epsilon"}')
    write(models / "yaml.safetensors", sd(1024), {"modelspec.prediction_type": "epsilon"})
    (models / "yaml.yaml").write_text("model:\n  params:\n    parameterization: v\n")
    write(models / "spec.safetensors", sd(1024), {"modelspec.prediction_type": "epsilon"})
    write(models / "small.safetensors", sd(1024), {"modelspec.resolution": "512x512"})
    write(models / "v2-1_512-ema-pruned.safetensors", sd(1024))
    write(models / "odd.safetensors", sd(1024))
    (models / "odd.json").write_text("[1, 2")
    assert {model.id: model.sizes.liked[0][0] for model in look().models()} == {
        "plain": 768,
        "noted": 512,
        "yaml": 768,
        "spec": 512,
        "small": 512,
        "v2-1_512-ema-pruned": 512,
        "odd": 768,
    }


def test_find_forgives_case_and_folder_and_names_the_nearest(models: Path, look: Callable[[], Catalog]) -> None:
    write(models / "loras" / "anime" / "WaterColour.safetensors", lora("lora_unet_x"))
    write(models / "loras" / "a" / "same.safetensors", lora("lora_unet_x"))
    write(models / "loras" / "b" / "same.safetensors", lora("lora_unet_x"))
    catalog = look()
    assert catalog.find(WeightKind.LORA, "anime/WaterColour").path.stem == "WaterColour"
    assert catalog.find(WeightKind.LORA, "watercolour").path.stem == "WaterColour"
    with pytest.raises(InvalidRequest) as caught:
        catalog.find(WeightKind.LORA, "anime/watercolor")
    assert "anime/WaterColour" in caught.value.hint
    with pytest.raises(InvalidRequest):
        catalog.find(WeightKind.LORA, "same")
    with pytest.raises(InvalidRequest, match="VAE"):
        catalog.find(WeightKind.VAE, "watercolour")
    with pytest.raises(UnknownModel):
        catalog.checkpoint("anime/WaterColour")


def test_refresh_sees_new_changed_and_vanished_files_and_reads_no_other(
    models: Path, look: Callable[[], Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = catalog_module.read_header
    monkeypatch.setattr(catalog_module, "read_header", lambda path: read.append(path.name) or real(path))
    attention = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    for name in ("kept", "gone", "changed"):
        write(models / f"{name}.safetensors", lora(attention))
    catalog = look()
    assert len(catalog.weights()) == 3
    read.clear()
    (models / "gone.safetensors").unlink()
    write(models / "changed.safetensors", lora(attention, 1024))
    write(models / "new.safetensors", sdxl())
    assert len(catalog.weights()) == 3, "nothing is looked at again unasked"
    catalog.refresh()
    assert {file.name: file.family for file in catalog.weights()} == {"kept": "sd15", "changed": "sd2", "new": "sdxl"}
    assert sorted(read) == ["changed.safetensors", "new.safetensors"]


def test_links_are_followed_inside_and_named_outside(models: Path, look: Callable[[], Catalog], tmp_path: Path) -> None:
    write(tmp_path / "outside" / "far.safetensors", sd(768))
    write(models / "a" / "near.safetensors", sd(768))
    (models / "link.safetensors").symlink_to(models / "a" / "near.safetensors")
    (models / "leaving.safetensors").symlink_to(tmp_path / "outside" / "far.safetensors")
    (models / "away").symlink_to(tmp_path / "outside")
    (models / "a" / "round").symlink_to(models)
    (models / "dangling.safetensors").symlink_to(models / "nothing")
    (models / "itself.safetensors").symlink_to(models / "itself.safetensors")
    found = {file.name: file.problem for file in look().weights()}
    assert found["a/near"] == found["link"] == ""
    assert "link" in found["leaving"]
    assert "link" in found["away"]
    assert not any("far" in name or "round" in name for name in found)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
def test_a_name_that_is_no_text_is_shown_with_what_to_do(models: Path, look: Callable[[], Catalog]) -> None:
    write(models / os.fsdecode(b"caf\xe9.safetensors"), sd(768))
    write(models / os.fsdecode(b"na\xefve") / "in.safetensors", sd(768))
    write(models / "good.safetensors", sd(768))
    catalog = look()
    found = {file.name: file.problem for file in catalog.weights()}
    assert list(found) == ["caf?", "good", "na?ve"]
    assert all("rename" in found[name] for name in ("caf?", "na?ve"))
    assert catalog.sha256("caf?") == catalog.sha256("good")
    assert {file.name: file.problem for file in look().weights()} == found, "as it was remembered"


@pytest.mark.parametrize("shape", [(), (7,), (2, 2, 2, 2, 2)])
def test_known_names_of_odd_shapes_hide_no_other_file(
    models: Path, look: Callable[[], Catalog], shape: tuple[int, ...]
) -> None:
    adapters = (
        ("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"),
        ("adapter.conv_in.weight", "adapter.body.0.in_conv.weight"),
        ("control_model.x", "task_embedding"),
    )
    names = [*adapters, *(tuple(shapes) for shapes, _, _ in SINGLE_FILES.values())]
    for number, those in enumerate(names):
        write(models / f"{number}.safetensors", dict.fromkeys(those, shape))
    write(models / "good.safetensors", sd(768))
    found = {file.name: file.problem for file in look().weights()}
    assert len(found) == len(names) + 1
    assert found["good"] == ""


def test_hashes_are_kept_until_the_file_changes(models: Path, look: Callable[[], Catalog]) -> None:
    file = write(models / "a.safetensors", sd(768))
    catalog = look()
    assert catalog.weights()[0].sha256 == ""
    first = catalog.sha256("a")
    assert first == subprocess.check_output(["sha256sum", file], text=True).split()[0]
    assert catalog.weights()[0].sha256 == first
    assert look().weights()[0].sha256 == first, "another start knows it"
    os.utime(file, ns=(1, 1))
    assert look().weights()[0].sha256 == ""
    with pytest.raises(UnknownModel):
        catalog.sha256("b")


@pytest.mark.slow
def test_readers_always_see_a_whole_listing(models: Path, look: Callable[[], Catalog]) -> None:
    for number in range(20):
        write(models / f"{number}.safetensors", sd(768))
    catalog, counts, stop = look(), set[int](), threading.Event()

    def read() -> None:
        while not stop.is_set():
            counts.add(len(catalog.models()))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        catalog.refresh()
    stop.set()
    for thread in threads:
        thread.join(10)
    assert counts == {20}


def test_no_models_folder_is_an_empty_catalog(tmp_path: Path) -> None:
    assert Catalog(tmp_path / "none", [], tmp_path).weights() == ()


def test_looking_imports_no_torch(models: Path) -> None:
    write(models / "a.safetensors", sd(768))
    write(models / "b.safetensors", SINGLE_FILES["flux"][0])
    code = (
        "import sys, pathlib; from studio.engine.plugins import discover; from studio.pipelines.catalog.catalog import"
        " Catalog;c = Catalog(pathlib.Path(sys.argv[1]), discover('studio.pipelines.families', 'PIPELINE'),"
        " pathlib.Path(sys.argv[1]));assert len(c.models()) == 2, c.models();assert not {'torch', 'diffusers',"
        " 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(models)], check=True, cwd=Path(__file__).parent.parent, timeout=60)
