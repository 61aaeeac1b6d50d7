"""Colour words: the palette, recolouring a drawing, compositing and naming a colour."""

from __future__ import annotations

import numpy as np

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (225, 50, 50),
    "orange": (248, 140, 40),
    "yellow": (252, 208, 55),
    "green": (75, 175, 75),
    "blue": (60, 115, 230),
    "purple": (145, 85, 200),
    "pink": (248, 150, 195),
    "brown": (135, 90, 60),
    "black": (48, 48, 52),
    "white": (242, 242, 245),
    "grey": (150, 150, 155),
}
"""Basic colour terms and the sRGB values (0..255) that stand for them."""
BACKGROUNDS = tuple(name for name in PALETTE if name not in ("white", "brown"))
WHITE = np.array([255.0, 255.0, 255.0], np.float32)
CHROMATIC_SPREAD = 40.0
"""Maximum minus minimum channel, 0..255, from which a pixel counts as coloured."""
HUE_WINDOW = 50.0
"""Degrees around the dominant hue that are recoloured with it."""


def composite(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Lay a premultiplied RGBA image (uint8 [H, W, 4]) over one colour (0..255); float32 [H, W, 3] in 0..255."""
    pixels = image.astype(np.float32)
    return pixels[..., :3] + (1 - pixels[..., 3:] / 255) * background


def compute_hue(rgb: np.ndarray) -> np.ndarray:
    """Return the hue in degrees, 0..360, of colours [..., 3]; grey gives 0."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360


def compute_dominant_mask(image: np.ndarray) -> np.ndarray:
    """Return how much each pixel carries the drawing's main colour, float32 [H, W] in 0..1.

    The main colour is the hue with the most coloured pixels; a drawing that is mostly grey or white counts whole.
    """
    alpha = image[..., 3].astype(np.float32) / 255
    rgb = image[..., :3].astype(np.float32) / np.maximum(alpha, 1e-3)[..., None]
    spread = rgb.max(-1) - rgb.min(-1)
    coloured = np.clip((spread - CHROMATIC_SPREAD / 2) / CHROMATIC_SPREAD, 0, 1) * alpha
    hue = compute_hue(rgb)
    counts, edges = np.histogram(hue, bins=36, range=(0, 360), weights=coloured)
    smooth = counts + np.roll(counts, 1) + np.roll(counts, -1)
    main = (edges[smooth.argmax()] + 5) % 360
    distance = np.abs((hue - main + 180) % 360 - 180)
    mask = coloured * np.clip((HUE_WINDOW - distance) / 15, 0, 1)
    return mask if mask.sum() > 0.25 * alpha.sum() else alpha


def compute_main_colour(image: np.ndarray) -> np.ndarray:
    """Return the mean sRGB (float32 [3], 0..255) of the drawing's main colour."""
    mask = compute_dominant_mask(image)
    alpha = np.maximum(image[..., 3:].astype(np.float32) / 255, 1e-3)
    rgb = image[..., :3].astype(np.float32) / alpha
    return (rgb * mask[..., None]).sum((0, 1)) / max(float(mask.sum()), 1e-3)


def find_nearest_name(rgb: np.ndarray) -> str:
    """Return the palette word closest to an sRGB colour (0..255)."""
    values = np.array(list(PALETTE.values()), np.float32)
    return list(PALETTE)[int(((values - rgb) ** 2).sum(-1).argmin())]


def recolour(image: np.ndarray, name: str) -> np.ndarray:
    """Give the drawing's main colour another one, keeping its light and shade.

    Pixels darker than the main colour's median become shades of the target, lighter ones tints of it.

    Args:
        image: Premultiplied RGBA, uint8 [H, W, 4].
        name: A word of PALETTE.

    Returns:
        Premultiplied RGBA, uint8 [H, W, 4].
    """
    mask = compute_dominant_mask(image)
    alpha = image[..., 3].astype(np.float32) / 255
    rgb = image[..., :3].astype(np.float32) / np.maximum(alpha, 1e-3)[..., None]
    light = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    solid = mask > 0.5 * max(float(mask.max()), 1e-3)
    median = max(float(np.median(light[solid])), 1.0)
    relative = (light / median)[..., None]
    target = np.array(PALETTE[name], np.float32)
    shade = target * np.clip(relative, 0, 1) ** 0.8
    highlight = np.clip((relative - 1) / max(255 / median - 1, 0.25), 0, 1) * 0.75
    painted = shade + (255 - shade) * highlight
    weight = np.clip(mask / np.maximum(alpha, 1e-3), 0, 1)[..., None]
    mixed = (rgb + (painted - rgb) * weight) * alpha[..., None]
    return np.concatenate([mixed.round().clip(0, 255).astype(np.uint8), image[..., 3:]], -1)
