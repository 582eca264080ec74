"""P8: one daemon serves a state folder, whatever pid files, stale sockets or races say."""

import os
import subprocess
import sys

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.waiting import until, until_listened


def test_p8_second_daemon_on_a_folder_exits_3(tmp_path):
    with DaemonProcess(tmp_path / "s") as first:
        pid = first.call("status")["pid"]
        second = subprocess.run(
            [sys.executable, "-m", "dreamd", "--state-dir", tmp_path / "s", "--socket", tmp_path / "other"],
            capture_output=True, text=True, env=first.env, timeout=20,
        )  # fmt: skip
        assert second.returncode == 3
        assert second.stderr == (
            f"dreamd: another dreamd (pid {pid}) serves the state folder {tmp_path / 's'}; "
            f"end it (`kill {pid}`), or name another with --state-dir\n"
        )
        assert not (tmp_path / "other").exists()
        assert first.call("status")["pid"] == pid


def test_p8_of_some_daemons_started_at_once_one_serves(tmp_path):
    daemons = [DaemonProcess(tmp_path / "s").spawn() for _ in range(4)]
    until(lambda: sum(d.process.poll() is None for d in daemons) == 1, "all but one have ended")
    [serving] = [d for d in daemons if d.process.poll() is None]
    assert sorted(d.process.returncode for d in daemons if d is not serving) == [3] * 3
    until_listened(serving.socket)
    assert serving.call("status")["pid"] == serving.process.pid
    assert serving.stop() == 0


def test_p8_locks_a_lock_file_with_the_pid_of_another_process(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "dreamd.lock").write_text(f"{os.getpid()}\n")
    with DaemonProcess(tmp_path / "s") as daemon:
        assert (tmp_path / "s" / "dreamd.lock").read_text() == f"{daemon.process.pid}\n"


def test_p8_ends_if_another_daemon_serves_a_folder_in_its_place(tmp_path):
    state = tmp_path / "s"
    with DaemonProcess(state, env={"WATCHDOG_USEC": "20000"}) as first:
        state.rename(tmp_path / "away")
        with DaemonProcess(state) as second:
            assert first.wait() == 7
            assert second.call("status")["state"] == "ok"
