"""The daemon's events as they come, across its restarts, until Ctrl-C."""

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Daemon, Target, Unreachable

Event = dict[str, Any]

LOOK_S = 0.25  # how soon the end of a connection is noticed
RETRY_S = 1.0  # between two attempts to connect again
BACKLOG = (
    256  # events; a reader who is further behind holds up the connection, and the daemon counts what is lost
)


def follow(
    target: Target, begun: Callable[[Daemon], object], subscribe: str = Method.SUBSCRIBE, *params: Any
) -> Iterator[Event]:
    """Every event that `subscribe` brings; `begun` is called whenever a connection has begun to bring them. Raises
    Unreachable where no daemon answers at first; later it is waited for."""
    met = False
    while True:
        events: queue.Queue[Event] = queue.Queue(BACKLOG)
        try:
            with target.daemon(events.put) as daemon:
                session = daemon.session
                daemon.call(subscribe, *params)
                if met:
                    click.echo("The daemon is back.", err=True)
                met = True
                begun(daemon)
                yield from _until_lost(daemon, session, events)
            click.echo("The daemon went away; waiting for it. Ctrl-C ends.", err=True)
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
    """A message on what nobody will see."""
    click.echo(f"{event['count']} {what} were lost: they came faster than they were read.", err=True)


@contextmanager
def until_ctrl_c() -> Iterator[None]:
    """Ctrl-C is how one ends what goes on for ever: no message, exit code 0."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(0) from None
