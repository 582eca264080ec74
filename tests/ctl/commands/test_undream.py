"""`undream`, and `forget --undream`: a dialogue is taken back out of leo's field."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.leo.feeding import drop_marks, ingest, undo_line

from dreamd.ctl.commands.undream import show_undone
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.leo_field import ingest_text, make_field, rows_of
from tests.helpers.peer import saying
from tests.helpers.waiting import until

FIELD = "a field"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    options = (
        "--set",
        "gate.enabled=false",
        "--set",
        "dialogue.turns_max=3",
        "--set",
        "dialogue.candidates=1",
    )
    with DaemonProcess(tmp_path_factory.mktemp("undream") / "state", *options) as running:
        yield running


@pytest.fixture
def field(tmp_path: Path) -> Path:
    return make_field(tmp_path / "leo.sqlite3")


def leo_of(daemon: DaemonProcess, field: Path) -> DreamClient:
    """Return a client of a host with all hooks, which feeds `field`."""

    def unobserve(what, meta):
        return drop_marks(field, meta) if what is None else {"missing": undo_line(field, what, meta)}

    client = DreamClient(socket_path=daemon.socket)
    client.serve(
        saying, lambda text: {"added": ingest(field, [text], ingest_text)}, None, lambda: FIELD, unobserve
    )
    assert client.start(10.0)
    return client


def test_takes_back_the_last_dialogue_and_then_says_so_everywhere(daemon: DaemonProcess, field: Path) -> None:
    with closing(leo_of(daemon, field)) as client:
        before = rows_of(field)
        number = client.dream_now()["dialog"]
        result = dreamctl("--socket", daemon.socket, "undream", "last")
        assert (result.exit_code, result.stderr) == (0, "")
        took, *more = result.stdout.splitlines()
        assert took.startswith(f"Took back dialogue {number}: 3 lines out of leo's field")
        assert (took.endswith("1 inbox file."), more) == (True, [])
        assert rows_of(field) == before
        for command in ("recent", "show"):
            assert "complete, undone" in dreamctl("--socket", daemon.socket, command).stdout
        assert "observed: answered, undone" in dreamctl("--socket", daemon.socket, "show", "--full").stdout
        again = dreamctl("--socket", daemon.socket, "undream", "last")
        assert (again.exit_code, again.stdout) == (4, "")
        assert again.stderr == f"Error: dialogue {number} is taken back already (NOT_FOUND, 12)\n"
        assert "so does leo" not in dreamctl("--socket", daemon.socket, "forget", "last").stdout


def test_waits_for_leo_and_takes_all_back_when_he_comes(daemon: DaemonProcess, field: Path) -> None:
    with closing(leo_of(daemon, field)) as client:
        before = rows_of(field)
        first, second = (client.dream_now()["dialog"] for _ in range(2))
    result = dreamctl("--socket", daemon.socket, "undream", "--all-since", "1h", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(one["id"], one["state"]) for one in told["dialogs"]] == [(second, "waiting"), (first, "waiting")]
    assert all("already" in one["why"] for one in told["left"])
    assert "2 dialogues to take back" in dreamctl("--socket", daemon.socket, "status").stdout
    assert "complete, to be undone" in dreamctl("--socket", daemon.socket, "recent").stdout
    text = dreamctl("--socket", daemon.socket, "undream", second).stdout
    assert text == (
        f"Dialogue {second} is not taken back yet: leo is not running. It is done when leo is back.\n"
    )
    forget = dreamctl("--socket", daemon.socket, "forget", second, "--undream")
    assert (forget.exit_code, forget.stdout) == (1, "")
    assert "or now without --undream" in forget.stderr
    with closing(leo_of(daemon, field)):
        until(
            lambda: "to take back" not in dreamctl("--socket", daemon.socket, "status").stdout, "taken back"
        )
        forget = dreamctl("--socket", daemon.socket, "forget", second, "--undream")
        assert forget.stdout.startswith(f"Forgot dialogue {second}: 3 lines, 0 inbox files")
        assert "so does leo" not in forget.stdout
        assert dreamctl("--socket", daemon.socket, "undream", first).exit_code == 4  # already
        assert rows_of(field) == before


def test_refuses_a_client_that_cannot_and_says_what_to_do(daemon: DaemonProcess, field: Path) -> None:
    with closing(leo_of(daemon, field)) as client:
        number = client.dream_now()["dialog"]
    old = DreamClient(socket_path=daemon.socket, name="leo")
    old.serve(saying, lambda text: None, None, lambda: FIELD)
    with closing(old):
        assert old.start(10.0)
        result = dreamctl("--socket", daemon.socket, "undream", number)
    assert dreamctl("--socket", daemon.socket, "forget", number).exit_code == 0  # or `--all-since` finds it
    assert result.exit_code == 4
    assert "has no hook `unobserve`; upgrade dreamd-client where leo runs" in result.stderr


def test_names_one_dialogue_or_all_since(daemon: DaemonProcess) -> None:
    for words in ((), ("7", "--all-since", "1h")):
        assert dreamctl("--socket", daemon.socket, "undream", *words).exit_code == 2
    result = dreamctl("--socket", daemon.socket, "undream", "--all-since", "0s", "--yes")
    assert (result.exit_code, result.stdout) == (0, "There is nothing to take back.\n")


def test_tells_what_stays_and_why() -> None:
    done = {"state": "done", "why": None, "fragments": 0, "unknown": [], "missing": 0, "lines": 4}
    told = {
        "dialogs": [
            {**done, "id": 3, "inbox": "acknowledged", "unknown": [2, 4], "fragments": 1},
            {**done, "id": 2, "inbox": "removed", "missing": 5},
            {**done, "id": 1, "inbox": None, "state": "waiting", "why": "unobserve: OSError"},
        ],
        "left": [
            {"id": n, "why": "was not dreamt here" if n > 8 else "is taken back already"} for n in (9, 8, 7)
        ],
    }
    assert show_undone(told, 200).splitlines() == [
        "Took back 2 dialogues: 8 lines out of leo's field, 1 fragment of the friend, 1 inbox file.",
        "Dialogue 3, lines 2, 4: what it added is not known, so it may still be in leo's field.",
        "Dialogue 2: 5 of its counts were gone already, as leo forgets with time.",
        "The inbox file of dialogue 3 was acknowledged already, and stays.",
        "Dialogue 1 is not taken back yet: unobserve: OSError. The daemon tries again.",
        "Left: dialogue 9 was not dreamt here.",
        "Left: 2 dialogues, each of which is taken back already.",
    ]
    assert max(map(len, show_undone(told, 40).splitlines())) <= 40


def test_is_noted_without_a_daemon(state: Path) -> None:
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database, database:
        database.execute("UPDATE dream_dialogs SET field = 'a field'")
        database.execute("UPDATE dream_turns SET observed = 'answered', added = x'80'")
    result = dreamctl("--state-dir", state, "undream", "last")
    assert (result.exit_code, result.stderr) == (1, "")
    assert "leo is not running" in result.stdout
