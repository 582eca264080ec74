"""What is kept for taking a dialogue back, for how long, and each step of it."""

import sqlite3
from contextlib import closing

import pytest

from dreamd.store import forgetting
from dreamd.store.store import Store
from dreamd.store.undreaming.candidates import Asked
from dreamd.store.undreaming.steps import FedLine
from tests.helpers.store_rows import ADDED, STARTED_AT, change, fed_dream, finish, fragment, line, new_dialog
from tests.store.conftest import rows


async def hindrance(store: Store, number: int) -> str:
    [candidate] = await store.undream_candidates(Asked(id=number))
    return candidate.hindrance


async def test_lines_are_undone_from_the_last_to_the_first_and_recorded(store):
    number = await fed_dream(store)
    assert await hindrance(store, number) == ""
    await store.ask_undream([number], STARTED_AT)
    assert await store.waiting_undreams() == [(number, "dream-1", "a field")]
    last, first = await store.lines_to_undo(number)
    assert (last, first) == (FedLine(3, None, line(3).text), FedLine(1, ADDED, ""))
    await store.line_undone(number, 3, "unknown")
    assert await store.lines_to_undo(number) == [first]
    await store.line_undone(number, 1, "done", 4)
    assert await store.lines_to_undo(number) == []
    assert await store.finish_undream(number, STARTED_AT) == {"lines": 1, "unknown": [3], "missing": 4}
    assert await store.waiting_undreams() == []
    assert await hindrance(store, number) == "is taken back already"


async def test_friend_loses_what_the_dialogue_brought_and_a_replay_still_finds_it(store):
    await store.seed(["I am small."], STARTED_AT)
    brought = change(added=(fragment(2, "of this one", dialog=1), fragment(3, "of another", dialog=9)))
    number = await fed_dream(store, change=brought)
    lost, memory = await store.ask_undream([number], STARTED_AT)
    assert (lost, memory) == ({number: 1}, await store.load())
    assert [each.text for each in memory.fragments] == ["I am small.", "of another"]
    assert (await store.ask_undream([number], STARTED_AT))[0] == {number: 0}


async def test_dialogue_without_a_file_gets_none_any_more(store):
    number = await store.begin(new_dialog(field="a field"))
    await store.record(number, line(1), STARTED_AT)
    await store.finish(number, finish(line(1)))
    assert len(await store.unwritten()) == 1
    await store.ask_undream([number], STARTED_AT)
    assert await store.unwritten() == []


async def test_tick_keeps_what_the_newest_added_and_what_is_to_be_taken_back(open_store, path):
    store = await open_store(path, undoable=1)
    numbers = [await fed_dream(store, f"dream-{n}") for n in range(3)]
    for number in numbers:
        await store.observed(number, line(3), "answered", added=ADDED)
    await store.ask_undream([numbers[0]], STARTED_AT)
    await store.tidy()
    kept = "SELECT DISTINCT dialog_id FROM dream_turns WHERE added IS NOT NULL ORDER BY 1"
    assert rows(path, kept) == [(numbers[0],), (numbers[2],)]
    told = [await hindrance(store, number) for number in numbers]
    assert (told[0], told[2]) == ("", "")
    assert told[1].endswith("was not kept, since newer ones take its place (store.undo_dialogues)")


async def test_without_diagnostics_nothing_is_kept_and_it_says_so(open_store, path):
    store = await open_store(path, diagnostics=False)
    number = await fed_dream(store)
    assert rows(path, "SELECT count(*) FROM dream_turns WHERE added IS NOT NULL") == [(0,)]
    await store.tidy()
    told = await hindrance(store, number)
    assert told.endswith("what it added to leo was not kept, since store.diagnostics was false")


async def test_forgetting_deletes_it(store, path):
    number = await fed_dream(store)
    await store.ask_undream([number], STARTED_AT)
    dreams = await store.forgettable(forgetting.Asked(id=number))
    await store.forget(dreams, forgetting.Asked(id=number))
    assert rows(path, "SELECT count(*) FROM dream_turns") == [(0,)]
    assert await store.waiting_undreams() == []


@pytest.mark.parametrize("added", [b"\x91", b"\xc1", ADDED + b"\xc0", b"\x91" * 2000, "text", 5])
async def test_what_is_no_whole_value_is_not_sent(store, path, added):
    """It would break the connection to leo, each time that it is tried."""
    number = await fed_dream(store)
    await store.ask_undream([number], STARTED_AT)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE dream_turns SET added = ? WHERE added IS NOT NULL", (added,))
    assert (await store.lines_to_undo(number))[1] == FedLine(1, None, "")
