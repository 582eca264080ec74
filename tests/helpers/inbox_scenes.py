"""Use for faults of the inbox: what lies in its folder before a write, and the writes and acknowledgements."""

import os
from collections.abc import Callable
from typing import Any

from dreamd.inbox import Inbox, InboxUnavailable

UNAVAILABLE = 3  # exit code of a child whose caller was given the typed error
SEED = {"goal": "hold"}
FILE_BYTES = 4096  # that a file of these scenes may have: a megabyte would be written hundreds of times
LARGE = {"text": "x" * 2800}  # one fits
GARBAGE = b'{"shards": [{"in'


def shard(index: int) -> dict[str, Any]:
    return {"index": index, "timestamp": 1000 + index}


def write(inbox: Inbox) -> None:
    inbox.write(SEED, [shard(0), shard(1)], trace_id="t")


def write_on(inbox: Inbox) -> None:
    """Write shards that do not fit into the waiting file."""
    inbox.write(SEED, [shard(0) | LARGE, shard(1) | LARGE], trace_id="t")


def acknowledge(inbox: Inbox) -> None:
    inbox.ack("t")


def growing(inbox: Inbox) -> None:
    inbox.write(SEED, [shard(9)], trace_id="t")


def damaged(inbox: Inbox) -> None:
    inbox.write(SEED, [shard(9)], trace_id="other")
    (inbox.folder / "t.json").write_bytes(GARBAGE)


def littered(inbox: Inbox) -> None:
    growing(inbox)
    (inbox.folder / ".tmp" / "t.json").write_bytes(GARBAGE)


def half_acknowledged(inbox: Inbox) -> None:
    growing(inbox)
    inbox.ack("t")
    inbox.write(SEED, [shard(0)], trace_id="t")


def full(inbox: Inbox) -> None:
    inbox.write(SEED, [shard(9) | LARGE], trace_id="t")


def aged(inbox: Inbox) -> None:
    """Make a trace of three parts: two acknowledged, the first long ago."""
    half_acknowledged(inbox)
    inbox.ack("t")
    os.utime(inbox.folder / "done" / "t.json", (0, 0))
    inbox.write(SEED, [shard(1)], trace_id="t")


def child(inbox: Inbox, act: Callable[[Inbox], object]) -> Callable[[], int]:
    def run() -> int:
        try:
            act(inbox)
        except InboxUnavailable:
            return UNAVAILABLE
        return 0

    return run
