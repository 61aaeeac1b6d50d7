"""Inpainting, erasing and outpainting end to end on tiny real checkpoints: plain ones and those made for masks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageChops

from studio.core.errors import InvalidRequest
from studio.core.model import Feature
from studio.core.request_parts import Inpaint, MaskedContent, Outpaint
from studio.core.task import Task
from studio.pipelines.run import masks
from tests.editing_studio import EditingStudio, compute_difference, make_scene, make_spot_mask
from tests.tiny_edits import make_tiny_fill, make_tiny_inpaint
from tests.tiny_families import make_tiny_flux, make_tiny_sd3
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
PLAIN = ("sd15", "xl", "sd3", "flux")
MADE_FOR_IT = ("nine", "nine-xl", "fill")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    make_tiny_sd3(root / "sd3", channels=16)
    make_tiny_flux(root / "flux", guided=True)
    make_tiny_inpaint(root / "nine")
    make_tiny_inpaint(root / "nine-xl", xl=True)
    make_tiny_fill(root / "fill")
    images = {
        "source": make_scene(),
        "mask": make_spot_mask(),
        "inverse": ImageChops.invert(make_spot_mask()),
        "odd": make_scene(101, 77),
        "odd mask": make_spot_mask(101, 77),
        "clear": make_scene(mode="RGBA"),
        "pixel": Image.new("RGB", (1, 1), "teal"),
        "white": Image.new("L", (1, 1), 255),
    }
    made = EditingStudio(root, images)
    yield made
    made.backend.close()


def untouched(drawn: Image.Image, source: Image.Image, mask: Image.Image, inpaint: Inpaint) -> bool:
    """Whether all pixels are the source's own where the blurred mask is 0, and some are not elsewhere."""
    kept = np.asarray(masks.prepare_mask(mask, inpaint)) == 0
    assert 0.1 < kept.mean() < 0.99
    changed = compute_difference(drawn, source)
    return not changed[kept].any() and changed[~kept].max() > 3


@pytest.mark.parametrize("model", [*PLAIN, *MADE_FOR_IT])
def test_what_is_not_masked_comes_back_byte_for_byte(studio: EditingStudio, model: str) -> None:
    batch = studio.draw(model, Task.INPAINT, 1, 2, mask="mask")
    for drawn in batch:
        assert untouched(drawn, make_scene(), make_spot_mask(), Inpaint())
    assert compute_difference(*batch).max() > 3
    assert compute_difference(studio.draw_image(model, Task.INPAINT, 2, mask="mask"), batch[1]).max() <= 1, (
        "alone as in a batch"
    )
    assert studio.ctx.steps[-1] == ((3, 3) if model in PLAIN else (4, 4))


@pytest.mark.parametrize(
    "inpaint",
    [
        Inpaint(mask_blur=0),
        Inpaint(soft=True, mask_blur=8),
        Inpaint(invert=True, mask_blur=1),
        Inpaint(only_masked=True, padding=4),
        Inpaint(only_masked=True, fill=MaskedContent.FILL, soft=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["sd15", "nine"])
def test_every_way_to_use_a_mask(studio: EditingStudio, model: str, inpaint: Inpaint) -> None:
    drawn = studio.draw_image(model, Task.INPAINT, source="odd", mask="odd mask", inpaint=inpaint, width=104, height=72)
    assert drawn.size == (101, 77), "the source's size, whatever is drawn at"
    assert untouched(drawn, make_scene(101, 77), make_spot_mask(101, 77), inpaint)


@pytest.mark.parametrize("model", PLAIN)
def test_what_the_area_is_filled_with_matters(studio: EditingStudio, model: str) -> None:
    drawn = [
        studio.draw_image(model, Task.INPAINT, mask="mask", strength=0.5, inpaint=Inpaint(fill=fill)).tobytes()
        for fill in MaskedContent
    ]
    assert len(set(drawn)) == len(drawn)


def test_a_soft_mask_reaches_the_latents(studio: EditingStudio) -> None:
    hard, soft = (
        studio.draw_image("sd15", Task.INPAINT, mask="mask", inpaint=Inpaint(mask_blur=8, soft=one))
        for one in (False, True)
    )
    assert hard.tobytes() != soft.tobytes()


def test_an_inverted_mask_is_the_mask_turned_round(studio: EditingStudio) -> None:
    turned = studio.draw_image("sd15", Task.INPAINT, mask="inverse")
    assert (
        studio.draw_image("sd15", Task.INPAINT, mask="mask", inpaint=Inpaint(invert=True)).tobytes() == turned.tobytes()
    )


@pytest.mark.parametrize("model", ["sd15", "nine"])
def test_is_what_diffusers_draws(studio: EditingStudio, model: str) -> None:
    import diffusers
    import torch

    from studio.pipelines.run.samplers import make_scheduler

    fields = {"strength": 0.75, "sampler": "DDIM", "schedule": "Automatic", "guidance": 5.0}
    ours = studio.draw_image(model, Task.INPAINT, 7, mask="mask", inpaint=Inpaint(mask_blur=0), **fields)
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(
        studio.catalog.checkpoint(model).path, local_files_only=True
    )
    pipe.scheduler = make_scheduler("DDIM", "Automatic", pipe.scheduler.config)
    bare = pipe(
        "a red apple",
        image=make_scene(),
        mask_image=masks.snap_to_cells(make_spot_mask()),
        strength=0.75,
        num_inference_steps=4,
        width=64,
        height=64,
        guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(7)],
    ).images[0]
    inside = np.asarray(make_spot_mask()) == 255
    assert compute_difference(ours, bare)[inside].max() <= 1


def test_loops_and_prompt_syntax(studio: EditingStudio) -> None:
    drawn = studio.draw_image("sd15", Task.INPAINT, mask="mask", loops=2, prompt="[a:b:1] AND c", strength=0.5)
    assert studio.ctx.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert untouched(drawn, make_scene(), make_spot_mask(), Inpaint())


@pytest.mark.parametrize("model", ["sd15", "flux"])
def test_a_variation_acts_at_full_strength(studio: EditingStudio, model: str) -> None:
    from studio.core.ports import ImageSeed
    from tests.local_models import RecordingContext, make_request

    ctx = RecordingContext(studio.settings, images=studio.images)
    request = make_request(model, task=Task.INPAINT, source="source", mask="mask", strength=1.0, variation_strength=0.5)
    drawn = [
        studio.backend.render(request, [ImageSeed(seed=1, variation=one)], ctx)[0].image.tobytes() for one in (2, 3, 2)
    ]
    assert drawn[0] == drawn[2] != drawn[1]


def test_transparency_outside_the_mask_stays(studio: EditingStudio) -> None:
    drawn = studio.draw_image("sd15", Task.INPAINT, source="clear", mask="mask")
    assert drawn.mode == "RGBA"
    assert untouched(drawn, studio.images["clear"], make_spot_mask(), Inpaint())
    assert drawn.getpixel((32, 32))[3] == 255


def test_a_image_of_one_pixel(studio: EditingStudio) -> None:
    drawn = studio.draw_image("sd15", Task.INPAINT, source="pixel", mask="white", inpaint=Inpaint(only_masked=True))
    assert drawn.size == (1, 1)


@pytest.mark.parametrize("model", [*PLAIN, *MADE_FOR_IT])
def test_outpainting_keeps_the_source_to_the_feather(studio: EditingStudio, model: str) -> None:
    drawn = studio.draw_image(model, Task.OUTPAINT, outpaint=Outpaint(left=32, bottom=16))
    assert drawn.size == (96, 80)
    inside = drawn.crop((32, 0, 96, 64))
    assert compute_difference(inside, make_scene())[:48, 16:].max() == 0, "a quarter of the side fades"
    assert compute_difference(inside, make_scene())[:, :4].max() > 3
    assert np.asarray(drawn)[:, :32].std() > 1


def test_outpainting_to_an_aspect_keeps_transparency(studio: EditingStudio) -> None:
    drawn = studio.draw_image("sd15", Task.OUTPAINT, source="clear", outpaint=Outpaint(aspect="2:1"))
    assert (drawn.size, drawn.mode) == ((128, 64), "RGBA")
    assert compute_difference(drawn.crop((48, 0, 80, 64)), studio.images["clear"].crop((16, 0, 48, 64))).max() == 0
    assert drawn.getpixel((0, 0))[3] == 255


def test_a_canvas_that_does_not_grow_is_refused_before_loading(studio: EditingStudio) -> None:
    studio.backend.unload("sd15")
    with pytest.raises(InvalidRequest, match="adds no pixels"):
        studio.draw_image("sd15", Task.OUTPAINT)
    assert studio.ctx.loaded == []


def test_erasing_takes_no_words_and_begins_from_the_surroundings(studio: EditingStudio) -> None:
    studio.images["blot"] = make_scene()
    studio.images["blot"].paste((255, 0, 255), (20, 20, 44, 44))
    drawn = studio.draw_image("sd15", Task.ERASE, source="blot", mask="mask", strength=0.25)
    same = studio.draw_image(
        "sd15",
        Task.INPAINT,
        source="blot",
        mask="mask",
        strength=0.25,
        prompt="",
        inpaint=Inpaint(fill=MaskedContent.FILL),
    )
    assert drawn.tobytes() == same.tobytes()
    assert untouched(drawn, studio.images["blot"], make_spot_mask(), Inpaint())


def test_models_made_for_masks_say_so(studio: EditingStudio) -> None:
    models = {model.id: model for model in studio.backend.models()}
    for name in MADE_FOR_IT:
        assert models[name].problem == ""
        assert models[name].tasks == {Task.INPAINT, Task.OUTPAINT, Task.ERASE, Task.DETAIL}
        assert Feature.HIRES not in models[name].features
        assert Feature.STRENGTH in models[name].features


@pytest.mark.parametrize("model", PLAIN)
def test_inpainting_shares_every_part_and_leaves_nothing_behind(studio: EditingStudio, model: str) -> None:
    from studio.pipelines.run import diffusion

    before = studio.draw_image(model, Task.TXT2IMG).tobytes()
    held = studio.backend._registry.get_resident(model)
    weight = studio.backend._registry.resident_bytes
    seen = []
    view = diffusion.make_pipeline_view
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            diffusion, "make_pipeline_view", lambda *given, **parts: seen.append(view(*given, **parts)) or seen[-1]
        )
        studio.draw_image(model, Task.INPAINT, mask="mask", inpaint=Inpaint(soft=True, fill=MaskedContent.NOISE))
    assert type(seen[0]).__name__.endswith("InpaintPipeline")
    for name in ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"):
        assert getattr(seen[0], name, None) is getattr(held.pipe, name, None)
    assert studio.backend._registry.resident_bytes <= weight * 1.03
    assert studio.draw_image(model, Task.TXT2IMG).tobytes() == before
