"""A database that is removed, replaced or damaged while a daemon serves it: the daemon ends with an exit code of its
own, says why to clients, to `doctor` and on standard error, and the next start serves what is there then."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from dreamclient import DreamClient

from dreamd.process.exit_codes import ExitCode
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.dreaming import ORIGIN, STIRRED
from tests.helpers.peer import saying
from tests.helpers.waiting import until

OFTEN = {"WATCHDOG_USEC": "200000"}  # ten ticks a second
SELDOM = {"WATCHDOG_USEC": "20000000"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(scope="module")
def one_dream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backup of a daemon with one dialogue."""
    folder = tmp_path_factory.mktemp("one")
    with DaemonProcess(folder / "state") as daemon, leo(daemon) as dreaming:
        assert dreaming.dream_now(STIRRED)["outcome"] == "complete"
        assert dreamctl("--state-dir", folder / "state", "backup", folder / "backup").exit_code == 0
    return folder / "backup"


@pytest.fixture
def backup(one_dream: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(one_dream, tmp_path / "backup"))


def leo(daemon: DaemonProcess, generate: Callable[..., str] = saying) -> DreamClient:
    client = DreamClient(generate, lambda _: None, socket_path=daemon.socket, **ORIGIN)
    assert client.start(20)
    return client


def doctor(state: Path) -> str:
    ran = dreamctl("--state-dir", state, "doctor", "--json")
    return " ".join(
        f"{one['text']} -> {one['advice']}"
        for one in json.loads(ran.stdout)["findings"]
        if one["level"] == "FAIL"
    )


def remove(state: Path, _: Path) -> str:
    (state / "dream.sqlite3").unlink()
    return "database deleted"


def replace(state: Path, backup: Path) -> str:
    os.replace(backup, state / "dream.sqlite3")
    return "database replaced"


def copy_over(state: Path, backup: Path) -> str:
    shutil.copyfile(backup, state / "dream.sqlite3")
    return "database replaced"


def remove_log(state: Path, _: Path) -> str:
    (state / "dream.sqlite3-wal").unlink()
    (state / "dream.sqlite3-shm").unlink()
    return "database log lost"


def put_a_folder(state: Path, _: Path) -> str:
    (state / "dream.sqlite3").rename(state / "away")
    (state / "dream.sqlite3").mkdir()
    return "database replaced"


@pytest.mark.parametrize(
    ("lose", "often"),
    [(remove, True), (replace, True), (copy_over, True), (remove_log, True), (remove_log, False)],
    ids=["removed", "replaced", "copied over", "log removed", "noticed before a write"],
)
def test_daemon_ends_and_reports_why(state: Path, backup: Path, lose: Callable[..., str], often: bool):
    with DaemonProcess(state, env=OFTEN if often else SELDOM) as daemon, leo(daemon) as dreaming:
        assert dreaming.dream_now(STIRRED)["outcome"] == "complete"
        if often:  # else a checkpoint may write its pages over those that were copied, and hide what happened
            until(lambda: dreaming.call("inbox.list"), "the file of the dialogue")
            until(lambda: not dreaming.call("status")["database"]["wal_bytes"], "its log is brought in")
        trouble = lose(state, backup)
        if not often:
            assert dreaming.dream_now(STIRRED)["outcome"] == "store_error"
        assert daemon.wait() == ExitCode.LOST
        line = daemon.said().splitlines()[-1]  # on a busy machine the database may also have been late
        assert line.startswith(f"dreamd: {trouble} ({state / 'dream.sqlite3'})")
        until(lambda: trouble in dreaming.trouble, "the client says why")
        told = doctor(state)
        assert f"the last one ended by itself: {trouble}" in told
        gone = f"{state / 'dream.sqlite3'} is gone -> `dreamctl --state-dir {state} restore FILE` puts a backup in its"
        assert (gone in told) == (trouble == "database deleted")
        with DaemonProcess(state) as again:
            until(lambda: dreaming.connected, "the client is back")
            assert dreaming.trouble == ""
            lines = {"database replaced": 1, "database log lost": 1, "database deleted": 0}[trouble]
            assert again.call("status")["dialogues"].get("complete", 0) == lines
            assert dreaming.dream_now(STIRRED)["outcome"] == "complete"
            with DreamClient(socket_path=again.socket, name="onlooker") as onlooker:
                assert onlooker.start(20)
                assert [f for f in onlooker.call("friend.fragments") if f["origin"]]
        assert "ended by itself" not in doctor(state)


def test_ends_a_running_dialogue_and_writes_nothing_of_it(state: Path, backup: Path):
    def lost(*_: object) -> str:
        if backup.exists():
            os.replace(backup, state / "dream.sqlite3")
        return saying()

    with DaemonProcess(state, env=SELDOM) as daemon, leo(daemon, lost) as dreaming:
        before = backup.read_bytes()
        assert dreaming.dream_now(STIRRED) == {"dialog": 1, "outcome": "store_error", "lines": 0}
        assert daemon.wait() == ExitCode.LOST
    assert (state / "dream.sqlite3").read_bytes() == before


def test_leaves_a_foreign_file_in_its_place_alone(state: Path):
    with DaemonProcess(state, env=OFTEN) as daemon:
        put_a_folder(state, state)
        assert daemon.wait() == ExitCode.LOST
    assert daemon.spawn().wait() == 6
    assert (state / "dream.sqlite3").is_dir()


def test_ends_at_damage_while_it_serves(state: Path):
    with DaemonProcess(state) as daemon, leo(daemon) as dreaming:
        dreaming.dream_now(STIRRED)
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'dream_turns'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with (state / "dream.sqlite3").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    again = DaemonProcess(state).spawn()  # it reads the last lines right after its start
    assert again.wait() == ExitCode.LOST
    assert again.said().startswith("dreamd: damaged (")
    with DaemonProcess(state) as fresh:
        [note] = fresh.call("status")["database"]["notes"]
        assert "the database was damaged: it is kept as dream.sqlite3.damaged-" in note
    assert len(list(state.glob("dream.sqlite3.damaged-*Z"))) == 1
