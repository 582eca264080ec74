"""A daemon in this process, for places without a service: the one file here that imports dreamd, when asked to."""

import socket
from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING

from dreamclient.errors import NotConnected

if TYPE_CHECKING:
    from dreamd.embedded import Shared
    from dreamd.embedded_waiting import Waiting


class EmbeddedDaemon:
    """A `connect` for a client. Calling it returns a connection to a daemon in this process, which starts with the
    first call; or to the one that has the state folder already, if it can be reached. Else it raises NotConnected.

    `state` is the state folder, the usual one if None. `database` takes the place of its dream.sqlite3; one that
    holds other tables (leo's) is never written, but a dream.sqlite3 beside it. `now` is its clock's time
    (unix s) if that is not the real one.
    """

    def __init__(
        self, state: str | PathLike[str] | None = None, database: str | PathLike[str] | None = None
    ) -> None:
        self.now: float | None = None
        self._where = (state, database)
        self._shared: Shared | None = None

    def __call__(self) -> socket.socket:
        return self._daemon().connect()

    def adopt(self, assignments: Iterable[str]) -> None:
        """Take settings such as "gate.chance=1" for the dreams to come; all others are as they usually are."""
        self._daemon().adopt(assignments)

    def close(self) -> None:
        """End the daemon, if it is ours, in half a second at most."""
        if self._shared is not None:
            self._shared.close()

    def _daemon(self) -> "Shared":
        if self._shared is None:
            try:
                from dreamd.embedded import Shared
            except ImportError as error:
                raise _missing(error) from None
            made = Shared(*self._where, lambda: self.now)
            self._shared = self._shared or made  # another thread may have made one meanwhile
        return self._shared


def waiting() -> "Waiting":
    """Return what has dreams waited for, with a daemon in this process. Raise NotConnected without dreamd."""
    try:
        from dreamd.embedded_waiting import Waiting
    except ImportError as error:
        raise _missing(error) from None
    return Waiting()


def _missing(error: ImportError) -> NotConnected:
    return NotConnected(f"DREAMD_EMBEDDED needs dreamd here: {type(error).__name__}")
