"""The networks that find what stands in front: the one that ships, and those that are offered."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.weights import DownloadableWeights

REMOVER_PREFIX = "background/"
SHIPPED_REMOVER = "u2netp"
_FOLDER = "background"


@dataclass(frozen=True, kw_only=True)
class Remover:
    """`weights` None is the one that ships; with `logits` the network answers before the sigmoid."""

    name: str
    title: str
    weights: DownloadableWeights | None = None
    logits: bool = False


def _make_remover_weights(name: str, title: str, source: str, size: int, licence: str) -> DownloadableWeights:
    return DownloadableWeights(
        id=f"background/{name}",
        title=title,
        folder=_FOLDER,
        filename=f"{name}.onnx",
        source=source,
        bytes=size,
        sha256="",
        licence=licence,
    )


REMOVERS = (
    Remover(name=SHIPPED_REMOVER, title="U²-Net small (fast, included)"),
    Remover(
        name="birefnet_lite",
        title="BiRefNet lite (fine edges)",
        logits=True,
        weights=_make_remover_weights(
            "birefnet_lite", "BiRefNet lite", "onnx-community/BiRefNet_lite-ONNX:onnx/model.onnx", 224_000_000, "MIT"
        ),
    ),
    Remover(
        name="birefnet",
        title="BiRefNet (finest edges)",
        logits=True,
        weights=_make_remover_weights(
            "birefnet", "BiRefNet", "onnx-community/BiRefNet-ONNX:onnx/model.onnx", 973_000_000, "MIT"
        ),
    ),
)
