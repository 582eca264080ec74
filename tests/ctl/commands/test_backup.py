"""`backup`: the file is whole or missing, even if the database, the disk or the copying process fails."""

import json
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.ctl.machine.database_copy import copy_database
from tests.ctl.conftest import Speaker, contents, names, refused
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, dreamctl_in_child, spawn_dreamctl
from tests.helpers.mounts import fill, mounts
from tests.helpers.ptrace import Call, Kill, needs_ptrace, traced
from tests.helpers.shapes import differences, shape_of
from tests.helpers.terminal import Terminal

PWRITE = "pwrite64"  # so SQLite writes


@pytest.fixture
def large(state: Path) -> Path:
    """Make a database that is larger than one step of the copy."""
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        database.execute("INSERT INTO dream_meta VALUES ('x', zeroblob(3000000))")
        database.commit()
    return state


def test_backs_up_while_the_daemon_writes(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], place: Path
) -> None:
    _, client = leo
    client.dream_now()
    result = dreamctl("--state-dir", daemon.state_dir, "backup", place / "b", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert differences(shape_of("backup"), answer) == []
    content = (place / "b").read_bytes()
    assert answer == {
        "path": str(place / "b"),
        "database": str(daemon.state_dir / "dream.sqlite3"),
        "bytes": len(content),
        "pages": len(content) // 4096,
        "dialogues": len(client.call("dialogs.recent", 100)),
    }
    assert content[18:20] == b"\x01\x01"  # not in WAL mode: this is all of it
    assert os.stat(place / "b").st_mode & 0o777 == 0o600
    assert names(place) == ["b"]
    assert contents(place / "b") == contents(daemon.state_dir / "dream.sqlite3")


def test_without_a_daemon_the_database_is_not_changed(state: Path, place: Path) -> None:
    def bytes_of(folder: Path) -> dict[str, bytes]:
        return {name: (folder / name).read_bytes() for name in names(folder)}

    before = bytes_of(state)
    shown = dreamctl("--state-dir", state, "backup", place / "b")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(
        f"backup     {place / 'b'}\nof         {state / 'dream.sqlite3'}\ndialogues  1\nsize       "
    )
    assert bytes_of(state) == before


def test_copies_the_log_of_a_killed_daemon(tmp_path: Path, place: Path) -> None:
    with DaemonProcess(tmp_path / "state") as daemon:
        with DreamClient(socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.call("dream.seed", {"origin": ["I am small."]})
        daemon.kill()
    assert (tmp_path / "state/dream.sqlite3-wal").stat().st_size > 0
    assert dreamctl("--state-dir", tmp_path / "state", "backup", place / "b").exit_code == 0
    assert any("I am small." in line for line in contents(place / "b"))


def test_copy_is_of_one_moment_while_another_program_writes(large: Path, place: Path) -> None:
    """A write between two steps of the copy does not restart it, and is not in it."""
    (place / "b").touch()
    steps = []
    with closing(sqlite3.connect(large / "dream.sqlite3", isolation_level=None)) as writer:
        writer.execute("INSERT INTO dream_meta VALUES ('before', '1')")

        def write(left: int, of: int) -> None:
            writer.execute("INSERT INTO dream_meta VALUES (?, 'after')", (f"step {left}",))
            steps.append((left, of))

        copy_database(large / "dream.sqlite3", place / "b", write)
    assert len(steps) > 2
    assert [left for left, _ in steps] == sorted({left for left, _ in steps}, reverse=True)
    copied = "\n".join(contents(place / "b"))
    assert "'before'" in copied
    assert "'after'" not in copied


def test_refuses_a_file_that_was_written_to_during_an_unlocked_read(large: Path, place: Path) -> None:
    def write(left: int, _: int) -> None:
        with closing(
            sqlite3.connect(large / "dream.sqlite3")
        ) as writer:  # its end empties the log into the file
            writer.execute("INSERT INTO dream_meta VALUES (?, 'after')", (f"step {left}",))
            writer.commit()

    (place / "b").touch()
    with pytest.raises(click.ClickException, match="written to while it was copied: try again"):
        copy_database(large / "dream.sqlite3", place / "b", write)


def test_existing_file_is_overwritten_only_with_force(state: Path, place: Path) -> None:
    (place / "b").write_text("dear friend")
    refused(dreamctl("--state-dir", state, "backup", place / "b"), "there already", "--force")
    assert (place / "b").read_text() == "dear friend"
    (place / "b").chmod(0o644)
    assert dreamctl("--state-dir", state, "backup", place / "b", "--force").exit_code == 0
    assert contents(place / "b") == contents(state / "dream.sqlite3")
    assert os.stat(place / "b").st_mode & 0o777 == 0o600
    assert names(place) == ["b"]


def test_accepts_the_longest_name_of_the_file_system(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], place: Path
) -> None:
    """The temporary file has a short name, since SQLite adds a suffix for a file of its own."""
    file = place / ("x" * 255)
    for command in (["backup"], ["backup", "--force"], ["friend", "export", "--force"], ["report", "--out"]):
        file.unlink(missing_ok=True) if command[0] == "report" else None
        result = dreamctl("--state-dir", daemon.state_dir, *command, file)
        assert (result.exit_code, result.stderr) == (0, "")
        assert names(place) == [file.name]


def test_never_replaces_what_is_no_regular_file(state: Path, place: Path) -> None:
    os.mkfifo(place / "fifo")
    (place / "link").symlink_to(place / "fifo")
    for command in (
        ["backup", "--force"],
        ["friend", "export", "--force"],
        ["friend", "import"],
        ["report", "--out"],
    ):
        for file in (place / "fifo", place / "link"):
            result = dreamctl("--state-dir", state, *command, file)
            assert (result.exit_code, result.stdout) == (2, "")
            assert f"{file} is no regular file" in result.stderr
    assert stat.S_ISFIFO(os.stat(place / "fifo").st_mode)
    assert names(place) == ["fifo", "link"]


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
def test_never_overwrites_the_database_itself(state: Path, place: Path, part: str) -> None:
    before = contents(state / "dream.sqlite3")
    (place / "link").symlink_to(state / f"dream.sqlite3{part}")
    for file in (state / f"dream.sqlite3{part}", place / "link"):
        result = dreamctl("--state-dir", state, "backup", "--force", file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "is dreamd's own" in result.stderr
    assert contents(state / "dream.sqlite3") == before


def test_with_a_socket_alone_backs_up_the_database_of_its_daemon(daemon: DaemonProcess, place: Path) -> None:
    """The database of the default state folder is not used, since it may be another leo's."""
    for arguments, env in (
        (("--socket", daemon.socket), {}),
        ((), {"DREAMD_SOCKET": str(daemon.socket)}),
    ):
        result = dreamctl(*arguments, "backup", place / "b", "--force", "--json", HOME=str(place), **env)
        assert json.loads(result.stdout)["database"] == str(daemon.state_dir / "dream.sqlite3")
    assert dreamctl("--socket", place / "s", "backup", place / "c").exit_code == 3


def test_reports_an_obstacle_in_one_line(state: Path, place: Path) -> None:
    backup = ("--state-dir", state, "backup")
    refused(dreamctl("--state-dir", place, "backup", place / "b"), "no database at", "--state-dir")
    refused(dreamctl(*backup, place / "no" / "b"), str(place / "no/b"), "No such file")
    refused(dreamctl(*backup, place / ("x" * 256)), "File name too long")
    with closing(sqlite3.connect(state / "dream.sqlite3", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("INSERT INTO dream_meta VALUES ('x', 'y')")
        refused(dreamctl(*backup, place / "b"), str(state / "dream.sqlite3"), "locked by another program")
    assert names(place) == []


@pytest.mark.parametrize("at", [100, 8192])
def test_damaged_database_is_reported_and_leaves_no_backup(state: Path, place: Path, at: int) -> None:
    database = state / "dream.sqlite3"
    content = bytearray(database.read_bytes())
    content[at : at + 4000] = b"\xa5" * 4000
    database.write_bytes(content)
    (place / "b").write_text("an older one")
    refused(
        dreamctl("--state-dir", state, "backup", "--force", place / "b"),
        "damaged",
        f"`dreamctl --state-dir {state} doctor`",
    )
    assert names(place) == ["b"]
    assert (place / "b").read_text() == "an older one"


@pytest.mark.parametrize("tables", [[], ["tokens"], ["dream_dialogs", "tokens"]])
def test_refuses_the_database_of_another_program(tmp_path: Path, place: Path, tables: list[str]) -> None:
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
        for table in tables:
            database.execute(f"CREATE TABLE {table} (id INTEGER)")
        database.commit()
    refused(dreamctl("--state-dir", tmp_path, "backup", place / "b"), "is no database of dreamd's")
    assert names(place) == []


def test_reports_a_full_and_a_read_only_disk(large: Path, tmp_path: Path) -> None:
    with mounts() as made:
        disk = made.tmpfs(tmp_path / "disk", "2m")
        refused(dreamctl("--state-dir", large, "backup", disk / "b"), str(disk / "b"), "disk full")
        assert names(disk) == []
        fill(disk)
        refused(dreamctl("--state-dir", large, "backup", disk / "b"), "disk full")
        made.read_only(disk)
        refused(dreamctl("--state-dir", large, "backup", disk / "b"), "Read-only file system")
        assert names(disk) == ["ballast"]


def at_each_write(
    act: Callable[[Call], type[Kill] | None], times: int
) -> Callable[[Call], type[Kill] | None]:
    """Let `times` writes into the copy be, then `act`, once."""
    seen = 0

    def fault(call: Call) -> type[Kill] | None:
        nonlocal seen
        if call.name != PWRITE or not call.file.endswith(".part"):
            return None
        seen += 1
        return act(call) if seen == times + 1 else None

    return fault


@needs_ptrace
@pytest.mark.parametrize("times", [0, 1, 400])
def test_a_killed_backup_keeps_the_old_file_and_the_next_one_cleans_up(
    large: Path, place: Path, times: int
) -> None:
    file = place / "b [x]*"  # which means something in a pattern
    file.write_text("an older one")
    (place / ".b.other.part").write_text("of another program")
    os.mkfifo(place / ".dreamd-fifo.part")
    before = contents(large / "dream.sqlite3")
    ended = traced(
        dreamctl_in_child("--state-dir", large, "backup", "--force", file),
        at_each_write(lambda _: Kill, times),
    )
    assert ended == -signal.SIGKILL
    assert file.read_text() == "an older one"
    assert len(names(place)) > 3
    assert contents(large / "dream.sqlite3") == before

    assert dreamctl("--state-dir", large, "backup", "--force", file).exit_code == 0
    assert names(place) == [".b.other.part", ".dreamd-fifo.part", file.name]
    assert contents(file) == before


@needs_ptrace
def test_cleanup_spares_the_copy_of_a_running_backup(large: Path, place: Path) -> None:
    results = []

    def meanwhile(_: Call) -> None:
        results.append(dreamctl("--state-dir", large, "backup", "--force", place / "b").exit_code)

    assert (
        traced(
            dreamctl_in_child("--state-dir", large, "backup", "--force", place / "b"),
            at_each_write(meanwhile, 300),
        )
        == 0
    )
    assert results == [0]
    assert names(place) == ["b"]
    assert contents(place / "b") == contents(large / "dream.sqlite3")


@needs_ptrace
def test_backup_is_synced_before_it_is_renamed(large: Path, place: Path) -> None:
    calls = []

    def record(call: Call) -> None:
        if call.name in ("fsync", "rename"):
            calls.append((call.name, Path(call.file).suffix if call.name == "fsync" else ""))

    assert traced(dreamctl_in_child("--state-dir", large, "backup", "--force", place / "b"), record) == 0
    assert calls[-3:] == [("fsync", ".part"), ("rename", ""), ("fsync", "")]


@needs_ptrace
@pytest.mark.parametrize("times", [0, 300])
def test_ctrl_c_leaves_no_file(large: Path, place: Path, times: int) -> None:
    (place / "b").write_text("an older one")

    def interrupt(call: Call) -> None:
        os.kill(call.pid, signal.SIGINT)

    assert (
        traced(
            dreamctl_in_child("--state-dir", large, "backup", "--force", place / "b"),
            at_each_write(interrupt, times),
        )
        == 1
    )
    assert names(place) == ["b"]
    assert (place / "b").read_text() == "an older one"


@pytest.mark.parametrize(
    ("term", "encoding", "bar"),
    [("xterm", "utf-8", True), ("dumb", "utf-8", False), ("xterm", "ascii", False)],
)
def test_shows_a_progress_bar_on_a_terminal(
    large: Path, place: Path, term: str, encoding: str, bar: bool
) -> None:
    words = ["--state-dir", large, "backup", place / "b"]
    with Terminal(
        [sys.executable, "-m", "dreamd.ctl", *words], place, TERM=term, PYTHONIOENCODING=encoding
    ) as terminal:
        assert terminal.end() == 0
    assert ("━" in terminal.seen) is ("100%" in terminal.seen) is bar
    assert "dialogues  1" in terminal.seen


def test_shows_no_progress_bar_in_a_pipe(large: Path, place: Path) -> None:
    process = spawn_dreamctl("--state-dir", large, "backup", place / "b", cwd=place)
    out, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")
    assert out.startswith("backup     ")
