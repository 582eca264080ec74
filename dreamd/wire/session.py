"""One connection: an asyncio driver of `dreamclient.protocol.rpc`.

The reader never awaits. What arrives is routed at once: an answer to the call that waits for it, everything
else to `dispatch`, which answers now or starts a task that this session owns. What one peer can hold here is
bounded: bytes unsent, calls in flight, and the time of each call.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec
from dreamclient.errors import CallTimeout, NotConnected
from dreamclient.protocol.rpc import Notification, Peer, Reply, Request

from dreamd.failures import Failures
from dreamd.wire.typed import CODEC

UNSENT_BYTES = 4 << 20  # beyond, the peer does not read, and is let go
HELD_BYTES = 64 << 10  # of answers, while what asks for them is read
EVENT_BYTES = 256 << 10  # beyond, a subscriber loses events instead
# A peer that does not read keeps close() waiting for ever: after this long it is cut off.
GRACE_S = 0.5
TICK_S = 0.001  # a timer of uvloop may ring this much early

Dispatch = Callable[["Session", Request | Notification], None]
Tap = Callable[["Session", str, bytes], None]  # is shown a message that came IN, or went OUT

IN, OUT = "in", "out"
UNTAPPED: Mapping[int, Tap] = MappingProxyType({})


class _Call:
    """A call on its way: its future, and when it is given up (the loop's clock, s)."""

    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[msgspec.Raw], deadline: float) -> None:
        self.future = future
        self.deadline = deadline


class Session(asyncio.Protocol):
    """One peer. `name`, `version`, `pid` and `provides` are what its hello said; `greeted` that it has. `taps` may
    come and go; each is shown every message, as it crossed the socket."""

    def __init__(
        self,
        number: int,
        dispatch: Dispatch,
        on_lost: Callable[["Session"], None],
        failures: Failures,
        taps: Mapping[int, Tap] = UNTAPPED,
    ):
        self.number = number
        self.greeted = False
        self.name, self.version, self.pid = "", "", 0
        self.provides: frozenset[str] = frozenset()
        self.connected_at = 0.0  # the loop's clock, s
        self.taps = taps
        self._dispatch = dispatch
        self._on_lost = on_lost
        self._failures = failures
        self._peer = Peer(CODEC)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = False
        self._held = bytearray()  # what is said while a chunk is read
        self._lost_events = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES, low=UNSENT_BYTES // 4)
        self.connected_at = self._loop.time()

    def data_received(self, data: bytes) -> None:
        peer = self._peer
        self._reading = True
        for event in peer.receive_data(data, self._show_taps if self.taps else None):
            if isinstance(event, Reply):
                self._settle(event)
            else:
                self._dispatch(self, event)
        if peer.data_owed:
            for owed in peer.messages_to_send():
                self.send(owed)
        self._reading = False
        self._flush()
        if peer.unknown_answers or peer.refused_calls:
            self._count_misuse()
        if peer.broken is not None:
            self._failures.count("peer", type(peer.broken).__name__)
            self.close()

    def pause_writing(self) -> None:
        """UNSENT_BYTES wait and the peer does not read them: it is cut off, and nobody else notices."""
        self._failures.count("peer", "slow reader")
        self.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self._sweep is not None:
            self._sweep.cancel()
        for call in self._peer.pending.values():
            if not call.future.done():
                call.future.set_exception(NotConnected("the connection was lost"))
        self._peer.pending.clear()
        for task in self._tasks:
            task.cancel()
        self._on_lost(self)

    def _count_misuse(self) -> None:
        peer = self._peer
        for kind, times in (
            ("answer to no call", peer.unknown_answers),
            ("too many calls", peer.refused_calls),
        ):
            if times:
                self._failures.count("peer", kind, times=times)
        peer.unknown_answers = peer.refused_calls = 0

    # what the daemon says

    def send(self, message: bytes) -> None:
        """Write one message to the peer; to a lost one, nothing."""
        if self._transport is None:
            return
        if self._reading:
            self._held += message
            if len(self._held) > HELD_BYTES:
                self._flush()
        else:
            self._transport.write(message)
        if self.taps:
            self._show_taps([message], OUT)

    def _flush(self) -> None:
        """Write what is held. Not each message by itself: asyncio's own transport counts all it has at each write."""
        held, self._held = self._held, bytearray()
        if held and self._transport is not None:
            self._transport.write(held)

    def _show_taps(self, messages: list[bytes], way: str = IN) -> None:
        for tap in self.taps.values():
            for message in messages:
                tap(self, way, message)

    def respond(self, msgid: int, result: Any) -> None:
        """Answer a request."""
        self.send(self._peer.respond(msgid, result))

    def fail(self, msgid: int, code: int, message: str) -> None:
        """Answer a request with an error."""
        self.send(self._peer.fail(msgid, code, message))

    def call(self, method: str, params: list[Any], deadline_s: float) -> asyncio.Future[msgspec.Raw]:
        """Call the peer. The future has the raw result, or RemoteError, CallTimeout or NotConnected."""
        future: asyncio.Future[msgspec.Raw] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(NotConnected("the connection was lost"))
            return future
        call = _Call(future, self._loop.time() + deadline_s)
        _, data = self._peer.call(method, params, call)
        self._arm(call.deadline)
        self.send(data)
        return future

    def event(self, data: bytes) -> None:
        """Pass on one encoded `event` notification, or count it as lost where the peer reads too slowly."""
        if self._transport is None:
            return
        if self.behind:
            self._lost_events += 1
            return
        self.tell_losses()
        self.send(data)

    def tell_losses(self) -> None:
        """Say how many events were lost, once the peer reads again: before the next one, or at the daemon's tick."""
        if self._lost_events and self._transport and not self.behind:
            lost, self._lost_events = self._lost_events, 0
            self.send(self._peer.notify("event", [{"type": "lost", "count": lost}]))

    @property
    def behind(self) -> bool:
        """Whether the peer reads too slowly for events; a lost one does not."""
        return self._transport is not None and self._transport.get_write_buffer_size() > EVENT_BYTES

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as a task that ends with this session."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Send what is buffered, then close; cut off a peer that does not take it."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._loop.call_later(GRACE_S, self.abort)

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    # calls and their deadlines

    def _settle(self, reply: Reply) -> None:
        call: _Call = reply.token
        if call.future.done():  # whoever waited has been cancelled
            return
        if reply.error is not None:
            call.future.set_exception(reply.error)
        else:
            call.future.set_result(reply.result)

    def _arm(self, deadline: float) -> None:
        """One timer a session, at the earliest deadline; an answered call leaves it to run out."""
        if self._sweep is None or deadline < self._sweep.when():
            if self._sweep is not None:
                self._sweep.cancel()
            self._sweep = self._loop.call_at(deadline, self._sweep_calls)

    def _sweep_calls(self) -> None:
        self._sweep = None
        now = self._loop.time() + TICK_S
        pending = self._peer.pending
        for msgid, call in list(pending.items()):
            if call.deadline <= now or call.future.done():
                del pending[msgid]
                if not call.future.done():
                    call.future.set_exception(CallTimeout("no answer in time"))
        if pending:
            self._arm(min(call.deadline for call in pending.values()))
