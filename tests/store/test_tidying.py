"""Tidying at the tick: it empties the replay data of older dialogues, and without diagnostics every text, in every
table and in older databases too."""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from dreamd.errors import StoreUnavailable
from dreamd.store import tidying
from dreamd.store.forgetting import Asked
from dreamd.store.store import Store
from dreamd.store.writes import begin_dialog, truncate_wal
from tests.helpers.store_rows import STARTED_AT, change, end_open, finish, line, new_dialog, one_dream
from tests.helpers.trouble import Locked, impatient
from tests.store.conftest import rows

OpenStore = Callable[..., Awaitable[Store]]


def replayable(path: Path) -> list[int]:
    """Return the dialogues that hold any data that `replay` needs."""
    found = rows(
        path,
        """SELECT id FROM dream_dialogs WHERE coalesce(context, settings, friend_state, recalled) IS NOT NULL
        UNION SELECT dialog_id FROM dream_turns WHERE seed <> '' OR coalesce(said, candidates) IS NOT NULL""",
    )
    return [number for (number,) in found]


def words(path: Path) -> set[str]:
    """Return every text in the database, of any table and column."""
    found = set()
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        for table in tables:
            for row in connection.execute(f"SELECT * FROM {table}"):
                found |= {str(value) for value in row if isinstance(value, str | bytes)}
    return found


def state_of(*numbers: int) -> bytes:
    return msgspec.msgpack.encode([(number, 0.5) for number in numbers])


async def test_keeps_replay_data_only_of_the_newest_dialogues(path: Path, open_store: OpenStore):
    store = await open_store(path, replayable=3)
    for number in range(5):
        await one_dream(store, f"dream-{number}")
    assert replayable(path) == [1, 2, 3, 4, 5]
    await store.tidy()
    assert replayable(path) == [3, 4, 5]
    [first] = [turn for turn in (await store.get(1))["turns"] if turn["turn"] == 1]
    assert (first["text"], first["seed"], first["arousal"]) == ("the river keeps its stones", "", 0.2)
    assert await store.script(1) is None
    await one_dream(store, "dream-5")
    await store.tidy()
    assert replayable(path) == [4, 5, 6]
    assert len(await store.unwritten()) == 6  # their files are still to be written, with all that is in them


async def test_keeps_no_replay_data_if_set_so(path: Path, open_store: OpenStore):
    store = await open_store(path, replayable=0)
    await one_dream(store)
    await store.tidy()
    assert replayable(path) == []
    assert words(path) >= {"the river keeps its stones"}


async def test_keeps_the_replay_data_of_an_unfinished_dialogue(path: Path, open_store: OpenStore):
    """The dialogue may go on with its recorded data."""
    store = await open_store(path, replayable=1)
    running = await store.begin(new_dialog("dream-running"))
    await store.record(running, line(1), STARTED_AT)
    for number in range(3):
        await one_dream(store, f"dream-{number}")
    await store.tidy()
    assert replayable(path) == [1, 2, 3, 4]
    await store.finish(running, finish(line(1)))
    await store.tidy()
    assert replayable(path) == [4]


async def test_a_tick_without_new_writes_runs_no_statement(store: Store, monkeypatch: pytest.MonkeyPatch):
    await one_dream(store)
    await store.tidy()
    assert store._database
    with monkeypatch.context() as idle:
        idle.setattr(store._database, "_execute", None)
        await store.tidy()


async def test_an_older_database_is_emptied_some_dialogues_a_transaction(path: Path, open_store: OpenStore):
    """Other calls come in between. After a kill the next start finishes the work."""
    count = 5 * tidying.MOST
    store = await open_store(path)
    assert store._database
    await store._database.write(
        lambda connection: [
            begin_dialog(connection, new_dialog(f"dream-{number}", friend_state=state_of(1)))
            for number in range(count)
        ]
    )
    await end_open(store)
    tidied = asyncio.create_task(store.tidy())
    left = []
    while not tidied.done():
        await store.recent(1)
        left.append(len(replayable(path)))
    assert left == sorted(left, reverse=True)
    assert max(a - b for a, b in pairwise(left)) <= 2 * tidying.MOST
    assert len(replayable(path)) == 256
    await store.close()

    store = await open_store(path, replayable=10)
    await store.tidy()
    assert replayable(path) == list(range(count - 9, count + 1))


async def test_stops_at_trouble_until_the_next_tick(path: Path, open_store: OpenStore):
    store = await open_store(path, replayable=0)
    await one_dream(store)
    await impatient(store)
    lock = Locked(path.parent)
    lock.begin()
    await store.tidy()
    assert (store.unavailable_reason, replayable(path)) == ("locked", [1])
    await store.tidy()
    lock.end()
    await store.probe()
    await store.tidy()
    assert replayable(path) == []


async def test_deletes_a_removed_fragment_with_the_last_dialogue_that_began_with_it(
    path: Path, open_store: OpenStore
):
    store = await open_store(path, replayable=2)
    await store.seed(["one", "two", "three"], STARTED_AT)
    for number, left in enumerate([(), (1,), (2,), (3,), ()]):
        dialog = await store.begin(
            new_dialog(f"dream-{number}", friend_state=state_of(*range(1 + number, 4)))
        )
        await store.finish(dialog, finish(change=change(left=left)))
    await store.tidy()
    assert rows(path, "SELECT id FROM dream_fragments_past") == []
    assert [f.id for f in (await store.load()).fragments] == []
    assert (await store.load()).next_fragment_id == 4


@pytest.mark.parametrize("state", ["7", "'text'", "x'00'"])
async def test_an_unreadable_dialogue_does_not_stop_tidying(path: Path, open_store: OpenStore, state: str):
    store = await open_store(path)
    await store.seed(["one", "two"], STARTED_AT)
    dialog = await store.begin(new_dialog())
    await store.finish(dialog, finish(change=change(left=(1, 2))))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"UPDATE dream_dialogs SET friend_state = {state}")
    await store.tidy()
    assert rows(path, "SELECT id FROM dream_fragments_past") == []


async def test_keeps_a_fragment_that_has_just_left_the_buffer(path: Path, open_store: OpenStore, clock):
    """A dialogue that begins just now may use it."""
    store = await open_store(path)
    await store.seed(["one", "two"], STARTED_AT)
    dialog = await store.begin(new_dialog())
    just = msgspec.structs.replace(finish(change=change(left=(1, 2))), at=clock.wall() - 5)
    await store.finish(dialog, just)
    await store.tidy()
    assert rows(path, "SELECT id FROM dream_fragments_past") == [(1,), (2,)]


async def test_a_dialogue_whose_friend_had_a_forgotten_fragment_is_not_kept_for_a_replay(
    path: Path, open_store: OpenStore
):
    store = await open_store(path)
    state = {"friend_state": state_of(9), "context": b"{}", "settings": b"{}"}
    number = await store.begin(new_dialog(**state))
    await store.finish(number, finish())
    assert await store.script(number) is None


# Without diagnostics.


async def private(store: Store, trace_id: str, *, left: tuple[int, ...] = ()) -> int:
    """Write a dialogue with texts in every place that takes one."""
    number = await store.begin(new_dialog(trace_id, context=b'"a private prompt"'))
    said = line(1, "a private line", seed="a private seed", candidates=("a private answer",))
    await store.record(number, said, STARTED_AT)
    await store.recalled(number, ["a private memory"])
    await store.finish(number, finish(said, recalled=["a private memory"], change=change(left=left)))
    return number


async def test_without_diagnostics_keeps_no_removed_fragment(path: Path, open_store: OpenStore):
    store = await open_store(path, diagnostics=False)
    await store.seed(["a private fragment", "another"], STARTED_AT)
    number = await private(store, "dream-1", left=(1,))
    await store.shard_written(number, STARTED_AT)
    assert not [word for word in words(path) if "private" in word]


async def test_without_diagnostics_keeps_a_replaced_friend_only_as_the_undo(
    path: Path, open_store: OpenStore
):
    """The undo is the user's own, and stays."""
    store = await open_store(path, diagnostics=False)
    await store.seed(["a private fragment"], STARTED_AT)
    await store.replace_friend([], STARTED_AT)
    assert rows(path, "SELECT * FROM dream_fragments_past") == []


async def test_empties_earlier_texts_after_diagnostics_are_turned_off(path: Path, open_store: OpenStore):
    store = await open_store(path)
    await store.seed(["a private fragment", "another", "a third"], STARTED_AT)
    for number in range(1, 2 * tidying.MOST + 3):
        await private(store, f"dream-{number}", left=(number,) if number < 3 else ())
        await store.shard_written(number, STARTED_AT)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:  # as 0.1.0 did
        connection.execute("UPDATE dream_turns SET said = 'a private word'")
    assert len([word for word in words(path) if "private" in word]) >= 6
    await store.close()

    store = await open_store(path, diagnostics=False)
    waits = await private(store, "dream-that-waits")
    await store.tidy()
    assert [d.id for d in await store.unwritten()] == [waits]
    assert (await store.unwritten())[0].turns[0]["text"] == "a private line"  # until its file is written
    await store.shard_written(waits, STARTED_AT)
    await store.tidy()
    assert not [word for word in words(path) if "private" in word]
    await store.close()
    assert b"private" not in path.read_bytes()


async def test_what_was_forgotten_is_scrubbed_at_a_later_tick_if_the_database_was_locked(
    path: Path, open_store: OpenStore
):
    store = await open_store(path)
    number = await private(store, "dream-1")
    await store.tidy()  # what an earlier daemon left
    asked = Asked(id=number)
    await store.forget(await store.forgettable(asked), asked)
    await impatient(store)
    lock = Locked(path.parent)
    lock.begin()
    with pytest.raises(StoreUnavailable):
        await store.scrub()
    await store.tidy()
    mark = "SELECT value FROM dream_meta WHERE key = 'dream_unscrubbed'"
    assert rows(path, mark) == [("1",)]
    lock.end()
    await store.probe()
    await store.tidy()
    assert rows(path, mark) == []
    before = os.stat(path)
    await store.tidy()
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


async def test_what_was_forgotten_is_scrubbed_when_the_disk_has_room_and_fills_no_disk(
    small_disk: Path, open_store: OpenStore
):
    path = small_disk / "dream.sqlite3"
    store = await open_store(path)
    number = await private(store, "dream-1")
    await store._read(truncate_wal)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 160 * 1024))
    asked = Asked(id=number)
    await store.forget(await store.forgettable(asked), asked)
    assert not await store.scrub()
    assert (store.unavailable_reason, store.sizes()["wal_bytes"]) == (None, 0)
    assert b"private" not in path.read_bytes()
    await one_dream(store, "dream-2")
    await store.tidy()
    mark = "SELECT value FROM dream_meta WHERE key = 'dream_unscrubbed'"
    assert rows(path, mark) == [("1",)]
    filler.unlink()
    await store.tidy()
    assert (rows(path, mark), store.unavailable_reason) == ([], None)


@pytest.mark.parametrize("state", [b"\x91\x92\xa1\xff\x01", b"\x91" * 5000, 5, "x"], ids=range(4))
async def test_a_damaged_friend_state_does_not_stop_the_tidying(
    store: Store, path: Path, state: object
) -> None:
    await one_dream(store)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE dream_dialogs SET friend_state = ?, context = '{}'", (state,))
        connection.commit()
        assert tidying.forget_fragments(connection, STARTED_AT) is not None


async def test_keeps_what_a_dialogue_added_to_a_field_while_it_waits_to_be_taken_back(
    path: Path, open_store: OpenStore
):
    store = await open_store(path, undoable=0)
    for trace_id in ("waits", "stays"):
        await one_dream(store, trace_id)

    def prepare(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE dream_turns SET added = x'01'")
        connection.execute("UPDATE dream_dialogs SET undone = 'waiting' WHERE id = 1")

    await store._write(prepare)
    await store.tidy()
    assert rows(path, "SELECT DISTINCT dialog_id FROM dream_turns WHERE added IS NOT NULL") == [(1,)]
