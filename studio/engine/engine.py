"""The engine: every request for an image goes through it, and it calls the backends."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import studio
from studio.core.errors import (
    InvalidRequest,
    JobCancelled,
    NotConfigured,
    NotFound,
    StorageFailed,
    StudioError,
)
from studio.core.events import CancelledEvent, NoticeEvent, Status
from studio.core.infotext import parse_infotext
from studio.core.model import GPU_LANE, Model
from studio.core.ports import Backend, JobContext
from studio.core.provenance import ContentCredentials, CredentialReport
from studio.core.request import GenerationRequest, count_outputs
from studio.core.result import Asset
from studio.core.rights import Right
from studio.core.task import Task
from studio.core.user import GUEST_PREFIX, LOCAL_USER, User
from studio.engine.api_tokens import ApiTokens
from studio.engine.audit import AuditEvent, AuditLog
from studio.engine.guests import GuestLimits, GuestQuota, GuestSweeper
from studio.engine.jobs.abandonment import AbandonmentTimer
from studio.engine.jobs.admission import Admission, AdmittedRequest
from studio.engine.jobs.chain_steps import ChainRenderer
from studio.engine.jobs.dispatcher import Dispatcher
from studio.engine.jobs.job import Job, StopReason
from studio.engine.jobs.job_context import LaneContext, RunContext
from studio.engine.jobs.job_registry import JobRegistry
from studio.engine.jobs.job_runner import JobRunner
from studio.engine.jobs.journal import Journal, JournalEntry
from studio.engine.jobs.lanes import WORK_TIMEOUT
from studio.engine.jobs.passes_for_others import PassesForOthers
from studio.engine.jobs.past_jobs import restore_jobs
from studio.engine.jobs.previews import Previews
from studio.engine.jobs.run_state import RunnerServices
from studio.engine.jobs.saved_chains import SavedChains
from studio.engine.jobs.saved_recipes import SavedRecipes
from studio.engine.jobs.saver import Saver
from studio.engine.logs import Logs
from studio.engine.lookups import Lookups
from studio.engine.metrics import Metrics
from studio.engine.models.model_list import Models
from studio.engine.models.timings import Timings
from studio.engine.models.votes import Votes
from studio.engine.moderation import Moderation
from studio.engine.money.ledger import Ledger
from studio.engine.personas import Personas
from studio.engine.privacy import UserData
from studio.engine.settings_store import SettingsStore
from studio.engine.storage.asset_builder import AssetBuilder
from studio.engine.storage.asset_feed import AssetFeed, FedFile
from studio.engine.storage.foreign_image import read_foreign_image
from studio.engine.storage.hidden_marks import HiddenMarks
from studio.engine.storage.image_access import Gallery
from studio.engine.storage.index_rebuild import rebuild_index
from studio.engine.storage.input_cleanup import InputCleanup
from studio.engine.storage.inputs import INPUTS_FOLDER, Images
from studio.engine.storage.outputs import Outputs
from studio.engine.storage.signing import AssetSigner
from studio.engine.usage import Usage
from studio.library.asset_index import AssetIndex
from studio.library.asset_library import AssetLibrary
from studio.library.database import Database
from studio.library.held_images import HeldImages
from studio.library.imports import parse_folders
from studio.library.process_locks import ProcessLock
from studio.library.upkeep import Upkeep
from studio.library.user_rows import UserRows
from studio.prompting.wildcards import Wildcards

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Engine(Gallery):
    """Takes requests, runs them, and reports their state. All methods may be called from any thread and return
    quickly, but for `run_in_lane` and `close`.

    Images, journal and index lie in the folder of `database`; a change of the outputs folder holds from the next start.
    """

    def __init__(
        self,
        *,
        settings: SettingsStore,
        backends: Sequence[Backend],
        database: Database,
        logs: Logs | None = None,
        lookups: Lookups = Lookups(),  # noqa: B008 - frozen
        grace: float = 60.0,
    ) -> None:
        """`logs` are opened in the settings' folder when None. `grace` is how long a page may be gone before its job is
        stopped, in seconds."""
        tool = f"Easel {studio.__version__}"
        root = database.path.parent
        self.logs, self.metrics = logs or Logs.open(settings.current), Metrics()
        library = AssetIndex(database, root)
        self.audit, self.held = AuditLog(settings.current.logs_dir), HeldImages(database, root)
        moderation = Moderation(lookups.moderator, self.audit)
        self._credentials, images = lookups.credentials, Images(database, root, lookups.credentials)
        signer = AssetSigner(lookups.credentials, images, HiddenMarks(lookups.hide_text))
        outputs = Outputs(root, library, tool=tool, moderation=moderation, held=self.held, signer=signer)
        super().__init__(settings, library, outputs, images, moderation)
        self.asset_library = AssetLibrary(
            database, root, outputs.remove_thumbnail, read_foreign_image, lookups.embedder
        )
        self._feed = AssetFeed(outputs, self.asset_library, moderation)
        self._database, self._models = database, Models(backends)
        self._saver, self._previews = Saver(self._outputs), Previews()
        self._open_queue(database, root)
        self._open_user_data(database, settings.folder)
        self._open_sweepers(database, root)
        self._admission = Admission(self._models, self._images, lookups.find_successor, self.wildcards)
        self._timings, self._lookups = Timings(database), lookups
        tools = RunnerServices(
            models=self._models,
            journal=self._journal,
            library=self.library,
            outputs=self._outputs,
            saver=self._saver,
            timings=self._timings,
            drafts=AssetBuilder(version=tool, images=self._images, model_hash=lookups.model_hash),
            logs=self.logs,
            metrics=self.metrics,
            usage=self.usage,
            ledger=self.ledger,
            chain=ChainRenderer(self._models, self.ledger, self._run_in_other_lane),
            contexts=self._make_context,
        )
        self._runner = JobRunner(tools, self._requeue, self._list_waiting_jobs)
        self._dispatch = Dispatcher(self._runner.run, self._timings, self._models.collect_lane_threads())
        self._absence = AbandonmentTimer(grace, self._stop_abandoned)
        self._lock, self._job_registry = threading.RLock(), JobRegistry()
        self.passes = PassesForOthers(
            settings, self._models, moderation, self.usage, self._job_registry, self._dispatch
        )
        self._indexing = self.asset_library.make_indexing(
            lambda: self._dispatch.is_busy, lambda asset_id, user: self.get_thumbnail(asset_id, User(user))
        )
        self._started = self._closed = False

    def _requeue(self, job: Job) -> None:
        self._dispatch.put(job, first=True)

    def _list_waiting_jobs(self) -> list[Job]:
        return self._dispatch.lane(GPU_LANE).list_jobs()[1]

    def _make_context(self, job: Job, estimate: float | None) -> RunContext:
        return RunContext(job, self._previews, self._images, self._lookups.key, self._timings, estimate=estimate)

    def _open_queue(self, database: Database, root: Path) -> None:
        """The journal, and who may write it."""
        self._owner = ProcessLock(root)
        self._journal = Journal(database, self._owner)

    def _open_user_data(self, database: Database, folder: Path) -> None:
        """What users have besides images: money, lists and tokens of their own."""
        self.usage = Usage(database)
        self.ledger, self.votes, self.chains = Ledger(database), Votes(database), SavedChains(database)
        self.tokens = ApiTokens(folder / "tokens.json")
        self.wildcards = Wildcards(folder / "wildcards")
        self.recipes = SavedRecipes(folder / "recipes")
        self.personas = Personas(folder / "personas")

    def _open_sweepers(self, database: Database, root: Path) -> None:
        """What removes what is old, unused, or to be forgotten."""
        inputs = root / INPUTS_FOLDER
        self._upkeep = Upkeep(self.asset_library, lambda: self._settings.current, self._sweep_logs)
        self._cleanup = InputCleanup(database, inputs, lambda: self._settings.current.input_days)
        rows = UserRows(database, root, inputs, self._outputs.remove_thumbnail)
        folder = self._settings.folder
        self._user_data = UserData(rows, folder, self.tokens, self.audit, self.asset_library)
        self._guests = GuestQuota(GuestLimits()) if self._settings.current.guests else None
        self._sweeper = GuestSweeper(database, self.asset_library, self._cleanup, folder, self._user_data)

    def start(self) -> None:
        """Take up the unfinished jobs of dead processes, in their order; index the images when the index is new."""
        if self._database.fresh:
            threading.Thread(target=self._rebuild, name="rebuild", daemon=True).start()
        with self._lock:
            jobs = self._restore_jobs(self._journal.claim())
            self._job_registry.put(*jobs)
            self._dispatch.put(*jobs)
        self._outputs.recover_fed()
        self._cleanup.start()
        if self._guests is not None:
            self._sweeper.start()
        self._upkeep.start()
        self._indexing.start()
        self.asset_library.imports.start(parse_folders(self._settings.current.import_folders))
        self._started = True

    @property
    def is_ready(self) -> bool:
        """Whether new jobs are taken, and the library can be read."""
        if not self._started or self._closed:
            return False
        try:
            return bool(self._database.rows("SELECT 1"))
        except StorageFailed:
            return False

    def close(self, *, drain: float = 25.0) -> None:
        """Take no new job, wait up to `drain` seconds for the running ones, and put those back that need longer. Takes
        at most five seconds more than `drain`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._absence.close()
        self._cleanup.close()
        self._sweeper.close()
        begun = time.monotonic()
        for job in self._dispatch.close(drain):
            self._put_back(job)
        self._upkeep.close()
        self._indexing.close()
        self.asset_library.imports.close()
        self._saver.close(max(2.0, begun + drain - time.monotonic()))
        self._models.close()
        self._previews.close()
        self._owner.release()
        self._database.close()
        self.logs.close()
        self.audit.close()

    @property
    def has_ended(self) -> bool:
        """Whether every job let go after `close`; a model's own code may be in the middle of a step."""
        return self._dispatch.has_ended

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called: then jobs can no longer be looked up."""
        return self._closed

    def submit(self, request: GenerationRequest, user: User) -> Job:
        """Check the request, write it into the journal and queue it.

        Raises:
            UnknownModel, ModelBroken, InvalidRequest: the request cannot be carried out as it stands.
            NotFound: an image that it names is not there, or another user's.
            Forbidden: the caller may not make images, or a model costs money and they may not spend any, or it is one
                that guests may not use.
            BudgetExceeded: the user's budget would be passed.
            ContentRefused: moderation refuses its texts.
            QuotaExceeded: the user's images of a day or disk space are used up.
            QueueFull: too many jobs wait; `details` has the number. StorageFailed: the journal cannot be written.
        """
        with self._models.hold():
            return self._submit(request, user)

    def _submit(self, request: GenerationRequest, user: User) -> Job:
        user.require(Right.GENERATE)
        settings = user.adjust_settings(self._settings.current)
        guests = self._guests if user.name.startswith(GUEST_PREFIX) else None
        pinned = not user.may(Right.SPEND) and self._admission.is_paid(settings.fallback_model)
        pinned = pinned or guests is not None
        if pinned:
            settings = settings.replace(fallback_model="")
        accepted = self._admission.admit_request(request, user.name, settings)
        if self._admission.has_paid_models(accepted.request):
            user.require(Right.SPEND)
        if pinned and not accepted.request.fallbacks:
            # Named in the request, so that the journal keeps it: after a restart no paid fallback takes over either.
            accepted = dataclasses.replace(accepted, request=accepted.request.replace(fallbacks=(accepted.model.id,)))
        found = self.moderation.check_request(accepted.request, user.name, settings)
        accepted = dataclasses.replace(accepted, notes=tuple(filter(None, (*accepted.notes, found))))
        with self._lock:
            if self._closed:
                raise JobCancelled("The studio is shutting down.", hint="Try again in a minute.")
            self._dispatch.check_room(user.name, settings)
            wanted = accepted.images * count_outputs(accepted.request)
            things = accepted.generations - accepted.images
            coming = self._job_registry.count_coming_images(user.name)
            self.usage.check_images(user.name, settings, wanted=wanted + things, waiting=coming, is_composed=things > 0)
            self.usage.check_disk(user.name, settings)
            if guests is not None:
                models = self._admission.list_models(accepted.request)
                guests.admit(models, accepted.images, user.name, generations=accepted.generations)
            job = Job(
                job_id=secrets.token_hex(8),
                user=user.name,
                request=accepted.request,
                model=accepted.model,
                settings=settings,
            )
            expected = self._admission.estimate(accepted.request, user.name, settings)
            warning = self.ledger.reserve(job.id, user.name, expected or 0.0, settings)
            job.images, job.generations, job.notes = accepted.images, accepted.generations, accepted.notes
            self._journal.add(_make_entry(job, accepted))
            self._job_registry.put(job)
            job.emit(*(NoticeEvent(note) for note in (*accepted.notes, *([warning] if warning else []))))
            self._dispatch.put(job)
        self.metrics.count_submission(job.model.lane)
        if job.model.paid:
            self.audit.record(AuditEvent.PAID_JOB, user.name, job=job.id, model=job.model.id, estimated=expected)
        return job

    def feed(self, file: FedFile, user: User) -> str:
        """Put a file of another program into the library of `user`; returns the id of the new asset.

        Raises:
            BadImage, InvalidRequest: the file is refused. NotFound: no such parent or collection.
            QuotaExceeded: the user's disk space is used up.
            StorageFailed: it cannot be written.
        """
        settings = user.adjust_settings(self._settings.current)
        self.usage.check_disk(user.name, settings)
        return self._feed.add(file, user.name, settings)

    def export_data(self, user: User) -> Iterator[bytes]:
        """The bytes of a zip with everything that is kept of `user`."""
        return self._user_data.export(user.name)

    def delete_data(self, name: str, by: User) -> dict[str, int]:
        """Remove everything of the user `name` for good, jobs, images, lists and tokens; returns how many of what.

        Raises:
            Forbidden: it is neither `by` with the right to delete, nor does `by` manage users.
            QueueFull: a job does not stop. StorageFailed: a file could not be removed; the same call may be made again.
        """
        by.require(Right.DELETE if name == by.name else Right.USERS)

        def stop_jobs() -> bool:
            self.cancel_all(User(name))
            return all(job.snapshot.status.is_final for job in self._job_registry.of(name))

        counts = self._user_data.delete(name, by.name, stop_jobs)
        self._job_registry.forget(name)
        return counts

    def _sweep_logs(self) -> None:
        for logs in (self.logs, self.audit):
            logs.sweep(self._settings.current.log_days)

    def check_answer(self, text: str, user: User) -> None:
        """Refuse what a language model wrote where moderation does; raises ContentRefused."""
        self.moderation.check_answer(text, user.name, user.adjust_settings(self._settings.current))

    def release(self, asset_id: str, user: User) -> Asset:
        """Show a held image, anybody's, as it is.

        Raises:
            Forbidden: `user` may not release images. NotFound: the image is not held.
            StorageFailed: it cannot be written.
        """
        user.require(Right.RELEASE)
        self.held.find(asset_id)
        asset = self.library.find_any(asset_id)
        self._outputs.release(asset)
        self.audit.record(AuditEvent.IMAGE_RELEASED, user.name, asset=asset_id, of=asset.user)
        return self.library.find_any(asset_id)

    def read_credentials(self, data: bytes) -> CredentialReport:
        """What the Content Credentials in a file of anybody say; raises QueueFull when too many are being read."""
        return self._credentials.read(data) if self._credentials is not None else CredentialReport()

    @property
    def signing(self) -> ContentCredentials:
        """What signs the files of this installation.

        Raises:
            NotConfigured: nothing does.
        """
        if self._credentials is None:
            raise NotConfigured("This studio cannot sign images.", hint="Install the package c2pa-python.")
        return self._credentials

    @property
    def file_roots(self) -> tuple[Path, ...]:
        """The folders below which the files of all assets lie: the outputs folder and those that are imported."""
        return (self.outputs_dir, *self.asset_library.imports.list_paths())

    def estimate(self, request: GenerationRequest, user: User = LOCAL_USER) -> float | None:
        """Estimate the cost of `request` of `user` in US dollars, with all its images and steps, as they
        will be sent; 0 for local models, None when it is unknown.

        Raises:
            UnknownModel: a model that is not there. InvalidRequest: the model does not do it, or the axes make no grid.
        """
        with self._models.hold():
            return self._admission.estimate(request, user.name, self._settings.current)

    def resolve_request(self, request: GenerationRequest, user: User) -> GenerationRequest:
        """`request` with the model that would draw it now and its size, for telling what it would cost; nothing is
        sent.

        Raises:
            UnknownModel, InvalidRequest: there is no such model. NotFound: its image is gone.
        """
        return self._admission.resolve_request(request, user.name, self._settings.current)

    def estimate_seconds(self, request: GenerationRequest) -> float | None:
        """How long one image of `request` took before, None when none like it was made; of a composed one, how long its
        things took.

        Raises:
            UnknownModel: there is no such model. InvalidRequest: its prompt cannot be read.
        """
        model = self.model(request.model, request.task)
        return self._timings.estimate_seconds(request, model, self._models.count_generations(request))

    def job(self, job_id: str, user: User) -> Job:
        """The job of that id, of this run or an earlier one.

        Raises:
            NotFound: there is none, or it is another user's.
        """
        job = self._job_registry.get(job_id)
        if job is not None and job.user == user.name:
            return job
        entry = None if job is not None else self._journal.get(job_id, user.name)
        if entry is None:
            raise NotFound("Job not found.", hint="It may belong to another user.")
        return self._restore_jobs([entry])[0]

    def jobs(self, user: User, limit: int = 50) -> list[Job]:
        """The user's latest jobs, newest first, those of earlier runs too."""
        entries = self._journal.list_newest(user.name, limit)
        held = {entry.id: self._job_registry.get(entry.id) for entry in entries}
        past = iter(self._restore_jobs([entry for entry in entries if held[entry.id] is None]))
        return [held[entry.id] or next(past) for entry in entries]

    def count_unfinished(self, user: User) -> int:
        """How many jobs of the user wait or run, those of other studio processes too."""
        return self._journal.count_open(user.name)

    def list_held_jobs(self, user: User) -> list[Job]:
        """The user's jobs that this process holds, the oldest first: all unfinished ones, and the latest ended ones.
        Cheap, for whoever looks often."""
        return self._job_registry.of(user.name)

    def count_jobs_by_lane(self) -> dict[str, tuple[int, int]]:
        """How many jobs of all users (run, wait) in each lane that has had any."""
        return self._dispatch.count_jobs()

    def cancel(self, job_id: str, user: User) -> None:
        """Stop a job: at once when it waits, within a step when it runs. Its finished images stay. An ended job is left
        as it is.

        Raises:
            NotFound: no such job of this user. InvalidRequest: another studio process runs it.
        """
        job = self._require_own_job(job_id, user)
        if not job.snapshot.status.is_final:
            self._stop_jobs([job])

    def skip(self, job_id: str, user: User) -> None:
        """Leave out what the job draws now and go on with the next; raises as `cancel`."""
        job = self._require_own_job(job_id, user)
        if job.snapshot.status in (Status.LOADING, Status.RUNNING):
            job.skip()

    def cancel_all(self, user: User) -> None:
        """Stop every job of the user, waiting and running."""
        self._stop_jobs([job for job in self._job_registry.of(user.name) if not job.snapshot.status.is_final])

    def retry_save(self, job_id: str, user: User) -> Job:
        """Write the images that the disk refused once more; nothing is drawn again but what never was.

        Raises:
            NotFound: no such job. InvalidRequest: all its images are saved, or were lost when the studio ended.
            StorageFailed: the journal cannot be written either.
        """
        job = self._require_own_job(job_id, user)
        with self._lock:
            if self._closed:
                raise JobCancelled("The studio is shutting down.", hint="Try again in a minute.")
            if not job.unsaved or not job.snapshot.status.is_final:
                raise InvalidRequest("All images of this job are already saved.", hint="Open the gallery to see them.")
            self._runner.save_again(job)
        return job

    def leave(self, job_id: str, user: User) -> None:
        """The page that watched the job is gone. A local job is stopped after the grace time when the settings say
        so."""
        job = self.job(job_id, user)
        if job.settings.page_closed == "stop" and not job.model.paid and not job.snapshot.status.is_final:
            self._absence.leave(job)

    def attach(self, job_id: str, user: User) -> Job:
        """A page watches the job (again); raises NotFound as `job`."""
        job = self.job(job_id, user)
        self._absence.attach(job)
        return job

    def models(self, task: Task | None = None) -> tuple[Model, ...]:
        """All models of all backends, or those that do `task`."""
        return tuple(model for model in self._models.all() if task is None or task in model.tasks)

    def match_model(self, request: GenerationRequest, infotext: str) -> GenerationRequest:
        """`request`, read from `infotext`, with the model whose hash the text tells: files are renamed."""
        beginning = parse_infotext(infotext).model_hash if infotext else ""
        found = self._lookups.find_by_hash(beginning) if beginning else ""
        return request.replace(model=found) if found else request

    def model(self, model_id: str, task: Task = Task.TXT2IMG) -> Model:
        """One model; "" is the default for `task`.

        Raises:
            UnknownModel: there is none of that id.
        """
        if model_id:
            return self._models.find(model_id)[1]
        return self._models.default(self._settings.current.default_model, task)

    @property
    def previews_dir(self) -> Path:
        """The private temporary folder that previews are written to."""
        return self._previews.folder

    def run_in_lane(self, lane: str, work: Callable[[JobContext], T], *, timeout: float = WORK_TIMEOUT) -> T:
        """Run `work` in a lane's thread, between jobs, and wait for its result; what it raises is raised here.

        Raises:
            StudioError: the lane is busy for longer than `timeout` seconds.
        """
        context = LaneContext(self._settings.current)
        return self._dispatch.lane(lane).run_work(lambda: work(context), timeout)

    def _run_in_other_lane(self, lane: str, work: Callable[[], T], context: RunContext) -> T:
        """Run `work` in another lane's thread, for a job that waits for it."""
        context.raise_if_cancelled()
        return self._dispatch.lane(lane).run_work(work)

    def _require_own_job(self, job_id: str, user: User) -> Job:
        """The job when this process may act on it."""
        job = self.job(job_id, user)
        if self._job_registry.get(job.id) is not None or job.snapshot.status.is_final:
            return job
        raise InvalidRequest("This job runs in another studio process.", hint="Stop it there.")

    def _stop_jobs(self, jobs: Sequence[Job]) -> None:
        """End those of `jobs` that wait; those that run are asked to stop. One that begins meanwhile stops at once."""
        for job in jobs:
            job.stop(StopReason.CANCEL)
        waited = self._dispatch.remove(*jobs)
        for job in waited:
            self.ledger.release(job.id)
        try:
            if waited:
                self._journal.record_cancelled({job.id: job.snapshot.notices for job in waited})
        except StorageFailed as error:
            _log.warning("the end of %d jobs is not in the journal: %s", len(waited), error.message)
        for job in waited:
            job.emit(CancelledEvent())
            self.metrics.record_end(job.model.lane, Status.CANCELLED.value)

    def _stop_abandoned(self, job: Job) -> None:
        try:
            self.cancel(job.id, User(job.user))
        except StudioError as error:
            _log.warning("the job %s of a closed page was not stopped: %s", job.id, error.message)

    def _put_back(self, job: Job) -> None:
        """Let a job that the process leaves behind wait for the next start, which is not its fault."""
        try:
            self._journal.put_back(job.id)
        except StorageFailed as error:
            _log.warning("the job %s is not put back: %s", job.id, error.message)

    def _restore_jobs(self, entries: Sequence[JournalEntry]) -> list[Job]:
        return restore_jobs(entries, self._models, self.library, self._settings.current)

    def _rebuild(self) -> None:
        try:
            rebuild_index(self.library)
            self.asset_library.replay_notes()
        except StorageFailed as error:
            _log.warning("the index of images is not complete: %s", error.message)


def _make_entry(job: Job, accepted: AdmittedRequest) -> JournalEntry:
    return JournalEntry(
        id=job.id,
        user=job.user,
        model=job.model.id,
        request=job.request,
        status=Status.QUEUED,
        created=job.created,
        notices=accepted.notes,
    )
