"""The training loop of tools/embedded: several workers, and what the loss weighs."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from tools.embedded import parallel as parallel_module  # noqa: E402
from tools.embedded import trainer as trainer_module  # noqa: E402
from tools.embedded.trainer import MEETING_STEPS, Recipe, Run, Trainer, run_training  # noqa: E402
from tools.embedded.unet import compute_velocity_loss  # noqa: E402

pytestmark = pytest.mark.torch


def test_workers_that_meet_hold_the_mean_of_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Linear(2, 1)
    before = torch.cat([value.detach().flatten() for value in layer.parameters()])
    monkeypatch.setattr(parallel_module.dist, "all_reduce", lambda flat: flat.add_(torch.tensor([1.0, 2.0, 3.0, 8.0])))
    assert parallel_module.average_weights(layer, 4.0, 2) == 6.0
    after = torch.cat([value.detach().flatten() for value in layer.parameters()])
    assert torch.allclose(after, (before + torch.tensor([1.0, 2.0, 3.0])) / 2)


def test_a_call_ends_where_the_workers_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "STATE", tmp_path)
    layer = torch.nn.Linear(1, 1)
    trainer = Trainer(layer, Recipe("test", rate=0.1, warmup=1))
    begun = trainer.ema.values["weight"].clone()
    run_training(trainer, lambda: layer(torch.ones(4, 1)).square().mean(), Run(minutes=1e-9, plan=1.0), rank=0)
    assert trainer.progress.step == MEETING_STEPS
    assert not torch.equal(trainer.ema.values["weight"], begun)


@pytest.mark.parametrize(("alpha", "share"), [(0.0002, 1.0), (0.8, 1.0), (0.99, 0.05)])
def test_noisy_steps_count_in_full_and_the_clearest_for_less(alpha: float, share: float) -> None:
    torch.manual_seed(0)
    latents, alphas = torch.randn(64, 4, 16, 16), torch.full((1000,), alpha)
    loss = compute_velocity_loss(lambda noisy, steps: torch.zeros_like(noisy), latents, alphas)
    assert float(loss) == pytest.approx(share, rel=0.02)  # noise and latents have a variance of 1, so has the velocity
