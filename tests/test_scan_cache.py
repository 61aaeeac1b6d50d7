"""A start goes by what the last one found in models/, and believes it only as long as nothing has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from test_catalog import SINGLE_FILES, lora, sd, sdxl, write

from studio.core.weights import WeightKind
from studio.engine.plugins import discover
from studio.pipelines.catalog import catalog as catalog_module
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.scan_cache import ScanCache
from studio.pipelines.control import control_files

ATTENTION = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
HOSTILE = ["", "[", "[]", "{}", "null", '{"program": 1}', "[" * 100_000, "\x00\xff", '{"program": {"a": [1]}}']


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """One of every kind of file, and a folder."""
    root = tmp_path / "models"
    for name, (shapes, _, _) in SINGLE_FILES.items():
        write(root / "kinds" / f"{name}.safetensors", shapes)
    (root / "broken.safetensors").write_bytes(b"<html>")
    folder = root / "hub" / "org--name"
    write(folder / "unet" / "diffusion_pytorch_model.safetensors", {"conv_in.weight": (320, 4, 3, 3)})
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return root


@pytest.fixture
def start(models: Path, tmp_path: Path) -> Callable[[], Catalog]:
    """What each start of the studio makes anew."""
    specs = discover("studio.pipelines.families", "PIPELINE")
    return lambda: Catalog(models, specs, tmp_path / "cache")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers are read, as they are."""
    names: list[str] = []
    real = catalog_module.read_header
    for module in (catalog_module, control_files):
        monkeypatch.setattr(module, "read_header", lambda path: names.append(path.name) or real(path))
    return names


def test_the_second_start_reads_no_file_and_finds_the_same(start: Callable[[], Catalog], read: list[str]) -> None:
    first = start()
    found, models = first.weights(), first.models()
    assert len(read) >= len(SINGLE_FILES)
    read.clear()
    second = start()
    assert (second.weights(), second.models()) == (found, models)
    assert read == []


def test_a_start_reads_what_is_new_or_changed_and_drops_what_is_gone(
    start: Callable[[], Catalog], read: list[str], models: Path
) -> None:
    for name in ("kept", "changed", "gone"):
        write(models / f"{name}.safetensors", lora(ATTENTION))
    before = {weight.name for weight in start().weights()}
    write(models / "changed.safetensors", lora(ATTENTION, 1024))
    write(models / "new.safetensors", lora(ATTENTION))
    (models / "gone.safetensors").unlink()
    read.clear()
    catalog = start()
    found = {weight.name: weight.family for weight in catalog.weights()}
    assert set(found) == before - {"gone"} | {"new"}
    assert (found["kept"], found["changed"]) == ("sd15", "sd2")
    looked_at = [name for name in read if name in ("kept.safetensors", "changed.safetensors", "new.safetensors")]
    assert sorted(looked_at) == ["changed.safetensors", "new.safetensors"]


def test_a_note_written_between_two_starts_is_seen(start: Callable[[], Catalog], models: Path) -> None:
    write(models / "two.safetensors", sd(1024))

    def get_side() -> int:
        return next(model for model in start().models() if model.id == "two").sizes.liked[0][0]

    assert get_side() == 768
    (models / "two.json").write_text('{"prediction_type": "epsilon"}')
    assert get_side() == 512
    (models / "two.json").write_text('{"prediction_type": "v_prediction"}')
    assert get_side() == 768


def test_a_companion_that_came_between_two_starts_is_seen(start: Callable[[], Catalog], models: Path) -> None:
    write(models / "tuned.safetensors", SINGLE_FILES["flux"][0])

    def get_problem() -> str:
        return next(model for model in start().models() if model.id == "tuned").problem

    assert get_problem()
    folder = models / "hub" / "black-forest-labs--FLUX.1-schnell"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    assert get_problem() == ""


def test_a_controlnet_that_came_between_two_starts_gives_its_tasks(start: Callable[[], Catalog], models: Path) -> None:
    write(models / "alone" / "plain.safetensors", sdxl())
    (models / "kinds" / "diffusers controlnet xl.safetensors").unlink()

    def get_tasks() -> set[str]:
        return {str(task) for task in next(model for model in start().models() if model.id == "alone/plain").tasks}

    before = get_tasks()
    write(models / "controlnet" / "scribble.safetensors", SINGLE_FILES["diffusers controlnet xl"][0])
    assert get_tasks() - before == {"sketch", "structure"}
    (models / "controlnet" / "scribble.safetensors").unlink()
    assert get_tasks() == before


def test_hashes_are_shown_with_what_is_remembered(start: Callable[[], Catalog]) -> None:
    digest = start().sha256("kinds/vae", WeightKind.VAE)
    start().weights()
    again = next(weight for weight in start().weights() if weight.name == "kinds/vae")
    assert again.sha256 == digest


def test_another_version_of_the_program_looks_for_itself(
    start: Callable[[], Catalog], read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start().weights()
    read.clear()
    monkeypatch.setattr(ScanCache, "_hash_program", lambda self: "another")
    start().weights()
    assert len(read) >= len(SINGLE_FILES)


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_damaged_cache_costs_time_only(start: Callable[[], Catalog], tmp_path: Path, content: str) -> None:
    found = start().weights()
    (tmp_path / "cache" / "scan.json").write_text(content, encoding="latin-1")
    assert start().weights() == found


@pytest.mark.parametrize("part", ["models", "entries", "seen", "surroundings"])
@pytest.mark.parametrize("value", [None, [[]], [[1]], [["x"] * 7], {"a": 1}])
def test_a_cache_with_a_wrong_part_costs_time_only(
    start: Callable[[], Catalog], tmp_path: Path, part: str, value: object
) -> None:
    found = start().weights()
    file = tmp_path / "cache" / "scan.json"
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, part: value}))
    assert start().weights() == found


def test_a_cache_that_cannot_be_written_is_no_error(start: Callable[[], Catalog], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(start().weights()) >= len(SINGLE_FILES)
    assert len(start().weights()) >= len(SINGLE_FILES)


def test_the_cache_of_another_folder_is_not_taken_for_this_one(
    start: Callable[[], Catalog], models: Path, tmp_path: Path
) -> None:
    found = {weight.name for weight in start().weights()}
    os.rename(models, tmp_path / "moved")
    specs = discover("studio.pipelines.families", "PIPELINE")
    moved = Catalog(tmp_path / "moved", specs, tmp_path / "cache").weights()
    assert {weight.name for weight in moved} == found
    assert all(weight.path.is_relative_to(tmp_path / "moved") for weight in moved)


def test_a_cache_cannot_name_files_elsewhere(start: Callable[[], Catalog], models: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.safetensors", sd(768))
    start().weights()
    file = tmp_path / "cache" / "scan.json"
    data = json.loads(file.read_text())
    stamp = [str(outside), outside.stat().st_size, outside.stat().st_mtime_ns]
    for part in ("entries", "seen"):
        data[part].append([stamp, "outside", "checkpoint", 1, "sd15", "", []])
    file.write_text(json.dumps(data))
    assert all(weight.path.is_relative_to(models) for weight in start().weights())
    data["seen"].pop()
    file.write_text(json.dumps(data))
    assert all(weight.path.is_relative_to(models) for weight in start().weights())
