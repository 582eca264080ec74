"""Real faults: the doctor names each one, and its advice, followed to the letter, cures it.

The commands between backticks in an advice are run unchanged. Some faults need systemd.
"""

import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from dreamclient import DreamClient
from dreamclient.clients.thread import TIMING
from dreamclient.leo import attach

from dreamd.ctl.machine.places import look_at_state
from tests.helpers import leo_double
from tests.helpers.daemons.old import old_daemon
from tests.helpers.dreamctl import dreamctl_in
from tests.helpers.dreaming import ORIGIN, STIRRED
from tests.helpers.mounts import Mounts, fill, mounts
from tests.helpers.peer import saying
from tests.helpers.waiting import until, until_listened

TICK_S = 0.2


def run(env: Mapping[str, str], *command: str) -> str:
    """Run a command that has to succeed, and return its output. `dreamctl` is the tested one."""
    if command[0] == "dreamctl":
        ran = dreamctl_in(env, *command[1:])
    else:
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


class Findings:
    """The findings of `dreamctl doctor`."""

    def __init__(self, env: Mapping[str, str], *options: str) -> None:
        ran = dreamctl_in(env, "doctor", "--json", *options)
        self.exit_code = ran.returncode
        self.all: list[dict[str, str]] = json.loads(ran.stdout)["findings"]

    def one(self, level: str, section: str) -> dict[str, str]:
        """Return the one finding of that level in a section."""
        [found] = [one for one in self.all if (one["level"], one["section"]) == (level, section)]
        return found

    def levels(self, *sections: str) -> set[str]:
        return {one["level"] for one in self.all if one["section"] in sections}


def ails(env: Mapping[str, str], section: str, text: str) -> str:
    """Check that the only finding of a section is a FAIL with this text, and return its advice."""
    findings = Findings(env)
    assert findings.exit_code == 1
    found = findings.one("FAIL", section)
    assert text in found["text"]
    return found["advice"]


def follow(env: Mapping[str, str], advice: str) -> None:
    """Do what it says: the commands between backticks, in their order, but for those that need a backup."""
    commands = [command for command in re.findall(r"`([^`]+)`", advice) if "FILE" not in command.split()]
    assert commands, advice
    for command in commands:
        run(env, *shlex.split(command))


def is_cured(env: Mapping[str, str], *sections: str) -> None:
    """Check that the doctor finds these sections well and no FAIL elsewhere. Faults that end by themselves have a few
    ticks of the daemon."""
    until(lambda: (now := Findings(env)).exit_code == 0 and now.levels(*sections) == {"OK"}, "cured")


class Patient:
    """A daemon as `dreamctl service start` makes it where no unit is installed, with a folder for all that is his."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home, self.state, self.stack = home, home / "state", stack
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DREAM", "XDG_", "DBUS_"))}
        self.env = kept | {"HOME": str(home), "DREAMD_STATE_DIR": str(self.state)}
        self.config = home / ".config" / "dreamd" / "config.toml"
        self.socket, self.database = self.state / "dreamd.sock", self.state / "dream.sqlite3"
        stack.callback(self.end)

    def start(self) -> int:
        """Start it, and return its pid."""
        run(self.env, "dreamctl", "service", "start")
        return self.pid

    def start_ticking(self) -> None:
        """Start a daemon that ticks as under a supervisor: at each tick it tries to recover."""
        ticking = self.env | {"WATCHDOG_USEC": str(int(TICK_S * 2e6))}
        process = subprocess.Popen([sys.executable, "-m", "dreamd"], env=ticking)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        until_listened(self.socket)

    @property
    def pid(self) -> int:
        return int(json.loads(run(self.env, "dreamctl", "status", "--json"))["pid"])

    def stop(self) -> None:
        run(self.env, "dreamctl", "service", "stop")
        until(lambda: not self.socket.exists(), "it has stopped")

    def leo(self, **hooks: Any) -> DreamClient:
        """Return a connected leo."""
        client = DreamClient(
            **({"generate": saying, "observe": lambda _: None} | hooks), socket_path=self.socket, **ORIGIN
        )
        self.stack.enter_context(client)
        assert client.start(20)
        return client

    def end(self) -> None:
        """Kill the daemon that a test has left. It may be stopped, or without a socket."""
        if holder := look_at_state(self.state).holder:
            os.kill(holder, signal.SIGKILL)
            until(lambda: not look_at_state(self.state).holder, "it has ended")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def mounted() -> Iterator[Mounts]:
    with mounts() as made:
        yield made


@pytest.fixture
def patient(tmp_path: Path, mounted: Mounts, stack: ExitStack) -> Patient:
    """He ends before what is mounted under him goes: the stack is made last."""
    return Patient(tmp_path, stack)


# 1


def test_cures_a_daemon_that_does_not_run(patient: Patient) -> None:
    patient.start()
    patient.stop()
    follow(patient.env, ails(patient.env, "daemon", "does not run"))
    is_cured(patient.env, "socket", "daemon", "versions", "database", "inbox")


def test_cures_a_stopped_daemon(patient: Patient) -> None:
    pid = patient.start()
    os.kill(pid, signal.SIGSTOP)
    follow(
        patient.env, ails(patient.env, "daemon", f"pid {pid} holds {patient.state}, and is stopped (SIGSTOP)")
    )
    is_cured(patient.env, "socket", "daemon")
    assert patient.pid == pid


# 2


def test_cures_a_stale_socket(patient: Patient) -> None:
    os.kill(patient.start(), signal.SIGKILL)
    advice = ails(patient.env, "socket", f"{patient.socket} is stale: no process listens")
    follow(patient.env, advice)
    is_cured(patient.env, "socket", "daemon")


def test_cures_a_socket_of_another_program(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.state.mkdir(mode=0o700)
    deaf = "import signal, socket as s, sys; a = s.socket(s.AF_UNIX); a.bind(sys.argv[1]); a.listen(); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf, str(patient.socket)]) as other:
        try:
            until_listened(patient.socket)
            with monkeypatch.context() as impatient:
                impatient.setitem(vars(TIMING), "hello_s", 0.2)
                advice = ails(
                    patient.env, "socket", f"pid {other.pid} listens at {patient.socket}, and is no dreamd"
                )
            follow(patient.env, advice)
        finally:
            other.kill()
    is_cured(patient.env, "socket", "daemon")


# 3


def test_cures_two_versions(patient: Patient) -> None:
    patient.state.mkdir(mode=0o700)
    with old_daemon(patient.socket) as old:
        advice = ails(patient.env, "versions", "dreamd 0.0.9 speaks protocol 0, dreamctl ")
        assert advice.startswith(
            "upgrade the older of the two"
        )  # here that is the daemon: the new one is installed
        follow(patient.env, advice)
        assert old.wait(20) == 0
    is_cured(patient.env, "socket", "daemon", "versions")


# 4


def test_cures_a_leo_whose_hook_raises(patient: Patient) -> None:
    """One dialogue is enough."""
    patient.start()
    faults = [TypeError("generate_reply() got an unexpected keyword argument 'semantic_weight'")]

    def generate(seed: str, temperature: float, semantic_weight: float) -> str:
        if faults:
            raise faults[0]
        return saying()

    patient.leo(generate=generate).dream_now(STIRRED)
    advice = ails(
        patient.env, "leo", "mute: 1 dialogue ran, 0 spoke: generate raised TypeError at test_ailments.py:"
    )
    assert advice.startswith("mend that in leo. ")
    faults.clear()
    follow(patient.env, advice)
    is_cured(patient.env, "leo")


def test_cures_a_leo_whose_lines_are_empty(patient: Patient) -> None:
    """Leo's own adapter catches the TypeError, and returns an empty line."""
    patient.start()
    memory = patient.stack.enter_context(closing(leo_double.settle(patient.home)))
    field = leo_double.LeoField(memory)
    mute = patient.leo(generate=field._dream_generate)
    assert mute.dream_now(STIRRED) == {"dialog": 1, "outcome": "empty", "lines": 0}
    advice = ails(patient.env, "leo", "mute: 1 dialogue ran, 0 spoke: his lines came back empty")
    assert "call dreamclient.leo.attach(field) in its place. " in advice
    mute.close()
    attachment = attach(field, socket_path=patient.socket)
    patient.stack.callback(attachment.detach)
    until(lambda: attachment.client.connected, "he is connected")
    follow(patient.env, advice)
    is_cured(patient.env, "leo")


# 5


@pytest.mark.parametrize(("below", "state"), [(0.0, "shut"), (0.6, "open")])
def test_cures_gates_that_never_change(patient: Patient, below: float, state: str) -> None:
    """They are a WARN: he may be calm. What he measures goes from `below` to 0.39 more."""
    patient.config.parent.mkdir(parents=True)
    patient.config.write_text("[gate]\nchance = 1e-9\n")
    patient.start()
    leo = patient.leo()

    def replies() -> set[str]:
        """Offer 14 replies, and return the reasons of the decisions."""
        levels = (below + 0.03 * number for number in range(14))
        contexts = ({"prompt": "", "reply": "", "trauma_level": level} for level in levels)
        return {leo.call("dream.context", context)["reason"] for context in contexts}

    assert len(replies()) == 1
    assert Findings(patient.env).exit_code == 0
    findings = Findings(patient.env, "--strict")
    assert findings.exit_code == 1
    found = findings.one("WARN", "gates")
    assert found["text"] == f"{state} at each of the last 14 replies: trauma {below:.2f}-{below + 0.39:.2f}"
    assert f"`dreamctl config set gate.trauma_above {below + 0.195:.2f}`" in found["advice"]
    follow(patient.env, found["advice"])
    until(lambda: leo.connected, "leo is back")
    until(lambda: replies() == {"calm", "chance"}, "it is taken up, and the gates move")
    is_cured(patient.env, "gates")


# 6


def test_cures_a_full_disk(patient: Patient, mounted: Mounts) -> None:
    mounted.tmpfs(patient.state, "1m")
    patient.start_ticking()
    leo = patient.leo()
    leo.dream_now(STIRRED)
    until(lambda: not leo.call("status")["database"]["wal_bytes"], "its log is brought in")
    is_full = "degraded: disk full"

    def is_noticed() -> bool:
        """Fill the disk again, since the log may have freed some of it, let the daemon write, and return True if it
        reports the full disk."""
        fill(patient.state)
        if leo.call("status")["state"] != is_full:
            leo.dream_now(STIRRED)
        return bool(leo.call("status")["state"] == is_full)

    until(is_noticed, "it is noticed")
    assert "make room" in ails(patient.env, "daemon", "degraded: disk full")
    assert "make room" in ails(
        patient.env, "database", f"the disk is full: 0 B left where {patient.state} is"
    )
    (patient.state / "ballast").unlink()
    until(lambda: leo.call("status")["state"] == "ok", "it goes on by itself")
    assert leo.dream_now(STIRRED)["outcome"] == "complete"
    assert Findings(patient.env).levels("daemon") == {"OK"}


# 7


def test_cures_a_damaged_database(patient: Patient) -> None:
    patient.start()
    leo = patient.leo()
    leo.dream_now(STIRRED)
    leo.close()  # an attempt of his that a busy machine cuts short would be counted, and stay so
    patient.stop()
    with patient.database.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    damaged = patient.database.read_bytes()
    advice = ails(patient.env, "database", f"{patient.database} is damaged: ")
    follow(patient.env, advice)
    [aside] = patient.state.glob("dream.sqlite3.damaged-*Z")
    assert aside.read_bytes() == damaged
    follow(patient.env, Findings(patient.env).one("WARN", "database")["advice"])
    is_cured(patient.env, "daemon", "database")


def test_cures_a_folder_in_the_place_of_the_database(patient: Patient) -> None:
    patient.database.mkdir(parents=True)
    (patient.database / "precious").touch()
    with pytest.raises(AssertionError, match="no file stands in its place, but a folder or the like"):
        patient.start()
    advice = ails(patient.env, "database", f"{patient.database} is no file, but a folder or the like")
    follow(patient.env, advice)
    follow(patient.env, ails(patient.env, "daemon", "does not run"))
    is_cured(patient.env, "daemon", "database")
    assert (patient.state / "dream.sqlite3.aside" / "precious").exists()


# 8


@pytest.fixture(scope="module")
def installed(manager):
    """The units under a user manager of systemd's."""
    manager.dreamctl("service", "install")
    return manager


def test_cures_a_unit_that_is_not_enabled(installed) -> None:
    """This is a WARN, since the unit runs until the next login."""
    installed.systemctl("start", "dreamd.service")
    installed.systemctl("disable", "dreamd.socket")
    assert Findings(installed.env).exit_code == 0
    findings = Findings(installed.env, "--strict")
    assert findings.exit_code == 1
    found = findings.one("WARN", "service")
    assert "dreamd.socket is not enabled" in found["text"]
    follow(installed.env, found["advice"])
    assert installed.systemctl("is-enabled", "dreamd.socket") == "enabled"
    is_cured(installed.env, "socket", "daemon", "service")


def test_cures_stopped_and_missing_units(installed) -> None:
    installed.systemctl("stop", "dreamd.socket", "dreamd.service")
    follow(installed.env, ails(installed.env, "service", "stopped, and its socket too"))
    is_cured(installed.env, "socket", "daemon", "service")

    installed.dreamctl("service", "uninstall")
    findings = Findings(installed.env)
    assert findings.exit_code == 1
    advice_of = [findings.one("WARN", "service")["advice"], findings.one("FAIL", "daemon")["advice"]]
    assert "no units are installed" in findings.one("WARN", "service")["text"]
    commands = [re.findall("`[^`]+`", advice) for advice in advice_of]
    assert commands == [["`dreamctl service install`"], ["`dreamctl service start`"]]
    follow(installed.env, advice_of[0])
    is_cured(installed.env, "socket", "daemon", "service")


# 9


def test_cures_an_inbox_that_cannot_be_written(patient: Patient, mounted: Mounts) -> None:
    """He dreams on, and pending shards follow later. File modes do not bind root: then the folder is a read-only
    mount."""
    inbox = patient.home / "my inbox"
    patient.env["DREAM_INBOX_DIR"] = str(inbox)
    if os.geteuid() == 0:
        mounted.tmpfs(inbox, "1m")
        patient.start_ticking()
        mounted.read_only(inbox)
        why = "Read-only file system"
    else:
        inbox.mkdir()
        patient.start_ticking()
        inbox.chmod(0o500)
        why = "Permission denied"
    leo = patient.leo()
    assert leo.dream_now(STIRRED)["outcome"] == "complete"
    advice = ails(patient.env, "inbox", f"{inbox}: look at the inbox: {why}; 1 shards are pending")
    follow(patient.env, advice)
    is_cured(patient.env, "daemon", "inbox")
    assert leo.call("status")["inbox"]["waiting"] == 1


# 10


def test_cures_a_newer_database(installed) -> None:
    """No restart would help, so none is tried, and the file does not change."""
    installed.systemctl("stop", "dreamd.service")
    database = installed.state / "dreamd" / "dream.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA user_version = 99")
    before = database.read_bytes()
    # The client waits in the backlog, so systemd tries again, then fails the socket too. Two starts are enough.
    installed.drop_in("[Unit]\nStartLimitBurst=2\n")
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(str(installed.socket))
    until(
        lambda: installed.systemctl("is-failed", "dreamd.socket", check=False) == "failed",
        "systemd gave up",
        deadline_s=120,  # each is a start of an interpreter, on a machine that may be busy
    )
    installed.drop_in("")
    of_service = ails(installed.env, "service", "exit code 6: the database is of a newer version")
    of_database = ails(installed.env, "database", "is of version 99, this dreamd knows")
    assert of_database.startswith("upgrade dreamd, or ")
    assert database.read_bytes() == before
    follow(installed.env, of_database)
    follow(installed.env, of_service)
    is_cured(installed.env, "socket", "daemon", "service", "database")
    assert database.with_name("dream.sqlite3.version-99").read_bytes() == before
