"""The inbox that the daemon writes to, opened with or without a daemon."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from dreamclient.messages import Method
from dreamclient.paths import state_dir

from dreamd import settings
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.source import Refused
from dreamd.errors import SettingsError
from dreamd.inbox import CapabilityError, Inbox, InboxError, ValidationError, inbox_folder

PROBLEM = 1


class Wrong(click.ClickException):
    """An error of the inbox, with exit code 1."""

    exit_code = PROBLEM


@contextmanager
def open_inbox(target: Target) -> Iterator[Inbox]:
    """Open the inbox that the daemon of this target writes to. Raise Wrong, Refused, Unreachable, click.UsageError."""
    state = state_dir(target.given_state)
    told = None
    if target.socket_alone:
        with target.daemon() as daemon:
            status = daemon.call(Method.STATUS)
        state, told = Path(status["state_dir"]), Path(status["inbox"]["folder"])
    try:
        chosen = settings.load_settings().inbox
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    folder = told or inbox_folder(chosen, state)
    try:
        yield Inbox(folder, chosen)
    except (CapabilityError, ValidationError) as error:
        raise Refused(str(error)) from None
    except InboxError as error:
        raise Wrong(f"{folder}: {error}") from None
