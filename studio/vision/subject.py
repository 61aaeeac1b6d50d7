"""The subject of an image as a soft mask, in a twentieth of a second on two cores: the foreground network on a small
input.

U²-Net is fully convolutional, but its file declares an input of 320 × 320 px, for which it takes five times as long.
The declaration is changed on the way in; the coarser answer costs a crop half a point of the subject kept
(benchmarks/social.py).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.vision import onnx
from studio.vision.foreground import U2NETP

if TYPE_CHECKING:
    import numpy as np

INPUT_SIDE = 128  # px of the network's input
_DECLARED_SIZE = bytes.fromhex("0a0308c002") * 2  # the dimensions 320, 320 in ONNX's protobuf
_WANTED_SIZE = b"\x0a\x03\x08" + bytes((INPUT_SIDE & 127 | 128, INPUT_SIDE >> 7))
_MEAN = (0.485, 0.456, 0.406)  # of the images that the network learnt from
_DEVIATION = (0.229, 0.224, 0.225)


def estimate_subject(image: Image.Image) -> np.ndarray[Any, Any]:
    """How surely each place of `image` (RGB) belongs to its subject: float32, SIDE × SIDE, 0 to 1.

    Raises:
        ModelBroken: the network's file is not what it should be.
    """
    import numpy as np

    small = np.asarray(image.resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BICUBIC), np.float32)
    pixels = (small / max(float(small.max()), 1e-6) - np.asarray(_MEAN, np.float32)) / np.asarray(
        _DEVIATION, np.float32
    )
    answer = onnx.run_network(_load_session(), pixels.transpose(2, 0, 1)[None], U2NETP.name)[0][0, 0]
    low, high = float(answer.min()), float(answer.max())
    return ((answer - low) / max(high - low, 1e-6)).astype(np.float32)


@functools.cache
def _load_session() -> Any:
    """The network, loaded at the first use and kept."""
    return onnx.open_session(U2NETP, U2NETP.read_bytes().replace(_DECLARED_SIZE, _WANTED_SIZE * 2))
