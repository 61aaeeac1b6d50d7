"""FreeU: the features of a UNet's backbone strengthened against those that skip it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.core.request import parse_freeu


@contextmanager
def apply_freeu(unet: Any, text: str) -> Iterator[None]:
    """Within the block `unet` works with the factors in `text`, as `GenerationRequest.freeu` has them."""
    b1, b2, s1, s2 = parse_freeu(text)
    unet.enable_freeu(s1=s1, s2=s2, b1=b1, b2=b2)
    try:
        yield
    finally:
        unet.disable_freeu()
