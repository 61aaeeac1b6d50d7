"""The checkpoint gate: reads what a .safetensors file says about itself, without reading a weight and without trusting
it.

The layout is eight bytes of little-endian length, that many bytes of JSON, then the tensors one after another without
gaps (https://huggingface.co/docs/safetensors). Everything is checked before a library opens the file: a header with
very many tensors keeps the library busy for seconds and takes hundreds of megabytes, and other file types under this
name are common after a failed download.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from studio.core.errors import ModelBroken
from studio.core.weights import SafetensorsHeader
from studio.pipelines.catalog.gguf_headers import read_gguf_header

MAX_HEADER_BYTES = 10_000_000
MAX_TENSORS = 20_000
MAX_RANK = 16

DOWNLOAD_AGAIN = "Download it again; the file differs from the published one."
CONVERT = "Look for the .safetensors version of this model, or convert it with a tool that you trust."

_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}
_FIELDS = {"dtype", "shape", "data_offsets"}
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # one that never ends too, so that none is read twice
_MAX_BRACKETS = 3 * MAX_TENSORS + 10
_MAX_COMMAS = 20 * MAX_TENSORS


class _HeaderError(Exception):
    """Why the header is no good, as the end of the sentence "<file> …"."""


class _TrailingBytesError(_HeaderError):
    """The tensors are whole and end after `data_bytes` of data."""

    def __init__(self, text: str, data_bytes: int) -> None:
        super().__init__(text)
        self.data_bytes = data_bytes


def read_header(path: Path) -> SafetensorsHeader:
    """The header of the .safetensors or .gguf file at `path`; costs milliseconds, whatever the file holds.

    Raises:
        ModelBroken: not a sound file; message and hint say what it is instead and what to do.
    """
    if path.suffix.lower() == ".gguf":
        return read_gguf_header(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(512)
            length = int.from_bytes(start[:8], "little")
            _check_start(start, length, size)
            file.seek(8)
            raw = file.read(length)
    except _HeaderError as refusal:
        hint = CONVERT if "can run code" in str(refusal) or "GGUF" in str(refusal) else DOWNLOAD_AGAIN
        raise ModelBroken(f"{path.name} {refusal}.", hint=hint) from None
    except OSError as error:
        raise ModelBroken(
            f"{path.name} cannot be read: {error.strerror or type(error).__name__}.",
            hint="Check that it exists and its permissions.",
        ) from error
    try:
        return _parse_header(raw, size - 8 - length)
    except _TrailingBytesError as refusal:
        hint = f"Its weights are whole: cut it to {8 + length + refusal.data_bytes} bytes, or download it again."
        raise ModelBroken(f"{path.name} {refusal}.", hint=hint) from None
    except _HeaderError as refusal:
        raise ModelBroken(f"{path.name} {refusal}.", hint=DOWNLOAD_AGAIN) from None


def count_tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor as the format writes it; `dtype` as in a header that was read."""
    return math.prod(shape) * _BITS[dtype] // 8


def check_characters(text: str, data: Any) -> None:
    """Refuse JSON that writes half a character (a lone surrogate) by its number: nothing that names it could be shown.
    `data` is what `text` says.

    Raises:
        ValueError: there is one.
    """
    if "\\u" in text:
        json.dumps(data, ensure_ascii=False).encode()


def detect_foreign_type(start: bytes) -> str:
    """Describe a file that is no .safetensors file by its first bytes, as the end of a sentence; empty when
    unknown."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer instead of the weights"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, probably an error or login page saved instead of the model"
    if start.startswith(b"PK\x03\x04"):
        return "is a zip archive or PyTorch pickle, which can run code, and was not opened"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a Python pickle, which can run code, and was not opened"
    if start.startswith(b"GGUF"):
        return "is a GGUF file, whose name has to end in .gguf"
    if text.startswith(b"{"):
        return "is a JSON text, probably an error message saved instead of the model"
    return ""


def _check_start(start: bytes, length: int, size: int) -> None:
    if size == 0:
        raise _HeaderError("is empty")
    if start[8:9] == b"{" and length <= size - 8 and length <= MAX_HEADER_BYTES:
        return
    foreign = detect_foreign_type(start)
    if foreign:
        raise _HeaderError(foreign)
    if not any(start):
        raise _HeaderError("contains only zeros; the download never finished")
    if size < 10:
        raise _HeaderError("is truncated within its first bytes")
    if start[8:9] != b"{":
        raise _HeaderError("is not a .safetensors file")
    if length > MAX_HEADER_BYTES:
        raise _HeaderError(
            f"has a header of {length / 1e6:,.0f} MB; at most {MAX_HEADER_BYTES // 1_000_000} MB are read"
        )
    raise _HeaderError("is truncated within its header")


def _parse_header(raw: bytes, data_bytes: int) -> SafetensorsHeader:
    _check_amount(raw)
    try:
        text = raw.decode("utf-8")
        data = json.loads(text)
        check_characters(text, data)
        if not isinstance(data, dict) or raw.count(b'"data_offsets"') != len(data) - ("__metadata__" in data):
            data = json.loads(
                text, object_pairs_hook=_build_unique_dict
            )  # slower; only when something may be there twice
    except UnicodeDecodeError:
        raise _HeaderError("has a header that is not UTF-8 text") from None
    except (ValueError, RecursionError):
        raise _HeaderError("has a damaged header: it is not valid JSON") from None
    if not isinstance(data, dict):
        raise _HeaderError("has a header that is not a table of tensors")
    metadata = data.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _HeaderError("has metadata that is not text")
    if len(data) > MAX_TENSORS:
        raise _make_size_error()
    spans = sorted(_read_span(name, entry) for name, entry in data.items())
    _check_spans(spans, data_bytes)
    return SafetensorsHeader(
        shapes={name: tuple(entry["shape"]) for name, entry in data.items()},
        dtypes={name: entry["dtype"] for name, entry in data.items()},
        metadata=metadata,
    )


def _check_amount(raw: bytes) -> None:
    """Refuse what would cost much time or memory to parse. Brackets inside texts (training notes) do not count."""
    if raw.count(b'"data_offsets"') > MAX_TENSORS:
        raise _make_size_error()
    if _is_large(raw) and _is_large(_STRING.sub(b"", raw)):
        raise _make_size_error()


def _is_large(text: bytes) -> bool:
    return text.count(b"[") + text.count(b"{") > _MAX_BRACKETS or text.count(b",") > _MAX_COMMAS


def _make_size_error() -> _HeaderError:
    return _HeaderError(f"lists more than {MAX_TENSORS:,} tensors")


def _build_unique_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _HeaderError("names the same tensor twice")
    return table


def _read_span(name: str, entry: Any) -> tuple[int, int]:
    """(begin, end) of one tensor within the data, in bytes, after checking that its shape and dtype fill it exactly."""
    if type(entry) is not dict or entry.keys() != _FIELDS:
        raise _HeaderError(f"describes the tensor {name[:80]!r} wrongly")
    shape, offsets, bits = entry["shape"], entry["data_offsets"], _BITS.get(str(entry["dtype"]))
    if bits is None:
        raise _HeaderError(f"contains values of the unknown type {str(entry['dtype'])[:20]!r}")
    if type(shape) is not list or type(offsets) is not list or len(shape) > MAX_RANK or len(offsets) != 2:
        raise _HeaderError(f"describes the tensor {name[:80]!r} wrongly")
    for number in (*shape, *offsets):
        if type(number) is not int or not 0 <= number < 2**63:
            raise _HeaderError(f"describes the tensor {name[:80]!r} wrongly")
    begin, end = offsets
    if math.prod(shape) * bits != (end - begin) * 8:
        raise _HeaderError(f"gives the tensor {name[:80]!r} a size that does not match its shape")
    return begin, end


def _check_spans(spans: list[tuple[int, int]], data_bytes: int) -> None:
    expected = 0
    for begin, end in spans:
        if begin < expected:
            raise _HeaderError("has tensors that overlap")
        if begin > expected:
            raise _HeaderError("has a hole between its tensors")
        expected = end
    if expected > data_bytes:
        raise _HeaderError(f"is truncated: {(expected - data_bytes) / 1e6:,.1f} MB of its weights are missing")
    if expected < data_bytes:
        raise _TrailingBytesError(f"has {data_bytes - expected:,} bytes after its last tensor", expected)
