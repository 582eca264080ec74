"""`dreamctl service` without systemd: a plain process that outlives dreamctl."""

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from dreamd.ctl.daemon.background import LOG_BYTES, START_S, log_file, spawn_daemon
from dreamd.ctl.machine.places import is_stopped
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import UNSET, dreamctl, dreamctl_in, spawn_dreamctl
from tests.helpers.waiting import DEADLINE_S, until


class Service:
    """`dreamctl service ...` for one state folder, in processes of its own, with no units installed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "state"
        self.log = log_file(self.state)

    def __call__(self, command: str, *arguments: str, **env: str) -> tuple[int, str]:
        """Run a command. Return the exit code and all output."""
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        own = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), **env}
        ran = dreamctl_in(
            kept | own, "--state-dir", self.state, "service", command, *arguments, cwd=self.home
        )
        return ran.returncode, ran.stdout + ran.stderr

    def start(self) -> int:
        """Start it, and return its pid."""
        code, said = self("start", "--json")
        assert code == 0, said
        return int(json.loads(said)["done"][0].partition("pid ")[2].partition(")")[0])


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path)
    yield made
    if (made.state / "dreamd.sock").exists():
        made("stop")


def is_running(pid: int) -> bool:
    """Return whether a process runs. One that has ended may stay a zombie if no process reaps orphans."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_starts_in_the_background_and_names_its_log(service):
    code, said = service("start")
    assert code == 0
    assert said.startswith("no unit is installed: started a process of its own (pid ")
    assert said.rstrip().endswith(f"its log is {service.log}")
    assert "serving at" in service.log.read_text()
    assert stat.S_IMODE(service.state.stat().st_mode) == 0o700
    status = json.loads(dreamctl("--state-dir", service.state, "status", "--json").stdout)
    assert status["state"] == "ok"
    assert os.getsid(status["pid"]) == status["pid"]  # no terminal that closes takes it along
    assert "serving at" in service("logs")[1]
    assert "answers, ok" in service("status")[1]
    assert service("stop") == (0, "the daemon has stopped\n")
    until(lambda: not is_running(status["pid"]), "it has ended")
    assert "does not run" in service("status")[1]


def test_does_not_pass_variables_of_a_supervisor_to_the_daemon(service):
    theirs = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "LISTEN_PID": "1", "LISTEN_FDS": "1"}
    code, said = service("start", **theirs)
    assert code == 0
    pid = re.search(r"\(pid (\d+)\)", said)[1]
    names = {entry.partition("=")[0] for entry in Path(f"/proc/{pid}/environ").read_text().split("\0")}
    assert names.isdisjoint(theirs)


def test_a_second_start_starts_nothing(service):
    pid = service.start()
    assert service("start") == (0, f"nothing: it runs already (pid {pid})\n")
    assert is_running(pid)


def test_two_starts_at_once_make_one_daemon(service):
    """P8: the slower start reports why it ends, or finds the other daemon."""
    both = [
        spawn_dreamctl(
            "--state-dir", service.state, "service", "start", cwd=service.home, HOME=str(service.home)
        )
        for _ in range(2)
    ]
    said = ["".join(one.communicate(timeout=START_S + DEADLINE_S)) for one in both]
    assert 0 in [one.returncode for one in both]
    assert all("pid" in text for text in said), said
    holder = json.loads(dreamctl("--state-dir", service.state, "status", "--json").stdout)["pid"]
    assert (service.state / "dreamd.lock").read_text() == f"{holder}\n"
    assert [f"started a process of its own (pid {holder})" in text for text in said].count(True) == 1


def test_ends_its_own_daemon_if_another_was_faster(service):
    """Otherwise it would begin to serve when the other ends."""
    pid, log = service.start(), service.log.read_text()
    assert spawn_daemon(service.state, service.state / "dreamd.sock") is None
    assert service("stop")[0] == 0
    until(lambda: not is_running(pid), "it has ended")
    assert service.log.read_text().count("serving at") == log.count("serving at")


def test_starts_over_a_stale_socket_after_a_kill(service):
    pid = service.start()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_running(pid), "it is gone")
    assert (service.state / "dreamd.sock").exists()
    [stale] = [
        one
        for one in json.loads(dreamctl("--state-dir", service.state, "doctor", "--json").stdout)["findings"]
        if one["section"] == "socket"
    ]
    assert (stale["level"], "service start`" in stale["advice"]) == ("FAIL", True)
    assert service.start() != pid  # the doctor's advice
    assert dreamctl("--state-dir", service.state, "doctor").exit_code == 0


def test_restart_starts_another_process(service):
    pid = service.start()
    code, said = service("restart")
    assert code == 0
    assert f"(pid {pid})" not in said
    until(lambda: not is_running(pid), "the old one has ended")


def test_renames_a_long_log_once(service):
    service.state.mkdir(mode=0o700)
    for _ in range(2):
        service.log.write_bytes(b"x" * (LOG_BYTES + 1))
        service.start()
        service("stop")
    assert service.log.with_suffix(".log.1").stat().st_size == LOG_BYTES + 1
    assert "serving at" in service.log.read_text()
    assert sorted(file.name for file in service.state.glob("*.log*")) == ["dreamd.log", "dreamd.log.1"]


def test_reports_why_the_daemon_cannot_start(service):
    service.state.mkdir(mode=0o700)
    (service.state / "dream.sqlite3").write_bytes(b"")
    (service.state / "dreamd.sock").write_text("in the way")
    code, said = service("start")
    assert code == 1
    assert "it did not start: dreamd: " in said
    assert "is no socket; move it away" in said


def hasty(service, command):
    """Run a command of `service` that waits for nothing."""
    told = (
        "from dreamd.ctl import __main__; from dreamd.ctl.daemon import background as p; "
        "p.START_S = p.STOP_S = 0.0; __main__.cli()"
    )
    return subprocess.run(
        [sys.executable, "-c", told, "--state-dir", service.state, "service", command],
        env={**os.environ, "HOME": str(service.home), "XDG_CONFIG_HOME": str(service.home / "config")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_distinguishes_a_slow_start_from_a_failed_one(service):
    ran = hasty(service, "start")
    said = rf"Error: it does not answer yet, and goes on starting \(pid (\d+)\): {service.log}\n"
    slow = re.fullmatch(said, ran.stderr)
    assert (ran.returncode, bool(slow)) == (1, True), ran.stderr
    until(lambda: "serving at" in service.log.read_text(), "it serves after all")
    assert service("start") == (0, f"nothing: it runs already (pid {slow[1]})\n")


HOLDS_ITS_END = """
import os, signal
from dreamd import __main__, daemon
stop = daemon.Daemon._stop
def held(*parts):
    os.kill(os.getpid(), signal.SIGSTOP)
    return stop(*parts)
daemon.Daemon._stop = held
__main__.main()
"""


class HeldAtItsEnd(DaemonProcess):
    """A daemon that is held (SIGSTOP) as soon as it is asked to stop."""

    program = ("-c", HOLDS_ITS_END)


def test_reports_a_daemon_that_does_not_stop(service):
    with HeldAtItsEnd(service.state) as daemon:
        pid = daemon.process.pid
        ran = hasty(service, "stop")
        said = f"Error: it was asked to stop, and still runs (pid {pid})\n"
        assert (ran.returncode, ran.stderr) == (1, said)
        os.kill(pid, signal.SIGCONT)
        assert daemon.wait() == 0


def test_refuses_a_daemon_of_another_folder(service):
    pid, folder = service.start(), service.state
    service.state = service.home / "other"
    for command in ("start", "restart"):
        code, said = service(command, DREAMD_SOCKET=f"{folder}/dreamd.sock")
        assert (code, f"(pid {pid}) serves {folder}, not {service.state}" in said) == (1, True)
    assert is_running(pid)
    words = shlex.split(re.search("`dreamctl ([^`]+)`", said)[1])
    assert dreamctl(*words, HOME=str(service.home)).exit_code == 0  # the advice
    until(lambda: not is_running(pid), "it has ended")


@pytest.mark.parametrize("command", ["stop", "restart"])
def test_distinguishes_a_stopped_process_from_none(service, command):
    pid = service.start()
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: is_stopped(pid), "stopped")
        code, said = service(command)
        assert code == 1
        assert f"(pid {pid}) is stopped (SIGSTOP): let it go on, `kill -CONT {pid}`" in said
    finally:
        os.kill(pid, signal.SIGCONT)


def test_names_a_daemon_that_listens_elsewhere(service):
    pid = service.start()
    elsewhere = ("--socket", str(service.home / "other.sock"))
    ran = dreamctl(*elsewhere, "--state-dir", service.state, "service", "stop", HOME=str(service.home))
    assert (ran.exit_code, f"End it: `kill {pid}`" in ran.stderr) == (1, True)


def test_distinguishes_a_daemon_that_does_not_listen_from_none(service):
    pid, place = service.start(), service.state / "dreamd.sock"
    place.rename(service.home / "aside")
    code, said = service("status")
    assert (code, f"runs (pid {pid}), but does not listen at {place};" in " ".join(said.split())) == (1, True)
    assert json.loads(service("status", "--json")[1])["holder"] == pid
    if not place.exists():  # it may have made it again
        (service.home / "aside").rename(place)


def test_distinguishes_a_daemon_that_does_not_answer_from_none(service, monkeypatch):
    service.state.mkdir()
    monkeypatch.setattr("dreamd.ctl.daemon.connection.CONNECT_S", 0.1)
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(str(service.state / "dreamd.sock"))
        rude.listen()

        def hang_up():
            with suppress(OSError):
                while True:
                    rude.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        ran = dreamctl("--state-dir", service.state, "service", "status", HOME=str(service.home))
        rude.shutdown(socket.SHUT_RDWR)
        thread.join()
    (service.state / "dreamd.sock").unlink()
    assert (ran.exit_code, "does not answer; `dreamctl" in " ".join(ran.stdout.split())) == (1, True)


def test_names_a_state_folder_that_cannot_be_made(service):
    service.state.touch()
    assert service("start") == (1, f"Error: {service.state}: File exists\n")


def test_the_socket_of_an_instance_lies_in_no_relative_runtime_folder(service):
    _, said = service("status", "--instance", "bob", "--json", XDG_RUNTIME_DIR="run")
    assert json.loads(said)["socket"] == f"{service.state}@bob/dreamd.sock"


def test_an_instance_has_a_process_of_its_own(service):
    pid = service.start()
    code, said = service("start", "--instance", "bob", "--json")
    assert code == 0, said
    folder = service.home / "state@bob"
    status = json.loads(dreamctl("--state-dir", folder, "status", "--json").stdout)
    assert (status["state_dir"], status["pid"] != pid) == (str(folder), True)
    assert service("stop", "--instance", "bob")[0] == 0
    until(lambda: not is_running(status["pid"]), "he has ended")
    assert is_running(pid)


def test_reports_a_missing_log_daemon_and_units(service):
    assert service("logs") == (1, f"Error: there is no log at {service.log}\n")
    assert service("stop") == (0, "nothing: no daemon runs\n")
    assert service("uninstall") == (0, "nothing: it is not installed\n")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_reports_if_the_log_is_no_regular_file(service, make):
    service.state.mkdir(mode=0o700)
    make(service.log)
    for command in ("start", "logs"):
        assert service(command) == (1, f"Error: {service.log} is no regular file; move it away\n")


def test_reports_output_that_cannot_be_written(service):
    with open("/dev/full", "w") as full:
        ran = spawn_dreamctl(
            "--state-dir", service.state, "service", "start", cwd=service.home, stdout=full, HOME=str(service.home)
        )  # fmt: skip
        said = ran.communicate(timeout=START_S + DEADLINE_S)[1]
    assert (ran.returncode, said) == (
        1,
        "dreamctl: what it prints cannot be written: No space left on device\n",
    )
