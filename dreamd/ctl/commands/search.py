"""`search`: find the lines in which words were said."""

import time

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.dialogues import show_found
from dreamd.ctl.terminal.layout import terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_answer, json_option, utc_option


@click.command(short_help="Show the last lines in which all words were said.")
@click.argument("words", nargs=-1, required=True)
@click.option("-n", "count", type=Count(1, 1000), default=10, show_default=True, help="How many.")
@json_option
@utc_option
@click.pass_obj
def search(target: Target, words: tuple[str, ...], count: int) -> None:
    """Show the last lines in which all WORDS were said, newest first, by leo or the friend.

    Capitals and accents make no difference. WORDS in quotes stand next to each other. A word that ends in * stands for
    any ending.

    \b
    dreamctl search roof rain
    dreamctl search "keeps the roof"
    dreamctl search 'light*' -n 50
    """
    asked = " ".join(f'"{word}"' if " " in word else word for word in words)
    with target.dreams() as dreams:
        found = dreams.newest(Method.DIALOGS_SEARCH, count, asked)
    none = f"No line has all of it: {' '.join(words)}"
    emit_answer(found, lambda: show_found(found, none, terminal_width(), time.time()))
