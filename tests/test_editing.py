"""Edits by words and by instruction, on tiny real checkpoints and on the model that ships."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.model import Feature
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit, Inpaint, LoraUse, Outpaint, Reference, Resize
from studio.core.task import Task
from studio.pipelines.run import lab_colour, masks
from tests.editing_studio import SIDE, EditingStudio, compute_difference, make_scene, make_spot_mask
from tests.local_models import EMBEDDED, FakeAnnotators, RecordingContext, make_seeds
from tests.test_lora import make_lora
from tests.tiny_edits import make_tiny_inpaint, make_tiny_kontext, make_tiny_pix2pix
from tests.tiny_families import make_single_file
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch
SEARCHING = {Task.SEARCH_REPLACE, Task.SEARCH_RECOLOR, Task.REPLACE_BACKGROUND}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_inpaint(root / "nine")
    make_tiny_pix2pix(root / "pix2pix")
    make_tiny_pix2pix(root / "pix2pix-xl", xl=True)
    make_tiny_kontext(root / "kontext")
    cut_out = make_scene()
    cut_out.putalpha(make_spot_mask())
    images = {
        "source": make_scene(),
        "mask": make_spot_mask(),
        "cut out": cut_out,
        "beach": Image.new("RGB", (90, 50), "orange"),
        "night": Image.new("RGB", (20, 20), (10, 10, 60)),
        "odd": make_scene(101, 77),
        "odd mask": make_spot_mask(101, 77),
    }
    made = EditingStudio(root, images, FakeAnnotators(make_spot_mask()))
    yield made
    made.backend.close()


@pytest.mark.parametrize("model", ["sd15", "nine"])
def test_search_and_replace_changes_what_words_find_and_nothing_else(studio: EditingStudio, model: str) -> None:
    drawn = studio.draw_image(model, Task.SEARCH_REPLACE, search="the ball", source="odd")
    assert drawn.size == (101, 77)
    margin = masks.prepare_mask(make_spot_mask(64, 64).resize((101, 77), Image.Resampling.NEAREST), Inpaint())
    kept = np.asarray(margin) == 0
    changed = compute_difference(drawn, make_scene(101, 77))
    assert kept.mean() > 0.3
    assert not changed[kept].any()
    assert changed[~kept].max() > 20
    assert studio.ctx.steps[-1] == (4, 4), "drawn anew, all steps"


def test_recolouring_takes_colours_and_leaves_shapes(studio: EditingStudio) -> None:
    import cv2

    replaced = studio.draw_image("sd15", Task.SEARCH_REPLACE, search="x", strength=0.75)
    recoloured = studio.draw_image("sd15", Task.SEARCH_RECOLOR, search="x")
    middle = (slice(24, 40), slice(24, 40))

    def lightness(image: Image.Image) -> np.ndarray:
        lab = cv2.cvtColor(np.asarray(image, dtype=np.float32) / 255, cv2.COLOR_RGB2LAB)[middle]
        return lab[..., 0] - lab[..., 0].mean()

    own = lightness(make_scene()).ravel()
    assert np.corrcoef(lightness(recoloured).ravel(), own)[0, 1] > np.corrcoef(lightness(replaced).ravel(), own)[0, 1]
    assert compute_difference(recoloured, make_scene())[middle].max() > 5


def test_recoloured_images_have_the_new_colours_on_the_old_shapes() -> None:
    grey = Image.fromarray(np.tile(np.linspace(60, 180, 64).astype(np.uint8)[:, None, None], (1, 64, 3)))
    red = Image.new("RGB", (64, 64), (170, 60, 60))
    mixed = np.asarray(lab_colour.transfer_colours(grey, red), dtype=int)
    assert (mixed[..., 0] > mixed[..., 2] + 30).all()
    assert (np.diff(mixed[:, 5, 1]) >= 0).all(), "as light and dark as it was"
    assert lab_colour.transfer_colours(grey, grey).getpixel((5, 5)) == pytest.approx(grey.getpixel((5, 5)), abs=1)


def test_lighting_goes_half_way() -> None:
    night = lab_colour.relight_image(make_scene(), Image.new("RGB", (8, 8), (10, 10, 60)))
    before, after = np.asarray(make_scene(), dtype=float), np.asarray(night, dtype=float)
    assert after.mean() < before.mean() - 30
    assert np.corrcoef(before[..., 1].ravel(), after[..., 1].ravel())[0, 1] > 0.9
    assert compute_difference(lab_colour.relight_image(make_scene(), make_scene()), make_scene()).max() <= 1


def test_a_new_background_is_drawn_behind_the_foreground(studio: EditingStudio) -> None:
    drawn = studio.draw_image("sd15", Task.REPLACE_BACKGROUND, prompt="a forest")
    front = np.asarray(make_spot_mask()) == 255
    changed = compute_difference(drawn, make_scene())
    assert not changed[front].any()
    assert changed[~front].max() > 20


def test_a_image_for_a_background_is_pasted_and_nothing_loaded(studio: EditingStudio) -> None:
    studio.backend.unload("sd15")
    drawn = studio.draw_image("sd15", Task.REPLACE_BACKGROUND, background="beach")
    assert studio.ctx.loaded == []
    assert drawn.getpixel((0, 0)) == (255, 165, 0)
    assert drawn.getpixel((32, 32)) == make_scene().getpixel((32, 32))
    lit = studio.draw_image("sd15", Task.REPLACE_BACKGROUND, background="beach", lighting="night")
    assert lit.getpixel((0, 0)) == (255, 165, 0)
    assert sum(lit.getpixel((32, 32))) < sum(drawn.getpixel((32, 32)))
    gentle = studio.draw_image("sd15", Task.REPLACE_BACKGROUND, background="beach", strength=0.25)
    assert studio.ctx.steps == [(1, 1)]
    assert gentle.size == drawn.size
    assert gentle.tobytes() != drawn.tobytes()


def test_a_image_that_is_cut_out_is_its_own_foreground(studio: EditingStudio) -> None:
    drawn = studio.draw_image("sd15", Task.REPLACE_BACKGROUND, source="cut out", background="beach")
    assert drawn.mode == "RGB"
    front = np.asarray(make_spot_mask()) == 255
    assert not compute_difference(drawn, make_scene())[front].any()
    assert drawn.getpixel((0, 0)) == (255, 165, 0)


def test_words_and_foreground_are_looked_for_once_and_before_loading(studio: EditingStudio) -> None:
    finder = FakeAnnotators(make_spot_mask())
    other = EditingStudio(studio.settings.models_dir, studio.images, finder)
    other.draw("sd15", Task.SEARCH_REPLACE, 1, 2, search="the ball", loops=2)
    assert finder.asked == ["the ball"]
    other.draw("sd15", Task.SEARCH_REPLACE, search="the ball", mask="mask", inpaint=Inpaint(mask_blur=0))
    assert finder.asked == ["the ball"], "a mask that was looked at counts"

    def nothing(words: str, image: Image.Image, ctx: object) -> Image.Image:
        raise InvalidRequest("There is no unicorn in the image.")

    finder.find = nothing  # type: ignore[method-assign]
    other.backend.unload("sd15")
    with pytest.raises(InvalidRequest, match="unicorn"):
        other.draw_image("sd15", Task.SEARCH_REPLACE, search="a unicorn")
    assert other.ctx.loaded == []


def test_what_was_found_is_shown_before_anything_is_drawn(studio: EditingStudio) -> None:
    request = GenerationRequest(
        task=Task.SEARCH_REPLACE,
        model="sd15",
        search="the ball",
        prompt="a cube",
        source="source",
        steps=4,
        width=64,
        height=64,
    )
    ctx = RecordingContext(studio.settings, due=True, images=studio.images)
    studio.backend.render(request, make_seeds(1), ctx)
    assert ctx.steps[0] == (0, 4)
    seen = compute_difference(ctx.previews[0], make_scene())
    assert not seen[np.asarray(make_spot_mask()) == 0].any()
    assert seen[np.asarray(make_spot_mask()) == 255].mean() > 20


def test_tasks_that_look_for_things_are_there_with_annotators_only(studio: EditingStudio) -> None:
    tasks = {model.id: model.tasks for model in studio.backend.models()}
    assert tasks["sd15"] >= SEARCHING
    assert tasks["nine"] >= SEARCHING
    bare = EditingStudio(studio.settings.models_dir, {})
    assert not {model.id: model.tasks for model in bare.backend.models()}["sd15"] & SEARCHING


@pytest.mark.parametrize("model", ["pix2pix", "pix2pix-xl", "kontext"])
def test_models_that_follow_instructions(studio: EditingStudio, model: str) -> None:
    found = next(one for one in studio.backend.models() if one.id == model)
    assert found.problem == ""
    assert found.tasks == {Task.EDIT}
    assert not {Feature.HIRES, Feature.STRENGTH, Feature.PROMPT_SYNTAX} & found.features
    drawn = studio.draw(model, Task.EDIT, 1, 2, prompt="make it AND [blue:red:0.5]")
    assert studio.ctx.steps == [(done, 8) for done in range(1, 9)], "one after the other, every step seen"
    assert compute_difference(*drawn).max() > 3
    assert studio.draw_image(model, Task.EDIT, 2, prompt="make it AND [blue:red:0.5]").tobytes() == drawn[1].tobytes()
    studio.images["other"] = make_scene().rotate(90)
    assert studio.draw_image(model, Task.EDIT, 2, source="other").tobytes() != drawn[1].tobytes()


@pytest.mark.parametrize("mode", list(Resize))
def test_instructions_on_a_image_of_another_shape(studio: EditingStudio, mode: Resize) -> None:
    assert studio.draw_image("pix2pix", Task.EDIT, source="odd", resize=mode).size == (SIDE, SIDE)


def test_a_mask_holds_an_instruction_to_its_place(studio: EditingStudio) -> None:
    drawn = studio.draw_image("pix2pix", Task.EDIT, source="odd", mask="odd mask")
    assert drawn.size == (101, 77)
    kept = np.asarray(masks.prepare_mask(make_spot_mask(101, 77), Inpaint())) == 0
    changed = compute_difference(drawn, make_scene(101, 77))
    assert not changed[kept].any()
    assert changed[~kept].max() > 3


def test_control_units_do_not_go_with_instructions(studio: EditingStudio) -> None:
    with pytest.raises(InvalidRequest, match="instruction"):
        studio.draw_image("pix2pix", Task.EDIT, control=(ControlUnit(model="x", image="mask"),))
    assert studio.ctx.loaded == []


@pytest.mark.parametrize("channels", [9, 8])
def test_single_files_are_told_by_their_channels_and_loaded_whole(
    tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from studio.core.ports import LoadOptions
    from studio.pipelines.families import _parts

    file, config, _ = make_single_file(tmp_path, "sd15")
    name = "model.diffusion_model.input_blocks.0.0.weight"
    tensors = load_file(file)
    narrow = tensors[name]
    tensors[name] = torch.randn((narrow.shape[0], channels, 3, 3))
    (tmp_path / "models").mkdir()
    save_file(tensors, tmp_path / "models" / "one.safetensors")
    monkeypatch.setattr(_parts, "CONFIGS", _configs(tmp_path, config, _parts.CONFIGS))
    studio = EditingStudio(
        tmp_path / "models", {"source": make_scene(), "mask": make_spot_mask()}, FakeAnnotators(make_spot_mask())
    )
    (model,) = studio.backend.models()
    assert model.problem == ""
    assert model.tasks == ({Task.EDIT} if channels == 8 else _parts.MASKED_TASKS | {Task.DETAIL})
    weight = studio.catalog.checkpoint("one")
    pipe = studio.catalog.spec(weight).load(weight, LoadOptions(device="cpu", dtype="float32"))
    assert torch.equal(pipe.unet.conv_in.weight, tensors[name])
    drawn = studio.draw_image("one", Task.EDIT if channels == 8 else Task.INPAINT, mask="mask", steps=2)
    assert drawn.size == (SIDE, SIDE)


def _configs(tmp_path: Path, config: Path, real: Path) -> Path:
    configs = tmp_path / "configs"
    configs.mkdir()
    config.rename(configs / "sd15")
    (configs / "clip_tokenizer").symlink_to(real / "clip_tokenizer")
    return configs


def test_the_shipped_model_edits_and_keeps_no_trace(tmp_path: Path) -> None:
    """A bare request gives the same bytes before and after a LoRA, an img2img, an inpaint and an outpaint job."""
    shutil.copytree(EMBEDDED, tmp_path / "embedded")
    (tmp_path / "loras").mkdir()
    make_lora(EMBEDDED, tmp_path / "loras" / "apple.safetensors")
    studio = EditingStudio(tmp_path, {"mask": make_spot_mask(128, 128)})
    size = {"width": 128, "height": 128, "steps": 2}
    studio.images["source"] = bare = studio.draw_image("embedded", Task.TXT2IMG, **size)
    weight = studio.backend._registry.resident_bytes
    lora = {"loras": (LoraUse(name="apple"),), "strength": 0.5, **size}
    plain = studio.draw_image("embedded", Task.IMG2IMG, strength=0.5, **size)
    assert studio.draw_image("embedded", Task.IMG2IMG, **lora).tobytes() != plain.tobytes(), "a LoRA acts here too"
    masked = studio.draw_image("embedded", Task.INPAINT, mask="mask", **lora)
    kept = np.asarray(masks.prepare_mask(make_spot_mask(128, 128), Inpaint())) == 0
    assert not compute_difference(masked, bare)[kept].any()
    studio.draw_image("embedded", Task.OUTPAINT, outpaint=Outpaint(right=64), **size)
    assert studio.draw_image("embedded", Task.TXT2IMG, **size).tobytes() == bare.tobytes()
    assert studio.backend._registry.resident_bytes <= weight * 1.03


def test_a_model_that_takes_one_image_says_so(studio: EditingStudio) -> None:
    with pytest.raises(InvalidRequest, match="does not support reference images"):
        studio.draw_image("pix2pix", Task.EDIT, references=(Reference(image="beach"),))
    assert studio.ctx.loaded == []
