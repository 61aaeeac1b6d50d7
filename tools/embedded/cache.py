"""Stage "cache": every view of every drawing as latents, every caption as text states."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import View, build_captions, filter_uncoloured, is_held_out
from .colours import (
    BACKGROUNDS,
    PALETTE,
    WHITE,
    composite,
    compute_dominant_mask,
    compute_main_colour,
    find_nearest_name,
    recolour,
)
from .concepts import Concept, load_concepts
from .paths import LATENT_SIZE, PARTS, PRACTICE, STATE, TEXT_LENGTH, TEXT_WIDTH
from .render import load_images
from .training import get_device, move_to_device
from .vae import to_tensor

SHARES = {"plain": 0.45, "colour": 0.30, "ground": 0.17, "both": 0.08}
"""How often each kind of view is drawn on, within one style."""
STYLE_SHARES = {"3d": 0.94, "flat": 0.06}
EVERYDAY_WEIGHT = 4.0
"""How much more often an everyday concept is drawn on than another."""
VIEWS = {"3d": {"ground": 6, "both": 5, "colour": len(PALETTE)}, "flat": {"ground": 2, "both": 1, "colour": 3}}
"""How many views of each kind are kept per drawing."""
NAMED_SHARE, NAMED_DISTANCE = 0.55, 75.0
"""A drawing has a natural colour word when so much of it lies so close (sRGB distance) to that word's colour."""
NAMED_SPREAD = 60.0
"""Maximum minus minimum channel that a colour needs to go by a word other than black, white or grey."""


@dataclass(frozen=True)
class Item:
    """One training image: which drawing, how shown, its captions and how often it is drawn on."""

    image: int
    view: View
    captions: tuple[str, ...]
    weight: float


def find_natural_word(image: np.ndarray) -> str | None:
    """Return the colour word that describes a drawing as it is, or None when none does clearly."""
    mask, alpha = compute_dominant_mask(image), image[..., 3].astype(np.float32) / 255
    colour = compute_main_colour(image)
    word = find_nearest_name(colour)
    close = float(np.linalg.norm(colour - np.array(PALETTE[word]))) < NAMED_DISTANCE
    if word not in ("black", "white", "grey") and float(np.ptp(colour)) < NAMED_SPREAD:
        return None
    return word if close and mask.sum() > NAMED_SHARE * alpha.sum() else None


def choose_views(concept: Concept, style: str, natural: str | None, rng: random.Random) -> dict[str, list[View]]:
    """Choose the views of one drawing, by kind; held-out colour pairs are left out."""
    words = [word for word in PALETTE if word != natural and not is_held_out(concept.label, word)]
    if not filter_uncoloured(concept.names):
        words = []
    counts = VIEWS[style]
    grounds = rng.sample(BACKGROUNDS, counts["ground"])
    pairs = [(word, rng.choice(BACKGROUNDS)) for word in rng.sample(words, min(counts["both"], len(words)))]
    return {
        "plain": [View(style), View(style, mirrored=True)],
        "colour": [
            View(style, word, mirrored=rng.random() < 0.5)
            for word in rng.sample(words, min(counts["colour"], len(words)))
        ],
        "ground": [View(style, None, ground, rng.random() < 0.5) for ground in grounds],
        "both": [View(style, word, ground, rng.random() < 0.5) for word, ground in pairs if word != ground],
    }


def make_items() -> list[Item]:
    """Return every training image of every concept that is not held out."""
    rng = random.Random(1)
    images, index = load_images()
    places = {key: number for number, key in enumerate(index)}
    items = []
    for concept in load_concepts():
        for style, style_share in STYLE_SHARES.items():
            number = places.get((style, concept.label))
            if concept.held_out or number is None:
                continue
            natural = find_natural_word(images[number])
            for kind, views in choose_views(concept, style, natural, rng).items():
                for view in views:
                    words = build_captions(concept.names, view, natural, rng)
                    weight = style_share * SHARES[kind] / len(views) * (EVERYDAY_WEIGHT if concept.everyday else 1.0)
                    items.append(Item(number, view, tuple(words), weight))
    return items


def render_view(image: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Return the drawing as the view says, float32 RGB [S, S, 3] in 0..255; grounds vary a little around their word."""
    if view.colour:
        image = recolour(image, view.colour)
    ground = WHITE
    if view.ground:
        ground = np.clip(np.array(PALETTE[view.ground]) + rng.normal(0, 8, 3), 0, 255)
    shown = composite(image, ground)
    return shown[:, ::-1] if view.mirrored else shown


@torch.no_grad()
def encode_images(items: list[Item]) -> torch.Tensor:
    """Return the scaled latents of the items, float16 [N, 4, L, L]."""
    vae = move_to_device(AutoencoderTiny.from_pretrained(PARTS / "vae")).eval()
    scale = float(vae.config["scaling_factor"])
    images, _ = load_images()
    rng = np.random.default_rng(2)
    latents = torch.empty(len(items), 4, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
    for begin in range(0, len(items), 64):
        part = items[begin : begin + 64]
        batch = to_tensor(np.stack([render_view(images[item.image], item.view, rng) for item in part]))
        latents[begin : begin + 64] = (vae.encoder(batch.to(get_device())) * scale).half().cpu()
    return latents


@torch.no_grad()
def encode_texts(texts: list[str], stem: str = "") -> None:
    """Write the text states of the captions to .train/<stem>states.npy, float16 [N, 77, 256], unless they are there."""
    listing = STATE / f"{stem}texts.json"
    if listing.exists() and json.loads(listing.read_text(encoding="utf-8")) == texts:
        return
    tokenizer = CLIPTokenizer.from_pretrained(PARTS / "tokenizer")
    encoder = move_to_device(CLIPTextModel.from_pretrained(PARTS / "text_encoder")).eval()
    shape = (len(texts), TEXT_LENGTH, TEXT_WIDTH)
    states = np.lib.format.open_memmap(STATE / f"{stem}states.npy", "w+", np.float16, shape)
    for begin in range(0, len(texts), 256):
        part = texts[begin : begin + 256]
        tokens = tokenizer(part, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt")
        hidden = encoder(input_ids=tokens.input_ids.to(get_device())).last_hidden_state
        states[begin : begin + len(part)] = hidden.half().cpu().numpy()
    states.flush()
    listing.write_text(json.dumps(texts), encoding="utf-8")


def write_cache() -> None:
    """Write .train/cache.pt (latents, caption numbers, weights), .train/states.npy and .train/items.json."""
    items = make_items()
    texts = list(dict.fromkeys(["", *(text for item in items for text in item.captions)]))
    places = {text: number for number, text in enumerate(texts)}
    most = max(len(item.captions) for item in items)
    rows = [[places[text] for text in item.captions] for item in items]
    numbers = torch.tensor([row + row[:1] * (most - len(row)) for row in rows])
    encode_texts(texts)
    latents = encode_images(items)
    weights = torch.tensor([item.weight for item in items])
    torch.save({"latents": latents, "captions": numbers, "weights": weights}, STATE / "cache.pt")
    PRACTICE.unlink(missing_ok=True)
    listing = [[item.image, item.view.style, item.view.colour, item.view.ground, *item.captions] for item in items]
    (STATE / "items.json").write_text(json.dumps(listing), encoding="utf-8")
    mean, deviation = latents.float().mean((0, 2, 3)).tolist(), latents.float().std((0, 2, 3)).tolist()
    print(f"{len(items)} images, {len(texts)} captions, latent mean {mean}, deviation {deviation}")
