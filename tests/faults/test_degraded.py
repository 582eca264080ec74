"""Degraded, not dead: each cause made for real to a daemon of its own process. It stays up, says why where people
look (`status`, STATUS, `doctor`), refuses what it cannot do with a reason, and is well again within a tick or two
of the cause being gone, without anybody's help."""

import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from dreamclient import DreamClient
from dreamclient.errors import RemoteError
from dreamclient.messages import Code

from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.dreaming import ORIGIN, STIRRED
from tests.helpers.mounts import Mounts, fill, mounts
from tests.helpers.peer import saying
from tests.helpers.waiting import until, until_listened

TICK_S = 0.1


class Patient:
    """A daemon that ticks ten times a second, what it tells its service manager, and a leo who dreams in it."""

    def __init__(self, state: Path, stack: ExitStack, *arguments: str) -> None:
        self.state = state
        self.database = state / "dream.sqlite3"
        self.manager = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.manager.bind(str(state.parent / "notify"))
        self.manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(state.parent / "notify"), "WATCHDOG_USEC": str(int(TICK_S * 2e6))}
        self.daemon = stack.enter_context(
            DaemonProcess(state, "--set", "log.level=warning", *arguments, env=env)
        )
        self.leo = stack.enter_context(
            DreamClient(saying, lambda _: None, socket_path=self.daemon.socket, **ORIGIN)
        )
        self.leo.start(20)
        self.watcher = stack.enter_context(DreamClient(socket_path=self.daemon.socket, name="dreamctl"))
        self.watcher.start(20)

    def dream(self) -> dict:
        return self.leo.dream_now(STIRRED)

    def refuses(self, trouble: str) -> None:
        """Check that a dream is refused with the reason."""
        with pytest.raises(RemoteError, match=f"no dream can be kept now: {trouble}") as refusal:
            self.dream()
        assert refusal.value.code == Code.UNAVAILABLE

    def status(self) -> dict:
        return self.watcher.call("status")

    def tells(self, status: str) -> None:
        """Wait until the service manager hears it in a tick: the watchdog is fed all the while."""
        while True:
            said = self.manager.recv(1000).decode().split("\n")
            if said == ["WATCHDOG=1", f"STATUS={status}"]:
                return

    def is_degraded(self, trouble: str) -> None:
        """Check that the service manager, `status` and the doctor all report the trouble."""
        self.tells(f"degraded: {trouble}")
        assert self.status()["state"] == f"degraded: {trouble}"
        assert trouble in self.doctor("daemon")["FAIL"]

    def doctor(self, section: str) -> dict[str, str]:
        """Return the doctor's findings in a section, by level."""
        ran = dreamctl("--state-dir", self.state, "doctor", "--json")
        findings = json.loads(ran.stdout)["findings"]
        assert ran.exit_code == any(one["level"] == "FAIL" for one in findings)
        return {
            one["level"]: f"{one['text']} -> {one['advice']}" for one in findings if one["section"] == section
        }

    def recovers(self) -> None:
        """Check that the daemon recovers by itself, dreams, and writes the shard."""
        until(lambda: self.status()["state"] == "ok", "well again")
        until(lambda: self.leo.connected, "leo is back")
        before = self.status()["inbox"]["waiting"]
        assert self.dream()["outcome"] == "complete"
        assert self.status()["inbox"]["waiting"] == before + 1
        assert "OK" in self.doctor("daemon")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def patient(tmp_path: Path, stack: ExitStack) -> Patient:
    return Patient(tmp_path / "state", stack)


def test_degraded_while_the_database_is_locked(patient: Patient):
    with closing(sqlite3.connect(patient.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # Only who wants to write notices.
        assert patient.dream()["outcome"] == "store_error"
        patient.is_degraded("locked")
        patient.refuses("locked")
        other.execute("ROLLBACK")
    patient.recovers()


def test_degraded_while_the_database_is_read_only(tmp_path: Path, stack: ExitStack, mounted: Mounts):
    """The file is a read-only mount, which binds root too."""
    with DaemonProcess(tmp_path / "state"):
        pass
    database = tmp_path / "state" / "dream.sqlite3"
    mounted.bind_read_only(database)
    patient = Patient(tmp_path / "state", stack)
    patient.is_degraded("read-only")
    patient.refuses("read-only")
    mounted.unmount(database)
    patient.recovers()


@pytest.mark.parametrize("when", ["at the start", "while it serves"])
def test_degraded_while_the_disk_is_full(tmp_path: Path, stack: ExitStack, mounted: Mounts, when: str):
    disk = mounted.tmpfs(tmp_path / "disk", "1m")
    if when == "at the start":
        (disk / "state").mkdir(mode=0o700)
        fill(disk)
    patient = Patient(disk / "state", stack)
    if when == "while it serves":
        patient.dream()
        fill(disk)
        while patient.status()["state"] == "ok":  # the log may have a little room of its own
            patient.dream()
    assert "the disk is full" in patient.doctor("database")["FAIL"]
    patient.is_degraded("disk full")
    patient.refuses("disk full")
    (disk / "ballast").unlink()
    patient.recovers()


def test_inbox_folder_gone_is_made_again(patient: Patient):
    patient.dream()
    shutil.rmtree(patient.state / "inbox")
    patient.recovers()


def test_degraded_while_the_inbox_is_read_only(tmp_path: Path, stack: ExitStack, mounted: Mounts):
    """He dreams on; the shards are pending (P5). A client that writes to it directly is refused."""
    inbox = mounted.tmpfs(tmp_path / "inbox", "1m")
    patient = Patient(tmp_path / "state", stack, "--set", f"inbox.dir={inbox}")
    assert patient.dream()["outcome"] == "complete"
    mounted.read_only(inbox)
    patient.is_degraded("InboxUnavailable")  # before anything had to be written
    assert patient.dream()["outcome"] == "complete"
    token = {"scopes": ["memory.inbox.dreams.write"], "exp_ts": 0}
    shards = {"trace_id": "of-another", "shards": [{"index": 0, "timestamp": 0}]}
    request = {"seed": {"goal": "g"}, "result": shards, "cap_token": token}
    with pytest.raises(RemoteError, match="Read-only file system") as refusal:
        patient.watcher.call("inbox.persist", request)
    assert refusal.value.code == Code.UNAVAILABLE
    assert "1 shards are pending" in patient.doctor("inbox")["FAIL"]
    mounted.read_only(inbox, off=True)
    until(lambda: patient.status()["inbox"]["waiting"] == 2, "what was pending is delivered")
    patient.recovers()


def test_degraded_without_descriptors(patient: Patient):
    """No new client can connect, connected ones go on, and the watchdog is fed."""
    patient.dream()
    until(lambda: patient.status()["inbox"]["waiting"] == 1, "its file is written, and closed")
    pid = patient.daemon.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))
    patient.tells("degraded: out of descriptors")
    assert patient.status()["state"] == "degraded: out of descriptors"
    assert patient.dream()["outcome"] == "complete"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(patient.daemon.socket))
    assert patient.status()["state"] == "degraded: out of descriptors"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: patient.status()["inbox"]["waiting"] == 2, "what was pending is delivered")
    patient.recovers()


def test_serves_with_few_descriptors(tmp_path: Path, stack: ExitStack):
    """As many sessions as fit are served. Further connections are refused in order."""
    limited = [
        "prlimit",
        "--nofile=96:96",
        sys.executable,
        "-m",
        "dreamd",
        "--state-dir",
        str(tmp_path / "s"),
    ]
    process = stack.enter_context(subprocess.Popen(limited, stdin=subprocess.DEVNULL))
    stack.callback(process.send_signal, signal.SIGTERM)
    path = tmp_path / "s" / "dreamd.sock"
    until_listened(path)
    watcher = stack.enter_context(DreamClient(socket_path=path, name="dreamctl"))
    assert watcher.start(20)
    with ExitStack() as flood:
        for _ in range(200):
            client = flood.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(path))
        until(
            lambda: watcher.call("status")["failures"].get("server: too many sessions", 0) >= 100, "refused"
        )
        assert len(watcher.call("status")["sessions"]) == 96 - 64
    until(lambda: len(watcher.call("status")["sessions"]) == 1, "the flood is gone")
    with DreamClient(socket_path=path, name="dreamctl") as next_one:
        assert next_one.start(20)
    assert watcher.call("status")["state"] == "ok"


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0], ids=["ahead", "back"])
async def test_survives_a_clock_that_jumps_a_day(tmp_path: Path, jump_s: float):
    """The daemon goes on, no dream is blocked for longer than a cooldown, and no acknowledged file is removed early."""
    from tests.helpers.dreaming import leo, settled

    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, tick_s=0.01, gate__chance=1) as service,
        await leo(service) as peer,
    ):

        async def reply() -> str:
            decision = await peer.call("dream.context", STIRRED)
            await settled(service)
            return decision["reason"]

        assert await reply() == "dream"
        [trace] = [entry["trace_id"] for entry in await peer.call("inbox.list")]
        await peer.call("inbox.ack", trace)
        assert await reply() == "cooldown"
        time.now += jump_s
        first = await reply()
        assert first == ("dream" if jump_s > 0 else "cooldown")
        [last] = await peer.call("why", 1)
        assert last.get("wait_s", 0.0) <= 180.0
        time.pass_s(181.0)
        assert await reply() == "dream"
        time.now -= jump_s
        assert await reply() in ("cooldown", "dream")
        time.pass_s(181.0)
        assert await reply() == "dream"
        time.pass_s(3600.0)
        await service.delivery.tidy()
        assert (await peer.call("status"))["inbox"]["done"] == 1
        assert (await peer.call("status"))["state"] == "ok"


@pytest.fixture
def mounted() -> Iterator[Mounts]:
    with mounts() as made:
        yield made
