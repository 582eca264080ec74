"""`whence`: find the dream lines from which words may have come."""

import time

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.dialogues import show_found
from dreamd.ctl.terminal.layout import terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_answer, json_option, utc_option


@click.command(short_help="Show the dream lines that hold the longest runs of words.")
@click.argument("words", nargs=-1, required=True)
@click.option("-n", "count", type=Count(1, 1000), default=5, show_default=True, help="How many.")
@json_option
@utc_option
@click.pass_obj
def whence(target: Target, words: tuple[str, ...], count: int) -> None:
    """Show the dream lines that hold the longest runs of WORDS, the longest first: which dream said this.

    Capitals, accents and punctuation make no difference.

    \b
    dreamctl whence "and the old house keeps the roof"
    dreamctl whence the rain is near -n 1
    """
    with target.dreams() as dreams:
        found = dreams.newest(Method.DIALOGS_WHENCE, count, " ".join(words))
    what = "two of these words in a row" if len(" ".join(words).split()) > 1 else "this word"
    none = f"No dream line holds {what}: {' '.join(words)}"
    emit_answer(found, lambda: show_found(found, none, terminal_width(), time.time()))
