"""Prefixes of model ids whose rest is not a model of its own name."""

from __future__ import annotations

import re

AUTO_PREFIX = "auto:"  # before a quality ("auto:draft" to "auto:best") in place of a model's id
UPSCALER_PREFIX = "upscaler/"
RESTORER_PREFIX = "restorer/"  # face restorers
PREPROCESSOR_PREFIX = "preprocessor/"
_HASH = re.compile("[0-9a-fA-F]{6,64}")


def shorten_model_name(path: str) -> str:
    """A weight file's name without folders and ending, as our lists have it."""
    name = path.replace("\\", "/").rpartition("/")[2]
    for ending in (".safetensors", ".ckpt", ".gguf"):
        name = name.removesuffix(ending)
    return name


def remove_hash(name: str) -> str:
    """A model's name without the hash in brackets that AUTOMATIC1111 puts behind it: "m.safetensors [6ce0161689]"."""
    if not name.endswith("]"):
        return name
    plain, bracket, digest = name[:-1].rpartition("[")
    return plain.rstrip() if bracket and _HASH.fullmatch(digest) else name
