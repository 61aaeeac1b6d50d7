"""Pairs for the stage "upscaler": drawings after a pass through the autoencoder, some of them also redrawn by the UNet,
and the drawings themselves."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from PIL import Image

from .cache import render_view
from .captions import View, build_caption, filter_uncoloured
from .colours import PALETTE
from .concepts import load_concepts
from .paths import IMAGE_SIZE, MODEL, STATE
from .render import fit_drawing, list_bitmap_jobs, list_vector_jobs
from .sampling import GUIDANCE, STEPS
from .vae import HELD_OUT, to_tensor

PAIRS = STATE / "upscaler"
HELD_OUT_FILE = PAIRS / "held_out.json"
SIDES = {"3d": 256, "flat": 512}
"""Side of the target images by style, in pixels."""
VIEWS = {"3d": 3, "flat": 2}
"""How many views of each drawing are kept."""
LATENT_NOISE = 0.12
"""Most noise, in deviations of the latents, that is added before decoding: the UNet's latents are not exact either."""
REDRAWN = (0.25, 0.55)
"""Strengths at which the UNet redraws every other view that it has a caption for: it stains flat areas as the
autoencoder alone does not."""
ASTRAY = 12.0
"""Mean difference, 0..255, of a redrawn view from the drawing from which on it shows something else."""
PATCH, BATCH, DECODED = 40, 6, 16


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


def choose_view(style: str, rng: np.random.Generator) -> View:
    """Return a view on white or a colour, recoloured or mirrored at random."""
    words = list(PALETTE)
    colour = words[rng.integers(len(words))] if rng.random() < 0.4 else None
    ground = words[rng.integers(len(words))] if rng.random() < 0.35 else None
    return View(style, colour, ground, mirrored=rng.random() < 0.5)


def find_names() -> dict[str, tuple[str, ...]]:
    """Return the names of what the UNet learnt, by label."""
    return {concept.label: concept.names for concept in load_concepts() if not concept.held_out}


def describe_view(names: tuple[str, ...], view: View) -> str | None:
    """Return a caption that the UNet learnt for such a view; None where there is none."""
    usable = filter_uncoloured(names) if view.colour else names
    return build_caption(usable[0], view) if usable else None


def reduce_images(images: np.ndarray) -> torch.Tensor:
    """Reduce images uint8 [N, S, S, 3] to a tensor -1..1, [N, 3, 128, 128]."""
    small = [Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS) for image in images]
    return to_tensor(np.stack([np.asarray(image) for image in small]))


@torch.no_grad()
def decode_small(vae: AutoencoderTiny, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images uint8 [N, S, S, 3] reduced to 128 px and sent through the autoencoder, uint8 [N, 128, 128, 3]."""
    latents = vae.encoder(reduce_images(images))
    noise = torch.from_numpy(rng.normal(size=latents.shape)).float()
    strength = torch.from_numpy(rng.uniform(0, LATENT_NOISE, len(images))).float()[:, None, None, None]
    decoded = vae.decoder(latents + noise * strength).clamp(-1, 1)
    return ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def load_pipeline() -> StableDiffusionImg2ImgPipeline:
    """Return the model that ships, for redrawing."""
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(MODEL).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def redraw_small(
    pipeline: StableDiffusionImg2ImgPipeline, images: np.ndarray, captions: list[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (images uint8 [N, S, S, 3] reduced to 128 px and redrawn by their captions, uint8 [N, 128, 128, 3]; which
    of them still show the same, bool [N])."""
    small = (reduce_images(images) + 1) / 2
    made = pipeline(
        captions,
        image=small,
        strength=float(rng.uniform(*REDRAWN)),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(int(rng.integers(2**31))),
        output_type="np",
    )
    redrawn = np.asarray(made.images)  # pyright: ignore[reportAttributeAccessIssue] - a tuple only where asked for
    same = np.abs(redrawn - small.permute(0, 2, 3, 1).numpy()).mean((1, 2, 3)) * 255 < ASTRAY
    return (redrawn * 255).round().astype(np.uint8), same


def render_targets(style: str) -> list[str]:
    """Write .train/upscaler/STYLE-targets.npy, the views of the held-out drawings last, and STYLE-captions.json, a
    caption or none for each; returns the labels of the held-out."""
    bitmaps = style == "3d"
    jobs = list_bitmap_jobs() if bitmaps else list_vector_jobs("iconify-json-fluent-emoji-flat", style)
    side, rng, held = SIDES[style], np.random.default_rng(11), HELD_OUT // len(SIDES)
    known = [(job[1], drawn) for job in jobs if (drawn := render_large(job[2], side)) is not None]
    order = rng.permutation(len(known))
    chosen = [number for number in order[held:] for _ in range(VIEWS[style])] + list(order[:held])
    targets = np.lib.format.open_memmap(PAIRS / f"{style}-targets.npy", "w+", np.uint8, (len(chosen), side, side, 3))
    names, captions = find_names(), list[str | None]()
    for place, number in enumerate(chosen):
        label, drawing = known[number]
        view = choose_view(style, rng)
        targets[place] = render_view(drawing, view, rng).round().clip(0, 255)
        captions.append(describe_view(names[label], view) if label in names else None)
    targets.flush()
    (PAIRS / f"{style}-captions.json").write_text(json.dumps(captions), encoding="utf-8")
    print(f"{style}: {len(chosen)} targets of {len(known)} drawings", flush=True)
    return [known[number][0] for number in order[:held]]


def decode_inputs(style: str, vae: AutoencoderTiny) -> None:
    """Write .train/upscaler/STYLE-inputs.npy: the targets as the autoencoder leaves them, or redrawn."""
    targets, rng = np.load(PAIRS / f"{style}-targets.npy", mmap_mode="r"), np.random.default_rng(12)
    parts = [decode_small(vae, targets[begin : begin + DECODED], rng) for begin in range(0, len(targets), DECODED)]
    inputs = np.concatenate(parts)
    redraw_inputs(style, targets, inputs)
    np.save(PAIRS / f"{style}-inputs.npy", inputs)


def redraw_inputs(style: str, targets: np.ndarray, inputs: np.ndarray) -> None:
    """Put what the model that ships makes of every other view that has a caption in the place of its input; not of
    those that are held out, whose measures stay those of the autoencoder."""
    captions = json.loads((PAIRS / f"{style}-captions.json").read_text(encoding="utf-8"))
    trained = captions[: len(captions) - HELD_OUT // len(SIDES)]
    numbers = [number for number, caption in enumerate(trained) if caption][::2]
    pipeline, rng, count = load_pipeline(), np.random.default_rng(13), 0
    for begin in range(0, len(numbers), DECODED):
        part = numbers[begin : begin + DECODED]
        made, same = redraw_small(pipeline, targets[part], [captions[number] for number in part], rng)
        inputs[np.array(part)[same]] = made[same]
        count += int(same.sum())
    print(f"{style}: {count} of {len(numbers)} redrawn views show the same and are learnt from", flush=True)


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
