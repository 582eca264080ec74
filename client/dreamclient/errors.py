"""The exceptions of the client and the wire.

DreamError
├── ProtocolError          the peer broke MessagePack-RPC; its connection cannot go on
│   ├── MessageTooLarge    a message over the size limit, or one that announces such a size
│   └── Malformed          framed, but no request, response or notification
├── RemoteError            the peer answered a call with an error: `code`, `message`, `detail`
├── NotConnected           no daemon at the other end; the message says why
├── CallTimeout            no answer before the deadline
├── SocketPathError        a path that no Unix socket can have
├── HomeUnknown            a default path is asked for, and this user has no home folder
└── UsageError             a call that this side may not make
"""

from typing import Any


class DreamError(Exception):
    """The base of all exceptions that dreamclient raises on purpose."""


class ProtocolError(DreamError):
    """The peer broke the protocol, so its connection must end."""


class MessageTooLarge(ProtocolError):
    """A message is larger than the limit, or announces such a size."""


class Malformed(ProtocolError):
    """A whole message that is no request, response or notification.

    `msgid` is the number of a broken request, if it could be read: then the request is answered.
    `is_answer` is True for a broken response. Those are never answered, since two such peers
    would answer each other's errors without end.
    """

    def __init__(self, message: str, msgid: int | None = None, *, is_answer: bool = False) -> None:
        super().__init__(message)
        self.msgid = msgid
        self.is_answer = is_answer


class RemoteError(DreamError):
    """The peer answered with an error. Codes: `dreamclient.messages.Code`, docs/reference/protocol.md."""

    def __init__(self, code: int, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail or {}


class NotConnected(DreamError):
    """There is no connection to a daemon now."""


class CallTimeout(DreamError):
    """The peer did not answer in time."""


class SocketPathError(DreamError):
    """The path cannot be that of a Unix socket."""


class HomeUnknown(DreamError):
    """There is no home folder, so there is no default path."""


class UsageError(DreamError):
    """The caller asked for something that it may not: a bug of this side, not of the peer."""
