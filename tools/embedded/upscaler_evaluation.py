"""Stage "upscaler-eval": how near the upscaler comes to the drawings, beside Lanczos and the network it began with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import laplace

from benchmarks.upscale_quality import measure_quality

from .paths import IMAGE_SIZE
from .upscaler import SCALE, START, UPSCALER, enlarge_images, load_upscaler
from .upscaler_pairs import SIDES, load_pairs

MEASURES = ("PSNR", "SSIM", "GMSD", "slope", "Laplacian")
"""The first four as docs/upscale.md says; the last is the variance of the Laplacian as a share of the drawings' own."""
BEGINNING = "realesr-animevideov3"
"""The network that ours began with."""
Enlarge = Callable[[np.ndarray], np.ndarray]


def enlarge_by_lanczos(image: np.ndarray) -> np.ndarray:
    """Return an image uint8 [128, 128, 3] resampled to uint8 [512, 512, 3]."""
    size = (IMAGE_SIZE * SCALE, IMAGE_SIZE * SCALE)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def build_methods() -> dict[str, Enlarge]:
    """Return what is compared, by name."""
    networks = {BEGINNING: load_upscaler(START), "ours": load_upscaler(UPSCALER)}
    return {
        "Lanczos": enlarge_by_lanczos,
        **{
            name: (lambda image, network=network: enlarge_images(network, image[None])[0])
            for name, network in networks.items()
        },
    }


def measure_laplacian(image: Image.Image) -> float:
    """Return the variance of the Laplacian of an image's grey values, a measure of focus."""
    return float(laplace(np.asarray(image.convert("L"), np.float32)).var())


def measure_method(enlarge: Enlarge, style: str, count: int) -> tuple[np.ndarray, float]:
    """Return the first four of MEASURES for held-out drawings of one style, at the side that these have, [N, 4], and
    the last one over all of them."""
    pairs = load_pairs(style)
    numbers = range(len(pairs.inputs) - pairs.held, len(pairs.inputs) - pairs.held + min(count, pairs.held))
    rows, sharp = [], np.zeros(2)
    for number in numbers:
        target = Image.fromarray(pairs.targets[number])
        made = Image.fromarray(enlarge(pairs.inputs[number])).resize(target.size, Image.Resampling.BOX)
        rows.append(measure_quality(target, made))
        sharp += [measure_laplacian(made), measure_laplacian(target)]
    return np.array(rows), sharp[0] / sharp[1]


def format_gain(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Write the mean of paired differences [N] with the half-width of its 95 % interval."""
    difference = ours - theirs
    return f"{difference.mean():+.4f} ± {1.96 * difference.std(ddof=1) / len(difference) ** 0.5:.4f}"


def measure_upscaler(count: int = 100) -> None:
    """Print the measures of each method on `count` held-out drawings of each style, none of them trained on, and how
    far ours is from the network it began with."""
    for style in SIDES:
        print(f"{style}, {SIDES[style]} px: {', '.join(MEASURES)}")
        rows: dict[str, np.ndarray] = {}
        for name, enlarge in build_methods().items():
            rows[name], sharpness = measure_method(enlarge, style, count)
            print(f"  {name:22}", *(f"{value:8.3f}" for value in (*rows[name].mean(0), sharpness)), flush=True)
        gains = [format_gain(ours, theirs) for ours, theirs in zip(rows["ours"].T, rows[BEGINNING].T, strict=True)]
        print(f"  ours - {BEGINNING}:", ", ".join(gains), flush=True)
