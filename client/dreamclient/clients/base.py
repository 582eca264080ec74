"""What both clients take and show: the constructor, the properties, and what a fork does to them."""

import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from dreamclient.clients.connect import Connect, Connector
from dreamclient.clients.process import call_in_child
from dreamclient.errors import NotConnected, UsageError
from dreamclient.protocol.hooks import Hook, Hooks
from dreamclient.protocol.session import FROZEN, NOT_STARTED, TIMING, Backoff, Host, Timing


class Connection(Protocol):
    """What a client holds while it is connected."""

    def offer(self, ctx: Any) -> bool:
        """Send a context, or hand it on; False where it was dropped, and counted."""

    def abandon(self) -> None:
        """In a forked child: close this copy. A shutdown would end the parent's connection too."""


L = TypeVar("L", bound=Connection)


class Client(Generic[L]):
    """Base of `DreamClient` and `AsyncDreamClient`.

    generate(seed: str, temperature: float, semantic_weight: float[, meta]) -> str | Mapping with `text`
    observe(text: str[, meta]) -> None | Mapping of measures
    recall(query: str, n: int) -> Sequence[str]

    `origin` and `readme` are the fragments that leo was born with, sent to a daemon that has none. `connect`,
    `timing`, `monotonic` and `draw` (a number in [0, 1) for the back-off) replace the socket, the clock and chance.
    """

    def __init__(
        self,
        generate: Hook | None = None,
        observe: Hook | None = None,
        recall: Hook | None = None,
        *,
        socket_path: str | os.PathLike[str] | None = None,
        name: str = "leo",
        origin: Sequence[str] = (),
        readme: Sequence[str] = (),
        on_event: Callable[[dict[str, Any]], object] | None = None,
        connect: Connect | None = None,
        timing: Timing = TIMING,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] | None = None,
    ) -> None:
        hooks = Hooks(generate, observe, recall)
        self._host = Host(hooks, name=name, origin=origin, readme=readme, on_event=on_event)
        if connect is None:
            connect = Connector(socket_path)
        self._connect = connect
        self._timing = timing
        self._monotonic = monotonic
        if draw is None:
            draw = random.Random().random  # not the shared one: its state decides leo's replies
        self._backoff = Backoff(timing.first_retry_s, timing.last_retry_s, draw)
        self._forked = False
        self._idle()
        call_in_child(self._in_child)

    def _idle(self) -> None:
        """Nothing is started."""
        self._link: L | None = None  # from connect to the end
        self._ready: L | None = None  # the same, while the daemon has welcomed us

    def _in_child(self) -> None:
        """After a fork the connection is the parent's; so are the thread and the task that served it."""
        self._forked = self._forked or self._host.trouble != NOT_STARTED
        if self._link is not None:
            self._link.abandon()
        self._host.failures.forked()
        self._idle()

    def offer(self, ctx: Any) -> bool:
        """Tell the daemon of a reply: a `DreamContext`, or a mapping with its keys. False where it was
        dropped, and counted. This is all that the reply path pays: it never waits and never raises."""
        link = self._ready
        if link is None:
            self._host.failures.count("forked" if self._forked else "not_connected")
            return False
        return link.offer(ctx)

    def serve(
        self, generate: Hook | None = None, observe: Hook | None = None, recall: Hook | None = None
    ) -> None:
        """Set the hooks of a client that was made without and has not started. Else raises UsageError."""
        if self._host.hooks.provides or self._host.trouble != NOT_STARTED:
            raise UsageError("hooks are set once, before the client starts")
        self._host.hooks = Hooks(generate, observe, recall)

    def count(self, kind: str) -> None:
        """Count what the host swallowed: it is told to the daemon with the next message."""
        self._host.failures.count(kind)

    def _reach(self, method: str) -> L:
        """The connection to call `method` on."""
        link = self._link if method in FROZEN else self._ready
        if link is None:
            raise NotConnected(self.trouble)
        return link

    @property
    def connected(self) -> bool:
        """Whether the daemon has answered hello, and the connection stands."""
        return self._ready is not None

    @property
    def failures(self) -> dict[str, int]:
        """What was swallowed so far, by kind: `dreamclient.protocol.session` has the list."""
        return dict(self._host.failures.counts)

    @property
    def trouble(self) -> str:
        """Why there is no connection, in a line; empty while there is one."""
        return "this process was forked; start() connects it anew" if self._forked else self._host.trouble

    @property
    def daemon(self) -> dict[str, Any]:
        """The daemon's last answer to hello."""
        return self._host.daemon
