"""A trace that goes on: in parts of at most 1 MiB, which are listed, read, acknowledged and retired one by one."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dreamd.clock import Clock
from dreamd.inbox import Inbox, InboxSettings, UnknownTrace, ValidationError
from dreamd.inbox.folder.files import Files
from dreamd.inbox.folder.keys import parse_keys
from dreamd.inbox.folder.parts import (
    MOST_NAME_BYTES,
    aside_name,
    asked_part,
    handles_of,
    part_name,
    part_of_name,
)
from tests.helpers.inbox_check import files, indexes
from tests.inbox.conftest import DAY_S, Now

MIB = 1 << 20
HOUR_S = 3600.0


class Counted(Files):
    """Files that count what is asked of them, and the bytes that were read."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.bytes_read = 0

    def stat(self, name: str, at: int) -> os.stat_result:
        self.calls["stat"] += 1
        return super().stat(name, at)

    def open_read(self, name: str, at: int) -> int:
        self.calls["open"] += 1
        return super().open_read(name, at)

    def names(self, fd: int) -> list[str]:
        self.calls["names"] += 1
        return super().names(fd)

    def read(self, fd: int, size: int) -> bytes:
        data = super().read(fd, size)
        self.bytes_read += len(data)
        return data


@pytest.fixture
def inbox(tmp_path: Path, now: Now) -> Inbox:
    return make(tmp_path, now)


def make(tmp_path: Path, now: Now, file_calls: Files | None = None, **settings: Any) -> Inbox:
    return Inbox(tmp_path / "inbox", InboxSettings(**settings), clock=Clock(now, now), files=file_calls)


def shard(index: int, letters: int = 0) -> dict[str, Any]:
    return {"index": index, "timestamp": 5, "text": "x" * letters}


def node(order: int, letters: int = 0) -> dict[str, Any]:
    about = {"type": "x", "version": "1.0.0", "lane": "reflex", "metadata": {}, "provenance": {}}
    trace = {"trace": {"trace_id": "t", "order": order}}
    return {"id": f"t#N{order}"} | about | trace | {"payload": {"text": "x" * letters}}


def write(inbox: Inbox, *shards: dict[str, Any], nodes: Any = ()) -> dict[str, Any]:
    return inbox.write({"goal": "g"}, list(shards), nodes, trace_id="t")


def waiting(inbox: Inbox) -> list[str]:
    return [entry["trace_id"] for entry in inbox.list()]


# --- a file that would pass 1 MiB ----------------------------------------------------------------------


def test_p7_continues_in_the_next_part_after_a_mebibyte(inbox: Inbox) -> None:
    """P7: each shard and node is there once, in files that fit into one message."""
    for index in range(9):
        report = write(inbox, shard(index, 300_000), nodes=[node(index + 1, 100_000)])
        assert (report["shards_written"], report["nodes_written"]) == (1, 1)
    assert waiting(inbox) == ["t", "t~2", "t~3", "t~4", "t~5"]
    assert Path(report["path"]).name == "t~5.json"
    assert report["bytes"] == Path(report["path"]).stat().st_size
    documents = [inbox.read(handle) for handle in waiting(inbox)]
    assert [document["trace_id"] for document in documents] == ["t"] * 5
    assert [document["seed"]["goal"] for document in documents] == ["g"] * 5
    assert indexes(inbox.folder, "t") == dict.fromkeys(range(9), 1)
    assert Counter(n["id"] for found in documents for n in found["matada_nodes"]) == Counter(
        f"t#N{order}" for order in range(1, 10)
    )
    assert max(path.stat().st_size for path in inbox.folder.glob("*.json")) <= MIB
    assert all(entry["problems"] == [] for entry in inbox.verify())
    again = write(inbox, *(shard(index, 300_000) for index in range(9)), nodes=[node(3, 100_000)])
    assert (again["shards_written"], again["duplicates"], again["nodes_written"]) == (0, 9, 0)


def test_p7_one_write_may_take_several_parts(inbox: Inbox) -> None:
    """P7: the shards of one call are spread over several files too, in their order."""
    write(inbox, shard(0, 900))
    assert write(inbox, *(shard(index, 700_000) for index in range(1, 5)))["shards_written"] == 4
    found = [[one["index"] for one in inbox.read(handle)["shards"]] for handle in waiting(inbox)]
    assert found == [[0, 1], [2], [3], [4]]
    assert write(inbox, *(shard(index, 700_000) for index in range(1, 5)))["duplicates"] == 4


def test_a_conflict_and_a_later_node_are_known_across_parts(inbox: Inbox) -> None:
    write(inbox, shard(0, 700_000), nodes=[node(1)])
    write(inbox, shard(1, 700_000))
    report = write(inbox, shard(0, 5), shard(0, 6), nodes=[node(1), node(2)])
    assert (report["shards_written"], report["conflicts"], report["nodes_written"]) == (2, 2, 1)
    assert write(inbox, shard(2), nodes=[node(1, 7)])["nodes_written"] == 1
    inbox.ack("t~2")
    assert (
        write(inbox, shard(3), nodes=[node(1)])["nodes_written"] == 1
    )  # a later one, though it was there before
    assert write(inbox, nodes=[node(1)])["nodes_written"] == 0


def test_parts_are_acknowledged_one_by_one_in_any_order(inbox: Inbox) -> None:
    write(inbox, *(shard(index, 700_000) for index in range(4)))
    assert waiting(inbox) == ["t", "t~2", "t~3", "t~4"]
    assert inbox.ack("t~3")["path"] == str(inbox.folder / "done" / "t~3.json")
    assert inbox.ack("t") == {"trace_id": "t", "path": str(inbox.folder / "done" / "t.json")}
    assert waiting(inbox) == ["t", "t~4"]
    assert inbox.read("t") == inbox.read("t~2")
    write(inbox, shard(4))
    assert [one["index"] for one in inbox.read("t~4")["shards"]] == [3, 4]
    assert inbox.ack("t~2")["path"] == inbox.ack("t~2")["path"]
    inbox.ack("t")
    assert waiting(inbox) == []
    write(inbox, shard(5))
    assert waiting(inbox) == ["t"]
    assert inbox.ack("t")["path"] == str(inbox.folder / "done" / "t~5.json")
    assert inbox.read("t~3")["shards"][0]["index"] == 2
    assert indexes(inbox.folder, "t") == dict.fromkeys(range(6), 1)
    for unknown in ("t~6", "u", "u~2"):
        with pytest.raises(UnknownTrace):
            inbox.read(unknown)
        with pytest.raises(UnknownTrace):
            inbox.ack(unknown)


def test_a_large_file_of_an_earlier_version_is_left_as_it_is(inbox: Inbox) -> None:
    write(inbox, shard(0))
    path = inbox.folder / "t.json"
    document = json.loads(path.read_text())
    document["shards"] += [shard(index, 700_000) for index in (1, 2, 3)]
    path.write_text(json.dumps(document))
    before = path.read_bytes()
    assert write(inbox, shard(2, 700_000), shard(4))["shards_written"] == 1
    assert path.read_bytes() == before
    assert waiting(inbox) == ["t", "t~2"]


@pytest.mark.parametrize(
    "handle", ["t~", "t~0", "t~1", "t~01", "t~-2", "t~2x", "~2", "t~2~3", "t~1234567890", "../t~2"]
)
def test_refuses_what_names_no_part(handle: str, inbox: Inbox) -> None:
    for ask in (inbox.read, inbox.ack):
        with pytest.raises(ValidationError):
            ask(handle)


def test_names_of_parts_round_trip() -> None:
    assert (part_name("t", 1), part_name("t", 12)) == ("t.json", "t~12.json")
    assert (part_of_name("t.json"), part_of_name("t~12.json")) == (("t", 1), ("t", 12))
    assert {part_of_name(name) for name in ("t~1.json", "a b.json", "t", ".json", "t.json.corrupt-5")} == {
        None
    }
    assert (asked_part("t"), asked_part("t~12")) == (("t", None), ("t", 12))
    assert handles_of([("t", 3), ("u", 1), ("t", 2)]) == {("t", 2): "t", ("t", 3): "t~3", ("u", 1): "u"}


# --- what a write costs --------------------------------------------------------------------------------


def cost(files: Counted, inbox: Inbox, index: int) -> tuple[Counter[str], int]:
    files.calls.clear()
    files.bytes_read = 0
    assert write(inbox, shard(index, 2000))["shards_written"] == 1
    return files.calls.copy(), files.bytes_read


def test_the_cost_of_a_write_does_not_grow_with_acknowledgements(tmp_path: Path, now: Now) -> None:
    """It reads the part before, and the keys of the others: 36 bytes a shard."""
    counted = Counted()
    inbox = make(tmp_path, now, counted)
    costs = []
    for index in range(300):
        costs.append(cost(counted, inbox, index))
        inbox.ack("t")
        now.s += HOUR_S
    calls, data = zip(*costs, strict=True)
    assert calls[3] == calls[-1]
    assert data[-1] - data[3] <= 40 * 300
    assert indexes(inbox.folder, "t") == dict.fromkeys(range(300), 1)
    counted.calls.clear()
    assert inbox.read("t")["shards"] == [shard(299, 2000)]
    assert counted.calls["open"] <= 3
    assert counted.calls["stat"] < 10


def test_a_write_reads_no_full_part(tmp_path: Path, now: Now) -> None:
    counted = Counted()
    inbox = make(tmp_path, now, counted)
    write(inbox, *(shard(index, 700_000) for index in range(5)))
    assert cost(counted, inbox, 10)[1] < MIB
    assert inbox.write({}, [shard(0, 700_000)], trace_id="t")["duplicates"] == 1
    (inbox.folder / "t.json").unlink()  # by hand: what is gone is no duplicate
    assert inbox.write({}, [shard(0, 700_000)], trace_id="t")["shards_written"] == 1


# --- retention by the age of each part -----------------------------------------------------------------


def test_each_part_is_retired_by_its_own_age(tmp_path: Path, now: Now) -> None:
    """No number is used again while a part of the trace is there, and no shard in it is written again."""
    inbox = make(tmp_path, now, retention_s=DAY_S)
    for index in range(100):
        write(inbox, shard(index))
        inbox.ack("t")
        now.s += HOUR_S
    assert len(inbox.retire()) == 76
    kept = [f"t~{number}.json" for number in range(77, 101)]
    assert sorted(path.name for path in (inbox.folder / "done").iterdir()) == sorted(kept)
    assert write(inbox, *(shard(index) for index in range(76, 100)))["duplicates"] == 24
    assert write(inbox, shard(0))["shards_written"] == 1
    assert inbox.ack("t")["path"] == str(inbox.folder / "done" / "t~101.json")
    now.s += 2 * DAY_S
    assert len(inbox.retire()) == 25
    assert [path.name for path in inbox.folder.rglob("*") if path.is_file()] == [".lock"]
    assert write(inbox, shard(5))["shards_written"] == 1
    assert waiting(inbox) == ["t"]


def test_an_unreadable_trace_does_not_stop_retention(tmp_path: Path, now: Now) -> None:
    inbox = make(tmp_path, now, retention_s=DAY_S)
    for trace_id in ("a", "b", "c"):
        for index in range(2):
            inbox.write({}, [shard(index)], trace_id=trace_id)
            inbox.ack(trace_id)
    (inbox.folder / ".keys" / "b").unlink()
    (inbox.folder / ".keys" / "b").mkdir()
    now.s += 2 * DAY_S
    for name in ("b~2.json", "c~2.json"):
        os.utime(inbox.folder / "done" / name, (now.s, now.s))
    with pytest.raises(ValidationError, match="no regular file"):
        inbox.retire()
    left = sorted(path.name for path in (inbox.folder / "done").iterdir())
    assert left == ["b.json", "b~2.json", "c~2.json"]
    assert inbox.retire(keep=["b"]) == []


def test_a_trace_whose_parts_wait_and_are_retired_keeps_its_numbers(tmp_path: Path, now: Now) -> None:
    inbox = make(tmp_path, now, retention_s=DAY_S)
    write(inbox, *(shard(index, 700_000) for index in range(3)))
    inbox.ack("t")
    now.s += 2 * DAY_S
    assert inbox.retire() == ["t.json"]
    assert write(inbox, shard(1, 700_000), shard(2, 700_000))["duplicates"] == 2
    assert write(inbox, shard(0, 700_000))["shards_written"] == 1
    assert sorted(files(inbox.folder)) == ["t~2.json", "t~3.json", "t~4.json"]


# --- the keys file, which is made from the parts -------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [None, b"", b"\0" * 40, b"\xc1", b"\x81\xa8trace_id\xa2\xff1", {"trace_id": "u"}, {"number": 0}, "cut"],
)
def test_p7_a_keys_file_that_is_missing_or_damaged_is_made_again(data: Any, inbox: Inbox) -> None:
    """P7: without it no shard is lost, doubled or overwritten."""
    write(inbox, *(shard(index, 700_000) for index in range(4)))
    inbox.ack("t~2")
    keys = inbox.folder / ".keys" / "t"
    if data is None:
        keys.unlink()
    elif isinstance(data, bytes):
        keys.write_bytes(data)
    else:
        held = msgspec.msgpack.decode(keys.read_bytes())
        wrong = {"records": held["records"][1:]} if data == "cut" else data
        keys.write_bytes(msgspec.msgpack.encode(held | wrong))
    assert inbox.read("t")["shards"][0]["index"] == 0
    before = {path: path.read_bytes() for path in inbox.folder.rglob("*.json")}
    report = write(inbox, *(shard(index, 700_000) for index in range(5)))
    assert (report["shards_written"], report["duplicates"]) == (1, 4)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(files(inbox.folder)) == ["done/t~2.json", "t.json", "t~3.json", "t~4.json", "t~5.json"]
    assert parse_keys(keys.read_bytes(), "t").number == 5


def test_finds_the_first_waiting_part_without_a_keys_file(inbox: Inbox) -> None:
    write(inbox, *(shard(index, 700_000) for index in range(4)))
    (inbox.folder / ".keys" / "t").unlink()
    inbox.ack("t")
    inbox.ack("t")
    assert waiting(inbox) == ["t", "t~4"]
    assert inbox.read("t")["shards"][0]["index"] == 2


def test_p5_continues_the_files_of_an_earlier_version(inbox: Inbox) -> None:
    """P5: it called each file that waited `t.json`, and numbered them when they were acknowledged."""
    for index in range(3):
        write(inbox, shard(index))
        inbox.ack("t")
    done = inbox.folder / "done"
    (done / "t~3.json").rename(inbox.folder / "t.json")
    (inbox.folder / ".keys" / "t").unlink()
    assert inbox.read("t")["shards"] == [shard(2)]
    assert write(inbox, *(shard(index) for index in range(3)))["duplicates"] == 3
    assert inbox.ack("t")["path"] == str(done / "t~3.json")
    assert write(inbox, *(shard(index) for index in range(4)))["duplicates"] == 3
    assert waiting(inbox) == ["t"]
    assert inbox.ack("t")["path"] == str(done / "t~4.json")
    assert indexes(inbox.folder, "t") == dict.fromkeys(range(4), 1)


# --- a page of what waits ------------------------------------------------------------------------------


def test_pages_come_oldest_first_and_miss_none(inbox: Inbox) -> None:
    names = [f"d{number * 7 % 25:02}" for number in range(25)]
    for number, trace_id in enumerate(names):
        inbox.write({}, [shard(0)], trace_id=trace_id)
        os.utime(inbox.folder / f"{trace_id}.json", (number // 3, number // 3))  # some at the same time
    order = [entry["trace_id"] for entry in inbox.list()]
    assert order == sorted(names, key=lambda name: (names.index(name) // 3, name))
    pages, after = [], None
    while page := inbox.list(4, after):
        pages.append([entry["trace_id"] for entry in page])
        after = pages[-1][-1]
        inbox.write({}, [shard(1)], trace_id=after)  # a file that grows keeps its place
    assert [len(page) for page in pages] == [4] * 6 + [1]
    assert [name for page in pages for name in page] == order
    assert inbox.list(0) == []
    assert [entry["trace_id"] for entry in inbox.list(after=order[-2])] == [order[-1]]


def test_a_consumer_drains_by_pages_while_it_acknowledges(inbox: Inbox) -> None:
    for number in range(10):
        inbox.write({}, [shard(0)], trace_id=f"d{number}")
    write(inbox, *(shard(index, 700_000) for index in range(3)))
    seen, after = [], None
    while page := inbox.list(2, after):
        for entry in page:
            seen.append(inbox.read(entry["trace_id"])["shards"][0]["index"])
            inbox.ack(entry["trace_id"])
        after = page[-1]["trace_id"]
    assert sorted(seen) == [0] * 11 + [1, 2]
    assert inbox.counts()["waiting"] == 0


# --- an acknowledgement of what was read ---------------------------------------------------------------


def test_does_not_acknowledge_a_file_that_has_grown(inbox: Inbox) -> None:
    """Each write has a `saved_ts` of its own, also within one millisecond."""
    write(inbox, shard(0))
    read = inbox.read("t")["saved_ts"]
    write(inbox, shard(1))
    with pytest.raises(ValidationError, match="has grown since it was read"):
        inbox.ack("t", read)
    assert waiting(inbox) == ["t"]
    read = inbox.read("t")["saved_ts"]
    assert inbox.ack("t", read) == inbox.ack("t", read)
    write(inbox, shard(2))
    assert inbox.read("t")["saved_ts"] > read
    assert inbox.ack("t", read)["path"] == str(inbox.folder / "done" / "t.json")  # a second time: no error
    assert waiting(inbox) == ["t"]


def test_saved_ts_increases_though_the_clock_goes_back(inbox: Inbox, now: Now) -> None:
    seen = []
    for index in range(6):
        now.s -= 50
        write(inbox, shard(index, 400_000))
        seen.append(inbox.read(waiting(inbox)[-1])["saved_ts"])
        if index == 3:
            inbox.ack("t")
            inbox.ack("t")
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("saved_ts", ["5", 5.0, True, [5]])
def test_ignores_a_saved_ts_that_is_no_integer(saved_ts: Any, inbox: Inbox) -> None:
    write(inbox, shard(0))
    with pytest.raises(ValidationError, match="saved_ts"):
        inbox.ack("t", saved_ts)


# --- names that every file system takes ----------------------------------------------------------------


class ShortNames(Files):
    """A file system that takes names of up to 143 bytes."""

    def check(self, name: str) -> None:
        assert len(name.encode()) <= 143, name

    def open_read(self, name: str, at: int) -> int:
        self.check(name)
        return super().open_read(name, at)

    def open_new(self, name: str, at: int, mode: int) -> int:
        self.check(name)
        return super().open_new(name, at, mode)

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        self.check(new_name)
        super().rename(name, at, new_name, new_at)

    def stat(self, name: str, at: int) -> os.stat_result:
        self.check(name)
        return super().stat(name, at)


def test_the_longest_trace_ids_fit_short_names(tmp_path: Path, now: Now) -> None:
    inbox = make(tmp_path, now, ShortNames())
    names = ["x" * 128, "x" * 127 + "y"]
    for _ in range(2):
        for trace_id in names:
            inbox.write({}, [shard(0)], trace_id=trace_id)
            (inbox.folder / f"{trace_id}.json").write_bytes(b"{")
            assert inbox.write({}, [shard(1)], trace_id=trace_id)["set_aside"]
    for trace_id in names:
        for index in range(12):
            inbox.write({}, [shard(index + 5)], trace_id=trace_id)
            inbox.ack(trace_id)
    assert inbox.counts()["set_aside"] == 4
    assert len(part_name("x" * 128, 999_999_999)) == MOST_NAME_BYTES
    assert len(aside_name(part_name("x" * 128, 999_999_999), 10**13, 10**6)) == MOST_NAME_BYTES
    assert aside_name("t~2.json", 5, 2) == "t~2.json.corrupt-5-2"
