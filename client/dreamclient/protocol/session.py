"""What the blocking and the asyncio client share, with no I/O: who this host is, what it swallowed, what it
says in hello and with a context, and when to try again.

Failures that a host never sees are counted by kind, and told to the daemon with the next message (P10):

not_connected, forked, stalled   contexts dropped: no daemon; in a forked child; the daemon does not read
replaced, unsendable             contexts lost: to a newer one that waited too; no MessagePack, or over 1 MiB
connect, lost                    attempts to connect that failed; connections that ended
generate, observe, recall        hooks that raised, or returned what they may not
unknown_hook                     calls of a hook that this host does not provide
seed, on_event, internal         the daemon took no seed; the host's callback raised; a bug of ours
listen, offer, into: <module>    `leo.attach`: a prompt not measured; a context not made; a module of leo's
                                 that could not be told of a line
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreamclient.errors import NotConnected
from dreamclient.messages import CLIENT_VERSION, PROTOCOL_VERSION, Code, Method
from dreamclient.protocol.hooks import Failure, Hooks
from dreamclient.protocol.rpc import Notification, Reply, plain

# Served by any daemon, whatever protocol it speaks, so that an old one can be seen and stopped.
FROZEN = frozenset({Method.HELLO, Method.STATUS, Method.SHUTDOWN})


@dataclass(frozen=True)
class Timing:
    """How long things may take, in seconds."""

    hello_s: float = 5.0  # a daemon answers in a millisecond; a stopped one never
    first_retry_s: float = 1.0
    last_retry_s: float = 60.0
    tick_s: float = 1.0  # how late a stalled or large message may be looked at again
    close_s: float = 0.5  # what the exit of the host may wait: DESIGN §11


TIMING = Timing()
NOT_STARTED, CONNECTING = "not started", "connecting"


class Failures:
    """Counts by kind, from any thread. The lock is re-entrant (a signal handler may reply too) and is held
    for nothing but the counting."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.pending: dict[str, int] = {}  # not told yet
        self._lock = threading.RLock()

    def count(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.pending[kind] = self.pending.get(kind, 0) + 1

    def untold(self) -> dict[str, int]:
        """Those that no message that went out has carried."""
        with self._lock:
            return dict(self.pending)

    def told(self, sent: Mapping[str, int]) -> None:
        """`sent` has gone out; what was counted meanwhile stays."""
        with self._lock:
            for kind, count in sent.items():
                self.pending[kind] -= count
                if not self.pending[kind]:
                    del self.pending[kind]

    def forked(self) -> None:
        """In a child: another thread may have held the lock, and the parent tells what it counted."""
        self._lock = threading.RLock()
        self.pending = {}


class Backoff:
    """Seconds until the next attempt: doubling, each shortened by up to a quarter, so that many hosts do not
    knock at once. `draw` returns a number in [0, 1); it must not be the shared `random`, whose state decides
    leo's replies."""

    def __init__(self, first_s: float, last_s: float, draw: Callable[[], float]) -> None:
        self._first_s, self._last_s, self._draw = first_s, last_s, draw
        self._next_s = first_s

    def next_s(self) -> float:
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._last_s)
        return wait_s * (1 - self._draw() / 4)

    def reset(self) -> None:
        self._next_s = self._first_s


class Host:
    """One host towards its daemon."""

    def __init__(
        self,
        hooks: Hooks,
        *,
        name: str,
        origin: Sequence[str] = (),
        readme: Sequence[str] = (),
        on_event: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        self.hooks = hooks
        self.failures = Failures()
        self.daemon: dict[str, Any] = {}
        self.trouble = NOT_STARTED
        self._name = name
        self._fragments = {"origin": list(origin), "readme": list(readme)}
        self._on_event = on_event
        self._welcome = False
        self._last_words = ""  # what the daemon said before it ended the connection
        self._ended = ""  # that of an earlier connection, until there is another one

    def hello(self) -> dict[str, Any]:
        """The map of `hello`. Once it has gone out, its `failures` are told."""
        return {
            "protocol": PROTOCOL_VERSION,
            "name": self._name,
            "version": CLIENT_VERSION,
            "pid": os.getpid(),
            "provides": self.hooks.provides,
            "failures": self.failures.untold(),
        }

    def welcome(self, reply: Reply) -> bool:
        """Take the daemon's answer to hello. False where it speaks another protocol, and only the frozen
        methods can be called. Raises NotConnected for any other answer that is no welcome."""
        error = reply.error
        if error is not None and error.code != Code.WRONG_PROTOCOL:
            raise NotConnected(f"the daemon refused hello: {error.message}")
        self.daemon = reply.result if isinstance(reply.result, dict) else {}
        protocol = self.daemon.get("protocol")
        if error is None and type(protocol) is not int:
            raise NotConnected("whoever answers there is no dreamd: its answer to hello names no protocol")
        if error is None and protocol == PROTOCOL_VERSION:
            self.trouble = self._ended = ""
            self._welcome = True
            return True
        theirs = _protocol_of(self.daemon) if error is None else error.message[:200]
        self.trouble = self._last_words = (
            f"{theirs}; dreamd-client {CLIENT_VERSION} speaks protocol {PROTOCOL_VERSION}: "
            "bring both to one version, then restart the daemon"
        )
        return False

    def lost(self, error: Exception) -> None:
        """Note that an attempt to connect has failed, or a connection ended. Why the daemon ended the last one is said
        until there is another."""
        self.failures.count("lost" if self._welcome else "connect")
        before = f"; before, {self._ended}" if self._ended else ""
        self.trouble = self._last_words or f"{error}{before}"
        self._welcome, self._last_words = False, ""

    def seed(self) -> dict[str, list[str]] | None:
        """What to send with `dream.seed`, where the daemon has none yet and this host has some."""
        wanted = any(self._fragments.values()) and self.daemon.get("seeded") is False
        return self._fragments if wanted else None

    def failed(self, method: str, error: BaseException) -> Failure:
        """Count that a hook failed; return how the daemon is told."""
        self.failures.count(method if method in self.hooks.provides else "unknown_hook")
        return self.hooks.failure(method, error)

    def context(self, ctx: Any, untold: dict[str, int]) -> Any:
        """What to send for `ctx`: itself, or with the failures that are yet to be told."""
        if not untold:
            return ctx
        return {**(ctx if isinstance(ctx, Mapping) else plain(ctx)), "failures": untold}

    def notified(self, notification: Notification) -> None:
        """Take an event, or what the daemon says before it ends a connection."""
        match notification:
            case Notification(Method.EVENT, [event, *_]) if self._on_event is not None:
                try:
                    self._on_event(event)
                except Exception:  # noqa: BLE001 the host's own code must not end the connection
                    self.failures.count("on_event")
            case Notification(Method.ERROR, [_, str(message), *_]):
                self._last_words = self._ended = f"the daemon ended the connection: {message}"


def _protocol_of(daemon: Mapping[str, Any]) -> str:
    return (
        f"{daemon.get('name', 'the daemon')} {daemon.get('version', '')} speaks protocol {daemon['protocol']}"
    )
