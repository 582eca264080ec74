"""One fault at the nth call of a scenario: of the inbox's files, of the database's statements, of leo's socket, or of
the daemon's sockets. Those are called by asyncio's own loop, in Python; uvloop makes such calls in C."""

import errno
import os
import socket
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dreamd.engine.delivery import StoppableFiles
from dreamd.wire import listener
from tests.sim.database import sqlite_error

_ROOM = ("ENOSPC", "EDQUOT")
_ANY = ("EIO", "EROFS", "EACCES", "EMFILE", "ENFILE", "EINTR")
ERRORS: dict[str, tuple[str, ...]] = {
    "open_dir": _ANY, "open_read": _ANY, "open_new": (*_ROOM, *_ANY), "open_lock": (*_ROOM, *_ANY),
    "mkdir": (*_ROOM, *_ANY), "write": (*_ROOM, "EIO", "EINTR"), "fsync": (*_ROOM, "EIO", "EINTR"),
    "rename": (*_ROOM, "EIO", "EROFS", "EACCES"), "unlink": ("EIO", "EROFS", "EACCES"), "read": ("EIO", "EINTR"),
    "stat": ("EIO", "EACCES"), "names": ("EIO",), "lock": ("EIO", "ENOLCK", "EINTR"),
    "touch": ("EIO", "EROFS", "EACCES"), "chmod": ("EIO", "EROFS"),
    "SQL": (
        "SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_CORRUPT",
        "SQLITE_PROTOCOL",
    ),
    "connect": ("ECONNREFUSED", "ENOENT", "EAGAIN", "EMFILE"),
    "send": ("ECONNRESET", "EPIPE", "EAGAIN", "ENOBUFS"), "recv": ("ECONNRESET", "ETIMEDOUT"),
    "daemon accept": ("EMFILE", "ENFILE", "ENOMEM", "ECONNABORTED", "EINTR", "EPERM"),
    "daemon send": ("ECONNRESET", "EPIPE", "EAGAIN", "ENOBUFS"), "daemon recv": ("ECONNRESET", "ETIMEDOUT", "EINTR"),
}  # fmt: skip
SOCKET_CALLS = ("connect", "send", "recv", "daemon accept", "daemon send", "daemon recv")
FILE_CALLS = tuple(name for name in ERRORS if name not in ("SQL", *SOCKET_CALLS))


class Faults:
    """Counts the calls of a scenario by kind, and fails one of them once: the `nth` of a `kind`, from 1."""

    def __init__(self, kind: str = "", nth: int = 0, error: str = "") -> None:
        self._kind, self._nth, self._error = kind, nth, error
        self.calls: Counter[str] = Counter()
        self.failed = ""  # the call that failed
        self.over = False  # no call counts any more
        self.stopping = self.at_stop = False  # the daemon stops; it stopped when the call failed

    def look(self, kind: str, what: str = "") -> None:
        """Count a call. Raise the error if it is the one that fails."""
        if self.over:
            return
        self.calls[kind] += 1
        if kind == self._kind and self.calls[kind] == self._nth:
            self.failed, self.at_stop = f"{kind} {what}".strip(), self.stopping
            if kind == "SQL":
                raise sqlite_error(self._error)
            number = getattr(errno, self._error)
            raise OSError(number, os.strerror(number))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the daemon's file calls and statements looked at."""
        faults, real = self, sqlite3.connect

        class Statements(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                words = sql.split(maxsplit=2)
                if words[0] != "ROLLBACK":  # SQLite can always roll back
                    faults.look("SQL", " ".join(words[:2]))
                return super().execute(sql, *values)

            def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
                faults.look("SQL", " ".join(sql.split(maxsplit=2)[:2]))
                return super().executemany(sql, values)

        def connect(*args: Any, **more: Any) -> sqlite3.Connection:
            return real(*args, **{"factory": Statements, **more})

        with ExitStack() as stack:
            stack.enter_context(patch("sqlite3.connect", connect))
            stack.enter_context(
                patch.object(listener, "_bind_socket", self._listening(listener._bind_socket))
            )
            for name in FILE_CALLS:
                stack.enter_context(patch.object(StoppableFiles, name, self._looked(name)))
            yield

    def _listening(self, bind: Callable[[Path], socket.socket]) -> Callable[[Path], socket.socket]:
        """Return a function that binds the daemon's socket, and looks at its calls and those of its connections."""
        faults = self

        class Connection(socket.socket):
            def send(self, *args: Any) -> int:
                faults.look("daemon send")
                return super().send(*args)

            def recv(self, *args: Any) -> bytes:
                faults.look("daemon recv")
                return super().recv(*args)

        class Listening(socket.socket):
            def accept(self) -> tuple[socket.socket, Any]:
                faults.look("daemon accept")
                made, address = super().accept()
                return Connection(fileno=made.detach()), address

        return lambda path: Listening(fileno=bind(path).detach())

    def _looked(self, name: str) -> Callable[..., Any]:
        real = getattr(StoppableFiles, name)

        def call(files: Any, *args: Any, **more: Any) -> Any:
            names = [each.rpartition("/")[2] for each in args if isinstance(each, str)]
            sizes = [str(len(each)) for each in args if isinstance(each, memoryview)]
            self.look(name, " ".join([*names, *sizes]))
            return real(files, *args, **more)

        return call

    def socket_to(self, path: Any) -> socket.socket:
        """Return a connected socket of leo's, whose calls are looked at."""
        faults = self

        class Looked(socket.socket):
            def send(self, *args: Any) -> int:
                faults.look("send")
                return super().send(*args)

            def recv(self, *args: Any) -> bytes:
                faults.look("recv")
                return super().recv(*args)

        made = Looked(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.look("connect")
            made.setblocking(False)
            made.connect(str(path))
        except BaseException:
            made.close()
            raise
        return made
