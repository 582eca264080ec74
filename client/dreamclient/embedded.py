"""A daemon in this process, for hosts without a service. Only this file imports dreamd, and only when it is asked
to."""

import socket
from importlib import import_module
from os import PathLike
from typing import Any

from dreamclient.errors import NotConnected


class EmbeddedDaemon:
    """A `connect` for a client. Each call returns a connection to a daemon in this process, which starts with the first
    call. If another daemon has the state folder, a call returns a connection to that one, or raises NotConnected if it
    cannot be reached.

    `state` is the state folder, the usual one if None. `database` takes the place of its dream.sqlite3. A database with
    other tables (leo's) is never written: a dream.sqlite3 beside it is used.
    """

    def __init__(
        self, state: str | PathLike[str] | None = None, database: str | PathLike[str] | None = None
    ) -> None:
        self._where = (state, database)
        self._shared: Any = None

    def __call__(self) -> socket.socket:
        connected: socket.socket = self.shared().connect()
        return connected

    def shared(self) -> Any:
        """Return the daemon, `dreamd.embedded.Shared`. Raise NotConnected without dreamd."""
        if self._shared is None:
            made = from_dreamd("embedded").Shared(*self._where)
            self._shared = self._shared or made  # another thread may have made one meanwhile
        return self._shared

    def close(self) -> None:
        """End the daemon, if it is ours, in half a second at most."""
        if self._shared is not None:
            self._shared.close()


def from_dreamd(module: str) -> Any:
    """Return a module of dreamd's. Raise NotConnected if dreamd is not installed here."""
    try:
        return import_module(f"dreamd.{module}")
    except ImportError as error:
        raise NotConnected(f"DREAMD_EMBEDDED needs dreamd here: {type(error).__name__}") from None
