"""The way to the daemon: hints, the reports of failures, and long lists in pages."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from dreamclient.clients.thread import TIMING
from dreamclient.messages import LINES, PAGE

from dreamd.ctl.daemon.connection import Daemon, Target, state_of
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def test_a_silent_listener_is_not_reported_as_missing(
    daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second daemon beside it would not help."""
    monkeypatch.setitem(vars(TIMING), "hello_s", 0.2)
    os.kill(daemon.process.pid, signal.SIGSTOP)  # the helper lets it go on at the end
    state = daemon.state_dir
    (state / "dream.sqlite3").touch()  # what `pause` would start a daemon of its own for
    for command in ("status", "pause"):
        told = dreamctl("--state-dir", state, command)
        assert (told.exit_code, told.stdout) == (3, "")
        assert told.stderr.endswith(
            f"A program listens there; `dreamctl --state-dir {state} doctor` says what is wrong.\n"
        )
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


@pytest.mark.parametrize("method", ["dialogs.search", "dialogs.whence"])
def test_goes_on_after_a_page_that_was_cut_at_the_size_of_a_message(method: str) -> None:
    there = [{"id": number} for number in range(250, 0, -1)]

    class Listing(Daemon):
        def __init__(self) -> None:
            self.calls = 0

        def call(self, method: str, *params: Any, timeout_s: float = 0.0) -> Any:
            self.calls += 1
            words, n, last = (*params, None)[:3]
            assert words == "the roof"
            begin = last or 0 if method == "dialogs.whence" else 0 if last is None else 251 - last
            return there[begin:][: min(n, LINES)]

    listing = Listing()
    assert listing.newest(method, 1000, "the roof") == there
    assert listing.newest(method, 5, "the roof") == there[:5]
    assert listing.calls == 4


def test_the_state_folder_behind_a_socket_is_that_of_its_daemon(
    socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay writes its figures there, where `status` looks for them."""
    monkeypatch.delenv("DREAMD_STATE_DIR", raising=False)
    with LittleDaemon(socket, {"status": lambda *_: {"state_dir": str(tmp_path)}}):
        assert state_of(Target(str(socket), None, as_json=False)) == tmp_path
        assert state_of(Target(str(socket), "/other", as_json=False)) == Path("/other")
