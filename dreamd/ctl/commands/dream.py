"""`dream`: have a dialogue now."""

from typing import Any

import click
from dreamclient.messages import DIALOGUE_S, Method

from dreamd.ctl.daemon.completers import complete_sessions
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.dialogues import COLOURS, count_of_lines, ending_in_words, show_line
from dreamd.ctl.terminal.layout import terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_answer, json_option


@click.command(short_help="Have leo dream now, past all gates.")
@click.option(
    "--session",
    type=Count(1),
    shell_complete=complete_sessions,
    help="The leo to dream, if more than one is connected.",
)
@json_option
@click.pass_obj
def dream(target: Target, session: int | None) -> None:
    """Have leo dream now, past cooldown, gates and chance, and show what is said. Exit code 1 if nothing was said.

    \b
    dreamctl dream
    dreamctl dream --session 3
    """
    # The thread below has no click context.
    columns, colour = terminal_width(), click.get_current_context().color

    def hear(event: dict[str, Any]) -> None:
        """Print a line of the dialogue as it comes. Runs on the client's thread."""
        if event["type"] == "line" and not target.as_json:
            text = click.style(show_line(event, columns), fg=COLOURS.get(event["speaker"]))
            click.echo(text, color=colour)

    with target.daemon(hear) as daemon:
        daemon.call(Method.SUBSCRIBE)
        ended = daemon.call(Method.NOW, None, session, timeout_s=DIALOGUE_S)
        dialogue = daemon.call(Method.DIALOGS_GET, ended["dialog"])
    emit_answer(
        {**ended, "turns": dialogue["turns"]},
        lambda: f"Dialogue {ended['dialog']}: {ending_in_words(ended)}, {count_of_lines(ended['lines'])}.",
    )
    if not ended["lines"]:
        raise SystemExit(1)
