"""Files and sizes that the stages share."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parents[1]
STATE = ROOT / ".train"
RAW = STATE / "raw"
PARTS = STATE / "parts"
PRACTICE = STATE / "practice.pt"
"""How often each training image is drawn on, [N], instead of what the cache says: the stage "practise" writes it."""
MODEL = ROOT / "models" / "embedded"
CONTROLNET = ROOT / "models" / "controlnet" / "embedded-edges"
LORA = ROOT / "models" / "loras" / "embedded-neon.safetensors"

IMAGE_SIZE = 128
"""Side of every training image, in pixels."""
LATENT_FACTOR = 8
"""Pixels per latent cell, per side."""
LATENT_SIZE = IMAGE_SIZE // LATENT_FACTOR
TEXT_WIDTH = 256
"""Channels of the text encoder's states."""
TEXT_LENGTH = 77
"""Tokens per caption, padding included, as in CLIP."""
