"""What can be wrong with the database, in words from a closed list.

Trouble is a state, not an event: it is held until a write works again, and shown by `status`. SQLite's codes:
sqlite.org/rescode.html.
"""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from dreamd.errors import StoreForeign, StoreTooNew

FULL: Final = "disk full"
LOCKED: Final = "locked"  # by another process, for longer than the busy timeout
READ_ONLY: Final = "read-only"
DAMAGED: Final = "damaged"
DELETED: Final = "database deleted"
REPLACED: Final = "database replaced"
UNREACHABLE: Final = "cannot open"  # no permission, no descriptor left, its folder gone
FAILING: Final = "input/output error"
NEWER: Final = "newer version"  # found by a daemon that serves; one that starts refuses to
FOREIGN: Final = "not dreamd's"  # likewise
CLOSED: Final = "closed"

TROUBLES: Final = (
    FULL, LOCKED, READ_ONLY, DAMAGED, DELETED, REPLACED, UNREACHABLE, FAILING, NEWER, FOREIGN, CLOSED,
)  # fmt: skip

# No write is tried in these: it would go into a file that nobody will find, or make the damage worse.
STICKY: Final = frozenset({DAMAGED, DELETED, REPLACED})

# What is open will never be well again; the file may be. SQLite opens a read-only file once and for all.
REOPEN: Final = frozenset({DAMAGED, REPLACED, READ_ONLY})

_BY_CODE: Final = {
    sqlite3.SQLITE_FULL: FULL,
    # A full disk has no room for the -shm file, even where one only wants to read: full, not damaged.
    sqlite3.SQLITE_IOERR_SHMSIZE: FULL,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,  # what network file systems answer
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_CANTOPEN: UNREACHABLE,
    sqlite3.SQLITE_PERM: UNREACHABLE,
    sqlite3.SQLITE_IOERR: FAILING,
}
_BY_ERRNO: Final = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EROFS: READ_ONLY,
    errno.EACCES: UNREACHABLE,
    errno.EPERM: UNREACHABLE,
    errno.ENOENT: UNREACHABLE,
    errno.EMFILE: UNREACHABLE,
    errno.ENFILE: UNREACHABLE,
}

Identity = tuple[int, int]


def trouble_of(error: sqlite3.Error | OSError | StoreTooNew | StoreForeign) -> str | None:
    """The word for an error, or None where the error is no trouble of the file but a mistake of ours."""
    if isinstance(error, StoreTooNew | StoreForeign):
        return NEWER if isinstance(error, StoreTooNew) else FOREIGN
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, FAILING)
    code = getattr(error, "sqlite_errorcode", 0)  # errors of the Python module itself carry none
    return _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF)


def name_of(error: Exception) -> str:
    """The error without its message, which may hold text: SQLite's name for it, or the exception's type."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def identity_of(path: Path) -> Identity | None:
    """(device, inode) of the file at this path, None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def moved(path: Path, opened: Identity) -> str | None:
    """The word for a file that is no longer the one that was opened."""
    found = identity_of(path)
    if found is None:
        return DELETED
    return None if found == opened else REPLACED
