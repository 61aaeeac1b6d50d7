"""img2img end to end on tiny real checkpoints of the families that have it."""

from __future__ import annotations

import pytest
from PIL import Image

from studio.core.errors import InvalidRequest, JobCancelled
from studio.core.model import Feature
from studio.core.request import GenerationRequest, Hires
from studio.core.request_parts import Resize
from studio.core.task import Task
from studio.pipelines.run import hires
from studio.pipelines.run.edit_tasks import Edit, EditMode
from studio.pipelines.run.image_to_image import compute_edit_steps
from tests.editing_studio import EditingStudio, compute_difference, make_scene
from tests.tiny_families import make_tiny_flux, make_tiny_sd3
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
FAMILIES = ("sd15", "xl", "sd3", "flux")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    make_tiny_sd3(root / "sd3")
    make_tiny_flux(root / "flux", guided=True)
    images = {
        "source": make_scene(),
        "wide": make_scene(96, 48),
        "pixel": Image.new("RGB", (1, 1), "teal"),
        "clear": make_scene(mode="RGBA"),
        "grey": make_scene(mode="L"),
    }
    made = EditingStudio(root, images)
    yield made
    made.backend.close()


@pytest.mark.parametrize("model", ["sd15", "xl"])
def test_is_what_diffusers_draws(studio: EditingStudio, model: str) -> None:
    import diffusers
    import torch

    from studio.pipelines.run.samplers import make_scheduler

    ours = studio.draw_image(model, Task.IMG2IMG, 7, strength=0.5, sampler="DPM++ 2M", schedule="Karras", guidance=5.0)
    cls = diffusers.StableDiffusionXLImg2ImgPipeline if model == "xl" else diffusers.StableDiffusionImg2ImgPipeline
    pipe = cls.from_pretrained(studio.catalog.checkpoint(model).path, local_files_only=True)
    pipe.scheduler = make_scheduler("DPM++ 2M", "Karras", pipe.scheduler.config)
    bare = pipe(
        "a red apple",
        image=make_scene(),
        strength=0.5,
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(7)],
    ).images[0]
    assert compute_difference(ours, bare).max() <= 1
    assert studio.ctx.steps == [(1, 2), (2, 2)]


@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_draws_the_same_alone_and_in_a_batch(studio: EditingStudio, model: str) -> None:
    batch = studio.draw(model, Task.IMG2IMG, 1, 2, strength=0.75)
    assert studio.ctx.steps == [(1, 3), (2, 3), (3, 3)]
    assert compute_difference(studio.draw_image(model, Task.IMG2IMG, 2, strength=0.75), batch[1]).max() <= 1
    assert compute_difference(batch[0], batch[1]).max() > 3
    assert compute_difference(batch[0], studio.draw_image(model, Task.IMG2IMG, strength=0.25)).max() > 3


@pytest.mark.parametrize("model", FAMILIES)
def test_the_parts_are_those_of_txt2img(studio: EditingStudio, model: str) -> None:
    """One UNet or transformer, one VAE, the same text encoders: the very objects, and no more bytes than before."""
    from studio.pipelines import device_memory
    from studio.pipelines.run import diffusion

    before = studio.draw_image(model, Task.TXT2IMG).tobytes()
    held = studio.backend._registry.get_resident(model)
    weight, resident = device_memory.count_weight_bytes(held.pipe), studio.backend._registry.resident_bytes
    seen = []
    view = diffusion.make_pipeline_view

    def watched(*args: object, **kwargs: object) -> object:
        seen.append(view(*args, **kwargs))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffusion, "make_pipeline_view", watched)
        studio.draw_image(model, Task.IMG2IMG)
    (pipe,) = seen
    assert type(pipe).__name__.endswith("Img2ImgPipeline")
    shared = [name for name in pipe.components if name in ("unet", "transformer", "vae") or "encoder" in name]
    assert len([name for name in shared if getattr(pipe, name) is not None]) >= 3
    assert all(getattr(pipe, name) is getattr(held.pipe, name, None) for name in shared)
    assert device_memory.count_weight_bytes(held.pipe) <= weight * 1.03
    assert studio.backend._registry.resident_bytes <= resident * 1.03
    assert studio.draw_image(model, Task.TXT2IMG).tobytes() == before, "img2img left nothing behind"


@pytest.mark.parametrize("mode", list(Resize))
@pytest.mark.parametrize("model", ["sd15", "sd3"])
def test_resize_modes_give_the_size_that_was_asked_for(studio: EditingStudio, mode: Resize, model: str) -> None:
    drawn = studio.draw_image(model, Task.IMG2IMG, source="wide", strength=0.5, resize=mode)
    assert drawn.size == (64, 64)


def test_the_latent_mode_without_a_change_of_size_is_the_plain_one(studio: EditingStudio) -> None:
    plain = studio.draw_image("sd15", Task.IMG2IMG, strength=0.5, resize=Resize.STRETCH)
    assert studio.draw_image("sd15", Task.IMG2IMG, strength=0.5, resize=Resize.LATENT).tobytes() == plain.tobytes()
    wide = [
        studio.draw_image("sd15", Task.IMG2IMG, source="wide", strength=0.5, resize=mode)
        for mode in (Resize.STRETCH, Resize.LATENT)
    ]
    assert wide[0].tobytes() != wide[1].tobytes()


@pytest.mark.parametrize("mode", list(Resize))
def test_strength_nought_is_the_source_and_loads_nothing(studio: EditingStudio, mode: Resize) -> None:
    studio.backend.unload("sd15")
    assert studio.draw_image("sd15", Task.IMG2IMG, strength=0.0, resize=mode).tobytes() == make_scene().tobytes()
    assert studio.draw_image("sd15", Task.IMG2IMG, strength=0.0, resize=mode, source="wide").size == (64, 64)
    assert studio.ctx.loaded == []


def test_loops_feed_the_image_back_with_the_next_seed(studio: EditingStudio) -> None:
    looped = studio.draw("sd15", Task.IMG2IMG, 5, 9, strength=0.5, loops=3)
    assert studio.ctx.steps == [(done, 6) for done in range(1, 7)]
    by_hand = make_scene()
    for seed in (9, 10, 11):
        studio.images["before"] = by_hand
        by_hand = studio.draw_image("sd15", Task.IMG2IMG, seed, strength=0.5, source="before")
    assert compute_difference(looped[1], by_hand).max() <= 1


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "[a:b:0.5] AND a cat", "clip_skip": 2},
        {"sampler": "Heun"},
        {"sampler": "Euler a", "variation_strength": 0.5},
        {"saving": "memory"},
    ],
)
def test_everything_of_txt2img_acts_here_too(studio: EditingStudio, fields: dict[str, object]) -> None:
    plain = studio.draw_image("sd15", Task.IMG2IMG, strength=0.75)
    changed = studio.draw_image("sd15", Task.IMG2IMG, strength=0.75, **fields)
    if fields.get("saving"):
        assert compute_difference(changed, plain).max() <= 1
    elif "variation_strength" not in fields:
        assert changed.tobytes() != plain.tobytes()
    assert studio.draw_image("sd15", Task.IMG2IMG, strength=0.75).tobytes() == plain.tobytes()


@pytest.mark.parametrize("model", ["sd15", "flux"])
def test_a_variation_leans(studio: EditingStudio, model: str) -> None:
    from studio.core.ports import ImageSeed
    from tests.local_models import RecordingContext

    def drawn(strength: float, variation: int | None) -> Image.Image:
        request = GenerationRequest(
            model=model,
            task=Task.IMG2IMG,
            prompt="x",
            steps=4,
            width=64,
            height=64,
            source="source",
            variation_strength=strength,
            strength=0.75,
            sampler="DPM++ 2M",
        )
        ctx = RecordingContext(studio.settings, images=studio.images)
        return studio.backend.render(request, [ImageSeed(seed=1, variation=variation)], ctx)[0].image

    plain, varied = drawn(0, None), drawn(0.5, 2)
    assert compute_difference(plain, varied).max() > 3
    assert compute_difference(drawn(0.5, 2), varied).max() == 0
    if model == "sd15":  # others draw from the seed to encode the source first
        assert compute_difference(drawn(1.0, 1), plain).max() <= 1, "its own noise all the way is itself"


@pytest.mark.parametrize(("name", "like"), [("pixel", None), ("clear", None), ("grey", "RGB")])
def test_images_of_all_kinds(studio: EditingStudio, name: str, like: str | None) -> None:
    drawn = studio.draw_image("sd15", Task.IMG2IMG, source=name, strength=0.5)
    assert (drawn.size, drawn.mode) == ((64, 64), "RGB")
    flat = studio.draw_image("sd15", Task.IMG2IMG, source=name, strength=0.0)
    assert flat.mode == "RGB"
    if name == "clear":
        white = Image.new("RGBA", (64, 64), "white")
        white.alpha_composite(studio.images["clear"])
        assert flat.tobytes() == white.convert("RGB").tobytes(), "transparent parts are white"


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_a_strength_outside_its_range_is_refused_by_the_request(strength: float) -> None:
    with pytest.raises(InvalidRequest, match="Denoising strength"):
        GenerationRequest(task=Task.IMG2IMG, strength=strength)


def test_what_does_not_go_together_is_refused_before_loading(studio: EditingStudio) -> None:
    studio.backend.unload("sd15")
    model = next(model for model in studio.backend.models() if model.id == "sd15")
    with pytest.raises(InvalidRequest, match="Hires"):
        model.check(GenerationRequest(task=Task.IMG2IMG, model="sd15", hires=Hires()))
    with pytest.raises(InvalidRequest, match="with these settings"):
        studio.draw_image("sd15", Task.IMG2IMG, source=None)
    assert "sd15" not in {one.model for one in studio.backend.get_memory_report().resident}


def test_stopping_leaves_the_pipeline_usable(studio: EditingStudio) -> None:
    from tests.local_models import RecordingContext, make_request, make_seeds

    before = studio.draw_image("sd15", Task.IMG2IMG, strength=0.75).tobytes()
    ctx = RecordingContext(studio.settings, images=studio.images)

    def stop(done: int) -> None:
        raise JobCancelled("Stopped")

    ctx.at_step = stop
    with pytest.raises(JobCancelled):
        studio.backend.render(make_request("sd15", task=Task.IMG2IMG, source="source"), make_seeds(1), ctx)
    assert len(ctx.steps) == 1
    assert studio.draw_image("sd15", Task.IMG2IMG, strength=0.75).tobytes() == before


@pytest.mark.parametrize("steps", [1, 7, 20, 28, 49, 50])
@pytest.mark.parametrize("strength", [0.001, 0.15, 0.3, 0.58, 0.7, 0.999, 1.0])
def test_steps_times_strength_are_run(steps: int, strength: float) -> None:
    edit = Edit(
        request=GenerationRequest(),
        way=EditMode.IMAGE,
        strength=strength,
        source=make_scene(),
        ready=lambda image: None,  # type: ignore[arg-type,return-value]
    )
    run, total, share = compute_edit_steps(steps, edit)
    assert run == max(1, int(steps * strength + 1e-9))
    assert min(int(total * share), total) == run, "Stable Diffusion's way to cut"
    assert total - int(max(total - min(total * share, total), 0)) == run, "the flow families' way"
    assert total - steps <= 2
    assert hires.find_exact_strength(run, total) == share


def test_models_say_what_they_do(studio: EditingStudio) -> None:
    models = {model.id: model for model in studio.backend.models()}
    for name in FAMILIES:
        assert {Task.IMG2IMG, Task.INPAINT, Task.OUTPAINT, Task.ERASE} <= models[name].tasks
        assert Task.SEARCH_REPLACE not in models[name].tasks, "nothing finds things here"
        assert Feature.STRENGTH in models[name].features
        assert not {Feature.CONTROL, Feature.REFERENCE} & models[name].features, "no weights for either"
