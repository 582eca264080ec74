"""Reading the folder: what is listed, read, verified and counted, while others write."""

import json
import os

import pytest

from dreamd.clock import Clock
from dreamd.inbox import (
    DamagedFile,
    Inbox,
    UnknownTrace,
)
from tests.inbox.conftest import Now, Waiting, node, shard, write


def test_listing_is_the_oldest_first_and_files_only(inbox: Inbox) -> None:
    assert list(inbox.list()) == []
    for number, trace_id in enumerate(["b", "a", "c"]):
        size = write(inbox, shard(0), trace_id=trace_id)["bytes"]
        os.utime(inbox.folder / f"{trace_id}.json", (number, number))
    (inbox.folder / "no trace.json").write_text("{}")
    (inbox.folder / "x.txt").write_text("")
    (inbox.folder / "folder.json").mkdir()
    (inbox.folder / "link.json").symlink_to("a.json")
    assert list(inbox.list()) == [
        {"trace_id": trace_id, "bytes": size, "written_at": float(number)}
        for number, trace_id in enumerate("bac")
    ]


def test_reading_a_missing_or_damaged_trace_raises(inbox: Inbox) -> None:
    with pytest.raises(UnknownTrace):
        inbox.read("t")
    write(inbox, shard(0))
    with pytest.raises(UnknownTrace):
        inbox.read("u")
    (inbox.folder / "t.json").write_bytes(b"{")
    with pytest.raises(DamagedFile):
        inbox.read("t")


def test_verify_names_the_problems_of_each_file(inbox: Inbox) -> None:
    assert list(inbox.verify()) == []
    write(inbox, shard(0), nodes=[node(1)], trace_id="good")
    for _ in range(2):
        write(inbox, shard(inbox.counts()["done"]), trace_id="done")
        inbox.ack("done")
    good = json.loads((inbox.folder / "good.json").read_text())
    (inbox.folder / "renamed.json").write_text(json.dumps(good))
    odd = {"trace_id": "odd", "shards": [5, {"index": "0"}], "matada_nodes": [node(0)], "version": 2}
    (inbox.folder / "odd.json").write_text(json.dumps(good | odd))
    (inbox.folder / "cut.json").write_bytes(b"{")
    (inbox.folder / "a b.json").write_bytes(b"{}")
    (inbox.folder / "link.json").symlink_to("good.json")
    (inbox.folder / "t.json.corrupt-5").write_bytes(b"{")
    (inbox.folder / ".tmp" / "t.json").write_bytes(b"{")
    found = {entry["file"]: entry["problems"] for entry in inbox.verify()}
    assert found.pop("good.json") == found.pop("done/done.json") == found.pop("done/done~2.json") == []
    assert found.pop("renamed.json") == ["its trace_id is not the one of its name"]
    assert found.pop("cut.json") == ["the file is no JSON"]
    assert len(found.pop("odd.json")) == 4
    assert sorted(found) == [".tmp/t.json", "a b.json", "link.json", "t.json.corrupt-5"]
    assert all(len(problems) == 1 for problems in found.values())


def test_counts_files_of_each_kind(inbox: Inbox) -> None:
    nothing = {"waiting": 0, "done": 0, "set_aside": 0, "temporaries": 0, "refused": {}}
    assert inbox.counts() == nothing
    for trace_id in "abc":
        write(inbox, trace_id=trace_id)
    inbox.ack("a")
    assert inbox.counts() == nothing | {"waiting": 2, "done": 1}


def test_reads_a_folder_without_sub_folders(inbox: Inbox) -> None:
    inbox.folder.mkdir(parents=True)
    (inbox.folder / "t.json").write_text('{"shards": []}')
    assert [entry["trace_id"] for entry in inbox.list()] == ["t"]
    assert inbox.counts()["done"] == 0
    with pytest.raises(UnknownTrace):
        inbox.read("u")


class Vanishing(Waiting):
    """Each file is acknowledged by another process between the listing and the reading."""

    def stat(self, name: str, at: int) -> os.stat_result:
        raise FileNotFoundError(name)

    def open_read(self, name: str, at: int) -> int:
        raise FileNotFoundError(name)


def test_files_that_vanish_meanwhile_are_no_error(inbox: Inbox, now: Now) -> None:
    write(inbox, shard(0))
    late = Inbox(inbox.folder, files=Vanishing(now), clock=Clock(now, now))
    assert list(late.list()) == []
    assert [entry["problems"] for entry in late.verify()] == [[]]
