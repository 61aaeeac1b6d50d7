"""A checkpoint that goes on with what another one began, on tiny real checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from studio.core.errors import InvalidRequest, StudioError
from studio.core.request import GenerationRequest
from studio.core.request_parts import Hires
from studio.core.task import Task
from tests.editing_studio import SIDE, EditingStudio, compute_difference, make_scene
from tests.tiny_edits import make_tiny_inpaint
from tests.tiny_models import make_tiny_refiner, make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "first", seed=1)
    make_tiny_sd15(root / "second", seed=2)
    for name in ("vae",):  # so that what the second one draws alone can be compared
        shutil.rmtree(root / "second" / name)
        shutil.copytree(root / "first" / name, root / "second" / name)
    make_tiny_inpaint(root / "nine")
    make_tiny_sdxl(root / "xl")
    make_tiny_refiner(root / "refiner", seed=5)
    made = EditingStudio(root, {"source": make_scene()})
    made.backend.models()
    yield made
    made.backend.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float, dict[str, Any]]]:
    """Every call of a UNet: the UNet, the timestep, and what it was given beside them."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    seen: list[tuple[Any, float, dict[str, Any]]] = []
    own = UNet2DConditionModel.forward

    def forward(self: Any, sample: Any, timestep: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append((self, float(timestep), kwargs))
        return own(self, sample, timestep, *args, **kwargs)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    return seen


@pytest.mark.parametrize("prompt", ["a red apple", "a red apple AND a blue bird", "a [red:green:2] apple"])
def test_a_refiner_from_the_first_step_on_draws_as_it_would_alone(studio: EditingStudio, prompt: str) -> None:
    def draw(model: str, **fields: Any) -> Any:
        return studio.draw(model, Task.TXT2IMG, 1, 2, prompt=prompt, steps=6, **fields)

    plain, other = draw("first"), draw("second")
    assert compute_difference(plain[0], other[0]).max() > 5
    for mine, expected in zip(draw("first", refiner="second", refiner_switch=0.0), other, strict=True):
        assert compute_difference(mine, expected).max() <= 1
    for mine, expected in zip(draw("first", refiner="second", refiner_switch=1.0), plain, strict=True):
        assert compute_difference(mine, expected).max() <= 1
    assert draw("first")[0].tobytes() == plain[0].tobytes(), "nothing is left behind"


def test_the_switch_is_a_fraction_of_the_noise_schedule(studio: EditingStudio, calls: list[Any]) -> None:
    studio.draw("first", Task.TXT2IMG, steps=10, refiner="second", refiner_switch=0.6, sampler="Euler")
    first = calls[0][0]
    own = [timestep for unet, timestep, _ in calls if unet is first]
    refined = [timestep for unet, timestep, _ in calls if unet is not first]
    assert len(own) + len(refined) == 10
    assert min(own) > 399.5 > max(refined)
    assert studio.ctx.steps[-1] == (10, 10)


def test_the_sdxl_refiner_reads_one_text_encoder_and_a_score(studio: EditingStudio, calls: list[Any]) -> None:
    drawn = studio.draw_image("xl", Task.TXT2IMG, steps=5, refiner="refiner", refiner_switch=0.5)
    last = calls[-1][2]
    ids = last["added_cond_kwargs"]["time_ids"]
    assert ids.shape == (2, 5)
    assert ids[:, 4].tolist() == [2.5, 6.0]
    assert last["encoder_hidden_states"].shape[-1] == 32
    assert len({id(unet) for unet, _, _ in calls}) == 2
    assert np.asarray(drawn).std() > 0
    assert drawn.tobytes() != studio.draw_image("xl", Task.TXT2IMG, steps=5).tobytes()


def test_a_refiner_draws_images_over_and_nothing_else(studio: EditingStudio) -> None:
    model = next(model for model in studio.backend.models() if model.id == "refiner")
    assert model.tasks == {Task.IMG2IMG}
    assert model.problem == ""
    assert model.can_refine
    assert studio.draw_image("refiner", Task.IMG2IMG, strength=0.5).size == (SIDE, SIDE)


@pytest.mark.parametrize("task", [Task.IMG2IMG, Task.OUTPAINT])
def test_work_on_an_image_is_refined_too(studio: EditingStudio, calls: list[Any], task: Task) -> None:
    from studio.core.request_parts import Outpaint

    studio.draw("first", task, strength=0.9, refiner="second", refiner_switch=0.7, outpaint=Outpaint(left=8))
    assert len({id(unet) for unet, _, _ in calls}) == 2


def test_with_a_hires_pass_that_alone_is_refined(studio: EditingStudio, calls: list[Any]) -> None:
    hires = Hires(upscaler="Latent", scale=1.5, steps=4, strength=0.9)
    studio.draw("first", Task.TXT2IMG, hires=hires, refiner="second", refiner_switch=0.0)
    unets = [id(unet) for unet, _, _ in calls]
    assert unets == [unets[0]] * 4 + [unets[-1]] * (len(unets) - 4)
    assert unets[0] != unets[-1]


@pytest.mark.parametrize(
    ("model", "refiner", "says"),
    [("first", "xl", "cannot refine"), ("first", "nine", "masks or instructions"), ("first", "none such", "none such")],
)
def test_what_cannot_go_on_is_refused_before_anything_is_loaded(
    studio: EditingStudio, model: str, refiner: str, says: str
) -> None:
    request = GenerationRequest(model=model, prompt="x", refiner=refiner)
    with pytest.raises(StudioError, match=says):
        studio.backend.check_names(request)
    with pytest.raises(StudioError, match=says):
        studio.draw(model, Task.TXT2IMG, refiner=refiner)
    assert studio.ctx.loaded == []


def test_models_that_predict_different_things_are_refused(studio: EditingStudio) -> None:
    folder = studio.settings.models_dir / "velocity"
    make_tiny_sd15(folder, prediction_type="v_prediction")
    studio.catalog.refresh()
    with pytest.raises(InvalidRequest, match="predicts v_prediction"):
        studio.draw("first", Task.TXT2IMG, refiner="velocity")
