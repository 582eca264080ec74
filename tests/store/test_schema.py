"""The schema: migrated from every earlier one, and always the same in the end."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.errors import StoreError
from dreamd.store import places, schema
from dreamd.store.file.files import Contents, read_contents
from dreamd.store.reply_shares import WORDS_KEY
from dreamd.store.schema import LEOS_TABLES, MIGRATIONS, migrate_database
from tests.helpers import leo_database
from tests.helpers.frozen import unpack
from tests.helpers.store_rows import new_dialog
from tests.store.test_opening import OpenStore, folder


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_the_frozen_databases_are_what_their_script_makes(tmp_path: Path):
    for frozen, with_field in ((leo_database.FIELD, True), (leo_database.BARE, False)):
        leo_database.write(tmp_path / frozen.name, field=with_field)
        copy = tmp_path / f"copy-{frozen.name}"
        shutil.copy(frozen, copy)
        assert dump(copy) == dump(tmp_path / frozen.name)
    assert read_contents(leo_database.BARE) == Contents(0, frozenset(LEOS_TABLES))


async def test_the_oldest_schema_is_backed_up_and_migrated(path: Path, open_store: OpenStore):
    shutil.copy(leo_database.BARE, path)
    old = dump(path)
    store = await open_store(path)
    copy = "dream.sqlite3.version-0-20260102T150000Z"
    assert store.notes == [f"migrated from version 0 to {len(MIGRATIONS)}; the old one is kept as {copy}"]
    assert dump(path.with_name(copy)) == old
    assert stat.S_IMODE(os.stat(path.with_name(copy)).st_mode) == 0o600
    assert sorted(folder(path)) == ["dream.sqlite3", "dream.sqlite3-shm", "dream.sqlite3-wal", copy]

    memory = await store.load()
    assert [(f.id, f.text, f.weight) for f in memory.fragments] == leo_database.FRAGMENTS
    assert (memory.outcomes, memory.lines, memory.last_run) == ({"imported": 4}, 6, {"leo": 1700000720.5})
    stats = await store.stats()
    assert (stats["avg_trauma"], stats["avg_arousal"]) == (pytest.approx(0.62 / 3), pytest.approx(0.41 / 3))
    assert [turn["turn"] for turn in (await store.get(1))["turns"]] == [1, 2, 3, 4]
    assert [dialog["note"] for dialog in await store.recent(9)] == [
        "left in the middle ☂",
        None,
        None,
        "first night",
    ]
    assert await store.unwritten() == []
    assert await store.open_dialogs() == []
    assert await store.begin(new_dialog()) == 6

    await store.close()
    assert (await open_store(path)).notes == []


async def test_a_new_database_and_a_migrated_one_have_one_schema(path: Path, open_store: OpenStore):
    old = path.with_name("old.sqlite3")
    shutil.copy(leo_database.BARE, old)
    version_4 = unpack(path.parent, "state_schema_4") / "dream.sqlite3"
    schemas = []
    for file in (path, old, version_4):
        await (await open_store(file)).close()
        with closing(sqlite3.connect(file)) as connection:
            columns = (
                "SELECT m.name, c.name, c.type, c.[notnull], c.pk"
                " FROM sqlite_schema m, pragma_table_info(m.name) c"
            )
            indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY name"
            schemas.append([sorted(connection.execute(columns)), connection.execute(indexes).fetchall()])
    assert schemas[0] == schemas[1] == schemas[2]


async def test_version_4_is_migrated_and_keeps_each_row(path: Path, open_store: OpenStore):
    file = unpack(path.parent, "state_schema_4") / "dream.sqlite3"
    assert read_contents(file).version == 4
    with closing(sqlite3.connect(file)) as connection:
        before = rows(connection)
    store = await open_store(file)
    assert "migrated from version 4" in store.notes[0]
    with closing(sqlite3.connect(file)) as connection:
        after = rows(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert before.keys() <= after.keys()
    for table, kept in before.items():
        width = len(kept[0]) if kept else 0
        found = [row[:width] for row in after[table] if row[0] != WORDS_KEY]
        assert found == kept, table  # new columns come last

    assert [len(turns["turns"]) for turns in [await store.get(n) for n in range(1, 7)]] == [4, 3, 3, 4, 4, 1]
    assert [dialog.id for dialog in await store.open_dialogs()] == [6]
    assert [decision.reason for decision in await store.decisions(99)].count("chance") == 20


async def test_waits_for_a_lock_without_a_copy_at_each_attempt(
    path: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(places, "OPEN_S", 20.0)  # a machine may be busy
    file = unpack(path.parent, "state_schema_4") / "dream.sqlite3"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        store = await open_store(file, busy_timeout_s=0.05)
        for _ in range(3):
            assert await store.probe() == "locked"
        assert list(file.parent.glob("dream.sqlite3.*")) == []
        other.execute("ROLLBACK")
    assert await store.probe() is None
    assert len(list(file.parent.glob("dream.sqlite3.*"))) == 1


async def test_begins_no_backup_for_which_the_disk_has_no_room(
    small_disk: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    path = Path(shutil.copy(unpack(small_disk.parent, "state_schema_4") / "dream.sqlite3", small_disk))
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(bytes(free - path.stat().st_size - 32 * 1024))
    monkeypatch.setattr(places, "OPEN_S", 20.0)  # a machine may be busy
    with monkeypatch.context() as patched:
        patched.setattr(schema, "back_up", pytest.fail)
        store = await open_store(path)
        assert await store.probe() == "disk full"
    filler.unlink()
    assert await store.probe() is None
    assert "migrated from version 4" in store.notes[0]


@pytest.mark.parametrize("name", ["state_0_1", "state_schema_3"])
async def test_migrates_a_database_with_a_line_that_is_no_utf_8(path: Path, open_store: OpenStore, name: str):
    """The search index is made of all lines."""
    file = unpack(path.parent, name) / "dream.sqlite3"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE dream_turns SET text = CAST(x'7175FF67' AS TEXT) WHERE id = 1")
    store = await open_store(file)
    assert store.unavailable_reason is None
    assert [line["text"] for line in await store.search("qu", 9)] == ["qu\ufffdg"]


def rows(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'dream%'"
    return {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for (table,) in connection.execute(tables).fetchall()
        if not table.startswith("dream_search")
    }


def test_a_migration_that_fails_changes_nothing(path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE dream_meta (key, value)")
        steps = (("CREATE TABLE dream_one (id)",), ("CREATE TABLE dream_two (id)", "NOT SQL"))
        contents = read_contents(path)
        with pytest.raises(StoreError, match="not those of its version, 0; does it come from a dump"):
            migrate_database(connection, path, contents, 0.0, steps)
        assert read_contents(path) == contents == Contents(0, frozenset({"dream_meta"}))
        assert list(folder(path)) == [path.name]  # no copy: it is tried again at each tick, or start
        note = migrate_database(
            connection, path, contents, 1.0, (*steps[:1], ("CREATE TABLE dream_two (id)",))
        )
        assert (
            note
            == "migrated from version 0 to 2; the old one is kept as dream.sqlite3.version-0-19700101T000001Z"
        )
        assert read_contents(path) == Contents(2, frozenset({"dream_meta", "dream_one", "dream_two"}))
