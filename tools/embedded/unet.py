"""Stage "unet": v-prediction on the cached latents, resumable."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch.multiprocessing.spawn import spawn

from .convolution import quicken
from .parallel import MEETING_FILE, average, join, leave
from .paths import LATENT_SIZE, STATE, TEXT_WIDTH
from .training import Ema, autocast, device, place

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
BATCH = 32
RATE = 1e-3
WARMUP = 200
SNR_CAP = 5.0
"""Min-SNR weighting's gamma (Hang et al. 2023)."""
DROPOUT = 0.10
"""Share of captions replaced by the empty one, for classifier-free guidance."""
EMA_LIMIT, EMA_EVERY = 0.998, 4
STATE_FILE = STATE / "unet.pt"
SAVE_SECONDS = 240


def build() -> UNet2DConditionModel:
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


@dataclass
class Progress:
    """How far the training is: optimiser steps, pictures seen and seconds spent, over all calls."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """One call: minutes to train now, minutes of the whole plan, processes and threads in each."""

    minutes: float
    plan: float
    workers: int = 1
    threads: int = 1


class Dataset:
    """The cached latents and text states; batches follow the items' weights."""

    def __init__(self) -> None:
        data = torch.load(STATE / "cache.pt", weights_only=True)
        self.latents: torch.Tensor = data["latents"]
        self.captions: torch.Tensor = data["captions"]
        self.weights: torch.Tensor = data["weights"]
        self.states = np.load(STATE / "states.npy", mmap_mode="r")

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (latents [B, 4, L, L], text states [B, 77, W]) in float32 on the device."""
        rows = torch.multinomial(self.weights, size, replacement=True)
        columns = (torch.rand(size) ** 2 * self.captions.shape[1]).long()
        numbers = self.captions[rows, columns]
        numbers[torch.rand(size) < DROPOUT] = 0
        latents = self.latents[rows].float().to(device()).contiguous(memory_format=torch.channels_last)
        return latents, torch.from_numpy(self.states[numbers.numpy()]).to(device()).float()


def loss_of(unet: torch.nn.Module, latents: torch.Tensor, states: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """Return the min-SNR weighted v-prediction loss of one batch; `alphas` are the 1000 cumulative products."""
    steps = torch.randint(0, len(alphas), (len(latents),), device=latents.device)
    alpha = alphas[steps][:, None, None, None]
    noise = torch.randn_like(latents)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    with autocast():
        predicted = unet(noisy, steps, states, return_dict=False)[0]
    snr = (alpha / (1 - alpha)).flatten()
    weight = snr.clamp(max=SNR_CAP) / (snr + 1)
    return (weight * (predicted.float() - velocity).square().mean((1, 2, 3))).mean()


def rate_at(progress: Progress, plan: float) -> float:
    """Return the learning rate: warm-up, constant for 60 % of the planned minutes, then linear to 3 %.

    The constant part is what makes the run resumable with a longer plan.
    """
    share = progress.seconds / 60 / plan
    fall = 1.0 if share < 0.6 else max(0.03, (1 - share) / 0.4)
    return RATE * min(1.0, (progress.step + 1) / WARMUP) * fall


def averaged() -> tuple[UNet2DConditionModel, Progress]:
    """Return the UNet with the averaged weights of the saved state, and how far it is trained."""
    state = torch.load(STATE_FILE, map_location="cpu", weights_only=True)
    unet = build()
    unet.load_state_dict(state["ema"])
    return unet.eval(), Progress(**state["progress"])


class Trainer:
    """The UNet with its optimiser, running average and progress; every worker holds an equal one."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.unet = place(build()).train()
        if device().type == "cpu":
            quicken(self.unet)
            self.unet.set_attn_processor(AttnProcessor())  # the fused attention's backward pass is slower here
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(), RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.ema, self.progress = Ema(self.unet, EMA_LIMIT), Progress()
        if STATE_FILE.exists():
            self.load()

    def load(self) -> None:
        """Take up the saved state."""
        state = torch.load(STATE_FILE, map_location=device(), weights_only=True)
        self.unet.load_state_dict(state["unet"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.values, self.progress = state["ema"], Progress(**state["progress"])

    def save(self) -> None:
        """Write the whole state aside and rename it into place."""
        aside = STATE_FILE.with_suffix(".new")
        state = {
            "unet": self.unet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.values,
            "progress": vars(self.progress),
        }
        torch.save(state, aside)
        os.replace(aside, STATE_FILE)

    def step(self, loss: torch.Tensor, seconds: float, run: Run) -> float:
        """Make one optimiser step from this worker's loss and elapsed seconds; returns the workers' mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.progress, run.plan)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        mean_loss, mean_seconds = average(self.unet, [loss.item(), seconds], run.workers)
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.samples += BATCH * run.workers
        self.progress.seconds += mean_seconds
        return mean_loss


def work(rank: int, run: Run) -> None:
    """Train as one of the workers; the first also keeps the running average, the log and the saved state."""
    torch.set_num_threads(run.threads)
    join(rank, run.workers)
    data, trainer = Dataset(), Trainer()
    torch.manual_seed(int(time.time()) + rank)
    alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod.to(device())
    progress, begun = trainer.progress, replace(trainer.progress)
    last = saved = time.monotonic()
    mean = 0.0
    while progress.seconds - begun.seconds < run.minutes * 60:
        now = time.monotonic()
        loss = trainer.step(loss_of(trainer.unet, *data.batch(BATCH), alphas), now - last, run)
        last = now
        done = progress.step - begun.step
        mean = loss if done == 1 else 0.99 * mean + 0.01 * loss
        if rank > 0:
            continue
        if progress.step % EMA_EVERY == 0:
            trainer.ema.update(trainer.unet, progress.step, EMA_EVERY)
        if done % 100 == 0:
            rate = (progress.samples - begun.samples) / (progress.seconds - begun.seconds)
            print(f"unet {progress.step} {progress.seconds / 60:.1f} min loss {mean:.4f} {rate:.1f} img/s", flush=True)
        if now - saved > SAVE_SECONDS:
            trainer.save()
            saved = now
    if rank == 0:
        trainer.save()
        print(f"state saved: {progress}")
    leave(run.workers)


def train(run: Run) -> None:
    """Train the UNet; the state in .train/unet.pt carries on from call to call."""
    if run.workers == 1:
        work(0, run)
    else:
        MEETING_FILE.unlink(missing_ok=True)
        spawn(work, (run,), nprocs=run.workers)
