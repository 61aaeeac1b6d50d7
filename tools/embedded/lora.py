"""Stage "lora": a small demonstration LoRA, one style for everything that the embedded model draws."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig
from peft.utils.save_and_load import get_peft_model_state_dict
from safetensors.torch import save_file

from .cache import encode_texts
from .colours import recolour
from .neon import TRIGGER, apply_neon
from .paths import LORA, PARTS, STATE
from .render import load_images
from .trainer import Recipe, Trainer, load_averaged_weights
from .training import get_device, move_to_device
from .unet import Dataset, compute_alphas, compute_velocity_loss, load_averaged_unet, tune_model
from .vae import to_tensor

RECIPE = Recipe("lora", rate=2e-3, batch=20, warmup=40, ema_limit=0.99)
RANK = 8
LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")
"""Names of the layers that the LoRA changes: attention, and the convolutions, without which lines cannot change."""
COUNT = 3_000
STEM = "neon_"
"""Prefix of the names of the stage's cached files."""


@torch.no_grad()
def make_images(count: int = COUNT) -> None:
    """Write .train/neon_cache.pt and .train/neon_states.npy: drawings in the style, with captions that end in its
    words."""
    rng = np.random.default_rng(23)
    items = json.loads((STATE / "items.json").read_text(encoding="utf-8"))
    weights = torch.load(STATE / "cache.pt", weights_only=True)["weights"].double().numpy()
    on_white = np.array([item[3] is None for item in items])
    shares = weights * on_white / (weights * on_white).sum()
    rows = rng.choice(len(items), min(count, int(on_white.sum())), replace=False, p=shares)
    images, _ = load_images()
    vae = move_to_device(AutoencoderTiny.from_pretrained(PARTS / "vae")).eval()
    scale = float(vae.config["scaling_factor"])
    latents, captions = [], []
    for part in np.array_split(rows, -(-len(rows) // 64)):
        drawn = []
        for number, _, colour, _, *words in (items[row] for row in part):
            drawing = recolour(images[number], colour) if colour else np.asarray(images[number])
            drawn.append(apply_neon(drawing)[:, :: int(rng.choice([-1, 1]))])
            captions.append(f"{words[int(rng.integers(len(words)))]}, {TRIGGER}")
        latents.append((vae.encoder(to_tensor(np.stack(drawn)).to(get_device())) * scale).half().cpu())
    texts = list(dict.fromkeys(["", *captions]))
    places = {text: number for number, text in enumerate(texts)}
    encode_texts(texts, STEM)
    numbers = torch.tensor([[places[text]] for text in captions])
    data = {"latents": torch.cat(latents), "captions": numbers, "weights": torch.ones(len(captions))}
    torch.save(data, STATE / f"{STEM}cache.pt")


def build_adapted_unet() -> tuple[UNet2DConditionModel, torch.nn.ParameterList]:
    """Return the trained UNet with fresh LoRA layers, and their weights, which alone are to be trained."""
    unet, _ = load_averaged_unet()
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(LAYERS)))
    return unet, torch.nn.ParameterList([value for value in unet.parameters() if value.requires_grad])


def prepare_lora() -> tuple[Trainer, Callable[[], torch.Tensor]]:
    """Return the LoRA's trainer and the loss of a fresh batch."""
    data, alphas = Dataset(STEM), compute_alphas()
    unet, learnt = build_adapted_unet()
    tune_model(unet.train())

    def compute_batch_loss() -> torch.Tensor:
        latents, states = data.batch(RECIPE.batch)
        return compute_velocity_loss(
            lambda noisy, steps: unet(noisy, steps, states, return_dict=False)[0], latents, alphas, cap=None
        )

    return Trainer(learnt, RECIPE), compute_batch_loss


def ensure_images() -> None:
    """Make the training images unless they are there."""
    if not (STATE / f"{STEM}cache.pt").exists():
        make_images()


def export_lora() -> None:
    """Write models/loras/embedded-neon.safetensors from the averaged weights, in fp16 and with its trigger words."""
    unet, learnt = build_adapted_unet()
    progress = load_averaged_weights(learnt, RECIPE.name)
    layers = get_peft_model_state_dict(unet)
    metadata = {
        "format": "pt",
        "modelspec.title": "Neon for the embedded model",
        "modelspec.trigger_phrase": TRIGGER,
        "modelspec.license": "MIT",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(RANK),
        "ss_tag_frequency": json.dumps({"neon": {TRIGGER: COUNT}}),
    }
    LORA.parent.mkdir(parents=True, exist_ok=True)
    weights = {f"unet.{name}": value.detach().half().contiguous() for name, value in layers.items()}
    save_file(weights, LORA, metadata=metadata)
    LORA.chmod(0o644)
    print(f"exported {LORA.name}, {LORA.stat().st_size / 1e6:.1f} MB, after {progress.samples:,} images")
