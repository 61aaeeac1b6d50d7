"""Weight files are read into memory: what is resident stays, and nothing dies, when its file is written to."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from studio.core.request import LoraUse
from studio.core.weight_reading import convert_weights, disable_mapping
from studio.core.weights import WeightFile, WeightKind
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.test_lora import make_lora
from tests.tiny_models import make_tiny_sd15, make_tiny_vae

pytestmark = pytest.mark.torch
CHANGED = "has changed since it was read"


def draw(backend, settings, **changes) -> tuple[bytes, list[str]]:
    context = RecordingContext(settings)
    images = backend.render(make_request("tiny", **changes), make_seeds(1), context)
    return images[0].image.tobytes(), context.notices


def overwrite(path: Path, data: bytes) -> None:
    """In place, as cp and wget -O do: the inode stays."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000))


_CUT = """
    import sys
    from pathlib import Path
    from tests.local_models import FolderCatalog
    from tests.test_weight_reading import draw, make_local_pipelines
    root = Path(sys.argv[1])
    backend, settings = make_local_pipelines(root, FolderCatalog({"tiny": root / "tiny"}))
    draw(backend, settings)
    held = backend._registry.get_resident("tiny")
    for file in (root / "tiny").rglob("*.safetensors"):
        file.write_bytes(b"")
    total = sum(float(p.sum()) for part in held.pipe.components.values() if hasattr(part, "parameters")
                for p in part.parameters())
    print("alive", total == total)
"""


def test_a_file_cut_short_under_a_resident_checkpoint_kills_nothing(tmp_path) -> None:
    make_tiny_sd15(tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_CUT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive True"), done.stderr[-2000:]


def test_a_checkpoint_written_over_is_read_again_and_said(tmp_path) -> None:
    folder, other = make_tiny_sd15(tmp_path / "tiny"), make_tiny_sd15(tmp_path / "other", seed=1)
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"tiny": folder}))
    before, _ = draw(backend, settings)
    name = "unet/diffusion_pytorch_model.safetensors"
    overwrite(folder / name, (other / name).read_bytes())
    after, said = draw(backend, settings)
    assert after != before
    assert [CHANGED in one for one in said] == [True]
    again, said = draw(backend, settings)
    assert (again, said) == (after, [])


def test_a_lora_written_over_under_its_name_and_size_is_the_new_one(tmp_path) -> None:
    from safetensors.torch import load_file, save

    folder = make_tiny_sd15(tmp_path / "tiny")
    lora = make_lora(folder, tmp_path / "apple.safetensors")
    file = WeightFile(name="apple", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15")
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"tiny": folder}, (file,)))
    use = {"loras": (LoraUse(name="apple"),)}
    before, _ = draw(backend, settings, **use)
    size = lora.stat().st_size
    overwrite(lora, save({name: 2 * value for name, value in load_file(lora).items()}, metadata={"format": "pt"}))
    assert lora.stat().st_size == size
    assert draw(backend, settings, **use)[0] != before


def test_a_vae_written_over_under_its_name_and_size_is_the_new_one(tmp_path) -> None:
    import torch

    folder = make_tiny_sd15(tmp_path / "tiny")
    with torch.random.fork_rng(devices=[]):
        vaes = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            make_tiny_vae().save_pretrained(tmp_path / f"vae{seed}")
            vaes.append(tmp_path / f"vae{seed}" / "diffusion_pytorch_model.safetensors")
    file = WeightFile(name="vae", kind=WeightKind.VAE, path=vaes[0].parent, bytes=1, family="sd15")
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"tiny": folder}, (file,)))
    before, _ = draw(backend, settings, vae="vae")
    overwrite(vaes[0], vaes[1].read_bytes())
    assert draw(backend, settings, vae="vae")[0] != before


def test_weights_in_16_bits_are_converted_as_they_are_read_and_the_rest_stays(tmp_path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {
        "half": torch.tensor([1.5, 1e-7]).half(),
        "brain": torch.tensor([3.0]).bfloat16(),
        "single": torch.tensor([0.1]),
        "eight": torch.tensor([2.0]).to(torch.float8_e4m3fn),
        "count": torch.tensor([7]),
        "model_ema.half": torch.tensor([9.0]).half(),
    }
    save_file(tensors, tmp_path / "all.safetensors")
    disable_mapping()
    with convert_weights(torch.float32):
        found = load_file(tmp_path / "all.safetensors")
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "half": torch.float32,
        "brain": torch.float32,
        "single": torch.float32,
        "eight": torch.float8_e4m3fn,
        "count": torch.int64,
    }
    assert torch.equal(found["half"], tensors["half"].float())
    with convert_weights(torch.bfloat16):
        found = load_file(tmp_path / "all.safetensors")
    assert [found[name].dtype for name in ("half", "brain", "single")] == [
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    ]
    assert load_file(tmp_path / "all.safetensors").keys() == tensors.keys()


_LOAD = """
    import sys
    from contextlib import nullcontext
    import torch
    from diffusers import AutoencoderKL
    from studio.core.weight_reading import disable_mapping, convert_weights
    from studio.pipelines.device_memory import measure_peak
    disable_mapping()
    peaks = []
    way = convert_weights(torch.float32) if sys.argv[2] == "converted" else nullcontext()
    with measure_peak("cpu", peaks.append), way:
        model = AutoencoderKL.from_pretrained(sys.argv[1], torch_dtype=torch.float32)
    assert all(weight.dtype is torch.float32 for weight in model.parameters())
    print(*peaks)
"""


def test_a_file_in_16_bits_is_not_in_memory_beside_the_model_that_runs_in_32(tmp_path) -> None:
    import torch
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    model = AutoencoderKL(block_out_channels=(512, 512), layers_per_block=2, **blocks)
    size = sum(weight.numel() for weight in model.parameters()) * 2
    assert size > 64 * 2**20
    model.to(torch.float16).save_pretrained(tmp_path)
    peaks = {}
    for way in ("converted", "as diffusers does"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_LOAD), str(tmp_path), way],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parent.parent,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        if not done.stdout.strip():
            pytest.skip("this system cannot measure the memory of a block")
        peaks[way] = int(done.stdout)
    assert peaks["as diffusers does"] - peaks["converted"] > 0.7 * size


def test_the_catalog_looks_again_at_a_file_that_changed(tmp_path) -> None:
    import torch
    from safetensors.torch import save_file

    from studio.core.errors import InvalidRequest
    from studio.engine.plugins import discover
    from studio.pipelines.catalog.catalog import Catalog

    path = tmp_path / "models" / "embeddings" / "spark.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"emb_params": torch.ones((1, 768))}, path)
    catalog = Catalog(tmp_path / "models", discover("studio.pipelines.families", "PIPELINE"), tmp_path / "cache")
    assert catalog.find(WeightKind.EMBEDDING, "spark").family == "sd15"
    overwrite(path, b"")
    with pytest.raises(InvalidRequest, match="spark"):
        catalog.find(WeightKind.EMBEDDING, "spark")
