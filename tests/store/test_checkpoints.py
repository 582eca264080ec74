"""The friend's buffer kept under a name, and replaced as a whole."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.dream.copies import Copy, copies_of
from dreamd.errors import StoreError
from dreamd.store import Store
from tests.helpers.store_rows import STARTED_AT, change, finish, fragment, line, new_dialog

SEA = Copy(text="the sea", weight=0.4, dialog=7, added_at=STARTED_AT)


async def friend_of_three(store: Store) -> list[Copy]:
    await store.seed(["one stone", "two lamps"], STARTED_AT)
    number = await store.begin(new_dialog())
    await store.record(number, line(1), STARTED_AT)
    await store.finish(number, finish(line(1), change=change(added=(fragment(3, "a third", dialog=number),))))
    return copies_of((await store.load()).fragments)


async def test_a_checkpoint_comes_back_as_it_was_kept(store: Store):
    copies = await friend_of_three(store)
    assert await store.keep("first", copies, STARTED_AT, again=False)
    assert await store.checkpoint("first") == copies
    assert await store.checkpoint("other") is None
    assert await store.checkpoints(5) == [{"name": "first", "at": STARTED_AT, "learned": 1, "origin": 2}]


async def test_a_name_that_is_taken_is_given_again_only_on_purpose(store: Store):
    for name in ("first", "second"):
        assert await store.keep(name, [SEA], STARTED_AT, again=False)
    assert not await store.keep("first", [], STARTED_AT + 1, again=False)
    assert await store.checkpoint("first") == [SEA]
    assert await store.keep("first", [], STARTED_AT + 2, again=True)
    assert [(c["name"], c["at"]) for c in await store.checkpoints(5)] == [
        ("first", STARTED_AT + 2),
        ("second", STARTED_AT),
    ]
    assert [c["name"] for c in await store.checkpoints(1)] == ["first"]


async def test_what_stays_keeps_its_id_and_what_goes_can_still_be_found(store: Store, path: Path):
    """P13: a replay finds a fragment by the id that it had."""
    before = await friend_of_three(store)
    wanted = [Copy(text="two lamps", weight=0.8, origin=True), SEA, Copy(text="two lamps", weight=0.1)]
    memory, counts = await store.replace_friend(wanted, before, STARTED_AT + 20)
    assert counts == {"kept": 1, "added": 2, "left": 2}
    assert [(f.id, f.text, f.weight, f.origin, f.dialog) for f in memory.fragments] == [
        (2, "two lamps", 0.8, True, None),
        (4, "the sea", 0.4, False, 7),
        (5, "two lamps", 0.1, False, None),
    ]
    assert (await store.load()) == memory
    assert memory.next_fragment_id == 6
    assert await store.checkpoint("previous") == before
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        past = connection.execute("SELECT id, text, left_at FROM dream_fragments_past").fetchall()
    assert past == [(1, "one stone", STARTED_AT + 20), (3, "a third", STARTED_AT + 20)]


async def test_it_is_replaced_whole_or_not_at_all(store: Store):
    before = await friend_of_three(store)
    wrong = [SEA, Copy(text=None, weight=0.5)]  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="NOTNULL"):
        await store.replace_friend(wrong, before, STARTED_AT)
    assert copies_of((await store.load()).fragments) == before
    assert await store.checkpoints(5) == []
