"""A model or VAE whose numbers overflow is told of, and never ends as a black image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import ModelBroken
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.run.finite_values import UPCAST_NOTICE
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_families import make_tiny_kl
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch


def spoil(folder: Path, part: str, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({name: change(name, value) for name, value in tensors.items()}, file, metadata={"format": "pt"})


def draw(root: Path, others: tuple[WeightFile, ...] = (), **changes: Any) -> tuple[Any, list[str]]:
    precision = changes.pop("precision", "auto")
    backend, settings = make_local_pipelines(root, FolderCatalog({"tiny": root / "tiny"}, others), precision=precision)
    context = RecordingContext(settings)
    return backend.render(make_request("tiny", **changes), make_seeds(1), context)[0].image, context.notices


def test_a_unet_that_overflows_fails_and_says_so(tmp_path) -> None:
    folder = make_tiny_sd15(tmp_path / "tiny")
    spoil(folder, "unet", lambda name, value: value * (float("nan") if "conv_out" in name else 1))
    with pytest.raises(ModelBroken, match="overflowed while denoising") as caught:
        draw(tmp_path)
    assert "float32" in caught.value.hint


def test_a_vae_that_overflows_in_32_bits_fails_and_says_so(tmp_path) -> None:
    spoil(make_tiny_sd15(tmp_path / "tiny"), "vae", lambda name, value: value * float("nan"))
    with pytest.raises(ModelBroken, match="The VAE made no image"):
        draw(tmp_path)


def test_a_vae_that_overflows_in_16_bits_decodes_in_32(tmp_path) -> None:
    """Behind a normalization large numbers do no harm, but float16 has no room for them."""
    make_tiny_sd15(tmp_path / "tiny")
    folder = tmp_path / "vae"
    make_tiny_kl().save_pretrained(folder)

    def blow_up(name: str, value: Any) -> Any:
        return value * 3e4 if name == "decoder.conv_in.weight" else value

    spoil(tmp_path, "vae", blow_up)
    vae = WeightFile(name="loud", kind=WeightKind.VAE, path=folder, bytes=1, family="sd15")
    image, said = draw(tmp_path, (vae,), vae="loud", precision="float16")
    assert said == [UPCAST_NOTICE]
    assert len(set(image.getdata())) > 1
    again, _ = draw(tmp_path, (vae,), vae="loud", precision="float32")
    assert len(set(again.getdata())) > 1
