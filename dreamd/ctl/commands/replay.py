"""`replay`: check that a dialogue comes out the same again."""

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.dialogue_argument import ID, resolve_dialogue
from dreamd.ctl.terminal.dialogues import count_of_lines
from dreamd.ctl.terminal.layout import fold_text, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option


@click.command(short_help="Run a dialogue again, and compare.")
@ID
@json_option
@click.pass_obj
def replay(target: Target, asked: str) -> None:
    """Run a dialogue again from its seed, with the answers that its hooks gave, and compare every prompt,
    parameter and line. If they differ, print the first difference and exit with code 1.

    ID is its number, the beginning of its trace id, or `last`, which is the default.

    \b
    dreamctl replay
    dreamctl replay dream-1795312649-12
    """
    with target.dreams() as daemon:
        answer = daemon.call(Method.DIALOGS_REPLAY, resolve_dialogue(daemon, asked))
    result = "the same" if answer["same"] else answer["difference"]
    words = f"Dialogue {answer['id']}, {count_of_lines(answer['lines'])}: {result}."
    emit_answer(answer, lambda: fold_text(words, terminal_width()))
    if not answer["same"]:
        raise SystemExit(1)
