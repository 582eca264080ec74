"""`restore`: the backup is in place and the old database beside it, even if a process fails on the way."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.app import embed
from dreamd.ctl.daemon.background import START_S
from dreamd.process.state_folder import state_lock
from dreamd.store.schema import MIGRATIONS
from tests.ctl.conftest import contents, names, refused
from tests.helpers import leo_database
from tests.helpers.daemons.process import DEADLINE_S, DaemonProcess
from tests.helpers.dreamctl import dreamctl, dreamctl_in_child, spawn_dreamctl
from tests.helpers.ptrace import Call, Kill, needs_ptrace, traced
from tests.helpers.shapes import differences, shape_of

# What the file system is asked for: beside the names that tests/helpers/ptrace.py knows, fdatasync and link.
CHANGES = {
    "rename",
    "unlink",
    "fsync",
    "flock",
    "write",
    "pwrite64",
    "call 75",
    "call 86",
    "linkat",
    "unlinkat",
}

NAMES = {
    "rename": "renamed",
    "call 86": "linked",
    "linkat": "linked",
    "unlink": "removed",
    "unlinkat": "removed",
}


class Result(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def backup(state: Path, place: Path) -> Path:
    """A backup of `state`, which has gone on since."""
    file = place / "b"
    assert dreamctl("--state-dir", state, "backup", file).exit_code == 0
    change(state / "dream.sqlite3")
    return file


def change(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO dream_meta VALUES ('since', 'the backup')")


def has_changed(database: Path) -> bool:
    """Return whether it is the database that was written to after the backup. A daemon writes other keys."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT 1 FROM dream_meta WHERE key = 'since'").fetchone() is not None


def spawned(place: Path, *words: object) -> Result:
    """Run `dreamctl restore` in a process of its own, as the daemon that it starts must outlive it."""
    ran = spawn_dreamctl(*words, cwd=place, HOME=str(place))
    out, err = ran.communicate(timeout=START_S + DEADLINE_S)
    return Result(ran.returncode, out, err)


def kept_in(state: Path) -> list[Path]:
    return sorted(state.glob("dream.sqlite3.before-restore-*Z"))


def test_restores_a_backup_and_then_the_database_that_it_replaced(state: Path, backup: Path) -> None:
    database = state / "dream.sqlite3"
    before, wanted = contents(database), contents(backup)
    assert before != wanted
    result = dreamctl("--state-dir", state, "restore", backup, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert differences(shape_of("restore"), answer) == []
    (kept,) = kept_in(state)
    assert answer == {
        "path": str(backup), "database": str(database), "kept": str(kept), "done": [],
        "bytes": database.stat().st_size, "pages": database.stat().st_size // 4096, "dialogues": 1,
    }  # fmt: skip
    assert (contents(database), contents(kept), contents(backup)) == (wanted, before, wanted)
    assert [file.stat().st_mode & 0o777 for file in (database, kept)] == [0o600, 0o600]
    assert names(state) == sorted(["dream.sqlite3", "dreamd.lock", kept.name])

    shown = dreamctl("--state-dir", state, "restore", kept)
    assert shown.exit_code == 0
    assert f"restored   {kept}\nas         {database}\ndialogues  1\nsize       " in shown.stdout
    assert contents(database) == before
    with DaemonProcess(state) as daemon:
        assert len(daemon.call("status")["dialogues"]) == 1


def test_stops_a_plain_daemon_and_starts_it_again(state: Path, backup: Path) -> None:
    with DaemonProcess(state) as daemon:
        result = spawned(state.parent, "--state-dir", state, "restore", backup, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        assert daemon.wait() == 0
        pid = daemon.call("status")["pid"]
        assert json.loads(result.stdout)["done"] == [
            "the daemon has stopped",
            f"started a process of its own (pid {pid})",
        ]
        assert not has_changed(state / "dream.sqlite3")
        daemon.call("shutdown")


def test_keeps_the_old_log_and_does_not_apply_it_to_the_backup(tmp_path: Path, place: Path) -> None:
    """The log of a daemon that was killed holds what its database lacks."""
    state = tmp_path / "state"
    with DaemonProcess(state) as daemon:
        assert dreamctl("--state-dir", state, "backup", place / "b").exit_code == 0
        with DreamClient(socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.call("dream.seed", {"origin": ["I am small."]})
        daemon.kill()
    assert (state / "dream.sqlite3-wal").stat().st_size > 0
    assert dreamctl("--state-dir", state, "restore", place / "b").exit_code == 0
    (kept,) = kept_in(state)
    assert names(state) == ["dream.sqlite3", kept.name, "dreamd.lock", "dreamd.sock", "inbox"]
    assert any("I am small." in line for line in contents(kept))
    assert not any("I am small." in line for line in contents(state / "dream.sqlite3"))


def test_replaces_a_damaged_database_and_keeps_its_files(state: Path, backup: Path) -> None:
    (state / "dream.sqlite3").write_bytes(b"no database, but leo's")
    for part in ("-wal", "-shm", "-journal"):
        (state / f"dream.sqlite3{part}").write_text(part)
    assert dreamctl("--state-dir", state, "restore", backup).exit_code == 0
    (kept,) = kept_in(state)
    assert kept.read_bytes() == b"no database, but leo's"
    assert [(kept.with_name(kept.name + part)).read_text() for part in ("-wal", "-shm", "-journal")] == [
        "-wal", "-shm", "-journal",
    ]  # fmt: skip
    assert contents(state / "dream.sqlite3") == contents(backup)
    assert not [name for name in names(state) if name in ("dream.sqlite3-wal", "dream.sqlite3-journal")]


@pytest.mark.parametrize("left", ["", "-wal"])
def test_restores_without_an_earlier_database(tmp_path: Path, backup: Path, left: str) -> None:
    new = tmp_path / "new" / "state"
    if left:  # its database is gone
        new.mkdir(parents=True)
        (new / f"dream.sqlite3{left}").write_text("a log")
    result = dreamctl("--state-dir", new, "restore", backup)
    assert (result.exit_code, result.stderr) == (0, "")
    (kept,) = new.glob("*before-restore*") if left else ["nothing: there was no database"]
    assert f"\nkept       {kept}\n" in result.stdout
    assert contents(new / "dream.sqlite3") == contents(backup)
    assert not (new / "dream.sqlite3-wal").exists()
    assert [file.read_text() for file in new.glob("*before-restore*")] == ["a log"] * bool(left)


def newer(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    return "upgrade dreamd"


def cut_short(file: Path) -> str:
    os.truncate(file, file.stat().st_size - 8192)
    return "damaged"


def overwritten(file: Path) -> str:
    with file.open("r+b") as raw:
        raw.seek(8192)
        raw.write(b"\xa5" * 4000)
    return "damaged"


def without_a_column(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE dream_bootstrap_fragments DROP COLUMN added_at")
    return "nothing was restored"


def without_a_table(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE dream_turns")
    return "is no dream database: tables are missing"


def text(file: Path) -> str:
    file.write_text("dear friend")
    return "no database"


def empty(file: Path) -> str:
    file.write_bytes(b"")
    return "is no dream database"


def leos_field(file: Path) -> str:
    shutil.copy(leo_database.FIELD, file)
    return "tables of others"


@pytest.mark.parametrize(
    "spoil", [newer, cut_short, overwritten, without_a_column, without_a_table, text, empty, leos_field]
)
def test_refuses_a_bad_file_before_it_stops_the_daemon(
    state: Path, backup: Path, spoil: Callable[[Path], str]
) -> None:
    words = spoil(backup)
    content = backup.read_bytes()
    with DaemonProcess(state) as daemon:
        pid = daemon.call("status")["pid"]
        refused(dreamctl("--state-dir", state, "restore", backup), str(backup), words)
        assert daemon.call("status")["pid"] == pid
    assert has_changed(state / "dream.sqlite3")
    assert backup.read_bytes() == content
    assert kept_in(state) == list(state.glob(".dreamd*")) == []


def test_refuses_the_database_in_use(state: Path, place: Path) -> None:
    database = state / "dream.sqlite3"
    (place / "link").symlink_to(database)
    os.link(database, place / "hard")
    before = database.read_bytes()
    for file in (database, place / "link", place / "hard"):
        result = dreamctl("--state-dir", state, "restore", file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "is the database in use" in result.stderr
    os.mkfifo(place / "fifo")
    for file in (place / "fifo", place / "absent", place):
        assert dreamctl("--state-dir", state, "restore", file).exit_code == 2
    assert database.read_bytes() == before
    assert names(state) == ["dream.sqlite3"]


def test_does_not_replace_the_database_of_another_program(state: Path, backup: Path) -> None:
    shutil.copy(leo_database.FIELD, state / "dream.sqlite3")
    refused(dreamctl("--state-dir", state, "restore", backup), "tables of others", "move it away")
    assert (state / "dream.sqlite3").read_bytes() == leo_database.FIELD.read_bytes()
    (state / "dream.sqlite3").unlink()
    (state / "dream.sqlite3").mkdir()
    refused(dreamctl("--state-dir", state, "restore", backup), "is no file; move it away")
    assert kept_in(state) == []


def test_reports_a_lock_of_another_program_and_restarts_the_daemon(state: Path, backup: Path) -> None:
    """Litestream keeps a reader open like this."""
    with DaemonProcess(state) as daemon:
        with closing(sqlite3.connect(state / "dream.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM dream_meta").fetchone()
            refused(
                spawned(state.parent, "--state-dir", state, "restore", backup), "locked by another program"
            )
        assert has_changed(state / "dream.sqlite3")
        assert daemon.call("status")["state"] == "ok"
        daemon.call("shutdown")
    assert kept_in(state) == []


def test_names_the_process_that_holds_the_folder_and_cannot_be_stopped(
    tmp_path: Path, state: Path, backup: Path
) -> None:
    with closing(embed(state)):  # it does not listen
        refused(dreamctl("--state-dir", state, "restore", backup), f"(pid {os.getpid()})", "embedded", "kill")
    elsewhere = DaemonProcess(state, "--socket", str(tmp_path / "s"))
    elsewhere.socket = tmp_path / "s"
    with elsewhere as daemon:
        refused(dreamctl("--state-dir", state, "restore", backup), "does not listen at")
        assert daemon.call("status")["state"] == "ok"
    with state_lock(state):
        refused(dreamctl("--state-dir", state, "restore", backup), f"(pid {os.getpid()})")
    assert has_changed(state / "dream.sqlite3")


def test_with_a_socket_alone_restores_the_database_of_its_daemon(
    tmp_path: Path, state: Path, backup: Path
) -> None:
    with DaemonProcess(state) as daemon:
        result = spawned(tmp_path, "--socket", daemon.socket, "restore", backup, "--json")
        assert json.loads(result.stdout)["database"] == str(state / "dream.sqlite3")
        daemon.call("shutdown")
    assert dreamctl("--socket", tmp_path / "s", "restore", backup).exit_code == 3


@pytest.fixture
def with_log(state: Path, backup: Path) -> Path:
    """A state folder, as a daemon leaves it that was killed: part of the dreams is in the log alone."""
    with closing(sqlite3.connect(state / "dream.sqlite3")) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO dream_meta VALUES ('in the', 'log alone')")
        connection.commit()
        whole = state.parent / "whole"
        whole.mkdir()
        for part in ("", "-wal", "-shm"):
            shutil.copy(state / f"dream.sqlite3{part}", whole)
    return whole


@needs_ptrace
def test_syncs_the_new_database_and_the_names_of_both(with_log: Path, backup: Path) -> None:
    """The copy is on disk, and the old database under its new name, before the copy takes its place."""
    seen: list[str] = []

    def see(call: Call) -> None:
        if call.name == "fsync":
            seen.append("folder synced" if call.file == str(with_log) else "file synced")
        elif call.name in NAMES:
            seen.append(NAMES[call.name])

    assert traced(dreamctl_in_child("--state-dir", with_log, "restore", backup), see) == 0
    last = [what for what in seen if what != "removed"][-5:]
    assert last == ["linked", "folder synced", "file synced", "renamed", "folder synced"]


@needs_ptrace
@pytest.mark.parametrize("damaged", [False, True])
def test_a_kill_at_any_call_loses_no_database(
    tmp_path: Path, with_log: Path, backup: Path, damaged: bool
) -> None:
    """At each call that changes a file, the old database is whole and in place, or the new one is, and the old is
    kept."""
    content = backup.read_bytes()
    if damaged:
        (with_log / "dream.sqlite3").write_bytes(b"no database, but leo's")
    old = {file.name: file.read_bytes() for file in with_log.iterdir()}
    moment, ended, seen = 0, -signal.SIGKILL, set()
    while ended == -signal.SIGKILL:
        state = tmp_path / f"killed-{moment}"
        shutil.copytree(with_log, state)
        count = 0

        def fault(call: Call, moment: int = moment) -> type[Kill] | None:
            nonlocal count
            count += call.name in CHANGES
            return Kill if count == moment + 1 and call.name in CHANGES else None

        ended = traced(dreamctl_in_child("--state-dir", state, "restore", backup), fault)
        assert backup.read_bytes() == content
        seen.add(found := look_after(state, old, damaged))
        assert ended == -signal.SIGKILL or found == "new"
        shutil.rmtree(state)
        moment += 1
    assert ended == 0
    assert moment > 10
    assert seen == {"old", "new"}


def look_after(state: Path, old: dict[str, bytes], damaged: bool) -> str:
    """Return which of the two is in place, and check that the old one is kept somewhere."""
    database = state / "dream.sqlite3"
    places = [database, *kept_in(state)]
    if damaged:
        assert old["dream.sqlite3"] in [place.read_bytes() for place in places]
        assert old["dream.sqlite3-wal"] in [file.read_bytes() for file in state.glob("*-wal")]
        return "old" if database.read_bytes() == old["dream.sqlite3"] else "new"
    for place in places:  # each is whole, with what was in the log alone
        with closing(sqlite3.connect(place)) as connection:
            found = connection.execute("SELECT count(*) FROM dream_meta WHERE key IN ('since', 'in the')")
            assert found.fetchone() == (2 if has_changed(place) else 0,)
    assert any(map(has_changed, places))
    return "old" if has_changed(database) else "new"


@needs_ptrace
@pytest.mark.parametrize("name", ["call 86", "rename"])
def test_p8_no_daemon_starts_during_the_restore(state: Path, backup: Path, name: str) -> None:
    """systemd would start it like this when leo connects."""
    exits = []

    def start(call: Call) -> None:
        if call.name == name and not exits:
            daemon = [sys.executable, "-m", "dreamd", "--state-dir", str(state)]
            exits.append(subprocess.run(daemon, stderr=subprocess.DEVNULL, timeout=DEADLINE_S, check=False))

    assert traced(dreamctl_in_child("--state-dir", state, "restore", backup), start) == 0
    assert [ended.returncode for ended in exits] == [3]
    assert contents(state / "dream.sqlite3") == contents(backup)


def test_restores_the_tables_of_litestream_too(state: Path, place: Path) -> None:
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        database.execute("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
        database.execute("CREATE TABLE _litestream_lock (id INTEGER)")
        database.execute("INSERT INTO _litestream_seq VALUES (1, 5)")
        database.commit()
    assert dreamctl("--state-dir", state, "backup", place / "b").exit_code == 0
    change(state / "dream.sqlite3")
    assert dreamctl("--state-dir", state, "restore", place / "b").exit_code == 0
    assert contents(state / "dream.sqlite3") == contents(place / "b")
    assert any("_litestream_seq" in line and "(1,5)" in line for line in contents(place / "b"))
    with DaemonProcess(state) as daemon:
        assert daemon.call("status")["state"] == "ok"
