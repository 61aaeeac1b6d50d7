"""Drawing for another studio: its order in, events and images out, stopped when it hangs up."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from PIL import Image

from studio.cluster.wire import Order, ReplicaState, encode_error, encode_event, encode_image, encode_jpeg
from studio.core.errors import JobCancelled, NotConfigured, NotFound, QueueFull, StudioError
from studio.core.model import GPU_LANE, Model
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.core.thread_handover import resolve_future

MAX_WAITING = 8  # passes of other studios that wait for their turn here
ALIVE_SECONDS = 0.5  # after which a line says that the machine is still there

_log = logging.getLogger(__name__)


class Renderer(Protocol):
    """Renders one pass in its lane, between the studio's own jobs (studio/engine/jobs/passes_for_others.py)."""

    def __call__(
        self, request: GenerationRequest, seeds: Sequence[ImageSeed], context: JobContext
    ) -> list[RenderedImage]: ...


class ReplicaContext:
    """The job as its backend here sees it: what it reports goes to `send`, and it stops when `stop` was called. Used by
    one lane's thread."""

    def __init__(self, order: Order, user: str, settings: Settings, send: Callable[[bytes], None]) -> None:
        """`user` is whose token came with the order."""
        self.settings = settings
        self.user = user
        self.peak = 0
        self._order = order
        self._send = send
        self._stopped = threading.Event()
        self._next_preview = 0.0

    def stop(self) -> None:
        """Let the pass end at its next step. From any thread."""
        self._stopped.set()

    def report_loading(self, what: str) -> None:
        self._send(encode_event("loading", what=what))
        self.raise_if_cancelled()

    def report_progress(self, step: int, steps: int, preview: Callable[[], Image.Image] | None = None) -> None:
        self.raise_if_cancelled()
        shown = None
        if preview is not None and self._order.previews and time.monotonic() >= self._next_preview:
            image = preview()
            image.thumbnail((self._order.preview_side, self._order.preview_side))
            shown = encode_jpeg(image)
            self._next_preview = time.monotonic() + self._order.preview_interval
        self._send(encode_event("progress", step=step, steps=steps, **({"preview": shown} if shown else {})))

    def add_notice(self, text: str) -> None:
        self._send(encode_event("notice", text=text))

    def raise_if_cancelled(self) -> None:
        if self._stopped.is_set():
            raise JobCancelled("The other studio stopped the job.")

    def sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)
        self.raise_if_cancelled()

    def load_image(self, content_hash: str) -> Image.Image:
        try:
            return self._order.images[content_hash].copy()
        except KeyError as error:
            raise NotFound("An image is missing in the order.", hint="Submit the job again.") from error

    def get_api_key(self, name: str) -> str:
        raise NotConfigured(f"{name} is not used for other studios.", hint="Use a local model.")

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def record_peak_memory(self, bytes_used: int) -> None:
        self.peak = max(self.peak, bytes_used)


class Replica:
    """The studio as one machine of another's cluster. Thread-safe."""

    def __init__(
        self,
        render: Renderer,
        list_models: Callable[[], Sequence[Model]],
        list_residents: Callable[[], Sequence[str]],
        count_own_jobs: Callable[[], int],
        settings: Callable[[], Settings],
    ) -> None:
        self._render = render
        self._list_models = list_models
        self._list_residents = list_residents
        self._count_own_jobs = count_own_jobs
        self._settings = settings
        self._lock = threading.Lock()
        self._running = 0

    def describe(self) -> ReplicaState:
        """What other studios choose by. Cheap."""
        models = [one for one in self._list_models() if is_shareable(one)]
        with self._lock:
            running = self._running + self._count_own_jobs()
        return ReplicaState(models=tuple(models), residents=tuple(self._list_residents()), running=running)

    def begin(self, order: Order, user: str, send: Callable[[bytes], None], end: Callable[[], None]) -> ReplicaContext:
        """Begin a pass of `user` in a thread of its own; every line goes to `send`, then `end` is called. Returns its
        context, by which it is stopped.

        Raises:
            QueueFull: too many passes of other studios wait here.
        """
        with self._lock:
            if self._running >= MAX_WAITING:
                raise QueueFull("This machine of the cluster is busy.", hint="Try again in a minute.")
            self._running += 1
        context = ReplicaContext(order, user, self._settings(), send)

        def work() -> None:
            try:
                self._run(order, context, send)
            finally:
                with self._lock:
                    self._running -= 1
                end()

        threading.Thread(target=work, name="pass for another studio", daemon=True).start()
        return context

    def _run(self, order: Order, context: ReplicaContext, send: Callable[[bytes], None]) -> None:
        result: Future[list[RenderedImage]] = Future()
        resolve_future(result, lambda: self._render(order.request, order.seeds, context))
        error = result.exception()
        if isinstance(error, StudioError):
            send(encode_error(error))
        elif error is not None:  # the other studio is told, the log here has the rest
            _log.error("a pass for another studio failed", exc_info=error)
            send(encode_error(StudioError("The model failed unexpectedly.", hint="See the log of that machine.")))
        else:
            for rendered in result.result():
                send(encode_image(rendered))
            send(encode_event("end", peak=context.peak))


def is_shareable(model: Model) -> bool:
    """Whether other studios may use `model`: it runs here, on the GPU's lane, costs nothing and works."""
    return model.lane == GPU_LANE and not model.paid and not model.problem
