"""Errors with the status and the text that AUTOMATIC1111 answers with."""

from __future__ import annotations

from typing import ClassVar

from studio.core.errors import InvalidRequest, NotFound


class SamplerNotFound(InvalidRequest):
    """400, as there."""


class ScriptNotFound(InvalidRequest):
    """A script, an always-on script or an argument of one that is not there."""

    status: ClassVar[int] = 422


class InitImageMissing(NotFound):
    """img2img without an image."""


class InvalidEncodedImage(InvalidRequest):
    """An image that cannot be read; there it is an error of the server."""

    status: ClassVar[int] = 500


class CheckpointNotFound(InvalidRequest):
    """A checkpoint that is not there; a RuntimeError there."""

    status: ClassVar[int] = 500


def make_checkpoint_error(name: str) -> CheckpointNotFound:
    """What setting an unknown checkpoint is answered with."""
    return CheckpointNotFound(f"model {name[:200]!r} not found", details={"kind": "RuntimeError"})
