"""`inbox relay`: publish waiting files to a JetStream stream, and acknowledge them when the server has."""

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from dreamd.ctl.commands.inbox.relay.following import keep_working, run_until_stopped
from dreamd.ctl.commands.inbox.relay.message import SUBJECT, check_subject
from dreamd.ctl.commands.inbox.relay.rounds import Relay
from dreamd.ctl.commands.inbox.relay.server import Place, check_url, import_nats
from dreamd.ctl.daemon.connection import Target, state_of
from dreamd.ctl.daemon.inbox import open_inbox
from dreamd.ctl.machine.relay_state import RelayState, write_relay_state
from dreamd.ctl.terminal.layout import label_rows, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option

readable_file = click.Path(exists=True, dir_okay=False, readable=True)
creds_option = click.option("--creds", type=readable_file, metavar="FILE", help="Credentials for the server.")
tls_ca_option = click.option(
    "--tls-ca", type=readable_file, metavar="FILE", help="The CA of the server's certificate."
)


def _check_subject(_: click.Context, __: click.Parameter, template: str) -> str:
    try:
        return check_subject(template)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(short_help="Publish waiting files to a NATS stream.")
@click.option(
    "--to", "url", required=True, metavar="URL", callback=check_url, help="The server: nats://HOST."
)
@creds_option
@tls_ca_option
@click.option(
    "--subject",
    default=SUBJECT,
    show_default=True,
    metavar="TEXT",
    callback=_check_subject,
    help="The subject of each message.",
)
@click.option(
    "--machine", default="", metavar="NAME", help="The {machine} of the subject.  [default: the host name]"
)
@click.option("--once", is_flag=True, help="End when all that waits is passed on, or at the first failure.")
@json_option
@click.pass_obj
def relay(
    target: Target, url: str, creds: str | None, tls_ca: str | None, subject: str, machine: str, once: bool
) -> None:
    """Publish each waiting file to a JetStream stream, and acknowledge it here when the server has stored it.

    It follows the folder until it is stopped, and goes on where it stopped. `dreamctl inbox pull` is the other end.
    Needs `pip install 'dreamd[nats]'`.

    Exit codes: 3 if no server answers (with --once), 4 if the server refuses credentials, or has no stream for the
    subject, or a full one.

    \b
    dreamctl inbox relay --to nats://memory.example --creds relay.creds
    dreamctl inbox relay --to tls://memory.example --once
    """
    import_nats()
    state = _run(target, Place(url, creds, tls_ca), subject, machine or socket.gethostname(), once)
    figures = {"published": state.published, "acknowledged": state.acknowledged, "skipped": state.skipped}
    rows = [(key, str(value)) for key, value in figures.items()]
    emit_answer(figures, lambda: label_rows(rows, terminal_width()))


def _run(target: Target, place: Place, subject: str, machine: str, once: bool) -> RelayState:
    folder = state_of(target)
    state, save = RelayState(pid=os.getpid(), to=place.shown), partial(write_relay_state, folder)

    def note(message: str) -> None:
        state.note_error(message)
        save(state)

    with open_inbox(target) as box:
        relayed = Relay(box, place, subject, machine, state, save)

        async def work(client: Any, on_success: Callable[[], None]) -> None:
            await relayed.follow(client, once, on_success)

        try:
            run_until_stopped(keep_working(place, work, once, note))
        finally:
            state.pid = 0
            save(state)
    return state
