"""Opening the database: refuse a foreign one, set a damaged one aside, migrate an old one, set it up.

All of it runs on the database thread. Only a file that is proven to be dreamd's is ever renamed or written: by its
place in the state folder, or by its contents. What was done is appended to `notes`, in words for people.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from dreamd.errors import StoreForeign
from dreamd.store import schema
from dreamd.store.file.files import (
    PARTS,
    Contents,
    create_private_file,
    make_log_writable,
    read_contents,
    read_text,
    roll_back_journal,
    set_aside,
)
from dreamd.store.file.health import DAMAGED, READ_ONLY, reason_for
from dreamd.store.reads import load_memory

# Bytes. After a checkpoint the -wal is truncated to this, so that one large transaction does not keep the space.
JOURNAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

OPEN_BUSY_S: Final = 1.0  # less than a start waits for the opening, so that it can report "locked"

_SUSPECT: Final = ".suspect"


class Opening(Struct, frozen=True):
    """The options of an opening. `own`: dreamd's place in the state folder, where every file is dreamd's. `lock`:
    called with any other path before it is written, raises StoreTaken."""

    own: Path
    at: float  # unix s
    keep_texts: bool
    busy_timeout_s: float  # after it is open
    notes: list[str]
    lock: Callable[[Path], None]

    @property
    def patience_s(self) -> float:
        """Seconds to wait for another process while it is being opened."""
        return min(OPEN_BUSY_S, self.busy_timeout_s)


class _Damaged(Exception):
    """A check found damage that raised no error of SQLite."""


def open_file(path: Path, how: Opening) -> sqlite3.Connection:
    """Return a connection to the database at `path`, made if there is none, in autocommit mode.

    Raise StoreTooNew, StoreForeign or StoreTaken with the file untouched, sqlite3.Error or OSError if it cannot be
    opened now. Any thread may close the connection.
    """
    proven = path == how.own
    try:
        contents = _look_or_make(path, how)
        if not proven:
            how.lock(path)
        proven = True
        return _set_up(path, contents, how)
    except (_Damaged, sqlite3.Error) as error:
        trouble = DAMAGED if isinstance(error, _Damaged) else reason_for(error)
        # READ_ONLY: its own program has to recover it first.
        if not proven and trouble in (DAMAGED, READ_ONLY):
            raise StoreForeign("it cannot be read as a database; it was left alone") from None
        if trouble != DAMAGED:
            raise
    aside = set_aside(path, "damaged", how.at)
    _clear_suspicion(path)
    how.notes.append(f"the database was damaged: it is kept as {aside.name}, a new one was started")
    return _set_up(path, _look_or_make(path, how), how)


def _look_or_make(path: Path, how: Opening) -> Contents:
    """Return the contents of the file, and make it if there is none. Raise StoreForeign or StoreTooNew."""
    own = path == how.own
    if not os.path.lexists(path):
        _make_file(path, own, how)
        return Contents(0, frozenset())
    if os.path.islink(path):  # with all links resolved
        raise StoreForeign("a link stands in its place that leads to itself: remove it")
    if not os.path.isfile(path):  # SQLite would report an input/output error, and hang on a pipe
        raise StoreForeign("no file stands in its place, but a folder or the like: move that away")
    empty = not os.path.getsize(path)  # SQLite would delete the -wal of an empty file unread
    if own and empty and os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
        raise _Damaged
    if not own and (empty or not os.access(path, os.R_OK)):
        raise StoreForeign(f"it {'is empty' if empty else 'may not be read'}; it was left alone")
    if own and os.path.exists(f"{path}-journal"):
        roll_back_journal(path, how.patience_s)
    contents = read_contents(path, how.patience_s)
    schema.check_contents(contents)
    if not own and not schema.is_dreamds(contents):
        raise StoreForeign("it is not known to be dreamd's; it was left alone")
    return contents


def _set_up(path: Path, contents: Contents, how: Opening) -> sqlite3.Connection:
    make_log_writable(path)
    connection = sqlite3.connect(path, timeout=how.patience_s, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = read_text
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}").fetchone()
        connection.execute("PRAGMA secure_delete = ON").fetchone()  # no deleted text stays in a free page
        if _is_suspect(path):
            if not contents.tables or connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise _Damaged
            _clear_suspicion(path)
            how.notes.append("the database was suspect: it was checked, and is whole")
        if note := schema.migrate_database(connection, path, contents, how.at):
            how.notes.append(note)
        load_memory(connection)  # finds damage in the rows that every start needs
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * how.busy_timeout_s)}").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _make_file(path: Path, own: bool, how: Opening) -> None:
    """Make a new file. SQLite would delete a -wal without its database unread. So it is set aside like a database in
    dreamd's own place. Elsewhere it is not dreamd's: raise StoreForeign."""
    if any(os.path.exists(f"{path}{part}") for part in PARTS):
        if not own:
            raise StoreForeign("there is a log beside it, and no database; that was left alone")
        aside = set_aside(path, "left-over", how.at)
        how.notes.append(
            f"the database was gone, its log was not: that is kept as {aside.name}-wal, a new one was started"
        )
    _clear_suspicion(path)  # the mark was for the earlier file
    create_private_file(path)


def mark_suspect(path: Path) -> None:
    """Mark the database, so that the next start checks it whole. At every start this would take too long."""
    # A disk that takes no file takes no harmful write either.
    with suppress(OSError), open(f"{path}{_SUSPECT}", "xb"):
        pass


def _is_suspect(path: Path) -> bool:
    mark = f"{path}{_SUSPECT}"
    return os.path.isfile(mark) and not os.path.getsize(mark)  # a file with contents is not dreamd's


def _clear_suspicion(path: Path) -> None:
    if _is_suspect(path):
        os.unlink(f"{path}{_SUSPECT}")
