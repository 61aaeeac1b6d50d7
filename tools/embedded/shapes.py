"""Pairs of an image and its edges for the ControlNet: drawings bent into new shapes, encoded once."""

from __future__ import annotations

import json
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from .cache import encode_texts, render_view
from .captions import View, build_caption
from .concepts import load_concepts
from .edges import detect_edges
from .paths import IMAGE_SIZE, LATENT_SIZE, PARTS, STATE
from .render import load_images
from .training import autocast, get_device, move_to_device
from .vae import split_indices, to_tensor

COUNT = 16_000
STRANGE_SHARE = 0.25
"""Share of drawings that the UNet never saw: only the edges show their shape."""
PLAIN_SHARE, OUTLINE_SHARE = 0.2, 0.15
"""Share of images that keep their shape, and of those shown by their outline alone, as a scribble would."""
BEND, SHIFT = 0.132, 0.088
"""How far, in sides of the image, each corner of a drawing moves, and how far the whole."""
SHAPES_FILE = STATE / "shapes.pt"
NAMES_PREFIX = "shape_"
"""Prefix of the text files of the unusual drawings' names."""
FLAT_SHARE = 0.15
"""Share of flat drawings among the strange ones."""


@dataclass(frozen=True)
class Shape:
    """One image to make: which drawing, how shown, and the number of its caption."""

    image: int
    view: View
    caption: int


def bend_drawing(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move the corners of a premultiplied RGBA drawing, uint8 [S, S, 4], at random; what leaves the image is lost."""
    side = image.shape[0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    middle = side / 2
    angle, scale = rng.normal(0, 0.25), rng.uniform(0.65, 1.1)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - middle) @ turn.T + middle + rng.uniform(-BEND, BEND, (4, 2)) * side
    moved += rng.uniform(-SHIFT, SHIFT, (1, 2)) * side
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return cv2.warpPerspective(image, matrix, (side, side), flags=cv2.INTER_LINEAR)


def find_unseen_drawings() -> tuple[list[int], list[int]]:
    """Return the numbers of the drawings that the UNet never saw: those to train the ControlNet on, those kept from
    it."""
    _, index = load_images()
    concepts = {concept.label: concept.held_out for concept in load_concepts()}
    _, held = split_indices(len(index))
    kept = {label for label, held_out in concepts.items() if held_out} | {index[number][1] for number in held}
    strange = [number for number, (_, label) in enumerate(index) if label not in concepts and label not in kept]
    known = [number for number in held.tolist() if index[number][1] not in concepts]
    known += [number for number, (_, label) in enumerate(index) if concepts.get(label)]
    return strange, known


def choose_shapes(rng: np.random.Generator, count: int) -> tuple[list[Shape], list[str]]:
    """Choose what to show; returns the images and the names that the caption numbers beyond the cached ones mean."""
    items = json.loads((STATE / "items.json").read_text(encoding="utf-8"))
    texts = {text: number for number, text in enumerate(json.loads((STATE / "texts.json").read_text(encoding="utf-8")))}
    weights = torch.load(STATE / "cache.pt", weights_only=True)["weights"].double().numpy()
    rows = rng.choice(len(items), count, p=weights / weights.sum())
    _, index = load_images()
    strange, _ = find_unseen_drawings()
    styled = {style: [number for number in strange if index[number][0] == style] for style in ("3d", "flat")}
    names: dict[str, int] = {}
    shapes = []
    for row in rows:
        number, style, colour, ground, *captions = items[row]
        if rng.random() < STRANGE_SHARE:
            style = "flat" if rng.random() < FLAT_SHARE else "3d"
            number = int(rng.choice(styled[style]))
            view = View(style, colour, ground)
            text = build_caption(index[number][1], view)
            shapes.append(Shape(number, view, len(texts) + names.setdefault(text, len(names))))
        else:
            text = captions[int(rng.random() ** 2 * len(captions))]
            shapes.append(Shape(number, View(style, colour, ground, bool(rng.random() < 0.5)), texts[text]))
    return shapes, list(names)


def make_image_and_edges(drawing: np.ndarray, view: View, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a drawing in a new shape, uint8 RGB [S, S, 3], and its edges, bool [S, S]."""
    if rng.random() > PLAIN_SHARE:
        drawing = bend_drawing(drawing, rng)
    shown = render_view(drawing, view, rng).round().clip(0, 255).astype(np.uint8)
    if rng.random() < OUTLINE_SHARE:
        alpha = drawing[:, ::-1, 3] if view.mirrored else drawing[..., 3]
        return shown, detect_edges(np.repeat(alpha[..., None], 3, axis=-1))
    return shown, detect_edges(np.ascontiguousarray(shown))


@torch.no_grad()
def make_shapes(count: int = COUNT) -> None:
    """Write .train/shapes.pt: latents [N, 4, L, L], packed edges [N, S * S / 8] and caption numbers [N]."""
    rng = np.random.default_rng(17)
    shapes, names = choose_shapes(rng, count)
    encode_texts(names, NAMES_PREFIX)
    images, _ = load_images()
    images = np.asarray(images)
    vae = move_to_device(AutoencoderTiny.from_pretrained(PARTS / "vae")).eval()
    scale = float(vae.config["scaling_factor"])
    latents = torch.empty(count, 4, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
    edges = np.empty((count, IMAGE_SIZE * IMAGE_SIZE // 8), np.uint8)
    for begin in range(0, count, 64):
        part = shapes[begin : begin + 64]
        made = [make_image_and_edges(images[shape.image], shape.view, rng) for shape in part]
        edges[begin : begin + len(part)] = [np.packbits(lines) for _, lines in made]
        with autocast():
            encoded = vae.encoder(to_tensor(np.stack([shown for shown, _ in made])).to(get_device()))
        latents[begin : begin + len(part)] = (encoded.float() * scale).half().cpu()
        if begin % 1600 == 0:
            print(f"shapes {begin}", flush=True)
    numbers = torch.tensor([shape.caption for shape in shapes])
    torch.save({"latents": latents, "edges": torch.from_numpy(edges), "captions": numbers}, SHAPES_FILE)
