"""`effect`: show whether his dreams change his next reply."""

import time
from collections.abc import Mapping
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.completers import complete_compared
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.effect import HEAD, about_the_trial, effect_in_words, effect_rows
from dreamd.ctl.terminal.layout import fold_text, terminal_width, text_table
from dreamd.ctl.terminal.output import emit_answer, json_option, utc_option


@click.command(short_help="Show whether his dreams change his next reply.")
@click.option(
    "--client",
    metavar="NAME",
    shell_complete=complete_compared,
    help="Whose replies. Default: of the client with most of them.",
)
@json_option
@utc_option
@click.pass_obj
def effect(target: Target, client: str | None) -> None:
    """Show whether leo's dreams change his next reply, by a trial that runs by itself.

    After a reply whose gates are open, chance alone decides between a dream and none. The next replies of both kinds
    are compared: how new and how good they are, and what they hold. It needs a gate.chance between 0 and 1, and time.

    \b
    dreamctl effect
    """
    from dreamd.ctl.daemon.effect import read_effect

    with target.dreams() as dreams:
        found = read_effect(dreams.call(Method.STATUS), client)
    emit_answer(
        {**found, "summary": effect_in_words(found)},
        lambda: show_effect(found, terminal_width(), time.time()),
    )


def show_effect(found: Mapping[str, Any], columns: int, now: float) -> str:
    """Return the answer in a sentence, the table, and how it was found."""
    parts = [fold_text(effect_in_words(found), columns)]
    if found["enough"]:
        parts.append(text_table(HEAD, effect_rows(found), columns))
    parts.append("\n".join(fold_text(line, columns) for line in about_the_trial(found, now)))
    return "\n\n".join(filter(None, parts))
