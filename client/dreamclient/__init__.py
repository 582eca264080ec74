"""dreamclient: what goes into leo's process.

`import dreamclient` loads nothing: each name loads its module when it is first asked for.
"""

TYPE_CHECKING = False  # that of `typing`, which would have to be imported
if TYPE_CHECKING:
    from dreamclient.clients.loop import AsyncDreamClient
    from dreamclient.clients.thread import DreamClient
    from dreamclient.errors import (
        CallTimeout,
        DreamError,
        Malformed,
        MessageTooLarge,
        NotConnected,
        ProtocolError,
        RemoteError,
        SocketPathError,
        UsageError,
    )
    from dreamclient.leo import Attachment, attach
    from dreamclient.messages import (
        PROTOCOL_VERSION,
        Code,
        DreamContext,
        LineMeta,
        LineMetrics,
        Method,
        PulseSnapshot,
    )
    from dreamclient.paths import socket_path, state_dir
    from dreamclient.protocol.session import Timing

__all__ = [
    "PROTOCOL_VERSION",
    "AsyncDreamClient",
    "Attachment",
    "CallTimeout",
    "Code",
    "DreamClient",
    "DreamContext",
    "DreamError",
    "LineMeta",
    "LineMetrics",
    "Malformed",
    "MessageTooLarge",
    "Method",
    "NotConnected",
    "ProtocolError",
    "PulseSnapshot",
    "RemoteError",
    "SocketPathError",
    "Timing",
    "UsageError",
    "attach",
    "socket_path",
    "state_dir",
]

_HOMES = {
    "clients.loop": ("AsyncDreamClient",),
    "clients.thread": ("DreamClient",),
    "leo": ("Attachment", "attach"),
    "messages": (
        "PROTOCOL_VERSION",
        "Code",
        "DreamContext",
        "LineMeta",
        "LineMetrics",
        "Method",
        "PulseSnapshot",
    ),
    "paths": ("socket_path", "state_dir"),
    "protocol.session": ("Timing",),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "errors")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
