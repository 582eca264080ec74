"""MessagePack-RPC with no I/O: bytes in, events out; calls in, bytes out.

`Framer` cuts a byte stream into whole messages, `decode` reads one, and `Peer` is one end of a connection:
it numbers calls, matches answers and keeps the limits. Nothing here knows a socket, a thread or a loop, so
the daemon, the blocking client and the asyncio client are thin drivers of the same protocol.

Specification: https://github.com/msgpack-rpc/msgpack-rpc/blob/master/spec.md
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from msgpack import Packer, Unpacker, unpackb
from msgpack.exceptions import OutOfData

from dreamclient.errors import Malformed, MessageTooLarge, ProtocolError, RemoteError, UsageError
from dreamclient.messages import CALLS_IN_FLIGHT, MESSAGE_BYTES, NESTING, Code, DreamContext, PulseSnapshot

REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2
MSGID_MASK = 0xFFFF_FFFF  # the specification: a 32-bit unsigned number

# An Unpacker never gives its buffer back, so one that met a large message is replaced.
LARGE_BYTES = 64 * 1024
SPARE = 4  # Unpackers that are kept for the next message
# How far into an unfinished message its length fields are read, to refuse a giant before it is sent.
LOOK_BYTES = 256


class Request(NamedTuple):
    """The peer calls: answer with `Peer.respond` or `Peer.fail`."""

    msgid: int
    method: str
    params: Any


class Notification(NamedTuple):
    """The peer tells; there is no answer."""

    method: str
    params: Any


class Answer(NamedTuple):
    """What the peer said to the call numbered `msgid`; as an event, `msgid` is replaced by its token."""

    msgid: int
    error: RemoteError | None
    result: Any


class Reply(NamedTuple):
    """A call of this side has ended: `token` is what `Peer.call` was given for it."""

    token: Any
    error: RemoteError | None
    result: Any


Message = Request | Notification | Answer
Event = Request | Notification | Reply


# --- framing -----------------------------------------------------------------------------------------


class Framer:
    """Cuts a stream into whole messages, each at most `limit` bytes.

    `Unpacker.skip` walks over a message without building it, so a hostile one costs its bytes and no more.
    The Unpacker's own limits are no help: its C form does not count what it has parsed already. It takes 44 KiB, so
    a Framer has one while a message is unfinished only; `spare` holds those of all Framers of a thread.
    """

    def __init__(self, limit: int = MESSAGE_BYTES, spare: list[Unpacker] | None = None) -> None:
        self._limit = limit
        self._spare = [] if spare is None else spare
        self._unpacker: Unpacker | None = None
        self._end = 0  # where, in the Unpacker's count, the last whole message ended
        self._partial = bytearray()  # of the next one; grown in place, a drip costs no square
        self._looked = False

    def feed(self, data: bytes) -> tuple[list[bytes], ProtocolError | None]:
        """Return the messages that `data` completes, and what broke the stream behind them, if anything."""
        unpacker = self._unpacker
        if unpacker is None:
            unpacker = self._spare.pop() if self._spare else Unpacker(read_size=4096, max_buffer_size=0)
            self._unpacker, self._end = unpacker, unpacker.tell()
        unpacker.feed(data)
        partial = self._partial
        if partial:
            partial += data
        buffered = partial or data
        base = start = self._end
        frames: list[bytes] = []
        try:
            while True:
                unpacker.skip()
                end = unpacker.tell()
                if end - start > self._limit:
                    return frames, self._too_large(end - start)
                frames.append(bytes(buffered[start - base : end - base]))
                start = end
        except OutOfData:
            if frames or not partial:
                self._partial = bytearray(buffered[start - base :])
                self._end, self._looked = start, False
            return frames, self._look()
        except ValueError:  # FormatError, StackError: there is no telling where the next message starts
            return frames, Malformed(
                "no MessagePack: expected a MessagePack-RPC message, see docs/protocol.md"
            )

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun to come and is not whole."""
        return bool(self._partial)

    def _look(self) -> ProtocolError | None:
        """Whether what has come of the next message is too large, or says that it will be."""
        size = len(self._partial)
        if not size:
            if self._end <= LARGE_BYTES and len(self._spare) < SPARE:
                self._spare.append(self._unpacker)
            self._unpacker = None
        if size > self._limit:
            return self._too_large(size)
        if size and not self._looked:
            self._looked = size >= LOOK_BYTES
            announced = _announced(self._partial[:LOOK_BYTES], self._limit)
            if announced:
                return self._too_large(announced)
        return None

    def _too_large(self, size: int) -> MessageTooLarge:
        return MessageTooLarge(f"a message of {size} bytes or more; the limit is {self._limit}")


# First byte of a value -> how many bytes its length takes, and whether the length counts bytes of its own.
_LENGTHS = {
    0xC4: (1, True), 0xC5: (2, True), 0xC6: (4, True),  # bin
    0xC7: (1, True), 0xC8: (2, True), 0xC9: (4, True),  # ext
    0xD9: (1, True), 0xDA: (2, True), 0xDB: (4, True),  # str
    0xDC: (2, False), 0xDD: (4, False),  # array
    0xDE: (2, False), 0xDF: (4, False),  # map
}  # fmt: skip
# Numbers, and the ext types of fixed size: bytes behind the first one.
_FIXED = {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip


def _announced(head: bytes | bytearray, limit: int) -> int:
    """The first length in the start of an unfinished message that is over `limit`, or 0."""
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


# --- one message -------------------------------------------------------------------------------------


def decode(frame: bytes) -> Message:
    """Read one whole message; raise Malformed, with the id of the request if it can be read."""
    try:
        message = unpackb(frame, strict_map_key=True, max_ext_len=0)
    except Exception as error:  # noqa: BLE001 - no list of what a peer's bytes can raise was ever complete
        raise malformed(frame, f"unreadable MessagePack ({type(error).__name__})") from None
    if type(message) is not list or not message or type(message[0]) is not int:
        raise malformed(frame)
    match message:
        case [0, int(msgid), str() | bytes() as method, list(params)] if _is_msgid(msgid):
            if too_deep(params, NESTING + 1):
                raise Malformed(f"params are nested deeper than {NESTING} levels", msgid)
            return Request(msgid, text_of(method), params)
        case [1, int(msgid), error, result] if _is_msgid(msgid):
            return Answer(msgid, remote_error(error), result)
        case [2, str() | bytes() as method, list(params)]:
            if too_deep(params, NESTING + 1):
                raise Malformed(f"params are nested deeper than {NESTING} levels")
            return Notification(text_of(method), params)
    raise malformed(frame)


def malformed(
    frame: bytes,
    message: str = "expected [0, msgid, method, params], [1, msgid, error, result] or [2, method, params]",
) -> Malformed:
    """The error for a frame that is no message, addressed as far as its first values tell."""
    kind = msgid = None
    reader = Unpacker(read_size=64)
    reader.feed(frame[:64])
    try:
        if reader.read_array_header():
            kind = reader.unpack()
            msgid = reader.unpack()
    except (ValueError, OutOfData):
        pass
    if type(kind) is not int:
        kind = None
    return Malformed(
        message, msgid if kind == REQUEST and _is_msgid(msgid) else None, is_answer=kind == RESPONSE
    )


def _is_msgid(value: object) -> bool:
    return type(value) is int and 0 <= value <= MSGID_MASK


def text_of(value: str | bytes) -> str:
    """Return a text that a peer may also send as `bin`, as pynvim sends its method names."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def remote_error(error: Any) -> RemoteError | None:
    """Return a peer's error as ours. Foreign peers may send any value: a text is taken as the message."""
    match error:
        case None:
            return None
        case [code, str() | bytes() as message, *rest]:
            number = int(code) if isinstance(code, float) and code.is_integer() else code
            detail = rest[0] if rest and isinstance(rest[0], dict) else None
            return RemoteError(number if type(number) is int else 0, text_of(message), detail)
        case str() | bytes():
            return RemoteError(0, text_of(error))
    return RemoteError(0, f"an error of type {type(error).__name__}")


def too_deep(value: Any, levels: int = NESTING) -> bool:
    """Whether lists and maps in `value` nest deeper than `levels`; level by level, so never recursive."""
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(levels):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, list | dict)
        ]
        if not level:
            return False
    return True


# --- one end of a connection -------------------------------------------------------------------------


class Codec(NamedTuple):
    """How one end writes and reads values: the client with msgpack, the daemon with msgspec and its types."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Message]


_OURS = frozenset({DreamContext, PulseSnapshot})


def plain(value: Any) -> Any:
    """What the packer does with a value it doesn't know: a mapping's items, the lists and numbers of numpy's
    arrays and scalars, the attributes of any other object. Raises TypeError where there are none."""
    if type(value) in _OURS:  # nearly always
        return value.__dict__
    if isinstance(value, Mapping):
        return dict(value)
    tolist = getattr(value, "tolist", None)
    if tolist is not None:
        return tolist()
    attributes = getattr(value, "__dict__", None)
    if attributes is not None:
        return attributes
    raise TypeError(f"a {type(value).__name__} cannot be sent; send numbers, texts, lists and maps")


def packed(value: Any) -> bytes:
    """Encode `value`; raise UsageError where it cannot be. Lone surrogates, which UTF-8 cannot hold, become
    question marks."""
    try:
        try:
            data = Packer(default=plain).pack(value)
        except UnicodeEncodeError:
            data = Packer(default=plain, unicode_errors="replace").pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"this cannot be sent as MessagePack ({type(error).__name__})") from error
    return cast(bytes, data)  # None only without autoreset


PLAIN = Codec(packed, decode)


class Peer:
    """One end of a connection. Feed `receive_data`, send what the other methods return.

    `receive_data` never raises for what the peer did: once its events are taken, `broken` says what it was, and the
    connection should be closed when `data_to_send` (the answers that this end makes by itself) has been sent. Peers
    of one thread may share a list of `spare` parts, which they fill.
    """

    def __init__(
        self,
        codec: Codec = PLAIN,
        *,
        message_bytes: int = MESSAGE_BYTES,
        calls_in_flight: int = CALLS_IN_FLIGHT,
        spare: list[Unpacker] | None = None,
    ) -> None:
        self._encode, self._decode = codec
        self._message_bytes = message_bytes
        self._framer = Framer(message_bytes, spare)
        self._frames: deque[bytes] = deque()  # whole messages that are not read yet
        self._breach: ProtocolError | None = None  # what broke the stream behind them
        self.messages = 0  # that came whole
        self._limit = calls_in_flight
        self._serving = 0
        self._next_id = 0
        self.pending: dict[int, Any] = {}  # tokens of the calls on their way, by msgid
        self._owed: list[bytes] = []
        self.broken: ProtocolError | None = None
        self.unknown_answers = 0
        self.refused_calls = 0

    # what the peer sent

    def receive_data(
        self, data: bytes, tap: Callable[[list[bytes]], object] | None = None
    ) -> Iterator[Event]:
        """Take bytes of any split, and return `events`. `tap` is shown the messages that are whole now, before they
        are read."""
        if self.broken is None and self._breach is None:
            frames, self._breach = self._framer.feed(data)
            if tap is not None:
                tap(frames)
            self.messages += len(frames)
            self._frames += frames
        return self.events()

    def events(self) -> Iterator[Event]:
        """Yield what has come, in order; nothing more once `broken`. Each message is read only when its event is
        asked for: the call that a Reply ends is in `pending` until then."""
        while self._frames:
            try:
                message = self._decode(self._frames.popleft())
            except Malformed as error:
                self._frames.clear()
                self._breach = error
                break
            event = self._event(message)
            if event is not None:
                yield event
        if self._breach is not None and self.broken is None:
            self._break(self._breach)

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun to come and is not whole."""
        return self._framer.unfinished

    def _event(self, message: Message) -> Event | None:
        if isinstance(message, Notification):
            return message
        if isinstance(message, Request):
            if self._serving < self._limit:
                self._serving += 1
                return message
            self.refused_calls += 1
            text = f"more than {self._limit} calls in flight; wait for answers"
            self._owed.append(self._encode([RESPONSE, message.msgid, [Code.TOO_MANY, text], None]))
            return None
        token = self.pending.pop(message.msgid, None)
        if token is None:
            self.unknown_answers += 1
            return None
        return Reply(token, message.error, message.result)

    def _break(self, error: ProtocolError) -> None:
        self.broken = error
        code = Code.TOO_LARGE if isinstance(error, MessageTooLarge) else Code.MALFORMED
        body = [code, str(error)]
        if isinstance(error, Malformed) and error.is_answer:
            return
        if isinstance(error, Malformed) and error.msgid is not None:
            self._owed.append(self._encode([RESPONSE, error.msgid, body, None]))
        else:
            self._owed.append(self._encode([NOTIFICATION, "error", body]))

    @property
    def data_owed(self) -> bool:
        """Whether this end owes answers on its own account."""
        return bool(self._owed)

    def data_to_send(self) -> bytes:
        """Take the answers that this end owes on its own account."""
        return b"".join(self.messages_to_send())

    def messages_to_send(self) -> list[bytes]:
        """The same, each by itself."""
        owed, self._owed = self._owed, []
        return owed

    # what this end sends

    def call(self, method: str, params: list[Any], token: Any) -> tuple[int, bytes]:
        """Number a call; its Reply will carry `token` (anything but None). To give one up, or all of them
        when the connection has ended, take it out of `pending`: a late answer is then an unknown one."""
        while self._next_id in self.pending:  # only after 2**32 calls
            self._next_id = (self._next_id + 1) & MSGID_MASK
        msgid = self._next_id
        data = self._sized([REQUEST, msgid, method, params], method)
        self._next_id = (msgid + 1) & MSGID_MASK
        self.pending[msgid] = token
        return msgid, data

    def notify(self, method: str, params: list[Any]) -> bytes:
        """A notification. Raises UsageError, as `call` does, where it is too large or cannot be encoded."""
        return self._sized([NOTIFICATION, method, params], method)

    def _sized(self, message: list[Any], method: str) -> bytes:
        data = self._encode(message)
        if len(data) > self._message_bytes:
            # Sent, it would cost the connection.
            raise UsageError(f"{method}: {len(data)} bytes to send; the limit is {self._message_bytes}")
        return data

    def respond(self, msgid: int, result: Any) -> bytes:
        """The answer to a Request; one that is too large to send becomes an error that says so."""
        data = self._encode([RESPONSE, msgid, None, result])
        if len(data) > self._message_bytes:
            text = f"the answer has {len(data)} bytes; the limit is {self._message_bytes}"
            return self.fail(msgid, Code.TOO_LARGE, text)
        self._serving -= 1
        return data

    def fail(self, msgid: int, code: int, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """The answer to a Request that went wrong."""
        error = [code, message, detail] if detail else [code, message]
        data = self._encode([RESPONSE, msgid, error, None])
        self._serving -= 1
        return data
