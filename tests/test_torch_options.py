"""What torch and diffusers do faster by themselves, on tiny models: the same image, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.settings import Settings
from studio.pipelines.accelerate.torch_options import STEP_CACHE_NOTICE, apply_torch_options, compile_blocks
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
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
