"""One connection of the blocking client: whole messages out from any thread, bytes in on one.

The sending half has one rule: a message that went out in part is completed before anything else goes out.
`_tail` is what is left of it. While the daemon does not read, the link is *stalled*, and a context is dropped
before it costs anything. Whoever holds the lock sends; who finds it held on the reply path does not wait, but
leaves the context in a one-place mailbox, which the holder empties when it lets go.
"""

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from msgpack import Packer

from dreamclient.errors import CallTimeout, DreamError, NotConnected
from dreamclient.messages import MESSAGE_BYTES, Method
from dreamclient.protocol.rpc import NOTIFICATION, Event, Peer, packed, plain
from dreamclient.protocol.session import Host

READ_BYTES = 64 * 1024
# Up to here a send was seen to be all or nothing; larger ones go in parts, and cost the reply path a copy.
HOT_BYTES = 32 * 1024
FLUSH_S = 0.1  # how long a reading daemon may take over a large context before we read again
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class Link:
    """`sock` is connected; `receive` returns after `tick_s` at the latest, for `flush` to be called."""

    def __init__(
        self, sock: socket.socket, host: Host, tick_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        sock.setblocking(True)
        # The kernel's own timeout: a timeout of Python's costs a poll a message, 1.4 times a round trip.
        whole, part = divmod(tick_s, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(whole), int(part * 1e6)))
        self._sock = sock
        self._host = host
        self._monotonic = monotonic
        self._peer = Peer()
        self._pack = Packer(default=plain).pack  # under the lock
        self._lock = threading.Lock()
        self._stalled = False
        self._tail = bytearray()
        self._telling: dict[str, int] = {}  # the failures that the message of the tail carries
        self._mail: Any = None  # a context that found the lock held
        self._large: Any = None  # a context for the background thread
        self._ended = False

    # the reply path

    def offer(self, ctx: Any) -> bool:
        """Send a context, or hand it on; False where it was dropped. Never waits, never raises."""
        if self._stalled:
            return self._dropped("stalled")
        if not self._lock.acquire(False):
            return self._left(ctx)
        try:
            return self._offer_locked(ctx)
        finally:
            self._lock.release()
            if self._mail is not None:
                self._deliver()

    def _offer_locked(self, ctx: Any) -> bool:
        # One function where four would read better: between two replies the processor forgets them, and leo
        # would wait a microsecond for each.
        if self._stalled:  # since the caller looked: nothing may go between the parts of a message
            return self._dropped("stalled")
        host = self._host
        untold = host.failures.untold() if host.failures.pending else {}
        message = [NOTIFICATION, Method.CONTEXT, [ctx]]
        try:
            if untold:
                message[2] = [host.context(ctx, untold)]
            try:
                data = self._pack(message)
            except UnicodeEncodeError:
                data = packed(message)
            if len(data) > HOT_BYTES:
                return self._left_large(ctx, len(data))
            sent = self._sock.send(data, _FLAGS)
        except BlockingIOError:
            self._stalled = True
            return self._dropped("stalled")
        except OSError:  # the background thread reads the end too, and connects again
            return self._dropped("not_connected")
        except Exception:  # noqa: BLE001 a context may hold anything, and the reply must go on
            return self._dropped("unsendable")
        if sent < len(data):
            self._stalled = True
            self._tail += data[sent:]
            self._telling = untold
        elif untold:
            host.failures.told(untold)
        return True

    def _dropped(self, kind: str) -> bool:
        self._host.failures.count(kind)
        return False

    def _left(self, ctx: Any) -> bool:
        """Put `ctx` into the mailbox; whoever holds the lock will send it."""
        if self._mail is not None:
            self._host.failures.count("replaced")
        self._mail = ctx
        self._deliver()  # if the holder let go before the mail lay there
        return True

    def _left_large(self, ctx: Any, size: int) -> bool:
        """Leave `ctx` to the background thread."""
        if size > MESSAGE_BYTES:
            return self._dropped("unsendable")
        if self._large is not None:
            self._host.failures.count("replaced")
        self._large = ctx
        return True

    def _release(self) -> None:
        self._lock.release()
        self._deliver()

    def _deliver(self) -> None:
        """See to the mail, unless someone has the lock, and so will do it on letting go."""
        while self._mail is not None and self._lock.acquire(False):
            mail, self._mail = self._mail, None
            try:
                if mail is not None:
                    self._offer_locked(mail)
            finally:
                self._lock.release()

    # any thread that may wait

    def call(self, method: str, params: list[Any], token: Any, deadline: float | None = None) -> int:
        """Send a call, by `deadline` (monotonic seconds); `receive` gets its Reply, with `token`.

        Raises NotConnected, CallTimeout (nothing of it has gone out), UsageError (it cannot be sent)."""
        with self._held(deadline):
            msgid, data = self._peer.call(method, params, token)
            try:
                self._send(data, deadline)
            except DreamError:
                self.forget(msgid)
                raise
        return msgid

    def forget(self, msgid: int) -> None:
        """The caller waits no longer."""
        self._peer.pending.pop(msgid, None)

    @contextlib.contextmanager
    def _held(self, deadline: float | None) -> Iterator[None]:
        if not self._lock.acquire(timeout=-1 if deadline is None else max(0.0, deadline - self._monotonic())):
            raise CallTimeout("another call could not be sent in all that time")
        try:
            if self._ended:
                raise NotConnected("the connection has ended")
            yield
        finally:
            self._release()

    def _send(self, data: bytes, deadline: float | None) -> None:
        self._tail += data
        try:
            if not self._drain(deadline):
                if len(self._tail) >= len(data):
                    del self._tail[-len(data) :]
                raise CallTimeout("the daemon does not read")
        except OSError as error:
            raise NotConnected(f"the connection has ended: {os.strerror(error.errno or 0)}") from None

    def _drain(self, deadline: float | None) -> bool:
        """Send what is left of the tail, waiting until `deadline` for room; whether nothing is left."""
        while self._tail:
            try:
                sent = self._sock.send(self._tail, _FLAGS)
                del self._tail[:sent]
            except BlockingIOError:
                self._stalled = True
                if not self._writable(deadline):
                    return False
        self._stalled = False
        self._host.failures.told(self._telling)
        self._telling = {}
        return True

    def _writable(self, deadline: float | None) -> bool:
        wait_ms = None if deadline is None else max(0.0, deadline - self._monotonic()) * 1000
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        return bool(poll.poll(wait_ms))

    def shutdown(self) -> None:
        """End the connection from any thread: `receive` and whoever sends wake at once."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """In a forked child: close this copy. A shutdown would end the parent's connection too."""
        self._lock = threading.Lock()  # a thread that is not here may have held it
        self._ended = True
        with contextlib.suppress(OSError):
            os.close(self._sock.detach())

    # the background thread

    def receive(self) -> list[Event]:
        """Wait for bytes, for a tick at most; return what they mean. Raises NotConnected at the end."""
        if self._peer.broken is not None:
            raise NotConnected(f"the peer broke the protocol: {self._peer.broken}")
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise NotConnected(f"the connection has ended: {os.strerror(error.errno or 0)}") from None
        if not data:
            raise NotConnected("the daemon closed the connection")
        events = list(self._peer.receive_data(data))
        owed = self._peer.data_to_send()
        if owed:
            with self._held(None):
                self._send(owed, self._monotonic() + FLUSH_S)
        return events

    def respond(self, msgid: int, result: Any) -> None:
        """Answer a request, waiting for as long as the daemon does not read."""
        with self._held(None):
            self._send(self._peer.respond(msgid, result), None)

    def fail(self, msgid: int, code: int, message: str, detail: dict[str, Any] | None) -> None:
        """Answer a request with an error, likewise."""
        with self._held(None):
            self._send(self._peer.fail(msgid, code, message, detail), None)

    def flush(self) -> None:
        """Send what the reply path left: the rest of a message, or a large context."""
        if not self._stalled and self._large is None:
            return
        deadline = self._monotonic() + FLUSH_S
        if not self._lock.acquire(blocking=False):
            return  # its holder is sending
        try:
            if self._tail:
                self._drain(deadline)
            elif self._stalled:
                self._stalled = not self._writable(self._monotonic())
            if not self._stalled and self._large is not None:
                self._flush_large(deadline)
        except OSError:
            pass  # receive will say so
        finally:
            self._release()

    def _flush_large(self, deadline: float) -> None:
        ctx, self._large = self._large, None
        untold = self._host.failures.untold()
        try:
            self._tail += self._peer.notify(Method.CONTEXT, [self._host.context(ctx, untold)])
        except Exception:  # noqa: BLE001 it may have changed since it was offered
            self._host.failures.count("unsendable")
            return
        self._telling = untold
        self._drain(deadline)

    def end(self) -> list[Any]:
        """Close; return the tokens of the calls that will have no answer. Later calls raise NotConnected."""
        self.shutdown()
        with self._lock:
            self._ended = True
            self._sock.close()
            return list(self._peer.pending.values())
