"""The friend's buffer kept under a name, and replaced as a whole."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dreamclient.messages import Code

from dreamd.dream.fragment_records import FragmentRecord, to_records
from dreamd.errors import Refusal, StoreError
from dreamd.store import tidying
from dreamd.store.checkpoints import UNDOS
from dreamd.store.forgetting import Asked
from dreamd.store.store import Store
from tests.helpers.store_rows import STARTED_AT, change, finish, fragment, line, new_dialog, one_dream

SEA = FragmentRecord(text="the sea", weight=0.4, dialog=7, added_at=STARTED_AT)


async def friend_of_three(store: Store) -> list[FragmentRecord]:
    await store.seed(["one stone", "two lamps"], STARTED_AT)
    number = await store.begin(new_dialog())
    await store.record(number, line(1), STARTED_AT)
    await store.finish(number, finish(line(1), change=change(added=(fragment(3, "a third", dialog=number),))))
    return to_records((await store.load()).fragments)


async def names(store: Store) -> list[str]:
    return [each["name"] for each in await store.checkpoints(100)]


async def replaced(store: Store, *texts: str, origin: str = "one stone") -> dict[str, Any]:
    """Put an origin of one fragment and these learned ones in the friend's place."""
    copies = [
        FragmentRecord(text=origin, weight=1.0, origin=True),
        *(FragmentRecord(text=text, weight=0.3) for text in texts),
    ]
    return (await store.replace_friend(copies, STARTED_AT))[1]


async def learned(store: Store, name: str) -> list[str]:
    return [copy.text for copy in await store.checkpoint(name) if not copy.origin]


async def test_a_checkpoint_comes_back_as_it_was_kept(store: Store):
    copies = await friend_of_three(store)
    kept = await store.keep("first", STARTED_AT, again=False)
    assert kept == {"name": "first", "fragments": 3, "origin": 2}
    assert await store.checkpoint("first") == copies
    with pytest.raises(Refusal, match="no checkpoint of that name"):
        await store.checkpoint("other")
    assert await store.checkpoints(5) == [{"name": "first", "at": STARTED_AT, "learned": 1, "origin": 2}]


async def test_replaces_a_checkpoint_only_on_purpose(store: Store):
    await replaced(store)
    for name in ("first", "second"):
        await store.keep(name, STARTED_AT, again=False)
    await replaced(store, "a third")
    with pytest.raises(Refusal, match="choose another name, or replace it"):
        await store.keep("first", STARTED_AT + 1, again=False)
    assert await learned(store, "first") == []
    await store.keep("first", STARTED_AT + 2, again=True)
    assert await learned(store, "first") == ["a third"]
    assert await names(store) == ["first", "previous", "second"]
    assert [c["at"] for c in await store.checkpoints(1)] == [STARTED_AT + 2]


@pytest.mark.parametrize("name", ["previous", "previous~2", "origin", "origin~1", "a~b"])
async def test_refuses_reserved_names(store: Store, name: str):
    await friend_of_three(store)
    for again in (False, True):
        with pytest.raises(Refusal, match="the daemon's own") as caught:
            await store.keep(name, STARTED_AT, again=again)
        assert caught.value.code == Code.INVALID_PARAMS
    assert await names(store) == []


async def test_at_most_32_are_kept_by_name_and_one_can_be_deleted(store: Store):
    await friend_of_three(store)
    for number in range(32):
        await store.keep(f"c{number}", STARTED_AT, again=False)
    await replaced(store, "a change")  # neither the undo nor an origin counts
    await replaced(store, origin="another origin")
    with pytest.raises(Refusal, match=r"32 is the most.*--delete NAME") as caught:
        await store.keep("one-more", STARTED_AT, again=False)
    assert caught.value.code == Code.UNAVAILABLE
    await store.keep("c5", STARTED_AT, again=True)
    await store.delete_checkpoint("c7")
    with pytest.raises(Refusal, match="no checkpoint of that name"):
        await store.delete_checkpoint("c7")
    await store.keep("one-more", STARTED_AT, again=False)
    assert len(await names(store)) == 32 + 2 + 2


async def test_a_checkpoint_is_bounded_in_bytes(store: Store):
    await replaced(store, *(f"{number} {'x' * 400}" for number in range(3000)))
    with pytest.raises(Refusal, match=r"takes .* bytes; a checkpoint holds at most 1048576"):
        await store.keep("large", STARTED_AT, again=False)
    assert await names(store) == []


async def test_five_changes_can_be_undone(store: Store):
    assert (await replaced(store, "state 0"))["undo"] is None
    for number in range(1, 8):
        assert (await replaced(store, f"state {number}"))["undo"] == "previous"
    for number, name in enumerate(UNDOS):
        assert await learned(store, name) == [f"state {6 - number}"]
    assert await names(store) == list(UNDOS)


async def test_an_empty_change_leaves_the_undos_alone(store: Store):
    await replaced(store, "a state")
    await replaced(store, "another")
    for _ in range(6):
        answer = await replaced(store, "another")
        assert (answer["kept"], answer["added"], answer["left"], answer["undo"]) == (2, 0, 0, None)
    assert await learned(store, "previous") == ["a state"]


async def test_undoing_back_and_forth_drops_no_older_undo(store: Store):
    for number in range(1, 7):
        await replaced(store, f"state {number}")
    for _ in range(6):
        await store.replace_friend(await store.checkpoint("previous"), STARTED_AT)
    kept = [await learned(store, name) for name in UNDOS]
    assert kept == [["state 5"], ["state 4"], ["state 3"], ["state 2"], ["state 1"]]


async def test_p4_keeps_each_former_origin_once(store: Store):
    await replaced(store, "with the first", origin="first")
    assert (await replaced(store, "with the first, later", origin="first"))["origin_kept"] is None
    assert (await replaced(store, origin="second"))["origin_kept"] == "origin~1"
    assert (await replaced(store, origin="third"))["origin_kept"] == "origin~2"
    assert await learned(store, "origin~1") == ["with the first, later"]
    for _ in range(3):
        await store.replace_friend(await store.checkpoint("origin~1"), STARTED_AT)
        assert (await replaced(store, origin="third"))["origin_kept"] == "origin~1"
    assert sorted(name for name in await names(store) if "origin" in name) == [
        "origin~1",
        "origin~2",
        "origin~3",
    ]


async def test_p4_no_origin_goes_when_16_are_kept(store: Store):
    for number in range(17):
        await replaced(store, origin=f"birth {number}")
    before = await store.load()
    kept = await names(store)
    with pytest.raises(Refusal, match=r"16 is the most.*--delete origin~1`") as caught:
        await replaced(store, "more", origin="birth 17")
    assert caught.value.code == Code.UNAVAILABLE
    assert (await store.load(), await names(store)) == (before, kept)
    await replaced(store, "what leaves the origin alone goes on", origin="birth 16")
    await store.delete_checkpoint("origin~3")
    assert (await replaced(store, origin="birth 17"))["origin_kept"] == "origin~17"


async def test_p13_kept_fragments_keep_their_ids_and_removed_ones_can_be_found(store: Store, path: Path):
    """P13: a replay finds a fragment by the id that it had."""
    before = await friend_of_three(store)
    wanted = [
        FragmentRecord(text="two lamps", weight=0.8, origin=True),
        SEA,
        FragmentRecord(text="two lamps", weight=0.1),
    ]
    memory, counts = await store.replace_friend(wanted, STARTED_AT + 20)
    assert counts == {
        "kept": 1, "added": 2, "left": 2, "added_dropped": 0, "added_forgotten": 1,
        "undo": "previous", "origin_kept": "origin~1",
    }  # fmt: skip
    assert [(f.id, f.text, f.weight, f.origin, f.dialog) for f in memory.fragments] == [
        (2, "two lamps", 0.8, True, None),
        (4, "the sea", 0.4, False, 7),
        (5, "two lamps", 0.1, False, None),
    ]
    assert (await store.load()) == memory
    assert memory.next_fragment_id == 6
    assert await store.checkpoint("previous") == await store.checkpoint("origin~1") == before
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        past = connection.execute("SELECT id, text, left_at FROM dream_fragments_past").fetchall()
    assert past == [(1, "one stone", STARTED_AT + 20), (3, "a third", STARTED_AT + 20)]


async def test_repeated_replacements_do_not_fill_the_database(store: Store, path: Path):
    """The fragments that a dialogue began with are kept for its replay, and no id is used twice."""
    await replaced(store, *(f"dreamt {number}" for number in range(5)))
    dreamt = (await store.load()).fragments
    state = msgspec.msgpack.encode([(each.id, each.weight) for each in dreamt])
    number = await store.begin(new_dialog(friend_state=state))
    await store.record(number, line(1), STARTED_AT)
    await store.finish(number, finish(line(1)))
    ids = {each.id for each in dreamt}
    for round_ in range(20):
        await replaced(store, *(f"brought {round_} {number}" for number in range(50)))
        new = {each.id for each in (await store.load()).fragments} - {1}
        assert not new & ids
        ids |= new
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        past = [text for (text,) in connection.execute("SELECT text FROM dream_fragments_past ORDER BY id")]
    assert past[:5] == [f"dreamt {number}" for number in range(5)]
    assert len(past) <= 5 + 50 + 1


@pytest.mark.parametrize(
    "failing",
    ["INSERT ON dream_bootstrap_fragments", "INSERT ON dream_checkpoints", "INSERT ON dream_fragments_past"],
)
async def test_p4_replaces_the_buffer_in_one_transaction(store: Store, path: Path, failing: str):
    before = await friend_of_three(store)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TRIGGER t BEFORE {failing} BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError):
        await replaced(store, "the sea", origin="another origin")
    assert to_records((await store.load()).fragments) == before
    assert await store.checkpoints(5) == []


async def test_a_text_that_becomes_part_of_the_origin_gets_an_id_of_its_own(store: Store):
    """An earlier dialogue that began with the learned fragment still finds it as it was."""
    before = await friend_of_three(store)
    dialog = await store.begin(new_dialog("dream-2", friend_state=msgspec.msgpack.encode([(3, 0.3)])))
    reborn = [msgspec.structs.replace(copy, origin=True) for copy in before]
    await store.replace_friend(reborn, STARTED_AT)
    now = (await store.load()).fragments
    assert [(f.id, f.text, f.origin) for f in now][-1] == (4, "a third", True)
    assert to_records(await store.friend_before(dialog)) == [before[2]]


async def test_counts_what_was_dropped_or_forgotten_among_what_comes_back(store: Store):
    before = await friend_of_three(store)
    await store.replace_friend(before[:2], STARTED_AT, dropped=[3])
    _, counts = await store.replace_friend([*before, SEA], STARTED_AT)
    assert (counts["added"], counts["added_dropped"], counts["added_forgotten"]) == (2, 1, 1)
    await store.replace_friend(before[:2], STARTED_AT)  # this time it goes without being dropped
    _, counts = await store.replace_friend(before, STARTED_AT)
    assert (counts["added"], counts["added_dropped"]) == (1, 0)


async def test_remembers_the_last_dropped_fragments_though_no_replay_needs_them(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tidying, "DROPPED", 2)
    origin = FragmentRecord(text="one stone", weight=1.0, origin=True)
    learned = [FragmentRecord(text=f"thing {n}", weight=0.3) for n in range(5)]
    await store.replace_friend([origin, *learned], STARTED_AT)
    await store.replace_friend([origin], STARTED_AT, dropped=[2, 3, 4])  # and two others go by themselves
    await store.tidy()
    with closing(sqlite3.connect(path)) as connection:
        past = connection.execute("SELECT text FROM dream_fragments_past ORDER BY id").fetchall()
    assert past == [("thing 1",), ("thing 2",)]


async def test_p4_a_damaged_checkpoint_is_named_and_no_origin_is_lost_because_of_it(store: Store, path: Path):
    """P4: the origin that goes is kept beside the damaged checkpoint of an earlier one."""
    await friend_of_three(store)
    await replaced(store, origin="another stone")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE dream_checkpoints SET fragments = CAST('[\"' AS BLOB)")
        connection.commit()
    with pytest.raises(Refusal, match=r"checkpoint origin~1: .* cannot be read; delete it: `dreamctl friend"):
        await store.checkpoint("origin~1")
    assert (await replaced(store, origin="a third stone"))["origin_kept"] == "origin~2"
    assert [copy.text for copy in await store.checkpoint("origin~2")] == ["another stone"]


@pytest.mark.parametrize("fragments", ["[", '["a"]', "[1]", "{}"])
async def test_a_damaged_checkpoint_is_named_and_hinders_no_forgetting(
    store: Store, path: Path, fragments: str
) -> None:
    number = await one_dream(store)
    await store.keep("tuesday", 1.0, again=False)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE dream_checkpoints SET fragments = ?", (fragments,))
    asked = Asked(id=number, everywhere=True)
    gone, _ = await store.forget(await store.forgettable(asked), asked)
    assert (gone.lines, gone.checkpoints_left) == (3, ["tuesday"])
