"""`forget`: forget one dialogue, and all that is made of it."""

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.completers import complete_dialogues
from dreamd.ctl.daemon.connection import Daemon, Target
from dreamd.ctl.daemon.dialogue_argument import resolve_dialogue
from dreamd.ctl.daemon.own import daemon_or_own
from dreamd.ctl.terminal.forgotten import (
    FORGET_S,
    UNDREAM_S,
    confirm_for_good,
    everywhere_option,
    friend_option,
    show_gone,
    yes_option,
)
from dreamd.ctl.terminal.layout import terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option


@click.command(short_help="Delete a dialogue, and what was kept of it.")
@click.argument("asked", metavar="ID", shell_complete=complete_dialogues)
@click.option("--undream", is_flag=True, help="First take it back out of leo's field.")
@friend_option
@everywhere_option
@yes_option
@json_option
@click.pass_obj
def forget(target: Target, asked: str, undream: bool, friend: bool, everywhere: bool, yes: bool) -> None:
    """Forget a dialogue: its lines, the prompt and the reply that began it, its inbox file, replay data and search
    entries. There is no way back.

    ID is its number, the beginning of its trace id, or `last`. No byte of it stays in the database, its log or the
    inbox. If anything else still holds a part of it, that is named. Forget it again with --friend or --everywhere to
    remove it there. leo keeps what he learned of it, unless --undream takes that back first.

    \b
    dreamctl forget 7
    dreamctl forget last --friend --everywhere
    """
    with daemon_or_own(target) as daemon:
        number = resolve_dialogue(daemon, asked)
        confirm_for_good(yes, lambda: f"forgets dialogue {number}")
        what = {"id": number, "friend": friend, "everywhere": everywhere}
        if undream:
            _take_back(daemon, number)
        undone = undream or (
            not target.as_json and daemon.call(Method.DIALOGS_GET, number)["undone"] == "done"
        )
        gone = daemon.call(Method.DIALOGS_FORGET, what, timeout_s=FORGET_S)
    emit_answer(gone, lambda: show_gone(gone, f"dialogue {number}", terminal_width(), undone=undone))


def _take_back(daemon: Daemon, number: int) -> None:
    """Take a dialogue back out of leo's field, unless that is done. Raise click.ClickException if it is not done
    yet."""
    if daemon.call(Method.DIALOGS_GET, number).get("undone") == "done":
        return
    [told] = daemon.call(Method.DIALOGS_UNDREAM, {"id": number}, timeout_s=UNDREAM_S)["dialogs"]
    if told["state"] != "done":
        raise click.ClickException(
            f"dialogue {number} is not taken back yet: {told['why']}. Forget it when that is done, or now without "
            "--undream."
        )
