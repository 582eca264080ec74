"""An inbox in a folder of its own, with the time of the test, and what is written into it."""

from pathlib import Path
from typing import Any

import pytest

from dreamd.clock import Clock
from dreamd.inbox import (
    Inbox,
    InboxSettings,
)
from dreamd.inbox.folder.files import Files

DAY_S = 86_400.0
MOST_PAUSES = 100_000
# A line as the store hands it to `dream_document`.
LINE = {
    "speaker": "leo",
    "text": "so",
    "novelty": 0.1,
    "arousal": 0.2,
    "entropy": 0.3,
    "trauma": 0.4,
    "at": 5.0,
}


class Now:
    """Time that a test owns; waiting passes it."""

    def __init__(self) -> None:
        self.s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.s


class Waiting(Files):
    """Files whose pauses pass the test's time."""

    def __init__(self, now: Now) -> None:
        self.now, self.pauses = now, 0

    def pause(self, seconds: float) -> None:
        self.now.s += seconds
        self.pauses += 1
        assert self.pauses < MOST_PAUSES, "it waits without an end"


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def inbox(tmp_path: Path, now: Now) -> Inbox:
    return make(tmp_path, now)


def make(tmp_path: Path, now: Now, **settings: Any) -> Inbox:
    return Inbox(
        tmp_path / "state" / "inbox" / "dreams",
        InboxSettings(**settings),
        clock=Clock(now, now),
        files=Waiting(now),
    )


def shard(index: int, **more: Any) -> dict[str, Any]:
    return {"trace_id": "t", "index": index, "timestamp": 5} | more


def node(order: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"t#N{order}",
        "type": "x",
        "version": "1.0.0",
        "lane": "reflex",
        "trace": {"trace_id": "t", "order": order},
        "metadata": {},
        "payload": {},
        "provenance": {},
    } | more


def write(inbox: Inbox, *shards: dict[str, Any], nodes: Any = (), trace_id: str = "t") -> dict[str, Any]:
    return inbox.write({"goal": "g"}, list(shards), nodes, trace_id=trace_id)
