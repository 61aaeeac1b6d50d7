"""What torch and diffusers do faster by themselves, on tiny models: the same image, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from studio.core.errors import InvalidRequest, JobCancelled
from studio.core.ports import LoadOptions
from studio.core.request import LoraUse
from studio.core.settings import Settings
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.accelerate.small_weights import STORAGE, keep_weights_small
from studio.pipelines.accelerate.torch_options import (
    COMPILE_NOTICE,
    STEP_CACHE_NOTICE,
    apply_torch_options,
    arrange_channels,
    compile_blocks,
)
from studio.pipelines.run.offloading import LAYERS, offload_parts
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.test_lora import make_lora
from tests.tiny_families import make_tiny_flux
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import diffusers

    folder = make_tiny_flux(tmp_path_factory.mktemp("flux") / "flux", guided=True)
    pipe = diffusers.FluxPipeline.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, settings: Settings, **compile_options: Any) -> tuple[np.ndarray, list[str]]:
    import torch

    notices: list[str] = []
    with apply_torch_options(pipe, settings, notices.append, **compile_options), torch.inference_mode():
        images = pipe(
            "a red apple",
            width=32,
            height=32,
            num_inference_steps=6,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
        ).images
    return np.asarray(images[0]), notices


def test_compiled_blocks_draw_the_same_and_are_let_go(flux: Any) -> None:
    plain, _ = draw(flux, Settings())
    compiled, notices = draw(flux, Settings(accelerator="compile"), backend="aot_eager")
    assert np.abs(plain - compiled).max() <= 4 / 255
    assert notices == []
    blocks = flux.transformer.transformer_blocks
    assert blocks[0]._compiled_call_impl is not None
    kept = blocks[0]._compiled_call_impl
    assert compile_blocks(flux.transformer, True, backend="aot_eager")
    assert blocks[0]._compiled_call_impl is kept, "compiled once"
    draw(flux, Settings())
    assert blocks[0]._compiled_call_impl is None


def test_a_model_that_cannot_be_compiled_runs_as_it_is_and_says_so(flux: Any) -> None:
    def find_no_compiler(*_: Any) -> None:
        raise RuntimeError("no compiler")

    plain, _ = draw(flux, Settings())
    same, notices = draw(flux, Settings(accelerator="compile"), backend=find_no_compiler)
    assert (plain == same).all()
    assert notices == [COMPILE_NOTICE]
    assert "forward" not in vars(flux.transformer)
    assert (draw(flux, Settings())[0] == plain).all()


def test_fused_projections_draw_the_same_and_are_let_go(flux: Any, tmp_path: Path) -> None:
    import diffusers

    sd15 = diffusers.StableDiffusionPipeline.from_pretrained(make_tiny_sd15(tmp_path / "tiny"), local_files_only=True)
    sd15.set_progress_bar_config(disable=True)
    for pipe, network in ((flux, flux.transformer), (sd15, sd15.unet)):
        weights = sum(weight.numel() for weight in network.parameters())
        plain, _ = draw(pipe, Settings())
        fused: list[bool] = []
        with apply_torch_options(pipe, Settings(fused_projections=True), pytest.fail):
            fused.append(any(hasattr(module, "to_qkv") for module in network.modules()))
            again, _ = draw(pipe, Settings())
        assert fused == [True]
        assert np.abs(plain - again).max() <= 4 / 255
        assert sum(weight.numel() for weight in network.parameters()) == weights
        assert (draw(pipe, Settings())[0] == plain).all()


def test_projections_are_not_fused_with_a_lora(tmp_path: Path) -> None:
    tiny = make_tiny_sd15(tmp_path / "tiny")
    lora = make_lora(tiny, tmp_path / "tiny-lora.safetensors")
    file = WeightFile(name="tiny-lora", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15")
    images, notices = [], []
    for fused in (True, False):
        catalog = FolderCatalog({"tiny": tiny}, (file,))
        backend, settings = make_local_pipelines(tmp_path / str(fused), catalog, fused_projections=fused)
        ctx = RecordingContext(settings)
        request = make_request(loras=(LoraUse(name="tiny-lora", weight=1.0),))
        images.append(backend.render(request, make_seeds(1), ctx)[0].image.tobytes())
        notices.append(ctx.notices)
        backend.close()
    assert images[0] == images[1]
    assert ["were not used" in " ".join(said) for said in notices] == [True, False]


def test_weights_in_eight_bits_take_less_memory_and_draw_nearly_the_same(tmp_path: Path) -> None:
    catalog = FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")})
    images, sizes = [], []
    for precision in ("auto", "float8"):
        backend, settings = make_local_pipelines(tmp_path / precision, catalog, precision=precision)
        image = backend.render(make_request(), make_seeds(1), RecordingContext(settings))[0].image
        images.append(np.asarray(image, dtype=int))
        sizes.append(backend.get_memory_report().resident[0].bytes)
        backend.close()
    assert sizes[1] < 0.9 * sizes[0]
    difference = np.abs(images[0] - images[1])
    assert 0 < difference.mean() < 8


def test_weights_that_are_small_already_are_left_as_they_are(tmp_path: Path) -> None:
    import diffusers

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(make_tiny_sd15(tmp_path / "tiny"), local_files_only=True)
    options = LoadOptions(device="cpu", dtype="float32", storage=STORAGE)
    for _ in range(2):
        keep_weights_small(pipe, options)
        assert {str(weight.dtype) for weight in pipe.unet.parameters()} == {"torch.float8_e4m3fn", "torch.float32"}


def test_a_lora_is_refused_while_weights_are_in_eight_bits(tmp_path: Path) -> None:
    tiny = make_tiny_sd15(tmp_path / "tiny")
    lora = make_lora(tiny, tmp_path / "tiny-lora.safetensors")
    file = WeightFile(name="tiny-lora", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15")
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"tiny": tiny}, (file,)), precision="float8")
    request = make_request(loras=(LoraUse(name="tiny-lora", weight=1.0),))
    with pytest.raises(InvalidRequest, match="8 bits"):
        backend.render(request, make_seeds(1), RecordingContext(settings))
    assert backend.get_memory_report().resident == ()
    backend.close()


def test_a_network_without_repeated_blocks_says_so() -> None:
    import torch

    class Pipe:
        unet = torch.nn.Sequential(torch.nn.Linear(1, 1))

    notices: list[str] = []
    with apply_torch_options(Pipe(), Settings(accelerator="compile"), notices.append):
        pass
    assert notices == ["This model has no blocks that can be compiled; it runs as without."]


@pytest.mark.parametrize("choice", ["math", "flash"])
def test_another_attention_is_asked_first_and_draws_the_same(flux: Any, choice: str) -> None:
    import torch
    from torch.nn.attention import _cur_sdpa_kernel_backends

    before = _cur_sdpa_kernel_backends(with_priority=True)
    with apply_torch_options(flux, Settings(attention=choice), lambda _: None):
        first = _cur_sdpa_kernel_backends(with_priority=True)[0]
    assert first.name.startswith(choice.upper())
    assert _cur_sdpa_kernel_backends(with_priority=True) == before
    plain, _ = draw(flux, Settings())
    other, _ = draw(flux, Settings(attention=choice))
    assert np.abs(plain - other).max() <= 4 / 255
    assert torch.isfinite(torch.from_numpy(other)).all()


def test_the_step_cache_skips_blocks_says_so_and_leaves_nothing(flux: Any) -> None:
    calls: list[int] = []
    last = flux.transformer.single_transformer_blocks[-1]
    hook = last.norm.register_forward_hook(lambda *_: calls.append(1))
    plain, _ = draw(flux, Settings())
    each_time = len(calls)
    calls.clear()
    _, notices = draw(flux, Settings(step_cache=1.0))
    assert len(calls) < each_time
    assert notices == [STEP_CACHE_NOTICE]
    again, notices = draw(flux, Settings())
    hook.remove()
    assert notices == []
    assert (again == plain).all()


def test_a_unet_has_no_step_cache_and_a_job_says_so(tmp_path: Path) -> None:
    catalog = FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")})
    backend, settings = make_local_pipelines(tmp_path, catalog, step_cache=0.1, attention="math", accelerator="none")
    ctx = RecordingContext(settings)
    assert backend.render(make_request(), make_seeds(1), ctx)
    assert ctx.notices == ["The step cache is not available for this model."]
    backend.close()


def test_the_order_of_channels_in_memory_changes_and_the_image_does_not(tmp_path: Path) -> None:
    import diffusers
    import torch

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(make_tiny_sd15(tmp_path / "tiny"), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    weights = [weight for weight in pipe.vae.parameters() if weight.ndim == 4 and weight.shape[1] > 1]
    plain, _ = draw(pipe, Settings())
    arrange_channels(pipe.vae, True)
    places = [weight.data_ptr() for weight in weights]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert np.abs(plain - draw(pipe, Settings())[0]).max() <= 1 / 255
    arrange_channels(pipe.vae, True)
    assert [weight.data_ptr() for weight in weights] == places, "what lies so already is not copied"
    arrange_channels(pipe.vae, False)
    assert all(weight.is_contiguous() for weight in weights)
    assert (draw(pipe, Settings())[0] == plain).all()


@pytest.mark.parametrize("by", ["models", "layers"])
def test_parts_that_wait_outside_draw_the_same_and_come_back(tmp_path: Path, by: str) -> None:
    import diffusers

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(make_tiny_sd15(tmp_path / "tiny"), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    plain, _ = draw(pipe, Settings())
    for _ in range(2):
        with offload_parts(pipe, "cpu", by):
            layers = [module for module in pipe.unet.modules() if has_hooks(module)]
            assert len(layers) > 10 if by == LAYERS else len(layers) == 0
            assert (draw(pipe, Settings())[0] == plain).all()
        assert not any(has_hooks(module) for module in pipe.unet.modules())
    with pytest.raises(JobCancelled), offload_parts(pipe, "cpu", by):
        raise JobCancelled("Stopped.")
    assert (draw(pipe, Settings())[0] == plain).all()


def has_hooks(module: Any) -> bool:
    return bool(getattr(getattr(module, "_diffusers_hook", None), "hooks", None))


def test_layers_are_copied_beside_the_computation_on_a_card_alone(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    class Pipe:
        components: ClassVar[dict[str, Any]] = {}

        def enable_group_offload(self, **options: Any) -> None:
            asked.append(options)

        def to(self, device: str) -> None: ...

    for device in ("cuda", "cpu"):
        with offload_parts(Pipe(), device, LAYERS):
            pass
    assert [options["use_stream"] for options in asked] == [True, False]
    assert [options["onload_device"].type for options in asked] == ["cuda", "cpu"]
