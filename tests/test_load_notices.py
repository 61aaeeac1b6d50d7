"""What a loader leaves out of a file, whatever the file is for, is told to the user of every job that uses it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import ModelBroken
from studio.core.request_parts import ControlUnit, Reference
from studio.core.weights import WeightFile, WeightKind
from tests.local_models import (
    EMBEDDED,
    FolderCatalog,
    RecordingContext,
    make_local_pipelines,
    make_request,
    make_seeds,
)
from tests.tiny_control import make_tile_image, make_tiny_controlnet, make_tiny_crossed, make_tiny_ip_adapter
from tests.tiny_families import make_tiny_kl
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch
WEIGHTS = "diffusion_pytorch_model.safetensors"


def change_tensors(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    from safetensors.torch import load_file, save_file

    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def add_strange(tensors: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {**tensors, "strange.weight": torch.zeros(3, 4)}


def drop_one(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if name != "conv_in.bias"}


def draw_twice(root: Path, weight: Path, others: tuple[WeightFile, ...] = (), **changes: Any) -> list[str]:
    """The notices of the second of two jobs: its files are in memory already."""
    backend, settings = make_local_pipelines(root, FolderCatalog({"tiny": weight}, others))
    for _ in range(2):
        context = RecordingContext(settings)
        context.images = {"p0": make_tile_image()}
        backend.render(make_request("tiny", **changes), make_seeds(1), context)
    return context.notices


def test_a_whole_checkpoint_says_nothing(tmp_path: Path) -> None:
    assert draw_twice(tmp_path, make_tiny_sd15(tmp_path / "tiny")) == []


@pytest.mark.parametrize(
    ("part", "file", "wanted"),
    [
        ("unet", WEIGHTS, "1 weight in Tiny not used: UNet2DConditionModel has"),
        ("vae", WEIGHTS, "1 weight in Tiny not used: AutoencoderTiny has"),
        ("text_encoder", "model.safetensors", "1 weight in Tiny not used: CLIPTextModel has"),
    ],
)
def test_weights_that_a_checkpoint_has_no_place_for(tmp_path: Path, part: str, file: str, wanted: str) -> None:
    folder = make_tiny_sd15(tmp_path / "tiny")
    change_tensors(folder / part / file, add_strange)
    [said] = draw_twice(tmp_path, folder)
    assert said.startswith(wanted)


def test_weights_that_a_checkpoint_lacks(tmp_path: Path) -> None:
    folder = make_tiny_sd15(tmp_path / "tiny")
    change_tensors(folder / "unet" / WEIGHTS, drop_one)
    with pytest.raises(ModelBroken, match="Tiny lacks 1 weight of UNet2DConditionModel"):
        draw_twice(tmp_path, folder)


def test_weights_that_a_text_encoder_lacks(tmp_path: Path) -> None:
    folder = make_tiny_sd15(tmp_path / "tiny")
    change_tensors(folder / "text_encoder" / "model.safetensors", lambda tensors: dict(list(tensors.items())[1:]))
    [said] = draw_twice(tmp_path, folder)
    assert said == "Tiny lacks 1 weight of CLIPTextModel."


def test_a_text_encoder_with_counted_positions_says_nothing(tmp_path: Path) -> None:
    import torch

    folder = make_tiny_sd15(tmp_path / "tiny")
    positions = {"text_model.embeddings.position_ids": torch.arange(77)}
    change_tensors(folder / "text_encoder" / "model.safetensors", lambda tensors: {**tensors, **positions})
    assert draw_twice(tmp_path, folder) == []


def test_weights_that_a_controlnet_has_no_place_for(tmp_path: Path) -> None:
    folder = make_tiny_sd15(tmp_path / "tiny")
    file = make_tiny_controlnet(tmp_path / "net", folder)
    change_tensors(file.path / WEIGHTS, add_strange)
    unit = ControlUnit(model=file.name, image="p0", preprocessor="none")
    [said] = draw_twice(tmp_path, folder, (file,), control=(unit,))
    assert said.startswith(f"1 weight in {file.name} not used: ControlNetModel")


def test_weights_that_an_ip_adapter_has_no_place_for(tmp_path: Path) -> None:
    folder = make_tiny_crossed(tmp_path / "tiny")
    file = make_tiny_ip_adapter(tmp_path / "adapter", folder)
    change_tensors(file.path, add_strange)
    [said] = draw_twice(tmp_path, folder, (file,), references=(Reference(image="p0", model=file.name),))
    assert said.startswith(f"1 weight in {file.name} not used")


def test_weights_that_a_vae_has_no_place_for(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = make_tiny_sd15(tmp_path / "tiny")
    make_tiny_kl().save_pretrained(folder / "vae")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("AutoencoderTiny", "AutoencoderKL"))
    in_folder, in_file = tmp_path / "folder", tmp_path / "file.safetensors"
    make_tiny_kl().save_pretrained(in_folder)
    change_tensors(in_folder / WEIGHTS, add_strange)
    save_file(add_strange(dict(make_tiny_kl().state_dict())), in_file)
    for path in (in_folder, in_file):
        vae = WeightFile(name=path.stem, kind=WeightKind.VAE, path=path, bytes=1)
        [said] = draw_twice(tmp_path, folder, (vae,), vae=path.stem)
        assert said.startswith(f"1 weight in the VAE {path.stem} not used")


def test_tensors_of_an_embedding_that_the_model_does_not_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "badhands.safetensors"
    save_file({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(2, 64)}, path)
    file = WeightFile(name="badhands", kind=WeightKind.EMBEDDING, path=path, bytes=1, family="sd15")
    folder = make_tiny_sd15(tmp_path / "tiny")
    [said] = draw_twice(tmp_path, folder, (file,), prompt="a fox, badhands")
    assert said == "1 tensors of the textual inversion badhands were not used by this model."


def test_numbers_that_a_single_files_layout_has_no_place_for(tmp_path: Path) -> None:
    import torch

    from studio.core.weights import SafetensorsHeader
    from studio.pipelines.load_notices import collect_load_notices, report_unused_weights

    pipe = type("Pipe", (), {"unet": torch.nn.Linear(4, 4), "vae": torch.nn.Linear(2, 2)})()
    shapes = {
        "model.diffusion_model.in.weight": (4, 4),
        "model.diffusion_model.in.bias": (4,),
        "model.diffusion_model.in.scale_weight": (1,),
        "first_stage_model.a": (6,),
        "first_stage_model.loss.b": (100,),
    }
    with collect_load_notices("big") as notices:
        report_unused_weights("big", SafetensorsHeader(shapes=shapes, dtypes={}, metadata={}), pipe)
    assert notices == ["1 of 21 numbers in the denoiser of big were not used; the model has no place for them."]


@pytest.mark.parametrize(
    ("cut", "named"),
    [
        (
            "unet/diffusion_pytorch_model.safetensors",
            "unet is broken: diffusion_pytorch_model.safetensors is trunc",
        ),
        ("vae/diffusion_pytorch_model.safetensors", "vae is broken: diffusion_pytorch_model.safetensors is trunc"),
        ("text_encoder/model.safetensors", "text_encoder is broken: model.safetensors is truncated"),
        ("tokenizer/tokenizer.json", "tokenizer/tokenizer.json cannot be read"),
        ("tokenizer/tokenizer_config.json", "tokenizer/tokenizer_config.json cannot be read"),
        ("tokenizer/vocab.json", "tokenizer/vocab.json cannot be read"),
        ("tokenizer/merges.txt", "Its tokenizer is broken"),
    ],
)
def test_a_file_cut_short_in_a_folder_is_named_and_the_next_model_works(tmp_path: Path, cut: str, named: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(EMBEDDED, broken)
    if cut.endswith(("vocab.json", "merges.txt")):
        (broken / "tokenizer" / "tokenizer.json").unlink()  # holds the same, and is read first
    (broken / cut).write_bytes((broken / cut).read_bytes()[: (broken / cut).stat().st_size // 2])
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"broken": broken, "tiny": EMBEDDED}))
    with pytest.raises(ModelBroken, match=named) as error:
        backend.render(make_request("broken"), make_seeds(1), RecordingContext(settings))
    assert str(tmp_path) not in error.value.message
    assert "Download it again" in error.value.hint
    assert backend.get_memory_report().resident == ()
    assert len(backend.render(make_request(), make_seeds(1), RecordingContext(settings))) == 1
    backend.close()
