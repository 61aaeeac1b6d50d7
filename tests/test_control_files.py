"""What steers, as files: known by header and config, and loaded from every layout that is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import ModelBroken
from studio.core.ports import LoadOptions
from studio.core.weights import WeightFile, WeightKind
from studio.engine.plugins import discover
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.control import control_files, control_nets
from tests.test_catalog import write
from tests.tiny_control import (
    fill_zero_tensors,
    make_tiny_controlnet,
    make_tiny_flux_controlnet,
    make_tiny_ip_adapter,
    make_tiny_t2i_adapter,
    make_tiny_union,
)
from tests.tiny_families import make_single_file, make_tiny_flux
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

OPTIONS = LoadOptions(device="cpu", dtype="float32")
FACTS = {spec.family: spec.control for spec in discover("studio.pipelines.families", "PIPELINE")}
TO_K = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
FACE = {"image_proj.proj.weight": (3072, 512), "ip_adapter.1.to_k_ip.weight": (320, 768)}


@pytest.fixture
def look(tmp_path: Path) -> Callable[[], Catalog]:
    specs = discover("studio.pipelines.families", "PIPELINE")
    return lambda: Catalog(tmp_path / "models", specs, tmp_path / "cache")


HEADERS: dict[str, tuple[dict[str, tuple[int, ...]], WeightKind, str, str]] = {
    "diffusers sd15": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), TO_K: (320, 768)},
        WeightKind.CONTROLNET,
        "sd15",
        "",
    ),
    "diffusers sd2": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), TO_K: (320, 1024)},
        WeightKind.CONTROLNET,
        "sd2",
        "",
    ),
    "original, bare": (
        {
            "input_hint_block.0.weight": (16, 3, 3, 3),
            "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        },
        WeightKind.CONTROLNET,
        "sd15",
        "",
    ),
    "lllite": ({"lllite_unet_input_blocks_4_1.down.0.weight": (4, 4)}, WeightKind.CONTROLNET, "sdxl", "LLLite"),
    "control lora": (
        {"lora_controlnet": (1,), "input_hint_block.0.weight": (16, 3, 3, 3)},
        WeightKind.CONTROLNET,
        "sdxl",
        "Control-LoRA",
    ),
    "flux": (
        {"controlnet_x_embedder.weight": (3072, 64), "transformer_blocks.0.norm1_context.linear.weight": (4, 4)},
        WeightKind.CONTROLNET,
        "flux",
        "",
    ),
    "flux, original": (
        {"controlnet_blocks.0.weight": (4, 4), "double_blocks.0.img_attn.norm.key_norm.scale": (128,)},
        WeightKind.CONTROLNET,
        "flux",
        "diffusers version",
    ),
    "qwen": (
        {"controlnet_x_embedder.weight": (4, 4), "transformer_blocks.0.img_mod.1.weight": (4, 4)},
        WeightKind.CONTROLNET,
        "qwen_image",
        "diffusers version",
    ),
    "sd3": (
        {"controlnet_blocks.0.weight": (4, 4), "pos_embed_input.proj.weight": (4, 4, 2, 2)},
        WeightKind.CONTROLNET,
        "sd3",
        "diffusers version",
    ),
    "z-image": (
        {"control_all_x_embedder.2-1.weight": (3840, 64), "control_layers.0.after_proj.weight": (4, 4)},
        WeightKind.CONTROLNET,
        "z_image",
        "",
    ),
    "t2i": (
        {"adapter.conv_in.weight": (320, 192, 3, 3), "adapter.body.0.resnets.0.block1.weight": (320, 320, 3, 3)},
        WeightKind.T2I_ADAPTER,
        "sd15",
        "",
    ),
    "t2i xl": (
        {"adapter.conv_in.weight": (320, 768, 3, 3), "adapter.body.0.resnets.0.block1.weight": (320, 320, 3, 3)},
        WeightKind.T2I_ADAPTER,
        "sdxl",
        "",
    ),
    "t2i, original": (
        {"conv_in.weight": (320, 192, 3, 3), "body.0.block1.weight": (320, 320, 3, 3)},
        WeightKind.T2I_ADAPTER,
        "sd15",
        "original layout",
    ),
    "ip without encoder": (FACE, WeightKind.IP_ADAPTER, "sd15", "image encoder is missing"),
    "ip xl": (
        {**FACE, "ip_adapter.1.to_k_ip.weight": (640, 2048)},
        WeightKind.IP_ADAPTER,
        "sdxl",
        "image encoder is missing",
    ),
    "face id": ({**FACE, "ip_adapter.0.to_q_lora.down.weight": (128, 320)}, WeightKind.IP_ADAPTER, "sd15", "FaceID"),
    "ip flux": (
        {"double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight": (3072, 4096)},
        WeightKind.IP_ADAPTER,
        "flux",
        "FLUX",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_file_is_known_by_its_header(tmp_path: Path, look: Callable[[], Catalog], name: str) -> None:
    shapes, kind, family, problem = HEADERS[name]
    write(tmp_path / "models" / "file.safetensors", shapes)
    (found,) = look().weights()
    assert (found.kind, found.family) == (kind, family)
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)


CONFIGS: dict[str, tuple[dict[str, Any], WeightKind, str, str]] = {
    "sd15": ({"_class_name": "ControlNetModel", "cross_attention_dim": 768}, WeightKind.CONTROLNET, "sd15", ""),
    "sd2": ({"_class_name": "ControlNetModel", "cross_attention_dim": 1024}, WeightKind.CONTROLNET, "sd2", ""),
    "sdxl": (
        {"_class_name": "ControlNetModel", "cross_attention_dim": 2048, "addition_embed_type": "text_time"},
        WeightKind.CONTROLNET,
        "sdxl",
        "",
    ),
    "union": (
        {"_class_name": "ControlNetUnionModel", "addition_embed_type": "text_time"},
        WeightKind.CONTROLNET,
        "sdxl",
        "",
    ),
    "qwen": ({"_class_name": "QwenImageControlNetModel"}, WeightKind.CONTROLNET, "qwen_image", ""),
    "sd3 inpainting": (
        {"_class_name": "SD3ControlNetModel", "extra_conditioning_channels": 1},
        WeightKind.CONTROLNET,
        "sd3",
        "inpainting",
    ),
    "hunyuan": ({"_class_name": "HunyuanDiT2DControlNetModel"}, WeightKind.CONTROLNET, "", "not supported"),
    "t2i xl": ({"_class_name": "T2IAdapter", "adapter_type": "full_adapter_xl"}, WeightKind.T2I_ADAPTER, "sdxl", ""),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_is_known_by_its_config(tmp_path: Path, look: Callable[[], Catalog], name: str) -> None:
    config, kind, family, problem = CONFIGS[name]
    folder = tmp_path / "models" / "controlnet" / "it"
    write(folder / "diffusion_pytorch_model.safetensors", {"layer": (1,)})
    (folder / "config.json").write_text(json.dumps(config))
    (found,) = look().weights()
    assert (found.name, found.kind, found.family) == ("it", kind, family)
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)


def test_a_broken_folder_says_so(tmp_path: Path, look: Callable[[], Catalog]) -> None:
    folder = tmp_path / "models" / "controlnet" / "it"
    file = write(folder / "diffusion_pytorch_model.safetensors", {"layer": (100,)})
    (folder / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    file.write_bytes(file.read_bytes()[:-50])
    (found,) = look().weights()
    assert found.kind is WeightKind.CONTROLNET
    assert "truncated" in found.problem


@pytest.mark.torch
def test_an_ip_adapter_is_whole_with_its_encoder_as_soon_as_that_is_there(
    tmp_path: Path, look: Callable[[], Catalog]
) -> None:
    made = make_tiny_ip_adapter(tmp_path / "models" / "ip_adapters", make_tiny_sd15(tmp_path / "tiny"))
    encoder, aside = made.path.parent / "image_encoder", tmp_path / "aside"
    shutil.move(encoder, aside)
    catalog = look()
    (lonely,) = (file for file in catalog.weights() if file.kind is WeightKind.IP_ADAPTER)
    assert "image encoder is missing" in lonely.problem
    (tmp_path / "models" / "sdxl_models").mkdir()
    shutil.move(aside, tmp_path / "models" / "sdxl_models" / "image_encoder")
    catalog.refresh()
    (whole,) = (file for file in catalog.weights() if file.kind is WeightKind.IP_ADAPTER)
    assert whole.problem == ""
    assert control_files.find_image_encoder(whole.path, 999) is None, "one of another width is not taken"


def loaded(file: Path, family: str, kind: WeightKind = WeightKind.CONTROLNET) -> Any:
    return control_nets.load_control_network(
        WeightFile(name=file.stem, kind=kind, path=file, bytes=1, family=family), OPTIONS, FACTS[family]
    )


def assert_same(ours: Any, theirs: Any) -> None:
    import torch

    assert type(ours) is type(theirs)
    tensors = theirs.state_dict()
    assert ours.state_dict().keys() == tensors.keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in ours.state_dict().items())


@pytest.mark.torch
@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_a_controlnet_in_one_file_is_loaded_in_both_layouts(tmp_path: Path, monkeypatch, layout: str) -> None:
    from diffusers import ControlNetModel
    from safetensors.torch import save_file

    _, config, modules = make_single_file(tmp_path, "sd15")
    (config / "unet").rename(tmp_path / "unet")
    (tmp_path / "configs" / "sd15").mkdir(parents=True)
    (tmp_path / "unet").rename(tmp_path / "configs" / "sd15" / "unet")
    monkeypatch.setattr(control_nets, "_CONFIGS", tmp_path / "configs")
    net = fill_zero_tensors(ControlNetModel.from_unet(modules["unet"]), 1)
    tensors = net.state_dict() if layout == "diffusers" else _original(net)
    save_file(
        {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, tmp_path / "net.safetensors"
    )
    assert_same(loaded(tmp_path / "net.safetensors", "sd15"), net)


def _original(net: Any) -> dict[str, Any]:
    """diffusers' names to those of the first ControlNets."""
    from tests import tiny_families

    named = {}
    shared: dict[str, Any] = {}
    for name, tensor in net.state_dict().items():
        base, kind = name.rsplit(".", 1)
        parts = base.split(".")
        if base.startswith("controlnet_cond_embedding"):
            place = {"conv_in": 0, "conv_out": 14}.get(parts[1]) if len(parts) == 2 else 2 * int(parts[2]) + 2
            named[f"input_hint_block.{place}.{kind}"] = tensor
        elif base.startswith("controlnet_down_blocks"):
            named[f"zero_convs.{parts[1]}.0.{kind}"] = tensor
        elif base.startswith("controlnet_mid_block"):
            named[f"middle_block_out.0.{kind}"] = tensor
        else:
            shared[name] = tensor

    class Half:
        up_blocks = [object()] * 4  # the way down alone

        def state_dict(self) -> dict[str, Any]:
            return shared

    renamed = tiny_families._convert_unet_keys(Half(), 4)
    named |= {name.removeprefix("model.diffusion_model."): tensor for name, tensor in renamed.items()}
    return {f"control_model.{name}": tensor for name, tensor in named.items()}


@pytest.mark.torch
def test_files_of_the_other_kinds_are_loaded_as_their_folders_are(tmp_path: Path, monkeypatch) -> None:
    import diffusers

    flux = make_tiny_flux_controlnet(tmp_path / "flux-net", make_tiny_flux(tmp_path / "flux", guided=True), modes=7)
    real = diffusers.FluxControlNetModel.from_pretrained(flux.path, local_files_only=True)
    build_config = FACTS["flux"].build_config
    assert build_config is not None
    described = build_config(control_nets.read_header(flux.path / "diffusion_pytorch_model.safetensors"))
    for name, value in described.items():
        assert getattr(real.config, name) == value, name
    adapter = make_tiny_t2i_adapter(tmp_path / "sketch")
    file = tmp_path / "sketch.safetensors"
    shutil.copy(adapter.path / "diffusion_pytorch_model.safetensors", file)
    assert_same(
        loaded(file, "sd15", WeightKind.T2I_ADAPTER),
        diffusers.T2IAdapter.from_pretrained(adapter.path, local_files_only=True),
    )
    xl = make_tiny_sdxl(tmp_path / "xl")
    union = make_tiny_union(tmp_path / "union", xl)
    assert control_files.count_union_types(union) == 6
    assert control_files.count_union_types(make_tiny_controlnet(tmp_path / "plain", xl)) == 0


@pytest.mark.torch
def test_a_file_that_holds_something_else_is_broken(tmp_path: Path) -> None:
    file = write(tmp_path / "x.safetensors", {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)})
    with pytest.raises(ModelBroken, match="cannot be loaded"):
        loaded(file, "sd15")
