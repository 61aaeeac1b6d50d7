"""ControlNets of the transformer families through the real catalog, on tiny networks of the real classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.model import Feature
from studio.core.request_parts import ControlMode, ControlUnit
from studio.core.task import Task
from studio.core.weights import WeightKind
from tests.editing_studio import EditingStudio
from tests.local_models import EMBEDDED, FakeAnnotators
from tests.tiny_control import (
    add_second_layer,
    make_tile_image,
    make_tiny_controlnet,
    make_tiny_flux_controlnet,
    make_tiny_sd3_controlnet,
)
from tests.tiny_families import make_tiny_flux, make_tiny_sd3
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch
IMAGES = {"source": make_tile_image(1), "other": make_tile_image(2), "mask": Image.new("L", (64, 64), 255)}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    flux, sd3 = make_tiny_flux(root / "flux", guided=True), add_second_layer(make_tiny_sd3(root / "sd3"))
    make_tiny_flux_controlnet(root / "controlnet" / "flux-canny", flux)
    make_tiny_flux_controlnet(root / "controlnet" / "flux-union", flux, modes=7)
    make_tiny_sd3_controlnet(root / "controlnet" / "sd3-canny", sd3)
    make_tiny_controlnet(root / "controlnet" / "sd15-canny", make_tiny_sd15(root / "sd15"))
    studio = EditingStudio(root, IMAGES)
    yield studio
    studio.backend.close()


def unit(model: str, **changes: Any) -> ControlUnit:
    return ControlUnit(**{"model": model, "image": "other", **changes})


def draw(
    studio: EditingStudio, model: str, *control: ControlUnit, task: Task = Task.TXT2IMG, **fields: Any
) -> np.ndarray:
    return np.asarray(studio.draw(model, task, control=control, **fields)[0], dtype=int)


def test_the_catalog_tells_families_and_offers_what_they_give(studio) -> None:
    found = {file.name: file.family for file in studio.catalog.weights() if file.kind is WeightKind.CONTROLNET}
    assert found == {"flux-canny": "flux", "flux-union": "flux", "sd3-canny": "sd3", "sd15-canny": "sd15"}
    for model in studio.catalog.models():
        assert Feature.CONTROL in model.features
        assert {Task.SKETCH, Task.STRUCTURE} < model.tasks
        assert Feature.REFERENCE not in model.features
    flux = next(model for model in studio.catalog.models() if model.id == "flux")
    assert Feature.GUIDANCE in flux.features, "a folder is told by its config, not by the header of its transformer"


@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG, Task.INPAINT])
def test_flux_is_steered_in_every_task(studio, task: Task) -> None:
    more = {} if task is Task.TXT2IMG else {"strength": 0.9}
    more |= {"mask": "mask"} if task is Task.INPAINT else {}
    free = draw(studio, "flux", task=task, **more)
    one = draw(studio, "flux", unit("flux-canny"), task=task, **more)
    two = draw(studio, "flux", unit("flux-canny"), unit("flux-union", kind="depth"), task=task, **more)
    assert one.shape == two.shape == free.shape == (64, 64, 3)
    assert np.abs(one - free).max() > 2
    assert np.abs(two - one).max() > 2
    assert np.array_equal(draw(studio, "flux", task=task, **more), free), "nothing is left"


def test_flux_draws_what_diffusers_draws(studio) -> None:
    import diffusers
    import torch

    from studio.pipelines.run.samplers import make_scheduler

    folder = studio.catalog.find(WeightKind.CONTROLNET, "flux-canny").path
    net = diffusers.FluxControlNetModel.from_pretrained(folder, local_files_only=True)
    pipe: Any = diffusers.FluxControlNetPipeline.from_pretrained(
        studio.catalog.checkpoint("flux").path, controlnet=net, local_files_only=True
    )
    pipe.scheduler = make_scheduler("Euler", "Automatic", pipe.scheduler.config)
    bare = pipe(
        "a red apple",
        control_image=IMAGES["other"],
        controlnet_conditioning_scale=0.8,
        control_guidance_end=0.5,
        num_inference_steps=4,
        guidance_scale=3.5,
        width=64,
        height=64,
        generator=[torch.Generator().manual_seed(1)],
    ).images[0]
    ours = draw(studio, "flux", unit("flux-canny", weight=0.8, end=0.5))
    assert np.abs(ours - np.asarray(bare, dtype=int)).max() <= 1


def test_a_union_controlnet_of_flux_is_told_its_type(studio) -> None:
    depth, canny = (draw(studio, "flux", unit("flux-union", kind=kind, weight=2)) for kind in ("depth", "canny"))
    assert not np.array_equal(depth, canny)
    with pytest.raises(InvalidRequest, match="needs a control type"):
        draw(studio, "flux", unit("flux-union"))


def test_sd3_is_steered_from_text_and_says_what_it_cannot(studio) -> None:
    steered = draw(studio, "sd3", unit("sd3-canny"), unit("sd3-canny", weight=0.5, start=0.5))
    assert np.abs(steered - draw(studio, "sd3")).max() > 2
    with pytest.raises(InvalidRequest, match="works for txt2img") as refusal:
        draw(studio, "sd3", unit("sd3-canny"), task=Task.IMG2IMG)
    assert "Stable Diffusion" in refusal.value.hint


def test_a_mode_that_the_family_lacks_is_told(studio) -> None:
    draw(studio, "flux", unit("flux-canny", mode=ControlMode.PROMPT))
    assert any("control mode" in notice for notice in studio.ctx.notices)


def test_a_net_of_another_family_is_refused(studio) -> None:
    with pytest.raises(InvalidRequest, match="made for sd15"):
        draw(studio, "flux", unit("sd15-canny"))


def test_the_embedded_model_is_steered_by_its_own_edges() -> None:
    """The shipped pair, as a user meets it: structure control by name."""
    studio = EditingStudio(EMBEDDED.parent, IMAGES, FakeAnnotators(IMAGES["mask"]))
    model = next(model for model in studio.catalog.models() if model.id == "embedded")
    assert {Task.SKETCH, Task.STRUCTURE} < model.tasks
    structure = studio.draw("embedded", Task.STRUCTURE, width=128, height=128, strength=0.8)[0]
    by_hand = unit("embedded-edges", preprocessor="canny", image="source", weight=0.8)
    asked = studio.draw("embedded", Task.TXT2IMG, width=128, height=128, control=(by_hand,))[0]
    assert structure.tobytes() == asked.tobytes()
    assert structure.tobytes() != studio.draw("embedded", Task.TXT2IMG, width=128, height=128)[0].tobytes()
    studio.backend.close()
