"""The listening socket: each state folder has one daemon, each daemon one socket.

Only a lock proves that a daemon lives (P8), not a pid file or a socket file. A socket counts as stale only if the
kernel refuses a connection to it. Any other errno may mean a live daemon in trouble.
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
from dreamd.process.state_folder import make_private_folder, owns_folder

BACKLOG = 128  # clients that connect while the daemon starts

FOLDER_TRIES, FOLDER_TRY_S = 50, 0.01  # together much longer than a bind takes


class Listener:
    """The listening Unix socket: one that this daemon made, with mode 0600, or one that systemd passed. The file of a
    passed socket is systemd's and stays untouched. After it has vanished, the daemon makes a socket of its own."""

    def __init__(self, path: Path, passed: socket.socket | None = None, state: int = -1) -> None:
        """Listen at `path`, or take over `passed`. `state`: the descriptor of the state folder, if it is held. Raise
        StartError."""
        self._own = passed is None
        self._state = state
        self._file = -1  # the socket's file, held open so that no other file gets its inode number
        if passed is None:
            self.path = path
            self.bind()
        else:
            self.path = Path(passed.getsockname())
            self.socket = passed
            if _is_bound(self.path):
                self._file = _hold_file(self.path)
            else:  # its file vanished under an earlier daemon; if something is in the way, the tick reports it
                with suppress(StartError):
                    self.bind()
                    _turn_away(passed)

    def bind(self) -> None:
        """Bind and listen, also again after the file has vanished. Raise StartError if the path is taken or not
        possible."""
        try:
            check_socket_path(self.path)
            make_private_folder(self.path.parent)
            with _folder_lock(self.path.parent, self._state):
                fresh = _bind_socket(self.path)
                try:
                    file = _hold_file(self.path)
                except OSError:
                    fresh.close()  # otherwise the next attempt would find this socket listening there
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
        """True if the file is gone or another program's, so that no client can reach this socket."""
        try:
            return not os.path.samestat(os.fstat(self._file), self.path.lstat())
        except OSError:
            return True

    def close(self) -> None:
        """Close the socket, and remove its file if this daemon made it and it is still there."""
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


def _hold_file(file: Path) -> int:
    return os.open(file, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)


def _turn_away(passed: socket.socket) -> None:
    """Close the socket and the connections in its backlog. The clients reconnect. Otherwise systemd would keep starting
    the daemon for them."""
    passed.setblocking(False)
    with passed, suppress(OSError):  # the backlog is empty
        while True:
            passed.accept()[0].close()


def _is_bound(path: Path) -> bool:
    """Return whether an open stream socket is bound to this file. Probe with a datagram socket: connecting it fails
    with EPROTOTYPE and has no effect."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(str(path)) == errno.EPROTOTYPE


def _bind_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The umask is set before bind, so that the file is never open to other users.
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
    if code == errno.ECONNREFUSED and not _is_bound(
        path
    ):  # if it is bound, a program has it that does not listen yet
        path.unlink()
    elif code != errno.ENOENT:
        state = "a daemon listens" if code in (0, errno.EAGAIN) else os.strerror(code)
        raise StartError(
            f"the socket {path} is taken ({state}); stop that daemon, or use --socket", ExitCode.TAKEN
        )


@contextmanager
def _folder_lock(folder: Path, state: int) -> Iterator[None]:
    """Lock a folder during the block, so that two daemons do not both find one socket stale. A daemon holds the lock of
    its own `state` folder already. Waits only about as long as a bind takes, then goes on without the lock."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(0 if owns_folder(state, folder) else FOLDER_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            sleep(FOLDER_TRY_S)
        yield
    finally:
        os.close(handle)
