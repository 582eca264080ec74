"""Writing a dialogue: its rows, its counters, and what is refused."""

from pathlib import Path

import pytest
from dreamclient.messages import DECISIONS
from msgspec.structs import replace

from dreamd.dream.clients import ABSENT
from dreamd.dream.gate import Decision
from dreamd.errors import StoreError
from dreamd.store.file.files import PROBE_BYTES
from dreamd.store.records import Charge
from dreamd.store.store import Store
from dreamd.store.writes import COUNTED_DAYS, forget_the_write, keep_decisions, try_a_write
from tests.helpers.store_rows import (
    SEED,
    STARTED_AT,
    change,
    finish,
    fragment,
    line,
    new_dialog,
    one_dream,
)
from tests.store.conftest import OpenStore, rows


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
    assert store.unavailable_reason is None


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


async def test_a_dialogue_takes_the_id_that_it_was_announced_with(store: Store):
    assert (await store.load()).next_dialog == 1
    assert await store.begin(new_dialog(id=7)) == 7
    assert (await store.load()).next_dialog == 8
    assert await store.begin(new_dialog("dream-2")) == 8
    with pytest.raises(StoreError, match="SQLITE_CONSTRAINT_PRIMARYKEY"):
        await store.begin(new_dialog("dream-3", id=7))


async def test_keeps_the_last_decisions_only(store: Store, path: Path):
    for number in range(4):
        decisions = [Decision(at=float(number), dream=False, reason="calm")] * 100
        await store._write(keep_decisions, decisions, {})
    assert rows(path, "SELECT count(*) FROM dream_decisions") == [(DECISIONS,)]


async def test_a_clock_that_was_wrong_once_deletes_no_counts(store: Store, path: Path):
    for day in ("2026-01-01", "2099-01-01", "2026-01-02"):
        await store.keep_decisions([], {(day, "calm"): 2})
    assert (await store.stats())["days"] == {
        day: {"calm": 2} for day in ("2026-01-01", "2026-01-02", "2099-01-01")
    }
    await store.keep_decisions([], {(f"{year}-01-01", "calm"): 1 for year in range(1000, 1500)})
    assert rows(path, "SELECT count(*), max(day) FROM dream_decision_counts") == [
        (COUNTED_DAYS, "2099-01-01")
    ]


async def test_keeps_the_signals_of_the_last_clients_only(store: Store, path: Path):
    """P11: clients make up their names."""
    for number in range(ABSENT + 5):
        await store.keep_signals({f"client {number}": b"\x80"}, float(number))
    assert rows(path, "SELECT count(*), min(at) FROM dream_signals") == [(ABSENT, 5.0)]


async def test_a_probe_needs_as_much_room_as_a_dream(store: Store, path: Path):
    await store._write(try_a_write)
    probe = "SELECT length(value) FROM dream_meta WHERE key = 'dream_probe'"
    assert rows(path, probe) == [(PROBE_BYTES,)]
    await store._write(forget_the_write)
    assert rows(path, probe) == []
