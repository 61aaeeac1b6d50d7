"""Carrying out one job in its lane: pass after pass, the fallback model when its own fails, and the end of it all."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence

from studio.core.errors import (
    MAY_BE_BILLED,
    ImageSkipped,
    InvalidRequest,
    JobCancelled,
    ModelBroken,
    ProviderError,
    StorageFailed,
    StudioError,
    UnknownModel,
    drop_tracebacks,
)
from studio.core.events import (
    CancelledEvent,
    Event,
    FailedEvent,
    FinishedEvent,
    LoadingEvent,
    NoticeEvent,
    SavedEvent,
    Snapshot,
    Status,
    WaitingEvent,
)
from studio.core.model import Model
from studio.core.request import GenerationRequest, count_outputs
from studio.core.result import RenderedImage
from studio.engine.jobs.drawn_ahead import DrawnAhead
from studio.engine.jobs.generation_count import count_generations
from studio.engine.jobs.job import Job, StopReason
from studio.engine.jobs.passes import PlannedImage, plan_images, take_first_pass
from studio.engine.jobs.run_state import JobRun, RunnerServices
from studio.engine.jobs.unforeseen_errors import log_unexpected_error
from studio.engine.models.fallback_chain import FALLBACK_ERRORS, find_next_model
from studio.engine.models.fallback_request import adapt, format_fallback_notice
from studio.engine.storage import grid_sheet

_log = logging.getLogger(__name__)


class JobRunner:
    """Runs jobs. `requeue(job)` is called when a job has to go on in another lane; `list_waiting` gives the jobs that
    wait for the lane of local models."""

    def __init__(
        self, tools: RunnerServices, requeue: Callable[[Job], None], list_waiting: Callable[[], Sequence[Job]]
    ) -> None:
        self._tools = tools
        self._requeue = requeue
        self._ahead = DrawnAhead(list_waiting)

    def run(self, job: Job) -> None:
        """Draw what is missing of the job. Its images are saved, and its end is reported, in the background. Raises
        nothing."""
        tools = self._tools
        tools.metrics.record_start(job.model.lane, job.created)
        expected = tools.timings.estimate_seconds(job.request, job.model, job.generations / job.images)
        context = tools.contexts(job, expected * job.images if expected else None)
        run = JobRun(job=job, context=context, saves=tools.saver.open(job), lane=job.model.lane)
        try:
            self._draw(run)
        except JobCancelled:
            if job.stop_reason is None:
                run.error = StudioError("The model stopped unexpectedly.", hint="Try again.")
        except StudioError as error:
            run.error = drop_tracebacks(error)
        except Exception as error:  # noqa: BLE001 - the lane's runner: the lane must outlive any job
            run.error = log_unexpected_error(error)
        run.saves.end_after_saves(lambda: self._end(run))

    def save_again(self, job: Job) -> None:
        """Write `job.unsaved` once more, in the background; then the job ends, or goes on with what was never drawn."""
        tools = self._tools
        tools.journal.put_back(job.id)
        kept, job.unsaved = job.unsaved, []
        old = job.snapshot
        job.restore(Snapshot(status=Status.RUNNING, assets=old.assets, notices=old.notices, images=old.images))
        context = tools.contexts(job, None)
        run = JobRun(job=job, context=context, saves=tools.saver.open(job), lane=job.model.lane)

        def work() -> None:
            for asset, rendered in kept:
                run.saves.put(asset, rendered, tools.drafts.fields(asset.request, job.model))
            run.saves.end_after_saves(lambda: self._end_saving(run))

        threading.Thread(target=work, name="save again", daemon=True).start()

    def _end_saving(self, run: JobRun) -> None:
        job = run.job
        if run.saves.error is None and len(
            self._tools.library.list_settled_numbers(job.id)
        ) < job.images * count_outputs(job.request):
            job.emit(WaitingEvent(0))
            self._requeue(job)
        else:
            self._end(run)

    def _draw(self, run: JobRun) -> None:
        job, tools = run.job, self._tools
        job.forget_skip()
        job.raise_if_stopped()
        job.emit(LoadingEvent("Starting"))
        tools.journal.record_start(job.id)
        tools.outputs.recover(job.id)
        reported = {asset.id for asset in job.snapshot.assets}
        job.emit(*(SavedEvent(asset) for asset in tools.library.list_job_assets(job.id) if asset.id not in reported))
        images = plan_images(job.request)
        settled = tools.library.list_settled_numbers(job.id)
        missing = collections.deque(image for image in images if not settled.issuperset(_list_file_numbers(image)))
        self._check_paid(job, len(images) - len(missing))
        while missing and not run.fell_back:
            job.raise_if_stopped()
            batch = take_first_pass(list(missing))
            failure = self._draw_pass(run, batch, settled, done=len(images) - len(missing))
            if failure is None:
                for _ in batch:
                    missing.popleft()
            else:  # outside every except block, so that the failed pass holds no memory any more
                self._fall_back(run, batch[0].request, failure)

    def _check_paid(self, job: Job, drawn: int) -> None:
        """Refuse to draw on when more images may have been paid for than there are: what was sent is not sent twice."""
        if self._tools.ledger.count_paid_images(job.id) > drawn:
            raise ProviderError(
                f"The studio ended while {job.model.title} was running. The image may have been billed; the request was"
                " not repeated.",
                hint="Check your account at the provider, then press Generate to pay for a new image.",
                details={MAY_BE_BILLED: True},
            )

    def _draw_pass(self, run: JobRun, batch: list[PlannedImage], settled: set[int], *, done: int) -> StudioError | None:
        """Draw and hand to the saver; the error when the model is to blame."""
        job, tools = run.job, self._tools
        request, note = _substitute_model(run, batch[0].request)
        run.context.begin(done, len(batch))
        try:
            _, model = tools.models.find(request.model)
            rendered, drawn_notes = self._render(run, request, batch, model)
        except ImageSkipped:
            tools.library.skip(job.id, job.user, [number for image in batch for number in _list_file_numbers(image)])
            job.emit(NoticeEvent("Skipped one image" if len(batch) == 1 else f"Skipped {len(batch)} images"))
            return None
        except FALLBACK_ERRORS as error:
            return drop_tracebacks(error)
        run.drawn += len(batch)
        notes = (*job.notes, *note, *drawn_notes)
        numbers = [number for image in batch for number in _list_file_numbers(image)]
        for number, result in zip(numbers, rendered, strict=True):
            if number in settled:  # one of several files of an image that was cut short
                continue
            asset = tools.drafts.build_asset(job, number, request, model, result, notes)
            run.saves.put(asset, result, tools.drafts.fields(request, model))
        self._count_things(job, request, len(batch))
        return None

    def _count_things(self, job: Job, request: GenerationRequest, images: int) -> None:
        """Count what was generated for composed images beside the files themselves among the images of the day."""
        more = (self._tools.models.count_generations(request) - 1) * images
        if not more:
            return
        try:
            self._tools.usage.count_images(job.user, more)
        except StorageFailed as error:  # the images are there all the same
            _log.warning("the things of job %s are not counted: %s", job.id, error.message)

    def _render(
        self, run: JobRun, request: GenerationRequest, batch: list[PlannedImage], model: Model
    ) -> tuple[list[RenderedImage], tuple[str, ...]]:
        """The images of `batch` and what was changed in them: those that an earlier job drew too, or drawn now,
        together with those of jobs that wait."""
        kept = self._ahead.take(run.job)
        if kept is not None and not run.substitutes:
            run.taken = True
            return [kept[0]], kept[1]
        ahead = [] if run.substitutes else self._ahead.choose(run.job, batch, model)
        seeds = [image.seed for image in batch] + [one.image.seed for one in ahead]
        together = request.replace(count=len(seeds), batch_size=len(seeds))
        rendered = self._tools.chain.render(together, seeds, run.context, run.lane)
        run.generations += len(seeds) * self._tools.models.count_generations(request)
        notes = tuple(run.context.notes)
        if ahead:
            run.ahead += len(ahead)
            self._ahead.keep(ahead, rendered[-len(ahead) :], notes)
            rendered = rendered[: -len(ahead)]
        return rendered, notes

    def _fall_back(self, run: JobRun, request: GenerationRequest, failure: StudioError) -> None:
        """Let the fallback model draw what `request`'s model should have drawn; raises `failure` when there is none."""
        job = run.job
        failed = request.model
        fallback_id, left = find_next_model(job, failure)
        if not fallback_id or fallback_id == failed or failed in run.substitutes:
            raise failure
        try:
            _, model = self._tools.models.find(fallback_id)
            adapted = adapt(job.request.replace(model=failed, fallbacks=left), model)
        except (UnknownModel, ModelBroken, InvalidRequest) as error:
            _log.warning("the fallback model %s cannot take over: %s", fallback_id, error.message)
            raise failure from error
        text = format_fallback_notice(failed, model, failure)
        job.emit(NoticeEvent(text))
        if model.lane == run.lane:
            run.substitutes[failed] = (model, text)
        elif job.request.axes:
            raise failure
        else:
            job.request, job.model, run.fell_back = adapted, model, True
            job.generations = count_generations(adapted, self._tools.models, "")
            job.notes = (*job.notes, text)

    def _end(self, run: JobRun) -> None:
        """Report and record the end of a run whose images are settled."""
        job = run.job
        error = run.saves.error or run.error
        if error is None and run.fell_back:
            self._tools.journal.put_back(job.id)
            job.emit(WaitingEvent(0))
            self._requeue(job)
            return
        if error is None and job.stop_reason is StopReason.PUT_BACK:
            self._tools.journal.put_back(job.id)
            job.emit(WaitingEvent(0))
            return
        if error is None and job.stop_reason is None and job.request.axes:
            error = self._compose(run)
        seconds = time.monotonic() - run.started
        if error is None and job.stop_reason is not None:
            self._report_end(run, Status.CANCELLED, CancelledEvent(), seconds)
        elif error is not None:
            run.error = error
            self._report_end(run, Status.FAILED, FailedEvent(error), seconds)
        else:
            self._report_end(run, Status.FINISHED, FinishedEvent(seconds), seconds)

    def _compose(self, run: JobRun) -> StudioError | None:
        """Make and save the labelled image of a whole grid; the error when that fails."""
        job, tools = run.job, self._tools
        result = grid_sheet.compose_grid(
            job.request, {asset.index: asset.path for asset in tools.library.list_job_assets(job.id)}
        )
        if result is None:
            return None
        asset = tools.drafts.build_grid_asset(job, result)
        try:
            saved = tools.outputs.save(asset, result, tools.drafts.fields(job.request, job.model), job.settings)
        except StorageFailed as error:
            job.unsaved.append((asset, result))
            return error
        job.emit(SavedEvent(saved))
        return None

    def _report_end(self, run: JobRun, status: Status, event: Event, seconds: float) -> None:
        job, tools = run.job, self._tools
        snapshot = job.snapshot
        try:
            tools.journal.record_end(job.id, status, seconds=seconds, error=run.error, notices=snapshot.notices)
            if status is Status.FINISHED and run.drawn and not run.taken and not job.request.axes:
                drawing = seconds - run.context.phases.get("load", 0.0)
                composed = run.generations > run.drawn + run.ahead
                tools.timings.record_timing(job.request, job.model, drawing / run.generations, is_composed=composed)
        except StorageFailed as error:  # it is reported all the same; after a restart the job is taken up again
            _log.warning("the end of job %s is not in the journal: %s", job.id, error.message)
        tools.ledger.release(job.id)
        code = run.error.code if run.error else ""
        tools.metrics.record_end(run.lane, status.value, code=code, seconds=seconds)
        tools.metrics.record_work(run.lane, run.drawn, run.context.phases)
        tools.logs.log_generation(run.line(status, seconds), job.request, job.settings)
        job.emit(event)


def _list_file_numbers(image: PlannedImage) -> range:
    """The numbers of the files that the image ends as."""
    files = count_outputs(image.request)
    return range(image.index * files, (image.index + 1) * files)


def _substitute_model(run: JobRun, request: GenerationRequest) -> tuple[GenerationRequest, tuple[str, ...]]:
    """The request as it is really drawn, and the note that says so."""
    if request.model not in run.substitutes:
        return request, ()
    model, text = run.substitutes[request.model]
    return adapt(request, model), (text,)
