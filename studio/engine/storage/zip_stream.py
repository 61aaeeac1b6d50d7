"""Several files as one zip, made piece by piece while it is read, so that no zip ever lies on the disk or in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

_CHUNK_SIZE = 1024 * 1024


def stream_zip(files: Sequence[Path], names: Sequence[str] | None = None) -> Iterator[bytes]:
    """The bytes of a zip of `files`, each under its own name, or that of `names` in their order (numbered where two
    have the same; "/" makes folders). Images are packed already, so they are stored as they are."""
    out = _ChunkBuffer()
    taken: set[str] = set()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, name in zip(files, names or [path.name for path in files], strict=True):
            with (
                archive.open(
                    zipfile.ZipInfo.from_file(path, _find_free_name(PurePosixPath(name), taken)), "w"
                ) as entry,
                path.open("rb") as file,
            ):
                while piece := file.read(_CHUNK_SIZE):
                    entry.write(piece)
                    yield out.taken()
    yield out.taken()


def _find_free_name(path: PurePosixPath, taken: set[str]) -> str:
    name, number = str(path), 2
    while name in taken:
        name, number = str(path.with_name(f"{path.stem}-{number}{path.suffix}")), number + 1
    taken.add(name)
    return name


class _ChunkBuffer(io.RawIOBase):
    """A file that cannot be sought and hands over what was written since it was last asked."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
