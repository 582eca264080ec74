"""`report`: write one HTML page to look at."""

import sys
import webbrowser
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import DECISIONS, Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.past import numbers_since, read_dialogues
from dreamd.ctl.daemon.source import Source
from dreamd.ctl.machine.output_files import RegularFile, check_free, write_private
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import format_size
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_answer, emit_note, json_option, utc_option
from dreamd.process.state_folder import DATABASE_NAME

MOST = 2000  # dialogues on one page
SLOW = 200  # with this many dialogues or more, progress is shown


@click.command(short_help="Write a page with dreams, decisions and drift.")
@click.option(
    "--out", type=RegularFile(), default="dreams.html", show_default=True, help="The file to write."
)
@click.option(
    "-n", "most", type=Count(0, MOST), default=MOST, show_default=True, help="The most dialogues to show."
)
@click.option("--force", is_flag=True, help="Overwrite a file that is no report.")
@click.option("--open", "look", is_flag=True, help="Show it in the browser.")
@json_option
@utc_option
@click.pass_obj
def report(target: Target, out: Path, most: int, force: bool, look: bool) -> None:
    """Write a page with the dreams, the friend, and what was decided. It needs no network.

    The page is readable for you alone, because it holds his dreams. It replaces an earlier report.

    \b
    dreamctl report --open
    dreamctl report --out last.html -n 100
    """
    from dreamd.ctl.commands.report.page import HEAD, render_page

    with target.dreams() as daemon:
        status = daemon.call(Method.STATUS)
        state = Path(status["state_dir"])
        check_free(out, state, force=force or _begins_with(out, HEAD))
        text = render_page(
            status,
            daemon.call(Method.STATS),
            daemon.call(Method.WHY, DECISIONS),
            dialogs := _last_dialogs(daemon, most),
            daemon.newest(Method.DRIFT, most),
            daemon.call(Method.FRAGMENTS),
            _left(state / DATABASE_NAME),
            _effect(status),
        )
    data = text.encode("utf-8", "replace")
    write_private(out, [data])
    emit_answer(
        {"path": str(out), "bytes": len(data), "dialogues": len(dialogs)},
        lambda: f"{out}: {count_of(len(dialogs), 'dialogue')}, {format_size(len(data))}",
    )
    if look and not webbrowser.open(out.absolute().as_uri()):
        emit_note(f"No browser could be opened; the page is {out.absolute()}")


def _begins_with(file: Path, text: str) -> bool:
    try:
        with file.open("rb") as there:
            return there.read(len(text)) == text.encode()
    except OSError:
        return False


def _left(database: Path) -> list[dict[str, Any]]:
    """Return the fragments that left the friend last, or none if the database cannot be read beside the daemon."""
    from dreamd.ctl.commands.report.friend import LATELY
    from dreamd.ctl.daemon.stored import open_stored
    from dreamd.store.reads import past_fragments

    try:
        with open_stored(database) as dreams:
            return past_fragments(dreams.connection, LATELY)
    except click.ClickException:
        return []


def _effect(status: dict[str, Any]) -> dict[str, Any] | None:
    """Return the effect of dreams, or None if the database cannot be read beside the daemon."""
    from dreamd.ctl.daemon.effect import read_effect

    try:
        return read_effect(status)
    except click.ClickException:
        return None


def _last_dialogs(daemon: Source, most: int) -> list[dict[str, Any]]:
    """Return the last dialogues with their lines, newest first."""
    numbers = numbers_since(daemon, 0.0, most)[::-1]
    hidden = len(numbers) < SLOW or not sys.stderr.isatty()
    with click.progressbar(numbers, label="dialogues", file=sys.stderr, hidden=hidden) as shown:
        return list(read_dialogues(daemon, shown))
