"""Image upscalers in tiles."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import ModelBroken
from studio.core.request import Hires
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.upscale.upscale_image import enlarge_image, load_upscaler
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def compact(tmp_path_factory) -> WeightFile:
    """A tiny random upscaler of Real-ESRGAN's compact kind, ×2, as a file."""
    import torch
    from safetensors.torch import save_file
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("upscalers") / "compact.safetensors"
    save_file(SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).state_dict(), path)
    return WeightFile(name="compact", kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size)


def test_tiles_show_no_seams(compact) -> None:
    """A network that sees 10 px around each pixel draws the same in tiles as at once, but for the fade between them."""
    import torch

    upscaler = load_upscaler(compact, "cpu")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 530, 3), dtype=np.uint8), "RGB")
    tiled = np.asarray(enlarge_image(image, (1060, 600), upscaler, "cpu"), dtype=int)
    pixels = torch.from_numpy(np.asarray(image, dtype="float32") / 255).permute(2, 0, 1)[None]
    whole = upscaler(pixels)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy().astype(int)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.2
    assert np.abs(tiled - whole).max() <= 12


def test_any_size_is_reached(compact) -> None:
    upscaler = load_upscaler(compact, "cpu")
    assert enlarge_image(Image.new("RGB", (40, 30)), (130, 97), upscaler, "cpu").size == (130, 97)


def test_hires_pass_through_an_upscaler_file(compact, tmp_path) -> None:
    backend, settings = make_local_pipelines(
        tmp_path, FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")}, (compact,))
    )
    ctx = RecordingContext(settings)
    wish = Hires(upscaler="compact", strength=0.5, scale=2)
    assert backend.render(make_request(hires=wish), make_seeds(1), ctx)[0].image.size == (128, 128)
    assert ctx.loaded == ["Loading Tiny", "Loading compact"]
    assert {one.model for one in backend.get_memory_report().resident} == {"tiny", "compact"}


def test_what_is_no_upscaler_is_said_so(tmp_path) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelBroken, match="other"):
        load_upscaler(WeightFile(name="other", kind=WeightKind.UPSCALER, path=path, bytes=1), "cpu")
