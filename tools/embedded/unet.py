"""Stage "unet": v-prediction on the cached latents, resumable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from .convolution import replace_convolutions
from .paths import LATENT_SIZE, PRACTICE, STATE, TEXT_WIDTH
from .trainer import Progress, Recipe, Trainer, load_averaged_weights
from .training import autocast, get_device, move_to_device

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
}
"""DDIMScheduler settings for training and sampling. Terminal SNR stays above zero: Karras sigmas need it finite."""
CHANNELS = (48, 96, 160)
RECIPE = Recipe("unet", rate=1e-3)
SNR_CAP = 5.0
"""From where on steps count for less, as in min-SNR weighting (Hang et al. 2023); noisy ones it weights down too."""
DROPOUT = 0.10
"""Share of captions replaced by the empty one, for classifier-free guidance."""


def build_unet() -> UNet2DConditionModel:
    """Return the untrained UNet; cross-attention at 8x8 and 4x4 only, plain convolutions at 16x16."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


class Dataset:
    """The latents and text states of .train/<stem>cache.pt and its neighbours; batches follow the items' weights."""

    def __init__(self, stem: str = "") -> None:
        data = torch.load(STATE / f"{stem}cache.pt", weights_only=True)
        self.latents: torch.Tensor = data["latents"]
        self.captions: torch.Tensor = data["captions"]
        self.weights: torch.Tensor = data["weights"]
        self.states = np.load(STATE / f"{stem}states.npy", mmap_mode="r")

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (latents [B, 4, L, L], text states [B, 77, W]) in float32 on the device."""
        rows = torch.multinomial(self.weights, size, replacement=True)
        columns = (torch.rand(size) ** 2 * self.captions.shape[1]).long()
        numbers = self.captions[rows, columns]
        numbers[torch.rand(size) < DROPOUT] = 0
        latents = self.latents[rows].float().to(get_device()).contiguous(memory_format=torch.channels_last)
        return latents, torch.from_numpy(self.states[numbers.numpy()]).to(get_device()).float()


def load_practised_data() -> Dataset:
    """Return what the UNet learns from, with the weights of the stage "practise" where they are there."""
    data = Dataset()
    if PRACTICE.exists():
        data.weights = torch.load(PRACTICE, weights_only=True)
    return data


def compute_velocity_loss(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    alphas: torch.Tensor,
    cap: float | None = SNR_CAP,
) -> torch.Tensor:
    """Return the v-prediction loss of one batch.

    Args:
        predict: From noisy latents and time steps to the velocity.
        latents: Clean, [B, 4, L, L].
        alphas: The 1000 cumulative products of the schedule.
        cap: Signal-to-noise ratio, plus one, from which steps count for less, as their details are fine; None weighs
            every step alike. The noisy ones, where shapes and colours arise, count in full.
    """
    steps = torch.randint(0, len(alphas), (len(latents),), device=latents.device)
    alpha = alphas[steps][:, None, None, None]
    noise = torch.randn_like(latents)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    with autocast():
        predicted = predict(noisy, steps)
    error = (predicted.float() - velocity).square().mean((1, 2, 3))
    if cap is None:
        return error.mean()
    snr = (alpha / (1 - alpha)).flatten()
    return ((cap / (snr + 1)).clamp(max=1) * error).mean()


def compute_alphas() -> torch.Tensor:
    """Return the 1000 cumulative products of the schedule, on the device."""
    return DDIMScheduler(**SCHEDULE).alphas_cumprod.to(get_device())


def load_averaged_unet() -> tuple[UNet2DConditionModel, Progress]:
    """Return the UNet with the averaged weights of the saved state, and how far it is trained."""
    unet = build_unet()
    progress = load_averaged_weights(unet, RECIPE.name)
    return unet.eval(), progress


def tune_model(model: UNet2DConditionModel | ControlNetModel) -> None:
    """Make a UNet or ControlNet quick to train on the device in use."""
    move_to_device(model)
    if get_device().type == "cpu":
        replace_convolutions(model)
        model.set_attn_processor(AttnProcessor())  # the fused attention's backward pass is slower here


def prepare_unet() -> tuple[Trainer, Callable[[], torch.Tensor]]:
    """Return the UNet's trainer and the loss of a fresh batch."""
    data, alphas = load_practised_data(), compute_alphas()
    unet = build_unet().train()
    tune_model(unet)

    def compute_batch_loss() -> torch.Tensor:
        latents, states = data.batch(RECIPE.batch)
        return compute_velocity_loss(
            lambda noisy, steps: unet(noisy, steps, states, return_dict=False)[0], latents, alphas
        )

    return Trainer(unet, RECIPE), compute_batch_loss
