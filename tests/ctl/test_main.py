"""`--help`: every command has valid examples."""

import re
import shlex
from collections.abc import Iterator
from inspect import cleandoc

import click
import pytest

from dreamd.ctl.__main__ import COMMANDS, HEADINGS, cli
from tests.helpers.dreamctl import dreamctl


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield all commands and groups with their names."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join([*path, name]), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(cli))


def examples(name: str) -> list[str]:
    """Return the lines of a help text that begin with dreamctl, as they are typed, without the remarks beside them."""
    blocks = re.findall(r"^\x08\n((?:.+\n?)+)", cleandoc(ALL[name].help or ""), re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [
        re.split(r" {2,}| [|>] ", line[line.index("dreamctl") :])[0] for line in lines if "dreamctl" in line
    ]


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_valid_examples(name: str) -> None:
    shown = examples(name)
    assert any(f"{example} ".startswith(f"dreamctl {name} ") for example in shown)
    for example in shown:
        _, *words = shlex.split(example)
        own = words.index("--") if "--" in words else len(words)  # behind it stands another command
        # Every option is looked at before --help is heeded.
        taken = dreamctl(*words[:own], "--help", *words[own:])
        assert (taken.exit_code, taken.stderr) == (0, "")


@pytest.mark.parametrize("name", ALL)
def test_every_command_takes_json_and_explains_its_options(name: str) -> None:
    options = [each for each in ALL[name].params if isinstance(each, click.Option)]
    assert "--json" in {spelling for option in options for spelling in option.opts}
    assert [option.name for option in options if not option.help] == []


def test_help_has_every_command_under_a_heading() -> None:
    for columns in (80, 40):
        shown = dreamctl("--help", columns=columns).stdout
        _, *parts = re.split(r"^(\S.*):\n", shown.partition("--help")[2], flags=re.MULTILINE)
        assert parts[::2] == list(HEADINGS)
        assert re.findall(r"^ {2}(\w+) ", "".join(parts[1::2]), re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("name", ["", *ALL])
def test_help_is_as_wide_as_the_terminal(name: str) -> None:
    """The examples may be longer, since users copy them."""
    lines = dreamctl(*name.split(), "--help", columns=40).stdout.splitlines()
    assert [line for line in lines if len(line) > 40 and "dreamctl" not in line] == []


@pytest.mark.parametrize("name", ["", *ALL])
def test_help_fits_80_columns(name: str) -> None:
    lines = dreamctl(*name.split(), "--help", columns=80).stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and "~/.local" not in line] == []


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_every_summary_is_whole(columns: int) -> None:
    """No summary is cut off in the middle of a sentence."""
    groups = [name for name, command in ALL.items() if isinstance(command, click.Group)]
    for words in ("", *groups):
        shown = dreamctl(*words.split(), "--help", columns=columns).stdout
        assert "..." not in shown.replace("]...", "").replace("...]", "").replace("[ARGS]...", ""), shown


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("statsu", "`stats` or `status`"),
        ("shwo", "`show`"),
        ("docter", "`doctor`"),
        ("frend", "`friend`"),
    ],
)
def test_a_slip_names_the_command_that_was_meant(typed: str, near: str) -> None:
    told = dreamctl(typed)
    assert told.exit_code == 2
    assert told.stderr.endswith(f"There is no command '{typed}'. Did you mean {near}?\n")


def test_a_word_like_no_command_is_wrong_usage() -> None:
    told = dreamctl("xyzzy")
    assert (told.exit_code, "No such command 'xyzzy'" in told.stderr) == (2, True)
