"""The doctor on real machines: it names each fault, its advice cures it, and it changes nothing."""

import json
import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dreamclient import DreamClient

from dreamd.app import embed
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.dreaming import ORIGIN, STIRRED
from tests.helpers.peer import saying
from tests.helpers.waiting import until

SECTIONS = [
    "socket", "daemon", "versions", "service", "database", "settings", "inbox", "leo", "friend", "gates", "host",
]  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def daemon(state: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(state, "--set", "gate.cooldown_s=0") as running:
        yield running


class Told:
    """The findings of a run of the doctor."""

    def __init__(self, state: Path, *options: str, **env: str) -> None:
        ran = dreamctl("--state-dir", state, "doctor", "--json", *options, **env)
        self.exit_code = ran.exit_code
        self.whole = json.loads(ran.stdout)
        self.findings = self.whole["findings"]

    def worst(self, section: str) -> str:
        """Return level, text and advice of the worst finding of a section."""
        of_section = [one for one in self.findings if one["section"] == section]
        one = min(of_section, key=lambda one: ["FAIL", "WARN", "OK"].index(one["level"]))
        return f"{one['level']} {one['text']} -> {one['advice']}"


def test_finds_nothing_wrong_with_an_embedded_daemon(state):
    with closing(embed(state)):
        told, stopped = Told(state), dreamctl("--state-dir", state, "service", "stop")
        where = dreamctl("--state-dir", state, "service", "status")
        asked, started = (
            dreamctl("--state-dir", state, "status"),
            dreamctl("--state-dir", state, "service", "start"),
        )
    assert told.worst("socket").startswith("OK none at ")
    assert told.worst("daemon").startswith(f"OK embedded in pid {os.getpid()}, which alone can ask it -> ")
    assert f"`kill {os.getpid()}` (that ends the host in which it is embedded)" in stopped.stderr
    assert f"runs, embedded in pid {os.getpid()}, without a socket" in where.stdout
    assert f"The daemon is embedded in pid {os.getpid()}, which alone can ask it." in asked.stderr
    assert f"end its host (`kill {os.getpid()}`)" in started.stderr
    assert Told(state).worst("daemon").startswith("FAIL does not run -> ")


def test_an_embedded_daemon_has_no_part_in_other_sockets(tmp_path):
    state = tmp_path / "dreamd"
    with closing(embed(state)), closing(socket.socket(socket.AF_UNIX)) as deaf:
        elsewhere = dreamctl("--socket", tmp_path / "other.sock", "status", XDG_STATE_HOME=str(tmp_path))
        deaf.bind(str(state / "dreamd.sock"))
        deaf.listen()
        told = Told(state)
    assert "embedded in pid" not in elsewhere.stderr
    assert "Start one with " in elsewhere.stderr
    assert "is no dreamd that answers" in told.worst("socket")


def test_finds_nothing_wrong_with_a_healthy_daemon(daemon, state):
    with DreamClient(saying, lambda _: None, socket_path=daemon.socket, **ORIGIN) as leo:
        assert leo.start(20)
        leo.dream_now(STIRRED)
        told = Told(state, "--strict")
    assert (told.exit_code, told.whole["verdict"]) == (0, "OK")
    assert list(dict.fromkeys(one["section"] for one in told.findings)) == SECTIONS
    assert told.whole["counts"] == {"OK": len(told.findings)}
    assert set(told.findings[0]) == {"section", "level", "text", "advice"}
    assert told.worst("leo").startswith(
        f"OK leo (pid {os.getpid()}) is connected, provides generate, observe"
    )
    assert told.worst("friend") == "OK 3 origin fragments of 4 -> "
    assert "quick_check ok" in told.worst("database")


def test_reports_a_missing_daemon_and_database(state):
    told = Told(state)
    assert told.exit_code == 1
    assert told.worst("daemon") == f"FAIL does not run -> `dreamctl --state-dir {state} service start`"
    assert told.worst("socket") == f"OK none at {state / 'dreamd.sock'}, as no daemon runs -> "
    assert not state.exists()


def test_names_the_time_type_and_place_of_a_mute_leo(daemon, state):
    """leo's own dream.py failed like this. One dialogue is enough to see it."""

    def generate(seed: str, temperature: float, semantic_weight: float) -> str:
        raise TypeError("generate_reply() got an unexpected keyword argument")

    with DreamClient(generate, lambda _: None, socket_path=daemon.socket, **ORIGIN) as leo:
        assert leo.start(20)
        leo.dream_now(STIRRED)
        told = Told(state)
        assert told.exit_code == 1
        assert told.worst("leo").startswith(
            "FAIL mute: 1 dialogue ran, 0 spoke: generate raised TypeError at test_doctor.py:"
        )
        for _ in range(6):
            leo.dream_now(STIRRED)
        assert "mute: 7 dialogues ran, 0 spoke: generate raised TypeError at" in Told(state).worst("leo")
        assert "1 × generate raised" not in told.worst("host")
    daemon.stop()
    dead = Told(state).worst("leo")
    assert dead.startswith("FAIL mute: 7 dialogues ran, 0 spoke: generate raised TypeError; since ")
    assert f"`dreamctl --state-dir {state} dream` tries at once" in dead


def test_leo_is_not_mute_after_he_spoke_and_an_interrupted_dialogue_is_reported(daemon, state):
    answers = ["", "", "the sea is quiet", "the sea is quiet"]  # two candidates a line

    def observe(_: str) -> None:
        raise ValueError

    with DreamClient(lambda *_: answers.pop(0), observe, socket_path=daemon.socket, **ORIGIN) as leo:
        assert leo.start(20)
        leo.dream_now(STIRRED)
        assert "1 dialogue ran, 0 spoke: his lines came back empty" in Told(state).worst("leo")
        leo.dream_now(STIRRED)
        assert (
            Told(state).worst("leo").startswith("WARN his last dialogue was cut short by observe: ValueError")
        )


def test_warns_of_a_client_without_hooks(daemon, state):
    with DreamClient(socket_path=daemon.socket, name="half") as half:
        assert half.start(20)
        assert (
            Told(state)
            .worst("leo")
            .startswith(
                f"FAIL half (pid {os.getpid()}) is connected, and provides no generate and no observe"
            )
        )


def test_warns_of_a_missing_hook_beside_a_complete_leo(daemon, state):
    with DreamClient(saying, socket_path=daemon.socket, name="half") as half:
        assert half.start(20)
        lacks = f"half (pid {os.getpid()}) is connected, and provides no observe"
        assert Told(state).worst("leo").startswith(f"FAIL {lacks}")
        with (
            DreamClient(saying, lambda _: None, socket_path=daemon.socket) as leo,
            DreamClient(socket_path=daemon.socket, name="looks") as looks,
        ):
            assert leo.start(20)
            assert looks.start(20)
            told = Told(state)
            assert told.worst("leo").startswith(f"WARN {lacks}")
            assert "looks" not in str(told.findings)


@pytest.mark.parametrize(
    ("measures", "level", "text"),
    [
        ({"trauma_level": 0.1}, "WARN", "shut at each of the last 12 replies: trauma 0.10"),
        ({}, "WARN", "shut at each of the last 12 replies: no measures were given"),
        ({"trauma_level": 0.9}, "WARN", "open at each of the last 12 replies: trauma 0.90"),
        (None, "OK", "open at 6 of the last 12 replies"),
    ],
)
def test_proposes_thresholds_for_gates_that_never_change(state, measures, level, text):
    with DaemonProcess(state, "--set", "gate.chance=1e-9") as daemon, DreamClient(
        saying, lambda _: None, socket_path=daemon.socket
    ) as leo:  # fmt: skip
        assert leo.start(20)
        for number in range(11):
            chosen = {"trauma_level": number % 2} if measures is None else measures
            leo.call("dream.context", {"prompt": "", "reply": ""} | chosen)
        assert "too few to judge" in Told(state).worst("gates")
        leo.call(
            "dream.context",
            {"prompt": "", "reply": ""} | ({"trauma_level": 1} if measures is None else measures),
        )
        assert Told(state).worst("gates").startswith(f"{level} {text} -> ")


@pytest.mark.parametrize(
    ("setting", "says"),
    [("enabled=false", "gate.enabled is false"), ("chance=0", "gate.chance is 0, he never dreams")],
)
def test_reports_gates_that_are_off(state, setting, says):
    with DaemonProcess(state, "--set", f"gate.{setting}") as daemon:
        with DreamClient(saying, lambda _: None, socket_path=daemon.socket) as leo:
            assert leo.start(20)
            leo.call("dream.context", STIRRED)
            found = Told(state).worst("gates")
            assert found.startswith(f"WARN shut: {says} -> `dreamctl ")
            assert "config set gate." in found


def test_wrong_calls_are_no_failure_of_the_daemon(daemon, state):
    for asked in (["replay", 99], ["call", "nope"], ["friend", "checkpoint", "../x"], ["dream"]):
        assert dreamctl("--state-dir", state, *asked).exit_code == 4
    status = daemon.call("status")
    assert (len(status["refusals"]), status["failures"]) == (4, {})
    assert Told(state).worst("daemon").startswith("OK well")


def test_reports_the_failures_of_hosts(daemon, state):
    leo = DreamClient(saying, lambda _: None, socket_path=daemon.socket)
    leo.offer(STIRRED)  # before it was started
    leo.count("own kind of thing")
    with leo:
        assert leo.start(20)
        told = Told(state, "--strict")
    texts = {one["text"] for one in told.findings if one["section"] == "host"}
    assert texts == {"1 × a reply that reached no daemon", "1 × other"}
    assert (told.exit_code, told.whole["verdict"]) == (1, "WARN")
    assert Told(state).exit_code == 0


def test_reports_a_stopped_daemon(daemon, state):
    os.kill(daemon.process.pid, 19)  # SIGSTOP; the helper lets it go on at the end
    found = Told(state).worst("daemon")
    assert found == (
        f"FAIL pid {daemon.process.pid} holds {state}, and is stopped (SIGSTOP) -> "
        f"let it go on: `kill -CONT {daemon.process.pid}`"
    )


def test_reports_a_daemon_that_listens_elsewhere(state, tmp_path):
    elsewhere = DaemonProcess(state, "--socket", str(tmp_path / "s"))
    elsewhere.socket = tmp_path / "s"
    with elsewhere:
        there = f"and a daemon (pid {elsewhere.process.pid}) has the state folder"
        assert there in Told(state).worst("socket")
        other = dreamctl("--state-dir", tmp_path / "other", "--socket", tmp_path / "s", "doctor", "--json")
        assert f"serves {state}, not {tmp_path / 'other'}" in other.stdout


def snapshot(folder: Path) -> dict[Path, tuple[int | bytes, ...]]:
    """Return bytes, inode, mode and time of all files, folders and the socket: a rename, a chmod, a touch and a file
    that came and went all show."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path] = (content, about.st_ino, about.st_mode, about.st_mtime_ns)
    return found


@pytest.mark.parametrize("end", ["stop", "kill", "none"])
def test_looking_changes_nothing(daemon, state, end):
    """The doctor changes no byte of the database, its log and its lock file, and leaves no file beside them."""
    with DreamClient(saying, lambda _: None, socket_path=daemon.socket, **ORIGIN) as leo:
        assert leo.start(20)
        leo.dream_now(STIRRED)
    if end != "none":
        getattr(daemon, end)()
    before = snapshot(state.parent)
    told = Told(state, HOME=str(state.parent), XDG_CONFIG_HOME=str(state.parent / "config"))
    assert snapshot(state.parent) == before
    assert told.worst("friend") == "OK 3 origin fragments of 4 -> "
    assert ("FAIL" if end != "none" else "OK") in told.worst("daemon")


def damage(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)


def test_advice_cures_a_damaged_database(state):
    with DaemonProcess(state):
        pass
    damage(state / "dream.sqlite3")
    found = Told(state).worst("database")
    assert found.startswith(f"FAIL {state / 'dream.sqlite3'} is damaged: ")
    assert "a fresh one is begun" in found
    with DaemonProcess(state):
        until(lambda: Told(state).exit_code == 0, "a fresh one was begun")
        (aside,) = state.glob("dream.sqlite3.damaged-*")
        assert f"note the database was damaged: it is kept as {aside.name}" in " ".join(
            dreamctl("--state-dir", state, "status").stdout.split()
        )
    found = Told(state).worst("database")
    assert found.startswith(f"WARN {aside}: damaged, set aside, and a new one was begun -> ")
    assert found.endswith(f"`rm {aside}`")
    aside.unlink()
    assert Told(state).worst("database").startswith("OK ")


def test_reports_foreign_and_newer_databases(state):
    state.mkdir(mode=0o700)
    database = state / "dream.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE dream_meta (key TEXT PRIMARY KEY, value TEXT)")
        assert "is of version 0; the next start migrates" in Told(state).worst("database")
        connection.execute("PRAGMA user_version = 99")
        assert "FAIL" in Told(state).worst("database")
        assert "is of version 99" in Told(state).worst("database")
        connection.execute("CREATE TABLE tokens (id INTEGER)")
        assert "holds tables of others (tokens)" in Told(state).worst("database")
    database.write_text("a letter, and no database at all" * 99)
    assert "is damaged: SQLITE_NOTADB" in Told(state).worst("database")
    database.unlink()
    database.mkdir()
    assert Told(state).worst("database") == (
        f"FAIL {database} is no file, but a folder or the like -> move it away: `mv -n {database} {database}.aside`"
    )


def test_reports_and_cures_a_disordered_inbox(daemon, state):
    inbox = state / "inbox" / "dreams"
    with DreamClient(saying, lambda _: None, socket_path=daemon.socket) as leo:
        assert leo.start(20)
        leo.dream_now(STIRRED)
        (inbox / "x.json.corrupt-1").write_text("{")
        assert "WARN 1 damaged files were set aside" in Told(state).worst("inbox")
        inbox.rename(state / "aside")
        inbox.write_text("in the way")
        leo.dream_now(STIRRED)
        found = Told(state).worst("inbox")
        assert "FAIL" in found
        assert "1 shards are pending" in found
        assert (
            f"-> move it away: `mv -n {inbox} {inbox}.aside`. Pending shards are then written automatically"
            in found
        )
        (state / "inbox").rename(state / "aside-too")
        (state / "inbox").symlink_to("aside-too/dreams")
        (state / "inbox.aside").touch()
        (state / "inbox.aside-2").touch()
        found = Told(state).worst("inbox")
        assert f"-> move it away: `mv -n {state}/inbox {state}/inbox.aside-3`. Pending" in found
        (state / "inbox").unlink()
        (state / "aside-too").rename(state / "inbox")
    daemon.stop()
    inbox.unlink()
    texts = [one["text"] for one in Told(state).findings if one["section"] == "inbox"]
    assert "1 shards are pending; the next start writes them" in texts
    assert Told(state, DREAMD_INBOX__ENABLED="false").worst("inbox") == "OK disabled (inbox.enabled) -> "
    assert "FAIL DREAMD_INBOX__ENABLD: there is no" in Told(state, DREAMD_INBOX__ENABLD="x").worst("settings")


@pytest.mark.parametrize("place", ["/dev/null", "fifo"])
def test_does_not_advise_to_move_what_another_user_owns(tmp_path, place):
    os.mkfifo(tmp_path / "fifo")
    told = dreamctl("--socket", tmp_path / place, "--state-dir", tmp_path / place, "doctor", "--json")
    findings = {one["section"]: one for one in json.loads(told.stdout)["findings"] if one["level"] == "FAIL"}
    assert findings["socket"]["advice"] == "name another with --socket, then start dreamd"
    assert findings["database"]["advice"] == "name another with --state-dir"
    assert "mv -n" not in told.stdout


def test_reports_a_state_folder_that_is_a_file(state):
    state.write_text("")
    assert (
        Told(state).worst("database")
        == f"FAIL {state} is no folder -> move it away: `mv -n {state} {state}.aside`"
    )


def test_reports_an_impossible_state_folder(tmp_path):
    state = tmp_path / ("x" * 300)
    texts = [one["text"] for one in Told(state).findings if one["section"] == "database"]
    assert f"{state}: File name too long" in texts
    assert f"{state / 'dream.sqlite3'} cannot be looked at: File name too long" in texts


def test_findings_as_text(daemon, state):
    wide = dreamctl("--state-dir", state, "doctor")
    assert wide.exit_code == 0
    lines = wide.stdout.splitlines()
    assert lines[0].startswith(f"OK    socket    {state / 'dreamd.sock'}")
    assert lines[-1].endswith(" OK")
    assert "WARN  leo       none is connected" in lines
    assert any(line.startswith("                → start leo.") for line in lines)
    assert "\x1b[" not in wide.stdout


def test_survives_a_crash_of_the_database_reader(state, monkeypatch):
    from dreamd.ctl.commands.doctor import database

    def killed(*_: object, **__: object) -> object:
        return subprocess.CompletedProcess([], -9, "", "")

    def slow(*_: object, **__: object) -> object:
        raise subprocess.TimeoutExpired([], 60)

    monkeypatch.setattr(database.subprocess, "run", killed)
    assert "the process that read it ended with -9" in database.look_at_database(state).error
    monkeypatch.setattr(database.subprocess, "run", slow)
    assert "not read within 60 s" in database.look_at_database(state).error
