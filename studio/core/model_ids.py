"""Prefixes of model ids whose rest is not a model of its own name."""

from __future__ import annotations

AUTO_PREFIX = "auto:"  # before a quality ("auto:draft" to "auto:best") in place of a model's id
UPSCALER_PREFIX = "upscaler/"
RESTORER_PREFIX = "restorer/"  # face restorers
PREPROCESSOR_PREFIX = "preprocessor/"


def shorten_model_name(path: str) -> str:
    """A weight file's name without folders and ending, as our lists have it."""
    name = path.replace("\\", "/").rpartition("/")[2]
    for ending in (".safetensors", ".ckpt", ".gguf"):
        name = name.removesuffix(ending)
    return name
