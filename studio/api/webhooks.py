"""Notifications that a job has ended, sent to an address that its request named, signed as Standard Webhooks say. They
are written down before they are due and sent until they are taken, also after a restart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from studio.api.error_responses import clean_json
from studio.api.outbound import check_outbound_address
from studio.api.responses import build_job_body
from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

RETRY_SECONDS = (0.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0)  # before each attempt
MAX_PENDING = 1000  # notifications of all users that wait
MAX_URL_LENGTH = 2000  # characters
MIN_SECRET_LENGTH = 16  # characters
_SECRET_PREFIX = "whsec_"
_SEND_SECONDS = 15.0
_LOOK_SECONDS = 0.5  # between two looks at jobs whose end is waited for

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One that is due when its job ends. `due` in seconds since the epoch, 0 while the job has not ended; `attempts`
    are those that failed."""

    id: str
    job_id: str
    user: str
    url: str
    secret: str
    attempts: int = 0
    due: float = 0.0


class Webhooks:
    """Sends notifications from a thread of its own, which ends when none is left and when the studio closes."""

    def __init__(self, studio: Studio, folder: Path, retry_seconds: tuple[float, ...] = RETRY_SECONDS) -> None:
        """Takes up what is written in `folder`, which is made with the first notification."""
        self._studio = studio
        self._folder = folder
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._pending = {one.id: one for one in _load(folder)}
        self._thread: threading.Thread | None = None
        if self._pending:
            self._start()

    def check(self, url: str, secret: str) -> None:
        """Refuse an address or a secret before any job is made.

        Raises:
            InvalidRequest: the message says why.
        """
        check_outbound_address(url, self._studio.settings.current.webhook_hosts, "webhook_hosts")
        if len(url) > MAX_URL_LENGTH:
            raise InvalidRequest("The address of the webhook is too long.", hint="Use a shorter one.")
        _read_key(secret)
        with self._lock:
            if len(self._pending) >= MAX_PENDING:
                raise InvalidRequest("Too many notifications are waiting.", hint="Try again later.")

    def register(self, job: Job, url: str, secret: str) -> None:
        """Notify `url` when the job has ended.

        Raises:
            StorageFailed: it cannot be written down.
        """
        one = Notification(id=f"msg_{secrets.token_hex(12)}", job_id=job.id, user=job.user, url=url, secret=secret)
        self._write(one)
        with self._lock:
            self._pending[one.id] = one
        self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                waiting = list(self._pending.values())
                if not waiting or self._studio.engine.is_closed:
                    self._thread = None
                    return
            for one in waiting:
                try:
                    self._advance(one)
                except StudioError as error:
                    _log.warning("the notification %s waits: %s", one.id, error.message)
            pause.wait(_LOOK_SECONDS)

    def _advance(self, one: Notification) -> None:
        """Send one that is due; note the end of a job that others wait for."""
        now = time.time()
        if one.due and one.due > now:
            return
        try:
            job = self._studio.engine.job(one.job_id, User(one.user))
        except NotFound:
            self._remove(one)
            return
        if not job.snapshot.status.is_final:
            return
        if self._send(one, job):
            self._remove(one)
            return
        attempts = one.attempts + 1
        if attempts >= len(self._retry_seconds):
            _log.warning("the notification %s of job %s was given up", one.id, one.job_id)
            self._remove(one)
            return
        later = replace(one, attempts=attempts, due=now + self._retry_seconds[attempts])
        self._write(later)
        with self._lock:
            self._pending[one.id] = later

    def _send(self, one: Notification, job: Job) -> bool:
        """Whether the notification needs no further attempt: it was taken, or its address is gone or not allowed any
        more."""
        settings = self._studio.settings.current
        try:
            check_outbound_address(one.url, settings.webhook_hosts, "webhook_hosts")
        except InvalidRequest as error:
            _log.warning("the notification %s was dropped: %s", one.id, error.message)
            return True
        data = build_job_body(job, settings.root_path).model_dump()
        body = json.dumps(clean_json({"type": f"job.{data['status']}", "timestamp": _format_now(), "data": data}))
        headers = {"Content-Type": "application/json", **sign(one.id, body.encode(), one.secret, time.time)}
        try:
            answer = httpx.post(
                one.url, content=body, headers=headers, timeout=_SEND_SECONDS, follow_redirects=False, trust_env=False
            )
        except httpx.HTTPError as error:
            _log.info("the notification %s was not taken: %s", one.id, type(error).__name__)
            return False
        return answer.is_success or answer.status_code == 410

    def _write(self, one: Notification) -> None:
        with translate_os_errors("the notification"):
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_synced(self._folder / f"{one.id}.json", json.dumps(asdict(one)).encode(), 0o600)

    def _remove(self, one: Notification) -> None:
        with self._lock:
            self._pending.pop(one.id, None)
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
