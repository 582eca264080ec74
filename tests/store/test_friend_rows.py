"""The friend in the database: origin, drift, and removed fragments."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.errors import StoreError
from dreamd.store.store import Store
from tests.helpers.store_rows import STARTED_AT, change, finish, fragment, line, new_dialog

OpenStore = Callable[..., Awaitable[Store]]


async def dream_of(store: Store, trace_id: str, **changes) -> int:
    number = await store.begin(new_dialog(trace_id))
    await store.record(number, line(1), STARTED_AT)
    await store.finish(number, finish(line(1), change=change(**changes)))
    return number


async def test_p4_the_first_seed_wins(store: Store):
    assert (await store.seed([], STARTED_AT))[0] == 0
    stored, memory = await store.seed(["one stone", "two lamps"], STARTED_AT)
    assert (stored, memory) == (2, await store.load())
    assert await store.seed(["another birth"], STARTED_AT + 1) == (0, memory)
    memory = await store.load()
    assert memory.fragments == [
        fragment(1, "one stone", weight=1.0, origin=True),
        fragment(2, "two lamps", weight=1.0, origin=True),
    ]
    assert memory.next_fragment_id == 3


async def test_a_change_of_the_friend_is_there_after_the_next_start(
    store: Store, path: Path, open_store: OpenStore
):
    await store.seed(["one stone", "two lamps"], STARTED_AT)
    added = (fragment(3, "a third thing", dialog=1), fragment(4, dialog=1))
    await dream_of(store, "dream-1", added=added, weights=((1, 0.99), (2, 0.98)))
    await dream_of(store, "dream-2", added=(fragment(5, dialog=2),), weights=((3, 0.297),), left=(4,))
    await store.close()
    memory = await (await open_store(path)).load()
    assert [(f.id, f.text, f.weight, f.origin, f.dialog) for f in memory.fragments] == [
        (1, "one stone", 0.99, True, None),
        (2, "two lamps", 0.98, True, None),
        (3, "a third thing", 0.297, False, 1),
        (5, "fragment 5", 0.3, False, 2),
    ]


async def test_removed_fragments_can_be_found_and_their_ids_are_not_reused(store: Store, path: Path):
    await dream_of(store, "dream-1", added=(fragment(1), fragment(2, "it was here", weight=0.31, dialog=1)))
    await dream_of(store, "dream-2", left=(2,))
    memory = await store.load()
    assert [f.id for f in memory.fragments] == [1]
    assert memory.next_fragment_id == 3
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        past = connection.execute("SELECT * FROM dream_fragments_past").fetchall()
    assert past == [(2, "it was here", 0.31, 0, 1, STARTED_AT, STARTED_AT + 9, 0)]


async def test_stores_an_end_and_the_friends_change_in_one_transaction(store: Store):
    await store.seed(["one stone"], STARTED_AT)
    number = await store.begin(new_dialog())
    await store.record(number, line(1), STARTED_AT)
    taken = change(added=(fragment(2), fragment(1, "an id that is taken")), weights=((1, 0.5),))
    with pytest.raises(StoreError, match="SQLITE_CONSTRAINT_PRIMARYKEY"):
        await store.finish(number, finish(line(1), change=taken))
    memory = await store.load()
    assert [(f.id, f.weight) for f in memory.fragments] == [(1, 1.0)]
    assert (memory.dialogs, memory.lines) == (0, 0)
    assert (await store.get(number))["finished_at"] is None
    await store.finish(number, finish(line(1)))
    assert (await store.load()).dialogs == 1
