"""Notifications that a job has ended, sent to an address that its request named, signed as Standard Webhooks say. They
are written down before they are due and sent until they are taken, also after a restart."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from studio.api.error_responses import clean_json
from studio.api.outbound import FAILURES, check_outbound_address, open_outbound
from studio.api.responses import build_job_body
from studio.api.webhook_queue import Notification, WebhookQueue
from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

RETRY_SECONDS = (0.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0)  # before each attempt
MAX_URL_LENGTH = 2000  # characters
MIN_SECRET_LENGTH = 16  # characters
_SECRET_PREFIX = "whsec_"
_SEND_SECONDS = 15.0  # for a whole delivery
_LOOK_SECONDS = 0.5  # between two looks at jobs whose end is waited for

_log = logging.getLogger(__name__)


class Webhooks:
    """Sends notifications, several at once and the users in turn. Its thread ends when none is left and when the studio
    closes."""

    def __init__(self, studio: Studio, folder: Path, retry_seconds: tuple[float, ...] = RETRY_SECONDS) -> None:
        """Takes up what is written in `folder`, which is made with the first notification."""
        self._studio = studio
        self._folder = folder
        self._retry_seconds = retry_seconds
        self._queue = WebhookQueue(_load(folder))
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        if not self._queue.is_empty():
            self._start()

    @contextlib.contextmanager
    def expect(self, user: User, url: str, secret: str) -> Generator[Callable[[Job], None]]:
        """Refuse an address or a secret before any job is made, and keep a place; what is given registers the job
        that was made meanwhile. Without `url` it does nothing.

        Raises:
            InvalidRequest: the message says why. QuotaExceeded: too many wait. StorageFailed: it cannot be written
            down.
        """
        if not url:
            yield lambda _: None
            return
        check_outbound_address(url, self._studio.settings.current.webhook_hosts, "webhook_hosts")
        if len(url) > MAX_URL_LENGTH:
            raise InvalidRequest("The address of the webhook is too long.", hint="Use a shorter one.")
        _read_key(secret)
        self._queue.reserve(user.name)
        try:
            yield lambda job: self._register(job, url, secret)
        finally:
            self._queue.free(user.name)

    def _register(self, job: Job, url: str, secret: str) -> None:
        one = Notification(id=f"msg_{secrets.token_hex(12)}", job_id=job.id, user=job.user, url=url, secret=secret)
        self._write(one)
        self._queue.add(one)
        self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._queue.is_empty() or self._studio.engine.is_closed:
                    self._thread = None
                    return
            self._changed.clear()
            self._look_for_ends()
            while (one := self._queue.take_next(time.time())) is not None:
                threading.Thread(target=self._deliver, args=(one,), name="webhook", daemon=True).start()
            self._changed.wait(_LOOK_SECONDS)

    def _look_for_ends(self) -> None:
        """Note the ends of jobs that are waited for."""
        for one in self._queue.list_unended():
            try:
                job = self._find_job(one)
            except StudioError as error:
                _log.warning("the notification %s waits: %s", one.id, error.message)
                continue
            if job is None:
                self._remove(one)
            elif job.snapshot.status.is_final:
                self._queue.mark_due(one, time.time())

    def _find_job(self, one: Notification) -> Job | None:
        try:
            return self._studio.engine.job(one.job_id, User(one.user))
        except NotFound:
            return None

    def _deliver(self, one: Notification) -> None:
        """Send one that is due; it is due again later where that fails."""
        attempts = one.attempts + 1
        wait = self._retry_seconds[min(attempts, len(self._retry_seconds) - 1)]
        try:
            job = self._find_job(one)
            if job is None or self._send(one, job):
                self._remove(one)
            elif attempts >= len(self._retry_seconds):
                _log.warning("the notification %s of job %s was given up", one.id, one.job_id)
                self._remove(one)
            else:
                self._write(replace(one, attempts=attempts, due=time.time() + wait))
        except StudioError as error:
            _log.warning("the notification %s waits: %s", one.id, error.message)
        finally:
            self._queue.finish(replace(one, attempts=attempts, due=time.time() + wait))
            self._changed.set()

    def _send(self, one: Notification, job: Job) -> bool:
        """Whether the notification needs no further attempt: it was taken, or its address is gone or not allowed any
        more."""
        settings = self._studio.settings.current
        data = build_job_body(job, settings.root_path).model_dump()
        body = json.dumps(clean_json({"type": f"job.{data['status']}", "timestamp": _format_now(), "data": data}))
        headers = {"Content-Type": "application/json", **sign(one.id, body.encode(), one.secret, time.time)}
        try:
            check_outbound_address(one.url, settings.webhook_hosts, "webhook_hosts")
            with open_outbound("POST", one.url, seconds=_SEND_SECONDS, headers=headers, body=body.encode()) as answer:
                return 200 <= answer.status < 300 or answer.status == 410
        except InvalidRequest as error:
            _log.warning("the notification %s was dropped: %s", one.id, error.message)
            return True
        except FAILURES as error:
            _log.info("the notification %s was not taken: %s", one.id, type(error).__name__)
            return False

    def _write(self, one: Notification) -> None:
        with translate_os_errors("the notification"):
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_synced(self._folder / f"{one.id}.json", json.dumps(asdict(one)).encode(), 0o600)

    def _remove(self, one: Notification) -> None:
        self._queue.remove(one)
        try:
            (self._folder / f"{one.id}.json").unlink(missing_ok=True)
        except OSError as error:  # it is sent once more after the next start
            _log.warning("the notification %s stays on the disk: %s", one.id, error)


def sign(message_id: str, body: bytes, secret: str, clock: Callable[[], float]) -> dict[str, str]:
    """The headers of Standard Webhooks for `body`: id, time, and an HMAC-SHA256 over both and the body."""
    stamp = str(int(clock()))
    digest = hmac.digest(_read_key(secret), f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def _read_key(secret: str) -> bytes:
    """The key of a secret: "whsec_" and base64, or any text that is long enough.

    Raises:
        InvalidRequest: it is too short or no base64.
    """
    hint = f"Use whsec_ and base64, or at least {MIN_SECRET_LENGTH} characters."
    if len(secret) < MIN_SECRET_LENGTH or len(secret) > 500:
        raise InvalidRequest("The secret of the webhook has a wrong length.", hint=hint)
    if not secret.startswith(_SECRET_PREFIX):
        return secret.encode("utf-8", "replace")
    try:
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError as error:
        raise InvalidRequest("The secret of the webhook is not valid base64.", hint=hint) from error


def _format_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _load(folder: Path) -> list[Notification]:
    found: list[Notification] = []
    for file in sorted(folder.glob("msg_*.json")) if folder.is_dir() else ():
        try:
            data: Any = json.loads(file.read_bytes())
            found.append(Notification(**data))
        except (OSError, ValueError, TypeError):
            _log.warning("the notification %s cannot be read and is left alone", file.name)
    return found
