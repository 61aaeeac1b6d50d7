"""What a checkpoint takes is known before it is loaded, and one that has no room is refused."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from studio.core.errors import OutOfMemory
from studio.core.ports import LoadOptions
from studio.core.request import LoraUse
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines import device_memory
from studio.pipelines.weight_sizes import check_room, estimate_loaded_bytes, find_storage
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.test_lora import make_lora
from tests.tiny_families import make_single_file
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch
IN_32 = LoadOptions(device="cpu", dtype="float32")
IN_16 = LoadOptions(device="cpu", dtype="bfloat16")
GIB = 2**30


def describe(path: Path) -> WeightFile:
    return WeightFile(name=path.stem, kind=WeightKind.CHECKPOINT, path=path, bytes=123)


def save(path: Path, **dtypes: str) -> WeightFile:
    """A file of tensors with a thousand numbers each."""
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name.replace("__", "."): torch.zeros(10, 100, dtype=getattr(torch, one)) for name, one in dtypes.items()}
    save_file(tensors, path)
    return describe(path)


def test_floats_take_what_they_are_run_in_and_other_numbers_what_they_are(tmp_path: Path) -> None:
    file = save(
        tmp_path / "a.safetensors", a="float16", b="float32", c="float8_e4m3fn", d="uint8", model_ema__e="float32"
    )
    assert estimate_loaded_bytes(file, IN_32) == 3 * 4000 + 1000
    assert estimate_loaded_bytes(file, IN_16) == 3 * 2000 + 1000


def test_a_file_that_cannot_be_read_and_one_in_ggufs_blocks_count_as_on_disk(tmp_path: Path) -> None:
    for name in ("broken.safetensors", "small.gguf"):
        (tmp_path / name).write_bytes(b"nothing")
        assert estimate_loaded_bytes(describe(tmp_path / name), IN_32) == 123


def test_of_a_folder_the_files_of_other_variants_and_the_safety_checker_do_not_count(tmp_path: Path) -> None:
    folder = make_tiny_sd15(tmp_path / "tiny")
    alone = estimate_loaded_bytes(describe(folder), IN_32)
    save(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", a="float16")
    save(folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors", a="float32")
    save(folder / "safety_checker" / "model.safetensors", a="float32")
    save(folder / "tiny.safetensors", a="float32")
    assert estimate_loaded_bytes(describe(folder), IN_32) == alone
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").unlink()
    assert estimate_loaded_bytes(describe(folder), IN_32) < alone, "that variant is the only one"


def test_a_folders_estimate_is_what_its_loaded_weights_take(tmp_path: Path) -> None:
    catalog = FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")})
    backend, settings = make_local_pipelines(tmp_path, catalog)
    backend.load("tiny", RecordingContext(settings))
    held = backend.get_memory_report().resident[0].bytes
    assert estimate_loaded_bytes(catalog.checkpoint("tiny"), IN_32) == pytest.approx(held, rel=0.01)


def test_a_single_files_estimate_is_what_its_modules_take(tmp_path: Path) -> None:
    file, _, modules = make_single_file(tmp_path, "sdxl")
    numbers = sum(weight.numel() for module in modules.values() for weight in module.state_dict().values())
    assert estimate_loaded_bytes(describe(file), IN_16) == pytest.approx(2 * numbers, rel=0.01)


def test_more_than_the_limit_leaves_is_refused_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "read_free_with_swap", lambda: 20 * GIB)
    check_room("SDXL", 10 * GIB, 10 * GIB, "cpu")
    with pytest.raises(OutOfMemory, match=r"SDXL needs 12\.9 GiB of memory; the memory limit leaves 10\.0 GiB") as info:
        check_room("SDXL", int(12.9 * GIB), 10 * GIB, "cpu")
    assert info.value.details == {"requested": int(12.9 * GIB), "available": 10 * GIB}
    assert "Raise the memory limit" in info.value.hint


def test_more_than_the_machine_has_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "read_free_with_swap", lambda: 5 * GIB)
    with pytest.raises(OutOfMemory, match=r"SDXL needs 6\.0 GiB of memory; 5\.0 GiB are free") as info:
        check_room("SDXL", 6 * GIB, 10 * GIB, "cpu")
    assert "Close other programs" in info.value.hint


@pytest.mark.parametrize(
    ("wanted", "room", "said"),
    [
        (6.53, 6.49, r"needs 6\.6 GiB of memory; the memory limit leaves 6\.4 GiB"),
        (0.044, 0.02, r"needs 0\.1 GiB of memory; the memory limit leaves 0\.0 GiB"),
    ],
)
def test_what_is_needed_is_never_shown_as_what_is_left(
    monkeypatch: pytest.MonkeyPatch, wanted: float, room: float, said: str
) -> None:
    monkeypatch.setattr(device_memory, "read_free_with_swap", lambda: 20 * GIB)
    with pytest.raises(OutOfMemory, match=said):
        check_room("SDXL", int(wanted * GIB), int(room * GIB), "cpu")


def test_a_graphics_card_refuses_nothing_as_parts_can_wait_outside_of_it() -> None:
    check_room("FLUX", 24 * GIB, GIB, "cuda")


def halve(folder: Path) -> Path:
    """Write a tiny checkpoint anew in 16 bits, as most are published."""
    import diffusers
    import torch

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, dtype=torch.float16)
    pipe.save_pretrained(folder)
    return folder


def test_the_format_of_the_weights_is_known_where_it_is_one_of_16_bits(tmp_path: Path) -> None:
    main = "model__diffusion_model__a"
    kinds = {
        "float16": {main: "float16", "b": "float16", "betas": "float32", "ids": "int64", "model_ema__a": "float32"},
        "bfloat16": {main: "bfloat16"},
        "": {main: "float16", "b": "float32"},
    }
    for number, (wanted, dtypes) in enumerate(kinds.items()):
        assert find_storage(save(tmp_path / f"{number}.safetensors", **dtypes)) == wanted
    assert find_storage(save(tmp_path / "transformer.safetensors", a="float16")) == "", "what its parts are is unknown"
    assert find_storage(save(tmp_path / "quantised.safetensors", **{main: "float16", "b": "uint8"})) == ""
    assert find_storage(describe(tmp_path / "missing.safetensors")) == ""
    folder = make_tiny_sd15(tmp_path / "tiny")
    assert find_storage(describe(folder)) == ""
    assert find_storage(describe(halve(folder))) == "float16"


def test_a_checkpoint_that_does_not_fit_in_32_bits_makes_the_same_image_from_weights_in_16(tmp_path: Path) -> None:
    catalog = FolderCatalog({"tiny": halve(make_tiny_sd15(tmp_path / "tiny", block_out_channels=(64, 128)))})
    small = LoadOptions(device="cpu", dtype="float32", storage="float16")
    sizes = [estimate_loaded_bytes(catalog.checkpoint("tiny"), options) for options in (IN_32, small)]
    assert sizes[1] < 0.7 * sizes[0]
    images, notices, held = list[bytes](), list[list[str]](), list[int]()
    for limit in (1.5 * sizes[0], 1.1 * sizes[1]):
        backend, settings = make_local_pipelines(tmp_path, catalog, memory_budget_gb=limit / GIB)
        for _ in range(2):
            ctx = RecordingContext(settings)
            images.append(backend.render(make_request("tiny"), make_seeds(1), ctx)[0].image.tobytes())
            notices.append(ctx.notices)
        held.append(backend.get_memory_report().resident[0].bytes)
        backend.close()
    assert len(set(images)) == 1
    assert held == [pytest.approx(size, rel=0.02) for size in sizes]
    assert notices[:2] == [[], []]
    assert all("kept in 16 bits" in one for one in notices[2] + notices[3])
    assert [len(one) for one in notices[2:]] == [1, 1]


def test_fused_projections_leave_weights_in_16_bits_alone(tmp_path: Path) -> None:
    catalog = FolderCatalog({"tiny": halve(make_tiny_sd15(tmp_path / "tiny", block_out_channels=(64, 128)))})
    whole = estimate_loaded_bytes(catalog.checkpoint("tiny"), IN_32)
    limit = 0.9 * whole / GIB
    backend, settings = make_local_pipelines(tmp_path, catalog, memory_budget_gb=limit, fused_projections=True)
    ctx = RecordingContext(settings)
    backend.render(make_request("tiny"), make_seeds(1), ctx)
    assert any("Fused projections were not used" in one for one in ctx.notices)
    backend.close()


def test_a_lora_changes_weights_and_so_needs_them_in_32_bits(tmp_path: Path) -> None:
    folder = halve(make_tiny_sd15(tmp_path / "tiny", block_out_channels=(64, 128)))
    lora = make_lora(folder, tmp_path / "apple.safetensors")
    file = WeightFile(name="apple", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15")
    catalog = FolderCatalog({"tiny": folder}, (file,))
    whole = estimate_loaded_bytes(catalog.checkpoint("tiny"), IN_32)
    backend, settings = make_local_pipelines(tmp_path, catalog, memory_budget_gb=0.9 * whole / GIB)
    request = make_request("tiny", loras=(LoraUse(name="apple"),))
    with pytest.raises(OutOfMemory, match="needs"):
        backend.render(request, make_seeds(1), RecordingContext(settings))
    backend.render(make_request("tiny"), make_seeds(1), RecordingContext(settings))
    backend.close()


def test_a_checkpoint_beyond_the_limit_is_refused_and_the_next_job_is_made(tmp_path: Path) -> None:
    large = make_tiny_sd15(tmp_path / "large", block_out_channels=(128, 128))
    catalog = FolderCatalog({"large": large, "small": make_tiny_sd15(tmp_path / "small")})
    sizes = {name: estimate_loaded_bytes(catalog.checkpoint(name), IN_32) for name in ("large", "small")}
    assert sizes["large"] > 1.5 * sizes["small"]
    backend, settings = make_local_pipelines(tmp_path, catalog, memory_budget_gb=1.2 * sizes["small"] / GIB)
    held: list[list[str]] = []
    for name in ("small", "large", "small"):
        with pytest.raises(OutOfMemory, match="the memory limit leaves") if name == "large" else nullcontext():
            backend.render(make_request(name), make_seeds(1), RecordingContext(settings))
        held.append([one.model for one in backend.get_memory_report().resident])
    assert held == [["small"]] * 3, "none left in vain"
    backend.close()
