"""Colours of one image for another, in CIE L*a*b*: lightness stays apart from colour there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

_LIGHT_STRENGTH = 0.5  # of the way to the lighting image's lightness and colour: all of it looks like a filter
_CONTRAST_RANGE = (0.6, 1.6)  # how far contrast may be drawn together or apart
_COLOUR_BLUR = 2.0  # px; colour may be soft where lightness is sharp


def transfer_colours(was: Image.Image, drawn: Image.Image) -> Image.Image:
    """The colours of `drawn` on the shapes of `was`: its lightness, shifted to the mean that was drawn. Both RGB, one
    size."""
    import cv2

    old, new = _rgb_to_lab(was), _rgb_to_lab(drawn)
    lightness = old[..., :1] - old[..., :1].mean() + new[..., :1].mean()
    colours = cv2.GaussianBlur(new[..., 1:], (0, 0), _COLOUR_BLUR)
    return _lab_to_rgb(lightness, colours)


def relight_image(image: Image.Image, light: Image.Image) -> Image.Image:
    """`image` (RGB) half-way to the lightness, contrast and colour cast of `light`, by mean and spread (Reinhard et
    al., "Color Transfer between Images", 2001)."""
    lab, other = _rgb_to_lab(image), _rgb_to_lab(light)
    mean, spread = lab.mean((0, 1)), lab.std((0, 1))
    ratio = (other.std((0, 1)) / spread.clip(1e-3)).clip(*_CONTRAST_RANGE)
    moved = lab + _LIGHT_STRENGTH * ((lab - mean) * ratio + other.mean((0, 1)) - lab)
    return _lab_to_rgb(moved[..., :1], moved[..., 1:])


def _rgb_to_lab(image: Image.Image) -> np.ndarray:
    import cv2
    import numpy as np

    return cv2.cvtColor(np.asarray(image, dtype=np.float32) / 255, cv2.COLOR_RGB2LAB)


def _lab_to_rgb(lightness: np.ndarray, colours: np.ndarray) -> Image.Image:
    import cv2
    import numpy as np

    lab = np.concatenate([lightness.clip(0, 100), colours], axis=-1).astype(np.float32)
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return Image.fromarray((rgb.clip(0, 1) * 255).round().astype(np.uint8))
