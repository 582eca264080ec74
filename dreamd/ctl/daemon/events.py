"""Following the daemon's events across its restarts, until Ctrl-C."""

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Daemon, Target
from dreamd.ctl.daemon.source import Unreachable
from dreamd.ctl.terminal.output import emit_note

Event = dict[str, Any]

LOOK_S = 0.25  # how soon the end of a connection is noticed
RETRY_S = 1.0  # between two attempts to connect again
# Events: if the reader is further behind, the connection waits, and the daemon counts what is lost.
BACKLOG = 256


def follow_events(
    target: Target, begun: Callable[[Daemon], object], subscribe: str = Method.SUBSCRIBE, *params: Any
) -> Iterator[Event]:
    """Yield every event that `subscribe` brings, and call `begun` after each new subscription. Raise Unreachable if no
    daemon answers at first. If it goes away later, wait for it."""
    met = False
    while True:
        events: queue.Queue[Event] = queue.Queue(BACKLOG)
        try:
            with target.daemon(events.put) as daemon:
                session = daemon.session
                daemon.call(subscribe, *params)
                if met:
                    emit_note("The daemon is back.")
                met = True
                begun(daemon)
                yield from _until_lost(daemon, session, events)
            emit_note("The daemon went away; waiting for it. Ctrl-C ends.")
        except Unreachable:
            if not met:
                raise
        time.sleep(RETRY_S)


def _until_lost(daemon: Daemon, session: object, events: "queue.Queue[Event]") -> Iterator[Event]:
    while True:
        try:
            yield events.get(timeout=LOOK_S)
        except queue.Empty:
            if daemon.session is not session:
                return


def tell_lost(event: Event, what: str = "events") -> None:
    """Print how many events were lost."""
    emit_note(f"{event['count']} {what} were lost: they came faster than they were read.")


@contextmanager
def until_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end an endless command without a message, with exit code 0."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(0) from None
