"""The compared replies in the database: figures alone, the newest 10,000."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.dream.trial import ComparedReply
from dreamd.store import trial
from dreamd.store.store import Store

OpenStore = Callable[..., Awaitable[Store]]


def reply(at: float, quality: float | None = 0.5) -> ComparedReply:
    return ComparedReply(
        at=at, client="leo", chance=0.3, dreamt=True, fed=False, novelty=0.5, quality=quality,
        distinct_pairs=0.9, origin=0.125, from_dreams=None,
    )  # fmt: skip


async def test_gives_back_what_was_stored_and_keeps_the_newest(
    path: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "KEPT", 5)
    store = await open_store(path)
    for first in (0, 4):
        await store.keep_trial([reply(float(at), None if at == 6 else 0.5) for at in range(first, first + 4)])
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert trial.compared_replies(connection) == [
            reply(3.0), reply(4.0), reply(5.0), reply(6.0, None), reply(7.0)
        ]  # fmt: skip
