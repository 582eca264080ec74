"""The daemon's codec: frames are read with their types by msgspec, without building what nobody looks at.

The envelope is opened here; `params` and `result` stay raw bytes until a handler or a pending call, which
know their type, decode them. The protocol itself is `dreamclient.rpc`, the same at both ends.
"""

from typing import Any

import msgspec
from dreamclient.messages import Method
from dreamclient.rpc import (
    MSGID_MASK,
    NOTIFICATION,
    Answer,
    Codec,
    Message,
    Notification,
    Request,
    malformed,
    remote_error,
)

_ENVELOPE = msgspec.msgpack.Decoder(list[msgspec.Raw])
_UNSIGNED = msgspec.msgpack.Decoder(int)
_TEXT = msgspec.msgpack.Decoder(str)
_ANY = msgspec.msgpack.Decoder(Any)
_encode = msgspec.msgpack.Encoder().encode

# How the one frequent message begins when written the shortest way: [2, "dream.context", ...
_CONTEXT = _encode([NOTIFICATION, Method.CONTEXT, []])[:-1]
_NIL = b"\xc0"

# What decoding a peer's bytes can raise.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(frame: bytes) -> Message:
    """Read one whole message, leaving params and result raw; raise Malformed (of `dreamclient.errors`)."""
    if frame.startswith(_CONTEXT) and _begins_array(frame[len(_CONTEXT)]):
        return Notification(Method.CONTEXT, frame[len(_CONTEXT) :])
    try:
        parts = _ENVELOPE.decode(frame)
        kind = _UNSIGNED.decode(parts[0]) if parts else -1
        match kind, parts[1:]:
            case 0, [msgid, method, params]:
                number = _msgid(msgid)
                if number is not None and _is_array(params):
                    return Request(number, _TEXT.decode(method), params)
            case 1, [msgid, error, result]:
                number = _msgid(msgid)
                if number is not None:
                    said = None if bytes(error) == _NIL else remote_error(_ANY.decode(error))
                    return Answer(number, said, result)
            case 2, [method, params]:
                if _is_array(params):
                    return Notification(_TEXT.decode(method), params)
    except UNREADABLE as error:
        raise malformed(frame, f"unreadable message ({type(error).__name__})") from None
    raise malformed(frame)


def _msgid(raw: msgspec.Raw) -> int | None:
    number = _UNSIGNED.decode(raw)
    return number if 0 <= number <= MSGID_MASK else None


def _is_array(raw: msgspec.Raw) -> bool:
    return _begins_array(memoryview(raw)[0])


def _begins_array(first: int) -> bool:
    return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)


CODEC = Codec(_encode, decode)
