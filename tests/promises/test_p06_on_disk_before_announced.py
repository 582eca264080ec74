"""P6: a file under its final name is whole, and it is on disk before the caller is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dreamd.inbox import Inbox, InboxSettings
from tests.helpers.inbox_check import files
from tests.helpers.inbox_scenes import (
    acknowledge,
    aged,
    child,
    damaged,
    full,
    growing,
    littered,
    write,
    write_on,
)
from tests.helpers.ptrace import Call, needs_ptrace, traced

pytestmark = [needs_ptrace, pytest.mark.usefixtures("small_files")]


def steps(inbox: Inbox, act: Callable[[Inbox], object], told: Path) -> list[tuple[str, str]]:
    """Return the writes, syncs, renames and removals, with their places, until the caller is told."""
    seen: list[tuple[str, str]] = []

    def place(path: str) -> str:
        return "told" if path == str(told) else os.path.relpath(path, inbox.folder)

    def see(call: Call) -> None:
        if call.name in ("write", "fsync"):
            seen.append((call.name, place(call.file)))
        elif call.name in ("renameat", "renameat2"):
            seen.append(("rename", f"{place(call.file)} -> {place(call.target)}"))
        elif call.name == "unlinkat":
            seen.append(("remove", place(call.file)))

    def tell() -> None:
        act(inbox)
        os.write(os.open(told, os.O_WRONLY | os.O_CREAT), b"done")

    assert traced(tell, see) == 0
    return seen


def put(name: str, into: str = ".") -> list[tuple[str, str]]:
    return [
        ("write", f".tmp/{name}"),
        ("fsync", f".tmp/{name}"),
        ("rename", f".tmp -> {into}"),
        ("fsync", into),
    ]


OWN = {"t": {(0, 5)}}
OURS = {"index": 0, "timestamp": 5, "type": "dream_line"}


def dreamt(inbox: Inbox) -> None:
    inbox.write({}, [OURS], trace_id="t")


def dreamt_twice(inbox: Inbox) -> None:
    dreamt(inbox)
    inbox.write({}, [OURS], trace_id="u")


def shared(inbox: Inbox) -> None:
    """Make a file that also holds a shard of another program."""
    inbox.write({}, [OURS, {"index": 7, "timestamp": 7}], trace_id="t")


def litter_of_ours(inbox: Inbox) -> None:
    dreamt(inbox)
    inbox.ack("t")
    (inbox.folder / ".tmp" / "t.json").write_bytes(b"{")


def forget(inbox: Inbox) -> None:
    inbox.forget(OWN)


def take_back(inbox: Inbox) -> None:
    inbox.take_back(OWN)


def drop(inbox: Inbox) -> None:
    """Remove what is over a cap of one file."""
    capped = Inbox(inbox.folder, InboxSettings(keep=1))
    assert list(capped.drop_oldest(OWN | {"u": {(0, 5)}}, ["t", "u"])) == ["t"]


MOVED = [("rename", ". -> done"), ("fsync", "done"), ("fsync", ".")]


ORDERS: list[tuple[str, Callable[[Inbox], object], Callable[[Inbox], object], list[tuple[str, str]]]] = [
    ("a growing file", growing, write, put("t.json")),
    ("duplicates alone", write, write, [("fsync", "t.json"), ("fsync", ".")]),
    ("duplicates that were acknowledged", lambda box: [write(box), box.ack("t")], write, []),
    ("the first acknowledgement", write, acknowledge, [("write", ".lock"), *MOVED]),
    ("it again", lambda box: [write(box), box.ack("t")], acknowledge, [("fsync", ".")]),
    ("a damaged file", damaged, write, [("rename", ". -> ."), ("fsync", "."), *put("t.json")]),
    (
        "a full file",
        full,
        write_on,
        [("fsync", "."), *put("t", ".keys"), *put("t~2.json"), *put("t", ".keys"), *put("t~3.json")],
    ),
    ("retention", aged, Inbox.retire, [*put("t", ".keys"), ("remove", "done"), ("fsync", "done")]),
    ("a sweep", littered, Inbox.sweep, [("remove", ".tmp")]),
    ("forgetting", dreamt, forget, [("remove", "."), ("fsync", "."), ("fsync", "done")]),
    ("forgetting beside others", shared, forget, [*put("t.json"), ("fsync", "."), ("fsync", "done")]),
    (
        "forgetting what was acknowledged",
        litter_of_ours,
        forget,
        [("fsync", "."), ("remove", "done"), ("fsync", "done"), ("remove", ".tmp")],
    ),
    ("taking back", dreamt, take_back, [("remove", "."), ("fsync", ".")]),
    ("taking back beside others", shared, take_back, [*put("t.json"), ("fsync", ".")]),
    ("the cap", dreamt_twice, drop, [("remove", "."), ("fsync", ".")]),
]


@pytest.mark.parametrize(
    ("before", "act", "order"), [one[1:] for one in ORDERS], ids=[one[0] for one in ORDERS]
)
def test_p6_the_order_of_calls(
    before: Callable[[Inbox], object],
    act: Callable[[Inbox], object],
    order: list[tuple[str, str]],
    tmp_path: Path,
) -> None:
    """P6: write, sync the file, rename, sync the folder, and only then is the caller told; so is each other change.

    The keys of a part are there before the next part is, and before an acknowledged one is removed. First of all done/
    is synced: who moved a file there may have failed before that.
    """
    inbox = Inbox(tmp_path / "inbox")
    before(inbox)
    assert steps(inbox, act, tmp_path / "told") == [("fsync", "done"), *order, ("write", "told")]


def test_p6_a_new_folder_is_on_disk_before_its_files(tmp_path: Path) -> None:
    """P6: after a folder is made, the folder above it is synced."""
    inbox = Inbox(tmp_path / "a" / "inbox")
    synced: list[str] = []

    def see(call: Call) -> None:
        if call.name == "fsync":
            synced.append(call.file)

    assert traced(child(inbox, write), see) == 0
    assert synced[:4] == [str(tmp_path), str(tmp_path / "a"), str(inbox.folder), str(inbox.folder)]
    assert files(inbox.folder)
