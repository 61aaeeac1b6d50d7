"""Downloads of models and offered weights, and merges of checkpoints, one thread each. Nothing is fetched that nobody
asked for."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.core.durable_files import sync_folder
from studio.core.errors import InvalidRequest, JobCancelled, NotConfigured, StorageFailed, StudioError
from studio.core.ports import DownloadState
from studio.core.weights import DownloadableWeights
from studio.pipelines.catalog.downloads import (
    HubRequest,
    RemoteFile,
    RepoListing,
    fetch_file,
    list_files,
    list_weights_files,
    parse_hub_request,
)
from studio.pipelines.catalog.merging import MergePlan, write_merge
from studio.pipelines.catalog.url_downloads import fetch_url, is_allowed

SPARE_BYTES = 500_000_000
"""Bytes that a download leaves free on the disk."""
_PARTIAL = ".partial"


@dataclass
class _Download:
    """One download as its thread sees it: `work` does it."""

    work: Callable[[_Download], None]
    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    total: int = 0
    finished: bool = False
    error: str = ""
    cancelled: bool = False
    is_merge: bool = False
    thread: threading.Thread | None = None
    stopped: str = "Stopped. Start the download again to resume."


class Hub:
    """Downloads below `models_dir`: models of the hub into hub/, weights into their own folders. `offline` is asked
    before each; `on_finished` is called after one that came through.

    What arrives is kept aside until it is whole, so that no half model is ever listed. `list_downloadable_weights` are
    all weights that are offered now, `allowed` gives the addresses that they may come from. `endpoint` is the hub's
    address, huggingface_hub's own (HF_ENDPOINT) when None. Safe from any thread.
    """

    def __init__(
        self,
        models_dir: Path,
        offline: Callable[[], bool],
        on_finished: Callable[[], None],
        *,
        list_downloadable_weights: Callable[[], Sequence[DownloadableWeights]] = tuple,
        allowed: Callable[[str], bool] = is_allowed,
        endpoint: str | None = None,
    ) -> None:
        self._models = models_dir
        self._root = models_dir / "hub"
        self._allowed = allowed
        self.list_downloadable_weights = list_downloadable_weights
        self._offline = offline
        self._on_finished = on_finished
        self._endpoint = endpoint
        self._downloads: dict[str, _Download] = {}
        self._changed = threading.Condition()

    def download(self, name: str) -> None:
        """Begin to fetch "org/name", or "org/name/file.safetensors". Returns at once; `downloads` reports its progress,
        also when it fails. Does nothing when it is under way already; goes on where an earlier try stopped.

        Raises:
            InvalidRequest: no such form of a name.
            NotConfigured: the studio is set to offline.
        """
        request = parse_hub_request(name)
        self._start_download(name, lambda download: self._fetch_model(download, request))

    def fetch(self, weights_id: str) -> None:
        """Begin to fetch weights; `downloads` reports its progress under its id. Otherwise as `download`.

        Raises:
            InvalidRequest: nothing of that id is offered.
            NotConfigured: the studio is set to offline.
            StorageFailed: not enough disk.
        """
        weights = next((one for one in self.list_downloadable_weights() if one.id == weights_id), None)
        if weights is None:
            raise InvalidRequest(
                f"No downloadable weights are named {weights_id!r}.", hint="They may be installed already."
            )
        self._check_room(weights.bytes)
        self._start_download(weights_id, lambda download: self._fetch_weights(download, weights))

    def merge(self, plan: MergePlan) -> None:
        """Begin to write a merged checkpoint into models/checkpoints/; `downloads` reports its progress under its name,
        and `cancel` stops it.

        Raises:
            InvalidRequest: there is a file of that name, or one is being written.
            StorageFailed: not enough disk.
        """
        target = self._models / "checkpoints" / f"{plan.recipe.name}.safetensors"
        known = self._downloads.get(plan.recipe.name)
        taken = InvalidRequest(f"There is a checkpoint {plan.recipe.name!r} already.", hint="Choose another name.")
        if target.exists() or (known is not None and not known.finished):
            raise taken
        self._check_room(plan.bytes, "merged checkpoint")

        def write(download: _Download) -> None:
            self._advance(download, 0, total=plan.bytes)
            write_merge(plan, target, lambda amount: self._advance(download, amount))

        fresh = _Download(write, is_merge=True, stopped="Stopped; nothing was written.")
        if not self._start_thread(plan.recipe.name, fresh):  # begun by another thread since it was looked up
            raise taken

    def _start_download(self, name: str, work: Callable[[_Download], None]) -> None:
        if self._offline():
            raise NotConfigured(
                "The studio is set to offline.", hint="Switch offline mode off in Configurations, then download."
            )
        self._start_thread(name, _Download(work))

    def _start_thread(self, name: str, fresh: _Download) -> bool:
        """Whether it was started: not while one of that name runs."""
        with self._changed:
            known = self._downloads.get(name)
            if known is not None and not known.finished:
                return False
            self._downloads[name] = fresh
            fresh.thread = threading.Thread(
                target=self._run_download, args=(fresh,), name=f"download {name}", daemon=True
            )
            fresh.thread.start()
        return True

    def cancel(self, name: str) -> None:
        """Stop it at the next piece. What came so far stays for another try. Does nothing when it does not run."""
        download = self._downloads.get(name)
        if download is not None:
            download.stop.set()

    def list_downloads(self) -> Sequence[DownloadState]:
        """All downloads of this run, the newest last."""
        with self._changed:
            return tuple(_build_state(name, download) for name, download in self._downloads.items())

    def wait(self, name: str, until: Callable[[DownloadState], bool], timeout: float) -> DownloadState:
        """The state of a download once `until` holds for it, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: until(_build_state(name, self._downloads[name])), timeout)
            return _build_state(name, self._downloads[name])

    def close(self, timeout: float = 5.0) -> None:
        """Stop all and wait for their threads, at most `timeout` seconds each."""
        for name, download in list(self._downloads.items()):
            self.cancel(name)
            if download.thread is not None:
                download.thread.join(timeout)

    def _run_download(self, download: _Download) -> None:
        error = ""
        try:
            download.work(download)
        except JobCancelled as cancelled:
            error, download.cancelled = cancelled.message, True
        except StudioError as problem:
            error = f"{problem.message} {problem.hint}".strip()
        except OSError as problem:  # the disk, while the files are put in place
            error = f"The models folder is not writable: {problem.strerror}. Check its permissions."
        if not error:
            self._on_finished()
        with self._changed:
            download.error, download.finished = error, True
            self._changed.notify_all()

    def _fetch_model(self, download: _Download, request: HubRequest) -> None:
        listing = list_files(request, self._endpoint)
        final = self._root / request.folder
        aside = self._root / _PARTIAL / request.folder / listing.revision
        self._advance(download, 0, total=listing.size)
        self._fetch_missing_files(download, request, listing, (final, aside))
        _put_in_place(aside, final)
        if aside.exists():
            shutil.rmtree(aside.parent)

    def _fetch_weights(self, download: _Download, weights: DownloadableWeights) -> None:
        final, aside = self._models / weights.folder / weights.filename, self._root / _PARTIAL / "offers" / weights.id
        self._advance(download, 0, total=weights.bytes)
        if "://" in weights.source:
            fetch_url(weights, aside / weights.filename, lambda amount: self._advance(download, amount), self._allowed)
            _put_in_place(aside, final.parent)
        else:
            request, listing = list_weights_files(weights, self._endpoint)
            self._advance(download, 0, total=listing.size)
            self._fetch_missing_files(download, request, listing, (final, aside))
            if request.file:
                final.parent.mkdir(parents=True, exist_ok=True)
                (aside / request.file).replace(final)
                sync_folder(final.parent)
            else:
                _put_in_place(aside, final)
        shutil.rmtree(aside, ignore_errors=True)

    def _fetch_missing_files(
        self, download: _Download, request: HubRequest, listing: RepoListing, places: tuple[Path, Path]
    ) -> None:
        """All files of the listing to the second place, but those that are in the first already."""
        final, aside = places
        self._check_room(sum(_count_missing_bytes(file, final, aside) for file in listing.files))
        for file in listing.files:
            if _has_file(final, file) or _has_file(aside, file):
                self._advance(download, file.size)
                continue
            fetch_file(request, listing, file, aside / file.name, lambda amount: self._advance(download, amount))
        self._advance(download, 0)

    def _advance(self, download: _Download, amount: int, total: int | None = None) -> None:
        if download.stop.is_set():
            raise JobCancelled(download.stopped)
        with self._changed:
            download.done += amount
            download.total = download.total if total is None else total
            self._changed.notify_all()

    def _check_room(self, missing: int, what: str = "download") -> None:
        here = self._root
        while not here.exists():
            here = here.parent
        free = shutil.disk_usage(here).free
        if missing + SPARE_BYTES > free:
            raise StorageFailed(
                f"The {what} needs {missing / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free.",
                hint="Free some space, or move the models folder to a larger disk.",
                details={"needed": missing, "free": free},
            )


def _build_state(name: str, download: _Download) -> DownloadState:
    return DownloadState(
        repo_id=name,
        done=download.done,
        total=download.total,
        finished=download.finished,
        error=download.error,
        cancelled=download.cancelled,
        is_merge=download.is_merge,
    )


def _has_file(folder: Path, file: RemoteFile) -> bool:
    path = folder / file.name
    return path.is_file() and path.stat().st_size == file.size


def _count_missing_bytes(file: RemoteFile, final: Path, aside: Path) -> int:
    if _has_file(final, file) or _has_file(aside, file):
        return 0
    part = aside / f"{file.name}.part"
    return file.size - min(file.size, part.stat().st_size if part.exists() else 0)


def _put_in_place(aside: Path, final: Path) -> None:
    """Move what came to where it is listed, the index of a pipeline last: without it the folder is not taken for
    one."""
    files = [path for path in aside.rglob("*") if path.is_file() and path.suffix != ".part"]
    for path in sorted(files, key=lambda path: path.name == "model_index.json"):
        target = final / path.relative_to(aside)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        sync_folder(target.parent)
