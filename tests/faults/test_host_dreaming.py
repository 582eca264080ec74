"""P1, in a real child process with a daemon that dreams of every reply: what becomes of leo when a dialogue breaks."""

import time

import pytest
from dreamclient import DreamClient

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.host import REPLIES, HostProcess
from tests.helpers.waiting import until

EAGER = ("--set", "gate.chance=1", "--set", "gate.cooldown_s=0", "--set", "gate.trauma_above=-1")


@pytest.fixture
def daemon(tmp_path):
    with DaemonProcess(tmp_path / "state", *EAGER) as daemon:
        yield daemon


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_leo_talks_on_if_the_daemon_is_killed_between_two_lines(tmp_path, daemon, turn):
    """Leo talks on. The daemon that comes after it finds every line that was recorded, and the dream goes on when he is
    back: one dialogue, one file."""
    with HostProcess(tmp_path / "host", daemon.socket, replies=REPLIES, step=f"hold:{turn}") as host:
        assert host.connected
        host.go_on()
        assert host.report() == {"holds": turn}
        daemon.kill()
        daemon.wait()
        host.go_on()
        ended = host.finish()
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", REPLIES)
    assert ended.report["failures"]["lost"] == 1
    daemon.start()
    with DreamClient(socket_path=daemon.socket, name="reader") as reader:
        assert reader.start(20)
        until(lambda: reader.call("status")["dialogues"].get("suspended"), "it is found")
        (broken,) = [d for d in reader.call("dialogs.recent", 100) if d["outcome"] == "suspended"]
        assert broken["lines"] == turn
        with HostProcess(tmp_path / "host", daemon.socket, replies=0) as host:
            until(lambda: reader.call("dialogs.get", broken["id"])["outcome"] != "suspended", "it goes on")
            until(lambda: reader.call("dialogs.get", broken["id"])["finished_at"], "its end")
            ending = reader.call("dialogs.get", broken["id"])["outcome"]
            assert ending in ("complete", "repeat")  # his words are drawn by chance
            host.go_on()
            host.finish()
        # What is left to do is done when the daemon serves already.
        until(
            lambda: broken["trace_id"] in {file["trace_id"] for file in reader.call("inbox.list")},
            "its file is written",
        )


def test_leo_exits_at_once_during_a_line(tmp_path, daemon):
    """A hook that never ends does not keep the host from exiting."""
    with HostProcess(tmp_path / "host", daemon.socket, replies=0, step="hang") as host:
        assert host.connected
        host.go_on()
        began = time.monotonic()
        ended = host.finish()
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert time.monotonic() - began < 20  # far under the deadline of the hook; half a second is the promise


def test_leo_and_his_fork_both_talk(tmp_path, daemon):
    with HostProcess(tmp_path / "host", daemon.socket, step="fork") as host:
        assert host.connected
        host.go_on()
        ended = host.finish()
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", REPLIES)
    assert "lost" not in ended.report["failures"]
    decisions = daemon.call("status")["decisions"]
    dropped = ended.report["failures"].keys() & {"not_connected", "stalled", "busy"}  # and each is counted
    assert sum(decisions.values()) + sum(ended.report["failures"][name] for name in dropped) == REPLIES
