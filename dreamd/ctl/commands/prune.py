"""`prune`: forget what is older than a length of time."""

from collections.abc import Mapping
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Daemon, Target
from dreamd.ctl.daemon.own import daemon_or_own
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.forgotten import (
    FORGET_S,
    confirm_for_good,
    everywhere_option,
    friend_option,
    show_gone,
    yes_option,
)
from dreamd.ctl.terminal.layout import terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option
from dreamd.ctl.terminal.since import parse_since_option


@click.command(short_help="Delete the dialogues that are older than an age.")
@click.option(
    "--older-than",
    "before",
    metavar="AGE",
    required=True,
    callback=parse_since_option,
    help="As 90d, or a date.",
)
@friend_option
@everywhere_option
@yes_option
@json_option
@click.pass_obj
def prune(target: Target, before: float, friend: bool, everywhere: bool, yes: bool) -> None:
    """Forget all dialogues that began longer ago than AGE, as `forget` does. There is no way back.

    With the setting `store.keep_days` the daemon does this by itself, a day or two later.

    \b
    dreamctl prune --older-than 90d
    dreamctl prune --older-than 2026-01-01 --everywhere --yes
    """
    what = {"before": before, "friend": friend, "everywhere": everywhere}
    with daemon_or_own(target) as daemon:
        confirm_for_good(yes, lambda: f"forgets {_count_asked(daemon, what)}")
        gone = daemon.call(Method.DIALOGS_FORGET, what, timeout_s=FORGET_S)
    what_went = count_of(gone["dialogs"], "dialogue")
    none = "No dialogue is that old."
    emit_answer(gone, lambda: show_gone(gone, what_went, terminal_width()) if gone["dialogs"] else none)


def _count_asked(daemon: Daemon, what: Mapping[str, Any]) -> str:
    found = daemon.call(Method.DIALOGS_FORGET, {**what, "dry_run": True})
    return count_of(found["dialogs"], "dialogue")
