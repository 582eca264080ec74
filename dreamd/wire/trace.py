"""Sending the messages of other sessions to a tracer, as they crossed the socket.

Nothing is decoded here, and no session waits. Messages that the tracer does not read in time are counted as lost.
"""

import asyncio

from msgspec import Struct

from dreamd.clock import Clock
from dreamd.wire.params import encode_event
from dreamd.wire.session import Session

HEAD_BYTES = 4096  # of each message that are shown: a context is under 4 KiB
HELD_BYTES = 256 << 10  # held for the tracer: the most that can arrive at once
MAP_BYTES = 64  # of a Seen without its data
RETRY_S = 0.05  # until the next attempt, if the tracer is behind


class Seen(Struct):
    """A message: its time (monotonic, s), its session, `in` to the daemon or `out`, its whole size, and its first
    bytes."""

    clock: float
    session: int
    way: str
    size: int
    data: bytes


class Trace:
    """A tap that sends `tracer` the messages of all sessions, or of the one numbered `only`."""

    def __init__(self, tracer: Session, only: int | None, clock: Clock) -> None:
        self._tracer = tracer
        self._only = only
        self._clock = clock
        self._held: list[Seen] = []
        self._held_bytes = 0
        self._lost = 0

    def see(self, session: Session, way: str, message: bytes) -> None:
        """Hold one message, to be sent in the next round of the loop with the others of this round."""
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
