"""The user service under a real user manager: installed, activated, killed, stopped, hung, and started again."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import msgpack
import pytest

from tests.helpers.waiting import until, until_listened

LINES = (
    "the sea is quiet tonight",
    "I hear the river under the house",
    "nothing holds the light",
    "snow began to speak",
)


class PlainClient:
    """A blocking MessagePack-RPC client on msgpack alone."""

    def __init__(self, path) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(30)
        self.connection.connect(str(path))
        self.unpacker = msgpack.Unpacker()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.connection.close()

    def send(self, message) -> None:
        self.connection.sendall(msgpack.packb(message))

    def receive(self):
        while True:
            for message in self.unpacker:
                return message
            data = self.connection.recv(1 << 16)
            if not data:
                raise ConnectionError
            self.unpacker.feed(data)

    def call(self, method, *params):
        self.send([0, 1, method, list(params)])
        kind, _, error, result = self.receive()
        assert (kind, error) == (1, None)
        return result

    def hello(self, *provides):
        return self.call(
            "hello", {"protocol": 1, "name": "leo", "version": "0", "pid": 1, "provides": provides}
        )


@pytest.fixture(scope="module")
def installed(manager):
    manager.dreamctl("service", "install")
    return manager


@pytest.fixture(autouse=True)
def fresh(installed):
    installed.systemctl("reset-failed", check=False)
    installed.systemctl("start", "dreamd.socket")


@pytest.fixture
def connect():
    """Return a function that connects. The connections are closed at the end of the test."""
    with ExitStack() as connections:
        yield lambda path: connections.enter_context(PlainClient(path))


def status(manager, path=None):
    with PlainClient(path or manager.socket) as client:
        return client.call("status")


def test_a_connection_activates_it_and_again_after_a_stop(installed):
    """P9: only the owner may use the socket, from the start."""
    assert installed.socket.stat().st_mode & 0o777 == 0o600
    assert installed.socket.parent.stat().st_mode & 0o777 == 0o700
    assert installed.systemctl("is-enabled", "dreamd.socket") == "enabled"
    first = status(installed)
    assert first["state"] == "ok"
    assert first["state_dir"] == str(installed.state / "dreamd")
    assert installed.systemctl("is-active", "dreamd.service") == "active"
    installed.systemctl("stop", "dreamd.service")
    assert installed.socket.exists()  # a passed socket is never unlinked
    assert status(installed)["pid"] != first["pid"]


def test_reports_its_activity_to_systemd(installed):
    status(installed)
    until(
        lambda: installed.systemctl("show", "-P", "StatusText", "dreamd.service") == "waiting for leo",
        "STATUS",
    )
    said = json.loads(installed.dreamctl("service", "status", "--json"))
    assert said["units"] == {
        "dreamd.socket": {"enabled": "enabled", "active": "active"},
        "dreamd.service": {"enabled": "indirect", "active": "active"},
    }
    assert (said["answers"], said["state"]) == (True, "ok")


def test_p3_p5_a_kill_during_a_dialogue_loses_no_line(installed, connect):
    """P3, P5: the recorded line has its file and is not observed again. A client that connects meanwhile is served."""
    leo = connect(installed.socket)
    leo.hello("generate", "observe")
    leo.send([0, 7, "dream.now", []])
    while (asked := leo.receive())[2] == "generate":  # once a candidate
        leo.send([1, asked[1], None, LINES[0]])
    observe = asked
    assert observe[2] == "observe"  # so the line is recorded
    installed.systemctl("kill", "--signal=KILL", "dreamd.service")
    waiting = connect(installed.socket)  # no daemon listens, systemd keeps the socket
    assert waiting.hello("generate", "observe")["name"] == "dreamd"
    until(lambda: waiting.call("inbox.list"), "its file")  # after READY
    [dialog] = [d for d in waiting.call("dialogs.recent") if d["trace_id"] == observe[3][1]["trace_id"]]
    assert (dialog["outcome"], dialog["lines"]) == ("left", 1)
    shards = waiting.call("inbox.read", dialog["trace_id"])["shards"]
    assert [shard["text"] for shard in shards] == [LINES[0]]
    with pytest.raises(ConnectionError):
        leo.receive()
    waiting.connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        waiting.receive()  # nothing is observed twice


def test_systemd_restarts_it_after_its_database_was_removed(installed):
    """systemd restarts it by its exit code, and it makes a fresh database."""
    before = status(installed)["pid"]
    (installed.state / "dreamd" / "dream.sqlite3").unlink()
    installed.dreamctl("call", "dream.seed", '{"origin": ["a stone"]}', check=False)  # a write
    until(lambda: installed.main_pid() not in (0, before), "started again")
    assert status(installed)["state"] == "ok"
    assert (installed.state / "dreamd" / "dream.sqlite3").is_file()


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGUSR1])
def test_the_watchdog_restarts_a_daemon_that_hangs(installed, fault):
    # The daemon's interpreter reads this file at its start. Python runs a signal's handler in the main thread, which is
    # the loop's.
    blocks = "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: time.sleep(60))\n"
    (installed.base / "sitecustomize.py").write_text(blocks)
    installed.drop_in(f'[Service]\nWatchdogSec=2\nEnvironment="PYTHONPATH={installed.base}"\n')
    installed.systemctl("stop", "dreamd.service")
    before = status(installed)["pid"]
    assert installed.main_pid() == before
    if fault == signal.SIGUSR1:
        (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{before}/status").read_text())
        assert int(caught, 16) >> fault - 1 & 1
    os.kill(before, fault)
    until(lambda: installed.main_pid() not in (0, before), "restarted by the watchdog")
    assert status(installed)["pid"] == installed.main_pid()


def test_edited_units_are_kept(installed):
    unit = installed.config / "systemd" / "user" / "dreamd.service"
    ours = unit.read_text()
    try:
        unit.write_text(ours + "\n# mine\n")
        with pytest.raises(AssertionError, match="edited by hand"):
            installed.dreamctl("service", "install")
        assert unit.read_text().endswith("# mine\n")
        installed.dreamctl("service", "install", "--force")
        assert unit.read_text() == ours
    finally:
        unit.write_text(ours)


def test_a_second_leo_has_a_service_of_his_own(installed):
    (installed.state / "dreamd@other").mkdir(parents=True, exist_ok=True)
    installed.systemctl("start", "dreamd@other.socket")
    other = status(installed, installed.runtime / "dreamd" / "other.sock")
    assert other["state_dir"] == str(installed.state / "dreamd@other")
    assert other["pid"] != status(installed)["pid"]
    installed.systemctl("stop", "dreamd@other.socket", "dreamd@other.service")


def test_units_are_verified_and_locked_down(installed, record_property):
    folder = installed.config / "systemd" / "user"
    names = ["dreamd.socket", "dreamd.service", "dreamd-relay.service"]
    ran = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", *(str(folder / name) for name in names)],
        env=installed.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    # The relay has the network that it needs.
    most = {
        "dreamd.service": 1.2,
        "dreamd@.service": 1.2,
        "dreamd-relay.service": 2.2,
        "dreamd-relay@.service": 2.2,
    }
    for name, exposed in most.items():
        said = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", str(folder / name)],
            env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        exposure = float(said.split("exposure level for")[1].split(":")[1].split()[0])
        record_property(f"exposure of {name}", exposure)
        assert exposure <= exposed


def test_uninstall_leaves_the_dreams(installed):
    status(installed)
    installed.dreamctl("service", "uninstall")
    assert not list((installed.config / "systemd" / "user").glob("dreamd*.s*t"))
    assert (installed.state / "dreamd" / "dream.sqlite3").exists()
    assert not installed.socket.exists()
    assert "not installed" in installed.dreamctl("service", "uninstall")
    installed.dreamctl("service", "install")
    assert status(installed)["state"] == "ok"


def test_makes_a_vanished_socket_again(installed):
    """By the daemon at its next tick in its sandbox, and by systemd at the advised command with or without a daemon."""
    installed.drop_in("[Service]\nWatchdogSec=1\n")  # it ticks twice as often
    installed.systemctl("stop", "dreamd.service")
    before = status(installed)["pid"]
    installed.socket.unlink()
    until_listened(installed.socket)
    healed = status(installed)
    assert (healed["pid"], healed["state"]) == (before, "ok")
    assert healed["failures"] == {"listener: socket vanished": 1}
    assert installed.socket.stat().st_mode & 0o777 == 0o600
    # What it leaves is stale, and systemd's own has no file: the next one heals that, too.
    os.kill(before, signal.SIGKILL)
    until(lambda: installed.main_pid() not in (0, before), "restarted")
    until_listened(installed.socket)  # bound again by the next one

    installed.systemctl("stop", "dreamd.service")
    assert not installed.socket.exists()
    found = json.loads(installed.dreamctl("doctor", "--json", check=False))["findings"]
    [told] = [one for one in found if (one["level"], one["section"]) == ("FAIL", "socket")]
    assert "though systemd listens: its file has vanished" in told["text"]
    assert told["advice"].startswith("`dreamctl service restart`")
    installed.dreamctl("service", "restart")
    installed.systemctl("stop", "dreamd.service")
    assert status(installed)["failures"] == {}  # activated: it is systemd's own again


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_reports_and_cures_a_socket_that_cannot_be_made_again(installed, verb):
    installed.drop_in(
        f'[Service]\nWatchdogSec=1\nReadWritePaths=\nReadWritePaths="{installed.state}/dreamd"\n'
    )
    installed.systemctl("stop", "dreamd.service")
    status(installed)
    installed.socket.unlink()
    until(
        lambda: (
            installed.systemctl("show", "-P", "StatusText", "dreamd.service") == "degraded: socket vanished"
        ),
        "told",
    )
    found = json.loads(installed.dreamctl("doctor", "--json", check=False))["findings"]
    [told] = [one for one in found if (one["level"], one["section"]) == ("FAIL", "socket")]
    assert "`dreamctl service restart`" in told["advice"]
    installed.dreamctl("service", verb)
    assert status(installed)["state"] == "ok"


def test_shares_an_inbox_with_a_group_from_its_sandbox(installed):
    installed.drop_in("[Service]\nEnvironment=DREAMD_INBOX__MODE=0660 DREAMD_INBOX__DIR=shared\n")
    installed.systemctl("stop", "dreamd.service")
    asked = {
        "seed": {},
        "result": {"trace_id": "t", "shards": [{}]},
        "cap_token": {"scopes": ["memory.inbox.dreams.write"]},
    }
    with PlainClient(installed.socket) as client:
        client.hello()
        assert client.call("inbox.persist", asked)["shards_written"] == 1
    shared = installed.state / "dreamd" / "shared"
    modes = [path.stat().st_mode & 0o777 for path in (shared, shared / "done", shared / "t.json")]
    assert modes == [0o770, 0o770, 0o660]
    installed.drop_in("")
    installed.systemctl("stop", "dreamd.service")


def test_makes_a_missing_state_folder(installed):
    """Without the folder the sandbox could not be set up."""
    installed.drop_in("")
    installed.systemctl("stop", "dreamd.service")
    (installed.state / "dreamd").rename(installed.state / "away")
    try:
        assert status(installed)["state"] == "ok"
        assert (installed.state / "dreamd").stat().st_mode & 0o777 == 0o700
    finally:
        installed.systemctl("stop", "dreamd.service")
        shutil.rmtree(installed.state / "dreamd")
        (installed.state / "away").rename(installed.state / "dreamd")
