"""Names of images in ComfyUI's protocol, each user's own: uploads by the names they were sent under, results by the
names that a graph gives them."""

from __future__ import annotations

import re
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from studio.api.dialects.comfyui.graph_checks import make_graph_error

MAX_FILES = 2000  # of one user, in each folder
MAX_USERS = 500
_MAX_NAME = 150  # characters
_UNSAFE = re.compile(r"[^\w .()\-]")
_PNG_HEADER = 33  # bytes: the signature and the first chunk


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """One image that a graph showed. `texts` are written into the PNG, as ComfyUI does."""

    asset_id: str
    texts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class _Folder:
    uploads: OrderedDict[str, str] = field(default_factory=OrderedDict[str, str])
    outputs: OrderedDict[tuple[str, str], OutputFile] = field(default_factory=OrderedDict[tuple[str, str], OutputFile])
    counts: dict[str, int] = field(default_factory=dict[str, int])


class UserFiles:
    """The names of all users. Thread-safe; names last as long as the process, the images themselves are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: OrderedDict[str, _Folder] = OrderedDict()

    def add_upload(self, user: str, name: str, subfolder: str, content: str, *, overwrite: bool) -> tuple[str, str]:
        """Give an upload its name and folder; another image of that name makes it "name (1).png"."""
        base, folder = clean_name(name), clean_folder(subfolder)
        with self._lock:
            uploads = self._get(user).uploads
            stem, ending = PurePosixPath(base).stem, PurePosixPath(base).suffix
            chosen, number = base, 0
            while not overwrite and uploads.get(_join(folder, chosen), content) != content:
                number += 1
                chosen = f"{stem} ({number}){ending}"
            uploads[_join(folder, chosen)] = content
            uploads.move_to_end(_join(folder, chosen))
            while len(uploads) > MAX_FILES:
                uploads.popitem(last=False)
        return chosen, folder

    def find_upload(self, user: str, name: str) -> str:
        """The hash of the upload called `name`, its folder before it.

        Raises:
            InvalidGraph: there is none.
        """
        plain = name.removesuffix(" [input]")
        with self._lock:
            found = self._get(user).uploads.get(plain)
        if found is None:
            raise make_graph_error(
                "prompt_outputs_failed_validation",
                f"Invalid image file: {name[:100]}",
                "Upload it first with POST /upload/image.",
            )
        return found

    def list_uploads(self, user: str) -> list[str]:
        """The names of the user's uploads."""
        with self._lock:
            return list(self._get(user).uploads)

    def add_output(self, user: str, prefix: str, kind: str, file: OutputFile) -> dict[str, str]:
        """Give a result its name: `prefix`, which may begin with folders, and a number."""
        folder, _, stem = prefix.replace("\\", "/").rpartition("/")
        stem, subfolder = clean_name(stem or "ComfyUI"), clean_folder(folder)
        with self._lock:
            own = self._get(user)
            key = f"{kind}/{subfolder}/{stem}"
            own.counts[key] = number = own.counts.get(key, 0) + 1
            name = f"{stem}_{number:05}_.png"
            own.outputs[kind, _join(subfolder, name)] = file
            while len(own.outputs) > MAX_FILES:
                own.outputs.popitem(last=False)
        return {"filename": name, "subfolder": subfolder, "type": kind}

    def find_output(self, user: str, name: str, subfolder: str, kind: str) -> OutputFile | None:
        """The result of that name, None when there is none."""
        with self._lock:
            return self._get(user).outputs.get((kind, _join(clean_folder(subfolder), name)))

    def _get(self, user: str) -> _Folder:
        folder = self._folders.setdefault(user, _Folder())
        self._folders.move_to_end(user)
        while len(self._folders) > MAX_USERS:
            self._folders.popitem(last=False)
        return folder


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def clean_name(name: str) -> str:
    """A file name without folders and odd characters; names are keys here, never paths."""
    plain = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(" .")
    return plain[-_MAX_NAME:] or "image.png"


def clean_folder(folder: str) -> str:
    """A folder without steps upwards."""
    parts = [_UNSAFE.sub("_", part).strip(" .") for part in folder.replace("\\", "/").split("/")]
    return "/".join(part for part in parts if part)[:_MAX_NAME]


def insert_png_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The PNG `data` with text chunks behind its header, for texts of ASCII as JSON is; any other file as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or not texts:
        return data
    chunks = b"".join(_build_text_chunk(name, text) for name, text in texts.items())
    return data[:_PNG_HEADER] + chunks + data[_PNG_HEADER:]


def _build_text_chunk(name: str, text: str) -> bytes:
    content = name.encode("latin-1") + b"\0" + text.encode("ascii", "backslashreplace")
    return struct.pack(">I", len(content)) + b"tEXt" + content + struct.pack(">I", zlib.crc32(b"tEXt" + content))
