"""Opening the database: refuse what is not ours, set aside what is damaged, migrate what is old, set it up.

Runs whole on the database thread. What had to be done is appended to `notes`, in words for people.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from dreamd.errors import StoreForeign
from dreamd.store import schema
from dreamd.store.file import PARTS, create, look, set_aside
from dreamd.store.reading import load
from dreamd.store.trouble import DAMAGED, trouble_of

# Bytes. The -wal is cut back to this after a checkpoint: one large transaction does not keep the space.
JOURNAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

_SUSPECT: Final = ".suspect"


class _Damaged(Exception):
    """A check found damage that no statement had run into."""


def open_file(
    path: Path, *, at: float, keep_texts: bool, busy_timeout_s: float, notes: list[str]
) -> sqlite3.Connection:
    """A connection to the database at `path`, made where there is none, in autocommit mode.

    Raises StoreTooNew and StoreForeign with the file untouched; sqlite3.Error and OSError where it can't be
    opened now. Any thread may close the connection.
    """
    try:
        return _open(path, at, keep_texts, busy_timeout_s, notes)
    except (_Damaged, sqlite3.Error) as error:
        if isinstance(error, sqlite3.Error) and trouble_of(error) != DAMAGED:
            raise
    aside = set_aside(path, "damaged", at)
    notes.append(f"the database was damaged: it is kept as {aside.name}, a new one was started")
    return _open(path, at, keep_texts, busy_timeout_s, notes)


def _open(
    path: Path, at: float, keep_texts: bool, busy_timeout_s: float, notes: list[str]
) -> sqlite3.Connection:
    if not os.path.exists(path):
        _make(path, at, notes)
    elif not os.path.isfile(path):  # SQLite would tell of an input/output error, and hang on a pipe
        raise StoreForeign("no file stands in its place, but a folder or the like: move that away")
    elif not os.path.getsize(path) and os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
        raise _Damaged  # SQLite would delete the -wal of an empty database unread
    contents = look(path, busy_timeout_s)
    schema.check(contents)
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}").fetchone()
        if not keep_texts:  # an emptied text is not left in a free page
            connection.execute("PRAGMA secure_delete = ON").fetchone()
        if _suspected(path):
            if not contents.tables or connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise _Damaged
            notes.append("the database was suspect: it was checked, and is whole")
        if note := schema.migrate(connection, path, contents, at):
            notes.append(note)
        load(connection)  # damage in what every start needs is found now
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path, at: float, notes: list[str]) -> None:
    """A new file. SQLite would delete a -wal without its database unread: it is set aside like a database."""
    if any(os.path.exists(f"{path}{part}") for part in PARTS):
        aside = set_aside(path, "left-over", at)
        notes.append(
            f"the database was gone, its log was not: that is kept as {aside.name}-wal, a new one was started"
        )
    _suspected(path)  # that was said of another
    create(path)


def mark_suspect(path: Path) -> None:
    """Have the next start check the whole database, which would take too long at every start."""
    with suppress(OSError), open(f"{path}{_SUSPECT}", "wb"):  # a disk that takes no file takes no harm either
        pass


def _suspected(path: Path) -> bool:
    """Whether it was marked so; the mark is gone then."""
    try:
        os.unlink(f"{path}{_SUSPECT}")
    except FileNotFoundError:
        return False
    return True
