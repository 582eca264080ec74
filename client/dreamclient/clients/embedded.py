"""A daemon in this process, for places without a service: the one file here that imports dreamd, when asked to.

`EmbeddedDaemon` is a `connect` for the clients. `WaitingClient` is a client whose `offer` returns when the
dialogue has ended.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dreamclient.clients.connect import Connect, Connector
from dreamclient.clients.inline import InlineClient
from dreamclient.clients.process import call_in_child
from dreamclient.errors import DreamError, NotConnected
from dreamclient.leo.hooks import FieldHooks
from dreamclient.leo.turns import OwnChance
from dreamclient.paths import socket_path, state_dir
from dreamclient.protocol.hooks import Hook, Hooks
from dreamclient.protocol.session import Failures

if TYPE_CHECKING:
    from dreamd.embedded_host import Embedded

T = TypeVar("T")

START_S = 10.0  # another thread starts it in a tenth of a second


class EmbeddedDaemon:
    """Calling it returns a connection to a daemon in this process, which starts with the first call; or to the
    one that has the state folder already, if it can be reached. Else it raises NotConnected.

    `state` is the state folder, the usual one if None. `database` takes the place of its dream.sqlite3; one that
    holds other tables (leo's) is never written, but a dream.sqlite3 beside it. `now` is its clock's time
    (unix s) where that is not the real one.
    """

    def __init__(
        self, state: str | PathLike[str] | None = None, database: str | PathLike[str] | None = None
    ) -> None:
        self.now: float | None = None
        self._state = state
        self._database = None if database is None else Path(database)
        self._host: Embedded | None = None
        self._renew()
        call_in_child(self._renew)

    def _renew(self) -> None:
        """In a forked child another thread of the parent may have held the lock."""
        self._starting = threading.Lock()

    def __call__(self) -> socket.socket:
        host = self._running()
        return host.connect() if host else Connector(socket_path(state=self._state))()

    def adopt(self, assignments: Iterable[str]) -> None:
        """Take settings such as "gate.chance=1" for the dreams to come; all others are as they usually are."""
        host = self._running()
        if host is not None:
            from dreamd.errors import SettingsError
            from dreamd.settings import load

            try:
                host.adopt(load(assignments=assignments))
            except SettingsError as error:
                raise NotConnected(str(error)) from None

    def close(self) -> None:
        """End the daemon, if it is ours, in half a second at most."""
        host, self._host = self._host, None
        if host is not None:
            host.close()

    def _running(self) -> "Embedded | None":
        """Our daemon, started where it is not; None where another has the state folder."""
        if not self._starting.acquire(timeout=START_S):
            raise NotConnected("the embedded daemon does not start")
        try:
            if self._host is None or not self._host.alive:
                self._host = self._start()
            return self._host
        finally:
            self._starting.release()

    def _start(self) -> "Embedded | None":
        try:
            from dreamd.app import embed
            from dreamd.clock import Clock
            from dreamd.errors import DreamdError, StartError
            from dreamd.wire.listener import EXIT_TAKEN
        except ImportError as error:
            raise NotConnected(f"DREAMD_EMBEDDED needs dreamd here: {type(error).__name__}") from None
        clock = Clock(wall=lambda: time.time() if self.now is None else self.now)
        try:
            return embed(state_dir(self._state), db_path=self._database, clock=clock)
        except DreamdError as error:
            if isinstance(error, StartError) and error.exit_code == EXIT_TAKEN:
                return None
            raise NotConnected(str(error)) from None


class WaitingClient:
    """What `dreamclient.leo.attach` needs of a client; `offer` blocks until the dialogue, if any, has ended.

    The thread that offers serves the hooks itself: it may be within leo's `reply`, and is the one that may touch
    his field then.
    """

    def __init__(self, connect: Connect, *, name: str = "leo") -> None:
        self._connect = connect
        self._name = name
        self._hooks = Hooks()
        self._failures = Failures()
        self.trouble = ""

    def serve(self, generate: Hook | None, observe: Hook | None, recall: Hook | None = None) -> None:
        """Set the hooks."""
        field_hooks = getattr(generate, "__self__", None)
        if isinstance(field_hooks, FieldHooks):
            field_hooks.turns = OwnTurn()
        self._hooks = Hooks(generate, observe, recall)

    def start(self) -> bool:
        """Nothing: each offer connects."""
        return True

    def offer(self, ctx: Any) -> bool:
        """Whether the context was decided on. Never raises but for what ends the host, such as Ctrl-C."""
        try:
            with InlineClient(self._connect, self._hooks, name=self._name, failures=self._failures) as daemon:
                daemon.dream(ctx)
        except (DreamError, OSError) as error:
            self.trouble = str(error)
            self.count("not_connected")
            return False
        self.trouble = ""
        return True

    @property
    def failures(self) -> dict[str, int]:
        """What was swallowed, by kind; `trouble` is why the last offer found no daemon, one line or empty."""
        return dict(self._failures.counts)

    def count(self, kind: str) -> None:
        """Count what was swallowed; the next connection tells it."""
        self._failures.count(kind)

    def close(self) -> None:
        """Nothing: no connection outlives its offer."""


class OwnTurn:
    """The turn of a hook that runs on leo's own thread, which waits for it: it may touch the field now."""

    def __init__(self) -> None:
        self._chance = OwnChance()

    def take(self, work: Callable[[], T]) -> T:
        """What `work` returns."""
        with self._chance.turn():
            return work()
