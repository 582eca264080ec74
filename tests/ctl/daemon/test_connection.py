"""The way to the daemon: hints, the reports of failures, and long lists in pages."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from dreamclient.messages import PAGE

from dreamd.ctl.daemon.connection import DIALOGUE_S, Daemon
from dreamd.dream.dialogue import DialogueSettings
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def test_a_silent_listener_is_not_reported_as_missing(daemon: DaemonProcess) -> None:
    """A second daemon beside it would not help."""
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


def test_waits_for_a_dialogue_as_long_as_the_daemon_lets_it_run() -> None:
    assert DialogueSettings().deadline_s < DIALOGUE_S
