"""What one tracer is told: the messages of other sessions, as they crossed the socket.

Nothing is decoded here, and nothing waits: what the tracer does not take in time is counted, and the count told.
"""

import asyncio

from msgspec import Struct

from dreamd.clock import Clock
from dreamd.wire.params import encode_event
from dreamd.wire.session import Session

HEAD_BYTES = 4096  # shown of one message: a context is under 4 KiB
HELD_BYTES = 256 << 10  # held for the tracer; as much arrives at once at most
MAP_BYTES = 64  # of a Seen, but for its data
RETRY_S = 0.05  # until a tracer that was behind is looked at again


class Seen(Struct):
    """One message: when (monotonic, s), whose, `in` to the daemon or `out`, its whole size, how it begins."""

    clock: float
    session: int
    way: str
    size: int
    data: bytes


class Trace:
    """Tells `tracer` of the messages of all sessions, or of the one numbered `only`."""

    def __init__(self, tracer: Session, only: int | None, clock: Clock) -> None:
        self._tracer = tracer
        self._only = only
        self._clock = clock
        self._held: list[Seen] = []
        self._held_bytes = 0
        self._lost = 0

    def see(self, session: Session, way: str, message: bytes) -> None:
        """A tap: take one message, to be told in the next round of the loop with all others of this one."""
        if self._only is not None and session.number != self._only:
            return
        if self._held_bytes >= HELD_BYTES:
            self._lost += 1
            return
        head = message[:HEAD_BYTES]
        self._held_bytes += MAP_BYTES + len(head)
        self._held.append(Seen(self._clock.monotonic(), session.number, way, len(message), head))
        if len(self._held) == 1:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self._tracer.behind:
            asyncio.get_running_loop().call_later(RETRY_S, self._tell)
            return
        event = {
            "type": "trace",
            "at": self._clock.wall(),
            "clock": self._clock.monotonic(),
            "messages": self._held,
            "lost": self._lost,
        }
        self._held, self._held_bytes, self._lost = [], 0, 0
        self._tracer.send(encode_event(event))
