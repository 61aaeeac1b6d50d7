"""Every format of a LoRA gives what the same change gives when it is added to the weights by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import InvalidRequest
from studio.core.request import LoraUse
from studio.core.weights import WeightFile, WeightKind
from studio.engine.plugins import discover
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.weight_kinds import guess_special
from studio.pipelines.run.lora import LoraAdapters
from tests.tiny_families import make_tiny_flux
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch

_BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"
_LINEAR = (f"{_BLOCK}.attn1.to_q", f"{_BLOCK}.attn2.to_k", f"{_BLOCK}.ff.net.2")
_CONV = "down_blocks.0.resnets.0.conv1"
_ENCODER = "text_model.encoder.layers.1.self_attn.q_proj"
_SEEDS: dict[str, Any] = {}
SPECS = discover("studio.pipelines.families", "PIPELINE")


def rand(*shape: int) -> Any:
    import torch

    source = _SEEDS.setdefault("source", torch.Generator().manual_seed(11))
    return 0.3 * torch.randn(shape, generator=source)


@pytest.fixture(scope="module")
def pipes(tmp_path_factory) -> dict[str, Any]:
    import diffusers

    root = tmp_path_factory.mktemp("pipes")
    made = {"sd15": make_tiny_sd15(root / "sd15"), "sdxl": make_tiny_sdxl(root / "sdxl")}
    made["flux"] = make_tiny_flux(root / "flux", guided=True)
    return {name: diffusers.DiffusionPipeline.from_pretrained(folder) for name, folder in made.items()}


def save(path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> WeightFile:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path, metadata=metadata)
    found = guess_special(read_header(path), SPECS)
    assert found is not None
    assert (found.kind, found.problem) == (WeightKind.LORA, "")
    return WeightFile(name=path.stem, kind=WeightKind.LORA, path=path, bytes=1, family=found.family)


def get_weight(pipe: Any, layer: str) -> Any:
    if layer.startswith("text_model."):
        names = dict(pipe.text_encoder.named_modules())
        return names.get(layer, names.get(layer.removeprefix("text_model."))).weight
    model = getattr(pipe, "unet", None) or pipe.transformer
    return model.get_submodule(layer).weight


def run_parts(pipe: Any) -> list[Any]:
    """What the layers that the tests touch answer to fixed numbers, a LoRA's wrapper included."""
    import torch

    answers = []
    model = getattr(pipe, "unet", None) or pipe.transformer
    layers = [layer for layer in (*_LINEAR, _CONV, *_FLUX) if layer in dict(model.named_modules())]
    modules = [model.get_submodule(layer) for layer in layers]
    encoder = getattr(pipe, "text_encoder", None)
    names = dict(encoder.named_modules()) if encoder is not None else {}
    modules += [names[name] for name in (_ENCODER, _ENCODER.removeprefix("text_model.")) if name in names]
    for module in modules:
        shape = module.weight.shape
        size = (1, shape[1], 4, 4) if len(shape) == 4 else (2, shape[1])
        given = torch.randn(size, generator=torch.Generator().manual_seed(5)).to(module.weight.dtype)
        with torch.no_grad():
            answers.append(module(given).float())
    return answers


_FLUX = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_k")


def add_by_hand(pipe: Any, changes: dict[str, Callable[[Any], Any]]) -> Any:
    merged = copy.deepcopy(pipe)
    for layer, change in changes.items():
        weight = get_weight(merged, layer)
        weight.data.copy_(change(weight.detach().float()))
    return merged


def check(pipe: Any, file: WeightFile, changes: dict[str, Callable[[Any], Any]], tolerance: float = 1e-5) -> list[str]:
    """Hold the file on `pipe` against the changes made by hand, then without the file against `pipe` as it was."""
    import torch

    bare = run_parts(pipe)
    wanted = run_parts(add_by_hand(pipe, changes))
    assert any(not torch.allclose(a, b, atol=tolerance, rtol=tolerance) for a, b in zip(bare, wanted, strict=True))
    worn = LoraAdapters()
    notices = worn.apply(pipe, [(file, LoraUse(name=file.name))])
    try:
        for got, want in zip(run_parts(pipe), wanted, strict=True):
            torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)
    finally:
        worn.remove(pipe)
    assert all(torch.equal(a, b) for a, b in zip(run_parts(pipe), bare, strict=True))
    return list(notices)


def plus(change: Any) -> Callable[[Any], Any]:
    return lambda weight: weight + change.reshape(weight.shape)


def kohya(layer: str) -> str:
    return f"lora_{'te' if layer.startswith('text_model') else 'unet'}_{layer.replace('.', '_')}"


def original(layer: str) -> str:
    """The name in Stability's UNet, for a tiny one of two levels with a resnet each."""
    table = {"down_blocks.1.attentions.0": "input_blocks.3.1", _CONV: "input_blocks.1.0.in_layers.2"}
    for diffusers_name, name in table.items():
        layer = layer.replace(diffusers_name, name)
    return layer


def make_loha(weight: Any, rank: int) -> tuple[dict[str, Any], Any]:
    out, width = weight.shape[0], weight[0].numel()
    parts = {
        "hada_w1_a": rand(out, rank),
        "hada_w1_b": rand(rank, width),
        "hada_w2_a": rand(out, rank),
        "hada_w2_b": rand(rank, width),
    }
    product = (parts["hada_w1_a"] @ parts["hada_w1_b"]) * (parts["hada_w2_a"] @ parts["hada_w2_b"])
    return parts, product


def make_loha_tucker(weight: Any, rank: int) -> tuple[dict[str, Any], Any]:
    import torch

    out, width, high, wide = weight.shape
    parts: dict[str, Any] = {}
    products = []
    for n in (1, 2):
        parts |= {
            f"hada_t{n}": rand(rank, rank, high, wide),
            f"hada_w{n}_a": rand(rank, out),
            f"hada_w{n}_b": rand(rank, width),
        }
        core = torch.tensordot(parts[f"hada_w{n}_a"], parts[f"hada_t{n}"], dims=([0], [0]))  # out, rank, h, w
        products.append(torch.tensordot(core, parts[f"hada_w{n}_b"], dims=([1], [0])).permute(0, 3, 1, 2))
    return parts, products[0] * products[1]


def make_lokr(weight: Any, rank: int) -> tuple[dict[str, Any], Any]:
    out, width = weight.shape[:2]
    rest = weight.shape[2:]
    parts = {"lokr_w1": rand(4, 2), "lokr_w2_a": rand(out // 4, rank), "lokr_w2_b": rand(rank, weight[0].numel() // 2)}
    second = (parts["lokr_w2_a"] @ parts["lokr_w2_b"]).reshape(out // 4, width // 2, *rest)
    product = parts["lokr_w1"][:, None, :, None].reshape(4, 1, 2, 1, *[1] * len(rest)) * second[None, :, None]
    return parts, product.reshape(weight.shape)


def make_full_lokr(weight: Any, rank: int) -> tuple[dict[str, Any], Any]:
    out, width = weight.shape[:2]
    parts = {"lokr_w1": rand(2, 4), "lokr_w2": rand(out // 2, width // 4, *weight.shape[2:])}
    rows = []
    for i in range(2):
        rows.append([parts["lokr_w1"][i, j] * parts["lokr_w2"] for j in range(4)])
    import torch

    return parts, torch.cat([torch.cat(row, dim=1) for row in rows], dim=0)


def make_tucker(weight: Any, rank: int) -> tuple[dict[str, Any], Any]:
    import torch

    out, width, high, wide = weight.shape
    parts = {
        "lora_down.weight": rand(rank, width, 1, 1),
        "lora_mid.weight": rand(rank, rank, high, wide),
        "lora_up.weight": rand(out, rank, 1, 1),
    }
    product = torch.zeros_like(weight)
    for y in range(high):
        for x in range(wide):
            inner = parts["lora_mid.weight"][:, :, y, x]
            product[:, :, y, x] = parts["lora_up.weight"][:, :, 0, 0] @ inner @ parts["lora_down.weight"][:, :, 0, 0]
    return parts, product


def make_plain(weight: Any, rank: int) -> tuple[dict[str, Any], Any]:
    down, up = rand(rank, *weight.shape[1:]), rand(weight.shape[0], rank, *[1] * (weight.ndim - 2))
    product = (up.reshape(-1, rank) @ down.reshape(rank, -1)).reshape(weight.shape)
    return {"lora_down.weight": down, "lora_up.weight": up}, product


def make_glora(weight: Any, rank: int) -> tuple[dict[str, Any], Any]:
    out, width = weight.shape[0], weight[0].numel()
    parts = {"a1": rand(rank, width), "a2": rand(width, rank), "b1": rand(rank, width), "b2": rand(out, rank)}
    product = parts["b2"] @ parts["b1"] + weight.reshape(out, width) @ (parts["a2"] @ parts["a1"])
    return {f"{name}.weight": value for name, value in parts.items()}, product


_CONV_ONLY = (make_tucker, make_loha_tucker)


def build(pipe: Any, make: Any, name: Callable[[str], str], layers: tuple[str, ...]) -> tuple[dict, dict]:
    """(tensors, changes) of alpha 3 and rank 2 for `layers`."""
    import torch

    tensors, changes = {}, {}
    for layer in layers:
        parts, product = make(get_weight(pipe, layer).detach(), 2)
        scale = 1.0 if make is make_full_lokr else 3 / 2
        tensors |= {f"{name(layer)}.{part}": value for part, value in parts.items()}
        tensors[f"{name(layer)}.alpha"] = torch.tensor(3.0)
        changes[layer] = plus(scale * product)
    return tensors, changes


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "make",
    [make_plain, make_loha, make_lokr, make_full_lokr, make_tucker, make_loha_tucker, make_glora],
    ids=lambda m: m.__name__,
)
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_format_equals_the_weights_merged_by_hand(pipes, tmp_path, family, make, dtype) -> None:
    import torch

    pipe = copy.deepcopy(pipes[family]).to(dtype=getattr(torch, dtype))
    layers = (_CONV,) if make in _CONV_ONLY else (*_LINEAR, _CONV)
    name = kohya if family == "sd15" else lambda layer: kohya(original(layer))
    if make is make_plain and family == "sdxl":
        name = lambda layer: f"unet.{layer}"  # noqa: E731
        layers = _LINEAR
    tensors, changes = build(pipes[family], make, name, layers)
    if make is make_plain and family == "sdxl":
        tensors = {key: value for key, value in tensors.items() if not key.endswith(".alpha")}
        tensors = {
            key.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): value for key, value in tensors.items()
        }
        tensors = {key: value * 1.5 if "lora_B" in key else value for key, value in tensors.items()}
    tolerance = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 2e-2}[dtype]
    assert check(pipe, save(tmp_path / "x.safetensors", tensors), changes, tolerance) == []


@pytest.mark.parametrize("on_input", [True, False])
def test_an_ia3_scales_columns_or_rows(pipes, tmp_path, on_input) -> None:
    import torch

    tensors, changes = {}, {}
    for layer in (*_LINEAR, _CONV):
        weight = get_weight(pipes["sd15"], layer)
        factors = rand(weight.shape[1] if on_input else weight.shape[0])
        tensors |= {f"{kohya(layer)}.weight": factors, f"{kohya(layer)}.on_input": torch.tensor(on_input)}
        shape = [1, -1] if on_input else [-1, 1]
        grown = (1 + factors).reshape(*shape, *[1] * (weight.ndim - 2))
        changes[layer] = lambda before, grown=grown: before * grown
    assert check(pipes["sd15"], save(tmp_path / "ia3.safetensors", tensors), changes) == []


@pytest.mark.parametrize("constraint", [0.0, 1e-4, 5.0])
@pytest.mark.parametrize("part", ["oft_blocks", "oft_diag"])
def test_an_oft_turns_the_outputs_in_blocks(pipes, tmp_path, part, constraint) -> None:
    import torch

    tensors, changes = {}, {}
    for layer in (*_LINEAR, _CONV):
        weight = get_weight(pipes["sd15"], layer).detach()
        blocks, side = 4, weight.shape[0] // 4
        given = rand(blocks, side, side)
        turns = given
        if part == "oft_blocks":
            skew = given - given.transpose(1, 2)
            if constraint:
                skew = skew * min(1.0, constraint * weight.shape[0] / float(skew.square().sum().sqrt()))
            turns = torch.stack([(torch.eye(side) + q) @ torch.linalg.inv(torch.eye(side) - q) for q in skew])
            assert torch.allclose(turns @ turns.transpose(1, 2), torch.eye(side).expand_as(turns), atol=1e-4)
        tensors |= {f"{kohya(layer)}.{part}": given, f"{kohya(layer)}.alpha": torch.tensor(constraint)}
        changes[layer] = lambda before, turns=turns: (
            torch.block_diag(*turns).T @ before.reshape(before.shape[0], -1)
        ).reshape(before.shape)
    assert check(pipes["sd15"], save(tmp_path / "oft.safetensors", tensors), changes, 1e-4) == []


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_a_file_in_few_bits_is_read_as_its_numbers(pipes, tmp_path, stored) -> None:
    import torch

    pipe = copy.deepcopy(pipes["sd15"])
    tensors, _ = build(pipe, make_plain, kohya, _LINEAR)
    few = {name: value if "alpha" in name else value.to(getattr(torch, stored)) for name, value in tensors.items()}
    changes = {}
    for layer in _LINEAR:
        down, up = (few[f"{kohya(layer)}.lora_{side}.weight"].float() for side in ("down", "up"))
        changes[layer] = plus(1.5 * up @ down)
    tolerance = 1e-5 if stored.startswith("float8") else 2e-2
    check(pipe, save(tmp_path / "few.safetensors", few), changes, tolerance)


def test_the_text_encoder_takes_its_layers_too(pipes, tmp_path) -> None:
    pipe = copy.deepcopy(pipes["sd15"])
    tensors, changes = build(pipe, make_loha, kohya, (*_LINEAR, _ENCODER))
    check(pipe, save(tmp_path / "te.safetensors", tensors), changes)


@pytest.mark.parametrize("make", [make_plain, make_loha], ids=lambda m: m.__name__)
def test_the_text_encoder_has_a_weight_of_its_own(pipes, tmp_path, make) -> None:
    import torch

    pipe = copy.deepcopy(pipes["sd15"])
    encoder = (_ENCODER, _ENCODER.replace("q_proj", "out_proj"))
    tensors, changes = build(pipe, make, kohya, (*_LINEAR, *encoder))
    file = save(tmp_path / "both.safetensors", tensors)
    changes = {layer: change for layer, change in changes.items() if layer not in encoder}
    wanted = run_parts(add_by_hand(pipe, changes))
    LoraAdapters().apply(pipe, [(file, LoraUse(name="both", weight=1.0, encoder_weight=0.0))])
    for got, want in zip(run_parts(pipe), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_dora_of_kohyas_names_is_applied_as_one(pipes, tmp_path, axis) -> None:
    pipe = copy.deepcopy(pipes["sd15"])
    tensors, changes = build(pipe, make_plain, kohya, _LINEAR)
    for layer in _LINEAR:
        weight = get_weight(pipe, layer)
        lengths = rand(weight.shape[0], 1).abs() + 1 if axis == 0 else rand(1, weight.shape[1]).abs() + 1
        tensors[f"{kohya(layer)}.dora_scale"] = lengths
        inner = changes[layer]

        def turn(weight: Any, inner: Any = inner, lengths: Any = lengths) -> Any:
            merged = inner(weight)
            return lengths * merged / merged.norm(dim=1 - axis, keepdim=True)

        changes[layer] = turn
    check(pipe, save(tmp_path / "dora.safetensors", tensors), changes)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_the_scaling_in_the_header_counts_as_in_diffusers(pipes, tmp_path, family, rslora) -> None:
    import torch
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = copy.deepcopy(pipes[family])
    trained = copy.deepcopy(pipe)
    model = trained.transformer if family == "flux" else trained.unet
    component = "transformer" if family == "flux" else "unet"
    last = "to_k" if family == "flux" else "to_v"
    config = LoraConfig(
        r=4,
        lora_alpha=16,
        init_lora_weights=False,
        target_modules=["to_q", "to_k", "to_v"],
        alpha_pattern={last: 2},
        use_rslora=rslora,
    )
    model.add_adapter(config)
    layers = get_peft_model_state_dict(model)
    metadata = {"lora_adapter_metadata": json.dumps({f"{component}.{k}": v for k, v in _plain(config).items()})}
    file = save(tmp_path / f"{family}.safetensors", {f"{component}.{k}": v for k, v in layers.items()}, metadata)
    pipe_by_diffusers = copy.deepcopy(pipe)
    pipe_by_diffusers.load_lora_weights(str(tmp_path), weight_name=file.path.name)
    assert list(LoraAdapters().apply(pipe, [(file, LoraUse(name="x"))])) == []
    wanted, got, bare = run_parts(pipe_by_diffusers), run_parts(pipe), run_parts(pipes[family])
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(got, bare, strict=True))


def _plain(config: Any) -> dict[str, Any]:
    data = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    return {key: value for key, value in data.items() if value is not None}


def test_pefts_own_layout_is_read_with_its_settings(pipes, tmp_path) -> None:
    pipe = copy.deepcopy(pipes["sd15"])
    tensors, changes = {}, {}
    for layer in _LINEAR:
        down, up = rand(4, get_weight(pipe, layer).shape[1]), rand(get_weight(pipe, layer).shape[0], 4)
        tensors |= {f"base_model.model.{layer}.lora_A.weight": down, f"base_model.model.{layer}.lora_B.weight": up}
        changes[layer] = plus((2.0 if layer.endswith("to_k") else 16 / 4) * up @ down)
    folder = tmp_path / "mine"
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 16, "alpha_pattern": {"to_k": 8}}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    assert check(pipe, save(folder / "adapter_model.safetensors", tensors), changes) == []


@pytest.mark.parametrize("style", ["peft", "processor"])
def test_a_unets_layers_without_the_prefix_are_found(pipes, tmp_path, style) -> None:
    pipe = copy.deepcopy(pipes["sd15"])
    tensors, changes = {}, {}
    for layer in _LINEAR[:2]:
        down, up = rand(4, get_weight(pipe, layer).shape[1]), rand(get_weight(pipe, layer).shape[0], 4)
        own, _, leaf = layer.rpartition(".")
        name = f"{layer}.lora_" if style == "peft" else f"{own}.processor.{leaf}_lora."
        sides = ("A", "B") if style == "peft" else ("down", "up")
        tensors |= {f"{name}{sides[0]}.weight": down, f"{name}{sides[1]}.weight": up}
        changes[layer] = plus(up @ down)
    assert check(pipe, save(tmp_path / "bare.safetensors", tensors), changes) == []


@pytest.mark.parametrize("make", [make_plain, make_loha], ids=lambda m: m.__name__)
def test_layers_that_the_model_lacks_are_counted(pipes, tmp_path, make) -> None:
    pipe = copy.deepcopy(pipes["sd15"])
    tensors, _ = build(pipe, make, kohya, _LINEAR)
    more = {name.replace("down_blocks_1", "down_blocks_3"): value for name, value in tensors.items()}
    file = save(tmp_path / "half.safetensors", {**tensors, **more})
    worn = LoraAdapters()
    said = worn.apply(pipe, [(file, LoraUse(name="half"))])
    assert [one.split(" were")[0] for one in said] == ["3 of 6 layers of half"]
    assert worn.apply(pipe, [(file, LoraUse(name="half"))]) == said, "a job that finds it on is told too"


def test_a_transformer_family_counts_them_too(pipes, tmp_path) -> None:
    pipe = copy.deepcopy(pipes["flux"])
    tensors, changes = {}, {}
    for layer in _FLUX:
        weight = get_weight(pipe, layer)
        down, up = rand(4, weight.shape[1]), rand(weight.shape[0], 4)
        changes[layer] = plus(up @ down)
        for place in (layer, layer.replace("blocks.0", "blocks.9")):
            tensors |= {f"transformer.{place}.lora_A.weight": down, f"transformer.{place}.lora_B.weight": up}
    said = check(pipe, save(tmp_path / "half.safetensors", tensors), changes)
    assert [one.split(" were")[0] for one in said] == ["2 of 4 layers of half"]


def test_a_size_that_does_not_fit_is_refused_with_the_true_reason_and_leaves_no_trace(pipes, tmp_path) -> None:
    import torch

    pipe = copy.deepcopy(pipes["sd15"])
    tensors, _ = build(pipe, make_loha, kohya, _LINEAR)
    broken = {**tensors, f"{kohya(_LINEAR[2])}.hada_w1_a": rand(7, 2), f"{kohya(_LINEAR[2])}.hada_w2_a": rand(7, 2)}
    file = save(tmp_path / "odd.safetensors", broken)
    bare = run_parts(pipe)
    with pytest.raises(InvalidRequest, match="another size"):
        LoraAdapters().apply(pipe, [(file, LoraUse(name="odd"))])
    assert all(torch.equal(a, b) for a, b in zip(run_parts(pipe), bare, strict=True))


def test_two_formats_are_worn_together_and_taken_off_one_by_one(pipes, tmp_path) -> None:
    import torch

    pipe = copy.deepcopy(pipes["sd15"])
    first, one = build(pipe, make_plain, kohya, _LINEAR)
    second, other = build(pipe, make_loha, kohya, _LINEAR)
    files = [save(tmp_path / "a.safetensors", first), save(tmp_path / "b.safetensors", second)]
    wanted = run_parts(add_by_hand(add_by_hand(pipe, one), other))
    bare = run_parts(pipe)
    worn = LoraAdapters()
    worn.apply(pipe, [(file, LoraUse(name=file.name)) for file in files])
    for got, want in zip(run_parts(pipe), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    worn.apply(pipe, [(files[0], LoraUse(name="a", weight=0.5)), (files[1], LoraUse(name="b", weight=0.0))])
    worn.apply(pipe, [(files[1], LoraUse(name="b"))])
    for got, want in zip(run_parts(pipe), run_parts(add_by_hand(pipes["sd15"], other)), strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    worn.apply(pipe, [])
    assert all(torch.equal(a, b) for a, b in zip(run_parts(pipe), bare, strict=True))
