"""The output of dreamctl: commands to copy, and failed writes to stdout."""

import json
import os
from pathlib import Path

import click
import pytest

from dreamd.ctl.__main__ import cli
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.output import command_to_copy
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target(None, None, as_json=False), "dreamctl why"),
        (Target("/run/s", None, as_json=False), "dreamctl --socket /run/s why"),
        (Target("s", "a state", as_json=True), "dreamctl --socket s --state-dir 'a state' why"),
    ],
)
def test_a_command_to_copy_names_the_daemon_that_was_asked(target: Target, words: str) -> None:
    with click.Context(cli, obj=target) as outer, click.Context(cli, parent=outer):
        assert command_to_copy("why") == words
    assert command_to_copy("why") == "dreamctl why"


def test_an_error_names_the_daemon_that_was_asked_in_its_commands(state: Path) -> None:
    """They are in messages of the daemon, of the inbox and of dreamctl."""
    for words, command in (
        ("show 99", "recent"),
        ("inbox ack x", "inbox ls"),
        ("friend diff x", "friend checkpoint"),
    ):
        told = dreamctl("--state-dir", state, *words.split())
        assert f"`dreamctl --state-dir {state} {command}`" in told.stderr
        assert "--state-dir" not in dreamctl(*words.split(), DREAMD_STATE_DIR=str(state)).stderr


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "doctor",
        "stats --openmetrics",
        "completions bash",
        "--socket s status",
        "--socket s call many",
    ],
)
def test_reports_a_failed_write_to_stdout_in_one_line(socket: Path, tmp_path: Path, words: str) -> None:
    """A short text waits in a buffer, and a long one is written at once. Both writes fail."""
    answers = {"status": lambda *_: {"state": "ok"}, "many": lambda *_: ["words"] * 10_000}
    with LittleDaemon(socket, answers), open("/dev/full", "wb") as full:
        process = spawn_dreamctl(
            "--state-dir", "none", *words.split(), cwd=tmp_path, stdout=full.fileno(), PYTHONUNBUFFERED=""
        )
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said == "dreamctl: what it prints cannot be written: No space left on device\n"


def test_json_steers_no_terminal_and_loses_nothing(socket: Path) -> None:
    said = "a\x1b[2J \x9b2J \x7f \x85 \u2028 \u202e \u2067 雨 \u200d \U0001f442"
    with LittleDaemon(socket, {"say": lambda *_: {said: said}}):
        told = dreamctl("--socket", socket, "call", "say").stdout
    assert [char for char in told if not (char.isprintable() or char in "\n\u200d")] == []
    assert json.loads(told) == {said: said}
    assert "雨" in told


def test_a_closed_pipe_raises_no_error(socket: Path, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with LittleDaemon(socket, {"many": lambda *_: ["words"] * 10_000}), open(theirs, "wb") as pipe:
        process = spawn_dreamctl("--socket", socket, "call", "many", cwd=tmp_path, stdout=pipe.fileno())
        assert (process.communicate(timeout=30)[1], process.returncode) == ("", 1)
