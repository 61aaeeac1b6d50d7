"""Weights of upscalers and face restorers that can be fetched on request. Sizes in bytes and hashes as published copies
agree on them; where no hash is known the size is what the download is checked by, within a twentieth."""

from __future__ import annotations

from pathlib import Path

from studio.core.weights import DownloadableWeights

_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_GFPGAN = "https://github.com/TencentARC/GFPGAN/releases/download"

DOWNLOADABLE_UPSCALERS = (
    DownloadableWeights(
        id="upscalers/realesr-general-x4v3.pth",
        title="Real-ESRGAN general x4v3",
        folder="upscalers",
        filename="realesr-general-x4v3.pth",
        source=f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-x4v3.pth",
        bytes=4_885_111,
        sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        licence="BSD-3-Clause",
    ),
    DownloadableWeights(
        id="upscalers/RealESRGAN_x2plus.pth",
        title="Real-ESRGAN x2plus",
        folder="upscalers",
        filename="RealESRGAN_x2plus.pth",
        source=f"{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth",
        bytes=67_061_725,
        sha256="49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        licence="BSD-3-Clause",
    ),
)
DOWNLOADABLE_RESTORERS = (
    DownloadableWeights(
        id="restorers/GFPGANv1.4.pth",
        title="GFPGAN 1.4",
        folder="restorers",
        filename="GFPGANv1.4.pth",
        source=f"{_GFPGAN}/v1.3.0/GFPGANv1.4.pth",
        bytes=348_632_874,
        sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
        licence="Apache-2.0; its parts after StyleGAN2 and DFDNet non-commercial",
    ),
    DownloadableWeights(
        id="restorers/codeformer.pth",
        title="CodeFormer",
        folder="restorers",
        filename="codeformer.pth",
        source="https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth",
        bytes=376_637_898,
        sha256="1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
        licence="S-Lab License 1.0, non-commercial",
    ),
    DownloadableWeights(
        id="restorers/RestoreFormer.pth",
        title="RestoreFormer",
        folder="restorers",
        filename="RestoreFormer.pth",
        source=f"{_GFPGAN}/v1.3.4/RestoreFormer.pth",
        bytes=291_000_000,
        sha256="",
        licence="Apache-2.0 as a part of GFPGAN's releases; its own repository names none",
    ),
)


def list_missing_weights(models_dir: Path) -> tuple[DownloadableWeights, ...]:
    """Those of them that are not below `models_dir`."""
    return tuple(
        weights
        for weights in (*DOWNLOADABLE_UPSCALERS, *DOWNLOADABLE_RESTORERS)
        if not (models_dir / weights.folder / weights.filename).exists()
    )
