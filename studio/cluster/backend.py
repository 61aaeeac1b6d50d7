"""Models that other studios draw with, as one backend of the engine."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from studio.cluster.machines import Machine, MachineLost, Machines
from studio.cluster.wire import Order, decode_error, decode_image
from studio.core.base64_text import decode_base64
from studio.core.errors import BadImage, JobCancelled, ProviderError, QueueFull, Unreachable
from studio.core.image_fields import list_image_hashes
from studio.core.image_gate import ImageLimits, open_image
from studio.core.model import CLUSTER_LANE, GPU_LANE, Model
from studio.core.ports import Backend, ImageSeed, JobContext
from studio.core.request import GenerationRequest, count_outputs
from studio.core.result import RenderedImage

MAX_TRIES = 3  # of one pass, each on another machine where there is one
MAX_LOST = 2  # machines that one pass may have been too much for
PATIENCE = 60.0  # seconds that a pass waits for any machine with its model, where the model is not here too
_TURN_SECONDS = 0.2  # between two looks at a stop while others draw here

_PREVIEW_LIMITS = ImageLimits(max_bytes=4 * 1024 * 1024, max_side=1024)
# What a machine says that cannot take the pass now: it shuts down, or others keep it busy.
_PASSING_CODES = frozenset({JobCancelled.code, QueueFull.code})


class Cluster:
    """A Backend over `machines`, which draw what they have; the backends `local` draw the rest here.

    A pass on a machine that goes away is begun again on another: it costs nothing, and the same seeds draw the same
    image. Models that cost money never run on other machines.
    """

    def __init__(self, machines: Machines, local: Sequence[Backend]) -> None:
        self._machines = machines
        self._local = tuple(local)
        self._drawing_here = threading.Lock()

    @property
    def lane_threads(self) -> Mapping[str, int]:
        """As many passes run as there are machines, and as many wait, so that a machine finds one for the model that it
        has in memory."""
        return {CLUSTER_LANE: 2 * max(1, len(self._machines))}

    def models(self) -> Sequence[Model]:
        remote = [dataclasses.replace(one, lane=CLUSTER_LANE) for one in self._machines.list_models()]
        taken = {one.id for one in remote}
        own = (one for backend in self._local for one in backend.models() if one.id not in taken)
        return [*remote, *own]

    def check_names(self, request: GenerationRequest) -> None:
        """See NamingBackend. What other machines have is checked there, when the pass begins."""
        local = None if self._is_remote(request.model) else self._find_local(request.model)
        check = getattr(local, "check_names", None)
        if check is not None:
            check(request)

    def count_generations(self, request: GenerationRequest) -> int:
        """See ComposingBackend. What names another machine's model knows is known where the model is here too."""
        count = getattr(self._find_local(request.model), "count_generations", None)
        return 1 if count is None else count(request)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        """One pass; see Backend. Where no machine is left, it is drawn here if the model is here too.

        Raises:
            Unreachable: no machine with the model answers, MAX_LOST went away during the pass, or MAX_TRIES could not
                take it.
        """
        if self._is_remote(request.model):
            try:
                return self._render_elsewhere(request, seeds, ctx)
            except Unreachable:
                if self._find_local(request.model) is None:
                    raise
            ctx.report_loading("No machine responds; generating here")
        return self._render_here(request, seeds, ctx)

    def _render_elsewhere(
        self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext
    ) -> list[RenderedImage]:
        order = Order(
            request=request,
            seeds=tuple(seeds),
            images={name: ctx.load_image(name) for name in list_image_hashes(request)},
            previews=ctx.settings.previews,
            preview_interval=ctx.settings.preview_interval,
            preview_side=ctx.settings.preview_side,
        )
        ctx.report_loading("Waiting for a machine")
        tried, lost = list[Machine](), 0
        while len(tried) < MAX_TRIES and lost < MAX_LOST:
            patience = 0.0 if self._find_local(request.model) else PATIENCE
            machine = self._machines.take(request.model, tried, ctx.raise_if_cancelled, patience)
            tried.append(machine)
            try:
                rendered = self._render_on(machine, order, ctx)
                self._machines.mark_resident(machine, request.model)
                return rendered
            except MachineLost as error:
                lost += error.begun
                self._machines.mark_lost(machine, str(error))
                ctx.report_loading("A machine was lost; starting again on another")
            finally:
                self._machines.give_back(machine)
        raise Unreachable("Several machines of the cluster were lost one after the other.", hint="See their logs.")

    def _render_here(
        self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext
    ) -> list[RenderedImage]:
        """One pass by a local backend. Those of the GPU's lane run one at a time, also when a job of the cluster's lane
        has to be drawn here."""
        local = self._find_local(request.model)
        if local is None:
            raise Unreachable("No machine of the cluster answers.", hint="Start one, or check the network.")
        if next(one.lane for one in local.models() if one.id == request.model) != GPU_LANE:
            return local.render(request, seeds, ctx)
        while not self._drawing_here.acquire(timeout=_TURN_SECONDS):
            ctx.raise_if_cancelled()
        try:
            return local.render(request, seeds, ctx)
        finally:
            self._drawing_here.release()

    def close(self) -> None:
        self._machines.close()
        for backend in self._local:
            backend.close()

    def _find_local(self, model_id: str) -> Backend | None:
        return next((one for one in self._local if any(model.id == model_id for model in one.models())), None)

    def _is_remote(self, model_id: str) -> bool:
        return any(one.id == model_id for one in self._machines.list_models())

    def _render_on(self, machine: Machine, order: Order, ctx: JobContext) -> list[RenderedImage]:
        """The images of a pass on one machine.

        Raises:
            MachineLost: it went away. StudioError: what it says is wrong, or what `ctx` raises.
        """
        limits = ImageLimits.of(ctx.settings)
        found: list[RenderedImage] = []
        most = len(order.seeds) * count_outputs(order.request)
        events = self._machines.stream(machine, order)
        try:
            for event in events:
                match event.get("event"):
                    case "image" if len(found) < most:
                        found.append(decode_image(event, limits))
                    case "image":
                        raise ProviderError("Another machine of the cluster sent too many images.", hint="See its log.")
                    case "end":
                        _record_end(event, ctx)
                        return found
                    case "error":
                        error = decode_error(event)
                        if error.code in _PASSING_CODES:
                            raise MachineLost(error.message, begun=False)
                        raise error
                    case _:
                        _pass_on(event, ctx)
        finally:
            events.close()
        raise MachineLost("the stream ended early")


def _record_end(event: Mapping[str, Any], ctx: JobContext) -> None:
    peak = event.get("peak")
    if isinstance(peak, int):
        ctx.record_peak_memory(peak)


def _pass_on(event: Mapping[str, Any], ctx: JobContext) -> None:
    """Tell the job here what the machine told; raises as `ctx` does."""
    match event:
        case {"event": "loading", "what": str(what)}:
            ctx.report_loading(what[:200])
        case {"event": "progress", "step": int(step), "steps": int(steps)} if 0 <= step <= steps <= 100_000:
            ctx.report_progress(step, steps, _read_preview(event.get("preview")))
        case {"event": "notice", "text": str(text)}:
            ctx.add_notice(text[:1000])
        case _:
            ctx.raise_if_cancelled()


def _read_preview(text: Any) -> Callable[[], Image.Image] | None:
    """The small image of an event, None where it has none that can be read."""
    if not isinstance(text, str):
        return None
    with contextlib.suppress(BadImage, QueueFull, ValueError):
        image = open_image(decode_base64(text), limits=_PREVIEW_LIMITS)
        return lambda: image
    return None
