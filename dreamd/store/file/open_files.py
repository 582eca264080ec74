"""The files of a database that is open: the database itself and its log, and whether they are still those.

Other programs may read, write, checkpoint and VACUUM it through SQLite: none of this is an alarm. What SQLite never
does to a database that is open is noticed: another file under its name, other bytes at its beginning, an end that is
missing, a log or its index (-wal, -shm) that is gone, replaced or emptied.
"""

import fcntl
import os
import sqlite3
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from dreamd.errors import StoreUnavailable
from dreamd.store.file.files import size_of
from dreamd.store.file.health import DAMAGED, LOG_LOST, REPLACED, Identity, identity_of, moved

# Bytes that stay as they are while it is open: the magic, the page size, "this has a log" (sqlite.org/fileformat.html).
# A backup that was copied over it differs: backups have no log.
HEADER_BYTES: Final = 24
# Where SQLite locks a database that it uses: sqlite3.c, SHARED_FIRST and SHARED_SIZE.
SHARED_FIRST, SHARED_SIZE = 0x4000_0002, 510


class FilesOpen:
    """The files of a database that SQLite has opened at `path`; `lost` is the word for what became of them, or None.
    `name` is the path under which it was asked for, which may be a link to it.

    Holds a descriptor of the database until `close`, which comes after the connection's: closing any descriptor of a
    file drops all locks that this process has on it.
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
        self._sizes = 0, 0  # bytes of database and log, as last seen and found whole

    def check(self, connection: sqlite3.Connection | None = None) -> None:
        """Raise StoreUnavailable if they are not those that were opened, with all that was in them.

        Without a `connection`, that one has become shorter is not noticed.
        """
        self.lost = self._what_is_lost(connection)
        if self.lost:
            raise StoreUnavailable(self.lost, f"{self.lost} while it was open")

    def _what_is_lost(self, connection: sqlite3.Connection | None) -> str | None:
        if trouble := moved(self._name, self._identity):
            return trouble
        if self._first_bytes() != self._header:
            return REPLACED
        logs = self._look_at_logs()
        if None in self._logs:  # opened read-only, SQLite makes none
            self._logs = logs
        if logs != self._logs:
            return LOG_LOST
        return self._what_is_missing(connection) if connection is not None else None

    def _look_at_logs(self) -> tuple[Identity | None, Identity | None]:
        return identity_of(self._log), identity_of(self._index)

    def _first_bytes(self) -> bytes:
        return os.pread(self._file, HEADER_BYTES, 0)

    def _what_is_missing(self, connection: sqlite3.Connection) -> str | None:
        """A database also shrinks by VACUUM, a log by a checkpoint: then all can be read all the same."""
        sizes = self._sizes_now()
        database, log = (now < before for now, before in zip(sizes, self._sizes, strict=True))
        if log or (database and sizes[0] < _bytes_in(connection)):
            connection.execute("PRAGMA shrink_memory")  # what is cached says nothing of the files
            try:
                whole = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            except sqlite3.DatabaseError:
                whole = False
            if not whole:
                return LOG_LOST if log else DAMAGED
        self._sizes = sizes
        return None

    def written(self) -> None:
        """Note what this connection has made of them."""
        self._sizes = self._sizes_now()

    def _sizes_now(self) -> tuple[int, int]:
        return os.fstat(self._file).st_size, size_of(self._log)

    @property
    def has_old_log(self) -> bool:
        """Whether the log of the database that was opened lies beside what took its place."""
        here = identity_of(self._path)
        replaced = here is not None and (here != self._identity or self._first_bytes() != self._header)
        return replaced and self._logs[0] is not None and identity_of(self._log) == self._logs[0]

    def before_close(self) -> None:
        """Keep SQLite from writing the log into a file that is lost, which it would do at the last close. If the log
        alone was removed, SQLite still has it open, and saves what is in it."""
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
