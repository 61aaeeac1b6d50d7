"""Every family's real diffusers classes, tiny and with random weights, through PipelineSpec.load with no network."""

from __future__ import annotations

import inspect
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import ModelBroken
from studio.core.model import Feature
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weights import WeightFile, WeightKind
from studio.engine.plugins import discover
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.model_folders import read_component_config
from studio.pipelines.families import _clip, _parts, auto
from studio.pipelines.run.samplers import make_scheduler
from tests.tiny_families import make_single_file, make_tiny_flux, make_tiny_sd3
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
SPECS = {spec.family: spec for spec in discover("studio.pipelines.families", "PIPELINE")}
OPTIONS = LoadOptions(device="cpu", dtype="float32")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any attempt to look up or reach a host fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"the network was asked: {args}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return


def found(models: Path, name: str) -> tuple[WeightFile, PipelineSpec]:
    catalog = Catalog(models, list(SPECS.values()), models / ".cache")
    weight = catalog.checkpoint(name)
    assert weight.problem == ""
    return weight, catalog.spec(weight)


def draw(weight: WeightFile, spec: PipelineSpec, options: LoadOptions = OPTIONS, side: int = 64) -> Any:
    """Load, run two steps with the family's own arguments and default sampler, return the pipeline."""
    model = spec.describe(weight)
    assert model.problem == ""
    pipe = spec.load(weight, options)
    assert type(pipe).__name__ == spec.pipeline_classes[0]
    table, sampling = model.sampling.combinations, model.sampling
    assert sampling.schedule in table[sampling.sampler]
    pipe.scheduler = make_scheduler(sampling.sampler, sampling.schedule, pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    request = GenerationRequest(guidance=sampling.guidance)
    arguments = {**spec.arguments(request, model), "num_inference_steps": 2, "width": side, "height": side}
    image = pipe("a cat", **arguments).images[0]
    assert image.size == (side, side)
    return pipe


def make_tiny_sd3_without_t5(folder: Path) -> Path:
    """As diffusers writes it where the third text encoder was left out."""
    make_tiny_sd3(folder)
    index = json.loads((folder / "model_index.json").read_text())
    for name in ("text_encoder_3", "tokenizer_3"):
        index[name] = [None, None]
        shutil.rmtree(folder / name)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


FOLDERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "sd15": (make_tiny_sd15, "sd15"),
    "v-prediction": (lambda folder: make_tiny_sd15(folder, prediction_type="v_prediction"), "sd15"),
    "sdxl": (make_tiny_sdxl, "sdxl"),
    "sd3": (make_tiny_sd3, "sd3"),
    "sd3 without T5": (make_tiny_sd3_without_t5, "sd3"),
    "schnell": (lambda folder: make_tiny_flux(folder, guided=False), "flux"),
    "dev": (lambda folder: make_tiny_flux(folder, guided=True), "flux"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_described_loaded_and_draws(tmp_path: Path, name: str) -> None:
    make, family = FOLDERS[name]
    make(tmp_path / name)
    weight, spec = found(tmp_path, name)
    assert spec.family == family
    pipe = draw(weight, spec)
    if name == "v-prediction":
        assert pipe.scheduler.config.prediction_type == "v_prediction"
    if family == "flux":
        model = spec.describe(weight)
        assert (Feature.GUIDANCE in model.features) == (name == "dev")
        assert Feature.NEGATIVE_PROMPT not in model.features
        assert Feature.CLIP_SKIP not in model.features
        assert model.sampling.steps == (28 if name == "dev" else 4)
        assert model.ignores


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_one_file_loads_exactly_and_draws(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    models = tmp_path / "models"
    models.mkdir()
    file, config, modules = make_single_file(tmp_path, family)
    file.rename(models / "one.safetensors")
    _use_configs(tmp_path, family, config, monkeypatch)
    weight, spec = found(models, "one")
    assert spec.family == family
    pipe = draw(weight, spec)
    for name, module in modules.items():
        loaded = getattr(pipe, name).state_dict()
        for key, tensor in module.state_dict().items():
            assert torch.equal(loaded[key], tensor), f"{name} {key}"
    ids = pipe.tokenizer("a photo of an astronaut riding a horse on mars").input_ids
    assert ids == [49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407]
    if family == "sd2":
        assert pipe.scheduler.config.prediction_type == "v_prediction"
    padded = (pipe.tokenizer_2 if family == "sdxl" else pipe.tokenizer)("a", padding="max_length").input_ids
    assert padded[-1] == (49407 if family == "sd15" else 0)


def _use_configs(tmp_path: Path, family: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the family find the tiny checkpoint's sizes where it looks for the published ones."""
    configs = tmp_path / "configs"
    configs.mkdir()
    config.rename(configs / family)
    (configs / "clip_tokenizer").symlink_to(_parts.CONFIGS / "clip_tokenizer")
    monkeypatch.setattr(_parts, "CONFIGS", configs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn"])
def test_files_in_small_number_formats_load_in_the_asked_one(
    tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    file, config, _ = make_single_file(tmp_path, "sd15")
    models = tmp_path / "models"
    models.mkdir()
    save_file({name: t.to(getattr(torch, dtype)) for name, t in load_file(file).items()}, models / "one.safetensors")
    _use_configs(tmp_path, "sd15", config, monkeypatch)
    weight, spec = found(models, "one")
    pipe = spec.load(weight, OPTIONS)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.float32}
    draw(weight, spec)


def test_a_note_beside_the_file_changes_the_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, config, _ = make_single_file(tmp_path, "sd15")
    models = tmp_path / "models"
    models.mkdir()
    file.rename(models / "one.safetensors")
    (models / "one.json").write_text('{"prediction_type": "v_prediction"}')
    _use_configs(tmp_path, "sd15", config, monkeypatch)
    weight, spec = found(models, "one")
    assert spec.load(weight, OPTIONS).scheduler.config.prediction_type == "v_prediction"


def test_a_folder_with_half_precision_files_only_loads(tmp_path: Path) -> None:
    make_tiny_sd15(tmp_path / "half")
    for file in (tmp_path / "half").glob("*/*.safetensors"):
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    draw(*found(tmp_path, "half"))


def test_a_pickle_in_a_folder_is_not_taken_even_when_asked_directly(tmp_path: Path) -> None:
    import torch

    folder = make_tiny_sd15(tmp_path / "model")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, file.with_suffix(".bin"))
    file.unlink()
    weight = WeightFile(name="model", kind=WeightKind.CHECKPOINT, path=folder, bytes=0, family="sd15")
    with pytest.raises(OSError, match="safetensors"):
        SPECS["sd15"].load(weight, OPTIONS)


def test_a_transformer_file_takes_its_other_parts_from_the_companion(tmp_path: Path) -> None:
    """In diffusers' own names, which its single-file loader takes too; the conversion of other names is diffusers'
    business."""
    import torch
    from diffusers import FluxTransformer2DModel
    from safetensors.torch import load_file, save_file

    repos, file = ("black-forest-labs/FLUX.1-schnell",), tmp_path / "deep" / "tuned.safetensors"
    folder = make_tiny_flux(tmp_path / "hub" / "black-forest-labs--FLUX.1-schnell", guided=False)
    tensors = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    tuned = {name: torch.full_like(tensor, 0.01) for name, tensor in tensors.items()}
    file.parent.mkdir()
    save_file(tuned, file)
    weight = WeightFile(name="tuned", kind=WeightKind.CHECKPOINT, path=file, bytes=1, family="flux")
    pipe = _parts.load_transformer_file(weight, OPTIONS, "FluxPipeline", "FluxTransformer2DModel", repos)
    assert isinstance(pipe.transformer, FluxTransformer2DModel)
    assert all(torch.equal(pipe.transformer.state_dict()[name], tensor) for name, tensor in tuned.items())
    pipe("a cat", num_inference_steps=1, width=64, height=64, guidance_scale=0.0)
    (folder / "model_index.json").unlink()
    with pytest.raises(ModelBroken) as caught:
        _parts.load_transformer_file(weight, OPTIONS, "FluxPipeline", "FluxTransformer2DModel", repos)
    assert repos[0] in caught.value.hint


PARAMETERS = {
    ("sd15", "unet"): 859.5,
    ("sd2", "unet"): 865.9,
    ("sdxl", "unet"): 2567.5,
    ("sd15", "text_encoder"): 123.1,
    ("sd2", "text_encoder"): 340.4,
    ("sdxl", "text_encoder"): 123.1,
    ("sdxl", "text_encoder_2"): 694.7,
    ("sd15", "vae"): 83.7,
    ("sd2", "vae"): 83.7,
    ("sdxl", "vae"): 83.7,
}
"""Millions, as published."""


@pytest.mark.parametrize("part", PARAMETERS, ids="-".join)
def test_shipped_configs_build_models_of_the_published_size(part: tuple[str, str]) -> None:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    family, name = part
    config = dict(read_component_config(_parts.CONFIGS / family, name))
    with torch.device("meta"):
        if name.startswith("text"):
            cls = CLIPTextModelWithProjection if name.endswith("2") else CLIPTextModel
            model: Any = cls(CLIPTextConfig(**config))
        else:
            model = (UNet2DConditionModel if name == "unet" else AutoencoderKL).from_config(config)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(PARAMETERS[part], abs=0.1)


def test_the_classes_are_exactly_diffusers_own() -> None:
    import diffusers
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING as OURS

    claimed = [name for spec in SPECS.values() for name in spec.pipeline_classes]
    others = set(claimed) - {cls.__name__ for cls in OURS.values()}
    assert len(others) == len(set(claimed)) - len(OURS), "every class that draws from text"
    for name in others - {"LongCatImagePipeline"}:  # whose scheduler is watched instead
        call = inspect.signature(getattr(diffusers, name).__call__).parameters
        assert {"callback_on_step_end", "callback"} & set(call), "which can be watched"
    shared = {name for name in claimed if claimed.count(name) > 1}
    assert shared == set(_clip.PIPELINE_CLASSES), "told apart by detect"
    assert not set(auto.PIPELINE_DEFAULTS) & set(auto.UNSUPPORTED_CLASSES)


@pytest.mark.parametrize("name", auto.PIPELINE_DEFAULTS)
def test_what_is_said_of_other_pipelines_is_what_their_call_takes(name: str) -> None:
    import diffusers

    cls = getattr(diffusers, name)
    call, init = inspect.signature(cls.__call__).parameters, inspect.signature(cls.__init__).parameters
    row = auto.PIPELINE_DEFAULTS[name]
    assert {
        "prompt",
        "guidance_scale",
        "num_inference_steps",
        "generator",
        "callback_on_step_end",
        "output_type",
    } <= set(call)
    assert {"vae", "scheduler"} <= set(init)
    assert row.negative == ("negative_prompt" in call)


@pytest.mark.parametrize("family", [name for name in SPECS if name != "auto"])
def test_img2img_and_arguments_exist_in_diffusers(family: str, tmp_path: Path) -> None:
    import diffusers

    spec = SPECS[family]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model_index.json").write_text(json.dumps({"_class_name": spec.pipeline_classes[0]}))
    model = spec.describe(WeightFile(name="x", kind=WeightKind.CHECKPOINT, path=tmp_path / "x", bytes=1, family=family))
    assert (Feature.HIRES in model.features) == (bool(spec.image_to_image) and family != "sana_sprint")
    for cls in filter(None, (*spec.pipeline_classes, spec.image_to_image)):
        call = inspect.signature(getattr(diffusers, cls).__call__).parameters
        own = {"guidance_scale"} if family == "hunyuan_image" else set()  # added by its family
        assert set(spec.arguments(GenerationRequest(guidance=1.0), model)) <= set(call) | own, cls
    if Feature.SAMPLER in model.features:
        assert model.sampling.sampler in model.sampling.combinations
    for width, height in model.sizes.liked:
        model.check(GenerationRequest(width=width, height=height))


def test_families_are_found_without_torch() -> None:
    folder = Path(__file__).parent.parent / "studio" / "pipelines" / "families"
    modules = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    assert {"sd15", "sdxl", "flux", "auto"} <= set(modules)
    code = (
        "import sys; from studio.engine.plugins import discover; import logging;"
        f"specs = discover('studio.pipelines.families', 'PIPELINE'); assert len(specs) == {len(modules)}, specs;"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent, timeout=60)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_text_encoder_in_the_layout_of_2022_loads_exactly(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    file, config, modules = make_single_file(tmp_path, family)
    models = tmp_path / "models"
    models.mkdir()
    old = {name.replace(".transformer.text_model.", ".transformer."): t for name, t in load_file(file).items()}
    assert old.keys() != load_file(file).keys()
    save_file(old, models / "one.safetensors")
    _use_configs(tmp_path, family, config, monkeypatch)
    pipe = draw(*found(models, "one"))
    loaded = pipe.text_encoder.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in modules["text_encoder"].state_dict().items())


def test_a_file_in_capitals_and_without_vae_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file, save_file

    file, config, _ = make_single_file(tmp_path, "sd15")
    models = tmp_path / "models"
    models.mkdir()
    less = {name: t for name, t in load_file(file).items() if not name.startswith("first_stage_model.")}
    save_file(less, models / "ONE.SAFETENSORS")
    _use_configs(tmp_path, "sd15", config, monkeypatch)
    weight, spec = found(models, "ONE")
    assert not spec.describe(weight).has_vae
    draw(weight, spec)
