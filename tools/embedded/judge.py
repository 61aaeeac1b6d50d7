"""Stage "judge": a small classifier of the concepts, trained on real images only, that grades the generated ones.

It learns from Fluent 3D, Fluent flat and Twemoji drawings and is itself graded on Noto drawings, which it never saw.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from .colours import PALETTE, WHITE, composite, recolour
from .concepts import load_concepts
from .convolution import replace_convolutions
from .paths import STATE
from .render import list_vector_jobs, load_images, rasterise_job
from .training import autocast, compute_cosine_rate, get_device, move_to_device

SIDE = 64
"""The judge looks at images of this side, in pixels."""
BATCH = 64
RATE = 2e-3
JUDGE_FILE = STATE / "judge.pt"
UNSEEN_STYLE = "noto"


class Judge(torch.nn.Module):
    """Convolutional classifier, RGB -1..1 [N, 3, 64, 64] -> logits [N, concepts]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        layers: list[torch.nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [
                torch.nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False),
                torch.nn.BatchNorm2d(outside),
                torch.nn.ReLU(),
                torch.nn.Conv2d(outside, outside, 3, padding=1, bias=False),
                torch.nn.BatchNorm2d(outside),
                torch.nn.ReLU(),
            ]
        self.body = torch.nn.Sequential(*layers)
        self.head = torch.nn.Linear(widths[-1], classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the pooled features, [N, 256]."""
        return self.body(images).mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, [N, concepts]."""
        return self.head(F.dropout(self.features(images), 0.2, self.training))


def list_class_labels() -> list[str]:
    """Return the label of each class: every concept, held-out ones too."""
    return [concept.label for concept in load_concepts()]


def render_styles() -> None:
    """Write .train/judge_images.npy and .json: the concepts in every style, uint8 [N, S, S, 4]."""
    wanted = set(list_class_labels())
    images, index = load_images()
    kept = [(images[number], key) for number, key in enumerate(index) if key[1] in wanted]
    for package, style in (("iconify-json-twemoji", "twemoji"), ("iconify-json-noto", UNSEEN_STYLE)):
        for job in list_vector_jobs(package, style):
            image = rasterise_job(job) if job[1] in wanted else None
            if image is not None:
                kept.append((image, (job[0], job[1])))
    np.save(STATE / "judge_pictures.npy", np.stack([image for image, _ in kept]))
    (STATE / "judge_pictures.json").write_text(json.dumps([key for _, key in kept]), encoding="utf-8")


def load_styles() -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return (images uint8 [N, S, S, 4], style of each, class number of each)."""
    places = {label: number for number, label in enumerate(list_class_labels())}
    index = json.loads((STATE / "judge_pictures.json").read_text(encoding="utf-8"))
    classes = np.array([places[label] for _, label in index])
    return np.load(STATE / "judge_pictures.npy"), [style for style, _ in index], classes


def to_judge_input(images: np.ndarray) -> torch.Tensor:
    """Turn RGB images 0..255, [N, S, S, 3] of any side, into what the judge takes."""
    tensor = torch.from_numpy(images).float().permute(0, 3, 1, 2) / 127.5 - 1
    return F.interpolate(tensor, size=(SIDE, SIDE), mode="area").to(get_device())


def augment_images(images: torch.Tensor) -> torch.Tensor:
    """Turn, scale, shift, mirror and blur a batch at random, so that the judge minds shapes and not pixels."""
    count = len(images)
    angle = torch.randn(count) * 0.12
    scale = 0.85 + torch.rand(count) * 0.4
    mirror = torch.where(torch.rand(count) < 0.5, 1.0, -1.0)
    shift = torch.randn(count, 2) * 0.06
    rows = [torch.stack([mirror * angle.cos() * scale, -angle.sin() * scale, shift[:, 0]], 1)]
    rows.append(torch.stack([mirror * angle.sin() * scale, angle.cos() * scale, shift[:, 1]], 1))
    field = F.affine_grid(torch.stack(rows, 1).to(images.device), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, field, padding_mode="border", align_corners=False)
    blurred = F.interpolate(F.avg_pool2d(moved, 2), scale_factor=2, mode="bilinear")
    moved = torch.where(torch.rand(count, 1, 1, 1, device=images.device) < 0.4, blurred, moved)
    return moved + torch.randn_like(moved) * 0.03


def build_training_set(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (images [N, 3, 64, 64], classes [N]): each drawing plain, recoloured and on coloured grounds."""
    images, styles, classes = load_styles()
    words = list(PALETTE)
    shown, labels = [], []
    for image, style, label in zip(images, styles, classes, strict=True):
        if style == UNSEEN_STYLE:
            continue
        for variant in range(6):
            changed = recolour(image, words[rng.integers(len(words))]) if variant % 2 else image
            ground = np.array(PALETTE[words[rng.integers(len(words))]]) if variant > 3 else WHITE
            shown.append(composite(changed, ground).astype(np.uint8)[::2, ::2])
            labels.append(label)
    return to_judge_input(np.stack(shown)).cpu(), torch.tensor(np.array(labels))


def train_judge(minutes: float) -> None:
    """Train for the given minutes and write .train/judge.pt."""
    render_styles()
    rng = np.random.default_rng(5)
    images, labels = build_training_set(rng)
    judge = move_to_device(Judge(len(list_class_labels()))).train()
    if get_device().type == "cpu":
        replace_convolutions(judge)
    optimizer = torch.optim.AdamW(judge.parameters(), RATE, weight_decay=0.05, fused=True)
    start, step = time.monotonic(), 0
    while (share := (time.monotonic() - start) / (minutes * 60)) < 1:
        optimizer.param_groups[0]["lr"] = compute_cosine_rate(RATE, step, share, warmup=50)
        rows = torch.from_numpy(rng.integers(0, len(labels), BATCH))
        batch = augment_images(images[rows].to(get_device())).contiguous(memory_format=torch.channels_last)
        with autocast():
            logits = judge(batch)
        loss = F.cross_entropy(logits.float(), labels[rows].to(get_device()), label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"judge {step} loss {loss.item():.3f}", flush=True)
    torch.save(judge.state_dict(), JUDGE_FILE)


def load_judge() -> Judge:
    """Return the trained judge, ready to grade."""
    judge = Judge(len(list_class_labels()))
    judge.load_state_dict(torch.load(JUDGE_FILE, map_location="cpu", weights_only=True))
    return judge.to(get_device()).eval()


@torch.no_grad()
def run_judge(judge: Judge, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (logits [N, classes], features [N, 256]) of RGB images 0..255."""
    features = torch.cat(
        [judge.features(to_judge_input(part)) for part in np.array_split(images, -(-len(images) // 64))]
    )
    return judge.head(features).cpu(), features.cpu()
