"""How much memory weights take before they are loaded, from the headers of their files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import ModelBroken, OutOfMemory
from studio.core.ports import LoadOptions
from studio.core.weight_reading import AVERAGES
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines import device_memory
from studio.pipelines.catalog.file_headers import count_tensor_bytes, read_header
from studio.pipelines.catalog.model_folders import list_loaded_files
from studio.pipelines.device_memory import GIB

_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes of a number
_CONVERTED = ("F8", "F16", "BF16", "F32", "F64")  # how the names of the formats begin that become another
_SMALL = {"F16": "float16", "BF16": "bfloat16"}
_COUNTS = ("I64", "I32", "BOOL")  # of positions
# Tables that a training leaves in single files, which are computed anew.
_NO_WEIGHTS = (AVERAGES, "betas", "alphas_cumprod", "sqrt_", "log_one_", "posterior_", "denoiser.", "logvar", "lvlb_")
_DENOISER = "model.diffusion_model."
_DENOISERS = ("unet", "transformer")  # folders


def estimate_loaded_bytes(weight: WeightFile, options: LoadOptions) -> int:
    """Bytes that the weights of a checkpoint take once they are loaded as `options` say. Parts that lie in other files
    than a single file's own are not counted; GGUF stays as small as it is; what cannot be read counts as on disk, since
    its loader says best what is wrong with it."""
    if weight.path.suffix.lower() == ".gguf":
        return weight.bytes
    try:
        return sum(_count_bytes(file, header, options) for file, header in _read_headers(weight))
    except (ModelBroken, OSError):
        return weight.bytes


def find_storage(weight: WeightFile) -> str:
    """The torch dtype of 16 bits that all weights of a checkpoint are written in, "" where there is none or which of
    them are the denoiser's is unknown."""
    try:
        headers = [header for _, header in _read_headers(weight)]
    except (ModelBroken, OSError):
        return ""
    dtypes = [(name, dtype) for header in headers for name, dtype in header.dtypes.items()]
    kinds = {dtype for name, dtype in dtypes if not name.startswith(_NO_WEIGHTS) and dtype not in _COUNTS}
    has_denoiser = weight.is_folder or any(name.startswith(_DENOISER) for name, _ in dtypes)
    return _SMALL.get(kinds.pop(), "") if len(kinds) == 1 and has_denoiser else ""


def measure_room(room: int, idle: int) -> int:
    """Bytes that a load may take where the memory limit leaves `room`: no more than this machine has, once `idle` bytes
    of other models have left."""
    return min(room, device_memory.read_free_with_swap() + idle)


def check_room(title: str, wanted: int, room: int, device: str, idle: int = 0) -> None:
    """Refuse a load of `wanted` bytes where the memory limit leaves `room` bytes, or the machine has less once `idle`
    bytes of other models have left. On a graphics card nothing is refused: what is too large for it waits outside.

    Raises:
        OutOfMemory: with both figures in its details.
    """
    available = max(0, measure_room(room, idle))
    if device != "cpu" or wanted <= available:
        return
    details = {"requested": wanted, "available": available}
    # Up and down: a limit of the number shown is enough, and the two never look the same.
    needed, there = -(-10 * wanted // GIB) / 10, 10 * available // GIB / 10
    if room <= available:
        raise OutOfMemory(
            f"{title} needs {needed:.1f} GiB of memory; the memory limit leaves {there:.1f} GiB.",
            hint="Raise the memory limit in Configurations, or choose a smaller model.",
            details=details,
        )
    raise OutOfMemory(
        f"{title} needs {needed:.1f} GiB of memory; {there:.1f} GiB are free.",
        hint="Close other programs, or choose a smaller model.",
        details=details,
    )


def _read_headers(weight: WeightFile) -> Iterator[tuple[Path, SafetensorsHeader]]:
    """The files that a checkpoint is read from, and their headers.

    Raises:
        ModelBroken, OSError: one cannot be read.
    """
    if not weight.is_folder:
        yield weight.path, weight.header or read_header(weight.path)
        return
    for file in list_loaded_files(weight.path):
        yield file, read_header(file)


def _count_bytes(file: Path, header: SafetensorsHeader, options: LoadOptions) -> int:
    width = _WIDTHS[options.dtype]
    denoiser_width = _WIDTHS.get(options.storage, width)  # weights in 8 bits are read in more
    total = 0
    for name, shape in header.shapes.items():
        dtype = header.dtypes[name]
        if name.startswith(AVERAGES):
            continue
        if dtype.startswith(_CONVERTED):
            is_denoiser = name.startswith(_DENOISER) or file.parent.name in _DENOISERS
            total += (denoiser_width if is_denoiser else width) * math.prod(shape)
        else:
            total += count_tensor_bytes(dtype, shape)
    return total
