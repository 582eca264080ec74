"""The listening socket: one daemon a state folder, one socket a daemon.

The lock is the truth (P8): pid files lie, and a socket file proves nothing. A socket is taken for stale only
when the kernel refuses a connection to it; any other errno may be a live daemon in trouble.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from dreamclient.errors import SocketPathError
from dreamclient.paths import check_socket_path

from dreamd.errors import StartError
from dreamd.process.exit_codes import ExitCode
from dreamd.process.state_folder import holds, make_private_folder

BACKLOG = 128  # clients that connect while the daemon starts

FOLDER_TRIES, FOLDER_TRY_S = 50, 0.01  # together far longer than a bind takes


class Listener:
    """The listening Unix socket: one of this daemon's own making, mode 0600, or one that systemd passed, whose
    file is systemd's and never touched. Once that has vanished, one of its own takes its place."""

    def __init__(self, path: Path, passed: socket.socket | None = None, state: int = -1) -> None:
        """Listen at `path`, or take over `passed`; raise StartError if that cannot be. `state` is the descriptor of the
        state folder, if it is held."""
        self._own = passed is None
        self._state = state
        self._file = -1  # the socket's file, held open: while it is, no other file gets its number
        if passed is None:
            self.path = path
            self.bind()
        else:
            self.path = Path(passed.getsockname())
            self.socket = passed
            if _is_bound(self.path):
                self._file = _held(self.path)
            else:  # the file of a daemon before this one, which had vanished before; what is in the way, the tick tells
                with suppress(StartError):
                    self.bind()
                    _turn_away(passed)

    def bind(self) -> None:
        """Bind and listen, again after the file has vanished; raise StartError if the path is taken or cannot be."""
        try:
            check_socket_path(self.path)
            make_private_folder(self.path.parent)
            with _folder_lock(self.path.parent, self._state):
                fresh = _bind(self.path)
                try:
                    file = _held(self.path)
                except OSError:
                    fresh.close()  # or the next try would meet a daemon that listens there: this one
                    raise
                self._let_go()
                self.socket, self._file, self._own = fresh, file, True
        except SocketPathError as error:
            raise StartError(str(error), ExitCode.SOCKET) from None
        except OSError as error:
            raise StartError(
                f"no socket can be made at {self.path}: {error.strerror}", ExitCode.SOCKET
            ) from None

    @property
    def vanished(self) -> bool:
        """Whether the file is gone, or another's: no client can reach this socket any more."""
        try:
            return not os.path.samestat(os.fstat(self._file), self.path.lstat())
        except OSError:
            return True

    def close(self) -> None:
        """Close the socket, and remove its file if it is still ours."""
        self.socket.close()
        if self._own and not self.vanished:
            with _folder_lock(self.path.parent, self._state):
                if not self.vanished:
                    self.path.unlink()
        self._let_go()

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _held(file: Path) -> int:
    return os.open(file, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)


def _turn_away(passed: socket.socket) -> None:
    """Close the socket and the clients in its backlog, which connect again. Otherwise systemd would start the daemon
    for them without end."""
    passed.setblocking(False)
    with passed, suppress(OSError):  # none is left
        while True:
            passed.accept()[0].close()


def _is_bound(path: Path) -> bool:
    """Return whether an open stream socket has this file. A datagram socket, which is of the wrong type, learns it
    without a connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(str(path)) == errno.EPROTOTYPE


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # From its first moment the file is for its owner alone: the mode is set before bind, not after.
        mask = os.umask(0o177)
        try:
            if path.exists() or path.is_symlink():
                _remove_stale(path)
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        raise StartError(f"{path} is there and is no socket; move it away, or name another", ExitCode.SOCKET)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(path))
    if code == errno.ECONNREFUSED and not _is_bound(path):  # else a program has it that does not listen yet
        path.unlink()
    elif code != errno.ENOENT:
        state = "a daemon listens" if code in (0, errno.EAGAIN) else os.strerror(code)
        raise StartError(
            f"the socket {path} is taken ({state}); stop that daemon, or use --socket", ExitCode.TAKEN
        )


@contextmanager
def _folder_lock(folder: Path, state: int) -> Iterator[None]:
    """Lock a folder, so that two daemons of different state folders do not both find the same socket stale. A daemon
    whose `state` folder it is holds it anyway. It is not waited for longer than a bind takes."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(0 if holds(state, folder) else FOLDER_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            sleep(FOLDER_TRY_S)
        yield
    finally:
        os.close(handle)
