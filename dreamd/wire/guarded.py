"""The daemon's end of a connection. It bounds the memory that an untrusted peer can make it hold."""

from typing import Any

from dreamclient.messages import CALLS_IN_FLIGHT, MESSAGE_BYTES, Code
from dreamclient.protocol.rpc import RESPONSE, Codec, Peer, Request
from msgpack import Unpacker

from dreamd.wire.codec import CODEC

LARGE_BYTES = 64 * 1024  # an Unpacker never frees its buffer, so it is replaced after a larger message
SPARE = 4  # Unpackers that are kept for later messages
# The beginning of an unfinished message in which length fields are read, to refuse a giant one before it has arrived.
LOOK_BYTES = 256

# First byte of a value -> the size of its length field, and whether the length counts bytes of this value.
_LENGTHS = {
    0xC4: (1, True), 0xC5: (2, True), 0xC6: (4, True),  # bin
    0xC7: (1, True), 0xC8: (2, True), 0xC9: (4, True),  # ext
    0xD9: (1, True), 0xDA: (2, True), 0xDB: (4, True),  # str
    0xDC: (2, False), 0xDD: (4, False),  # array
    0xDE: (2, False), 0xDF: (4, False),  # map
}  # fmt: skip
# First byte of a number or an ext type of fixed size -> the number of bytes after it.
_FIXED = {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip


def _announced_length(head: bytes | bytearray, limit: int) -> int:
    """Return the first length over `limit` in the beginning of an unfinished message, or 0."""
    at = 0
    while at < len(head):
        first = head[at]
        if 0xA0 <= first <= 0xBF:  # fixstr
            at += 1 + (first & 0x1F)
        elif first in _LENGTHS:
            width, counts_bytes = _LENGTHS[first]
            length = int.from_bytes(head[at + 1 : at + 1 + width], "big")
            if length > limit and at + 1 + width <= len(head):
                return length
            at += 1 + width + (length if counts_bytes else 0) + (0xC7 <= first <= 0xC9)
        else:
            at += 1 + _FIXED.get(first, 0)
    return 0


class GuardedPeer(Peer):
    """A `Peer` that reads the lengths in the first bytes of an unfinished message, and refuses calls beyond a number in
    flight. The peers of one thread may share `spare` Unpackers, which take 44 KiB each."""

    def __init__(
        self,
        codec: Codec = CODEC,
        *,
        message_bytes: int = MESSAGE_BYTES,
        calls_in_flight: int = CALLS_IN_FLIGHT,
        spare: list[Any] | None = None,
    ) -> None:
        super().__init__(codec, message_bytes=message_bytes)
        self.refused_calls = 0
        self._calls_in_flight = calls_in_flight
        self._serving = 0
        self._spare = [] if spare is None else spare
        self._looked = False

    @property
    def unfinished(self) -> bool:
        """True if a part of a message has arrived, and nothing else that is not served yet."""
        return bool(self._partial) and not (self._frames or self._uncut)

    def _cut(self, data: bytes | memoryview) -> list[bytes]:
        frames = super()._cut(data)
        self._looked = self._looked and not frames
        if self._breach is None and not self._looked:
            self._looked = len(self._partial) >= LOOK_BYTES
            self._limit(_announced_length(self._partial[:LOOK_BYTES], self._message_bytes))
        return frames

    def _begun(self) -> Unpacker:
        return self._spare.pop() if self._spare else super()._begun()

    def _ended(self, unpacker: Unpacker) -> None:
        if self._end <= LARGE_BYTES and len(self._spare) < SPARE:
            self._spare.append(unpacker)

    def _admit(self, request: Request) -> Request | None:
        if self._serving < self._calls_in_flight:
            self._serving += 1
            return request
        self.refused_calls += 1
        text = f"more than {self._calls_in_flight} calls in flight; wait for answers"
        self.out.append(self._encode([RESPONSE, request.msgid, [Code.TOO_MANY, text], None]))
        return None

    def respond(self, msgid: int, result: Any) -> bytes:
        data = super().respond(msgid, result)
        self._serving -= 1
        return data

    def fail(self, msgid: int, code: int, message: str, detail: dict[str, Any] | None = None) -> bytes:
        data = super().fail(msgid, code, message, detail)
        self._serving -= 1
        return data
