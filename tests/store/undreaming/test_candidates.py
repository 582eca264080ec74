"""Which dialogues may be taken back, and why others may not."""

import pytest

from dreamd.errors import Refusal
from dreamd.store.records import Finish
from dreamd.store.store import Store
from dreamd.store.undreaming.candidates import Asked
from tests.helpers.store_rows import ADDED, STARTED_AT, fed_dream, line, new_dialog


async def hindrance(store: Store, number: int) -> str:
    [candidate] = await store.undream_candidates(Asked(id=number))
    return candidate.hindrance


async def test_says_why_a_dialogue_cannot_be_taken_back(store):
    with pytest.raises(Refusal, match="no dialogue 5"):
        await store.undream_candidates(Asked(id=5))
    running = await store.begin(new_dialog("dream-0", field="a field"))
    assert "has not ended" in await hindrance(store, running)
    await store.finish(running, Finish(at=STARTED_AT, outcome="empty"))
    assert "not fed to leo" in await hindrance(store, running)
    assert "without an id" in await hindrance(store, await fed_dream(store, "dream-2", field=None))
    number = await fed_dream(store, "dream-3", added=None)
    assert await hindrance(store, number) == ""  # of line 3 the host may know it
    await store.line_undone(number, 3, "unknown")
    assert await hindrance(store, number) == ""


async def test_finds_all_since_a_time_newest_first(store):
    numbers = [await fed_dream(store, f"dream-{n}", at=STARTED_AT + 60 * n) for n in range(3)]
    found = await store.undream_candidates(Asked(since=STARTED_AT + 60))
    assert [one.id for one in found] == [numbers[2], numbers[1]]


async def test_one_that_waits_may_be_asked_for_again_whatever_is_done_of_it(store):
    number = await fed_dream(store, "dream-1")
    await store.observed(number, line(3), "answered", added=ADDED)
    await store.ask_undream([number], STARTED_AT)
    for turn in (3, 1):
        await store.line_undone(number, turn, "done")
    assert await hindrance(store, number) == ""


async def test_finds_of_all_since_a_time_only_those_that_are_not_taken_back_already(store):
    numbers = [await fed_dream(store, f"dream-{n}", at=STARTED_AT + 60 * n) for n in range(3)]
    await store.ask_undream(numbers[1:2], STARTED_AT)
    await store.finish_undream(numbers[1], STARTED_AT)
    found = await store.undream_candidates(Asked(since=0.0))
    assert [one.id for one in found] == [numbers[2], numbers[0]]


@pytest.mark.parametrize("wrong", [{}, {"id": 1, "since": 1.0}, {"since": float("nan")}])
def test_asks_for_one_or_for_all_since(wrong):
    with pytest.raises(ValueError, match=r"expected either|finite"):
        Asked(**wrong)
