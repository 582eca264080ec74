"""dreamclient: what goes into leo's process. `import dreamclient` loads nothing; each name loads its module."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamclient.aio import AsyncDreamClient as AsyncDreamClient
    from dreamclient.blocking import DreamClient as DreamClient

_HOMES = {
    "AsyncDreamClient": "aio",
    "DreamClient": "blocking",
    "CallTimeout": "errors",
    "DreamError": "errors",
    "Malformed": "errors",
    "MessageTooLarge": "errors",
    "NotConnected": "errors",
    "ProtocolError": "errors",
    "RemoteError": "errors",
    "SocketPathError": "errors",
    "UsageError": "errors",
    "Timing": "host",
    "Code": "messages",
    "DreamContext": "messages",
    "LineMeta": "messages",
    "LineMetrics": "messages",
    "Method": "messages",
    "PROTOCOL_VERSION": "messages",
    "PulseSnapshot": "messages",
    "socket_path": "paths",
    "state_dir": "paths",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
