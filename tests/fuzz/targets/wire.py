"""Bytes on the wire, read by both ends: in one piece and in several, they mean the same, and no error escapes."""

from typing import Any

import msgspec
from dreamclient.errors import Malformed, NotConnected, RemoteError
from dreamclient.protocol import rpc
from dreamclient.protocol.failures import Failures
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.rpc import Notification, Peer, Reply, Request
from dreamclient.protocol.session import Session

from dreamd.wire import codec, params
from dreamd.wire.guarded import GuardedPeer
from dreamd.wire.handlers import TABLE

LIMIT = 512  # bytes of a message, so that short inputs reach it
MOST_ERROR = 2_000  # characters of what a peer is told about its params


def read_stream(data: bytes) -> None:
    """Cut a stream as its first byte says, and compare with the stream in one piece."""
    if not data:
        return
    how, stream = data[0], data[1:]
    for end, message_bytes in ((Peer, LIMIT), (GuardedPeer, LIMIT)):
        whole, whole_peer = _events(end, message_bytes, [stream])
        pieces, pieces_peer = _events(end, message_bytes, _pieces(stream, how))
        assert whole == pieces, "a message depends on how the stream was cut"
        assert (whole_peer.broken is None) == (pieces_peer.broken is None), "so does the end of the stream"
        assert len(pieces_peer._partial) <= message_bytes or pieces_peer.broken, "more is held than a message"


def read_frame(data: bytes) -> None:
    """Decode one message with both codecs. What the client can read, the daemon reads equally."""
    daemon = client = None
    try:
        daemon = codec.decode_message(data)
    except Malformed as error:
        assert error.msgid is None or rpc.is_msgid(error.msgid)
    try:
        client = rpc.decode(data)
    except Malformed:
        return
    assert type(daemon) is type(client), "one end reads what the other does not"
    assert daemon is not None
    assert _name(daemon) == _name(client)


def serve_params(data: bytes) -> None:
    """Read the params of a method: wrong ones are explained, and right ones are encoded again."""
    if not data:
        return
    name = METHODS[data[0] % len(METHODS)]
    method = TABLE[name]
    try:
        found = params.read_params(msgspec.Raw(data[1:]), method.params)
    except Exception as error:  # any of them means that the params are wrong
        assert len(params.explain_error(error, method.shape)) < MOST_ERROR
    else:
        assert isinstance(found, method.shape)


def end_of_a_host(data: bytes) -> None:
    """Let a daemon say anything to a host: the host ends the connection, or answers."""
    session = Session(Hooks(_say, _hear, _recall), "leo", {"origin": ["o"]}, Failures())
    session.begin()
    try:
        for request in session.receive(data):
            value, raised = None, None
            try:
                value = session.hooks.invoke(request.method, request.params)
            except Exception as error:  # it is answered, as the clients do
                raised = error
            session.out.append(session.answer(request, value, raised))
    except NotConnected as error:
        assert str(error)
    for message in session.messages_to_send():
        msgspec.msgpack.decode(message)
    session.end()


METHODS = sorted(TABLE)


def _say(*_: Any) -> str:
    return "a line"


def _hear(*_: Any) -> None:
    return None


def _recall(query: Any, n: Any, *_: Any) -> list[str]:
    return ["a snapshot"] * 3


def _name(message: rpc.Message | None) -> Any:
    match message:
        case Request(msgid, method, _):
            return msgid, method
        case Notification(method, _):
            return method
        case Reply(token, error, _):
            return token, error and (error.code, error.message)
    return None


def _pieces(stream: bytes, how: int) -> list[bytes]:
    size = how % 16 + 1
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def _events(end: type[Peer], message_bytes: int, pieces: list[bytes]) -> tuple[list[Any], Peer]:
    peer = end(message_bytes=message_bytes)
    peer.pending = {number: number for number in range(8)}
    found: list[Any] = []
    for piece in pieces:
        for event in peer.receive_data(piece):
            if event is not None:
                found.append(
                    (type(event).__name__, *(_plain(getattr(event, name)) for name in event.__slots__))
                )
            if isinstance(event, Request):
                peer.respond(event.msgid, None)
    for message in peer.messages_to_send():
        msgspec.msgpack.decode(message)
    return found, peer


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    return (value.code, value.message) if isinstance(value, RemoteError) else repr(value)
