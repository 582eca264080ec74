"""Values of columns that another program wrote, or that are damaged: what depends on one is told, the rest goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dreamd.errors import Unreadable
from dreamd.store.forgetting import Asked, chosen, forget_dreams
from dreamd.store.records import decode_column, decode_state
from dreamd.store.store import Store
from tests.helpers.store_rows import STARTED_AT, one_dream
from tests.store.conftest import OpenStore

BROKEN = [b"\xff", b'"\xff"', "[" * 5000, "{", 5, 1.5, b"", None]


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_a_value_that_is_none_of_its_type_is_unreadable(data: Any) -> None:
    with pytest.raises(Unreadable, match="the stored recalled cannot be read"):
        decode_column("recalled", data, list[str])
    with pytest.raises(Unreadable, match="the stored friend_state cannot be read"):
        decode_state(data)


def test_reads_what_is_whole() -> None:
    assert decode_column("recalled", '["a"]', list[str]) == ["a"]
    assert decode_state(msgspec.msgpack.encode([(1, 0.5)])) == [(1, 0.5)]


@pytest.mark.parametrize("data", BROKEN[:-1], ids=range(len(BROKEN) - 1))
async def test_a_damaged_decision_does_not_keep_the_daemon_from_loading(
    store: Store, path: Path, open_store: OpenStore, data: Any
) -> None:
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO dream_decisions (decision) VALUES (?)", (data,))
        connection.commit()
    assert await (await open_store(path)).decisions(10) == []


@pytest.mark.parametrize("data", BROKEN[:-1], ids=range(len(BROKEN) - 1))
async def test_a_damaged_checkpoint_is_named_and_stops_nothing_else(
    store: Store, path: Path, data: Any
) -> None:
    """Until now one such row refused every `forget` and every `reseed`."""
    await store.seed(["one stone"], STARTED_AT)
    dream = await one_dream(store)
    await store.keep("kept", STARTED_AT, again=False)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        for name in ("kept", "origin~1"):
            connection.execute(
                "INSERT OR REPLACE INTO dream_checkpoints (name, at, learned, origin, fragments)"
                " VALUES (?, 1, 0, 1, ?)",
                (name, data),
            )
        connection.commit()
        gone = forget_dreams(connection, chosen(connection, Asked(id=dream)), False, True)
        connection.rollback()
    assert (gone.lines > 0, sorted(gone.checkpoints_left)) == (True, ["kept", "origin~1"])
