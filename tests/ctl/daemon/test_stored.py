"""Commands that read the database if no daemon answers."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.store.schema import MIGRATIONS
from tests.ctl.conftest import LINES, Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.frozen import OUTCOMES, unpack

WITH_TEXT = ("recent", "show", "show 1 --full", "replay", "friend checkpoint", "drift")
READS = (*(f"{words} --json" for words in WITH_TEXT), "friend --json", *WITH_TEXT)


def dream(daemon: DaemonProcess) -> None:
    speaker = Speaker(LINES)
    with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
        assert client.start(10.0)
        client.call("dream.seed", {"origin": ["the rain is near", "a roof keeps it"]})
        client.call("friend.checkpoint", "tuesday", False)
        client.dream_now()


def files_of(state: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in state.iterdir() if path.is_file()
    }


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The state folder that a daemon left, and what was said while it ran."""
    state = tmp_path_factory.mktemp("left") / "state"
    with DaemonProcess(state) as daemon:
        dream(daemon)
        said = {words: dreamctl("--state-dir", state, *words.split()).stdout for words in READS}
    return state, said


@pytest.mark.parametrize("words", READS)
def test_reading_commands_answer_equally_without_a_daemon(
    left: tuple[Path, dict[str, str]], words: str
) -> None:
    state, said = left
    before = files_of(state)
    told = dreamctl("--state-dir", state, *words.split())
    assert (told.exit_code, told.stdout) == (0, said[words])
    assert told.stderr == f"No daemon answers; this is read from {state}/dream.sqlite3\n"
    assert files_of(state) == before


def test_stats_and_the_report_say_that_no_daemon_answered(left: tuple[Path, object], tmp_path: Path) -> None:
    state, _ = left
    assert dreamctl("--state-dir", state, "stats").stdout.endswith("daemon     none answers\n")
    figures = json.loads(dreamctl("--state-dir", state, "stats", "--json").stdout)
    assert (figures["state"], figures["uptime_s"], figures["dialogs"]) == ("no daemon", None, 1)
    page = tmp_path / "page.html"
    assert dreamctl("--state-dir", state, "report", "--out", page).exit_code == 0
    assert "No daemon answered, so they were read from the database." in page.read_text()
    exported = tmp_path / "friend.json"
    assert dreamctl("--state-dir", state, "friend", "export", exported).exit_code == 0


def test_reports_a_missing_dialogue_and_checkpoint(left: tuple[Path, object]) -> None:
    state, _ = left
    for words in ("show 99", "show nonsense", "replay 99", "friend export x --checkpoint none"):
        told = dreamctl("--state-dir", state, *words.split())
        assert (told.exit_code, told.stdout) == (4, "")


@pytest.mark.parametrize("last", [signal.SIGKILL, signal.SIGSTOP])
def test_reads_the_log_of_a_killed_or_hanging_daemon(
    tmp_path: Path, last: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamd.ctl.daemon.connection.CONNECT_S", 0.2)
    with DaemonProcess(tmp_path / "state") as daemon:
        dream(daemon)
        os.kill(daemon.process.pid, last)
        if last == signal.SIGKILL:
            daemon.process.wait()
        assert os.path.getsize(daemon.state_dir / "dream.sqlite3-wal")
        told = dreamctl("--state-dir", daemon.state_dir, "show", "--json")
        assert told.exit_code == 0
        assert len(json.loads(told.stdout)["turns"]) >= 3


def test_a_database_of_an_older_version_is_shown_and_stays_as_it_is(tmp_path: Path) -> None:
    state = unpack(tmp_path)
    for part in ("-wal", "-shm"):
        (state / f"dream.sqlite3{part}").unlink(missing_ok=True)
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        ((version,),) = database.execute("PRAGMA user_version")
    assert version < len(MIGRATIONS)
    before = files_of(state)
    told = dreamctl("--state-dir", state, "stats", "--json")
    assert told.exit_code == 0, told.stderr
    assert json.loads(told.stdout)["outcomes"] == OUTCOMES
    assert json.loads(dreamctl("--state-dir", state, "show", "--json").stdout)["turns"]
    assert files_of(state) == before


def test_a_database_of_a_newer_version_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "dream.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    told = dreamctl("--state-dir", tmp_path, "recent")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == (
        f"Error: {file}: it is of version {len(MIGRATIONS) + 1}, this dreamd knows {len(MIGRATIONS)}: upgrade dreamd; "
        "the file was left untouched\n"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"no database, but some text of a length that is enough" * 40, "damaged"), (b"", None)],
)
def test_names_a_file_that_is_no_database(tmp_path: Path, content: bytes, why: str | None) -> None:
    file = tmp_path / "dream.sqlite3"
    file.write_bytes(content)
    told = dreamctl("--state-dir", tmp_path, "recent")
    assert told.exit_code == (1 if why else 0)
    assert (
        f"{file}: {why}; `dreamctl --state-dir {tmp_path} doctor` says what to do" in told.stderr
        or why is None
    )
    assert file.read_bytes() == content


def test_refuses_a_database_that_was_written_to_meanwhile(
    left: tuple[Path, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database without a log beside it is read without a lock."""
    state, _ = left
    stamps = iter(range(100))
    monkeypatch.setattr("dreamd.ctl.daemon.stored.file_stamp", lambda _: (next(stamps),))
    told = dreamctl("--state-dir", state, "recent")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "was written to while it was read: try again" in told.stderr


def test_a_socket_alone_does_not_say_which_database(left: tuple[Path, object], tmp_path: Path) -> None:
    state, _ = left
    told = dreamctl("--socket", tmp_path / "s", "recent", DREAMD_STATE_DIR="", HOME=str(state))
    assert (told.exit_code, told.stdout) == (3, "")
    assert "Start one with `dreamctl --socket" in told.stderr


def test_names_a_file_in_the_place_of_the_socket(tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text("the rain is near")
    told = dreamctl("--socket", tmp_path / "poem.txt", "status")
    assert told.exit_code == 3
    assert "poem.txt is no socket, so no daemon listens there.\n`dreamctl --socket" in told.stderr
