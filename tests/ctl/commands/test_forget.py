"""`forget` and `prune`: no file keeps a forgotten text, and every other place that does is named."""

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import RemoteError

from dreamd.ctl.machine.places import look_at_state
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.dreaming import STIRRED
from tests.helpers.terminal import Terminal
from tests.helpers.waiting import until

SECRET = (
    "quokka sings in marble",
    "the xylophone melts softly",
    "no zeppelin ever wept",
    "an okapi folds the moon",
)
WORDS = ("quokka", "xylophone", "zeppelin", "okapi", "umbrella", "vermilion")
OTHERS = ("the rain is near", "a roof keeps it", "who keeps the roof", "you do")
CONTEXT = STIRRED | {"prompt": "my umbrella is private", "reply": "vermilion it is"}


@contextmanager
def leo(daemon: DaemonProcess) -> Iterator[tuple[Speaker, DreamClient]]:
    speaker = Speaker(OTHERS)
    with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
        assert client.start(10.0)
        client.call("dream.seed", {"origin": ["I am small.", "I listen to water."]})
        yield speaker, client


def say(speaker: Speaker, client: DreamClient, words: tuple[str, ...], **context: Any) -> None:
    speaker.words, speaker.said = words, 0
    client.call("dream.now", STIRRED | context, timeout_s=20)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    settings = ("gate.cooldown_s=0", "dialogue.candidates=1", "dialogue.turns_min=4", "friend.second_above=0")
    words = [word for setting in settings for word in ("--set", setting)]
    with DaemonProcess(tmp_path / "state", *words, env={"WATCHDOG_USEC": "400000"}) as running:
        yield running


def dream(daemon: DaemonProcess) -> None:
    """Dream three dialogues. The second is the one to forget."""
    with leo(daemon) as (speaker, client):
        say(speaker, client, OTHERS)
        say(speaker, client, SECRET, prompt=CONTEXT["prompt"], reply=CONTEXT["reply"])
        say(speaker, client, tuple(reversed(OTHERS)))
        until(lambda: len(client.call("inbox.list")) == 3, "their files are written")


def held(state: Path) -> dict[str, set[str]]:
    """Return by path the words that each file below the state folder holds."""
    found = {}
    for path in (path for path in state.rglob("*") if path.is_file()):
        content = path.read_bytes().lower()
        if words := {word for word in WORDS if word.encode() in content}:
            found[str(path.relative_to(state))] = words
    return found


def ctl(daemon: DaemonProcess, *words: object) -> dict[str, Any]:
    result = dreamctl("--state-dir", daemon.state_dir, *words, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.mark.parametrize("running", [True, False])
def test_no_file_holds_a_word_of_a_forgotten_dream(daemon: DaemonProcess, running: bool) -> None:
    dream(daemon)
    inbox = daemon.state_dir / "inbox/dreams"
    (trace,) = [path for path in inbox.glob("*.json") if b"quokka" in path.read_bytes()]
    if not running:
        assert daemon.stop() == 0
    before = held(daemon.state_dir)
    assert set(WORDS) == set().union(*before.values())
    gone = ctl(daemon, "forget", "2", "--friend")
    assert gone == {
        "dialogs": 1, "files": 1, "lines": 4, "fragments": gone["fragments"], "replays": gone["replays"],
        "fragments_left": 0, "checkpoints_left": [], "copies_left": [], "scrubbed": True,
    }  # fmt: skip
    assert gone["fragments"] >= 1
    assert held(daemon.state_dir) == {}
    assert not trace.exists()
    if running:  # the tick may write what was decided after that, and empties the log when it is idle
        log = daemon.state_dir / "dream.sqlite3-wal"
        until(lambda: log.stat().st_size == 0, "an empty log")
    shown = dreamctl("--state-dir", daemon.state_dir, "recent", "--json")
    assert [each["id"] for each in json.loads(shown.stdout)] == [3, 1]
    again = dreamctl("--state-dir", daemon.state_dir, "forget", "2")
    assert (again.exit_code, "no dialogue 2" in again.stderr) == (4, True)
    with closing(sqlite3.connect(daemon.state_dir / "dream.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        origin = database.execute("SELECT text FROM dream_bootstrap_fragments WHERE origin").fetchall()
    assert origin == [("I am small.",), ("I listen to water.",)]


def test_p5_a_forgotten_dream_does_not_come_back_and_its_number_is_not_used_again(
    daemon: DaemonProcess,
) -> None:
    dream(daemon)
    ctl(daemon, "forget", "3")
    daemon.stop()
    daemon.start()
    with leo(daemon) as (speaker, client):
        say(speaker, client, OTHERS)
        assert [each["id"] for each in client.call("dialogs.recent", 9)] == [4, 2, 1]
        until(lambda: len(client.call("inbox.list")) == 3, "its file is written")


def test_the_friend_and_checkpoints_are_named_and_stay(daemon: DaemonProcess) -> None:
    dream(daemon)
    with leo(daemon) as (_, client):
        client.call("friend.checkpoint", "tuesday", False)
    gone = ctl(daemon, "forget", "2")
    assert gone["fragments_left"] >= 1
    assert gone["checkpoints_left"] == ["tuesday"]
    assert set(held(daemon.state_dir)) == {"dream.sqlite3"}
    assert held(daemon.state_dir)["dream.sqlite3"] <= {"xylophone", "okapi"}  # what the friend said


@pytest.mark.parametrize("words", [("forget", "2"), ("prune", "--older-than", "0s")])
def test_what_the_friend_and_a_checkpoint_still_have_can_be_forgotten_later(
    daemon: DaemonProcess, words: tuple[str, ...]
) -> None:
    dream(daemon)
    with leo(daemon) as (_, client):
        client.call("friend.checkpoint", "tuesday", False)
    ctl(daemon, *words)
    assert ctl(daemon, *words, "--friend")["checkpoints_left"] == ["tuesday"]
    later = ctl(daemon, *words, "--everywhere")
    assert (later["fragments_left"], later["checkpoints_left"]) == (0, [])
    assert held(daemon.state_dir) == {}
    assert ctl(daemon, "stats")["forgotten"] == (1 if words[0] == "forget" else 3)


def test_everywhere_reaches_checkpoints_and_copies(daemon: DaemonProcess, tmp_path: Path) -> None:
    dream(daemon)
    with leo(daemon) as (_, client):
        client.call("friend.checkpoint", "tuesday", False)
    daemon.stop()
    state = daemon.state_dir
    dreamctl("--state-dir", state, "backup", tmp_path / "b")
    (tmp_path / "b").rename(state / "dream.sqlite3.before-restore-20260101T000000Z")
    damaged = state / "dream.sqlite3.damaged-20260101T000000Z"
    damaged.write_bytes(b"no database, but a quokka")
    named = ctl(daemon, "forget", "2", "--friend")
    assert named["checkpoints_left"] == ["tuesday"]
    assert named["copies_left"] == [
        str(state / "dream.sqlite3.before-restore-20260101T000000Z"), str(damaged)
    ]  # fmt: skip
    with closing(sqlite3.connect(state / "dream.sqlite3.before-restore-20260101T000000Z")) as copy:
        assert copy.execute("SELECT count(*) FROM dream_dialogs").fetchone() == (3,)


@pytest.mark.parametrize("name", ["before-restore", "version-3"])
def test_everywhere_leaves_no_copy(daemon: DaemonProcess, tmp_path: Path, name: str) -> None:
    dream(daemon)
    with leo(daemon) as (_, client):
        client.call("friend.checkpoint", "tuesday", False)
    state = daemon.state_dir
    assert dreamctl("--state-dir", state, "backup", tmp_path / "b").exit_code == 0
    copy = (tmp_path / "b").rename(state / f"dream.sqlite3.{name}-20260101T000000Z")
    (state / "dream.sqlite3.damaged-20260101T000000Z").write_bytes(b"no database, but a quokka")
    if name == "version-3":
        with closing(sqlite3.connect(copy)) as older:
            older.execute("DROP TABLE dream_search")
            older.execute("PRAGMA user_version = 3")
            older.execute("VACUUM")
    gone = ctl(daemon, "forget", "2", "--friend", "--everywhere")
    assert (gone["checkpoints_left"], gone["copies_left"]) == ([], [])
    assert held(state) == {}
    with closing(sqlite3.connect(copy)) as kept:
        assert kept.execute("SELECT id FROM dream_dialogs ORDER BY id").fetchall() == [(1,), (3,)]
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with leo(daemon) as (_, client):
        fragments = client.call("friend.fragments", "tuesday")
        assert {"I am small.", "I listen to water."} <= {each["text"] for each in fragments}


def test_a_copy_that_cannot_be_changed_is_named_and_all_can_be_asked_again(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    dream(daemon)
    state = daemon.state_dir
    copies = [state / f"dream.sqlite3.{name}-20260101T000000Z" for name in ("before-restore", "version-3")]
    for copy in copies:
        assert dreamctl("--state-dir", state, "backup", tmp_path / "b").exit_code == 0
        (tmp_path / "b").rename(copy)
    (state / f"{copies[1].name}-journal").mkdir()  # SQLite cannot write the copy
    ran = dreamctl("--state-dir", state, "forget", "2", "--friend", "--everywhere", "--yes")
    assert (ran.exit_code, f"{copies[1]} cannot be changed" in ran.stderr) == (4, True)

    def ids(database: Path) -> list[int]:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM dream_dialogs ORDER BY id")]

    assert [ids(path) for path in (copies[0], state / "dream.sqlite3")] == [[1, 3], [1, 2, 3]]
    (state / f"{copies[1].name}-journal").rmdir()
    ctl(daemon, "forget", "2", "--friend", "--everywhere")
    assert [ids(path) for path in (*copies, state / "dream.sqlite3")] == [[1, 3]] * 3
    assert held(state) == {}


def test_p7_keeps_shards_of_another_program_in_the_trace(daemon: DaemonProcess) -> None:
    dream(daemon)
    with leo(daemon) as (_, client):
        trace = client.call("dialogs.get", 2)["trace_id"]
        shard = {"index": 9, "timestamp": 5, "type": "note", "text": "of another program"}
        permitted = {"scopes": ["memory.inbox.dreams.write"]}
        client.call(
            "inbox.persist",
            {"seed": {}, "result": {"trace_id": trace, "shards": [shard]}, "cap_token": permitted},
        )
        client.call("inbox.ack", trace)
    ctl(daemon, "forget", "2", "--friend")
    assert held(daemon.state_dir) == {}
    left = json.loads((daemon.state_dir / f"inbox/dreams/done/{trace}.json").read_text())
    assert [each["text"] for each in left["shards"]] == ["of another program"]
    assert left["matada_nodes"] == []


def test_another_dialogue_that_quoted_it_is_not_replayed(daemon: DaemonProcess) -> None:
    speaker = Speaker(SECRET)
    with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
        assert client.start(10)
        for words in (
            SECRET,
            *[OTHERS] * 6,
        ):  # without an origin the second begins from a fragment of the first
            say(speaker, client, words)
        quoting = [
            number
            for number in range(2, 8)
            if any(
                word in turn["seed"] for turn in client.call("dialogs.get", number)["turns"] for word in WORDS
            )
        ]
        assert quoting
        gone = client.call("dialogs.forget", {"id": 1, "friend": True})
        assert gone["replays"] == len(quoting)
        assert held(daemon.state_dir) == {}
        for number in set(range(2, 8)) - set(quoting):
            with suppress(RemoteError):  # not kept: its friend had a fragment of the first one
                assert client.call("dialogs.replay", number)["same"]
        assert not any(word in each["text"] for each in client.call("friend.fragments") for word in WORDS)


def test_a_dialogue_that_runs_is_not_forgotten(daemon: DaemonProcess) -> None:
    asked: list[str] = []

    def observe(text: str) -> None:
        if not asked:
            process = spawn_dreamctl("--state-dir", daemon.state_dir, "forget", "1", cwd=daemon.state_dir)
            asked.append(process.communicate(timeout=30)[1])

    speaker = Speaker(OTHERS)
    with DreamClient(speaker.generate, observe, socket_path=daemon.socket) as client:
        assert client.start(10)
        client.call("dream.now", STIRRED, timeout_s=20)
    assert "dialogue 1 has not ended" in asked[0]


def test_prune_forgets_older_dialogues(daemon: DaemonProcess) -> None:
    dream(daemon)
    with closing(sqlite3.connect(daemon.state_dir / "dream.sqlite3")) as database, database:
        database.execute("UPDATE dream_dialogs SET started_at = started_at - 100 * 86400 WHERE id < 3")
    assert ctl(daemon, "prune", "--older-than", "200d")["dialogs"] == 0
    result = dreamctl("--state-dir", daemon.state_dir, "prune", "--older-than", "90d", "--friend")
    assert result.stdout.startswith("Forgot 2 dialogues: 8 lines, 2 inbox files, ")
    assert "Backups, exports and reports" in result.stdout
    assert held(daemon.state_dir) == {}
    assert [each["id"] for each in ctl(daemon, "recent")] == [3]


@pytest.mark.parametrize("age", ["", "x", "90 years", "-1d"])
def test_refuses_an_invalid_age(daemon: DaemonProcess, age: str) -> None:
    result = dreamctl("--state-dir", daemon.state_dir, "prune", "--older-than", age)
    assert (result.exit_code, "expected a length of time" in result.stderr) == (2, True)


def test_a_terminal_is_asked_first(daemon: DaemonProcess, tmp_path: Path) -> None:
    dream(daemon)
    command = [sys.executable, "-m", "dreamd.ctl", "--state-dir", daemon.state_dir]
    with Terminal([*command, "prune", "--older-than", "0s"], tmp_path) as terminal:
        terminal.until("This forgets 3 dialogues, for good. Go on? [y/N]")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert len(ctl(daemon, "recent")) == 3
    with Terminal([*command, "forget", "last", "--yes"], tmp_path) as terminal:
        assert terminal.end() == 0
    assert len(ctl(daemon, "recent")) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_leaves_no_daemon_behind(state: Path, number: signal.Signals) -> None:
    """The daemon that `forget` starts would go on holding the state folder."""
    command = [sys.executable, "-m", "dreamd.ctl", "--state-dir", state, "forget", "1"]
    with Terminal(command, state) as terminal:
        terminal.until("Go on? [y/N]")
        terminal.until_it_waits()
        assert look_at_state(state).holder
        terminal.process.send_signal(number)
        assert terminal.end() != 0
    left = look_at_state(state).holder
    if left:
        os.kill(left, signal.SIGKILL)
    assert not left


def test_creates_nothing_without_a_database(tmp_path: Path) -> None:
    result = dreamctl("--state-dir", tmp_path / "none", "forget", "1")
    assert (result.exit_code, "there is no database in" in result.stderr) == (1, True)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_held_by_a_daemon_that_does_not_answer(daemon: DaemonProcess) -> None:
    daemon.socket.unlink()
    result = dreamctl("--state-dir", daemon.state_dir, "forget", "1")
    assert result.exit_code in (3, 4)  # its socket may be back
    assert "Error: " in result.stderr
    if result.exit_code == 3:
        assert f"(pid {daemon.process.pid}) does not listen there; `dreamctl --state-dir" in result.stderr


def test_keep_days_forgets_by_itself_at_the_tick(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with DaemonProcess(state, "--set", "dialogue.candidates=1") as daemon:
        dream(daemon)
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database, database:
        database.execute("UPDATE dream_dialogs SET started_at = started_at - 33 * 86400 WHERE id = 2")
        yesterday = str(time.time() - 90_000)
        database.execute("INSERT INTO dream_meta VALUES ('dream_age_looked_at', ?)", (yesterday,))
    ticks = {"WATCHDOG_USEC": "200000"}
    with DaemonProcess(state, "--set", "store.keep_days=31", env=ticks) as daemon:
        with leo(daemon) as (_, client):
            until(lambda: [each["id"] for each in client.call("dialogs.recent", 9)] == [3, 1], "forgotten")
            until(lambda: client.call("stats")["forgotten"] == 1, "counted")
    with DaemonProcess(state, "--set", "store.keep_days=0", env=ticks) as daemon:
        with leo(daemon) as (_, client):
            assert len(client.call("dialogs.recent", 9)) == 2


def test_another_program_that_reads_the_log_is_named(daemon: DaemonProcess) -> None:
    dream(daemon)
    with closing(sqlite3.connect(daemon.state_dir / "dream.sqlite3", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM dream_meta").fetchone()
        result = dreamctl("--state-dir", daemon.state_dir, "forget", "2", "--friend")
        assert result.exit_code == 0
        assert "Another program has the database open" in result.stdout
        reader.execute("COMMIT")
    until(lambda: held(daemon.state_dir) == {}, "the tick has emptied the log")
