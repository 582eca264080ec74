"""dreamclient: the client of dreamd, which runs in leo's process.

`import dreamclient` loads nothing: each name loads its module when it is first asked for.
"""

__version__ = "0.1.0"  # of both packages: their builds read it here

TYPE_CHECKING = False  # that of `typing`, which would have to be imported
if TYPE_CHECKING:
    from dreamclient.clients.loop import AsyncDreamClient as AsyncDreamClient
    from dreamclient.clients.run import Timing as Timing
    from dreamclient.clients.thread import DreamClient as DreamClient
    from dreamclient.errors import *  # noqa: F403
    from dreamclient.leo import Attachment as Attachment
    from dreamclient.leo import attach as attach
    from dreamclient.messages import *  # noqa: F403
    from dreamclient.paths import socket_path as socket_path
    from dreamclient.paths import state_dir as state_dir
    from dreamclient.privacy import private as private

_HOMES = {
    "clients.run": "Timing",
    "clients.loop": "AsyncDreamClient",
    "clients.thread": "DreamClient",
    "errors": "CallTimeout DreamError Malformed MessageTooLarge NotConnected ProtocolError RemoteError"
    " SocketPathError UsageError",
    "leo": "Attachment attach",
    "messages": "PROTOCOL_VERSION Code DreamContext LineMeta LineMetrics Method PulseSnapshot",
    "paths": "socket_path state_dir",
    "privacy": "private",
}
_NAMES = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
