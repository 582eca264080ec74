"""Deferred signals, commands to copy, and the reports of failures on the way to the daemon."""

import os
import signal
from pathlib import Path
from typing import Any

import click
import pytest
from dreamclient.messages import PAGE

from dreamd.ctl.__main__ import cli
from dreamd.ctl.daemon.connection import Daemon, Target
from dreamd.ctl.terminal.output import command
from dreamd.ctl.terminal.signals import SIGNALS, undisturbed
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl


def test_defers_a_signal_to_the_end_of_the_block() -> None:
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


def test_restores_the_handlers_after_an_error() -> None:
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
def test_a_command_to_copy_names_the_daemon_that_was_asked(target: Target, words: str) -> None:
    with click.Context(cli, obj=target) as outer, click.Context(cli, parent=outer):
        assert command("why") == words
    assert command("why") == "dreamctl why"
    assert command("", "dreamd") == "dreamd"


def test_a_silent_listener_is_not_reported_as_missing(daemon: DaemonProcess) -> None:
    """A second one beside it is no cure."""
    os.kill(daemon.process.pid, signal.SIGSTOP)  # the helper lets it go on at the end
    state = daemon.state_dir
    told = dreamctl("--state-dir", state, "status")
    assert (told.exit_code, told.stdout) == (3, "")
    assert (
        f"A program listens there; `dreamctl --state-dir {state} doctor` says what is wrong." in told.stderr
    )
    assert "Start one" not in told.stderr
    told = dreamctl("--state-dir", state, "service", "status", HOME=str(state))
    assert f"does not answer; `dreamctl --state-dir {state} doctor` says why" in " ".join(told.stdout.split())


def test_hints_name_the_daemon(socket: Path) -> None:
    empty = {"dialogs.recent": lambda *_: [], "friend.checkpoints": lambda *_: []}
    with LittleDaemon(socket, empty):
        for asked, hint in (
            ("recent", "why"),
            ("friend checkpoint", "friend checkpoint NAME"),
        ):
            told = dreamctl("--socket", socket, *asked.split())
            assert f"dreamctl --socket {socket} {hint}" in " ".join(told.output.split())


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
    """Little waits in a buffer, much goes out at once: both fail."""
    answers = {"status": lambda *_: {"state": "ok"}, "many": lambda *_: ["words"] * 10_000}
    with LittleDaemon(socket, answers), open("/dev/full", "wb") as full:
        process = spawn_dreamctl(
            "--state-dir", "none", *words.split(), cwd=tmp_path, stdout=full.fileno(), PYTHONUNBUFFERED=""
        )
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said == "dreamctl: what it prints cannot be written: No space left on device\n"


def test_a_closed_pipe_is_no_error(socket: Path, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with LittleDaemon(socket, {"many": lambda *_: ["words"] * 10_000}), open(theirs, "wb") as pipe:
        process = spawn_dreamctl("--socket", socket, "call", "many", cwd=tmp_path, stdout=pipe.fileno())
        assert (process.communicate(timeout=30)[1], process.returncode) == ("", 1)


@pytest.mark.parametrize(
    ("there", "wanted"), [(2500, 2400), (2500, 3000), (1000, 1000), (1000, 1001), (0, 5), (9, 0)]
)
def test_asks_for_a_long_list_in_pages(there: int, wanted: int) -> None:
    class Listing(Daemon):
        def __init__(self) -> None:
            pass

        def call(self, method: str, *params: Any, timeout_s: float = 0.0) -> Any:
            n, *before = params
            assert n <= PAGE
            newest = before[0] - 1 if before else there
            return [{"id": number} for number in range(newest, max(0, newest - n), -1)]

    found = Listing().newest("dialogs.recent", wanted)
    assert [each["id"] for each in found] == [*range(there, max(0, there - wanted), -1)]
