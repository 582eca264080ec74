"""Taking over what leo's own dream.py kept: read-only, once, with nothing lost."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.dream.copies import Copy
from dreamd.errors import StoreError
from dreamd.store import Store
from dreamd.store.leo_import import read
from tests.helpers import leo_database
from tests.helpers.store_rows import one_dream

OpenStore = Callable[..., Awaitable[Store]]
ALL = {"dialogs": 4, "lines": 6, "fragments": 5, "meta": 2}


@pytest.fixture
def field(tmp_path: Path) -> Path:
    folder = tmp_path / "state of leo #1?"  # characters that mean something in a URI
    folder.mkdir()
    return Path(shutil.copy(leo_database.FIELD, folder / "leo.sqlite3"))


async def import_leo(store: Store, file: Path) -> dict[str, int]:
    counts, memory = await store.import_leo(read(file))
    assert memory == await store.load()
    return counts


def folder(file: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in file.parent.iterdir()}


def query(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


async def test_nothing_is_lost_and_leos_file_stays_byte_identical(store: Store, path: Path, field: Path):
    before = folder(field)
    assert await import_leo(store, field) == {**ALL, "known": 0}
    assert folder(field) == before
    memory = await store.load()
    assert (memory.dialogs, memory.lines, memory.outcomes) == (4, 6, {"imported": 4})
    assert memory.last_run == {"leo": 1700000720.5}
    stats = await store.stats()
    assert (stats["avg_trauma"], stats["avg_arousal"]) == (pytest.approx(0.62 / 3), pytest.approx(0.41 / 3))
    await store.close()
    assert query(
        path,
        "SELECT id, text, weight FROM dream_bootstrap_fragments UNION ALL"
        " SELECT id, text, weight FROM dream_fragments_past ORDER BY id",
    ) == [(number, text, weight) for number, (_, text, weight) in enumerate(leo_database.FRAGMENTS, 1)]
    assert query(
        path,
        "SELECT started_at, finished_at, episodes_count, avg_trauma, avg_arousal, note FROM dream_dialogs ORDER BY id",
    ) == [tuple(columns) for _, *columns in leo_database.DIALOGS]
    assert query(
        path,
        "SELECT speaker, text, trauma_level, pulse_novelty, pulse_arousal, pulse_entropy FROM dream_turns ORDER BY id",
    ) == [tuple(columns) for _, _, *columns in leo_database.TURNS]
    assert set(leo_database.META) <= set(query(path, "SELECT key, value FROM dream_meta"))


async def test_lines_stay_with_their_dialogues(store: Store, path: Path, field: Path):
    own = await one_dream(store)
    await import_leo(store, field)
    assert len((await store.get(own))["turns"]) == 3
    first = await store.get(own + 1)
    assert (first["note"], first["outcome"], first["client"]) == ("first night", "imported", "leo")
    assert [(turn["turn"], turn["text"]) for turn in first["turns"]] == [
        (number, text) for number, (_, _, _, text, *_) in enumerate(leo_database.TURNS[:4], 1)
    ]
    await store.close()
    assert query(path, "SELECT text, turn FROM dream_turns WHERE dialog_id IS NULL") == [
        ("a line whose dialogue is gone", None)
    ]


async def test_imported_dialogues_owe_no_shard_and_are_not_ended(store: Store, field: Path):
    await import_leo(store, field)
    assert await store.unwritten() == []
    assert await store.close_interrupted(5.0) == 0
    assert [dialog["finished_at"] for dialog in await store.recent(1)] == [None]


async def test_a_second_time_nothing_is_new(store: Store, path: Path, field: Path):
    await import_leo(store, field)
    await store.seed(["a birth"], 5.0)
    was = await store.load(), await store.stats()
    moved = field.rename(path.with_name("moved.sqlite3"))
    assert await import_leo(store, moved) == {
        "dialogs": 0,
        "lines": 0,
        "fragments": 0,
        "meta": 0,
        "known": 17,
    }
    assert (await store.load(), await store.stats()) == was


async def test_only_what_leo_added_since_is_new(store: Store, field: Path):
    await import_leo(store, field)
    with closing(sqlite3.connect(field)) as leo:
        leo.execute(
            "INSERT INTO dream_dialogs (started_at, finished_at, episodes_count) VALUES (1700001000, 1, 1)"
        )
        leo.execute("INSERT INTO dream_turns (dialog_id, speaker, text) VALUES (6, 'leo', 'a later line')")
        leo.execute("INSERT INTO dream_bootstrap_fragments (text, weight) VALUES ('a later fragment', 0.4)")
        leo.execute("UPDATE dream_bootstrap_fragments SET weight = weight * 0.98")
        leo.execute("UPDATE dream_meta SET value = '1700001000.0' WHERE key = 'last_run_ts'")
        leo.commit()
    added = await import_leo(store, field)
    assert added == {"dialogs": 1, "lines": 1, "fragments": 1, "meta": 1, "known": 16}
    assert [turn["text"] for turn in (await store.get(5))["turns"]] == ["a later line"]


async def test_a_fragment_that_the_friend_has_is_not_there_twice(store: Store, path: Path, field: Path):
    (_, river, weight), *_ = leo_database.FRAGMENTS
    await store.seed([river], 5.0)
    assert (await import_leo(store, field))["fragments"] == 5
    memory = await store.load()
    assert [(f.weight, f.origin) for f in memory.fragments if f.text == river] == [(1.0, True)]
    assert (len(memory.fragments), memory.next_fragment_id) == (5, 7)
    await store.close()
    assert query(path, "SELECT text, weight FROM dream_fragments_past") == [(river, weight)]


async def test_p4_a_seed_after_the_import_makes_origin_of_what_is_there(store: Store, field: Path):
    (_, river, _), *_ = leo_database.FRAGMENTS
    await import_leo(store, field)
    assert await store.seed([river, "and a new one"], 5.0) == 2
    memory = await store.load()
    assert [(f.text, f.weight) for f in memory.fragments if f.origin] == [
        (river, 1.0),
        ("and a new one", 1.0),
    ]
    assert len(memory.fragments) == 6


async def test_our_own_keys_and_cooldown_go_before_leos(store: Store, path: Path, field: Path):
    with closing(sqlite3.connect(field)) as leo:
        leo.execute("INSERT INTO dream_meta VALUES ('dream_lines', '1000000')")
        leo.commit()
    number = await one_dream(store)
    await store._write(lambda c: c.execute("INSERT INTO dream_meta VALUES ('dream_last_run_ts', '5.5')"))
    assert (await import_leo(store, field))["meta"] == 3
    memory = await store.load()
    assert (memory.lines, memory.last_run) == (9, {"leo": 5.5})
    assert number == 1
    await store.close()
    assert query(path, "SELECT value FROM dream_meta WHERE key = 'leo:dream_lines'") == [("1000000",)]


async def test_bytes_that_are_no_text_are_taken_over_as_far_as_they_are(store: Store, field: Path):
    with closing(sqlite3.connect(field)) as leo:
        leo.execute("UPDATE dream_dialogs SET note = CAST(x'6e6f7465ff' AS TEXT) WHERE id = 1")
        leo.commit()
    await import_leo(store, field)
    assert (await store.get(1))["note"] == "note\ufffd"


LEO_AT_WORK = """
import os, signal, sqlite3, sys
leo = sqlite3.connect(sys.argv[1], isolation_level=None)
leo.execute("INSERT INTO dream_bootstrap_fragments (text) VALUES ('only in the log')")
print("written", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_leo_at_work_is_read_along_with_his_log(store: Store, field: Path):
    """While he runs, and after he was killed: what he committed last is in his -wal."""
    with subprocess.Popen(
        [sys.executable, "-c", LEO_AT_WORK, str(field)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as leo:
        assert leo.stdout
        assert leo.stdout.readline() == b"written\n"
        before = folder(field)
        assert (await import_leo(store, field))["fragments"] == 6
        running = folder(field)
        leo.communicate()
    assert (await import_leo(store, field))["known"] == 18
    killed = folder(field)
    for name in ("leo.sqlite3", "leo.sqlite3-wal"):
        assert before[name] == running[name] == killed[name]
    assert before.keys() == killed.keys()


async def test_what_can_not_be_imported_is_told(store: Store, path: Path):
    os.mkfifo(path.with_name("pipe"))
    letter = path.with_name("letter.txt")
    letter.write_text("dear friend, this is not a database" * 20)
    plain = path.with_name("plain.sqlite3")
    with closing(sqlite3.connect(plain)) as connection:
        connection.execute("CREATE TABLE dream_meta (key, value)")
    for file, why in (
        (letter, "SQLITE_NOTADB"),
        (path.with_name("none"), "FileNotFoundError"),
        (path.with_name("pipe"), "it is no file"),
        (plain, "it holds no dream_bootstrap_fragments, dream_dialogs, dream_turns"),
        (path, "a database of dreamd's own"),
    ):
        with pytest.raises(StoreError, match=why):
            read(file)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            "ALTER TABLE dream_turns ADD COLUMN dreamt_again TEXT",
            "its dream_turns differs .* in dreamt_again:",
        ),
        ("ALTER TABLE dream_dialogs DROP COLUMN note", "its dream_dialogs differs .* in note:"),
        (
            "UPDATE dream_turns SET text = x'00' WHERE id = 4",
            r"Expected `str`, got `bytes` - at `\$.turns\[3\]",
        ),
        ("UPDATE dream_bootstrap_fragments SET weight = 7", r"<= 1.0 - at `\$.fragments\[0\]"),
        ("UPDATE dream_bootstrap_fragments SET weight = 'the river'", "Expected `float`, got `str`"),
        ("UPDATE dream_dialogs SET avg_trauma = 9e999", "Expected `float` <= "),
    ],
)
def test_a_file_as_no_known_leo_writes_it_is_refused_by_place_and_type(field: Path, change: str, why: str):
    """Nothing is lost in silence, and nothing comes in that the friend could stumble over."""
    with closing(sqlite3.connect(field)) as leo:
        leo.execute(change)
        leo.commit()
    with pytest.raises(StoreError, match=why) as caught:
        read(field)
    assert "river" not in str(caught.value)


def test_a_damaged_file_is_refused(field: Path):
    content = bytearray(field.read_bytes())
    content[2048:] = bytes(len(content) - 2048)
    field.write_bytes(content)
    with pytest.raises(StoreError, match="it cannot be read: SQLITE_CORRUPT"):
        read(field)


async def test_a_rehearsal_counts_and_adds_nothing(store: Store, path: Path, field: Path):
    was = await store.load()
    for _ in range(2):
        assert await store.rehearse_import(read(field)) == {**ALL, "known": 0}
    assert await store.load() == was
    assert await import_leo(store, field) == {**ALL, "known": 0}
    assert await store.rehearse_import(read(field)) == {**dict.fromkeys(ALL, 0), "known": 17}


async def test_dialogues_get_the_numbers_that_were_kept_for_them(store: Store, field: Path):
    await store.import_leo(read(field), first=40)
    assert sorted(dialog["id"] for dialog in await store.recent(9)) == [40, 41, 42, 43]
    assert (await store.get(40))["lines"] == 4
    assert await one_dream(store) == 44


async def test_the_friend_of_before_is_kept_where_fragments_came(store: Store, field: Path):
    before = [Copy(text="the sea", weight=0.4)]
    await store.import_leo(read(field), before)
    assert await store.checkpoint("previous") == before
    await store.import_leo(read(field), [])
    assert await store.checkpoint("previous") == before


def test_a_file_that_changes_under_the_reader_is_not_trusted(field: Path, monkeypatch: pytest.MonkeyPatch):
    real, looks = os.stat, []

    def stat(file, **options):
        found = real(file, **options)
        if file == field:
            looks.append(file)
            os.utime(field, ns=(0, len(looks)))  # somebody writes, each time that one has looked
        return found

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(StoreError, match="written to while it was read"):
        read(field)
