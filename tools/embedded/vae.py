"""Stage "vae": the small autoencoder, 128 px to 16x16x4 latents of zero mean and unit variance."""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from .colours import PALETTE, WHITE, composite, recolour
from .convolution import replace_convolutions
from .paths import IMAGE_SIZE, PARTS
from .render import load_images
from .training import Ema, autocast, compute_cosine_rate, get_device, move_to_device

WIDTH, BLOCKS = 48, (3, 3, 1, 0)
CROP = 64
BATCH = 16
RATE = 1.5e-3
HELD_OUT = 200
"""Images kept from training to measure the reconstruction."""


def build_vae(width: int = WIDTH, blocks: tuple[int, ...] = BLOCKS) -> AutoencoderTiny:
    """Return an untrained autoencoder whose decoder has that many channels, and blocks from the smallest size to the
    largest; no full-resolution blocks, which cost most and add least."""
    return AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(0, 1, 2, 3),
        num_decoder_blocks=blocks,
        latent_channels=4,
        scaling_factor=1.0,
    )


def split_indices(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (training, held-out) image numbers, the same on every call."""
    order = np.random.default_rng(7).permutation(count)
    return order[HELD_OUT:], order[:HELD_OUT]


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Turn RGB images 0..255, [N, H, W, 3], into a channels-last tensor -1..1, [N, 3, H, W]."""
    tensor = torch.from_numpy(images / 127.5 - 1).float().permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=torch.channels_last)


def sample_crops(images: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Return a batch of random crops on white or coloured grounds, a third of them recoloured."""
    batch = np.empty((BATCH, CROP, CROP, 3), np.float32)
    words = list(PALETTE)
    for row, number in enumerate(rng.choice(numbers, BATCH)):
        top, left = rng.integers(0, IMAGE_SIZE - CROP + 1, 2)
        image = images[number]
        if rng.random() < 0.33:
            image = recolour(image, words[rng.integers(len(words))])
        image = image[top : top + CROP, left : left + CROP]
        ground = WHITE
        if rng.random() < 0.4:
            ground = np.clip(np.array(PALETTE[words[rng.integers(len(words))]]) + rng.normal(0, 12, 3), 0, 255)
        crop = composite(image, ground)
        batch[row] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return to_tensor(batch)


def compute_vae_loss(image: torch.Tensor, latent: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return pixel, edge (at three scales) and latent-normality terms as one scalar."""
    loss = (decoded - image).abs().mean() + 2.0 * F.mse_loss(decoded, image)
    for scale in (1, 2, 4):
        difference = F.avg_pool2d(decoded - image, scale)
        loss = loss + 0.3 * (difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean())
    normal = latent.mean((0, 2, 3)).square() + (latent.std((0, 2, 3)) - 1).square()
    return loss + 0.02 * normal.mean() + 0.01 * F.relu(latent.abs() - 2.5).square().mean()


def compute_psnr(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio in dB of each image pair, tensors -1..1 [N, 3, H, W] -> [N]."""
    return -10 * torch.log10((first - second).square().mean((1, 2, 3)) / 4)


@torch.no_grad()
def measure_reconstruction(vae: AutoencoderTiny) -> dict[str, float]:
    """Return the reconstruction on the held-out images (white ground) and the latents' mean and deviation."""
    images, index = load_images()
    _, held = split_indices(len(index))
    whole = to_tensor(np.stack([composite(images[number], WHITE) for number in held]))
    values, latents = [], []
    for part in whole.to(get_device()).split(25):
        latent = vae.encoder(part)
        latents.append(latent)
        values.append(compute_psnr(vae.decoder(latent).clamp(-1, 1), part))
    score, latent = torch.cat(values), torch.cat(latents)
    return {"psnr": score.mean().item(), "median": score.median().item(), "std": latent.std().item()}


def train_vae(minutes: float) -> None:
    """Train for the given minutes and write .train/parts/vae; a second call goes on from the first's weights."""
    images, index = load_images()
    images = np.asarray(images)
    numbers, _ = split_indices(len(index))
    folder = PARTS / "vae"
    vae = move_to_device(AutoencoderTiny.from_pretrained(folder) if folder.exists() else build_vae()).train()
    if get_device().type == "cpu":
        replace_convolutions(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    ema, rng, start, step = Ema(vae, 0.995), np.random.default_rng(), time.monotonic(), 0
    while (share := (time.monotonic() - start) / (minutes * 60)) < 1:
        optimizer.param_groups[0]["lr"] = compute_cosine_rate(RATE, step, share, warmup=30)
        image = sample_crops(images, numbers, rng).to(get_device())
        with autocast():
            latent = vae.encoder(image).float()
            decoded = vae.decoder(latent).float()
        loss = compute_vae_loss(image, latent, decoded)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        ema.update(vae, step)
        if step % 100 == 0:
            noise = F.mse_loss(decoded.detach().clamp(-1, 1), image).item()
            rate = step * BATCH / (time.monotonic() - start)
            print(f"vae {step} crop psnr {-10 * np.log10(noise / 4):.2f} {rate:.1f} img/s", flush=True)
    ema.copy_to(vae)
    scores = measure_reconstruction(vae.eval())
    vae.register_to_config(scaling_factor=1.0 / scores["std"])
    vae.save_pretrained(folder)
    print("vae held-out", {key: round(value, 3) for key, value in scores.items()})
