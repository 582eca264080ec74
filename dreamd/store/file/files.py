"""The database file: read it without changing it, create it, copy it, set it aside.

Only SQLite opens it: a plain open and close in this process would drop SQLite's locks on it.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

# The endings of the database's own name and of the files that SQLite keeps beside it.
PARTS: Final = ("", "-wal", "-shm", "-journal")

# Seconds to wait for another process before the file counts as locked: longer than a write of dreamd takes, shorter
# than a hook's deadline.
BUSY_TIMEOUT_S: Final = 2.0

# As much as one dream may need: the disk must have room for it before it counts as not full.
PROBE_BYTES: Final = 64 * 1024

FRAME_BYTES: Final = 24  # that the log keeps with each page (sqlite.org/fileformat.html)

STEP_PAGES: Final = 256  # a MiB: copied in a few milliseconds

Tell = Callable[[int, int], object]  # after each step: pages left, of how many


class Contents(NamedTuple):
    """The contents of a database: `user_version`, and the names of all tables but SQLite's own."""

    version: int
    tables: frozenset[str]


def read_contents(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Contents:
    """Return a database's version and tables without changing a byte of it."""
    with closing(read_only(path, busy_timeout_s)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return Contents(version, frozenset(name for (name,) in tables if not name.startswith("sqlite_")))


def read_only(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open a database for reading, and leave no file beside it.

    If there is a -wal, SQLite reads it too, under its locks. If there is none, `immutable` keeps SQLite from making
    one.
    """
    query = "mode=ro&immutable=1" if is_alone(path) else "mode=ro"
    uri = f"{path.resolve().as_uri()}?{query}"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout_s, isolation_level=None)
    connection.text_factory = read_text
    return connection


def read_text(data: bytes) -> str:
    """Decode a text of the database. What is no UTF-8, as after a bit that flipped, becomes U+FFFD: else one broken
    text would hide all others, and the daemon could not start."""
    return data.decode(errors="replace")


def roll_back_journal(path: Path, busy_timeout_s: float) -> None:
    """Let SQLite undo what a program that was killed left half written, without a -wal: a connection that only reads
    cannot do that, and could not read."""
    with closing(sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)) as connection:
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()


def is_alone(path: Path) -> bool:
    """Return whether no file of SQLite's lies beside it: then no process has it open, or crashed with it open."""
    return not any(os.path.exists(f"{path}{part}") for part in PARTS[1:])


def create_private_file(path: Path) -> None:
    """Make an empty file that only its owner can read. SQLite gives -wal and -shm its mode."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def make_log_writable(path: Path) -> None:
    """Let the owner write the files of SQLite beside a database that he may write. SQLite made them with the mode that
    the database had, and could not write it as long as they stay read-only."""
    for part in PARTS[1:]:
        with suppress(OSError):  # there is none, or it is another user's
            mode = os.stat(f"{path}{part}").st_mode
            if os.stat(path).st_mode & stat.S_IWUSR and not mode & stat.S_IWUSR:
                os.chmod(f"{path}{part}", stat.S_IMODE(mode) | stat.S_IWUSR)


def free_name_beside(path: Path, label: str, at: float) -> Path:
    """Return a free name beside it: `dream.sqlite3.damaged-20260102T030405Z`, with -2 and so on if taken."""
    stem = f"{path.name}.{label}-{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"
    number, name = 1, stem
    while any(os.path.lexists(path.with_name(name + part)) for part in PARTS):
        number += 1
        name = f"{stem}-{number}"
    return path.with_name(name)


def set_aside(path: Path, label: str, at: float, parts: Sequence[str] = PARTS) -> Path:
    """Rename the database with the files beside it, and return the new name. Nothing is deleted.

    The database is renamed last, so that a crash in between never leaves an old -wal to a new database.
    """
    target = free_name_beside(path, label, at)
    for part in reversed(parts):
        if os.path.lexists(f"{path}{part}"):
            os.rename(f"{path}{part}", f"{target}{part}")
    return target


def has_room(connection: sqlite3.Connection) -> bool:
    """Return whether the disk has room for the database a second time. What fills a disk ends all dreams."""
    (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    disk = os.statvfs(os.path.dirname(path))
    return bool(disk.f_bavail * disk.f_frsize > pages * (page + FRAME_BYTES) + PROBE_BYTES)


def back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the whole database into one new file, by SQLite's backup API. After an error the file is removed."""
    create_private_file(target)
    try:
        copy_into(connection, target)
    except BaseException:
        os.unlink(target)
        raise


def copy_into(connection: sqlite3.Connection, target: Path, tell: Tell | None = None) -> None:
    """Copy the whole database into an existing, empty file. An exception that `tell` raises ends the copy."""

    def went_on(_: int, left: int, of: int) -> None:  # Python handles signals here
        if tell is not None:
            tell(left, of)

    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy, pages=STEP_PAGES, progress=went_on)
        copy.execute("PRAGMA journal_mode = DELETE")  # no -wal that a later `cp` could miss
