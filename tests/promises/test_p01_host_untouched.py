"""P1, each in a real child process: whatever becomes of the daemon, leo's replies, his output and his exit are what
they are without dreamd. Each reply is timed beside that of a twin who has none, to see whether it waited."""

import os
import signal
from pathlib import Path

import pytest

from tests.helpers.daemons.not_one import full_backlog, future, garbage, not_a_daemon, silent
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.host import REPLIES, Ended, HostProcess

# At the lower quartile of all replies, each beside its twin's. It tells waiting from not waiting: a daemon that is
# stopped, silent or gone would be waited for much longer, and a busy machine takes a few ms from either twin.
WAITED_MS = 100.0


@pytest.fixture(scope="module")
def off(tmp_path_factory) -> Ended:
    """The program without dreamd."""
    with HostProcess(tmp_path_factory.mktemp("off"), "off") as host:
        host.go_on()
        return host.finish()


def untouched(ended: Ended, off: Ended) -> None:
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == off.out
    assert ended.report["same"]
    assert ended.report["later_ms"] < WAITED_MS


def talk(tmp_path: Path, where, step: str = "", **env: str) -> tuple[bool, Ended]:
    with HostProcess(tmp_path / "host", where, step=step, **env) as host:
        host.go_on()
        return host.connected, host.finish()


@pytest.fixture
def quiet_daemon(tmp_path):
    """A real one that never dreams."""
    with DaemonProcess(tmp_path / "state", "--set", "gate.enabled=false") as daemon:
        yield daemon


def test_p1_the_host_program_says_something(off):
    assert off.out.count("\n") == REPLIES
    assert off.report["same"]


def test_p1_leo_is_unchanged_with_a_daemon(tmp_path, off, quiet_daemon):
    connected, ended = talk(tmp_path, quiet_daemon.socket)
    untouched(ended, off)
    assert connected
    assert ended.report["failures"] == {}
    assert quiet_daemon.call("status")["decisions"] == {"disabled": REPLIES}


def test_p1_leo_is_unchanged_without_a_daemon(tmp_path, off):
    connected, ended = talk(tmp_path, tmp_path / "absent.sock")
    untouched(ended, off)
    assert not connected
    assert ended.report["failures"]["not_connected"] == REPLIES
    assert ended.report["failures"]["connect"] >= 1


def test_p1_leo_is_unchanged_if_the_daemon_is_stopped_before_he_connects(tmp_path, off, quiet_daemon):
    quiet_daemon.process.send_signal(signal.SIGSTOP)
    connected, ended = talk(tmp_path, quiet_daemon.socket, "silent")
    untouched(ended, off)
    assert not connected
    assert ended.report["failures"]["not_connected"] == REPLIES


def test_p1_leo_is_unchanged_if_the_daemon_is_stopped_after_he_connected(tmp_path, off, quiet_daemon):
    with HostProcess(tmp_path / "host", quiet_daemon.socket) as host:
        assert host.connected
        quiet_daemon.process.send_signal(signal.SIGSTOP)
        host.go_on()
        untouched(host.finish(), off)


@pytest.mark.parametrize("behave", [silent, garbage, future], ids=["silent", "garbage", "future"])
def test_p1_leo_is_unchanged_if_another_program_answers(tmp_path, off, behave):
    with not_a_daemon(tmp_path / "s", behave):
        connected, ended = talk(tmp_path, tmp_path / "s", "silent")
    untouched(ended, off)
    assert not connected
    assert ended.report["failures"]["not_connected"] == REPLIES


def test_p1_leo_is_unchanged_if_the_backlog_is_full(tmp_path, off):
    with full_backlog(tmp_path / "s"):
        connected, ended = talk(tmp_path, tmp_path / "s")
    untouched(ended, off)
    assert not connected
    assert ended.report["failures"]["connect"] >= 1


def test_p1_leo_is_unchanged_if_the_socket_is_deleted(tmp_path, off, quiet_daemon):
    with HostProcess(tmp_path / "host", quiet_daemon.socket) as host:
        assert host.connected
        quiet_daemon.socket.unlink()
        host.go_on()
        ended = host.finish()
    untouched(ended, off)
    assert ended.report["failures"] == {}  # the connection stands


def test_p1_leo_is_unchanged_if_the_daemon_is_killed(tmp_path, off, quiet_daemon):
    with HostProcess(tmp_path / "host", quiet_daemon.socket) as host:
        assert host.connected
        host.go_on()
        host.process.stdout.readline()  # he talks
        quiet_daemon.kill()
        first = off.out.partition("\n")[0] + "\n"
        ended = host.finish()
    ended.out = first + ended.out
    untouched(ended, off)


def test_p1_leo_is_unchanged_with_the_drop_in(tmp_path, off, quiet_daemon):
    connected, ended = talk(tmp_path, "", "dropin", DREAMD_SOCKET=str(quiet_daemon.socket))
    untouched(ended, off)
    assert connected
    assert quiet_daemon.call("status")["decisions"] == {"disabled": REPLIES}


def test_p1_leo_is_unchanged_without_msgpack(tmp_path, off):
    """leo imports only the drop-in. Without its one dependency he does not dream, and all else goes on."""
    hiding = tmp_path / "hiding" / "msgpack"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").write_text("raise ImportError('not installed')\n")
    path = os.pathsep.join([str(hiding.parent), os.environ.get("PYTHONPATH", "")])
    connected, ended = talk(tmp_path, "", "dropin", PYTHONPATH=path, DREAMD_SOCKET=str(tmp_path / "s"))
    untouched(ended, off)
    assert not connected
