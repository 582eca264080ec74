"""The kinds of trouble with the database, as words of a closed list.

Trouble is a state, not an event: `status` shows it until a write works again. The words in `LOST` are final: the
daemon ends. SQLite's codes: sqlite.org/rescode.html.
"""

import errno
import sqlite3
from typing import Final

FULL: Final = "disk full"
LOCKED: Final = "locked"  # by another process, for longer than the busy timeout
READ_ONLY: Final = "read-only"
DAMAGED: Final = "damaged"
DELETED: Final = "database deleted"
REPLACED: Final = "database replaced"  # another file has its name, or another program wrote over it
LOG_LOST: Final = "database log lost"  # the -wal, or its index, was removed, replaced or emptied
UNREACHABLE: Final = "cannot open"  # no permission, no descriptor left, its folder gone
FAILING: Final = "input/output error"
UNANSWERED: Final = "database does not answer"  # a disk hangs, or a large file is checked or copied
CLOSED: Final = "closed"

UNAVAILABLE_REASONS: Final = (
    FULL, LOCKED, READ_ONLY, DAMAGED, DELETED, REPLACED, LOG_LOST, UNREACHABLE, FAILING, UNANSWERED,
    CLOSED,
)  # fmt: skip

# In these states nothing is written: no later daemon would find it, or it would make the damage worse.
LOST: Final = frozenset({DAMAGED, DELETED, REPLACED, LOG_LOST})

_BY_CODE: Final = {
    sqlite3.SQLITE_FULL: FULL,
    # A full disk has no room for the -shm file, which even a reader needs: full, not damaged.
    sqlite3.SQLITE_IOERR_SHMSIZE: FULL,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,  # answered by network file systems
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


def reason_for(error: sqlite3.Error | OSError) -> str | None:
    """Return the word for an error, or None if it is no trouble of the file but a fault of dreamd's."""
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, FAILING)
    code = getattr(error, "sqlite_errorcode", 0)  # errors of the Python module itself have no code
    return _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF)


def name_of(error: Exception) -> str:
    """Return SQLite's name for the error, or the exception's type: its message may hold text."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__
