"""Stage "decoder": a wider and deeper decoder of the same latents; encoder and UNet stay as they are.

It begins as the decoder that there is, to which channels and blocks are added that change nothing yet, and learns the
measure of the card itself, PSNR, on whole drawings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.autoencoders.vae import DecoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock

from .colours import PALETTE, WHITE, composite, recolour
from .convolution import join_upsampling, replace_convolutions
from .paths import MODEL, PARTS
from .render import load_images
from .shapes import bend_drawing
from .trainer import Recipe, Trainer, load_averaged_weights
from .training import autocast, get_device, move_to_device
from .upscaler_pairs import load_held_out
from .vae import build_vae, measure_reconstruction, split_indices, to_tensor

WIDTH = 64
"""Channels of the decoder; its speed on the CPU goes by their square."""
BLOCKS = (6, 5, 1, 0)
"""Blocks at 16, 32, 64 and 128 px: those at the small sizes cost least."""
RECIPE = Recipe("decoder", rate=5e-4, batch=8, warmup=100)
BENT_SHARE, RECOLOURED_SHARE, GROUND_SHARE = 0.35, 0.33, 0.4
"""Shares of the images that are bent into another shape, have another colour, and stand on a coloured ground."""
NOISY_SHARE, NOISE = 0.3, 0.12
"""Share of the latents that get noise, and its most in their deviations: the UNet's latents are not exact either."""
LEAST_ERROR = 1e-5
"""Added to the squared error, -1..1, so that an image that is right already counts for little."""


def find_vae() -> Path:
    """Return the folder of the autoencoder that was trained last, or of the one that ships."""
    return PARTS / "vae" if (PARTS / "vae").exists() else MODEL / "vae"


def list_blocks(decoder: DecoderTiny) -> list[list[AutoencoderTinyBlock]]:
    """Return the blocks of a decoder by the size that they work at, smallest first."""
    levels: list[list[AutoencoderTinyBlock]] = [[]]
    for layer in decoder.layers:
        if isinstance(layer, AutoencoderTinyBlock):
            levels[-1].append(layer)
        elif isinstance(layer, torch.nn.Upsample):
            levels.append([])
    return levels


def list_convolutions(layers: torch.nn.Sequential) -> list[torch.nn.Conv2d]:
    """Return the convolutions that are layers themselves, not those within blocks."""
    return [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]


def copy_convolutions(few: Sequence[torch.nn.Conv2d], many: Sequence[torch.nn.Conv2d]) -> None:
    """Give each convolution the weights of a narrower one; no output that the narrower one has minds inputs that it
    does not have."""
    for narrow, wide in zip(few, many, strict=True):
        outputs, inputs = narrow.weight.shape[:2]
        wide.weight[:outputs] = 0
        wide.weight[:outputs, :inputs] = narrow.weight
        if wide.bias is not None and narrow.bias is not None:
            wide.bias[:outputs] = narrow.bias


@torch.no_grad()
def grow_decoder(small: DecoderTiny, large: DecoderTiny) -> None:
    """Let an untrained decoder, as wide and deep as another or more so, decode as that one does.

    Its further blocks add nothing to what they get, so they follow the blocks that there are, where nothing is below
    zero; each size that gets blocks needs one to begin with.
    """
    copy_convolutions(list_convolutions(small.layers), list_convolutions(large.layers))
    for few, many in zip(list_blocks(small), list_blocks(large), strict=True):
        for narrow, wide in zip(few, many, strict=False):
            copy_convolutions(list_convolutions(narrow.conv), list_convolutions(wide.conv))
        for added in many[len(few) :]:
            for value in list_convolutions(added.conv)[-1].parameters():
                value.zero_()


def load_wide_vae() -> AutoencoderTiny:
    """Return the autoencoder that there is, with a decoder of this stage's size that decodes as its own does."""
    start = AutoencoderTiny.from_pretrained(find_vae()).float()
    vae = build_vae(WIDTH, BLOCKS)
    vae.register_to_config(scaling_factor=start.config["scaling_factor"])
    vae.encoder.load_state_dict(start.encoder.state_dict())
    grow_decoder(start.decoder, vae.decoder)
    return vae


def list_training_drawings(index: list[tuple[str, str]]) -> np.ndarray:
    """Return the numbers of the drawings to learn from: neither those that measure the autoencoder nor those that
    measure the upscaler."""
    numbers, _ = split_indices(len(index))
    kept = load_held_out()
    return np.array([number for number in numbers if index[number][1] not in kept.get(index[number][0], ())])


def show_drawing(drawing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a drawing, premultiplied RGBA uint8 [S, S, 4], as one of its views, float32 RGB [S, S, 3] in 0..255."""
    words = list(PALETTE)
    if rng.random() < RECOLOURED_SHARE:
        drawing = recolour(drawing, words[rng.integers(len(words))])
    if rng.random() < BENT_SHARE:
        drawing = bend_drawing(drawing, rng)
    ground = WHITE
    if rng.random() < GROUND_SHARE:
        ground = np.clip(np.array(PALETTE[words[rng.integers(len(words))]]) + rng.normal(0, 12, 3), 0, 255)
    shown = composite(drawing, ground)
    return shown[:, ::-1] if rng.random() < 0.5 else shown


def add_noise(latents: torch.Tensor) -> torch.Tensor:
    """Return the latents [B, 4, L, L], some of them with noise."""
    share = torch.rand(len(latents), 1, 1, 1, device=latents.device)
    strength = NOISE * torch.rand_like(share) * (share < NOISY_SHARE)
    return latents + strength * torch.randn_like(latents)


def compute_decoder_loss(decoded: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return the mean logarithm of the images' squared errors, which is their mean PSNR but for sign and unit, of
    images -1..1, [N, 3, H, W]."""
    return (decoded - image).square().mean((1, 2, 3)).add(LEAST_ERROR).log().mean()


def prepare_decoder() -> tuple[Trainer, Callable[[], torch.Tensor]]:
    """Return the decoder's trainer and the loss of a fresh batch."""
    images, index = load_images()
    numbers, rng = list_training_drawings(index), np.random.default_rng()
    vae = move_to_device(load_wide_vae()).train()
    vae.encoder.requires_grad_(False)
    if get_device().type == "cpu":
        replace_convolutions(vae)
        join_upsampling(vae.decoder.layers)

    def compute_batch_loss() -> torch.Tensor:
        chosen = rng.choice(numbers, RECIPE.batch)
        image = to_tensor(np.stack([show_drawing(images[number], rng) for number in chosen])).to(get_device())
        with autocast():
            latents = vae.encoder(image).float()
            decoded = vae.decoder(add_noise(latents)).float()
        return compute_decoder_loss(decoded, image)

    return Trainer(vae.decoder, RECIPE), compute_batch_loss


def finish_decoder() -> None:
    """Write .train/parts/vae from the averaged weights and print how near it comes to the held-out drawings."""
    vae = load_wide_vae()
    progress = load_averaged_weights(vae.decoder, RECIPE.name)
    scores = measure_reconstruction(move_to_device(vae).eval())
    vae.save_pretrained(PARTS / "vae")
    print(f"decoder after {progress.seconds / 60:.1f} min, {progress.samples:,} images: held-out", end=" ")
    print({key: round(value, 3) for key, value in scores.items()}, flush=True)
