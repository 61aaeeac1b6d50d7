"""Match the colours and light of a redrawn part to those of the original."""

from __future__ import annotations

from typing import Any

_BLUR_SIGMA = 32  # px: colours that change more slowly than this are the source's


def match_tones(drawn: Any, source: Any) -> Any:
    """`drawn` with the slow changes of colour and light that `source` has; both (h, w, 3) in 32-bit floats."""
    import cv2

    return drawn + cv2.GaussianBlur(source - drawn, (0, 0), _BLUR_SIGMA)
