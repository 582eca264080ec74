"""Opening the database: refuse what is not ours, set aside what is damaged, migrate what is old, set it up.

Runs whole on the database thread. Only a file that is proven to be dreamd's is ever renamed or written: by its
place in the state folder, or by what it holds. What had to be done is appended to `notes`, in words for people.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dreamd.errors import StoreForeign
from dreamd.store import schema
from dreamd.store.file.files import PARTS, Contents, create, look, set_aside
from dreamd.store.file.health import DAMAGED, READ_ONLY, trouble_of
from dreamd.store.reads import load

# Bytes. The -wal is cut back to this after a checkpoint: one large transaction does not keep the space.
JOURNAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

OPEN_BUSY_S: Final = 1.0  # less than a start waits for the opening: it says "locked" then

_SUSPECT: Final = ".suspect"


@dataclass(frozen=True)
class Opening:
    """How a database is opened. `own` is dreamd's place in the state folder: what lies there is dreamd's. `lock` is
    called with any other path before it is written; it raises StoreTaken."""

    own: Path
    at: float  # unix s
    keep_texts: bool
    busy_timeout_s: float  # once it is open
    notes: list[str]
    lock: Callable[[Path], None]

    @property
    def patience_s(self) -> float:
        """Seconds to wait for another process until it is open."""
        return min(OPEN_BUSY_S, self.busy_timeout_s)


class _Damaged(Exception):
    """A check found damage that no statement had run into."""


def open_file(path: Path, how: Opening) -> sqlite3.Connection:
    """Return a connection to the database at `path`, made if there is none, in autocommit mode.

    Raises StoreTooNew, StoreForeign and StoreTaken with the file untouched; sqlite3.Error and OSError if it can't be
    opened now. Any thread may close the connection.
    """
    proven = path == how.own
    try:
        contents = _look(path, how)
        if not proven:
            how.lock(path)
        proven = True
        return _set_up(path, contents, how)
    except (_Damaged, sqlite3.Error) as error:
        trouble = DAMAGED if isinstance(error, _Damaged) else trouble_of(error)
        if not proven and trouble in (
            DAMAGED,
            READ_ONLY,
        ):  # the latter: its own program has to recover it first
            raise StoreForeign("it cannot be read as a database; it was left alone") from None
        if trouble != DAMAGED:
            raise
    aside = set_aside(path, "damaged", how.at)
    _clear(path)
    how.notes.append(f"the database was damaged: it is kept as {aside.name}, a new one was started")
    return _set_up(path, _look(path, how), how)


def _look(path: Path, how: Opening) -> Contents:
    """Return what the file holds, a new one if there was none. Raises StoreForeign and StoreTooNew."""
    own = path == how.own
    if not os.path.exists(path):
        _make(path, own, how)
        return look(path, how.patience_s)
    if not os.path.isfile(path):  # SQLite would tell of an input/output error, and hang on a pipe
        raise StoreForeign("no file stands in its place, but a folder or the like: move that away")
    empty = not os.path.getsize(path)  # SQLite would delete its -wal unread
    if own and empty and os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
        raise _Damaged
    if not own and (empty or not os.access(path, os.R_OK)):
        raise StoreForeign(f"it {'is empty' if empty else 'may not be read'}; it was left alone")
    contents = look(path, how.patience_s)
    schema.check(contents)
    if not own and not schema.is_dreamds(contents):
        raise StoreForeign("it is not known to be dreamd's; it was left alone")
    return contents


def _set_up(path: Path, contents: Contents, how: Opening) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=how.patience_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}").fetchone()
        if not how.keep_texts:  # an emptied text is not left in a free page
            connection.execute("PRAGMA secure_delete = ON").fetchone()
        if _is_suspect(path):
            if not contents.tables or connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise _Damaged
            _clear(path)
            how.notes.append("the database was suspect: it was checked, and is whole")
        if note := schema.migrate(connection, path, contents, how.at):
            how.notes.append(note)
        load(connection)  # damage in what every start needs is found now
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * how.busy_timeout_s)}").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path, own: bool, how: Opening) -> None:
    """Make a new file. SQLite would delete a -wal without its database unread: in dreamd's own place it is set aside
    like a database, elsewhere it is not ours."""
    if any(os.path.exists(f"{path}{part}") for part in PARTS):
        if not own:
            raise StoreForeign("there is a log beside it, and no database; that was left alone")
        aside = set_aside(path, "left-over", how.at)
        how.notes.append(
            f"the database was gone, its log was not: that is kept as {aside.name}-wal, a new one was started"
        )
    _clear(path)  # that was said of another
    create(path)


def mark_suspect(path: Path) -> None:
    """Have the next start check the whole database, which would take too long at every start."""
    with suppress(OSError), open(f"{path}{_SUSPECT}", "xb"):  # a disk that takes no file takes no harm either
        pass


def _is_suspect(path: Path) -> bool:
    mark = f"{path}{_SUSPECT}"
    return os.path.isfile(mark) and not os.path.getsize(mark)  # what holds anything is not ours


def _clear(path: Path) -> None:
    if _is_suspect(path):
        os.unlink(f"{path}{_SUSPECT}")
