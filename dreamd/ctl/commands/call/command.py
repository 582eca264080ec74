"""`call`: call any method of the daemon, and provide hooks meanwhile if options ask for them."""

import json
import shlex
import shutil
import sys
from contextlib import closing
from typing import Any, TextIO

import click
from dreamclient.messages import DIALOGUE_S, MESSAGE_BYTES, Method
from dreamclient.protocol.hooks import Hook
from msgpack import packb, unpackb

from dreamd.ctl.commands.call.hook_commands import Commands
from dreamd.ctl.daemon.completers import complete_served
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.source import ANSWER_S
from dreamd.ctl.terminal.numbers import Seconds
from dreamd.ctl.terminal.output import emit_json, json_option
from dreamd.ctl.terminal.signals import signals_as_exit

COMMAND_S = 25.0  # less than the 30 s after which the daemon gives up, so that the reason can be reported
LONGEST_S = 86400.0  # the longest timeout: a day
STDIN_BYTES = 8 * MESSAGE_BYTES  # as JSON, with its escapes and spaces, a message is longer
FIELD_CHARS = 1 << 20  # more makes the field slower, not wiser


def _command_words(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    """Return the words of a command line. Raise BadParameter if there is no such command."""
    if value is None:
        return None
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}".lower()) from None
    if not words or shutil.which(words[0]) is None:
        raise click.BadParameter("there is no such command; for shell syntax use sh -c '..'")
    return words


@click.command(
    context_settings={"ignore_unknown_options": True},  # -1 is a number here
    short_help="Call a method of the daemon.",
)
@click.argument("method", shell_complete=complete_served)
@click.argument("params", metavar="[JSON]...", nargs=-1)
@click.option("--timeout", "timeout_s", type=Seconds(LONGEST_S), help="How long to wait.")
@click.option(
    "--msgpack", "as_msgpack", is_flag=True, help="Print the answer as MessagePack. With -, also read it."
)
@click.option(
    "--generate-cmd",
    callback=_command_words,
    metavar="CMD",
    help="Command to run for each line that leo says.",
)
@click.option(
    "--observe-cmd",
    callback=_command_words,
    metavar="CMD",
    help="Command to run for each line that leo hears.",
)
@click.option(
    "--cmd-timeout",
    "command_s",
    type=Seconds(LONGEST_S),
    default=COMMAND_S,
    show_default=True,
    help="How long one run may take.",
)
@click.option(
    "--field",
    type=click.File(encoding="utf-8-sig", errors="replace"),
    metavar="FILE",
    help="Dream with the small field of `dreamctl demo`, fed with FILE.",
)
@json_option
@click.pass_obj
def call(
    target: Target,
    method: str,
    params: tuple[str, ...],
    timeout_s: float | None,
    as_msgpack: bool,
    generate_cmd: list[str] | None,
    observe_cmd: list[str] | None,
    command_s: float,
    field: TextIO | None,
) -> None:
    """Call METHOD of the daemon, each parameter one JSON value, and print the answer as JSON. With -, the parameters
    are read from stdin as one array. docs/reference/protocol.md lists the methods.

    \b
    dreamctl call why 3
    dreamctl call dialogs.get 7
    dreamctl call inbox.read '"dream-1700000000-7-0a1b2c3d"'

    If no leo is connected, this client can be one while it waits. A command gets its parameters as a JSON array on
    stdin. It prints the line, or a JSON map with the text and its measures.

    \b
    dreamctl call dream.now --field story.txt
    dreamctl call dream.now --generate-cmd 'fortune -s'
    """
    if as_msgpack and (target.as_json or sys.stdout.isatty()):
        raise click.UsageError("--msgpack prints bytes: not with --json, and not to a terminal")
    values = _from_stdin(as_msgpack) if params == ("-",) else _from_words(params)
    commands = Commands(command_s)
    hooks = _make_hooks(commands, generate_cmd, observe_cmd, field)
    with signals_as_exit(), closing(commands), target.daemon(hooks=hooks) as daemon:
        answer = daemon.call(
            method, *values, timeout_s=timeout_s or (DIALOGUE_S if method == Method.NOW else ANSWER_S)
        )
    if as_msgpack:
        click.echo(packb(answer), nl=False)
    else:
        emit_json(answer)


def _from_words(params: tuple[str, ...]) -> list[Any]:
    values = []
    for place, text in enumerate(params, 1):
        try:
            values.append(json.loads(text))
        except (ValueError, RecursionError):
            raise click.UsageError(
                f"parameter {place} is not JSON; a text takes quotes of its own, as in '\"{text[:40]}\"'"
            ) from None
    return values


def _from_stdin(as_msgpack: bool) -> list[Any]:
    data = sys.stdin.buffer.read(STDIN_BYTES + 1)
    if len(data) > STDIN_BYTES:
        raise click.UsageError(
            f"stdin holds more than {STDIN_BYTES} bytes; a message has {MESSAGE_BYTES} at most"
        )
    try:
        values = unpackb(data) if as_msgpack else json.loads(data)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise click.UsageError(f"stdin holds no array in {'MessagePack' if as_msgpack else 'JSON'}")
    return values


def _make_hooks(
    commands: Commands, generate: list[str] | None, observe: list[str] | None, field: TextIO | None
) -> dict[str, Hook]:
    """Return the hooks that this client provides, by name. Raise UsageError if the options contradict each other."""
    if field and (generate or observe):
        raise click.UsageError("--field speaks and hears by itself: not with --generate-cmd or --observe-cmd")
    if observe and not generate:
        raise click.UsageError("--observe-cmd goes with --generate-cmd")
    if field:
        return _field_hooks(field.read(FIELD_CHARS))
    if generate:
        hear = commands.observe(observe) if observe else _ignore_line
        return {"generate": commands.generate(generate), "observe": hear}
    return {}


def _ignore_line(text: str) -> None:
    """Ignore a line. A client without an `observe` hook cannot dream."""


def _field_hooks(text: str) -> dict[str, Hook]:
    from random import Random

    from dreamd.ctl.stand_in.field import TrigramField
    from dreamd.ctl.stand_in.leo import StandInLeo

    field = TrigramField(Random())
    field.observe(text)
    if not field.vocabulary:
        raise click.UsageError("there is no word in the --field")
    leo = StandInLeo(field)
    return {"generate": leo.generate, "observe": leo.observe}
