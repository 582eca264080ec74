"""Use for a client that meets something else: it sends any bytes, or accepts no connection."""

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgpack

DEADLINE_S = 30.0

Behave = Callable[[socket.socket], object]


@contextmanager
def not_a_daemon(path: Path, behave: Behave) -> Iterator[threading.Semaphore]:
    """Run `behave` with each connection to `path`, on a thread. Acquire what is yielded to await a connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)
    kept: list[socket.socket] = []
    accepted = threading.Semaphore(0)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                kept.append(connection)
                with suppress(OSError):
                    behave(connection)
                accepted.release()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield accepted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in kept:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)
        for connection in kept:
            connection.close()


def says(data: bytes, *, reads: bool = True, ends: bool = False) -> Behave:
    """Send `data`: after a first message, unless `reads` is false. Then close the connection if it `ends`."""

    def behave(connection: socket.socket) -> None:
        if reads:
            connection.recv(1 << 16)
        connection.sendall(data)
        if ends:
            connection.close()

    return behave


silent = says(b"")
garbage = says(bytes(range(256)) * 40)


def future(connection: socket.socket) -> None:
    """Answer as a daemon with a later version of the protocol."""
    _, msgid, _, _ = msgpack.unpackb(connection.recv(1 << 16))
    connection.sendall(msgpack.packb([1, msgid, None, {"protocol": 99, "name": "dreamd", "version": "99.0"}]))


@contextmanager
def full_backlog(path: Path) -> Iterator[None]:
    """Listen on `path`, and accept nothing: a connection would have to wait."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        waits = 0
        while waits != errno.EAGAIN:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waits = waiting.connect_ex(str(path))
        yield
