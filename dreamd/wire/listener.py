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

from dreamclient.errors import SocketPathError
from dreamclient.paths import check_socket_path

from dreamd.errors import StartError

LOCK_NAME = "dreamd.lock"
BACKLOG = 128  # hosts that knock while the daemon starts

EXIT_TAKEN, EXIT_STATE, EXIT_SOCKET = 3, 4, 5


def make_private_folder(folder: Path) -> None:
    """Make `folder` with mode 0700, and its parents; one that is there is left as it is."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def state_lock(state_dir: Path) -> Iterator[int]:
    """Hold the state folder for the life of the daemon, or raise StartError. Yields the descriptor held."""
    try:
        make_private_folder(state_dir)
        lock = os.open(state_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartError(
            f"the state folder {state_dir} cannot be used: {_unusable(state_dir, error)}, "
            "or name another with --state-dir",
            EXIT_STATE,
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise StartError(
                f"another dreamd (pid {pid}) serves the state folder {state_dir}; "
                f"stop it with `dreamctl --state-dir '{state_dir}' call shutdown`, or name another with --state-dir",
                EXIT_TAKEN,
            ) from None
        with suppress(OSError):  # on a full disk: for people to read, nothing relies on it
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield lock
    finally:
        os.close(lock)


def _unusable(state_dir: Path, error: OSError) -> str:
    """What is wrong with the state folder, and what to do."""
    lock = state_dir / LOCK_NAME
    if os.path.lexists(state_dir) and not os.path.isdir(state_dir):
        return "it is no folder; move it away"
    if os.path.lexists(lock) and (os.path.islink(lock) or not os.path.isfile(lock)):
        return f"{lock} is no file of its own; move it away"
    return f"{error.strerror}; make it writable"


def release_in_child(lock: int, state_dir: Path) -> None:
    """In a forked child: let go of the parent's lock, which a copy of its descriptor would keep held."""
    try:
        if os.path.samestat(os.fstat(lock), os.stat(state_dir / LOCK_NAME)):
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(null, lock, inheritable=False)  # the number stays taken: others may close it yet
            os.close(null)
    except OSError:  # it has been given back already
        pass


class Listener:
    """The listening Unix socket: one of this daemon's own making, mode 0600, or one that systemd passed, whose
    file is systemd's and never touched."""

    def __init__(self, path: Path, passed: socket.socket | None = None) -> None:
        """Listen at `path`, or take over `passed`; raise StartError where that cannot be."""
        self._own = passed is None
        self._file = -1  # the socket's file, held open: while it is, no other file gets its number
        if passed is None:
            self.path = path
            self.bind()
        else:
            self.path = Path(passed.getsockname())
            self.socket = passed

    def bind(self) -> None:
        """Bind and listen, again after the file has vanished; raise StartError where the path is taken or none."""
        try:
            check_socket_path(self.path)
            make_private_folder(self.path.parent)
            with _folder_lock(self.path.parent):
                self.socket = _bind(self.path)
                self._let_go()
                self._file = os.open(self.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except SocketPathError as error:
            raise StartError(str(error), EXIT_SOCKET) from None
        except OSError as error:
            raise StartError(f"no socket can be made at {self.path}: {error.strerror}", EXIT_SOCKET) from None

    @property
    def vanished(self) -> bool:
        """Whether the file is gone, or another's: nobody can reach this socket any more."""
        try:
            return self._own and not os.path.samestat(os.fstat(self._file), self.path.lstat())
        except OSError:
            return True

    def close(self) -> None:
        """Close the socket, and remove its file if it is still ours."""
        self.socket.close()
        if self._own and not self.vanished:
            with _folder_lock(self.path.parent):
                if not self.vanished:
                    self.path.unlink()
        self._let_go()

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


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
        raise StartError(f"{path} is there and is no socket; move it away, or name another", EXIT_SOCKET)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(path))
    if code == errno.ECONNREFUSED:
        path.unlink()
    elif code != errno.ENOENT:
        state = "a daemon listens" if code in (0, errno.EAGAIN) else os.strerror(code)
        raise StartError(
            f"the socket {path} is taken ({state}); stop that daemon, or use --socket", EXIT_TAKEN
        )


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Two daemons of different state folders must not both find the same socket stale."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
