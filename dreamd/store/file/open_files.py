"""The files of an open database, itself and its log, and checks that they are still those that were opened.

Other programs may read, write, checkpoint and VACUUM it through SQLite without an alarm. The checks notice what SQLite
never does to an open database: another file under its name, other bytes at its beginning, a missing end, and a log or
its index (-wal, -shm) that is gone, replaced or emptied.
"""

import fcntl
import os
import sqlite3
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from dreamd.errors import StoreUnavailable
from dreamd.store.file.health import DAMAGED, DELETED, LOG_LOST, REPLACED

# Bytes that never change while it is open: the magic, the page size, "this has a log" (sqlite.org/fileformat.html). A
# backup copied over it differs, because backups have no log.
HEADER_BYTES: Final = 24
# The bytes that SQLite locks in a database that it uses: sqlite3.c, SHARED_FIRST and SHARED_SIZE.
SHARED_FIRST, SHARED_SIZE = 0x4000_0002, 510

Identity = tuple[int, int]  # device and inode
Stamp = tuple[int, int, int, int]


class OpenFiles:
    """The files of a database that SQLite has opened at `path`. `name`: the path that was asked for, which may be a
    link. `lost`: the word for what happened to them, or None.

    It holds a descriptor of the database. Call `close` after closing the connection, because closing any descriptor
    of a file drops all locks that this process has on it.
    """

    def __init__(self, path: Path, name: Path) -> None:
        self._path, self._name = path, name
        self.folder = path.parent
        self._log, self._index = (path.with_name(f"{path.name}{part}") for part in ("-wal", "-shm"))
        self.lost: str | None = None
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(self._file)
        self._identity: Identity = found.st_dev, found.st_ino
        self._logs = self._look_at_logs()
        self._header = self._first_bytes()
        self._sizes = 0, 0  # bytes of database and log when they were last seen whole

    def check(self, connection: sqlite3.Connection | None = None) -> None:
        """Raise StoreUnavailable if the files are not those that were opened, or have lost a part.

        Without a `connection` a lost part is not noticed.
        """
        self.lost = self._what_is_lost(connection)
        if self.lost:
            raise StoreUnavailable(self.lost, f"{self.lost} while it was open")

    def _what_is_lost(self, connection: sqlite3.Connection | None) -> str | None:
        if reason := replaced_reason(self._name, self._identity):
            return reason
        if self._first_bytes() != self._header:
            return REPLACED
        logs = self._look_at_logs()
        if None in self._logs:  # SQLite makes none if it opened read-only
            self._logs = logs
        if logs != self._logs:
            return LOG_LOST
        return self._what_is_missing(connection) if connection is not None else None

    def _look_at_logs(self) -> tuple[Identity | None, Identity | None]:
        return identity_of(self._log), identity_of(self._index)

    def _first_bytes(self) -> bytes:
        return os.pread(self._file, HEADER_BYTES, 0)

    def _what_is_missing(self, connection: sqlite3.Connection) -> str | None:
        """Return the word for a lost part, or None. A VACUUM or a checkpoint also shortens a file, but leaves it
        whole."""
        sizes = self._sizes_now()
        database, log = (now < before for now, before in zip(sizes, self._sizes, strict=True))
        if log or (database and sizes[0] < _bytes_in(connection)):
            connection.execute("PRAGMA shrink_memory")  # a cached page would hide a missing part
            try:
                whole = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            except sqlite3.DatabaseError:
                whole = False
            if not whole:
                return LOG_LOST if log else DAMAGED
        self._sizes = sizes
        return None

    def written(self) -> None:
        """Note the sizes of the files after a write of this connection."""
        self._sizes = self._sizes_now()

    def _sizes_now(self) -> tuple[int, int]:
        return os.fstat(self._file).st_size, size_of(self._log)

    @property
    def has_old_log(self) -> bool:
        """True if another database took its place and the log of the old one still lies beside it."""
        here = identity_of(self._path)
        replaced = here is not None and (here != self._identity or self._first_bytes() != self._header)
        return replaced and self._logs[0] is not None and identity_of(self._log) == self._logs[0]

    def before_close(self) -> None:
        """Keep SQLite from writing the log into a lost database at its last close. If only the log was removed, SQLite
        still has it open, and may save its contents."""
        log_of_another = size_of(self._log) and identity_of(self._log) != self._logs[0]
        if self.lost is None or (self.lost == LOG_LOST and not log_of_another):
            return
        shared = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, SHARED_FIRST, SHARED_SIZE, 0)
        with suppress(OSError):  # a file system without such locks
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, shared)

    def close(self) -> None:
        """Close the descriptor, once."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _bytes_in(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages * page)


def identity_of(path: Path) -> Identity | None:
    """Return (device, inode) of the file at this path, or None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def replaced_reason(path: Path, opened: Identity) -> str | None:
    """Return the word for what happened if the file at `path` is not the opened one, or None."""
    found = identity_of(path)
    if found is None:
        return DELETED
    return None if found == opened else REPLACED


def file_stamp(path: Path) -> Stamp | None:
    """Return device, inode, size and time of a file, one of which changes with every write. None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def size_of(path: Path) -> int:
    """Return the bytes of a file, 0 if there is none."""
    found = file_stamp(path)
    return found[2] if found else 0
