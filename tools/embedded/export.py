"""Stage "export": the trained parts as one StableDiffusionPipeline folder in half precision."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from .paths import MODEL, PACKAGE, PARTS
from .things import write_things
from .unet import SCHEDULE, load_averaged_unet

KEPT_FILES = (
    "MODEL_CARD.md",
    "grid.webp",
    "steering.webp",
    "examples.json",
    "LICENSE.real-esrgan",
    "upscaler/model.safetensors",
)
"""Files that other stages put beside the weights and that an export leaves in place."""
LICENCE = "LICENSE.fluent-emoji"
CHECKSUM_FILE = "SHA256SUMS"
"""Digests of the weight files, in the form that sha256sum reads; the self-check compares them."""
LIMIT_BYTES = 80_000_000


def assemble_pipeline() -> StableDiffusionPipeline:
    """Return the pipeline in float32 with the averaged UNet of the saved training state."""
    unet, _ = load_averaged_unet()
    parts: dict[str, Any] = {
        "vae": AutoencoderTiny.from_pretrained(PARTS / "vae"),
        "text_encoder": CLIPTextModel.from_pretrained(PARTS / "text_encoder"),
        "tokenizer": CLIPTokenizer.from_pretrained(PARTS / "tokenizer"),
        "unet": unet,
        "scheduler": DDIMScheduler(**SCHEDULE),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    pipeline = StableDiffusionPipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def replace_folder(fresh: Path, target: Path) -> None:
    """Put a finished folder in the place of another; a reader sees the old one or the new one."""
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def tidy_configs(folder: Path) -> None:
    """Drop what diffusers warns about and local paths, and let transformers load the text encoder in float32 unless
    another is given."""
    for part, change in (
        ("vae", {"block_out_channels": None, "_name_or_path": None}),
        ("text_encoder", {"dtype": "float32"}),
    ):
        file = folder / part / "config.json"
        settings = json.loads(file.read_text(encoding="utf-8")) | change
        kept = {name: value for name, value in settings.items() if name not in change or value is not None}
        file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def write_checksums(folder: Path) -> None:
    """Write the digests of all weight files in a model's folder."""
    weights = sorted(folder.rglob("*.safetensors"))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in weights]
    (folder / CHECKSUM_FILE).write_text("".join(sums), encoding="utf-8")


def export_vae() -> None:
    """Write models/embedded/vae alone, in fp16, from .train/parts/vae, and the checksums."""
    vae = AutoencoderTiny.from_pretrained(PARTS / "vae")
    torch.nn.Module.half(vae)
    vae.save_pretrained(MODEL / "vae", safe_serialization=True)
    tidy_configs(MODEL)
    for path in (MODEL / "vae").glob("*.safetensors"):
        path.chmod(0o644)
    write_checksums(MODEL)
    print("exported models/embedded/vae")


def export_model() -> None:
    """Write models/embedded in fp16, aside first, keeping the card, the grid and the examples."""
    fresh = MODEL.with_name(MODEL.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    assemble_pipeline().to(dtype=torch.float16).save_pretrained(fresh, safe_serialization=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy2(PARTS / "tokenizer" / name, fresh / "tokenizer" / name)
    shutil.copy2(PACKAGE / LICENCE, fresh / LICENCE)
    tidy_configs(fresh)
    for name in KEPT_FILES:
        if (MODEL / name).exists():
            (fresh / name).parent.mkdir(exist_ok=True)
            shutil.copy2(MODEL / name, fresh / name)
    for path in fresh.rglob("*.safetensors"):
        path.chmod(0o644)
    write_things(fresh)
    write_checksums(fresh)
    size = sum(path.stat().st_size for path in fresh.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        raise SystemExit(f"{size / 1e6:.1f} MB is more than the {LIMIT_BYTES / 1e6:.0f} MB that may ship")
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(fresh, MODEL)
    print(f"exported {size / 1e6:.1f} MB to {MODEL.relative_to(MODEL.parents[1])}")
