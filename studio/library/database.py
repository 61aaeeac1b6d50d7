"""library.db in the outputs folder: the journal of jobs and the index of images, in SQLite.

WAL, so that readers never wait for a writer, or a rollback journal where the disk cannot do that (network drives);
synchronous=FULL, so that a commit survives a power cut (half a
millisecond).
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from studio.core.durable_files import translate_os_errors
from studio.core.errors import StorageFailed, TooSlow
from studio.library.old_versions import upgrade_pictures
from studio.library.process_locks import can_lock_ranges, hold_alone, lock_folder
from studio.library.schema import create_asset_tables

DATABASE_FILE = "library.db"
_VERSION = 7
_BUSY_MS = 10_000
READ_SECONDS = 2.0  # that a search may take
_TURN_SECONDS = 0.002  # between two looks whether others have had their turn
_MAX_WRITTEN, _WRITTEN_PIECE = 50, 2  # items of `write_each` in a transaction, and between two looks who waits
_LOG_PAGES = 1_000  # of the log, from which on a commit brings it into the file; SQLite's own number
_CHECKPOINT_SECONDS = 0.3  # between two times that work in many pieces does
_PROGRESS_STEPS = 2_000  # of SQLite's machine between two looks at the clock
_SCHEMA = """
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    model TEXT NOT NULL,
    request TEXT NOT NULL,
    status TEXT NOT NULL,
    notices TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    created REAL NOT NULL,
    finished REAL,
    seconds REAL,
    owner TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX jobs_by_user ON jobs (user, seq);
CREATE INDEX jobs_by_status ON jobs (status);
CREATE TABLE timings (
    key TEXT PRIMARY KEY,
    seconds REAL NOT NULL
);
"""
_INPUTS = """
CREATE TABLE inputs (
    hash TEXT NOT NULL,
    user TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    created REAL NOT NULL,
    asset TEXT NOT NULL DEFAULT '',
    infotext TEXT NOT NULL DEFAULT '',
    history TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (hash, user)
);
"""
_LEDGER = """
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    user TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    created REAL NOT NULL,
    pictures INTEGER NOT NULL,
    estimated REAL,
    billed REAL,
    state TEXT NOT NULL
);
CREATE INDEX ledger_by_user ON ledger (user, created);
CREATE INDEX ledger_by_job ON ledger (job_id);
CREATE TABLE votes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL,
    created REAL NOT NULL,
    winner TEXT NOT NULL,
    loser TEXT NOT NULL,
    tie INTEGER NOT NULL
);
"""
_CHAINS = """
CREATE TABLE chains (
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    steps TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (user, name)
);
"""
_SOURCE_TYPES = """
ALTER TABLE inputs ADD COLUMN source_type TEXT NOT NULL DEFAULT '';
"""
_NOTICES = """
ALTER TABLE inputs ADD COLUMN notice TEXT NOT NULL DEFAULT '';
"""
_CREDENTIALS = """
ALTER TABLE inputs ADD COLUMN credentials BLOB NOT NULL DEFAULT x'';
"""
_UPGRADES = {  # from the version to the next
    1: f"""
ALTER TABLE pictures ADD COLUMN history TEXT NOT NULL DEFAULT '[]';
ALTER TABLE pictures ADD COLUMN label TEXT NOT NULL DEFAULT '';
{_INPUTS}
{_LEDGER}
""",
    2: _CHAINS,
    3: f"ALTER TABLE pictures ADD COLUMN source_type TEXT NOT NULL DEFAULT ''; {_SOURCE_TYPES}",
    4: _NOTICES,
    6: _CREDENTIALS,
}
# Tables that older versions do not look at, so that they need no version of their own.
_ADDED_TABLES = (
    """
CREATE TABLE IF NOT EXISTS usage (
    user TEXT NOT NULL,
    day TEXT NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (user, day)
) WITHOUT ROWID""",
    """
CREATE TABLE IF NOT EXISTS held (
    asset TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    created REAL NOT NULL,
    appealed INTEGER NOT NULL,
    facts TEXT NOT NULL
) WITHOUT ROWID""",
)
_PICTURES_VERSION = 5  # the last one whose images stood in the table `pictures`

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Database:
    """One connection that writes, shared by all threads one at a time, and one for each thread that searches; other
    processes may have the same file open.

    `fresh` means that the file was made, or made anew, by this opening. `revision` counts the transactions of this
    process: what was counted before is still right while it is the same and no other process writes.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, make its folder and tables when they are missing.

        A file that is no database is moved aside as `.broken`; the images themselves carry all that is needed to
        rebuild the index.

        Raises:
            StorageFailed: the folder cannot be written, or the file was made by a newer studio.
        """
        self.path = path
        self.revision = 0
        self._lock = threading.RLock()
        self._counting = threading.Lock()
        self._waiting = 0  # threads that are about to write and want no delay
        self._checkpointing, self._checkpointed = threading.Lock(), 0.0
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._reading, self._read = 0, threading.Condition()
        with translate_os_errors("the library"):
            path.parent.mkdir(parents=True, exist_ok=True)
            locks = can_lock_ranges(path.parent)
            self._alone = None if locks else hold_alone(path.parent)
            with contextlib.ExitStack() as undo:
                undo.callback(self._release)
                with lock_folder(path.parent):
                    self._connection, self.fresh = _open(path, locks=locks)
                self._shared = _shares_readers(self._connection)
                undo.pop_all()

    @contextlib.contextmanager
    def transaction(self, *, patient: bool = False, synced: bool = True) -> Generator[sqlite3.Connection]:
        """All statements inside are on disk when it ends, or none of them. A `patient` one lets all others of this
        process go first, for work in many pieces, and leaves none of them the log's way into the file; where it is not
        `synced` it is on disk with the next one that is, which saves a wait for each piece.

        Raises:
            StorageFailed: SQLite could not write.
        """
        if patient:
            self._checkpoint()
            while self._waiting:
                time.sleep(_TURN_SECONDS)
        else:
            with self._counting:
                self._waiting += 1
        try:
            self._lock.acquire()
        finally:
            if not patient:
                with self._counting:
                    self._waiting -= 1
        try:
            with self._keep_log(synced=synced) if patient else contextlib.nullcontext():
                yield from self._run_transaction()
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _keep_log(self, *, synced: bool) -> Generator[None]:
        """No commit inside brings the log into the file, however long it is, nor waits for the disk unless `synced`."""
        with _translate_sqlite_errors():
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            if not synced and self._shared:
                self._connection.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")

    def _checkpoint(self) -> None:
        """Bring the log into the file by a connection of its own, beside which others write, unless that was done a
        moment ago. A commit would do it whose log is long, and everybody would wait for the disk meanwhile."""
        if not self._shared or time.monotonic() < self._checkpointed + _CHECKPOINT_SECONDS:
            return
        if not self._checkpointing.acquire(blocking=False):
            return
        try:
            self._checkpointed = time.monotonic()
            with contextlib.closing(_open_file(self.path)) as connection, contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # an ordinary commit does it where this cannot
        finally:
            self._checkpointing.release()

    def take_pieces(self, items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
        """The first piece of `items`, and the next ones for as long as no other thread waits to write: for use inside a
        patient transaction."""
        for begin in range(0, len(items), size):
            if begin and self._waiting:
                return
            yield items[begin : begin + size]

    def write_each(self, items: Sequence[T], write: Callable[[sqlite3.Connection, T], object]) -> None:
        """Call `write` for each of `items`, in as many patient transactions as others who wait to write leave; they are
        on disk with the next one that is synced. Raises as `transaction`."""
        written = 0
        while written < len(items):
            with self.transaction(patient=True, synced=False) as connection:
                for some in self.take_pieces(items[written : written + _MAX_WRITTEN], _WRITTEN_PIECE):
                    for item in some:
                        write(connection, item)
                    written += len(some)

    def _run_transaction(self) -> Generator[sqlite3.Connection]:
        with _translate_sqlite_errors(), self._connection:  # which commits, or rolls back
            self._connection.execute("BEGIN IMMEDIATE")
            self.revision += 1
            yield self._connection

    @contextlib.contextmanager
    def read(self, seconds: float = READ_SECONDS) -> Generator[sqlite3.Connection]:
        """A connection for SELECTs of this thread alone, so that a long search holds up nobody who writes. All
        statements inside see the same state. Where the disk cannot share a file among connections it is the one of all
        threads.

        Raises:
            TooSlow: a statement is still running after `seconds`.
            StorageFailed: SQLite could not read.
        """
        if not self._shared:
            with self._lock, _translate_sqlite_errors():
                yield self._connection
            return
        connection = self._get_reader()
        with self._count_reading(), _translate_sqlite_errors():
            connection.execute("BEGIN")
            try:
                with self.limit_time(connection, seconds):
                    yield connection
            finally:
                connection.set_progress_handler(None, 0)
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _count_reading(self) -> Generator[None]:
        with self._read:
            self._reading += 1
        try:
            yield
        finally:
            with self._read:
                self._reading -= 1
                self._read.notify_all()

    @contextlib.contextmanager
    def limit_time(self, connection: sqlite3.Connection, seconds: float) -> Generator[None]:
        """Stop what is read inside with a connection of `read` after `seconds`. Afterwards nothing limits it any more.

        Raises:
            TooSlow: a statement was stopped.
        """
        end = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, _PROGRESS_STEPS)
        try:
            with _translate_sqlite_errors():
                yield
        finally:
            connection.set_progress_handler(None, 0)

    def _get_reader(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            address = self.path.absolute().as_uri() + "?mode=ro"
            with _translate_sqlite_errors():
                connection = sqlite3.connect(
                    address, uri=True, check_same_thread=False, isolation_level=None, timeout=_BUSY_MS / 1000
                )
            connection.row_factory = sqlite3.Row
            self._local.connection = connection
            with self._lock:
                self._readers.append(connection)
        return connection

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of one SELECT."""
        with self._lock, _translate_sqlite_errors():
            return self._connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Close all connections, once those who read have stopped: SQLite crashes where a statement still runs."""
        with self._lock:
            for reader in self._readers:
                reader.interrupt()
        with self._read:
            self._read.wait_for(lambda: not self._reading, READ_SECONDS)
        with self._lock:
            for reader in self._readers:
                reader.close()
            self._readers.clear()
            self._local = threading.local()
            self._connection.close()
            self._release()

    def _release(self) -> None:
        if self._alone is not None:
            self._alone.release()


def _open(path: Path, *, locks: bool) -> tuple[sqlite3.Connection, bool]:
    """The connection, and whether the file is new; `locks` says whether its disk can lock."""
    try:
        return _connect(path, locks=locks)
    except sqlite3.OperationalError as error:
        raise StorageFailed(
            f"The library cannot be opened: {error}.",
            hint="Look at the outputs folder; choose one on a local disk when this is a network drive.",
        ) from error
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.{int(time.time())}.broken")
        _log.warning("%s is no database (%s); kept as %s", path.name, error, aside.name)
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
        return _connect(path, locks=locks)


def _connect(path: Path, *, locks: bool) -> tuple[sqlite3.Connection, bool]:
    with contextlib.ExitStack() as undo:
        connection = undo.enter_context(contextlib.closing(_open_journalled(path, locks=locks)))
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StorageFailed(
                "The library was made by a newer version of the studio.",
                hint="Update the studio, or use another outputs folder.",
            )
        if version == 0:
            _create_tables(connection)
        for old in range(version or _VERSION, _PICTURES_VERSION):
            connection.executescript(f"BEGIN; {_UPGRADES[old]} PRAGMA user_version = {old + 1}; COMMIT;")
        if 0 < version <= _PICTURES_VERSION:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                upgrade_pictures(connection)
                connection.execute(f"PRAGMA user_version = {_PICTURES_VERSION + 1}")
        for old in range(max(version, _PICTURES_VERSION + 1) if version else _VERSION, _VERSION):
            connection.executescript(f"BEGIN; {_UPGRADES[old]} PRAGMA user_version = {old + 1}; COMMIT;")
        for statement in _ADDED_TABLES:
            connection.execute(statement)
        undo.pop_all()
    return connection, version == 0


def _create_tables(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in f"{_SCHEMA} {_INPUTS} {_LEDGER} {_CHAINS} {_SOURCE_TYPES} {_NOTICES} {_CREDENTIALS}".split(
            ";"
        ):
            connection.execute(statement)
        create_asset_tables(connection)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _open_journalled(path: Path, *, locks: bool) -> sqlite3.Connection:
    """A connection with a write-ahead log; with a rollback journal where the disk has no shared memory for the log."""
    if locks:
        connection = _open_file(path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # which maps the shared memory
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
            _log.warning("%s gets a rollback journal, as its disk has no shared memory: %s", path.name, error)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        else:
            return connection
    connection = _open_file(path, locks=locks)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # a log that is there is read without shared memory then
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _open_file(path: Path, *, locks: bool = True) -> sqlite3.Connection:
    address = path.absolute().as_uri() + ("" if locks else "?vfs=unix-none")
    return sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None, timeout=_BUSY_MS / 1000)


@contextlib.contextmanager
def _translate_sqlite_errors() -> Generator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_INTERRUPT":
            raise TooSlow(
                "The search took too long and was stopped.", hint="Add a word or a filter, or a shorter period."
            ) from error
        raise _make_storage_error(error) from error
    except sqlite3.Error as error:
        raise _make_storage_error(error) from error


def _make_storage_error(error: sqlite3.Error) -> StorageFailed:
    return StorageFailed(
        f"The library could not be written: {error}.", hint="Check the disk of the outputs folder, then try again."
    )


def _shares_readers(connection: sqlite3.Connection) -> bool:
    """Whether others may read while this connection writes, which takes a write-ahead log."""
    return connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
