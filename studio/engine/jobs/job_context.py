"""The job as its backend sees it: progress, previews, cancel, phases."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator

from PIL import Image

from studio.core.errors import NotFound, StorageFailed
from studio.core.events import LoadingEvent, NoticeEvent, StepEvent
from studio.core.pricing import ImageSizes
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.jobs.job import Job
from studio.engine.jobs.previews import Previews
from studio.engine.jobs.source_checks import collect_image_sizes
from studio.engine.lookups import raise_no_key
from studio.engine.models.timings import Timings
from studio.engine.moderation import limit_preview
from studio.engine.storage.inputs import Images, hash_pixels


class RunContext:
    """The JobContext of one run of a job. Used by one lane thread; begun anew for each pass with `begin`.

    `phases` holds seconds by name, `peak` bytes, `notes` what was changed in the present pass.
    """

    def __init__(
        self,
        job: Job,
        previews: Previews,
        images: Images,
        keys: Callable[[str], str],
        timings: Timings,
        *,
        estimate: float | None,
    ) -> None:
        """`estimate` is what the whole job is expected to take, in seconds."""
        self.phases: dict[str, float] = {}
        self.peak = 0
        self.notes: list[str] = []
        self._job = job
        self._previews = previews
        self._pace = EtaEstimator(estimate)
        self._kept = images
        self._keys = keys
        self._timings = timings
        self._loading = ""
        self._lent: dict[str, Image.Image] = {}
        self._part, self._parts = 0, 1
        self._image, self._images, self._batch = 1, job.images, 1
        self._next_preview = 0.0

    def begin(self, done: int, size: int) -> None:
        """A pass of `size` images begins after `done` ones."""
        self._image, self._batch = done + 1, size
        self._pace.begin(size, self._images - done)
        self.notes = []
        self._lent.clear()
        self._part, self._parts = 0, 1

    def start_part(self, number: int, parts: int) -> None:
        """The pass has got to step `number`, counted from 0, of a chain of `parts`."""
        self._part, self._parts = number, parts

    def register_image(self, image: Image.Image) -> str:
        """Make `image` an image that this pass's requests may name, until the next pass; returns its content hash."""
        name = hash_pixels(image)
        self._lent[name] = image
        return name

    @property
    def job(self) -> Job:
        """The job that runs."""
        return self._job

    @property
    def settings(self) -> Settings:
        return self._job.settings

    @property
    def user(self) -> str:
        return self._job.user

    def report_loading(self, what: str) -> None:
        self._loading = what
        self._job.emit(LoadingEvent(what, self._timings.estimate_load(what)))
        self.raise_if_cancelled()

    def report_progress(self, step: int, steps: int, preview: Callable[[], Image.Image] | None = None) -> None:
        self.raise_if_cancelled()
        now = time.monotonic()
        path = None
        step, steps = self._part * steps + step, self._parts * steps
        eta = self._pace.estimate_seconds_left(step, steps, now)
        if preview is not None and self.settings.previews and self._is_preview_due(now, eta):
            path = self._previews.write(
                self._job.id, preview(), limit_preview(self.settings.preview_side, self.settings)
            )
            self._next_preview = time.monotonic() + self.settings.preview_interval
        step_done = StepEvent(step, steps, self._image, self._images, eta=eta, preview=path, batch=self._batch)
        self._job.emit(step_done)

    def _is_preview_due(self, now: float, eta: float | None) -> bool:
        """Not before the interval is over; nor, but for the first, where the images are there before the next would
        be."""
        soon_done = eta is not None and eta < self.settings.preview_interval
        return now >= self._next_preview and not (soon_done and self._next_preview)

    def add_notice(self, text: str) -> None:
        self.notes.append(text)
        self._job.emit(NoticeEvent(text))

    def raise_if_cancelled(self) -> None:
        self._job.raise_if_stopped()

    def sleep(self, seconds: float) -> None:
        self._job.sleep(seconds)

    def load_image(self, content_hash: str) -> Image.Image:
        lent = self._lent.get(content_hash)
        return lent.copy() if lent is not None else self._kept.open(content_hash, self._job.user)

    def get_image_sizes(self, request: GenerationRequest) -> ImageSizes:
        """The sizes of the images that `request` names."""
        lent = {name: image.size for name, image in self._lent.items()}
        return collect_image_sizes(request, self._job.user, self._kept) | lent

    def get_api_key(self, name: str) -> str:
        return self._keys(name)

    @contextlib.contextmanager
    def phase(self, name: str) -> Generator[None]:
        start = time.monotonic()
        try:
            yield
            if name == "load":
                with contextlib.suppress(StorageFailed):  # a full disk is no reason to stop here
                    self._timings.record_load(self._loading, time.monotonic() - start)
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - start

    def record_peak_memory(self, bytes_used: int) -> None:
        self.peak = max(self.peak, bytes_used)


class EtaEstimator:
    """How long the rest of a job takes, from the steps seen so far. Seconds throughout."""

    def __init__(self, estimate: float | None) -> None:
        self._deadline = None if estimate is None else time.monotonic() + estimate
        self._first: tuple[int, float] | None = None
        self._step_seconds: float | None = None
        self._size, self._left = 1, 1

    def begin(self, size: int, left: int) -> None:
        """A pass of `size` of the `left` images begins."""
        self._first = None
        self._size, self._left = size, left

    def estimate_seconds_left(self, step: int, steps: int, now: float) -> float | None:
        """Seconds until the job ends, None while nothing is known."""
        if self._first is None or step <= self._first[0]:
            self._first = (step, now)
        else:
            self._step_seconds = (now - self._first[1]) / (step - self._first[0])
        if self._step_seconds is None:
            return None if self._deadline is None else max(0.0, self._deadline - now)
        later_passes = (self._left - self._size) / self._size
        return self._step_seconds * (max(steps - step, 0) + later_passes * steps)


class LaneContext:
    """The JobContext of work that belongs to no job: loading a model from the Configurations tab."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.user = LOCAL_USER.name

    def report_loading(self, what: str) -> None: ...

    def report_progress(self, step: int, steps: int, preview: Callable[[], Image.Image] | None = None) -> None: ...

    def add_notice(self, text: str) -> None: ...

    def raise_if_cancelled(self) -> None: ...

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def load_image(self, content_hash: str) -> Image.Image:
        raise NotFound("Images are only available to jobs.", hint="Submit a request instead.")

    def get_api_key(self, name: str) -> str:
        return raise_no_key(name)

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def record_peak_memory(self, bytes_used: int) -> None: ...
