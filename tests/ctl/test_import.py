"""`import`: leo's own dreams, once, and with nothing lost."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dreamclient.blocking import DreamClient

from tests.helpers import leo_database
from tests.helpers.daemon import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.shapes import differences, shape_of

ALL = {"dialogs": 4, "lines": 6, "fragments": 5, "meta": 2, "known": 0}
NONE = dict.fromkeys(ALL, 0) | {"known": 17}
MANY = 4000  # dialogues: more than one message holds


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """One that knows nothing yet."""
    with DaemonProcess(tmp_path / "state") as running:
        yield running


@pytest.fixture
def field(tmp_path: Path) -> Path:
    return Path(shutil.copy(leo_database.FIELD, tmp_path / "leo.sqlite3"))


def imported(daemon: DaemonProcess, *arguments: object) -> dict[str, int]:
    result = dreamctl("--socket", daemon.socket, "import", *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert differences(shape_of("import"), answer) == []
    return answer


def test_everything_comes_once_and_is_said_before(daemon: DaemonProcess, field: Path) -> None:
    before = field.read_bytes()
    assert imported(daemon, field, "--dry-run") == ALL
    assert daemon.call("status")["dialogues"] == {}
    assert imported(daemon, field) == ALL
    assert imported(daemon, field) == imported(daemon, field, "--dry-run") == NONE
    assert field.read_bytes() == before
    assert sorted(path.name for path in field.parent.glob("leo*")) == ["leo.sqlite3"]
    with DreamClient(socket_path=daemon.socket) as client:
        assert client.start(10.0)
        dialogs = [client.call("dialogs.get", dialog["id"]) for dialog in client.call("dialogs.recent", 9)]
        assert {dialog["note"]: len(dialog["turns"]) for dialog in dialogs if dialog["note"]} == {
            "first night": 4,
            "left in the middle ☂": 1,
        }
        assert client.call("friend.fragments", "previous") == []


def test_what_a_person_sees(daemon: DaemonProcess, field: Path) -> None:
    command = ("--socket", daemon.socket, "import")
    for columns, term in ((80, "xterm"), (40, "dumb")):
        dry = dreamctl(*command, "--dry-run", field, columns=columns, TERM=term)
        assert (dry.exit_code, dry.stderr) == (0, "")
        assert dry.stdout.splitlines() == [
            "dialogues  4 would come",
            "lines      6 would come",
            "fragments  5 would come",
            "meta       2 would come",
            "known      0 were there already",
        ]
    assert dreamctl(*command, field).stdout.startswith("dialogues  4 came\nlines      6 came\n")


def test_a_leo_of_many_dreams_comes_in_many_messages(daemon: DaemonProcess, field: Path) -> None:
    with closing(sqlite3.connect(field)) as leo:
        leo.executemany(
            "INSERT INTO dream_dialogs (id, started_at, finished_at, avg_trauma, avg_arousal)"
            " VALUES (?, ?, 9, 0.5, 0.5)",
            [(100 + number, 1.6e9 + number) for number in range(MANY)],
        )
        leo.executemany(
            "INSERT INTO dream_turns (dialog_id, speaker, text) VALUES (?, 'leo', ?)",
            [(100 + number, f"moon {number} {'and moon ' * 60}") for number in range(MANY)],
        )
        leo.commit()
    assert imported(daemon, field) == ALL | {"dialogs": 4 + MANY, "lines": 6 + MANY}
    assert imported(daemon, field) == NONE | {"known": 17 + 2 * MANY}
    assert daemon.call("status")["dialogues"] == {"imported": 4 + MANY}
    with DreamClient(socket_path=daemon.socket) as client:
        assert client.start(10.0)
        stats = client.call("stats")
        first = min(client.call("dialogs.recent", 4000), key=lambda dialog: dialog["started_at"])
        assert client.call("dialogs.get", first["id"])["turns"][0]["text"].startswith("moon ")
    assert (stats["dialogs"], stats["lines"]) == (4 + MANY, 6 + MANY)


def test_what_is_no_field_of_leos_is_told_in_one_line(daemon: DaemonProcess, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear friend, this is no database" * 40)
    with closing(sqlite3.connect(tmp_path / "plain")) as plain:
        plain.execute("CREATE TABLE moons (name)")
    newer = Path(shutil.copy(leo_database.FIELD, tmp_path / "newer"))
    with closing(sqlite3.connect(newer)) as leo:
        leo.execute("ALTER TABLE dream_turns ADD COLUMN mood TEXT")
    for file, words in (
        (tmp_path / "letter", "SQLITE_NOTADB"),
        (tmp_path / "plain", "it holds no dream_bootstrap_fragments, dream_dialogs"),
        (newer, "its dream_turns differs from what this dreamd knows, in mood"),
        (daemon.state_dir / "dream.sqlite3", "a database of dreamd's own"),
    ):
        result = dreamctl("--socket", daemon.socket, "import", file)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: {file}: ")
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1
    for file in (tmp_path / "none", tmp_path):
        assert dreamctl("--socket", daemon.socket, "import", file).exit_code == 2
    assert daemon.call("status")["dialogues"] == {}


def test_without_a_daemon_nothing_comes(field: Path, tmp_path: Path) -> None:
    result = dreamctl("--state-dir", tmp_path / "nobody", "import", field)
    assert (result.exit_code, result.stdout) == (3, "")
    assert not (tmp_path / "nobody").exists()
