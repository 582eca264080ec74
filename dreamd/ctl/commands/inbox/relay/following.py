"""Going on after errors: connect, work, and after a failure wait and connect again. For both ends of the relay."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import click

from dreamd.ctl.commands.inbox.relay.server import (
    Missing,
    Place,
    ServerRefused,
    ServerUnreachable,
    connect_server,
)
from dreamd.ctl.terminal.output import emit_note
from dreamd.inbox import InboxError

FIRST_WAIT_S: Final = 0.5
MOST_WAIT_S: Final = 60.0

Note = Callable[[str], None]
Work = Callable[[Any, Callable[[], None]], Awaitable[None]]


async def keep_working(place: Place, work: Work, once: bool, note: Note = lambda _: None) -> None:
    """Run `work(client, on_success)` until it returns. After an error `note` its message, tell it if it is another than
    before, wait and start again. If `once`, raise it.

    A refusal before the first success is raised too: it is most likely a mistake in the command. Later it may be a
    server that is starting, or a stream that is full for a while.
    """
    worked, wait_s, told = False, FIRST_WAIT_S, ""

    def on_success() -> None:
        nonlocal worked, wait_s, told
        worked, wait_s, told = True, FIRST_WAIT_S, ""

    while True:
        try:
            async with connect_server(place) as client:
                await work(client, on_success)
                return
        except Missing:
            raise
        except (ServerRefused, ServerUnreachable, InboxError) as problem:
            message = problem.format_message() if isinstance(problem, click.ClickException) else str(problem)
            note(message)
            if once or (isinstance(problem, ServerRefused) and not worked):
                raise
            if message != told:
                emit_note(message)
            told = message
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(MOST_WAIT_S, 2 * wait_s)


def run_until_stopped(main: Awaitable[None]) -> None:
    """Run a coroutine until it ends, or until SIGTERM or Ctrl-C, which are no failure. Raise click.ClickException."""

    async def stoppable() -> None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(stoppable())
    except InboxError as error:
        raise click.ClickException(str(error)) from None
