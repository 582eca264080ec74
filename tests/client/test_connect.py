"""Reaching the daemon: without waiting, and with a word on what is wrong."""

import json
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from dreamclient.connect import Connector, spawn_detached
from dreamclient.errors import NotConnected, SocketPathError
from dreamclient.host import Timing

from tests.helpers.little_daemon import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dreamd.sock"


def test_it_connects_where_someone_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with Connector(path)() as sock, listener.accept()[0] as peer:
            sock.send(b"hello")
            assert peer.recv(5) == b"hello"
            assert not sock.getblocking()


def test_the_path_is_resolved_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Connector()
    monkeypatch.setenv("DREAMD_SOCKET", str(path))
    with pytest.raises(NotConnected, match=f"^no daemon at {path}: No such file or directory$"):
        connect()


def test_a_socket_that_nobody_serves_refuses(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(NotConnected, match="Connection refused"):
        Connector(path)()


def test_a_full_backlog_is_not_waited_for(path: Path) -> None:
    """P1: a stopped daemon accepts nobody, and a connect that blocks would wait as long."""

    def knock_ten_times() -> None:
        for _ in range(10):
            waiting.enter_context(Connector(path)())

    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(1)
        with pytest.raises(NotConnected, match="accepts no connections now"):
            knock_ten_times()


def test_a_path_that_no_socket_can_have_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SocketPathError):
        Connector(tmp_path / ("x" * 108))()


# --- autostart ---------------------------------------------------------------------------------------


class Spawned(list[list[str]]):
    """What was to be started; `now_s` is the clock."""

    now_s = 1000.0

    def __call__(self, argv: list[str]) -> int:
        self.append(argv)
        return 2**22 + 1  # no process of ours


def autostarting(path: Path | None, spawned: Spawned) -> Connector:
    return Connector(
        path, autostart=True, timing=Timing(spawn_s=60), monotonic=lambda: spawned.now_s, spawn=spawned
    )


def test_a_daemon_is_started_where_none_listens_at_most_once_a_minute(path: Path) -> None:
    spawned = Spawned()
    connect = autostarting(path, spawned)
    argv = [sys.executable, "-m", "dreamd", "--socket", str(path)]
    for now_s, times in ((1000.0, 1), (1001.0, 1), (1059.9, 1), (1060.0, 2), (1100.0, 2)):
        spawned.now_s = now_s
        with pytest.raises(NotConnected):
            connect()
        assert spawned == [argv] * times


def test_a_daemon_is_started_over_a_dead_socket_too(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    spawned = Spawned()
    with pytest.raises(NotConnected):
        autostarting(path, spawned)()
    assert len(spawned) == 1


def test_without_a_path_of_its_own_the_daemon_resolves_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMD_SOCKET", str(path))
    spawned = Spawned()
    with pytest.raises(NotConnected):
        autostarting(None, spawned)()
    assert spawned == [[sys.executable, "-m", "dreamd"]]


def test_nothing_is_started_unasked_or_for_another_reason(path: Path, tmp_path: Path) -> None:
    spawned = Spawned()
    with pytest.raises(NotConnected):
        Connector(path, spawn=spawned)()
    (tmp_path / "a file").touch()
    with pytest.raises(NotConnected):
        autostarting(tmp_path / "a file" / "dreamd.sock", spawned)()
    assert spawned == []


REPORT = """
import json, os, signal, sys
facts = {
    "session": os.getsid(0) == os.getpid(),
    "streams": [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
}
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(facts, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
"""


def test_what_is_spawned_is_detached_and_silent(tmp_path: Path) -> None:
    """P14: nothing that the daemon prints can reach the terminal of leo."""
    report = tmp_path / "report"
    pid = spawn_detached([sys.executable, "-c", REPORT, str(report)])
    until(report.exists)
    assert json.loads(report.read_text()) == {"session": True, "streams": ["/dev/null"] * 3, "blocked": 0}
    assert os.waitpid(pid, 0) == (pid, 0)
