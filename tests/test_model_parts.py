"""Transformers, text encoders and VAEs in files of their own, in 8 bits and in GGUF."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import ModelBroken
from studio.core.ports import LoadOptions
from studio.core.weights import WeightFile, WeightKind
from studio.engine.plugins import discover
from studio.pipelines.catalog import gguf_headers
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.gguf_headers import read_gguf_header
from studio.pipelines.families import _components, _parts, _quantised, sd15
from tests.tiny_models import make_tiny_sd15

OPTIONS = LoadOptions(device="cpu", dtype="float32")
_BYTES = {"F32": 4, "F16": 2, "F8_E4M3": 1, "U8": 1}
FLUX = {
    "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
    "guidance_in.in_layer.bias": (3072,),
    "img_in.weight": (3072, 64),
}
CLIP = {"text_model.embeddings.token_embedding.weight": (8, 768)}
T5 = {"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 4096)}
VAE = {"decoder.conv_in.weight": (512, 16, 3, 3)}


def write_sparse(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "F16") -> None:
    """A .safetensors file of zeros that takes no room."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * _BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def read_problem(models: Path, name: str) -> str:
    catalog = Catalog(models, list(discover("studio.pipelines.families", "PIPELINE")), models / ".cache")
    return next(model for model in catalog.models() if model.id == name).problem


def test_what_a_transformer_lacks_is_named_until_it_is_there(tmp_path: Path) -> None:
    write_sparse(tmp_path / "diffusion_models" / "flux1-dev.safetensors", FLUX)
    problem = read_problem(tmp_path, "flux1-dev")
    assert "clip_l" in problem
    assert "t5xxl" in problem
    assert "ae" in problem
    write_sparse(tmp_path / "text_encoders" / "clip_l.safetensors", CLIP)
    write_sparse(tmp_path / "clip" / "t5xxl_fp8_e4m3fn.safetensors", T5, "F8_E4M3")
    assert "T5" not in read_problem(tmp_path, "flux1-dev"), "the catalog looks again when a part is added"
    write_sparse(tmp_path / "vae" / "sd3_vae.safetensors", VAE)
    assert "the VAE" in read_problem(tmp_path, "flux1-dev"), "the VAE of another family is none"
    write_sparse(tmp_path / "vae" / "ae.safetensors", VAE)
    assert read_problem(tmp_path, "flux1-dev") == ""


def test_parts_that_were_downloaded_one_by_one_are_found(tmp_path: Path) -> None:
    write_sparse(tmp_path / "hub" / "org--flux" / "split_files" / "diffusion_models" / "flux1-dev.safetensors", FLUX)
    name = "org/flux/split_files/diffusion_models/flux1-dev"
    assert "t5xxl" in read_problem(tmp_path, name)
    write_sparse(tmp_path / "hub" / "other--encoders" / "t5xxl_fp16.safetensors", T5)
    write_sparse(tmp_path / "hub" / "other--encoders" / "clip_l.safetensors", CLIP)
    write_sparse(tmp_path / "hub" / "org--flux" / "split_files" / "vae" / "ae.safetensors", VAE)
    assert read_problem(tmp_path, name) == ""


def test_nothing_outside_of_the_models_folder_is_looked_at(tmp_path: Path) -> None:
    write_sparse(tmp_path / "text_encoders" / "t5xxl.safetensors", T5)
    write_sparse(tmp_path / "models" / "unet" / "flux1-dev.safetensors", FLUX)
    (tmp_path / "models" / ".cache").mkdir()
    assert "t5xxl" in read_problem(tmp_path / "models", "flux1-dev")


def test_the_finest_of_several_files_is_taken(tmp_path: Path) -> None:
    write_sparse(tmp_path / "unet" / "flux1-dev.safetensors", FLUX)
    write_sparse(tmp_path / "text_encoders" / "a_fp8.safetensors", T5, "F8_E4M3")
    write_sparse(tmp_path / "text_encoders" / "b_fp16.safetensors", T5)
    weight = make_weight(tmp_path / "unet" / "flux1-dev.safetensors")
    layout = _components.Layout(config="flux", training="dev", parts={"text_encoder_2": _components.T5})
    assert _components.find_parts(weight, layout)["text_encoder_2"][0].name == "b_fp16.safetensors"


def test_nf4_and_unknown_forms_are_refused_with_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "diffusion_models"
    nf4 = {**FLUX, "x.weight": (8, 1), "x.weight.quant_state.bitsandbytes__nf4": (20,)}
    write_sparse(folder / "nf4.safetensors", nf4, "U8")
    write_sparse(folder / "other.safetensors", {**FLUX, "x.weight": (8, 1), "x.comfy_quant": (20,)}, "U8")
    assert "NF4" in read_problem(tmp_path, "nf4")
    assert "ComfyUI" in read_problem(tmp_path, "other")


def make_weight(path: Path) -> WeightFile:
    return WeightFile(
        name=path.stem, kind=WeightKind.CHECKPOINT, path=path, bytes=1, family="flux", header=read_header(path)
    )


def make_layout() -> _components.Layout:
    """FLUX.1's, with the widths of the tiny parts."""

    def narrow(part: _components.Part, *shape: int | None) -> _components.Part:
        return dataclasses.replace(part, shape=shape)

    return _components.Layout(
        config="flux",
        training="dev",
        parts={
            "text_encoder": narrow(_components.CLIP_L, None, 64),
            "text_encoder_2": narrow(_components.T5, None, 32),
            "vae": narrow(_components.FLUX_VAE, None, 4, 3, 3),
        },
        tokenizers={"tokenizer": _parts.load_clip_tokenizer, "tokenizer_2": _components.load_t5_tokenizer},
    )


@pytest.fixture
def tiny_flux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A FluxPipeline with the real tokenizers, whose configs stand in for the shipped ones."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    from tests.tiny_families import make_clip_encoder, make_tiny_kl, make_tiny_t5

    torch.manual_seed(11)
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=make_tiny_kl(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder=make_clip_encoder(64),
        tokenizer=_parts.load_clip_tokenizer(),
        text_encoder_2=make_tiny_t5(vocabulary=32128),
        tokenizer_2=_components.load_t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=64,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ).eval(),
    )
    configs = tmp_path / "configs"
    for name in ("text_encoder", "text_encoder_2"):
        getattr(pipe, name).config.save_pretrained(configs / "flux" / name)
    pipe.vae.save_config(configs / "flux" / "vae")
    pipe.transformer.save_config(configs / "flux" / "dev" / "transformer")
    pipe.scheduler.save_config(configs / "flux" / "dev" / "scheduler")
    for name in ("clip_tokenizer", "t5_tokenizer"):
        (configs / name).symlink_to(_parts.CONFIGS / name)
    monkeypatch.setattr(_parts, "CONFIGS", configs)
    return pipe


def draw(pipe: Any) -> Any:
    import torch

    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(3)
    image = pipe("a cat", num_inference_steps=2, width=64, height=64, generator=generator).images[0]
    return np.asarray(image)


def get_parts(pipe: Any) -> dict[str, dict[str, Any]]:
    """The tensors of each part as the published files have them."""
    from tests.tiny_families import convert_vae_keys

    clip = {
        name if name.startswith("text_model.") else f"text_model.{name}": tensor
        for name, tensor in pipe.text_encoder.state_dict().items()
    }
    t5 = {name: t for name, t in pipe.text_encoder_2.state_dict().items() if name != "encoder.embed_tokens.weight"}
    vae = {name.removeprefix("first_stage_model."): tensor for name, tensor in convert_vae_keys(pipe.vae).items()}
    return {"clip": clip, "t5": t5, "vae": vae, "transformer": pipe.transformer.state_dict()}


def save(tensors: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path)


@pytest.mark.torch
def test_parts_in_files_of_their_own_draw_what_the_whole_draws(tmp_path: Path, tiny_flux: Any) -> None:
    parts, models = get_parts(tiny_flux), tmp_path / "models"
    save(parts["clip"], models / "text_encoders" / "clip_l.safetensors")
    save(parts["t5"], models / "text_encoders" / "t5xxl.safetensors")
    save(parts["vae"], models / "vae" / "ae.safetensors")
    save(parts["transformer"], models / "unet" / "flux.safetensors")
    names = "FluxPipeline", "FluxTransformer2DModel"
    weight = make_weight(models / "unet" / "flux.safetensors")
    assembled = _components.load_assembled(weight, OPTIONS, make_layout(), names)
    assert np.array_equal(draw(assembled), draw(tiny_flux))
    (models / "vae" / "ae.safetensors").unlink()
    with pytest.raises(ModelBroken, match="VAE"):
        _components.load_assembled(weight, OPTIONS, make_layout(), names)


@pytest.mark.torch
def test_a_file_with_everything_in_it_draws_what_the_whole_draws(tmp_path: Path, tiny_flux: Any) -> None:
    parts = get_parts(tiny_flux)
    prefixes = {
        "clip": "text_encoders.clip_l.transformer.",
        "t5": "text_encoders.t5xxl.transformer.",
        "vae": "vae.",
        "transformer": "",
    }
    whole = {prefixes[part] + name: tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    save(whole, tmp_path / "models" / "all.safetensors")
    weight = make_weight(tmp_path / "models" / "all.safetensors")
    found = _components.find_parts(weight, make_layout())
    assert {path for path, _ in found.values()} == {weight.path}
    pipe = _components.load_assembled(weight, OPTIONS, make_layout(), ("FluxPipeline", "FluxTransformer2DModel"))
    assert np.array_equal(draw(pipe), draw(tiny_flux))


@pytest.mark.torch
def test_scaled_eight_bits_are_multiplied_with_their_scales(tmp_path: Path, tiny_flux: Any) -> None:
    import torch

    state = tiny_flux.transformer.state_dict()
    written: dict[str, Any] = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}
    wanted: dict[str, Any] = {}
    for name, tensor in state.items():
        wanted[name] = tensor
        written[name] = tensor
        if name.endswith("to_q.weight"):
            scale = tensor.abs().max() / 448
            written[name] = (tensor / scale).to(torch.float8_e4m3fn)
            written[name.removesuffix(".weight") + ".scale_weight"] = scale
            written[name.removesuffix(".weight") + ".scale_input"] = torch.ones(())
            wanted[name] = written[name].float() * scale
    save(written, tmp_path / "scaled.safetensors")
    config = _parts.CONFIGS / "flux" / "dev" / "transformer"
    weight = make_weight(tmp_path / "scaled.safetensors")
    loaded = _quantised.load_transformer(weight, OPTIONS, "FluxTransformer2DModel", config).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in wanted.items())
    changed = [name for name, tensor in wanted.items() if not torch.equal(tensor, state[name])]
    assert changed, "some weights were written in 8 bits"


@pytest.mark.torch
def test_a_scale_for_each_row_is_understood() -> None:
    import torch

    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).to(torch.float8_e4m3fn)
    tensors = {"a.weight": weight, "a.weight_scale": torch.tensor([2.0, 10.0]), "a.bias": torch.ones(2)}
    found = _quantised.expand_scaled(tensors, torch.float32)
    assert found["a.weight"].tolist() == [[2.0, 4.0], [30.0, 40.0]]
    assert set(found) == {"a.weight", "a.bias"}


def write_gguf(path: Path, tensors: dict[str, Any]) -> dict[str, Any]:
    """A GGUF file with 8-bit blocks where they fit, and the numbers that it stands for."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "flux")
    meant: dict[str, Any] = {}
    for name, tensor in tensors.items():
        data = tensor.detach().numpy()
        if data.ndim == 2 and data.shape[-1] % 32 == 0:
            blocks = gguf.quantize(data, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            meant[name] = gguf.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, data)
            meant[name] = data
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


@pytest.mark.torch
def test_a_gguf_transformer_draws_what_its_numbers_draw(tmp_path: Path, tiny_flux: Any) -> None:
    import torch

    meant = write_gguf(tmp_path / "flux.gguf", tiny_flux.transformer.state_dict())
    header = read_gguf_header(tmp_path / "flux.gguf")
    assert header.shapes == {name: tuple(data.shape) for name, data in meant.items()}
    assert "Q8_0" in header.dtypes.values()
    assert header.metadata["general.architecture"] == "flux"
    config = _parts.CONFIGS / "flux" / "dev" / "transformer"
    weight = make_weight(tmp_path / "flux.gguf")
    loaded = _quantised.load_transformer(weight, OPTIONS, "FluxTransformer2DModel", config)
    quantised = sum(type(parameter).__name__ == "GGUFParameter" for parameter in loaded.parameters())
    assert quantised > 5, "it stays in blocks"
    tiny_flux.transformer.load_state_dict({name: torch.from_numpy(np.array(data)) for name, data in meant.items()})
    plain = draw(tiny_flux).astype(int)
    tiny_flux.transformer = loaded
    assert np.abs(draw(tiny_flux).astype(int) - plain).max() <= 1


@pytest.mark.parametrize("cut", [10, 30, 200])
def test_a_gguf_file_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "flux.gguf"
    text = b"general.architecture"
    note = struct.pack("<Q", len(text)) + text + struct.pack("<IQ", 8, 4) + b"flux"
    tensor = struct.pack("<Q", 8) + b"img_in.w" + struct.pack("<IQQIQ", 2, 64, 3072, 8, 0)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 1000, 1) + note + tensor)
    with pytest.raises(ModelBroken):
        read_gguf_header(path)  # it promises a thousand tensors
    path.write_bytes((struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + note + tensor)[: min(cut, len(note) + len(tensor))])
    with pytest.raises(ModelBroken):
        read_gguf_header(path)


def test_numbers_in_a_gguf_header_cannot_cost_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 2**60))
    with pytest.raises(ModelBroken):
        read_gguf_header(path)
    path.write_bytes(struct.pack("<4sIQQQ", b"GGUF", 3, 1, 1, 2**50) + bytes(100))
    with pytest.raises(ModelBroken):
        read_gguf_header(path)


def test_a_gguf_header_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = struct.pack("<Q", 1) + b"a"
    words = name + struct.pack("<IIQ", 9, 8, 1000) + struct.pack("<Q", 0) * 1000
    path = tmp_path / "words.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 3) + words * 3)
    assert read_gguf_header(path).shapes == {}
    monkeypatch.setattr(gguf_headers, "_MAX_HEADER", 20_000)
    with pytest.raises(ModelBroken):
        read_gguf_header(path)


@pytest.mark.torch
def test_the_t5_tokenizer_counts_as_published() -> None:
    tokenizer = _components.load_t5_tokenizer()
    assert tokenizer("a photo of a cat").input_ids == [3, 9, 1202, 13, 3, 9, 1712, 1]
    padded = tokenizer("a", padding="max_length", max_length=8, truncation=True).input_ids
    assert padded == [3, 9, 1, 0, 0, 0, 0, 0]


SIZES = {
    ("flux", "dev/transformer", "FluxTransformer2DModel"): 11_901.4,
    ("flux", "vae", "AutoencoderKL"): 83.8,
    ("flux", "text_encoder", "CLIPTextModel"): 123.1,
    ("flux", "text_encoder_2", "T5EncoderModel"): 4_762.3,
    ("sd3", "text_encoder_2", "CLIPTextModelWithProjection"): 694.7,
}
"""Millions of parameters, as published."""


@pytest.mark.torch
@pytest.mark.parametrize("part", SIZES, ids="-".join)
def test_shipped_configs_build_parts_of_the_published_size(part: tuple[str, str, str]) -> None:
    import diffusers
    import torch
    import transformers

    family, folder, class_name = part
    path = _parts.CONFIGS / family / folder
    with torch.device("meta"):
        if hasattr(transformers, class_name):
            cls = getattr(transformers, class_name)
            model = cls(cls.config_class.from_pretrained(path))
        else:
            cls = getattr(diffusers, class_name)
            model = cls.from_config(cls.load_config(path))
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(SIZES[part], abs=0.1)


@pytest.mark.torch
def test_a_folder_quantised_with_a_package_that_is_missing_names_it_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_sd15(tmp_path / "tiny")
    config = folder / "unet" / "config.json"
    settings = {**json.loads(config.read_text()), "quantization_config": {"quant_method": "bitsandbytes_4bit"}}
    config.write_text(json.dumps(settings))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing that could be read")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else find_spec(name, *rest)
    )
    weight = WeightFile(name="tiny", kind=WeightKind.CHECKPOINT, path=folder, bytes=1, family="sd15")
    with pytest.raises(ModelBroken, match="The unet of tiny is quantised with bitsandbytes, which is not installed"):
        sd15.PIPELINE.load(weight, LoadOptions(device="cpu", dtype="float32"))
