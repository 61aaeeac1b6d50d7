"""The checkpoint gate against sound, odd and hostile files."""

from __future__ import annotations

import json
import pickle
import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import ModelBroken
from studio.pipelines.catalog.file_headers import MAX_HEADER_BYTES, MAX_TENSORS, read_header


def pack(table: Any, data: bytes = b"") -> bytes:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = {"a": tensor("F32", [2, 2], 0, 16), "b": tensor("F16", [], 16, 18), "__metadata__": {"note": "[[[,,,{{{"}}


def test_a_sound_file_gives_shapes_dtypes_and_metadata(tmp_path: Path) -> None:
    file = tmp_path / "good.safetensors"
    file.write_bytes(pack(GOOD, bytes(18)))
    header = read_header(file)
    assert header.shapes == {"a": (2, 2), "b": ()}
    assert header.dtypes == {"a": "F32", "b": "F16"}
    assert header.metadata == {"note": "[[[,,,{{{"}
    assert header.has_tensors("a", "b")
    assert not header.has_tensors("a", "c")


@pytest.mark.torch
def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: torch.zeros(3, 5, dtype=getattr(torch, name))
        for name in ("float32", "bfloat16", "int64", "bool", "float8_e4m3fn")
    }
    save_file({**tensors, "empty": torch.zeros(0, 4)}, tmp_path / "real.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "real.safetensors")
    assert set(header.shapes) == {*tensors, "empty"}
    assert header.shapes["empty"] == (0, 4)


class Canary:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(4096), "only zeros"),
    "tiny": (b"\x01\x02\x03", "truncated"),
    "web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    "web page with a mark": (b"\xef\xbb\xbf  <html lang=en>", "web page"),
    "json error": (b'{"error": "Repository not found"}', "JSON text"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "Git LFS pointer"),
    "gguf": (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
    "noise": (bytes(range(255, 0, -1)), "not a .safetensors file"),
    "header cut": (pack(GOOD, bytes(18))[:40], "truncated within its header"),
    "data cut": (pack(GOOD, bytes(10)), "weights are missing"),
    "too long": (pack(GOOD, bytes(20)), "after its last tensor"),
    "header beyond the file": (struct.pack("<Q", 9_000_000) + b"{}", "truncated"),
    "header of exabytes": (struct.pack("<Q", 2**63) + b"{}", "header of"),
    "not json": (pack(b'{"a": }'), "not valid JSON"),
    "deep json": (pack(b'{"a":' + b"[" * 40_000 + b"]" * 40_000 + b"}"), "not valid JSON"),
    "not a table": (pack(b"{}{}"), "not valid JSON"),
    "not utf-8": (pack(b'{"\xff\xfe": 1}'), "not UTF-8"),
    "overlap": (pack({"a": tensor("U8", [8], 0, 8), "b": tensor("U8", [8], 4, 12)}, bytes(12)), "overlap"),
    "hole": (pack({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 8, 12)}, bytes(12)), "hole"),
    "twice": (
        pack(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"0",
        ),
        "same tensor twice",
    ),
    "wrong size": (pack({"a": tensor("F32", [2, 2], 0, 8)}, bytes(8)), "does not match its shape"),
    "unknown dtype": (pack({"a": tensor("F7", [1], 0, 1)}, b"0"), "unknown type"),
    "negative": (pack({"a": tensor("U8", [-1], 0, 1)}, b"0"), "wrongly"),
    "backwards": (pack({"a": tensor("U8", [1], 1, 0)}, b"0"), "does not match"),
    "truth for numbers": (pack({"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"0"), "wrongly"),
    "huge shape": (pack({"a": tensor("U8", [2**62, 2**62], 0, 1)}, b"0"), "does not match"),
    "more fields": (pack({"a": {**tensor("U8", [1], 0, 1), "code": "x"}}, b"0"), "wrongly"),
    "list for a tensor": (pack({"a": [1, 2]}), "wrongly"),
    "metadata of numbers": (pack({"__metadata__": {"a": 1}}), "metadata"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named(tmp_path: Path, name: str) -> None:
    content, word = BAD[name]
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelBroken) as caught:
        read_header(file)
    assert word in caught.value.message
    assert caught.value.message.startswith("model.safetensors ")
    assert str(tmp_path) not in caught.value.message
    assert caught.value.hint


def test_bytes_after_whole_weights_come_with_the_length_to_cut_to(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    whole = pack(GOOD, bytes(18))
    file.write_bytes(whole + b"more")
    with pytest.raises(ModelBroken) as caught:
        read_header(file)
    assert f"cut it to {len(whole)} bytes" in caught.value.hint


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_pickle_is_never_run(tmp_path: Path, as_zip: bool) -> None:
    canary, file = tmp_path / "canary", tmp_path / "model.safetensors"
    payload = pickle.dumps({"w": Canary(canary)}, protocol=2)
    if as_zip:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("model/data.pkl", payload)
    else:
        file.write_bytes(payload)
    with pytest.raises(ModelBroken, match="run code"):
        read_header(file)
    assert not canary.exists()
    if not as_zip:
        pickle.loads(payload)
        assert canary.exists(), "the payload would have shown"


AMOUNTS = {
    "300,000 tensors": (
        b"{" + b",".join(b'"t%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(300_000)) + b"}"
    ),
    "too many": (
        b"{"
        + b",".join(b'"t%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(MAX_TENSORS + 20))
        + b"}"
    ),
    "empty lists": b'{"a":[' + b"[]," * 3_000_000 + b"[]]}",
    "empty tables": b'{"a":[' + b"{}," * 3_000_000 + b"{}]}",
    "numbers": b'{"a":[' + b"0," * 4_000_000 + b"0]}",
}


@pytest.mark.parametrize("name", AMOUNTS)
def test_a_header_that_would_cost_much_is_refused_before_it_is_parsed(tmp_path: Path, name: str) -> None:
    file = tmp_path / "bloated.safetensors"
    file.write_bytes(pack(AMOUNTS[name]))
    tracemalloc.start()
    try:
        with pytest.raises(ModelBroken, match=r"more than|header of"):
            read_header(file)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_HEADER_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(60)
def test_a_text_that_never_ends_is_looked_at_once(tmp_path: Path) -> None:
    file = tmp_path / "endless.safetensors"
    file.write_bytes(pack(b'{"a":"' + b'\\",' * 600_000))
    with pytest.raises(ModelBroken, match="not valid JSON"):
        read_header(file)


def test_long_training_notes_are_no_reason_to_refuse(tmp_path: Path) -> None:
    notes = json.dumps({f"tag {i}": [i, {"x": 1}] for i in range(70_000)})
    file = tmp_path / "lora.safetensors"
    file.write_bytes(pack({**GOOD, "__metadata__": {"ss_tag_frequency": notes}}, bytes(18)))
    assert read_header(file).metadata["ss_tag_frequency"] == notes


def test_a_missing_file_and_a_folder_are_said_to_be_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.safetensors", tmp_path):
        with pytest.raises(ModelBroken, match="cannot be read"):
            read_header(path)


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_get_through_with_another_error(noise: bytes, framed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.safetensors"
        file.write_bytes(pack(b"{" + noise) if framed else noise)
        with pytest.raises(ModelBroken):
            read_header(file)
