"""One connection to the daemon. Any thread may send on it, and one thread reads.

A message is sent whole, or the connection ends. Threads that may wait take the lock in turn. The reply path never
waits for the lock: it leaves its context to the thread that holds it.
"""

import os
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from dreamclient.errors import CallTimeout, DreamError, NotConnected
from dreamclient.paths import check_socket_path, socket_path
from dreamclient.protocol.contexts import context_message, private_message
from dreamclient.protocol.failures import NOTHING
from dreamclient.protocol.rpc import Request
from dreamclient.protocol.session import Done, Session

Connect = Callable[[], socket.socket]
READ_BYTES = 64 * 1024
OFFERED = 64  # contexts that wait for a thread that is sending
# Of each send. The socket itself blocks, for the thread that reads.
FLAGS = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


class Link:
    """A connected socket and the session that uses it."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._session = session
        self._lock = threading.Lock()
        self.is_open = True
        self._full = False  # a message did not fit: no context is made before there is room
        # Contexts, with the failures that each carries. The thread that is sending may have lost the interpreter's own
        # lock to those that offer: without this queue two of five simultaneous replies were dropped.
        self._offered: deque[tuple[bytes, Counter[str]]] = deque()

    # the reply path

    def offer(self, ctx: Any) -> bool:
        """Send a context, or leave it to the thread that is sending now. Return False if it was dropped and counted.
        This never raises and never waits."""
        if self._full and not self._has_room():
            return self._dropped("stalled", NOTHING)
        taken = self._session.failures.take()
        try:
            data = context_message(ctx, taken)
        except Exception:  # noqa: BLE001 a context may hold anything, and the reply must go on
            return self._dropped("unsendable", taken)
        return self._tell(data, taken)

    def tell_private(self) -> None:
        """Tell the daemon how many replies were private, as `offer` does. If it is not sent, a later message tells."""
        if not self._full or self._has_room():
            taken = self._session.failures.take()
            self._tell(private_message(taken), taken)

    def _has_room(self) -> bool:
        """Return whether the daemon has read since a message did not fit."""
        try:
            self._full = not self._polled(select.POLLOUT, 0.0)
        except (OSError, ValueError):  # it is closed
            return False
        return not self._full

    def _tell(self, data: bytes, taken: Counter[str]) -> bool:
        if len(self._offered) >= OFFERED:
            return self._dropped("stalled", taken)
        self._offered.append((data, taken))
        return self._send_offered()

    def _send_offered(self) -> bool:
        """Send the offered contexts, unless another thread is sending: that one calls this when it is done."""
        all_sent = True
        for _ in self._held(False) if self._offered else ():
            dropped, taken = "", NOTHING
            try:
                if self._offered:  # else another thread was quicker
                    data, taken = self._offered.popleft()
                    dropped = self._sent(data)
            finally:
                self._lock.release()
            all_sent = (not dropped or self._dropped(dropped, taken)) and all_sent
            if not self._offered:
                break
        return all_sent

    def _held(self, blocking: bool, timeout_s: float = -1) -> Iterator[bool]:
        """Yield True each time that the lock was taken, until it is not to be had.

        An alarm of the host's may raise after any call that it makes, also between an `acquire` that has returned and
        the `try` that releases: one of 90 that hit an offer did, and no thread could send again. The step of a `for`
        loop, and of this iterator, is no such place."""
        return iter(partial(self._lock.acquire, blocking, timeout_s), False)

    def _sent(self, data: bytes) -> str:
        """Send a context. Return the reason if it was dropped, or an empty string."""
        try:
            if self.is_open and self._sock.send(data, FLAGS) == len(data):
                return ""
        except BlockingIOError:
            self._full = True
            return "stalled"
        except OSError:  # the client reads the end too, and connects again
            return "not_connected"
        if self.is_open:
            self.shutdown()  # the rest would have to wait: on some kernel this size is not all or nothing
        return "stalled" if self.is_open else "not_connected"

    def _dropped(self, kind: str, taken: Counter[str]) -> bool:
        self._session.failures.put_back(taken)
        self._session.failures.count(kind)
        return False

    # any thread that may wait

    def call(self, method: str, params: list[Any], done: Done, deadline: float) -> Callable[[], None]:
        """Send a call by `deadline` (monotonic seconds). `done` gets its reply. Return a function that gives the call
        up.

        Raise NotConnected, CallTimeout (it was not sent), UsageError (it cannot be sent)."""
        try:
            for _ in self._held(True, max(0.0, deadline - time.monotonic())):
                try:
                    return self._called(method, params, done, deadline)
                finally:
                    self._lock.release()
            raise CallTimeout("another message could not be sent in all that time")
        finally:
            self._send_offered()

    def _called(self, method: str, params: list[Any], done: Done, deadline: float) -> Callable[[], None]:
        self._check_open()
        msgid, data = self._session.call(method, params, done)
        forget = partial(self._session.pending.pop, msgid, None)  # of this connection, not of a later one
        try:
            self._send(data, deadline)
        except DreamError:
            forget()
            raise
        return forget

    def flush(self) -> None:
        """Send the session's messages, and wait for as long as the daemon does not read."""
        try:
            with self._lock:
                self._check_open()
                while out := self._session.out:
                    self._send(out.popleft(), None)
        finally:
            self._send_offered()

    def _check_open(self) -> None:
        if not self.is_open:
            raise NotConnected("the connection has ended")

    def _send(self, data: bytes, deadline: float | None) -> None:
        try:
            try:
                sent = self._sock.send(data, FLAGS)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self._send_rest(memoryview(data)[sent:], deadline, begun=sent > 0)
        except OSError as error:
            raise _ended(error) from None
        except DreamError:
            raise
        except BaseException:  # Ctrl-C, for instance: it is not known how much went out
            self.shutdown()
            raise

    def _send_rest(self, left: memoryview, deadline: float | None, *, begun: bool) -> None:
        while left:
            self._full = True
            room = self._polled(select.POLLOUT, None if deadline is None else deadline - time.monotonic())
            if not room:
                if begun:  # what follows half a message could not be read
                    self.shutdown()
                raise CallTimeout("the daemon does not read")
            with suppress(BlockingIOError):
                left, begun = left[self._sock.send(left, FLAGS) :], True
        self._full = False

    def _polled(self, what: int, wait_s: float | None) -> bool:
        wait_s = None if wait_s is None else max(0.0, wait_s)
        if not hasattr(select, "poll"):  # eventlet removes it
            ends = [self._sock]
            reads, writes = (ends, []) if what == select.POLLIN else ([], ends)
            return any(select.select(reads, writes, [], wait_s))
        poll = select.poll()
        poll.register(self._sock, what)
        return bool(poll.poll(None if wait_s is None else wait_s * 1000))

    # the client's own thread

    def receive(self, wait_s: float | None = None) -> list[Request]:
        """Wait for bytes, at most `wait_s` seconds if given, and return the hook calls in them. Raise NotConnected when
        the daemon has closed the connection."""
        try:
            if wait_s is not None and self.is_open and not self._polled(select.POLLIN, wait_s):
                return []
            data = self._sock.recv(READ_BYTES)
        except OSError as error:
            raise _ended(error) from None
        if not data:
            raise NotConnected("the daemon closed the connection")
        try:
            return self._session.receive(data)
        finally:
            if self._session.out:
                self.flush()

    def answer(self, request: Request, value: Any, error: BaseException | None = None) -> None:
        """Answer a hook call with what the hook returned or raised, if the connection is still open."""
        try:
            with self._lock:
                if self.is_open:
                    self._send(self._session.answer(request, value, error), None)
        except NotConnected:
            pass
        finally:
            if self._offered:
                self._send_offered()

    def shutdown(self) -> None:
        """End the connection, and wake the threads that read or send. This takes no lock, so any thread, a signal
        handler or the garbage collector may call it."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close this copy in a forked child. A shutdown would end the parent's connection too."""
        self._lock, self.is_open = threading.Lock(), False  # a thread that is not here may have held it
        self._offered.clear()
        with suppress(OSError):
            os.close(self._sock.detach())

    def end(self) -> None:
        """Close the connection, and tell each caller that its call gets no answer. Later calls raise NotConnected."""
        self.shutdown()
        with self._lock:
            self.is_open = False
            self._sock.close()
        self._send_offered()  # they are counted
        self._session.end()


def connected(to: str | os.PathLike[str] | None = None) -> socket.socket:
    """Return a connected, non-blocking socket. Raise NotConnected, SocketPathError."""
    path = str(socket_path(to))
    check_socket_path(path)
    sock = _new_socket()
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


def _new_socket() -> socket.socket:
    """Return a socket. It never takes the number of a standard stream that the host has closed, since what the host or
    its libraries write there would be sent to the daemon."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if sock.fileno() > 2:
        return sock
    import fcntl  # seldom needed, and not in leo's start

    with sock:
        return socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, 3))


def _ended(error: OSError) -> NotConnected:
    return NotConnected(f"the connection has ended: {os.strerror(error.errno or 0)}")
