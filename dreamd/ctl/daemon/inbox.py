"""The inbox that the daemon writes to, opened with or without a daemon, and the argument that names a trace in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from dreamclient.messages import Method
from dreamclient.paths import state_dir

from dreamd import settings
from dreamd.ctl.daemon.connection import Target, state_here
from dreamd.ctl.daemon.source import Refused
from dreamd.ctl.daemon.trace_ids import number_in_trace, only_trace
from dreamd.errors import SettingsError
from dreamd.inbox import CapabilityError, Inbox, InboxError, UnknownTrace, ValidationError, inbox_folder

Answer = TypeVar("Answer")


@contextmanager
def open_inbox(target: Target) -> Iterator[Inbox]:
    """Open the inbox that the daemon of this target writes to. Raise click.ClickException."""
    state = state_dir(target.given_state)
    told = None
    if target.socket_alone:
        with target.daemon() as daemon:
            status = daemon.call(Method.STATUS)
        state, told = state_here(status), Path(status["inbox"]["folder"])
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
        raise click.ClickException(f"{folder}: {error}") from None


def with_trace(box: Inbox, asked: str, act: Callable[[str], Answer]) -> Answer:
    """Return `act(trace_id)`. `asked`: a trace id, or, for a trace that waits, its beginning, the number of its
    dialogue, or `last`. Raise InboxError, click.UsageError (several traces begin so)."""
    try:
        return act(asked)
    except UnknownTrace:
        waiting = [str(each["trace_id"]) for each in box.list()]
        if asked == "last":
            meant = waiting[-1] if waiting else None
        elif asked.isdecimal():
            meant = next((each for each in waiting if str(number_in_trace(each)) == asked), None)
        else:
            meant = only_trace(asked, waiting)
        if meant is None and asked == "last":
            raise UnknownTrace("nothing waits") from None
        if meant is None:
            listed = "`dreamctl inbox ls` lists those that wait"
            raise UnknownTrace(f"no file of that trace id is waiting or was acknowledged; {listed}") from None
    return act(meant)
