"""Local pipelines end to end, on tiny real checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest, JobCancelled, ModelBroken, OutOfMemory, UnknownModel
from studio.core.request import Hires, Saving
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.run import hires
from tests.local_models import (
    FolderCatalog,
    RecordingContext,
    estimate_budget_gb,
    make_local_pipelines,
    make_request,
    make_seeds,
)
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl, make_tiny_vae

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> FolderCatalog:
    root = tmp_path_factory.mktemp("checkpoints")
    folders = {name: make_tiny_sd15(root / name, seed=seed) for seed, name in enumerate(("tiny", "other", "third"))}
    make_tiny_vae().save_pretrained(root / "vae")
    vae = WeightFile(name="vae", kind=WeightKind.VAE, path=root / "vae", bytes=1)
    broken = make_tiny_sd15(root / "broken")
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    return FolderCatalog({**folders, "xl": make_tiny_sdxl(root / "xl"), "broken": broken}, (vae,))


@pytest.fixture
def studio(catalog, tmp_path):
    backend, settings = make_local_pipelines(tmp_path, catalog)
    yield backend, settings
    backend.close()


def draw(studio, request, *numbers: int, ctx: RecordingContext | None = None) -> list[Image.Image]:
    backend, settings = studio
    return [
        one.image for one in backend.render(request, make_seeds(*(numbers or (1,))), ctx or RecordingContext(settings))
    ]


def full_memory() -> Exception:
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has less.")


@pytest.mark.parametrize("model", ["tiny", "xl"])
def test_is_what_diffusers_draws(studio, catalog, model: str) -> None:
    """Same noise, same scheduler, same prompt: the bare call gives the same bytes, so nothing is lost on the way."""
    import diffusers
    import torch

    from studio.pipelines.run.samplers import make_scheduler

    ours = draw(studio, make_request(model, sampler="DPM++ 2M", schedule="Karras", guidance=5.0), 7)[0]
    pipe = diffusers.DiffusionPipeline.from_pretrained(catalog.checkpoint(model).path, local_files_only=True)
    pipe.scheduler = make_scheduler("DPM++ 2M", "Karras", pipe.scheduler.config)
    bare = pipe(
        "a red apple",
        num_inference_steps=3,
        width=64,
        height=64,
        guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(7)],
    ).images[0]
    assert np.abs(np.asarray(ours, dtype=int) - np.asarray(bare, dtype=int)).max() <= 1


def test_stages_and_progress_are_told(studio) -> None:
    ctx = RecordingContext(studio[1])
    draw(studio, make_request(steps=4, sampler="Heun"), ctx=ctx)
    assert ctx.stages == ["load", "encode", "denoise", "decode"]
    assert ctx.loaded == ["Loading Tiny"]
    assert ctx.steps[-1] == (4, 4)
    assert len(ctx.steps) == 7, "every call of the model can be cancelled"
    draw(studio, make_request(), ctx=ctx)
    assert ctx.loaded == ["Loading Tiny"], "it stayed resident"


@pytest.mark.parametrize("model", ["tiny", "xl"])
def test_previews_show_the_denoised_image(catalog, tmp_path, model: str) -> None:
    studio = make_local_pipelines(tmp_path, catalog, previews=True, preview_side=256)
    ctx = RecordingContext(studio[1], due=True)
    image = draw(studio, make_request(model, steps=4), 1, 2, ctx=ctx)[0]
    assert [preview.size for preview in ctx.previews] == [(192, 192)] * 4
    last = np.asarray(ctx.previews[-1].resize((64, 64)), dtype=float)
    assert np.abs(last - np.asarray(image, dtype=float)).mean() < 12


def test_cancel_within_a_step_leaves_the_pipeline_usable(studio) -> None:
    before = draw(studio, make_request(sampler="Euler a"))[0].tobytes()
    ctx = RecordingContext(studio[1])

    def stop(done: int) -> None:
        raise JobCancelled("Stopped")

    ctx.at_step = stop
    with pytest.raises(JobCancelled):
        draw(studio, make_request(prompt="[a:b:0.5] AND c", vae="vae"), ctx=ctx)
    assert len(ctx.steps) == 1
    assert draw(studio, make_request(sampler="Euler a"))[0].tobytes() == before


@pytest.mark.parametrize("upscaler", [*hires.LATENT_MODES, "Lanczos", "Nearest"])
def test_hires_pass(studio, upscaler: str) -> None:
    ctx = RecordingContext(studio[1])
    image = draw(studio, make_request(hires=Hires(upscaler=upscaler, scale=1.5, steps=2, strength=0.55)), ctx=ctx)[0]
    assert image.size == (96, 96)
    assert ctx.steps == [(done, 5) for done in (1, 2, 3, 4, 5)], "progress counts over both passes"


def test_hires_pass_takes_its_own_checkpoint_prompt_and_sampler(studio) -> None:
    wish = Hires(upscaler="Lanczos", model="xl", prompt="blue", sampler="DDIM", schedule="Automatic", strength=0.5)
    ctx = RecordingContext(studio[1])
    image = draw(studio, make_request(hires=wish), ctx=ctx)[0]
    assert ctx.loaded == ["Loading Tiny", "Loading Xl"]
    same = draw(studio, make_request(hires=Hires(upscaler="Lanczos", strength=0.5)))[0]
    assert image.tobytes() != same.tobytes()


def test_hires_without_strength_only_enlarges(studio) -> None:
    plain = draw(studio, make_request())[0]
    larger = draw(studio, make_request(hires=Hires(upscaler="Lanczos", strength=0.0)))[0]
    assert larger.tobytes() == plain.resize((128, 128), Image.Resampling.LANCZOS).tobytes()


@pytest.mark.parametrize("steps", [1, 7, 20, 50])
@pytest.mark.parametrize("strength", [0.05, 0.3, 0.55, 0.7, 0.999, 1.0])
def test_hires_steps_are_those_really_run(steps: int, strength: float) -> None:
    total, exact = hires.compute_hires_steps(steps, strength)
    assert min(int(total * exact), total) == steps, "Stable Diffusion's way to cut"
    assert total - int(max(total - min(total * exact, total), 0)) == steps, "the flow families' way"
    assert exact == pytest.approx(strength, abs=1.5 / total + 0.001)


@pytest.mark.parametrize(
    ("wish", "said"),
    [(Hires(upscaler="Magic"), "Lanczos"), (Hires(upscaler="Latent", model="xl"), "Lanczos")],
)
def test_hires_that_cannot_be_is_refused_before_loading(studio, wish: Hires, said: str) -> None:
    ctx = RecordingContext(studio[1])
    with pytest.raises(InvalidRequest) as refused:
        draw(studio, make_request(hires=wish), ctx=ctx)
    assert said in refused.value.hint
    assert not ctx.loaded


def test_another_vae_for_one_job(studio) -> None:
    before = draw(studio, make_request())[0].tobytes()
    assert draw(studio, make_request(vae="vae"))[0].tobytes() != before
    assert draw(studio, make_request())[0].tobytes() == before


def test_full_memory_in_decode_is_answered_with_tiles_and_keeps_the_steps(studio) -> None:
    expected = draw(studio, make_request())[0]
    decoder = studio[0]._registry.get_resident("tiny").pipe.vae.decoder
    failing = [full_memory()]
    decoder.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(failing.pop()) if failing else None)
    ctx = RecordingContext(studio[1])
    image = draw(studio, make_request(), ctx=ctx)[0]
    assert not failing
    assert [done for done, _ in ctx.steps] == [1, 2, 3], "no step was done twice"
    assert any("tiles" in notice for notice in ctx.notices)
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(expected, dtype=int)).max() <= 1
    assert not studio[0]._registry.get_resident("tiny").pipe.vae.use_tiling


def test_full_memory_while_denoising_is_answered_with_smaller_batches_and_evictions(studio) -> None:
    draw(studio, make_request("other"))
    expected = [image.tobytes() for image in draw(studio, make_request(), 1, 2, 3)]
    unet = studio[0]._registry.get_resident("tiny").pipe.unet
    calls = []

    def at_most_one(module, args, kwargs) -> None:
        calls.append(len(args[0]))
        if len(args[0]) > 2 or len(studio[0].get_memory_report().resident) > 1:  # guidance doubles each image
            raise full_memory()

    hook = unet.register_forward_pre_hook(at_most_one, with_kwargs=True)
    ctx = RecordingContext(studio[1])
    images = draw(studio, make_request(), 1, 2, 3, ctx=ctx)
    hook.remove()
    assert [image.tobytes() for image in images] == expected
    assert any("batch size was reduced from 3 to" in notice for notice in ctx.notices)
    assert any("Other was unloaded" in notice for notice in ctx.notices)
    assert [one.model for one in studio[0].get_memory_report().resident] == ["tiny"]


def test_when_nothing_helps_the_error_says_how_much_was_wanted(studio) -> None:
    draw(studio, make_request())
    unet = studio[0]._registry.get_resident("tiny").pipe.unet
    hook = unet.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(full_memory()))
    with pytest.raises(OutOfMemory) as error:
        draw(studio, make_request(), 1, 2)
    assert error.value.details["requested"] == int(2.5 * 1024**3)
    assert error.value.details["available"] > 0
    hook.remove()
    assert draw(studio, make_request())[0].size == (64, 64)


def test_saving_memory_gives_the_same_images_one_at_a_time(studio) -> None:
    ctx = RecordingContext(studio[1])
    images = draw(studio, make_request(saving=Saving.MEMORY), 1, 2, ctx=ctx)
    assert [image.tobytes() for image in images] == [image.tobytes() for image in draw(studio, make_request(), 1, 2)]
    assert ctx.steps == [(done, 6) for done in range(1, 7)]
    assert "one at a time" in ctx.notices[0]


def test_saving_time_says_what_it_changed(studio) -> None:
    ctx = RecordingContext(studio[1])
    draw(studio, make_request(saving=Saving.TIME, steps=30, sampler="Heun", hires=Hires(steps=12)), ctx=ctx)
    assert ctx.steps[-1] == (23, 23)
    assert ctx.notices == [
        "Fast mode: 15 steps instead of 30, the sampler DPM++ 2M instead of Heun, 8 hires steps instead of 12."
    ]


def test_a_broken_checkpoint_is_named_and_the_rest_goes_on(studio) -> None:
    with pytest.raises(ModelBroken, match="broken"):
        draw(studio, make_request("broken"))
    assert studio[0].get_memory_report().resident == ()
    assert draw(studio, make_request())[0].size == (64, 64)


def test_an_unknown_model_is_said_so(studio) -> None:
    with pytest.raises(UnknownModel):
        draw(studio, make_request("nowhere"))


def test_one_resident_at_a_time_under_a_small_budget(catalog, tmp_path) -> None:
    studio = make_local_pipelines(tmp_path, catalog, memory_budget_gb=estimate_budget_gb(catalog, "tiny"))
    first = {name: draw(studio, make_request(name))[0].tobytes() for name in ("tiny", "other", "third")}
    assert len(set(first.values())) == 3
    for name in ("tiny", "other", "third"):
        assert draw(studio, make_request(name))[0].tobytes() == first[name]
        assert [one.model for one in studio[0].get_memory_report().resident] == [name]


def test_load_and_unload_by_hand(studio) -> None:
    backend, settings = studio
    ctx = RecordingContext(settings)
    backend.load("tiny", ctx)
    report = backend.get_memory_report()
    assert [(one.model, one.in_use) for one in report.resident] == [("tiny", False)]
    assert 1_000_000 < report.resident[0].bytes < 10_000_000
    backend.unload("tiny")
    backend.unload("tiny")
    assert backend.get_memory_report().resident == ()
