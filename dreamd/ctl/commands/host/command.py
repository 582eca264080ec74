"""`host`: run a command as a host, or check that it can be one."""

import asyncio
import os
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
import msgspec
from dreamclient.paths import check_socket_path

from dreamd.ctl.commands.host.check import Checked, check_host
from dreamd.ctl.commands.host.child import stderr_descriptor
from dreamd.ctl.commands.host.hosting import ANSWER_S, Hosting, Waits, Wanted
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.layout import fold_text, terminal_width
from dreamd.ctl.terminal.numbers import Seconds
from dreamd.ctl.terminal.output import emit_answer, emit_note, json_option
from dreamd.ctl.terminal.signals import SIGNALS, heeded_signals

LONGEST_S = 3600.0
ORIGIN_BYTES = 512 << 10  # half of a message; of it 256 fragments are kept


def _known_command(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    if shutil.which(words[0]) is None:
        raise click.BadParameter(f"there is no command {words[0]!r}; for shell syntax use sh -c '..'")
    return words


def _origin_text(_: click.Context, __: click.Parameter, file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            data = opened.read(ORIGIN_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    if len(data) > ORIGIN_BYTES:
        raise click.BadParameter(f"{file} has more than {ORIGIN_BYTES} bytes")
    return text


@click.command(context_settings={"allow_interspersed_args": False}, short_help="Run a host in any language.")
@click.argument("words", metavar="COMMAND [ARGS]...", nargs=-1, required=True, callback=_known_command)
@click.option("--name", metavar="NAME", help="Its name, in place of the one in its hello.")
@click.option(
    "--origin",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_origin_text,
    help="Text that its friend is born of, in place of the one in its hello.",
)
@click.option(
    "--timeout",
    "answer_s",
    type=Seconds(LONGEST_S),
    default=ANSWER_S,
    show_default=True,
    help="For each answer, and for the hello.",
)
@click.option(
    "--stderr",
    "stderr_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append its standard error to a file.",
)
@click.option("--check", is_flag=True, help="Without a daemon, say whether it keeps the protocol.")
@json_option
@click.pass_obj
def host(
    target: Target,
    words: tuple[str, ...],
    name: str | None,
    origin: str | None,
    answer_s: float,
    stderr_file: Path | None,
    check: bool,
) -> None:
    """Run COMMAND as a host that dreams, until Ctrl-C. It may be written in any language: it prints and reads JSON, one
    object a line. docs/reference/host.md has the keys.

    If it ends, it is started again, and a dialogue goes on when it is back.

    \b
    dreamctl host -- sh host.sh
    dreamctl host --check -- sh host.sh
    """
    if name is not None and not 1 <= len(name) <= 64:
        raise click.UsageError("--name takes 1 to 64 characters")
    stderr = _open_stderr(stderr_file)
    if check:
        found = asyncio.run(check_host(words, stderr, answer_s))
        emit_answer(msgspec.to_builtins(found), lambda: _in_words(found))
        raise SystemExit(found.fault is not None)
    socket = target.socket
    check_socket_path(socket)
    wanted = Wanted(words, socket, name, (origin,) if origin else (), stderr)
    asyncio.run(_until_signal(Hosting(wanted, Waits(answer_s, answer_s), _tell).run()))


def _open_stderr(file: Path | None) -> int | None:
    if file is None:
        return stderr_descriptor(os.environ.get("JOURNAL_STREAM"))
    try:
        return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise click.UsageError(f"--stderr {file}: {error.strerror}") from None


def _tell(words: str) -> None:
    emit_note(f"host: {words}")


async def _until_signal(running: Coroutine[Any, Any, None]) -> None:
    """Run until a signal, and end what runs in an orderly way."""
    loop, task = asyncio.get_running_loop(), asyncio.create_task(running)
    for number in heeded_signals(SIGNALS):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


def _in_words(found: Checked) -> str:
    lines = []
    if found.name is not None:
        lines.append(("OK", "hello", f"{found.name}, provides {', '.join(found.provides) or 'no hook'}"))
    for hook, timed in found.calls.items():
        if hook != found.at:
            lines.append(("OK", hook, f"{timed.calls} calls, the slowest took {timed.slowest_ms:g} ms"))
    if found.ended:
        lines.append(("OK", "end", "it ends with its input"))
    if found.fault is not None:
        lines.append(("FAIL", f"{found.at}", found.fault))
    width = terminal_width()
    told = [fold_text(text, width, " " * 16, f"{level:<4}  {step:<10}") for level, step, text in lines]
    return "\n".join(told)
