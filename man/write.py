"""The pages dreamctl(1) and dreamd(8), made of the texts that `--help` prints and of the settings' own comments.

`make man` writes them to man/, from where they go into the wheel; a test tells when they are out of date.
"""

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from dreamd import __date__, __version__, settings
from dreamd.__main__ import make_parser
from dreamd.ctl.__main__ import HEADINGS, cli
from dreamd.ctl.commands.config.sample import setting_comments

COLUMNS = 78  # of a line of roff
FILES = """\
~/.local/state/dreamd/dream.sqlite3: the dreams
~/.local/state/dreamd/inbox/dreams/: the files that dreams leave for other memory systems
$XDG_RUNTIME_DIR/dreamd/dreamd.sock: the socket
~/.config/dreamd/config.toml: the settings"""
VARIABLES = """\
DREAMD_STATE_DIR: the state folder
DREAMD_SOCKET: the socket
DREAMD_CONFIG: the file of settings
NO_COLOR: if it is set, nothing is coloured"""


def pages() -> dict[str, str]:
    """Return the text of each page by its file's name, as roff: man(7)."""
    return {"dreamctl.1": _joined(_dreamctl()), "dreamd.8": _joined(_dreamd())}


def _dreamctl() -> Iterator[str]:
    context = click.Context(cli, info_name="dreamctl")
    yield from _head("dreamctl", 1, "look inside dreamd, the daemon in which leo dreams")
    yield from (".SH SYNOPSIS", r".B dreamctl", r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]")
    yield ".SH DESCRIPTION"
    yield from _prose(cli.help or "")
    yield ".SH OPTIONS"
    yield from _options(cli, context)
    for heading, names in HEADINGS.items():
        yield f".SH {_text(heading.upper())}"
        for name in names.split():
            command = cli.get_command(context, name)
            if command is not None:
                yield from _command(command, click.Context(command, context, info_name=name))
    yield from _tail("dreamd(8)")


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f".SS {_text(usage)}"
    yield from _prose(command.help or "")
    yield from _options(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _command(found, click.Context(found, context, info_name=name))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None:
            yield from _tagged(*record)


def _dreamd() -> Iterator[str]:
    parser = make_parser()
    yield from _head("dreamd", 8, "the daemon in which leo dreams")
    yield from (".SH SYNOPSIS", r".B dreamd", r"[\fIOPTIONS\fR]", ".SH DESCRIPTION")
    yield from _prose(parser.description or "")
    yield ".SH OPTIONS"
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        yield from _tagged(_spelled(action), action.help or "")
    yield ".SH EXIT STATUS"
    yield from _prose(parser.epilog or "")
    yield ".SH SETTINGS"
    yield from _prose("Defaults, then the file, then the environment, then --set. Later sources win.")
    yield from _prose("gate.chance is DREAMD_GATE__CHANCE in the environment, and [gate] chance in the file.")
    for name, group in settings.GROUPS.items():
        about = setting_comments(group)
        for field in msgspec.structs.fields(group):
            default = msgspec.json.encode(field.default).decode()
            yield from _tagged(f"{name}.{field.name} = {default}", about[field.name])
    yield from _tail("dreamctl(1), systemd.unit(5)")


def _spelled(action: argparse.Action) -> str:
    return ", ".join(
        f"{option} {action.metavar}" if action.metavar else option for option in action.option_strings
    )


def _head(name: str, number: int, about: str) -> Iterator[str]:
    yield f'.TH {name.upper()} {number} {__date__} "dreamd {__version__}" "dreamd"'
    yield from (".SH NAME", rf"{name} \- {about}")


def _tail(also: str) -> Iterator[str]:
    for title, lines in (("ENVIRONMENT", VARIABLES), ("FILES", FILES)):
        yield f".SH {title}"
        for line in lines.splitlines():
            yield from _tagged(*line.split(": ", 1))
    yield from (".SH SEE ALSO", also)


def _tagged(tag: str, about: str) -> Iterator[str]:
    yield from (".TP", rf"\fB{_text(tag)}\fR", *_wrapped(about))


def _prose(text: str) -> Iterator[str]:
    """Return the paragraphs as roff. Text that click prints unchanged (behind a backspace) stays unchanged."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from (".PP", ".nf", ".RS 4", *map(_text, paragraph.splitlines()[1:]), ".RE", ".fi")
        else:
            yield from (".PP", *_wrapped(paragraph))


def _wrapped(text: str) -> Iterator[str]:
    """Yield lines of roff of at most 80 bytes, as mandoc wants them."""
    escaped = _escaped(text)
    for line in textwrap.wrap(escaped, COLUMNS, break_long_words=False, break_on_hyphens=False):
        yield _not_a_macro(line)


def _text(text: str) -> str:
    """Return a line in which nothing is meant for roff."""
    return _not_a_macro(_escaped(text))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")


def _not_a_macro(line: str) -> str:
    return r"\&" + line if line.startswith(".") else line


def _joined(lines: Iterator[str]) -> str:
    """Return a page. A paragraph begins behind a heading by itself."""
    page = "".join(f"{line}\n" for line in lines)
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", page, flags=re.MULTILINE)


if __name__ == "__main__":
    for name, text in pages().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")
