"""Previews as small JPEG files in a private temporary folder."""

from __future__ import annotations

import collections
import contextlib
import threading
from pathlib import Path

from PIL import Image

from studio.core.annotate import flatten_on_white
from studio.library.process_folders import ProcessFolder

_KEPT_PER_JOB = 2  # the reader of the last snapshot may still be opening the one before
_KEPT_JOBS = 8


class Previews:
    """Keeps the latest previews of the latest jobs; `folder` can be read by this user only."""

    def __init__(self) -> None:
        self._own = ProcessFolder("easel-previews-")
        self.folder = self._own.path
        self._lock = threading.Lock()
        self._files: collections.OrderedDict[str, collections.deque[Path]] = collections.OrderedDict()
        self._count = 0

    def write(self, job_id: str, image: Image.Image, side: int) -> Path | None:
        """A file with `image`, its longer side at most `side` px; None when it cannot be written (a preview is no
        reason to fail)."""
        with self._lock:
            self._count += 1
            path = self.folder / f"{job_id}-{self._count}.jpg"
        small = flatten_on_white(image).copy()
        small.thumbnail((side, side), Image.Resampling.BILINEAR)
        try:
            small.save(path, "JPEG", quality=80)
        except OSError:
            return None
        self._keep(job_id, path)
        return path

    def close(self) -> None:
        """Remove the folder."""
        self._own.remove()

    def _keep(self, job_id: str, path: Path) -> None:
        with self._lock:
            own = self._files.setdefault(job_id, collections.deque())
            self._files.move_to_end(job_id)
            own.append(path)
            old = [own.popleft() for _ in range(len(own) - _KEPT_PER_JOB)]
            while len(self._files) > _KEPT_JOBS:
                old += self._files.popitem(last=False)[1]
        for stale in old:
            with contextlib.suppress(OSError):
                stale.unlink(missing_ok=True)
