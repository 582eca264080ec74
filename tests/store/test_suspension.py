"""Suspended dialogues: they go on with what was recorded."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.errors import StoreError
from dreamd.store.store import Store
from tests.helpers.store_rows import (
    STARTED_AT,
    finish,
    line,
    new_dialog,
)


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


@pytest.mark.parametrize("column", ["client", "started_at", "interruptions", "version"])
async def test_a_row_that_cannot_be_read_is_a_dialogue_of_long_ago(store: Store, path: Path, column: str):
    await store.begin(new_dialog())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"UPDATE dream_dialogs SET {column} = x'ff'")
    [dialog] = await store.open_dialogs()
    assert (dialog.id, dialog.trace_id, dialog.started_at, dialog.field) == (1, "dream-1", 0.0, None)
