"""The daemon's codec: msgspec reads frames with their types, and builds only the values that are used.

This opens the envelope. `params` and `result` stay raw bytes until a handler or a pending call, which know their type,
decode them. Only the most frequent notification is read with its params in one step. The protocol itself is
`dreamclient.protocol.rpc`, which both ends share.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from dreamclient.errors import Malformed
from dreamclient.messages import NESTING
from dreamclient.protocol.packing import packed
from dreamclient.protocol.rpc import (
    EXPECTED,
    MSGID_MASK,
    NOTIFICATION,
    REQUEST,
    RESPONSE,
    Codec,
    Message,
    Notification,
    Reply,
    Request,
    is_msgid,
    remote_error,
    text_of,
)
from msgpack import Unpacker
from msgpack.exceptions import OutOfData

Msgid = Annotated[int, msgspec.Meta(ge=0, le=MSGID_MASK)]


class _Request(msgspec.Struct, array_like=True, gc=False):
    kind: int
    msgid: Msgid
    method: str
    params: msgspec.Raw


class _Result(msgspec.Struct, array_like=True, gc=False):
    kind: int
    msgid: Msgid
    error: None
    result: msgspec.Raw


class _Notification(msgspec.Struct, array_like=True, gc=False):
    kind: int
    method: str
    params: msgspec.Raw


# The usual forms of a message, by its first two bytes. A message in another form is read part by part.
_USUAL: dict[bytes, Callable[[bytes], _Request | _Result | _Notification]] = {
    bytes([0x94, REQUEST]): msgspec.msgpack.Decoder(_Request).decode,
    bytes([0x94, RESPONSE]): msgspec.msgpack.Decoder(_Result).decode,
    bytes([0x93, NOTIFICATION]): msgspec.msgpack.Decoder(_Notification).decode,
}
_ENVELOPE = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ANY: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder()
_encode = msgspec.msgpack.Encoder().encode


def encode_message(value: Any) -> bytes:
    """Encode one message. Lone surrogates, as in a path that is not UTF-8, become question marks."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return packed(msgspec.to_builtins(value, builtin_types=(bytes,)))


_NIL = b"\xc0"


def decode_message(frame: bytes) -> Message:
    """Decode one whole message, with params and result raw. Raise Malformed (of `dreamclient.errors`)."""
    usual = _USUAL.get(frame[:2])
    if usual is not None:
        try:
            found = usual(frame)
            if isinstance(found, _Result):
                return Reply(found.msgid, None, found.result)
            if _is_array(found.params):
                if isinstance(found, _Request):
                    return Request(found.msgid, found.method, found.params)
                return Notification(found.method, found.params)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return _decode_parts(frame)


class _Wrong(Exception):
    """A part of a message is not what it must be: the text says which, and of what kind it is."""


def _decode_parts(frame: bytes) -> Message:
    """Decode a message in an unusual form, or say what is wrong with it."""
    try:
        if not _is_array(frame):
            raise _Wrong("the message is no array")
        return _read_parts(_ENVELOPE.decode(frame))
    except _Wrong as wrong:
        raise _malformed_error(frame, f"{wrong}: {EXPECTED}") from None
    except Exception as error:  # noqa: BLE001 - a peer's bytes can raise exceptions that no list foresees
        raise _malformed_error(frame, f"unreadable message ({type(error).__name__})") from None


def _read_parts(parts: list[msgspec.Raw]) -> Message:
    kind = _ANY.decode(parts[0]) if parts else None
    match kind if type(kind) is int else None, parts[1:]:
        case 0, [msgid, method, params]:
            return Request(_read_msgid(msgid), _read_name(method), _read_params(params))
        case 1, [msgid, error, result]:
            number = _read_msgid(msgid)
            said = None if bytes(error) == _NIL else remote_error(_ANY.decode(error))
            return Reply(number, said, result)
        case 2, [method, params]:
            return Notification(_read_name(method), _read_params(params))
        case 0 | 1 | 2, _:
            raise _Wrong(f"the message has {len(parts)} elements")
    raise _Wrong("the first element is no 0, 1 or 2")


def _malformed_error(frame: bytes, message: str) -> Malformed:
    """Return the error for a malformed frame, with the request's msgid if it can still be read."""
    kind = msgid = None
    reader = Unpacker(read_size=64)
    reader.feed(frame[:64])
    with suppress(ValueError, OutOfData):
        if reader.read_array_header():
            kind = reader.unpack()
            msgid = reader.unpack()
    if type(kind) is not int:
        return Malformed(message)
    known = kind == REQUEST and is_msgid(msgid)
    return Malformed(message, msgid if known else None, is_answer=kind == RESPONSE)


def _read_msgid(raw: msgspec.Raw) -> int:
    number: Any = _ANY.decode(raw)
    if not is_msgid(number):
        raise _Wrong(f"msgid is no integer from 0 to {MSGID_MASK}")
    return number  # type: ignore[no-any-return]


def _read_name(raw: msgspec.Raw) -> str:
    name = None
    with suppress(UnicodeDecodeError):
        name = _ANY.decode(raw)
    if not isinstance(name, str | bytes):
        raise _Wrong("method is no text")
    return text_of(name)


def _read_params(raw: msgspec.Raw) -> msgspec.Raw:
    if not _is_array(raw):
        raise _Wrong("params are no array")
    return raw


def _is_array(raw: msgspec.Raw | bytes) -> bool:
    first = memoryview(raw)[0]
    return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)


def too_deep(value: Any, levels: int = NESTING) -> bool:
    """Return whether lists and maps in `value` nest deeper than `levels`. It goes level by level, without recursion."""
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


CODEC = Codec(encode_message, decode_message)


def codec_that_reads(method: str, params: type[msgspec.Struct]) -> Codec:
    """Return a codec that reads the notifications of one method in one step, with the type of their params. It leaves
    those with other params to `decode_message`."""
    fields = [("kind", int), ("method", str), ("params", params)]
    told: type[Any] = msgspec.defstruct("_Told", fields, array_like=True, gc=False)
    read = msgspec.msgpack.Decoder(told).decode
    beginning = bytes([0x93, NOTIFICATION]) + packed(method)

    def decode(frame: bytes) -> Message:
        if frame.startswith(beginning):
            with suppress(
                Exception
            ):  # of any kind: `decode_message` or the method's handler says what is wrong
                return Notification(method, read(frame).params)
        return decode_message(frame)

    return Codec(encode_message, decode)
