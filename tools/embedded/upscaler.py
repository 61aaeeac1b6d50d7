"""Stage "upscaler": a network that turns the model's 128 px images, faults of the autoencoder included, into 512 px.

A compact network (SRVGGNetCompact, 0.6 M parameters) is trained on from the weights of realesr-animevideov3, on pairs
of a drawing through the autoencoder and the drawing itself: flat drawings at 512 px, Fluent 3D ones at the 256 px that
they come in. The first steps learn pixels and edges; then a patch discriminator per style joins in, without which the
network answers a doubt with the mean of all it could be, which is a blur. The file is one of Real-ESRGAN's own kind
and loads as any upscaler does.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from .paths import MODEL, ROOT
from .training import Ema, compute_cosine_rate
from .upscaler_pairs import PAIRS, SIDES, load_pairs, make_pairs, sample_patches, to_unit

START = ROOT / "models" / "upscalers" / "realesr-animevideov3.safetensors"
UPSCALER = MODEL / "upscaler" / "model.safetensors"
STATE_FILE = PAIRS / "upscaler.pt"
SCALE = 4
RATE, JUDGE_RATE = 2e-4, 5e-4
PIXEL_STEPS, JUDGE_STEPS = 3000, 400
"""Steps that learn pixels alone: from Real-ESRGAN's weights; from those that ship, without their discriminators yet."""
SAVE_SECONDS = 120
CONVOLUTIONS, WIDTH = 16, 64
ADVERSARIAL_SHARE = 0.6
"""How strong the discriminator pulls at the last layer, as a share of the pixel term's pull."""
FEATURE_WEIGHT = 0.15


class Discriminator(torch.nn.Module):
    """Tells patches of drawings from made ones: a score for each of its fields of some 40 px."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((3, 32, 2), (32, 64, 2), (64, 96, 2), (96, 96, 1))
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(few, many, 4 if stride == 2 else 3, stride, 1) for few, many, stride in sizes
        )
        self.last = torch.nn.Conv2d(96, 1, 3, 1, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return (scores [N, 1, h, w], the features of each layer) of images 0..1, [N, 3, H, W]."""
        value, features = image * 2 - 1, []
        for layer in self.layers:
            value = F.leaky_relu(layer(value), 0.2)
            features.append(value)
        return self.last(value), features


def build_network() -> torch.nn.Module:
    """Return the untrained network, whose tensors have the names that Real-ESRGAN gives them."""
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    return SRVGGNetCompact(
        num_in_ch=3, num_out_ch=3, num_feat=WIDTH, num_conv=CONVOLUTIONS, upscale=SCALE, act_type="prelu"
    )


def load_upscaler(path: Path) -> Any:
    """Return the network with a file's weights, on the CPU."""
    network = build_network()
    network.load_state_dict(load_file(path))
    return network


def compute_pixel_loss(made: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return pixel and edge terms as one scalar, both images 0..1, [N, 3, H, W]."""
    loss = (made - target).abs().mean()
    for axis in (-1, -2):
        ours, theirs = made.diff(dim=axis), target.diff(dim=axis)
        loss = loss + 0.7 * (ours - theirs).abs().mean() + 0.3 * (ours.abs().mean() - theirs.abs().mean()).abs()
    return loss


def compute_discriminator_loss(judge: Discriminator, made: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the hinge loss of telling targets (1) from what was made (-1)."""
    return F.relu(1 - judge(target)[0]).mean() + F.relu(1 + judge(made.detach())[0]).mean()


def compute_adversarial_terms(
    judge: Discriminator, made: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (how far the made image is from fooling the judge, distance of its features to the target's)."""
    scores, ours = judge(made)
    with torch.no_grad():
        theirs = judge(target)[1]
    distance = torch.stack([(a - b).abs().mean() / b.abs().mean() for a, b in zip(ours, theirs, strict=True)]).mean()
    return -scores.mean(), distance


def balance(pixel: torch.Tensor, adversarial: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
    """Return the weight at which the adversarial term pulls at a layer with its share of the pixel term's pull."""
    pulls = [torch.autograd.grad(loss, layer, retain_graph=True)[0].norm() for loss in (pixel, adversarial)]
    return (ADVERSARIAL_SHARE * pulls[0] / (pulls[1] + 1e-8)).clamp(max=10.0).detach()


class UpscalerTrainer:
    """The network, its running average, and a discriminator for each style; `step` counts over all calls."""

    def __init__(self) -> None:
        goes_on = UPSCALER.exists()
        self.network = load_upscaler(UPSCALER if goes_on else START).to(memory_format=torch.channels_last)
        self.judges = {style: Discriminator().to(memory_format=torch.channels_last) for style in SIDES}
        self.optimizer = torch.optim.AdamW(self.network.parameters(), RATE, betas=(0.9, 0.99), weight_decay=0)
        self.opponents = {
            style: torch.optim.AdamW(judge.parameters(), JUDGE_RATE, betas=(0.5, 0.99), weight_decay=0)
            for style, judge in self.judges.items()
        }
        self.ema, self.step = Ema(self.network, 0.995), PIXEL_STEPS - JUDGE_STEPS if goes_on else 0
        if STATE_FILE.exists():
            self.load()

    def load(self) -> None:
        """Take up the saved state."""
        state = torch.load(STATE_FILE, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        for style, judge in self.judges.items():
            judge.load_state_dict(state["judges"][style])
        self.ema.values, self.step = state["ema"], state["step"]

    def save(self) -> None:
        """Write the state aside and rename it into place; the averaged weights also as the file that ships."""
        aside = STATE_FILE.with_suffix(".new")
        judges = {style: judge.state_dict() for style, judge in self.judges.items()}
        torch.save(
            {"network": self.network.state_dict(), "judges": judges, "ema": self.ema.values, "step": self.step}, aside
        )
        os.replace(aside, STATE_FILE)
        UPSCALER.parent.mkdir(exist_ok=True)
        save_file({name: value.half().contiguous() for name, value in self.ema.values.items()}, UPSCALER)
        UPSCALER.chmod(0o644)

    def train_batch(self, style: str, inputs: torch.Tensor, target: torch.Tensor, adversarial: bool) -> list[float]:
        """Make one step; returns pixel loss, feature distance and the discriminator's loss."""
        made = self.network(inputs)
        if made.shape[-1] > target.shape[-1]:
            made = F.avg_pool2d(made, made.shape[-1] // target.shape[-1])
        pixel = loss = compute_pixel_loss(made, target)
        judge, told = self.judges[style], [0.0, 0.0]
        judged = compute_discriminator_loss(judge, made, target)
        self.opponents[style].zero_grad(set_to_none=True)
        judged.backward()
        self.opponents[style].step()
        if adversarial:
            judge.requires_grad_(False)
            fooled, distance = compute_adversarial_terms(judge, made, target)
            last = self.network.get_parameter(f"body.{2 * CONVOLUTIONS + 2}.weight")
            loss = pixel + FEATURE_WEIGHT * distance + balance(pixel, fooled, last) * fooled
            judge.requires_grad_(True)
            told[0] = distance.item()
        told[1] = judged.item()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.ema.update(self.network, self.step)
        return [pixel.item(), *told]


def train_upscaler(minutes: float) -> None:
    """Train for the given minutes and write models/embedded/upscaler/model.safetensors in half precision.

    The first call makes the pairs and begins with the weights that ship, or where there are none with
    realesr-animevideov3; later ones go on from .train/upscaler.
    """
    make_pairs()
    trainer, styles = UpscalerTrainer(), {style: load_pairs(style) for style in SIDES}
    rng, start, first = np.random.default_rng(), time.monotonic(), trainer.step
    saved, totals = start, np.zeros(3)
    while (share := (time.monotonic() - start) / (minutes * 60)) < 1:
        trainer.optimizer.param_groups[0]["lr"] = compute_cosine_rate(RATE, trainer.step - first, share, warmup=30)
        style = list(SIDES)[trainer.step % len(SIDES)]
        inputs, target = sample_patches(styles[style], rng)
        totals += trainer.train_batch(style, inputs, target, trainer.step >= PIXEL_STEPS)
        if trainer.step % 50 == 0:
            rate = (trainer.step - first) / (time.monotonic() - start)
            print(f"upscaler {trainer.step}", np.round(totals / 50, 4), f"{rate:.2f} steps/s", flush=True)
            totals[:] = 0
        if time.monotonic() - saved > SAVE_SECONDS:
            saved = time.monotonic()
            trainer.save()
    trainer.save()


@torch.no_grad()
def enlarge_images(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Return images uint8 [N, 128, 128, 3] enlarged to uint8 [N, 512, 512, 3]."""
    made = [network(to_unit(image[None])).clamp(0, 1) for image in images]
    return (torch.cat(made) * 255).round().byte().permute(0, 2, 3, 1).numpy()
