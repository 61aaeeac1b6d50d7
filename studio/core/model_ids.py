"""Prefixes of model ids whose rest is not a model of its own name."""

from __future__ import annotations

AUTO_PREFIX = "auto:"  # before a quality ("auto:draft" to "auto:best") in place of a model's id
UPSCALER_PREFIX = "upscaler/"
RESTORER_PREFIX = "restorer/"  # face restorers
PREPROCESSOR_PREFIX = "preprocessor/"
