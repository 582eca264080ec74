"""The query plans: no statement of a start, a dialogue or a read scans a whole table."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from dreamd.store.records import Charge, ReplyShare
from dreamd.store.store import Store
from dreamd.store.undreaming.candidates import Asked
from tests.helpers.store_rows import STARTED_AT, change, finish, fragment, line, new_dialog

OpenStore = Callable[..., Awaitable[Store]]

# Nearly empty, or read from their end up to a limit.
SHORT = (
    "dream_dialogs_spoken",
    "dream_dialogs_open",
    "dream_dialogs_unwritten",
    "dream_dialogs_drift",
    "dream_dialogs_by_start",
    "dream_dialogs_to_undo",
)


async def everything(store: Store) -> None:
    await store.load()
    await store.open_dialogs()
    await store.seed(["one stone"], STARTED_AT)
    number = await store.begin(new_dialog(friend_state=b"\x90"))
    await store.record(number, line(1), STARTED_AT, charge=Charge("leo", STARTED_AT))
    changed = change(added=(fragment(2),), weights=((1, 0.9),), left=(2,))
    await store.observed(number, line(1), "answered", [0])
    await store.brought_lines(await store.word_numbers(), 512)
    await store.said_triples()
    await store.keep_share(
        ReplyShare(days={"2026-11-30": (1, 2, 1)}, spoken={number: 1}, said=[("leo", b"\0" * 8)])
    )
    await store.recalled(number, ["once"])
    await store.suspend(number, "observe 1")
    await store.resume(number, 1)
    await store.finish(number, finish(line(1), change=changed, drift=0.1, observed={1: "answered"}))
    await store.unwritten()
    await store.shard_written(number, STARTED_AT)
    await store.undream_candidates(Asked(id=number))
    await store.undream_candidates(Asked(since=STARTED_AT))
    await store.ask_undream([number], STARTED_AT)
    await store.waiting_undreams()
    await store.lines_to_undo(number)
    await store.line_undone(number, 1, "done")
    await store.finish_undream(number, STARTED_AT)
    await store.recent(5)
    await store.recent(5, number)
    await store.get(number)
    await store.drift(5, number)
    await store.stats()
    await store.probe()


async def test_each_statement_finds_its_rows_by_an_index(path: Path, open_store: OpenStore):
    store = await open_store(path, diagnostics=False)
    said: list[str] = []
    assert store._database
    await store._database.read(lambda connection: connection.set_trace_callback(said.append))
    await everything(store)
    await store._database.read(lambda connection: connection.set_trace_callback(None))
    await store.close()

    statements = {sql for sql in said if sql.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))}
    assert len(statements) > 20
    with closing(sqlite3.connect(path)) as connection:
        plans = {
            f"{detail} in {sql}"
            for sql in statements
            for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}")
        }
    assert any(plan.startswith("SEARCH dream_turns USING INDEX dream_turns_in_order") for plan in plans)
    assert [plan for plan in plans if may_read_all(plan)] == []


def may_read_all(plan: str) -> bool:
    """Return True for a scan, and for a search for all values above one, which SQLite calls a search as well."""
    step, _ = plan.split(" in ", 1)
    grows = any(table in step for table in ("dream_dialogs", "dream_turns", "dream_fragments_past"))
    endless = "SCAN" in step or (">?" in step) != ("<?" in step)
    return "TEMP B-TREE" in step or (grows and endless and not any(name in step for name in SHORT))


async def test_each_query_of_a_start_has_a_small_index(path: Path, open_store: OpenStore):
    """A scan by an index is short only if the index holds no other rows."""
    await (await open_store(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        partial = dict(
            connection.execute(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql LIKE '% WHERE %'"
            )
        )
    assert sorted(partial) == [
        "dream_dialogs_drift",
        "dream_dialogs_open",
        "dream_dialogs_spoken",
        "dream_dialogs_to_undo",
        "dream_dialogs_unwritten",
    ]
