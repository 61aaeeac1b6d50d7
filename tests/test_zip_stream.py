"""A zip of a job's files comes whole, whatever became of the files meanwhile."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from serving import serve_studio, wait_until

from studio.engine.storage.zip_stream import stream_zip

API = "/api/image-studio"


def unpacked(*files: Path, **options: object) -> dict[str, str]:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(stream_zip(files, **options))))  # type: ignore[arg-type]
    assert archive.testzip() is None
    return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.mark.parametrize("seconds", [0, -(10**9), 315_000_000, 4_400_000_000, 10**11])
def test_a_file_of_any_age_is_packed(tmp_path: Path, seconds: int) -> None:
    file = tmp_path / "a.png"
    file.write_text("x")
    os.utime(file, (seconds, seconds))
    assert unpacked(file) == {"a.png": "x"}


def test_a_file_that_is_gone_is_named_and_the_others_are_packed(tmp_path: Path) -> None:
    there = tmp_path / "a.png"
    there.write_text("x")
    found = unpacked(there, tmp_path / "gone.png", there, missing=["before.png"])
    assert (found["a.png"], found["a-2.png"]) == ("x", "x")
    assert found["missing.txt"].split("\n")[1:] == ["before.png", "gone.png", ""]


def test_one_deleted_image_costs_neither_the_zip_nor_the_result(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        client = served.open_client()
        answer = client.post(f"{API}/create", json={"prompt": "a", "count": 3})
        place = answer.headers["Location"]
        wait_until(lambda: client.get(place).json()["status"] == "finished")
        job = client.get(place).json()
        files = sorted(served.studio.engine.outputs_dir.glob("2*/*.png"))
        files[1].unlink()
        archive = zipfile.ZipFile(io.BytesIO(client.get(job["zip"]).content))
        assert len(archive.namelist()) == 3
        assert files[1].name in archive.read("missing.txt").decode()
        images = client.get(f"{place}/result").json()["images"]
        assert [image["imageData"] is not None for image in images].count(True) == 2
        assert [image["notes"] for image in images].count(["The file of this image is missing."]) == 1
        for file in files[::2]:
            file.unlink()
        assert client.get(job["zip"]).status_code == 404
        assert client.get(f"{place}/result").status_code == 404
