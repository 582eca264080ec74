"""Reading the database: dialogues, running ones too, and the memory of the store."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.msgpack import encode

from dreamd.errors import Refusal
from dreamd.store.forgetting import Asked
from dreamd.store.store import PART, Store
from tests.helpers.store_rows import (
    STARTED_AT,
    finish,
    line,
    new_dialog,
    one_dream,
)
from tests.store.conftest import OpenStore


async def test_reads_a_dialogue_as_it_was_stored(store: Store):
    number = await store.begin(new_dialog())
    await store.record(number, line(1, quality=0.6), STARTED_AT + 1)
    await store.record(number, line(2, "дождь \x00 ☂", expert="wounded"), STARTED_AT + 2)
    final = [line(1, trauma=0.9, arousal=0.7, overlap=0.8), line(2, trauma=0.5, arousal=0.1, novelty=1.0)]
    end = finish(*final, outcome="hook_error", ended_by="generate raised TypeError", drift=0.25)
    end.observed.update({1: "answered", 2: "failed"})
    await store.finish(number, end)

    dialog = await store.get(number)
    turns = dialog.pop("turns")
    assert dialog == {
        "id": number,
        "trace_id": "dream-1",
        "started_at": STARTED_AT,
        "finished_at": STARTED_AT + 9,
        "outcome": "hook_error",
        "lines": 2,
        "client": "leo",
        "avg_trauma": pytest.approx(0.7),
        "avg_arousal": pytest.approx(0.4),
        "drift": 0.25,
        "note": "generate raised TypeError",
        "fed": True,
        "undone": None,
        "opening": "the river keeps its stones",
    }
    assert await store.recent(5) == [dialog]
    assert turns[0] == {
        "turn": 1,
        "speaker": "leo",
        "text": "the river keeps its stones",
        "novelty": 0.1,
        "arousal": 0.7,
        "entropy": 0.3,
        "trauma": 0.9,
        "overlap": 0.8,
        "quality": None,
        "seed": "a seed of words",
        "temperature": 0.75,
        "semantic_weight": 0.35,
        "expert": "",
        "observed": "answered",
        "at": STARTED_AT + 1,
        "undone": None,
        "missing": None,
    }
    assert (turns[1]["text"], turns[1]["expert"], turns[1]["observed"]) == (
        "дождь \x00 ☂",
        "wounded",
        "failed",
    )
    assert await store.drift(5) == [{"id": number, "at": STARTED_AT + 9, "drift": 0.25}]


async def test_the_lines_of_a_running_dialogue_are_counted_and_readable(store: Store):
    number = await store.begin(new_dialog())
    await store.record(number, line(1), STARTED_AT)
    dialog = await store.get(number)
    assert (dialog["lines"], dialog["outcome"], dialog["finished_at"]) == (1, None, None)
    assert [turn["turn"] for turn in dialog["turns"]] == [1]
    assert await store.unwritten() == []


async def test_recent_is_newest_first(store: Store):
    for number, at in enumerate((10.0, 30.0, 20.0, 30.0)):
        await one_dream(store, f"dream-{number}", at=at)
    assert [dialog["id"] for dialog in await store.recent(3)] == [4, 2, 3]
    for before, page in ((4, [2, 3]), (2, [3, 1]), (1, []), (99, [4, 2])):
        assert [dialog["id"] for dialog in await store.recent(2, before)] == page
    asked = Asked(id=2)
    await store.forget(await store.forgettable(asked), asked)
    assert [dialog["id"] for dialog in await store.recent(2, 2)] == [1]
    assert [dialog["id"] for dialog in await store.recent(2, 3)] == [1]


async def test_ignores_foreign_values_in_meta(store: Store, path: Path, open_store: OpenStore):
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        junk = [("dream_last_run_ts:nan", "nan"), ("dream_last_run_ts", None), ("dream_outcome:odd", "much")]
        junk += [("dream_outcome:vast", "1e300"), ("dream_inbox_dropped", str(1 << 62))]
        connection.executemany("INSERT INTO dream_meta VALUES (?, ?)", junk)
        connection.commit()
    memory = await (await open_store(path)).load()
    assert (memory.last_run, memory.outcomes, memory.dropped) == ({}, {}, 0)


async def test_a_dialogue_is_unwritten_until_its_shard_is(store: Store):
    first, second, third = [await one_dream(store, f"dream-{n}") for n in range(3)]
    silent = await store.begin(new_dialog("dream-silent"))
    await store.finish(silent, finish(outcome="empty"))
    await store.shard_written(second, STARTED_AT + 10)
    pending = await store.unwritten()
    assert [(dialog.id, dialog.trace_id, dialog.outcome) for dialog in pending] == [
        (first, "dream-0", "complete"),
        (third, "dream-2", "complete"),
    ]
    assert pending[0].turns == (await store.get(first))["turns"]
    assert [dialog.id for dialog in await store.unwritten([first])] == [third]
    assert [dialog.id for dialog in await store.unwritten(n=1)] == [first]


async def why_not_replayable(store: Store, number: int) -> str:
    with pytest.raises(Refusal) as refused:
        await store.replayable_script(number)
    return str(refused.value)


async def test_a_dialogue_that_cannot_be_replayed_has_the_reason_that_holds(
    path: Path, open_store: OpenStore
):
    store = await open_store(path, replayable=3)
    for number in range(1, 5):
        await one_dream(store, f"dream-{number}")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE dream_dialogs SET friend_state = ?", (encode([(7, 0.5)]),))
    running = await store.begin(new_dialog("dream-5"))
    await store.tidy()
    assert "newer ones take their place" in await why_not_replayable(store, 1)
    assert "was forgotten" in await why_not_replayable(
        store, 3
    )  # its friend had a fragment that is not there
    assert "has not ended" in await why_not_replayable(store, running)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO dream_dialogs (id, started_at) VALUES (9, 0)")
    assert "leo's own dream.py" in await why_not_replayable(store, 9)
    assert "no dialogue 10" in await why_not_replayable(store, 10)


async def test_a_dialogue_without_texts_says_that_diagnostics_were_off(path: Path, open_store: OpenStore):
    store = await open_store(path, diagnostics=False)
    number = await one_dream(store)
    await store.shard_written(number, STARTED_AT)
    assert "store.diagnostics was false" in await why_not_replayable(store, number)
    with pytest.raises(Refusal, match="the friend before dialogue 1 is not known: its texts were emptied"):
        await store.friend_before(number)


async def test_p11_a_write_waits_for_a_part_of_a_page(store: Store):
    """The page goes on behind it, and misses none, although the last dialogue of its first part is forgotten then."""
    count, statements = 3 * PART + 5, list[str]()
    number, loop = await store.begin(new_dialog()), asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), threading.Event()

    def trace(said: str) -> None:
        """Hold the first part of the page until the write waits for it."""
        statements.append(said)
        if f" LIMIT {PART}" in said and not go_on.is_set():
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(20)

    def prepare(connection: sqlite3.Connection) -> None:
        rows = ((n, STARTED_AT + n) for n in range(number + 1, number + count))
        connection.executemany("INSERT INTO dream_dialogs (id, started_at) VALUES (?, ?)", rows)
        connection.set_trace_callback(trace)

    await store._read(prepare)
    forgotten = "DELETE FROM dream_dialogs WHERE id = ?"  # the last one of the first part
    reading = asyncio.create_task(store.recent(1000))
    await begun.wait()
    writing = asyncio.create_task(store._write(sqlite3.Connection.execute, forgotten, (count - PART + 1,)))
    await asyncio.sleep(0)  # now it is in the queue
    go_on.set()
    page, _ = await asyncio.gather(reading, writing)
    assert [dialog["id"] for dialog in page] == list(range(count, 0, -1))
    steps = [
        said.partition(" LIMIT ")[2] or "write"
        for said in statements
        if said.startswith("BEGIN") or f" LIMIT {PART}" in said
    ]
    assert steps == [str(PART), "write", *[str(PART)] * 4]


async def test_p11_a_write_waits_for_a_part_of_what_is_looked_up_for_the_inbox(store: Store):
    """After a dialogue all waiting files may be looked up, which may be thousands."""
    await one_dream(store, "dream-1")
    statements = list[str]()
    await store._read(lambda connection: connection.set_trace_callback(statements.append))
    found, _ = await asyncio.gather(store.shards_of(["another"] * 1000 + ["dream-1"]), store.count_dropped(1))
    assert list(found) == ["dream-1"]
    looked_up_before = statements[: statements.index("BEGIN IMMEDIATE")]
    assert (len(looked_up_before), len(statements) > 1000) == (PART, True)
