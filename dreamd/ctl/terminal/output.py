"""Printing answers as JSON or with times in UTC, and commands to copy."""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from dreamd.ctl.terminal.ascii import is_plain
from dreamd.ctl.terminal.layout import fold_text, terminal_columns, terminal_width

# What JSON leaves as it is, and a terminal may obey: DEL, the controls of 8 bits, and marks that turn the direction.
_STEERING = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

_COMMAND = re.compile("`dreamctl (?!--)")  # one that names no daemon yet


def emit_answer(answer: Any, as_text: Callable[[], str]) -> None:
    """Print an answer as JSON if the user asked for that, or else as text."""
    if click.get_current_context().obj.as_json:
        emit_json(answer)
    else:
        click.echo(as_text())


def emit_text(text: str) -> None:
    """Print a text, folded if that goes to a terminal."""
    click.echo(fold_text(text, terminal_width()))


def emit_json(answer: Any, indent: int | None = 2) -> None:
    """Print an answer as JSON. Bytes, which JSON lacks, become hexadecimal text."""
    text = json.dumps(answer, ensure_ascii=is_plain(), indent=indent, default=bytes.hex)
    click.echo(escape_steering(text))


def emit_line(answer: Any) -> None:
    """Print an answer as JSON on one line, for commands that run until Ctrl-C."""
    emit_json(answer, indent=None)


def escape_steering(text: str) -> str:
    """Return a JSON text of the same meaning that is safe for the terminal."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def emit_note(text: str) -> None:
    """Print a note to stderr, folded if that is a terminal."""
    click.echo(fold_text(text, terminal_columns()) if sys.stderr.isatty() else text, err=True)


def prepare_error(error: click.ClickException) -> None:
    """Complete the commands in the message of an error, which click prints, and fold it if that goes to a terminal."""
    text = with_given(error.format_message())
    if sys.stderr.isatty():
        head = "Error: "
        first, *others = text.splitlines() or [""]
        folded = [fold_text(first, terminal_columns(), "", head)]
        folded += [fold_text(line, terminal_columns()) for line in others]
        text = "\n".join(folded).removeprefix(head)
    setattr(error, "format_message", lambda: text)  # noqa: B010 - mypy refuses to assign a method


def command_to_copy(words: str) -> str:
    """Return a command to copy, with the --socket and --state-dir that this dreamctl was given."""
    context = click.get_current_context(silent=True)
    given: list[str] = getattr(context.obj, "given", []) if context else []
    return " ".join(["dreamctl", *given, words])


def with_given(text: str) -> str:
    """Return a text whose commands between backticks are commands to copy."""
    return _COMMAND.sub(lambda _: f"`{command_to_copy('')}", text)


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.obj.as_json |= value


# `dreamctl status --json` is `dreamctl --json status`.
json_option = click.option("--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON.")


def _in_utc(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:  # for the whole process, which only prints and ends
        os.environ["TZ"] = "UTC"
        time.tzset()


utc_option = click.option(
    "--utc", is_flag=True, expose_value=False, callback=_in_utc, help="Print times in UTC, not in local time."
)
