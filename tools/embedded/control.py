"""Stage "control": a ControlNet for the embedded UNet that follows canny edges or the lines of a scribble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.controlnets.controlnet import ControlNetModel

from .paths import CONTROLNET, IMAGE_SIZE, STATE, TEXT_LENGTH, TEXT_WIDTH
from .shapes import NAMES_PREFIX, SHAPES_FILE, make_shapes
from .trainer import Recipe, Trainer, load_averaged_weights
from .training import get_device
from .unet import compute_alphas, compute_velocity_loss, load_averaged_unet, tune_model

RECIPE = Recipe("control", rate=1e-3, batch=20, warmup=80)
CONDITIONING_CHANNELS = (8, 24, 48, 96)
"""Channels of the layers that read the edges; three halvings, as many as the autoencoder has."""
DROPOUT = 0.3
"""Share of captions replaced by the empty one: then only the edges say what is drawn."""
ERASED_SHARE, THICKENED_SHARE = 0.25, 0.3
"""Share of edge images with a hole, and of those with the lines of a broad pen."""


def build_controlnet() -> ControlNetModel:
    """Return an untrained ControlNet: the encoder half of the trained UNet, whose output layers are zero."""
    unet, _ = load_averaged_unet()
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=CONDITIONING_CHANNELS)
    torch.nn.init.kaiming_normal_(control.controlnet_cond_embedding.conv_out.weight)  # zero layers follow anyway
    return control


def roughen_edges(edges: torch.Tensor) -> torch.Tensor:
    """Make edge images [B, 1, S, S] of 0 and 1 less perfect: some with a hole, some with broader lines."""
    count, _, side, _ = edges.shape
    broad = F.max_pool2d(edges, 2, stride=1, padding=1)[..., :side, :side]
    edges = torch.where(torch.rand(count, 1, 1, 1) < THICKENED_SHARE, broad, edges)
    corner, reach = torch.randint(0, side, (count, 2)), torch.randint(side // 8, side // 3, (count, 2))
    away = [(torch.arange(side)[None] - corner[:, axis, None]).abs() > reach[:, axis, None] for axis in (0, 1)]
    kept = away[0][:, None, :, None] | away[1][:, None, None, :]
    return edges * (kept | (torch.rand(count, 1, 1, 1) > ERASED_SHARE))


class ControlDataset:
    """The cached latents, edges and text states, drawn on evenly."""

    def __init__(self) -> None:
        data = torch.load(SHAPES_FILE, weights_only=True)
        self.latents: torch.Tensor = data["latents"]
        self.edges: torch.Tensor = data["edges"]
        self.captions: torch.Tensor = data["captions"]
        self.known = np.load(STATE / "states.npy", mmap_mode="r")
        self.names = np.load(STATE / f"{NAMES_PREFIX}states.npy", mmap_mode="r")

    def states(self, numbers: np.ndarray) -> torch.Tensor:
        """Return the text states of the captions, float32 [B, 77, W]."""
        result = np.empty((len(numbers), TEXT_LENGTH, TEXT_WIDTH), np.float32)
        known = numbers < len(self.known)
        result[known] = self.known[numbers[known]]
        result[~known] = self.names[numbers[~known] - len(self.known)]
        return torch.from_numpy(result).to(get_device())

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (latents [B, 4, L, L], text states [B, 77, W], edges [B, 3, S, S] of 0 and 1) on the device."""
        rows = torch.randint(0, len(self.latents), (size,))
        numbers = self.captions[rows]
        numbers[torch.rand(size) < DROPOUT] = 0
        latents = self.latents[rows].float().to(get_device()).contiguous(memory_format=torch.channels_last)
        lines = np.unpackbits(self.edges[rows].numpy(), axis=1).reshape(size, 1, IMAGE_SIZE, IMAGE_SIZE)
        edges = roughen_edges(torch.from_numpy(lines).float()).expand(-1, 3, -1, -1)
        edges = edges.to(get_device()).contiguous(memory_format=torch.channels_last)
        return latents, self.states(numbers.numpy()), edges


def prepare_control() -> tuple[Trainer, Callable[[], torch.Tensor]]:
    """Return the ControlNet's trainer and the loss of a fresh batch; the UNet stays as it is."""
    data, alphas = ControlDataset(), compute_alphas()
    unet, _ = load_averaged_unet()
    unet.requires_grad_(False)
    control = build_controlnet().train()
    tune_model(unet)
    tune_model(control)

    def compute_batch_loss() -> torch.Tensor:
        latents, states, edges = data.batch(RECIPE.batch)

        def predict(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
            down, middle = control(noisy, steps, states, edges, return_dict=False)
            return unet(
                noisy,
                steps,
                states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )[0]

        return compute_velocity_loss(predict, latents, alphas, cap=None)

    return Trainer(control, RECIPE), compute_batch_loss


def ensure_pairs() -> None:
    """Make the training pairs unless they are there."""
    if not SHAPES_FILE.exists():
        make_shapes()


def export_control() -> None:
    """Write models/controlnet/embedded-edges from the averaged weights, in fp16."""
    control = build_controlnet()
    progress = load_averaged_weights(control, RECIPE.name)
    torch.nn.Module.half(control)
    control.save_pretrained(CONTROLNET, safe_serialization=True)
    for path in CONTROLNET.glob("*.safetensors"):
        path.chmod(0o644)
    print(f"exported {CONTROLNET.name} after {progress.samples:,} images")
