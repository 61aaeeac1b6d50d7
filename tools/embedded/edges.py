"""Edges as the studio's canny preprocessor draws them, and how well the edges of two images agree."""

from __future__ import annotations

import cv2
import numpy as np

LOW, HIGH = 100, 200
"""Canny's thresholds, the studio's defaults."""
TOLERANCE = 2
"""Pixels by which two lines may lie apart and still count as one."""
BLUR = 2.0
"""Deviation, in pixels, of the blur before edge maps are compared by SSIM."""
SSIM_WINDOW = 7


def detect_edges(image: np.ndarray) -> np.ndarray:
    """Return the edges of an RGB image, uint8 [H, W, 3] -> bool [H, W]."""
    return cv2.Canny(image, LOW, HIGH) > 0


def dilate_edges(edges: np.ndarray, pixels: int) -> np.ndarray:
    """Return what lies within so many pixels (Euclidean) of an edge, bool [H, W]."""
    side = 2 * pixels + 1
    disc = np.hypot(*np.mgrid[-pixels : pixels + 1, -pixels : pixels + 1]) <= pixels
    return cv2.dilate(edges.astype(np.uint8), disc.astype(np.uint8).reshape(side, side)) > 0


def compute_f1(found: np.ndarray, wanted: np.ndarray, tolerance: int = TOLERANCE) -> float:
    """Return the F1 score, 0..1, of two edge maps, bool [H, W]; a line counts as met within the tolerance."""
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    precision = float(dilate_edges(wanted, tolerance)[found].mean())
    recall = float(dilate_edges(found, tolerance)[wanted].mean())
    return 2 * precision * recall / max(precision + recall, 1e-9)


def compute_ssim(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the mean SSIM (Wang et al. 2004), -1..1, of two edge maps, bool [H, W], after a blur."""
    one, two = (cv2.GaussianBlur(edges.astype(np.float32), (0, 0), BLUR) for edges in (found, wanted))

    def compute_mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (SSIM_WINDOW, SSIM_WINDOW))

    mean_one, mean_two = compute_mean(one), compute_mean(two)
    variance_one, variance_two = compute_mean(one * one) - mean_one**2, compute_mean(two * two) - mean_two**2
    covariance = compute_mean(one * two) - mean_one * mean_two
    brightness = (2 * mean_one * mean_two + 1e-4) / (mean_one**2 + mean_two**2 + 1e-4)
    structure = (2 * covariance + 9e-4) / (variance_one + variance_two + 9e-4)
    return float((brightness * structure).mean())


def draw_outlines(side: int) -> np.ndarray:
    """Return five outlines as a hand would draw them, bool [5, S, S]: circle, square, triangle, star and a tall
    oval."""
    around = 2 * np.pi * np.arange(10) / 10
    reach = np.where(np.arange(10) % 2, 0.19, 0.44)
    corners = (
        np.array([[0.15, 0.15], [0.85, 0.15], [0.85, 0.85], [0.15, 0.85]]),
        np.array([[0.5, 0.1], [0.92, 0.86], [0.08, 0.86]]),
        np.stack([0.5 + reach * np.sin(around), 0.5 - reach * np.cos(around)], -1),
    )
    sheets = np.zeros((5, side, side), np.uint8)
    for sheet, (width, height) in ((sheets[0], (0.38, 0.38)), (sheets[4], (0.24, 0.42))):
        cv2.ellipse(sheet, (side // 2, side // 2), (round(width * side), round(height * side)), 0, 0, 360, 255, 1)
    for sheet, polygon in zip(sheets[1:4], corners, strict=True):
        cv2.polylines(sheet, [(polygon * side).round().astype(np.int32)], isClosed=True, color=255)
    return sheets > 0
