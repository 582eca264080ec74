"""Signals wait while something is started that could not be undone half way; commands to copy are whole."""

import os
import signal
from pathlib import Path

import click
import pytest

from dreamd.ctl.__main__ import cli
from dreamd.ctl.connection import SIGNALS, Target, command, undisturbed
from tests.helpers.dreamctl import dreamctl
from tests.helpers.little_daemon import LittleDaemon


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    done = []

    def interrupted() -> None:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_error_in_the_block_leaves_the_handlers_as_they_were() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    def failing() -> None:
        with undisturbed():
            raise ValueError

    with pytest.raises(ValueError):
        failing()
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target(None, None, as_json=False), "dreamctl why"),
        (Target("/run/s", None, as_json=False), "dreamctl --socket /run/s why"),
        (Target("s", "a state", as_json=True), "dreamctl --socket s --state-dir 'a state' why"),
    ],
)
def test_a_command_to_copy_asks_the_same_daemon(target: Target, words: str) -> None:
    with click.Context(cli, obj=target) as outer, click.Context(cli, parent=outer):
        assert command("why") == words
    assert command("why") == "dreamctl why"
    assert command("", "dreamd") == "dreamd"


def test_hints_say_which_daemon(socket: Path) -> None:
    empty = {"dialogs.recent": lambda *_: [], "friend.checkpoints": lambda *_: []}
    with LittleDaemon(socket, empty):
        for asked, hint in (
            ("recent", "why"),
            ("show", "recent"),
            ("friend checkpoint", "friend checkpoint NAME"),
        ):
            told = dreamctl("--socket", socket, *asked.split())
            assert f"dreamctl --socket {socket} {hint}" in " ".join(told.output.split())
