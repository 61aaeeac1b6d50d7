"""Real-ESRGAN beside Lanczos on photographs that lie inside packages: made four times smaller, enlarged again, and
compared with what they were. `python -m benchmarks upscale_quality` prints the figures that have a bar, and writes
docs/upscale.md's table and images anew.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.report import Row
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.catalog import bundled_upscaler
from studio.pipelines.upscale.upscale_image import enlarge_image, load_upscaler

PHOTOS = {
    "astronaut": ("skimage", "data/astronaut.png", (30, 0, 350, 320)),
    "coffee": ("skimage", "data/coffee.png", (130, 40, 450, 360)),
    "cat": ("skimage", "data/chelsea.png", (70, 0, 370, 300)),
    "rocket": ("skimage", "data/rocket.jpg", (200, 100, 520, 420)),
    "motorcycle": ("skimage", "data/motorcycle_left.png", (300, 120, 620, 440)),
    "cameraman": ("skimage", "data/camera.png", (100, 60, 420, 380)),
    "coins": ("skimage", "data/coins.png", (0, 0, 300, 300)),
    "temple": ("sklearn", "datasets/images/china.jpg", (60, 40, 380, 360)),
    "flower": ("sklearn", "datasets/images/flower.jpg", (160, 60, 480, 380)),
    "cheetah": ("gradio", "media_assets/images/cheetah1.jpg", None),
    "lion": ("gradio", "media_assets/images/lion.jpg", None),
    "tower": ("gradio", "media_assets/images/tower.jpg", None),
}
"""Package, file, and the part of it that is used: the middle, 320 px wide at half the size, where none is named."""
UPSCALERS = ("RealESRGAN_x4plus", "realesr-animevideov3")
SHOWN_PHOTOS = ("cat", "temple", "astronaut")
SHEET = ("given", "Lanczos", "RealESRGAN_x4plus", "original")
CROP = 148
"""px of each image on the sheet of all photographs."""
METHODS = ("Lanczos", *UPSCALERS)
SCALE = 4
PAGE = Path("docs/upscale.md")
IMAGES = Path("docs/images")
BEGIN, END = "<!-- generated: python -m benchmarks upscale_quality -->", "<!-- /generated -->"

Scores = dict[str, dict[str, tuple[float, ...]]]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        bundled_upscaler.unpack_upscalers(Path(folder))
        methods = _build_methods(Path(folder))
        scores: Scores = {}
        strips: list[Image.Image] = []
        for name, photo in load_photos():
            small = photo.resize((photo.width // SCALE, photo.height // SCALE), Image.Resampling.BICUBIC)
            made = {method: enlarger(small) for method, enlarger in methods.items()}
            scores[name] = {method: measure_quality(photo, image) for method, image in made.items()}
            print(f"| {name} | " + " | ".join(_format_cell(scores[name][method]) for method in METHODS), flush=True)
            strips.append(_draw_strip(name, photo, small, made))
            if name in SHOWN_PHOTOS:
                _draw_comparison(photo, small, made).save(IMAGES / f"upscale-{name}.webp", quality=80, method=6)
    _draw_sheet(strips).save(IMAGES / "upscale-all.webp", quality=82, method=6)
    _write_page(scores)
    return _build_rows(scores)


def load_photos() -> Iterator[tuple[str, Image.Image]]:
    """(name, RGB image of sides that four divides), of the packages that are here."""
    for name, (package, path, box) in PHOTOS.items():
        spec = importlib.util.find_spec(package)
        file = Path(next(iter(spec.submodule_search_locations or []), "")) / path if spec else Path()
        if not file.is_file():
            continue
        with Image.open(file) as image:
            source = image.convert("RGB")
        if box is None:  # a large photograph: its own fine noise would be all that is compared
            source = source.reduce(2)
            left, top = (source.width - 320) // 2, (source.height - 320) // 2
            box = (
                (left, top, left + 320, top + 320)
                if min(left, top) >= 0
                else (0, 0, source.width // 4 * 4, source.height // 4 * 4)
            )
        yield name, source.crop(box)


def measure_quality(photo: Image.Image, image: Image.Image) -> tuple[float, ...]:
    """(PSNR in dB, SSIM, GMSD, sharpness): more of the first two is nearer to the original px by px; less GMSD is more
    like it to the eye (Xue et al., 2014); sharpness is the mean slope between neighbouring px over the original's, 1
    being as sharp."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    first, second = np.asarray(photo), np.asarray(image)
    psnr = peak_signal_noise_ratio(first, second)
    ssim = structural_similarity(first, second, channel_axis=-1)
    greys = [np.asarray(one.convert("L"), np.float64) for one in (photo, image)]
    slopes = [_compute_slope(grey) for grey in greys]
    return float(psnr), float(np.asarray(ssim)), compute_gmsd(*greys), slopes[1] / slopes[0]


def _compute_slope(grey: Any) -> float:
    down, across = np.gradient(grey)
    return float(np.hypot(down, across).mean())


def compute_gmsd(first: Any, second: Any) -> float:
    """Gradient magnitude similarity deviation of two grey images in 0 to 255, with the paper's Prewitt filters at half
    the size and its constant 170."""
    from scipy.ndimage import prewitt, uniform_filter

    slopes = []
    for grey in (first, second):
        half = uniform_filter(grey, 2)[::2, ::2]
        slopes.append(np.hypot(prewitt(half, 0) / 3, prewitt(half, 1) / 3))
    likeness = (2 * slopes[0] * slopes[1] + 170) / (slopes[0] ** 2 + slopes[1] ** 2 + 170)
    return float(likeness.std())


def _build_methods(folder: Path) -> dict[str, Callable[[Image.Image], Image.Image]]:
    def build_enlarger(name: str) -> Callable[[Image.Image], Image.Image]:
        path = folder / "upscalers" / f"{name}.safetensors"
        upscaler = load_upscaler(
            WeightFile(name=name, kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size), "cpu"
        )
        return lambda small: enlarge_image(small, (small.width * SCALE, small.height * SCALE), upscaler)

    def resample(small: Image.Image) -> Image.Image:
        return small.resize((small.width * SCALE, small.height * SCALE), Image.Resampling.LANCZOS)

    return {"Lanczos": resample, **{name: build_enlarger(name) for name in UPSCALERS}}


def _draw_comparison(photo: Image.Image, small: Image.Image, made: dict[str, Image.Image]) -> Image.Image:
    """The original's middle, 200 px, then what each method made of the small one; twice as large, with names."""
    side, zoom = min(200, *photo.size), 2
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    plain = small.resize(photo.size, Image.Resampling.NEAREST)
    shown = {"given": plain, **made, "original": photo}
    sheet = Image.new("RGB", (len(shown) * (side * zoom + 4) - 4, side * zoom + 22), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, image) in enumerate(shown.items()):
        part = image.crop((left, top, left + side, top + side)).resize(
            (side * zoom, side * zoom), Image.Resampling.NEAREST
        )
        sheet.paste(part, (number * (side * zoom + 4), 22))
        pen.text((number * (side * zoom + 4) + 4, 4), name, fill="black", font_size=14)
    return sheet


def _draw_strip(name: str, photo: Image.Image, small: Image.Image, made: dict[str, Image.Image]) -> Image.Image:
    """The middle of one photograph as it was given, as each method made it, and as it was; px for px, under its
    name."""
    shown = {"given": small.resize(photo.size, Image.Resampling.NEAREST), **made, "original": photo}
    strip = Image.new("RGB", (len(SHEET) * (CROP + 3) + 9, CROP + 18), "white")
    side = min(CROP, *photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    pen = ImageDraw.Draw(strip)
    for column, which in enumerate(SHEET):
        strip.paste(shown[which].crop((left, top, left + side, top + side)), (column * (CROP + 3), 16))
        pen.text((column * (CROP + 3) + 2, 2), f"{name}: {which}" if column == 0 else which, fill="black", font_size=11)
    return strip


def _draw_sheet(strips: list[Image.Image]) -> Image.Image:
    """All strips, two side by side."""
    width, height = strips[0].size
    sheet = Image.new("RGB", (2 * width - 9, (len(strips) + 1) // 2 * height), "white")
    for number, strip in enumerate(strips):
        sheet.paste(strip, (number % 2 * width, number // 2 * height))
    return sheet


def _write_page(scores: Scores) -> None:
    head = "| photograph | " + " | ".join(METHODS) + " |\n|---|" + "---|" * len(METHODS)
    lines = [
        f"| {name} | " + " | ".join(_format_cell(one[method]) for method in METHODS) + " |"
        for name, one in scores.items()
    ]
    means = "| **mean** | " + " | ".join(_format_cell(_compute_mean(scores, method)) for method in METHODS) + " |"
    page = PAGE.read_text()
    before, rest = page.split(BEGIN, 1)
    PAGE.write_text(f"{before}{BEGIN}\n\n{head}\n" + "\n".join([*lines, means]) + f"\n\n{END}{rest.split(END, 1)[1]}")


def _format_cell(score: tuple[float, ...]) -> str:
    return f"{score[0]:.1f} · {score[1]:.3f} · {score[2]:.3f} · {score[3]:.2f}"


def _compute_mean(scores: Scores, method: str) -> tuple[float, ...]:
    return tuple(statistics.fmean(one[method][part] for one in scores.values()) for part in range(4))


def _build_rows(scores: Scores) -> list[Row]:
    plain, best = _compute_mean(scores, "Lanczos"), _compute_mean(scores, UPSCALERS[0])
    comment = (
        f"PSNR {best[0]:.1f} against {plain[0]:.1f} dB, SSIM {best[1]:.3f} against {plain[1]:.3f}, GMSD {best[2]:.3f}"
        f" against {plain[2]:.3f}"
    )
    return [
        Row("photographs that could not be compared, of ten", max(0, 10 - len(scores)), 0),
        Row(
            "sharpness that x4plus misses, over what Lanczos misses",
            abs(1 - best[3]) / abs(1 - plain[3]),
            0.6,
            "×",
            comment,
        ),
    ]
