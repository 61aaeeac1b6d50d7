"""Several files as one zip, made piece by piece while it is read, so that no zip ever lies on the disk or in memory."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

MISSING_LIST = "missing.txt"
_CHUNK_SIZE = 1024 * 1024


def stream_zip(
    files: Sequence[Path],
    names: Sequence[str] | None = None,
    missing: Sequence[str] = (),
    listing: tuple[str, Iterable[str]] | None = None,
) -> Iterator[bytes]:
    """The bytes of a zip of `files`, each under its own name, or that of `names` in their order (numbered where two
    have the same; "/" makes folders). Images are packed already, so they are stored as they are. What cannot be read
    any more, and what is known to be `missing`, is named in a text file at the end. `listing` is a text file that comes
    first: its name and its lines."""
    out = _ChunkBuffer()
    taken, absent = {MISSING_LIST}, list(missing)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        if listing is not None:
            taken.add(listing[0])
            with archive.open(zipfile.ZipInfo(listing[0], time.localtime()[:6]), "w", force_zip64=True) as entry:
                for line in listing[1]:
                    entry.write(f"{line}\n".encode("utf-8", "replace"))
            yield out.take()
        for path, name in zip(files, names or [path.name for path in files], strict=True):
            try:
                file = path.open("rb")
            except OSError:
                absent.append(name)
                continue
            with file:
                entry_name = _find_free_name(PurePosixPath(name), taken)
                # a time that a zip cannot hold (before 1980, after 2107) becomes the nearest that it can
                about = zipfile.ZipInfo.from_file(path, entry_name, strict_timestamps=False)
                with archive.open(about, "w") as entry:
                    while piece := file.read(_CHUNK_SIZE):
                        entry.write(piece)
                        yield out.take()
        if absent:
            archive.writestr(MISSING_LIST, "These files were moved or deleted:\n" + "\n".join(absent) + "\n")
    yield out.take()


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

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
