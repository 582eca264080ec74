"""How a client reaches its daemon: a connect that never waits, and, where asked for, a daemon started."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from dreamclient.errors import NotConnected
from dreamclient.host import TIMING, Timing
from dreamclient.paths import check_socket_path, socket_path

Connect = Callable[[], socket.socket]


class Connector:
    """Calling it returns a connected, non-blocking socket, or raises NotConnected, SocketPathError.

    Where `autostart` is set and nobody listens, a daemon is spawned, at most once in `timing.spawn_s`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        autostart: bool = False,
        timing: Timing = TIMING,
        monotonic: Callable[[], float] = time.monotonic,
        spawn: Callable[[list[str]], int] | None = None,  # returns the pid
    ) -> None:
        self._given = path
        self._autostart = autostart
        self._timing = timing
        self._monotonic = monotonic
        self._spawn = spawn_detached if spawn is None else spawn
        self._spawned: tuple[int, float] | None = None  # its pid, and when

    def __call__(self) -> socket.socket:
        path = str(socket_path(self._given))
        check_socket_path(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Blocking, it would wait for as long as the daemon is stopped and its backlog full.
            sock.setblocking(False)
            sock.connect(path)
        except BlockingIOError:
            sock.close()
            raise NotConnected(
                f"the daemon at {path} accepts no connections now; it may be stopped"
            ) from None
        except OSError as error:
            sock.close()
            if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                self._start_daemon()
            raise NotConnected(f"no daemon at {path}: {os.strerror(error.errno or 0)}") from None
        return sock

    def _start_daemon(self) -> None:
        if not self._autostart:
            return
        now = self._monotonic()
        if self._spawned is not None:
            pid, at = self._spawned
            with contextlib.suppress(OSError):  # the host may reap its children itself
                os.waitpid(pid, os.WNOHANG)
            if now - at < self._timing.spawn_s:
                return
        where = [] if self._given is None else ["--socket", str(socket_path(self._given))]
        self._spawned = (self._spawn([sys.executable, "-m", "dreamd", *where]), now)


def spawn_detached(argv: list[str]) -> int:
    """Start a program in a session of its own with nothing on its standard streams; return its pid."""
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    return os.posix_spawn(
        argv[0], argv, os.environ, file_actions=null, setsid=True, setsigmask=[], setsigdef=[signal.SIGPIPE]
    )
