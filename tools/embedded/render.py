"""Stage "render": every package image as a 128 px premultiplied RGBA array."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

from .concepts import load_emoji, make_slug, normalize_code
from .paths import IMAGE_SIZE, RAW, STATE

FILL = 0.90
"""Share of the image's side that the longer side of the drawing takes."""
MAX_ELONGATION = 4.5
SKIN_TONE_CODE = re.compile(r"1f3f[b-f]")

Job = tuple[str, str, str]
"""(style, emoji label, SVG text or path of a bitmap)"""


def list_bitmap_jobs() -> Iterator[Job]:
    """Yield the Fluent 3D bitmaps that have an English label."""
    labels = {emoji.code: emoji.label for emoji in load_emoji()}
    folder = next(RAW.glob("lobehub-fluent-emoji-3d-*/package/assets"))
    for path in sorted(folder.glob("*.webp")):
        label = labels.get(normalize_code(path.stem))
        if label and not SKIN_TONE_CODE.search(path.stem):
            yield "3d", label, str(path)


def list_vector_jobs(package: str, style: str) -> Iterator[Job]:
    """Yield the icons of an Iconify package whose names are emoji labels."""
    labels = {make_slug(emoji.label): emoji.label for emoji in load_emoji()}
    icons = json.loads(next(RAW.glob(f"{package}-[0-9]*/package/icons.json")).read_text(encoding="utf-8"))
    for name, icon in icons["icons"].items():
        label = labels.get(make_slug(name))
        if label is None:
            continue
        width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
        namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        yield style, label, f'<svg {namespaces} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'


def fit_drawing(image: Image.Image, side: int = IMAGE_SIZE) -> np.ndarray | None:
    """Crop to the drawing and centre it; None for an empty or very elongated one.

    Returns:
        Premultiplied RGBA, uint8 [side, side, 4]: no colour above its alpha, so that laid over a ground nothing leaves
        0..255.
    """
    visible = np.asarray(image.getchannel("A")) > 8
    box = Image.fromarray(visible).getbbox()
    if box is None:
        return None
    image = image.crop(box).convert("RGBa")  # premultiplied, and resized as such; Pillow would multiply RGBA once more
    longer = max(image.size)
    if longer > MAX_ELONGATION * min(image.size):
        return None
    scale = FILL * side / longer
    width, height = (max(1, round(length * scale)) for length in image.size)
    square = np.zeros((side, side, 4), np.uint8)
    left, top = (side - width) // 2, (side - height) // 2
    pixels = np.array(image.resize((width, height), Image.Resampling.LANCZOS))
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])  # the filter swings past it at edges
    square[top : top + height, left : left + width] = pixels
    return square


def rasterise_job(job: Job) -> np.ndarray | None:
    """Rasterise one job; None when it cannot be used."""
    _, _, source = job
    if source.startswith("<svg"):
        import resvg_py

        data = resvg_py.svg_to_bytes(svg_string=source, width=IMAGE_SIZE * 2, skip_system_fonts=True)
        image = Image.open(io.BytesIO(bytes(data)))
    else:
        image = Image.open(Path(source))
    return fit_drawing(image.convert("RGBA"))


def render_images() -> None:
    """Write .train/pictures.npy (uint8 [N, S, S, 4], premultiplied) and .train/pictures.json ([style, label] each)."""
    jobs = [*list_bitmap_jobs(), *list_vector_jobs("iconify-json-fluent-emoji-flat", "flat")]
    with Pool() as pool:
        drawn = pool.map(rasterise_job, jobs, chunksize=32)
    kept = [(job, pixels) for job, pixels in zip(jobs, drawn, strict=True) if pixels is not None]
    np.save(STATE / "pictures.npy", np.stack([pixels for _, pixels in kept]))
    index = [[style, label] for (style, label, _), _ in kept]
    (STATE / "pictures.json").write_text(json.dumps(index), encoding="utf-8")
    print(f"rendered {len(kept)} of {len(jobs)} images")


def load_images() -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Return (images uint8 [N, S, S, 4], [(style, label), ...]) as `render` wrote them."""
    index = json.loads((STATE / "pictures.json").read_text(encoding="utf-8"))
    return np.load(STATE / "pictures.npy", mmap_mode="r"), [(style, label) for style, label in index]
