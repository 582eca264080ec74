"""MessagePack-RPC without I/O: it makes events of bytes, and bytes of calls.

`decode` reads a message. `Peer` is one end of a connection: it cuts the stream into messages, numbers calls, matches
answers and keeps the limits. The daemon and both clients add only the I/O.

Specification: https://github.com/msgpack-rpc/msgpack-rpc/blob/master/spec.md
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from msgpack import Unpacker, unpackb
from msgpack.exceptions import OutOfData, StackError

from dreamclient.errors import Malformed, MessageTooLarge, ProtocolError, RemoteError, UsageError
from dreamclient.messages import MESSAGE_BYTES, Code
from dreamclient.protocol.packing import packed

REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2
MSGID_MASK = 0xFFFF_FFFF  # the specification: a 32-bit unsigned number
CUT_BYTES = 16 * 1024  # are cut into messages at a time, in 0.5 ms if they are as small as they can be
TEXT = (str, bytes)  # the types of a method's name: pynvim sends `bin`
_UNREADABLE = (
    "no MessagePack: expected a MessagePack-RPC message, see docs/reference/protocol.md",
    "the message nests too deep: values of no fixed shape may have 32 levels, see docs/reference/protocol.md",
)
EXPECTED = "expected [0, msgid, method, params], [1, msgid, error, result] or [2, method, params]"


@dataclass(slots=True)  # made twice as fast as a NamedTuple
class Request:
    """A call of the peer, to be answered with `Peer.respond` or `Peer.fail`."""

    msgid: int
    method: str
    params: Any


@dataclass(slots=True)
class Notification:
    """A message of the peer that has no answer."""

    method: str
    params: Any


@dataclass(slots=True)
class Reply:
    """The peer's answer to a call. After `decode`, `token` is the number of the call. In an event it is the token that
    `Peer.call` was given."""

    token: Any
    error: RemoteError | None
    result: Any


Message = Request | Notification | Reply


def decode(frame: bytes) -> Message:
    """Read one whole message of the daemon's; raise Malformed."""
    problem = EXPECTED
    try:
        message = unpackb(frame, max_ext_len=0)
    except Exception as error:  # noqa: BLE001 - no list of what a peer's bytes can raise was ever complete
        message, problem = [None], f"unreadable MessagePack ({type(error).__name__})"
    # Plain comparisons: a `match` takes as long as the unpacking.
    if type(message) is list and message and type(message[0]) is int:
        kind, size = message[0], len(message)
        if kind == REQUEST and size == 4:
            _, msgid, method, params = message
            if is_msgid(msgid) and type(method) in TEXT and type(params) is list:
                return Request(msgid, text_of(method), params)
        elif kind == RESPONSE and size == 4:
            _, msgid, failed, result = message
            if is_msgid(msgid):
                return Reply(msgid, None if failed is None else remote_error(failed), result)
        elif kind == NOTIFICATION and size == 3:
            _, method, params = message
            if type(method) in TEXT and type(params) is list:
                return Notification(text_of(method), params)
    raise Malformed(problem, is_answer=frame[1:2] == bytes([RESPONSE]))


def is_msgid(value: object) -> bool:
    """Return whether it is a 32-bit unsigned number."""
    return type(value) is int and 0 <= value <= MSGID_MASK


def text_of(value: str | bytes) -> str:
    """Return a text that may have come as `bin`: pynvim sends its method names so."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def remote_error(error: Any) -> RemoteError | None:
    """Return a peer's error as a RemoteError. Foreign peers may send any value: a text is taken as the message."""
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


class Codec(NamedTuple):
    """The encoder and the decoder of one end: the client uses msgpack, the daemon msgspec and its types."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Message]


PLAIN = Codec(packed, decode)


class Peer:
    """One end of a connection. Give received bytes to `receive_data`, and send what the other methods return.

    `receive_data` never raises an error of the peer: when its events are taken, `broken` has the error. Then send `out`
    (the answers that this end makes by itself), and close the connection. `tap` is shown the messages that are whole
    now, before they are read.
    """

    def __init__(self, codec: Codec = PLAIN, *, message_bytes: int = MESSAGE_BYTES) -> None:
        self._encode, self._decode = codec
        self._message_bytes = message_bytes
        self._unpacker: Unpacker | None = None
        self._end = 0  # where, in the Unpacker's count, the last whole message ended
        self._partial = bytearray()  # of the next one; it grows in place, so many small reads cost no copies
        self._uncut: bytes | memoryview = b""  # what came last, and is not cut into messages yet
        self._frames: deque[bytes] = deque()  # whole messages that are not read yet
        self._breach: ProtocolError | None = None  # what broke the stream behind them
        self._ids = count()
        self.pending: dict[int, Any] = {}  # tokens of the calls on their way, by msgid
        self.out: deque[bytes] = deque()
        self.broken: ProtocolError | None = None
        self.unknown_answers = 0
        self.messages = 0  # that arrived whole
        self.tap: Callable[[list[bytes]], object] | None = None

    # what the peer sent

    def receive_data(self, data: bytes) -> Iterable[Message | None]:
        """Take the next bytes of the stream, and return `events`."""
        if self.broken is None and self._breach is None:
            # Nearly always they are one message, and need not be cut.
            if (
                not (self._partial or self._frames or self._uncut or self.tap)
                and len(data) <= self._message_bytes
            ):
                try:
                    message = self._decode(data)
                except Malformed:  # several, a part, or none: `_cut` finds out
                    pass
                else:
                    self.messages += 1
                    event = self._event(message)
                    return () if event is None else (event,)
            self._uncut = b"".join((self._uncut, data)) if self._uncut else data
        return self.events()

    def _cut(self, data: bytes | memoryview) -> list[bytes]:
        """Return the messages that `data` completes. If the stream is broken after them, set `_breach` to the error.

        `Unpacker.skip` walks over a message without building it, so a hostile one costs its bytes and no more.
        The Unpacker's own limits are no help: its C form does not count what it has parsed already. It never frees
        its buffer of 44 KiB or more, so it is kept only while a message is unfinished.
        """
        if self._unpacker is None:
            self._unpacker = self._begun()
            self._end = self._unpacker.tell()
        unpacker, partial, frames = self._unpacker, self._partial, list[bytes]()
        unpacker.feed(data)
        if partial:
            partial += data
        whole = memoryview(partial or data)  # so that a message is copied once
        base, start, limit = self._end, 0, self._message_bytes
        try:
            while True:
                unpacker.skip()
                end = unpacker.tell() - base
                if end - start > limit:
                    self._limit(end - start)
                    break
                frames.append(bytes(whole[start:end]))
                start = end
        except OutOfData:
            self._end = base + start
            if partial:
                whole.release()
                del partial[:start]
            else:
                partial += data[start:]
            self._limit(len(partial))
            if not partial:
                self._ended(unpacker)
                self._unpacker = None
        except ValueError as error:  # FormatError, StackError: the next message may start anywhere
            self._breach = Malformed(_UNREADABLE[type(error) is StackError])
        self.messages += len(frames)
        if self.tap is not None:
            self.tap(frames)
        return frames

    def _cut_piece(self) -> None:
        """Cut the next CUT_BYTES of what has come into messages."""
        data = memoryview(self._uncut) if len(self._uncut) > CUT_BYTES else self._uncut
        self._uncut = data[CUT_BYTES:] or b""  # an empty view would hold all of the data
        self._frames += self._cut(data[:CUT_BYTES])

    def _begun(self) -> Unpacker:
        return Unpacker(read_size=4096, max_buffer_size=0)

    def _ended(self, unpacker: Unpacker) -> None:
        """Do nothing: the next message gets another."""

    def _limit(self, size: int) -> None:
        if size > self._message_bytes:
            text = f"a message of {size} bytes or more; the limit is {self._message_bytes}"
            self._breach = MessageTooLarge(text)

    def events(self) -> Iterator[Message | None]:
        """Yield the messages that have come, in order, until the stream is `broken`. Each is decoded only when its
        event is asked for: until then the call that a Reply ends stays in `pending`. None stands for a message that
        needs nothing more, or for a piece of a large one, so that a reader may stop after each of them."""
        while self._frames or (self._uncut and self._breach is None):
            if not self._frames:
                self._cut_piece()
                if len(self._frames[0]) > CUT_BYTES if self._frames else self._uncut:
                    yield None
                continue
            try:
                message = self._decode(self._frames.popleft())
            except Malformed as error:
                # Their frames would hold this peer and its buffers.
                error.__traceback__ = error.__context__ = None
                self._frames.clear()
                self._breach = error
                break
            yield self._event(message)
        if self._breach is not None and self.broken is None:
            self._break(self._breach)

    def _event(self, message: Message) -> Message | None:
        if isinstance(message, Notification):
            return message
        if isinstance(message, Request):
            return self._admit(message)
        message.token = self.pending.pop(message.token, None)
        if message.token is None:
            self.unknown_answers += 1
            return None
        return message

    def _admit(self, request: Request) -> Request | None:
        return request

    def _break(self, error: ProtocolError) -> None:
        self.broken, self._uncut = error, b""
        body = [Code.TOO_LARGE if isinstance(error, MessageTooLarge) else Code.MALFORMED, str(error)]
        if not isinstance(error, Malformed) or not (error.is_answer or error.msgid is not None):
            self.out.append(self._encode([NOTIFICATION, "error", body]))
        elif not error.is_answer:
            self.out.append(self._encode([RESPONSE, error.msgid, body, None]))

    def messages_to_send(self) -> list[bytes]:
        """Empty `out`, and return its messages."""
        return [self.out.popleft() for _ in range(len(self.out))]

    # what this end sends

    def call(self, method: str, params: list[Any], token: Any) -> tuple[int, bytes]:
        """Return the number and the bytes of a call. Its Reply will carry `token` (anything but None). To give a call
        up, take it out of `pending`: then a late answer counts as unknown."""
        msgid = next(self._ids) & MSGID_MASK  # one step of the interpreter: threads may call at one time
        while msgid in self.pending:  # only after 2**32 calls
            msgid = next(self._ids) & MSGID_MASK
        data = self._encode([REQUEST, msgid, method, params])
        if len(data) > self._message_bytes:
            raise self._too_large(method, data)
        self.pending[msgid] = token
        return msgid, data

    def notify(self, method: str, params: list[Any]) -> bytes:
        """Return the bytes of a notification. Raise UsageError, as `call` does, if it is too large or cannot be
        encoded."""
        data = self._encode([NOTIFICATION, method, params])
        if len(data) > self._message_bytes:
            raise self._too_large(method, data)
        return data

    def _too_large(self, method: str, data: bytes) -> UsageError:
        """Return the error of a message that would cost the connection if it were sent."""
        return UsageError(f"{method}: {len(data)} bytes to send; the limit is {self._message_bytes}")

    def respond(self, msgid: int, result: Any) -> bytes:
        """Return the answer to a Request. If it is too large to send, return an error that says so."""
        data = self._encode([RESPONSE, msgid, None, result])
        if len(data) <= self._message_bytes:
            return data
        text = f"the answer has {len(data)} bytes; the limit is {self._message_bytes}"
        return Peer.fail(self, msgid, Code.TOO_LARGE, text)

    def fail(self, msgid: int, code: int, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """Return the answer to a Request that went wrong."""
        return self._encode([RESPONSE, msgid, [code, message, detail] if detail else [code, message], None])
