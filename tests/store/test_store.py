"""A dialogue in the database, from its beginning to its reading."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from dreamd.errors import StoreError
from dreamd.store.records import Charge
from dreamd.store.store import Store
from tests.helpers.store_rows import (
    SEED,
    STARTED_AT,
    change,
    end_open,
    finish,
    fragment,
    line,
    new_dialog,
    one_dream,
)

OpenStore = Callable[..., Awaitable[Store]]


def rows(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


async def test_a_fresh_store_remembers_nothing(store: Store):
    memory = await store.load()
    assert (memory.fragments, memory.next_fragment_id, memory.last_run) == ([], 1, {})
    assert (memory.outcomes, memory.dialogs, memory.lines) == ({}, 0, 0)
    assert (store.trouble, store.notes) == (None, [])
    assert await store.recent(5) == []
    assert await store.get(1) is None
    assert await store.drift(5) == []
    assert await store.unwritten() == []
    assert await store.stats() == {
        "dialogs": 0,
        "lines": 0,
        "fragments": 0,
        "origin_fragments": 0,
        "avg_trauma": 0.0,
        "avg_arousal": 0.0,
        "outcomes": {},
        "days": {},
        "forgotten": 0,
    }


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
    }
    assert (turns[1]["text"], turns[1]["expert"], turns[1]["observed"]) == (
        "дождь \x00 ☂",
        "wounded",
        "failed",
    )
    assert await store.drift(5) == [{"id": number, "at": STARTED_AT + 9, "drift": 0.25}]


async def test_keeps_replay_data_to_the_byte(store: Store, path: Path):
    number = await store.begin(new_dialog())
    await store.record(number, line(1), STARTED_AT)
    end = finish(line(1))
    end = replace(end, recalled=["an older ☂", "another"])
    await store.finish(number, end)
    await store.close()
    [kept] = rows(
        path, "SELECT rng_seed, context, settings, friend_state, recalled, session FROM dream_dialogs"
    )
    asked = new_dialog()
    recalled = '["an older ☂","another"]'
    assert kept == (
        str(SEED),
        asked.context.decode(),
        asked.settings.decode(),
        asked.friend_state,
        recalled,
        3,
    )
    kept = '["the river keeps its stones and more","another"]'
    assert rows(path, "SELECT candidates, said FROM dream_turns") == [(kept, None)]


async def test_leos_columns_keep_their_meaning(store: Store, path: Path):
    await one_dream(store, lines=4)
    await store.close()
    assert rows(
        path,
        "SELECT id, started_at, finished_at, episodes_count, avg_trauma, avg_arousal, note FROM dream_dialogs",
    ) == [(1, STARTED_AT, STARTED_AT + 9, 4, pytest.approx(0.4), pytest.approx(0.2), None)]
    assert rows(
        path,
        "SELECT id, dialog_id, speaker, text, trauma_level, pulse_novelty, pulse_arousal, pulse_entropy"
        " FROM dream_turns WHERE id = 2",
    ) == [(2, 1, "friend", "the river keeps its stones", 0.4, 0.1, 0.2, 0.3)]


async def test_the_lines_of_a_running_dialogue_are_counted_and_readable(store: Store):
    number = await store.begin(new_dialog())
    await store.record(number, line(1), STARTED_AT)
    dialog = await store.get(number)
    assert (dialog["lines"], dialog["outcome"], dialog["finished_at"]) == (1, None, None)
    assert [turn["turn"] for turn in dialog["turns"]] == [1]
    assert await store.unwritten() == []


async def test_only_a_running_dialogue_takes_lines_and_an_end(store: Store):
    number = await one_dream(store)
    with pytest.raises(StoreError, match=f"dialogue {number} is not running"):
        await store.record(number, line(4), STARTED_AT)
    with pytest.raises(StoreError, match=f"dialogue {number} is not running"):
        await store.finish(number, finish(outcome="empty"))
    with pytest.raises(StoreError, match="dialogue 99 is not running"):
        await store.finish(99, finish(change=change(added=(fragment(1),))))
    with pytest.raises(StoreError, match="dialogue 99 is not running"):
        await store.record(99, line(1), STARTED_AT)
    assert (await store.get(number))["outcome"] == "complete"
    memory = await store.load()
    assert (memory.fragments, memory.outcomes, memory.lines) == ([], {"complete": 1}, 3)
    assert store.trouble is None


async def test_refuses_a_repeated_turn(store: Store):
    number = await store.begin(new_dialog())
    await store.record(number, line(1), STARTED_AT)
    with pytest.raises(StoreError, match="SQLITE_CONSTRAINT_UNIQUE"):
        await store.record(number, line(1, "another"), STARTED_AT, charge=Charge("leo", STARTED_AT))
    assert (await store.get(number))["lines"] == 1
    assert (await store.load()).last_run == {}


async def test_a_trace_id_belongs_to_one_dialogue(store: Store):
    await store.begin(new_dialog("dream-7"))
    with pytest.raises(StoreError, match="SQLITE_CONSTRAINT_UNIQUE"):
        await store.begin(new_dialog("dream-7"))


async def test_recent_is_newest_first(store: Store):
    for number, at in enumerate((10.0, 30.0, 20.0, 30.0)):
        await one_dream(store, f"dream-{number}", at=at)
    assert [dialog["id"] for dialog in await store.recent(3)] == [4, 2, 3]
    for before, page in ((4, [2, 3]), (2, [3, 1]), (1, []), (99, [])):
        assert [dialog["id"] for dialog in await store.recent(2, before)] == page


async def test_cooldowns_are_kept_by_client(store: Store, path: Path, open_store: OpenStore):
    for turn, charge in enumerate((("leo", 10.5), ("cat", 20.25), ("leo", 30.125), ("", 1.0)), 1):
        number = await store.begin(new_dialog(f"dream-{turn}"))
        await store.record(number, line(1), STARTED_AT, charge=Charge(*charge))
    await store.close()
    assert ("dream_last_run_ts", "30.125") in rows(path, "SELECT key, value FROM dream_meta")
    again = await open_store(path)
    assert (await again.load()).last_run == {"leo": 30.125, "cat": 20.25, "": 1.0}
    number = await again.begin(new_dialog("dream-5"))
    await again.record(number, line(1), STARTED_AT, charge=Charge("new", 40.0, ("leo", "cat", "new")))
    assert (await again.load()).last_run == {"new": 40.0, "": 1.0}


async def test_counters_agree_with_the_rows(store: Store, path: Path):
    for number in range(5):
        await one_dream(store, f"dream-{number}", lines=number)
    silent = await store.begin(new_dialog("dream-silent"))
    await store.finish(silent, finish(outcome="empty"))
    memory = await store.load()
    assert memory.outcomes == {"complete": 5, "empty": 1}
    assert (memory.dialogs, memory.lines) == (6, 10)
    stats = await store.stats()
    assert (stats["avg_trauma"], stats["avg_arousal"]) == (pytest.approx(0.4), pytest.approx(0.2))
    await store.close()
    assert rows(path, "SELECT (SELECT count(*) FROM dream_dialogs), (SELECT count(*) FROM dream_turns)") == [
        (6, 10)
    ]


async def test_ignores_foreign_values_in_meta(store: Store, path: Path, open_store: OpenStore):
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        junk = [("dream_last_run_ts:nan", "nan"), ("dream_last_run_ts", None), ("dream_outcome:odd", "much")]
        connection.executemany("INSERT INTO dream_meta VALUES (?, ?)", junk)
        connection.commit()
    memory = await (await open_store(path)).load()
    assert (memory.last_run, memory.outcomes) == ({}, {})


# What a crash left.


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


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from dreamd.clock import Clock
from dreamd.store.store import Store
from dreamd.store.records import Charge
from tests.helpers.store_rows import line, new_dialog

async def main():
    store = await Store.open(Path(sys.argv[1]), clock=Clock())
    await store.begin(new_dialog("dream-silent"))
    number = await store.begin(new_dialog("dream-spoke"))
    await store.record(number, line(1, trauma=0.8), 1.0, charge=Charge("leo", 1.0))
    await store.record(number, line(2, trauma=0.4), 2.0)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_p3_p5_a_killed_daemons_lines_are_all_there_marked_as_sent(path: Path, open_store: OpenStore):
    killed = subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = await open_store(path)
    assert [(dialog.id, dialog.at) for dialog in await store.open_dialogs()] == [
        (1, "generate 1"),
        (2, "observe 2"),
    ]
    assert await end_open(store) == [1, 2]
    assert await end_open(store) == []
    [dialog] = await store.unwritten()
    assert (dialog.trace_id, dialog.outcome, dialog.finished_at) == ("dream-spoke", "left", STARTED_AT)
    assert [(turn["turn"], turn["observed"]) for turn in dialog.turns] == [(1, "sent"), (2, "sent")]
    kept = await store.get(dialog.id)
    assert (kept["lines"], kept["avg_trauma"]) == (2, pytest.approx(0.6))
    memory = await store.load()
    assert (memory.outcomes, memory.lines, memory.last_run) == ({"left": 2}, 2, {"leo": 1.0})


async def test_a_suspended_dialogue_goes_on_with_all_that_was_recorded(store: Store):
    number = await store.begin(new_dialog(field="f", version="1", friend_state=b"\x90"))
    await store.recalled(number, ["once"])
    await store.record(number, line(1), STARTED_AT)
    await store.observed(number, line(1, trauma=0.8), "answered")
    await store.record(number, line(2), STARTED_AT)
    [dialog] = await store.open_dialogs()
    assert (dialog.client, dialog.field, dialog.version, dialog.started_at) == ("leo", "f", "1", STARTED_AT)
    assert (dialog.suspended, dialog.interruptions, dialog.at) == (False, 0, "observe 2")
    await store.suspend(number, "observe 2")
    [dialog] = await store.open_dialogs()
    assert (dialog.suspended, dialog.interruptions, dialog.interrupted_in) == (True, 1, "observe 2")
    assert dialog.at == "generate 3"  # line 2 is not observed again
    kept = await store.get(number)
    assert (kept["outcome"], kept["finished_at"], kept["lines"]) == ("suspended", None, 2)
    assert [turn["observed"] for turn in kept["turns"]] == ["answered", "failed"]
    script = await store.resume(number, 7)
    assert [(each.turn, each.trauma) for each in script.lines] == [(1, 0.8), (2, line(2).trauma)]
    assert script.recalled == ["once"]
    [dialog] = await store.open_dialogs()
    assert (dialog.suspended, dialog.interruptions) == (False, 1)
    assert await store.unwritten() == []
    await store.finish(number, finish(outcome="complete"))
    assert await store.open_dialogs() == []
    assert [waiting.id for waiting in await store.unwritten()] == [number]


async def test_only_a_suspended_dialogue_is_resumed(store: Store):
    number = await store.begin(new_dialog(friend_state=b"\x90"))
    await store.finish(number, finish())
    ended = await store.get(number)
    with pytest.raises(StoreError, match="not suspended"):
        await store.resume(number, 7)
    assert await store.get(number) == ended


async def test_a_dialogue_takes_the_id_that_it_was_announced_with(store: Store):
    assert (await store.load()).next_dialog == 1
    assert await store.begin(new_dialog(id=7)) == 7
    assert (await store.load()).next_dialog == 8
    assert await store.begin(new_dialog("dream-2")) == 8
    with pytest.raises(StoreError, match="SQLITE_CONSTRAINT_PRIMARYKEY"):
        await store.begin(new_dialog("dream-3", id=7))


# Without diagnostics.


def texts(path: Path) -> list[tuple]:
    return rows(
        path,
        "SELECT context, recalled, text, seed, candidates FROM dream_dialogs LEFT JOIN dream_turns ON dialog_id = 1",
    )


async def test_without_diagnostics_texts_live_until_the_shard_is_written(path: Path, open_store: OpenStore):
    store = await open_store(path, diagnostics=False)
    number = await one_dream(store, lines=1)
    [pending] = await store.unwritten()
    assert pending.turns[0]["text"] == "the river keeps its stones"
    await store.shard_written(number, STARTED_AT + 10)
    turn = (await store.get(number))["turns"][0]
    assert (turn["text"], turn["seed"], turn["trauma"]) == ("", "", 0.4)
    await store.close()
    assert texts(path) == [(None, None, "", "", None)]
    left = path.read_bytes()
    assert b"river" not in left
    assert b"a seed of words" not in left


async def test_without_diagnostics_a_silent_dialogue_keeps_no_text(path: Path, open_store: OpenStore):
    store = await open_store(path, diagnostics=False)
    await store.finish(await store.begin(new_dialog()), finish(outcome="empty"))
    await store.begin(new_dialog("dream-2"))
    await end_open(store)
    await store.close()
    assert rows(path, "SELECT context FROM dream_dialogs") == [(None,), (None,)]


async def test_with_diagnostics_texts_stay(store: Store, path: Path):
    number = await one_dream(store, lines=1)
    await store.recalled(number, ["once"])
    await store.shard_written(number, STARTED_AT + 10)
    await store.close()
    [(context, recalled, text, seed, candidates)] = texts(path)
    assert all((context, recalled, text, seed, candidates))
