"""Stage "practise": find out what the UNet knows badly, so that it is trained on that more often than on the rest."""

from __future__ import annotations

import json

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from .cache import EVERYDAY_WEIGHT
from .concepts import load_concepts
from .paths import PRACTICE, STATE
from .render import load_images
from .training import autocast, get_device
from .unet import Dataset, compute_alphas, load_averaged_unet, tune_model

NOISY_STEPS = (900, 700)
"""Time steps at which next to nothing but the caption tells what is drawn."""
LEAST, MOST = 0.5, 4.0
"""How much less or more often than on average one image is drawn on, at most."""
BATCH = 128


def find_everyday() -> torch.Tensor:
    """Return which training images show everyday things, bool [N], in the order of .train/cache.pt."""
    _, index = load_images()
    everyday = {concept.label for concept in load_concepts() if concept.everyday}
    items = json.loads((STATE / "items.json").read_text(encoding="utf-8"))
    return torch.tensor([index[number][1] in everyday for number, *_ in items])


@torch.no_grad()
def measure_errors(unet: UNet2DConditionModel, data: Dataset) -> torch.Tensor:
    """Return how far off the latents are that the UNet predicts from much noise and the first caption, [N]: the mean
    squared error."""
    alphas, errors = compute_alphas(), torch.zeros(len(data.latents))
    noise = torch.randn(data.latents.shape[1:], generator=torch.Generator().manual_seed(0)).to(get_device())
    for begin in range(0, len(errors), BATCH):
        latents = data.latents[begin : begin + BATCH].float().to(get_device())
        numbers = data.captions[begin : begin + BATCH, 0].numpy()
        states = torch.from_numpy(data.states[numbers]).to(get_device()).float()
        for step in NOISY_STEPS:
            kept, lost = alphas[step].sqrt(), (1 - alphas[step]).sqrt()
            noisy = kept * latents + lost * noise
            with autocast():
                velocity = unet(noisy, step, states, return_dict=False)[0]
            error = (kept * noisy - lost * velocity.float() - latents).square().mean((1, 2, 3))
            errors[begin : begin + BATCH] += error.cpu() / len(NOISY_STEPS)
    return errors


def weigh_errors(weights: torch.Tensor, everyday: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Return how often each training image is drawn on, [N]: by its error, everyday or not.

    Args:
        weights: As the cache has them, [N].
        everyday: Which of them are of everyday things, bool [N].
        errors: Their errors, [N].
    """
    even = torch.where(everyday, weights / EVERYDAY_WEIGHT, weights)
    mean = (even * errors).sum() / even.sum()
    return even * (errors / mean).clamp(LEAST, MOST)


def practise() -> None:
    """Write .train/practice.pt, [N] weights, from the errors of the UNet of .train/unet.pt."""
    unet, data = load_averaged_unet()[0], Dataset()
    tune_model(unet)
    errors = measure_errors(unet, data)
    torch.save(weigh_errors(data.weights, find_everyday(), errors), PRACTICE)
    parts = torch.tensor([0.1, 0.5, 0.9])
    print(f"errors: mean {errors.mean():.4f}, tenth, median, nine tenths {errors.quantile(parts).tolist()}")
