"""`diary`: print the dreams of a time, to read."""

import time

import click

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.past import dialogues_since
from dreamd.ctl.terminal.markdown import diary as as_diary
from dreamd.ctl.terminal.output import emit_json, emit_text, json_option, utc_option
from dreamd.ctl.terminal.since import since_option

DAY_S = 86_400


@click.command(short_help="Print the dreams of a day as Markdown.")
@since_option
@json_option
@utc_option
@click.pass_obj
def diary(target: Target, since: float | None) -> None:
    """Print the dreams of the last day, or of a time, as Markdown: what leo and the friend said, dream by dream.

    \b
    dreamctl diary
    dreamctl diary --since 7d > week.md
    """
    with target.dreams() as dreams:
        found = list(dialogues_since(dreams, time.time() - DAY_S if since is None else since))
    if target.as_json:
        emit_json(found)
        return
    for line in list(as_diary(found)) or ["No dream in this time."]:
        emit_text(line)
