"""How a client reaches its daemon: a connect that never waits."""

import os
import socket
from collections.abc import Callable

from dreamclient.errors import NotConnected
from dreamclient.paths import check_socket_path, socket_path

Connect = Callable[[], socket.socket]


def connected(to: str | os.PathLike[str] | None = None) -> socket.socket:
    """Return a connected, non-blocking socket. Raise NotConnected, SocketPathError."""
    path = str(socket_path(to))
    check_socket_path(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Blocking, it would wait for as long as the daemon is stopped and its backlog full.
        sock.setblocking(False)
        sock.connect(path)
    except OSError as error:
        sock.close()
        if isinstance(error, BlockingIOError):
            raise NotConnected(
                f"the daemon at {path} accepts no connections now; it may be stopped"
            ) from None
        raise NotConnected(f"no daemon at {path}: {os.strerror(error.errno or 0)}") from None
    return sock
