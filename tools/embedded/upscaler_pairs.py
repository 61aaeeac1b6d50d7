"""Pairs for the stage "upscaler": drawings after a pass through the autoencoder, and the drawings themselves."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from PIL import Image

from .colours import PALETTE, WHITE, composite, recolour
from .paths import IMAGE_SIZE, MODEL, STATE
from .render import fit_drawing, list_bitmap_jobs, list_vector_jobs
from .vae import HELD_OUT, to_tensor

PAIRS = STATE / "upscaler"
HELD_OUT_FILE = PAIRS / "held_out.json"
SIDES = {"3d": 256, "flat": 512}
"""Side of the target images by style, in pixels."""
VIEWS = {"3d": 3, "flat": 2}
"""How many views of each drawing are kept."""
LATENT_NOISE = 0.12
"""Most noise, in deviations of the latents, that is added before decoding: the UNet's latents are not exact either."""
PATCH, BATCH = 40, 6


@dataclass(frozen=True)
class Pairs:
    """Inputs uint8 [N, 128, 128, 3] and targets uint8 [N, S, S, 3] of one style; the last `held` are held out."""

    inputs: np.ndarray
    targets: np.ndarray
    held: int


def render_large(source: str, side: int) -> np.ndarray | None:
    """Return one drawing at the given side, premultiplied uint8 [side, side, 4], or None when it cannot be used."""
    if source.startswith("<svg"):
        import resvg_py

        data = resvg_py.svg_to_bytes(svg_string=source, width=side, skip_system_fonts=True)
        image = Image.open(io.BytesIO(bytes(data)))
    else:
        image = Image.open(Path(source))
    return fit_drawing(image.convert("RGBA"), side)


def render_view(drawing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the drawing as RGB uint8, on white or a colour, recoloured or mirrored at random."""
    words = list(PALETTE)
    if rng.random() < 0.4:
        drawing = recolour(drawing, words[rng.integers(len(words))])
    ground = WHITE
    if rng.random() < 0.35:
        ground = np.clip(np.array(PALETTE[words[rng.integers(len(words))]]) + rng.normal(0, 10, 3), 0, 255)
    shown = composite(drawing, ground).round().clip(0, 255).astype(np.uint8)
    return shown[:, ::-1] if rng.random() < 0.5 else shown


@torch.no_grad()
def decode_small(vae: AutoencoderTiny, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images uint8 [N, S, S, 3] reduced to 128 px and sent through the autoencoder, uint8 [N, 128, 128, 3]."""
    small = [Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS) for image in images]
    latents = vae.encoder(to_tensor(np.stack([np.asarray(image) for image in small])))
    noise = torch.from_numpy(rng.normal(size=latents.shape)).float()
    strength = torch.from_numpy(rng.uniform(0, LATENT_NOISE, len(images))).float()[:, None, None, None]
    decoded = vae.decoder(latents + noise * strength).clamp(-1, 1)
    return ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def render_targets(style: str) -> list[str]:
    """Write .train/upscaler/STYLE-targets.npy, the views of the held-out drawings last; returns their labels."""
    bitmaps = style == "3d"
    jobs = list_bitmap_jobs() if bitmaps else list_vector_jobs("iconify-json-fluent-emoji-flat", style)
    side, rng, held = SIDES[style], np.random.default_rng(11), HELD_OUT // len(SIDES)
    known = [(job[1], drawn) for job in jobs if (drawn := render_large(job[2], side)) is not None]
    order = rng.permutation(len(known))
    chosen = [number for number in order[held:] for _ in range(VIEWS[style])] + list(order[:held])
    targets = np.lib.format.open_memmap(PAIRS / f"{style}-targets.npy", "w+", np.uint8, (len(chosen), side, side, 3))
    for place, number in enumerate(chosen):
        targets[place] = render_view(known[number][1], rng)
    targets.flush()
    print(f"{style}: {len(chosen)} targets of {len(known)} drawings", flush=True)
    return [known[number][0] for number in order[:held]]


def decode_inputs(style: str, vae: AutoencoderTiny) -> None:
    """Write .train/upscaler/STYLE-inputs.npy: the targets as the autoencoder leaves them."""
    targets, rng = np.load(PAIRS / f"{style}-targets.npy", mmap_mode="r"), np.random.default_rng(12)
    parts = [decode_small(vae, targets[begin : begin + 16], rng) for begin in range(0, len(targets), 16)]
    np.save(PAIRS / f"{style}-inputs.npy", np.concatenate(parts))


def make_pairs() -> None:
    """Write what is not there of .train/upscaler/STYLE-{targets,inputs}.npy, and .train/upscaler/held_out.json: the
    labels of the held-out drawings by style."""
    PAIRS.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderTiny.from_pretrained(MODEL / "vae").float().eval()
    labels = {style: list(found) for style, found in load_held_out().items()}
    for style in SIDES:
        if not (PAIRS / f"{style}-targets.npy").exists():
            labels[style] = render_targets(style)
            HELD_OUT_FILE.write_text(json.dumps(labels), encoding="utf-8")
        if not (PAIRS / f"{style}-inputs.npy").exists():
            decode_inputs(style, vae)


def load_held_out() -> dict[str, set[str]]:
    """Return the labels of the held-out drawings by style; none before there are pairs."""
    if not HELD_OUT_FILE.exists():
        return {}
    labels = json.loads(HELD_OUT_FILE.read_text(encoding="utf-8"))
    return {style: set(found) for style, found in labels.items()}


def load_pairs(style: str) -> Pairs:
    """Return the pairs of one style, as `make_pairs` wrote them."""
    inputs = np.load(PAIRS / f"{style}-inputs.npy", mmap_mode="r")
    targets = np.load(PAIRS / f"{style}-targets.npy", mmap_mode="r")
    return Pairs(inputs, targets, HELD_OUT // len(SIDES))


def to_unit(images: np.ndarray) -> torch.Tensor:
    """Turn RGB uint8 [N, H, W, 3] into a channels-last tensor 0..1, [N, 3, H, W]."""
    tensor = torch.from_numpy(np.array(images)).float().div_(255).permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=torch.channels_last)


def sample_patches(pairs: Pairs, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (inputs [B, 3, P, P], targets [B, 3, kP, kP]) at random places where there is something to see."""
    factor = pairs.targets.shape[1] // IMAGE_SIZE
    inputs, targets = [], []
    for number in rng.integers(0, len(pairs.inputs) - pairs.held, BATCH):
        places = [tuple(rng.integers(0, IMAGE_SIZE - PATCH + 1, 2)) for _ in range(4)]
        cuts = [pairs.inputs[number, top : top + PATCH, left : left + PATCH] for top, left in places]
        best = next((place for place in range(3) if np.ptp(cuts[place]) > 60), 3)
        (top, left), small = places[best], cuts[best]
        large = pairs.targets[number, top * factor : (top + PATCH) * factor, left * factor : (left + PATCH) * factor]
        inputs.append(small)
        targets.append(large)
    return to_unit(np.stack(inputs)), to_unit(np.stack(targets))
