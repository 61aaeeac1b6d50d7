"""The folders of other programs: which there are, looking through them in a thread of its own, and watching them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.user import LOCAL_USER
from studio.library.database import Database
from studio.library.folder_scan import FolderScan, ForeignImage, Progress, hide_asset
from studio.library.process_locks import find_lock_folder
from studio.library.schema import DONE

WATCH_SECONDS = 30.0  # between two looks at the times of change of the folders
RESCAN_SECONDS = 6 * 3600.0  # until all files are looked at again: overwriting one does not change its folder
_MAX_WATCHED = 20_000  # folders

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImportFolder:
    """A folder and how far it is: `state` is waiting, scanning, watching, cancelled, offline or failed."""

    id: int
    user: str
    path: str
    program: str
    state: str
    found: int
    done: int
    error: str


def parse_folders(text: str) -> list[tuple[str, Path]]:
    """(user, folder) from the setting: folders separated by "|", with "name=" before one that belongs to a login.

    Raises:
        InvalidRequest: a folder that is not absolute.
    """
    found: list[tuple[str, Path]] = []
    for part in text.split("|"):
        name, equals, rest = part.strip().partition("=")
        is_named = bool(equals) and not any(sign in name for sign in "/\\:")
        user, folder = (name, rest.strip()) if is_named else (LOCAL_USER.name, part.strip())
        if not folder:
            continue
        path = Path(folder).expanduser()
        if not path.is_absolute():
            raise InvalidRequest(f"The import folder {folder!r} is not a full path.", hint="Write it from the root on.")
        found.append((user, path))
    return found


class Imports:
    """Scans one folder after the other. Thread-safe."""

    def __init__(
        self,
        database: Database,
        root: Path,
        read: Callable[[Path], ForeignImage],
        replay: Callable[[Sequence[str]], object],
    ) -> None:
        """`root` is the outputs folder; `replay` is called with the ids of what a first scan found, so that notes of
        before a lost index come back."""
        self._database = database
        self._root = root
        self._read = read
        self._replay = replay
        self._lock = threading.Lock()
        self._progress: dict[int, Progress] = {}
        self._asked: list[int] = []
        self._wake, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._times: dict[int, tuple[float, dict[str, float]]] = {}

    def start(self, folders: Sequence[tuple[str, Path]]) -> None:
        """Take these folders on, scan all, and watch them from then on; those of before are hidden."""
        ids: list[int] = []
        with self._database.transaction() as connection:
            for user, path in folders:
                connection.execute("INSERT OR IGNORE INTO folders (user, path) VALUES (?, ?)", (user, str(path)))
                row = connection.execute(
                    "SELECT id FROM folders WHERE user = ? AND path = ?", (user, str(path))
                ).fetchone()
                ids.append(row["id"])
        self._hide_others(ids)
        with self._lock:
            self._progress = {folder: Progress() for folder in ids}
            self._asked = list(ids)
        if ids:
            self._thread = threading.Thread(target=self._run, name="library import", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop scanning; waits for the files that are being written, for at most two seconds."""
        self._closed.set()
        with self._lock:
            for progress in self._progress.values():
                progress.cancelled.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def list_folders(self, user: str, *, everybody: bool = False) -> list[ImportFolder]:
        """The user's folders, or all."""
        rows = self._database.rows("SELECT * FROM folders ORDER BY id")
        with self._lock:
            return [
                ImportFolder(
                    id=row["id"],
                    user=row["user"],
                    path=row["path"],
                    program=row["program"],
                    state=progress.state,
                    found=progress.found,
                    done=progress.done,
                    error=progress.error,
                )
                for row in rows
                if (progress := self._progress.get(row["id"])) is not None and (everybody or row["user"] == user)
            ]

    def list_paths(self) -> list[Path]:
        """The folders below which imported files lie."""
        with self._lock:
            ids = set(self._progress)
        return [Path(row["path"]) for row in self._database.rows("SELECT id, path FROM folders") if row["id"] in ids]

    def scan(self, folder: int) -> None:
        """Have a folder looked through again, soon; raises NotFound for one that is not set."""
        with self._lock:
            progress = self._find(folder)
            if progress.state != "scanning" and folder not in self._asked:
                self._progress[folder] = Progress()
                self._asked.append(folder)
        self._wake.set()

    def cancel(self, folder: int) -> None:
        """Stop a scan; what it found stays. Raises NotFound for a folder that is not set."""
        with self._lock:
            progress = self._find(folder)
            progress.cancelled.set()
            if folder in self._asked:
                self._asked.remove(folder)
            if progress.state == "waiting":
                progress.state = "cancelled"

    def _find(self, folder: int) -> Progress:
        progress = self._progress.get(folder)
        if progress is None:
            raise NotFound("Folder not found.", hint="Folders are set with import_folders in the settings file.")
        return progress

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                folder = self._asked.pop(0) if self._asked else None
                progress = self._progress[folder] if folder is not None else Progress()
            if folder is not None:
                self._scan(folder, progress)
                continue
            self._wake.wait(WATCH_SECONDS)
            self._wake.clear()
            if not self._closed.is_set():
                self._look_for_changes()

    def _scan(self, folder: int, progress: Progress) -> None:
        row = self._database.rows("SELECT * FROM folders WHERE id = ?", (folder,))[0]
        progress.state = "scanning"
        scan = FolderScan(self._database, row, self._read, progress)
        times = _read_times(Path(row["path"]))
        try:
            lock = FileLock(find_lock_folder(self._root) / f"import-{folder}.lock", mode=0o600, thread_local=False)
            with lock.acquire(timeout=0):
                added = scan.run()
                if row["scanned"] is None and added:
                    self._replay(added)
                with self._database.transaction() as connection:
                    connection.execute(
                        "UPDATE folders SET scanned = ?, program = ? WHERE id = ?",
                        (time.time(), scan.program or row["program"], folder),
                    )
            progress.state = "cancelled" if progress.cancelled.is_set() else "watching"
        except Timeout:
            progress.state, progress.error = "watching", "Another studio process scans this folder."
        except OSError:
            progress.state, progress.error = "offline", "The folder cannot be read. Its images are shown as they were."
        except StudioError as error:
            progress.state, progress.error = "failed", f"{error.message} {error.hint}"
            _log.warning("a scan failed: %s", error.message)
        self._times[folder] = (time.monotonic(), times)

    def _look_for_changes(self) -> None:
        """Ask for a scan of every folder in which something was added, removed or renamed."""
        with self._lock:
            ids = [
                folder
                for folder, progress in self._progress.items()
                if progress.state in ("watching", "offline", "failed") and folder not in self._asked
            ]
        for folder in ids:
            path = Path(self._database.rows("SELECT path FROM folders WHERE id = ?", (folder,))[0]["path"])
            scanned, times = self._times[folder]
            is_due = time.monotonic() - scanned > RESCAN_SECONDS
            if is_due or any(_get_time(place) != when for place, when in (times or {str(path): -1.0}).items()):
                if not is_due and not path.is_dir():
                    continue
                self.scan(folder)

    def _hide_others(self, ids: Sequence[int]) -> None:
        """Hide what lies in folders that are not set any more."""
        marks = ", ".join("?" * len(ids)) or "0"
        while rows := self._database.rows(
            f"SELECT seq FROM assets WHERE folder > 0 AND folder NOT IN ({marks}) AND state = ? LIMIT 200", (*ids, DONE)
        ):
            with self._database.transaction() as connection:
                for row in rows:
                    hide_asset(connection, row["seq"])


def _read_times(root: Path) -> dict[str, float]:
    """When each folder below `root` was changed last; a file that is added, removed or renamed changes its folder."""
    found: dict[str, float] = {}
    for place, folders, _ in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found[place] = _get_time(place)
        if len(found) >= _MAX_WATCHED:
            break
    return found


def _get_time(place: str) -> float:
    try:
        return os.stat(place).st_mtime
    except OSError:
        return 0.0
