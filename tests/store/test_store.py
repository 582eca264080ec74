"""A dialogue in the database, from its beginning to its reading."""

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dreamd.store.store import Store
from tests.helpers.store_rows import (
    STARTED_AT,
    end_open,
    finish,
    new_dialog,
    one_dream,
)
from tests.store.conftest import rows

OpenStore = Callable[..., Awaitable[Store]]


async def test_a_fresh_store_remembers_nothing(store: Store):
    memory = await store.load()
    assert (memory.fragments, memory.next_fragment_id, memory.last_run) == ([], 1, {})
    assert (memory.outcomes, memory.dialogs, memory.lines) == ({}, 0, 0)
    assert (store.unavailable_reason, store.notes) == (None, [])
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
        "replies": {"replies": 0, "triples": 0, "from_dreams": 0},
        "reply_days": {},
        "speakers": [],
    }


# What a crash left.


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
