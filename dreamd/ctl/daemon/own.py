"""A daemon for commands that change the past: the one that runs, else one of dreamctl's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from dreamclient.paths import state_dir

from dreamd.ctl.daemon.connection import Daemon, Target, connect_daemon
from dreamd.ctl.machine.places import look_at_state
from dreamd.process.state_folder import DATABASE_NAME


@contextmanager
def daemon_or_own(target: Target) -> Iterator[Daemon]:
    """Yield the daemon. If none runs, start one that no leo finds. It holds the state folder's lock until the end of
    the block. Raise Unreachable if it does not start. A daemon that runs without answering is yielded too: its calls
    say what is wrong."""
    with target.daemon() as daemon:
        answers = daemon.session is not None or target.socket_alone
        if answers or look_at_state(state_dir(target.given_state)).holder:
            yield daemon
            return
    state = state_dir(target.given_state)
    if not (state / DATABASE_NAME).is_file():
        raise click.ClickException(f"there is no database in {state}; name its folder with --state-dir")
    from dreamd.ctl.daemon.start import private_daemon  # not needed if a daemon answers

    with private_daemon(state) as socket, connect_daemon(socket) as daemon:
        yield daemon
