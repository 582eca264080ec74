"""One connection: an asyncio driver of `dreamclient.protocol.rpc`.

The reader never awaits. Every message is routed at once: a reply to the call that it ends, any other message to
`dispatch`, which answers now or starts a task that this session owns. The memory for one peer is bounded: while it
leaves more than UNSENT_BYTES unread, nothing more is read from it. If this session waits for the peer, it must get
further within PATIENCE_S.
"""

import asyncio
import select
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec
from dreamclient.errors import ProtocolError
from dreamclient.messages import Code, Method
from dreamclient.protocol.rpc import Codec, Message, Notification, Reply, Request

from dreamd.failures import Failures
from dreamd.wire.calls import Calls, lost_call_error
from dreamd.wire.codec import CODEC
from dreamd.wire.guarded import GuardedPeer
from dreamd.wire.turns import Turns

# If more is unsent, the peer reads more slowly than it asks, and nothing is read from it.
UNSENT_BYTES = 4 << 20
# How long this session waits for a peer that makes no progress: in reading, in ending its message, in saying hello. The
# daemon's tick checks it, so it may take a tick longer.
PATIENCE_S = 30.0
HELD_BYTES = 64 << 10  # of answers that are held while a chunk of requests is read
EVENT_BYTES = 256 << 10  # if more is unsent, a subscriber loses events
HELLO_S = 5.0  # after this long without hello a session gives way if there are too many
GRACE_S = 0.5  # after this long at the end a peer that does not read is cut off

Dispatch = Callable[["Session", Request | Notification], None]
Tap = Callable[["Session", str, bytes], None]  # gets each message, IN or OUT

IN, OUT = "in", "out"
UNTAPPED: Mapping[int, Tap] = MappingProxyType({})


class Session(asyncio.Protocol):
    """One peer. `greeted`: it has said hello. `name`, `version`, `pid` and `provides` come from its hello. `taps`: they
    may change at any time, and each gets every message as it crossed the socket."""

    def __init__(
        self,
        number: int,
        dispatch: Dispatch,
        on_lost: Callable[["Session"], None],
        failures: Failures,
        taps: Mapping[int, Tap] = UNTAPPED,
        spare: list[Any] | None = None,
        codec: Codec = CODEC,
        turns: Turns | None = None,
    ):
        self.number = number
        self.greeted = False
        self.name, self.version, self.pid = "", "", 0
        self.provides: frozenset[str] = frozenset()
        self.field: str | None = None
        self.connected_at = 0.0  # the loop's clock, s
        self.ending = False
        self.taps = taps
        self._dispatch = dispatch
        self._on_lost = on_lost
        self._failures = failures
        self._peer = GuardedPeer(codec, spare=spare)
        self._turns = Turns() if turns is None else turns
        self._calls = Calls(self._peer.pending)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = False
        self._caught_up = asyncio.Event()  # cleared while more than UNSENT_BYTES are unsent
        self._caught_up.set()
        self._half_closed = False  # the peer sends no more, but may still read
        self._sent = 0  # bytes given to the transport
        self._awaited: tuple[str, int] | None = None  # what the last tick waited for
        self._awaited_since = 0.0
        self._held = bytearray()  # messages to send after the current chunk is read
        self._lost_events = 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES, low=UNSENT_BYTES // 4)
        self.connected_at = self._loop.time()

    def data_received(self, data: bytes) -> None:
        self._peer.tap = self._show_taps if self.taps else None
        events = self._peer.receive_data(data)
        if isinstance(events, tuple):  # one message, as nearly always
            self._take(events)
        else:
            self._wait_for_turn()

    def _take(self, events: Iterable[Message | None], turns: Turns | None = None) -> None:
        """Route events until there are no more, too much is unsent, or the turn is over. The rest stays in the peer."""
        peer = self._peer
        self._reading = True
        for event in events:
            if isinstance(event, Reply):
                self._calls.settle(event)
            elif event is not None:
                self._dispatch(self, event)
            if not self._caught_up.is_set():
                break
            if turns is not None and turns.is_over():
                self._wait_for_turn()
                break
        if peer.out:
            self._send_out()
        self._reading = False
        if self._held:
            self._flush()
        if peer.unknown_answers or peer.refused_calls:
            self._count_misuse()
        if peer.broken is not None:
            self._end_broken(peer.broken)

    def _send_out(self) -> None:
        for answer in self._peer.messages_to_send():
            self.send(answer)

    def eof_received(self) -> bool:
        """Answer the requests of a peer that has closed its sending half, then close. Its own calls fail, because it
        can no longer answer them."""
        self._half_closed, self.provides = True, frozenset()
        self._calls.fail()
        return bool(self._tasks) and not self._hung_up()

    def _hung_up(self) -> bool:
        """Return whether the peer has closed both halves, as the kernel reports it."""
        poll = select.poll()
        poll.register(cast(asyncio.Transport, self._transport).get_extra_info("socket").fileno(), 0)
        return bool(poll.poll(0))

    def pause_writing(self) -> None:
        """Stop reading, because more than UNSENT_BYTES are unsent."""
        self._caught_up.clear()
        self._stop_reading()

    def resume_writing(self) -> None:
        """Go on reading with the next turn."""
        self._caught_up.set()
        self._turns.wait(self)

    def _stop_reading(self) -> None:
        transport = self._transport
        if transport is not None and transport.is_reading() and not transport.is_closing():
            transport.pause_reading()

    def _wait_for_turn(self) -> None:
        self._stop_reading()
        self._turns.wait(self)

    def take_turn(self) -> None:
        """Serve what has come, for a time, then go on reading."""
        transport = self._transport
        if transport is None or not self._caught_up.is_set():
            return
        if not self._half_closed:
            transport.resume_reading()  # first, because the events below may stop it again
        self._peer.tap = self._show_taps if self.taps else None
        self._take(self._peer.events(), self._turns)

    async def caught_up(self) -> None:
        """Wait until there is room for an answer."""
        while not self._caught_up.is_set():
            await self._caught_up.wait()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._calls.fail()
        for task in self._tasks:
            task.cancel()
        self._on_lost(self)

    def _count_misuse(self) -> None:
        peer = self._peer
        if peer.unknown_answers:
            self._failures.count("peer", "answer to no call", times=peer.unknown_answers)
        if peer.refused_calls:
            self._failures.refusals.add("peer", "too many calls", peer.refused_calls)
        peer.unknown_answers = peer.refused_calls = 0

    def _end_broken(self, error: ProtocolError) -> None:
        what = type(error).__name__
        if self.greeted:
            self._failures.count("peer", what, place=str(error).partition(":")[0])
        else:  # an experiment, or a program that meant another socket: it is told, and nothing else is lost
            self._failures.refusals.add("peer", what)
        self.close()

    # what the daemon says

    def send(self, message: bytes) -> None:
        """Send one message, unless the connection is lost."""
        if self._transport is None:
            return
        if self._reading:
            self._held += message
            if len(self._held) > HELD_BYTES:
                self._flush()
        else:
            self._sent += len(message)
            self._transport.write(message)
        if self.taps:
            self._show_taps([message], OUT)

    def _flush(self) -> None:
        """Write all held messages at once, because asyncio's own transport counts its whole buffer at each write."""
        held, self._held = self._held, bytearray()
        if held:
            self._write(held)

    def _write(self, data: bytes | bytearray) -> None:
        if self._transport is not None:
            self._sent += len(data)
            self._transport.write(data)

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
        if self._transport is None or self._half_closed:
            future: asyncio.Future[msgspec.Raw] = self._loop.create_future()
            future.set_exception(lost_call_error())
            return future
        call = self._calls.new(deadline_s)
        self.send(self._peer.call(method, params, call)[1])
        return call.future

    def event(self, data: bytes) -> None:
        """Send an encoded `event` notification, or count it as lost if the peer reads too slowly."""
        if self._transport is None:
            return
        if self.behind:
            self._lost_events += 1
            return
        self._report_losses()
        self.send(data)

    def _report_losses(self) -> None:
        """Send the number of lost events, if the peer reads again."""
        if self._lost_events and self._transport and not self.behind:
            lost, self._lost_events = self._lost_events, 0
            self.send(self._peer.notify("event", [{"type": "lost", "count": lost}]))

    @property
    def behind(self) -> bool:
        """True if the peer is connected and reads too slowly for events."""
        return self._transport is not None and self._transport.get_write_buffer_size() > EVENT_BYTES

    def own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task that ends with this session, and return the task."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        self._turns.end()
        task.add_done_callback(self._disown)
        return task

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._half_closed and not self._tasks and self._transport is not None:
            self._transport.close()

    @property
    def answering(self) -> set[asyncio.Task[None]]:
        """The tasks that are making an answer."""
        return set(self._tasks)

    def close(self) -> None:
        """Send what is buffered, then close. Cut off a peer that does not read it."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._loop.call_later(GRACE_S, self.abort)

    def turn_away(self, code: int, why: str) -> None:
        """Send the peer the reason, then close."""
        self.ending = True
        self.send(self._peer.notify(Method.ERROR, [code, why]))
        self.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # the daemon's tick

    def tick(self) -> None:
        """Report lost events, and end this session if its peer made no progress for PATIENCE_S."""
        self._report_losses()
        awaited, now = self._waits_for(), self._loop.time()
        if awaited is None or awaited != self._awaited:
            self._awaited, self._awaited_since = awaited, now
        elif now - self._awaited_since >= PATIENCE_S:
            what, _ = awaited
            self._failures.count("peer", what)
            if what == "slow reader":
                self.abort()
            else:
                code = Code.REFUSED if what == "no hello" else Code.MALFORMED
                self.turn_away(code, f"{what} within {PATIENCE_S:g} s")

    def _waits_for(self) -> tuple[str, int] | None:
        """Return what this session waits for, and the peer's progress, or None if it does not wait for the peer."""
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if unsent and (self._half_closed or not self._caught_up.is_set()):
            return "slow reader", self._sent - unsent
        if self._peer.unfinished:
            return "unfinished message", self._peer.messages
        return ("no hello", self._peer.messages) if self.waits_for_hello else None

    @property
    def waits_for_hello(self) -> bool:
        """True if the peer has not said hello, and no request of it is being answered."""
        return not (self.greeted or self.ending or self._tasks)

    @property
    def gives_way(self) -> bool:
        """True if the peer has had time to say hello and did not, so that another may take its place."""
        return self.waits_for_hello and self._loop.time() - self.connected_at >= HELLO_S
