"""What a GGUF file says of itself: names, shapes and kinds of its tensors, without reading a weight.

The layout is a table of notes and a table of tensors before the data
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Everything is bounded, so that a hostile file costs
nothing.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import ModelBroken
from studio.core.weights import SafetensorsHeader

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_NOTES, _MAX_TENSORS, _MAX_RANK = 10_000, 20_000, 8
_MAX_TEXT, _MAX_ITEMS = 10_000_000, 2_000_000
_MAX_HEADER = 64_000_000  # bytes; the words of a large language model take about ten million
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _LIST = 8, 9
_KINDS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K"}
_KINDS |= {12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 30: "BF16"}
_KEPT = "general."


class _BrokenError(Exception):
    """Not such a file, or one that is cut off."""


def read_gguf_header(path: Path) -> SafetensorsHeader:
    """The header of the GGUF file at `path`, in the form that those of .safetensors files have. Shapes are in torch's
    order, dtypes in GGUF's names.

    Raises:
        ModelBroken: not a sound GGUF file.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file)
    except (_BrokenError, struct.error, UnicodeDecodeError) as error:
        raise ModelBroken(
            f"{path.name} is not a sound GGUF file.", hint="Download it again; it may be incomplete."
        ) from error
    except OSError as error:
        raise ModelBroken(
            f"{path.name} cannot be read: {error.strerror or type(error).__name__}.",
            hint="Check that it exists and its permissions.",
        ) from error


def _read_header(file: BinaryIO) -> SafetensorsHeader:
    magic, version, tensors, notes = struct.unpack("<4sIQQ", _take(file, 24))
    if magic != _MAGIC or version not in _VERSIONS or tensors > _MAX_TENSORS or notes > _MAX_NOTES:
        raise _BrokenError
    metadata: dict[str, str] = {}
    for _ in range(notes):
        name = _take_text(file)
        value = _take_value(file, _take_number(file, "<I"))
        if value is not None and name.startswith(_KEPT):
            metadata[name] = value
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for _ in range(tensors):
        name = _take_text(file)
        rank = _take_number(file, "<I")
        if rank > _MAX_RANK:
            raise _BrokenError
        shapes[name] = tuple(reversed(struct.unpack(f"<{rank}Q", _take(file, 8 * rank))))
        kind = _take_number(file, "<I")
        dtypes[name] = _KINDS.get(kind, f"GGUF {kind}")
        _take(file, 8)
    return SafetensorsHeader(shapes=shapes, dtypes=dtypes, metadata=metadata)


def _take(file: BinaryIO, count: int) -> bytes:
    if file.tell() > _MAX_HEADER:
        raise _BrokenError
    data = file.read(count)
    if len(data) != count:
        raise _BrokenError
    return data


def _take_number(file: BinaryIO, form: str) -> int:
    return struct.unpack(form, _take(file, struct.calcsize(form)))[0]


def _take_text(file: BinaryIO) -> str:
    length = _take_number(file, "<Q")
    if length > _MAX_TEXT:
        raise _BrokenError
    return _take(file, length).decode("utf-8")


def _take_value(file: BinaryIO, kind: int) -> str | None:
    """The value where it is a text; anything else is passed over."""
    if kind == _TEXT:
        return _take_text(file)
    if kind == _LIST:
        inner, count = _take_number(file, "<I"), _take_number(file, "<Q")
        if count > _MAX_ITEMS or inner == _LIST:
            raise _BrokenError
        if inner == _TEXT:
            for _ in range(count):
                _take_text(file)
            return None
        _take(file, _get_size(inner) * count)
        return None
    _take(file, _get_size(kind))
    return None


def _get_size(kind: int) -> int:
    if kind not in _SIZES:
        raise _BrokenError
    return _SIZES[kind]
