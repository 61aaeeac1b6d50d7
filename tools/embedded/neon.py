"""The demonstration style: glowing lines in a drawing's own colours on a dark ground, and how near an image is to
it."""

from __future__ import annotations

import cv2
import numpy as np

TRIGGER = "neon style"
GROUND = np.array([10.0, 8.0, 30.0], np.float32)
"""sRGB, 0..255, of the night behind the lines."""
GLOW = 3.5
"""Deviation of the glow, in pixels."""
STRENGTH = 90.0
"""Jump of a channel, 0..255 per pixel, that gives a line of full brightness."""


def apply_neon(image: np.ndarray) -> np.ndarray:
    """Redraw a premultiplied RGBA drawing, uint8 [S, S, 4], as neon tubes: float32 RGB 0..255, [S, S, 3]."""
    pixels = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.8)
    across, down = cv2.Sobel(pixels, cv2.CV_32F, 1, 0) / 4, cv2.Sobel(pixels, cv2.CV_32F, 0, 1) / 4
    jump = np.hypot(across, down).max(-1)
    lines = np.clip(jump / STRENGTH, 0, 1) ** 1.2
    near = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 2.0)
    colour = near[..., :3] / np.maximum(near[..., 3:] / 255, 0.05)
    colour = colour - 0.6 * colour.min(-1, keepdims=True)
    colour *= 255 / np.maximum(colour.max(-1, keepdims=True), 24)
    light = lines[..., None] * np.clip(colour, 0, 255)
    glow = cv2.GaussianBlur(light, (0, 0), GLOW)
    core = np.clip(lines - 0.5, 0, 1)[..., None] * 110
    return np.clip(GROUND + light + 0.9 * glow + core, 0, 255).astype(np.float32)


def compute_palette_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return how far the colours of two images of one size lie apart, 0..1, wherever in the image they are.

    It is the first Wasserstein distance of the two distributions of values, averaged over the channels.

    Args:
        first: RGB 0..255, [S, S, 3].
        second: Like `first`.
    """
    one, two = (np.sort(image.reshape(-1, 3).astype(np.float32), axis=0) for image in (first, second))
    return float(np.abs(one - two).mean() / 255)
