"""The parts of tools/embedded that train the model that ships further, on what it draws badly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("cv2")

from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny  # noqa: E402
from diffusers.models.controlnets.controlnet import ControlNetModel  # noqa: E402
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: E402

from tools.embedded import adopt as adopt_module  # noqa: E402
from tools.embedded import trainer as trainer_module  # noqa: E402
from tools.embedded import unet as unet_module  # noqa: E402
from tools.embedded.adopt import adopt_model  # noqa: E402
from tools.embedded.control import build_controlnet  # noqa: E402
from tools.embedded.paths import CONTROLNET, MODEL  # noqa: E402
from tools.embedded.practice import LEAST, MOST, measure_errors, weigh_errors  # noqa: E402
from tools.embedded.trainer import Progress, Recipe, Run, Trainer, load_averaged_weights  # noqa: E402
from tools.embedded.unet import (  # noqa: E402
    Dataset,
    compute_alphas,
    load_averaged_unet,
    load_practised_data,
)

pytestmark = pytest.mark.torch


def test_a_state_that_was_lost_begins_with_the_model_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (adopt_module, trainer_module):
        monkeypatch.setattr(module, "STATE", tmp_path)
    monkeypatch.setattr(adopt_module, "PARTS", tmp_path / "parts")
    adopt_model()
    unet, progress = load_averaged_unet()
    shipped = UNet2DConditionModel.from_pretrained(MODEL / "unet")
    assert progress == Progress()
    control = build_controlnet()
    assert load_averaged_weights(control, "control") == Progress()
    shipped_control = ControlNetModel.from_pretrained(CONTROLNET).float()
    assert all(torch.equal(value, control.state_dict()[name]) for name, value in shipped_control.state_dict().items())
    assert all(torch.equal(value, unet.state_dict()[name]) for name, value in shipped.float().state_dict().items())
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        first, other = (
            AutoencoderTiny.from_pretrained(folder / "vae").float().encoder(image)
            for folder in (MODEL, tmp_path / "parts")
        )
    assert torch.equal(first, other)
    with pytest.raises(SystemExit, match="holds a state already"):
        adopt_model()


def test_what_is_known_badly_is_trained_on_more_often_and_everyday_things_no_more_than_others() -> None:
    everyday = torch.tensor([True, True, False, False, False])
    errors = torch.tensor([0.1, 0.3, 0.1, 0.3, 0.2])
    weighed = weigh_errors(torch.tensor([4.0, 4.0, 1.0, 1.0, 1.0]), everyday, errors)
    assert weighed.tolist() == pytest.approx([0.5, 1.5, 0.5, 1.5, 1.0])
    one_bad = weigh_errors(torch.ones(100), torch.zeros(100, dtype=torch.bool), torch.arange(100.0) ** 8)
    assert (float(one_bad.min()), float(one_bad.max())) == (LEAST, MOST)


class Knowing(torch.nn.Module):
    """In place of a UNet: knows what it is told for the first of its two captions and nothing for the other."""

    def __init__(self, latents: Any, alphas: Any) -> None:
        super().__init__()
        self.latents, self.alphas = latents, alphas

    def forward(self, noisy: Any, step: int, states: Any, return_dict: bool) -> tuple[Any]:
        """Return the velocity."""
        kept, lost = self.alphas[step].sqrt(), (1 - self.alphas[step]).sqrt()
        guess = torch.where(states[:, :1, :1, None] == 0, self.latents, 0.0)
        return ((kept * noisy - guess) / lost,)


def test_errors_are_those_of_the_latents_that_the_caption_alone_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unet_module, "STATE", tmp_path)
    latents = torch.full((2, 4, 16, 16), 0.5).half()
    captions = torch.tensor([[0, 1], [1, 0]])
    torch.save({"latents": latents, "captions": captions, "weights": torch.ones(2)}, tmp_path / "cache.pt")
    np.save(tmp_path / "states.npy", np.stack([np.zeros((77, 256)), np.ones((77, 256))]).astype(np.float16))
    unet: Any = Knowing(torch.tensor(0.5), compute_alphas())
    errors = measure_errors(unet, Dataset())
    assert errors.tolist() == pytest.approx([0.0, 0.25], abs=0.01)


def test_training_follows_the_weights_of_the_practice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet_module, "STATE", tmp_path)
    monkeypatch.setattr(unet_module, "PRACTICE", tmp_path / "practice.pt")
    latents = torch.arange(2.0)[:, None, None, None].expand(2, 4, 16, 16).half()
    data = {"latents": latents, "captions": torch.zeros(2, 1, dtype=torch.long), "weights": torch.tensor([1.0, 0.0])}
    torch.save(data, tmp_path / "cache.pt")
    np.save(tmp_path / "states.npy", np.zeros((1, 77, 256), np.float16))
    assert set(load_practised_data().batch(8)[0].unique().tolist()) == {0.0}
    torch.save(torch.tensor([0.0, 1.0]), tmp_path / "practice.pt")
    assert set(load_practised_data().batch(8)[0].unique().tolist()) == {1.0}


@pytest.mark.parametrize(("asked", "rate"), [(None, 0.1), (0.02, 0.02)])
def test_a_call_may_train_at_a_rate_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: float | None, rate: float
) -> None:
    monkeypatch.setattr(trainer_module, "STATE", tmp_path)
    layer = torch.nn.Linear(2, 1)
    trainer = Trainer(layer, Recipe("test", rate=0.1, warmup=1))
    trainer.step(layer(torch.ones(1, 2)).sum(), 1.0, Run(1.0, 1.0, rate=asked))
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
