"""Writing into the folder: new files, growing ones, damaged ones, modes, retention and temporaries."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dreamd.clock import Clock
from dreamd.inbox import (
    Inbox,
    InboxSettings,
    InboxUnavailable,
    UnknownTrace,
    ValidationError,
    dream_document,
)
from tests.inbox.conftest import DAY_S, LINE, Now, Waiting, make, node, shard, write


def test_a_write_makes_a_file_as_documented(inbox: Inbox, now: Now) -> None:
    report = inbox.write({"goal": "g", "x": 1}, [shard(0)], [node(1)], trace_id="t")
    path = inbox.folder / "t.json"
    assert report == {
        "path": str(path),
        "bytes": path.stat().st_size,
        "shards_written": 1,
        "duplicates": 0,
        "conflicts": 0,
        "nodes_written": 1,
        "nodes_skipped": 0,
        "redacted": {},
        "set_aside": None,
    }
    document = json.loads(path.read_bytes())
    assert document == {
        "trace_id": "t",
        "saved_ts": int(now.s * 1000),
        "seed": {"goal": "g", "ul_tags": [], "constraints": {"flags": {}}},
        "shards": [shard(0)],
        "matada_nodes": [node(1)],
        "version": 1,
        "schema_ref": "lukhas://schemas/matada_node_v1.json",
    }
    assert list(document) == [
        "trace_id",
        "saved_ts",
        "seed",
        "shards",
        "matada_nodes",
        "version",
        "schema_ref",
    ]
    assert inbox.read("t") == document


def test_p7_appending_keeps_what_was_there_and_adds_what_is_new(inbox: Inbox, now: Now) -> None:
    """P7: unknown keys and the first seed stay too."""
    write(inbox, shard(0), nodes=[node(1), node(2)])
    path = inbox.folder / "t.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": [1]}))
    now.s += 5
    report = inbox.write(
        {"goal": "other"},
        [shard(0), shard(1), shard(0, text="odd")],
        [node(2, payload={"x": 1}), node(1)],
        trace_id="t",
        schema_ref="lukhas://schemas/matriz_node_v1.json",
    )
    parts = ("shards_written", "duplicates", "conflicts", "nodes_written")
    assert [report[part] for part in parts] == [2, 1, 1, 1]
    document = inbox.read("t")
    assert document["shards"] == [shard(0), shard(1), shard(0, text="odd")]
    assert document["matada_nodes"] == [node(1), node(2, payload={"x": 1})]
    assert (document["seed"]["goal"], document["more"]) == ("g", [1])
    assert document["schema_ref"] == "lukhas://schemas/matriz_node_v1.json"
    assert document["saved_ts"] == int(now.s * 1000)


def test_p7_the_same_write_again_changes_not_a_byte(inbox: Inbox, now: Now) -> None:
    """P7: a shard that is sent twice is there once."""
    first = write(inbox, shard(0), {"text": "no name"}, nodes=[node(1)])
    data = (inbox.folder / "t.json").read_bytes()
    now.s += 5
    again = write(inbox, shard(0), {"text": "no name"}, nodes=[node(1)])
    assert (again["shards_written"], again["duplicates"], again["nodes_written"]) == (0, 2, 0)
    assert (again["path"], again["bytes"]) == (first["path"], len(data))
    assert (inbox.folder / "t.json").read_bytes() == data


def test_a_trace_without_shards_is_a_trace(inbox: Inbox) -> None:
    assert write(inbox)["shards_written"] == 0
    assert inbox.read("t")["shards"] == []


def test_keeps_an_odd_shard_of_another_program(inbox: Inbox) -> None:
    inbox.folder.mkdir(parents=True)
    (inbox.folder / "t.json").write_text('{"shards": [7, {"index": "0"}], "seed": {}}')
    assert write(inbox, shard(0))["set_aside"] is None
    document = inbox.read("t")
    assert document["shards"] == [7, {"index": "0"}, shard(0)]
    assert document["seed"]["goal"] == "g"


def test_p7_a_file_that_cannot_be_read_is_set_aside_each_time_under_a_new_name(inbox: Inbox) -> None:
    """P7: the damaged bytes are kept, and the write lands."""
    garbage = [b"", b"\0" * 100, b"{", b"[]"]
    write(inbox)
    asides = []
    for index, data in enumerate(garbage):
        (inbox.folder / "t.json").write_bytes(data)
        report = write(inbox, shard(index))
        assert report["shards_written"] == 1
        asides.append(inbox.folder / report["set_aside"])
        assert inbox.read("t")["shards"] == [shard(index)]
    assert [path.read_bytes() for path in asides] == garbage
    assert all(path.name.startswith("t.json.corrupt-") for path in asides)
    assert [entry["trace_id"] for entry in inbox.list()] == ["t"]
    assert inbox.counts()["set_aside"] == 4


def test_a_refused_write_sets_nothing_aside(inbox: Inbox) -> None:
    write(inbox)
    (inbox.folder / "t.json").write_bytes(b"{")
    large = [shard(0), {"text": "x" * 2_000_000}]
    with pytest.raises(ValidationError, match="bytes"):
        write(inbox, *large)
    assert sorted(path.name for path in inbox.folder.glob("t.*")) == ["t.json"]


def test_p5_acknowledged_shards_never_come_back(inbox: Inbox) -> None:
    """P5: while it is in done/, its shards and nodes count as duplicates. Only new ones wait again."""
    document = dream_document("t", [LINE, LINE], goal="g")
    inbox.write(*document, trace_id="t")
    done = inbox.folder / "done" / "t.json"
    assert inbox.ack("t") == {"trace_id": "t", "path": str(done)}
    again = inbox.write(*document, trace_id="t")
    assert (again["shards_written"], again["duplicates"], again["nodes_written"]) == (0, 2, 0)
    assert (again["path"], again["bytes"]) == (str(done), done.stat().st_size)
    assert list(inbox.list()) == []

    write(inbox, shard(7))
    assert inbox.read("t")["shards"] == [shard(7)]
    assert inbox.ack("t")["path"] == str(inbox.folder / "done" / "t~2.json")
    assert write(inbox, shard(7))["duplicates"] == 1
    assert list(inbox.list()) == []
    assert inbox.read("t")["shards"] == [shard(7)]


def test_a_damaged_acknowledged_file_is_left_alone(inbox: Inbox) -> None:
    write(inbox, shard(0))
    inbox.ack("t")
    (inbox.folder / "done" / "t.json").write_bytes(b"{")
    assert write(inbox, shard(0))["shards_written"] == 1
    assert (inbox.folder / "done" / "t.json").read_bytes() == b"{"


def test_accepts_a_second_acknowledgement_but_no_unknown_trace(inbox: Inbox) -> None:
    with pytest.raises(UnknownTrace):
        inbox.ack("t")
    write(inbox, shard(0))
    assert inbox.ack("t") == inbox.ack("t")
    with pytest.raises(LookupError):
        inbox.ack("u")


def test_retention_removes_acknowledged_files_only(tmp_path: Path, now: Now) -> None:
    inbox = make(tmp_path, now, retention_s=10 * DAY_S)
    for trace_id in ("old", "again", "waits"):
        write(inbox, shard(0), trace_id=trace_id)
    inbox.ack("old")
    inbox.ack("again")
    (inbox.folder / "done" / "of others.json").write_text("{}")
    os.utime(inbox.folder / "done" / "of others.json", (0, 0))
    os.utime(inbox.folder / "waits.json", (0, 0))
    now.s += 9 * DAY_S
    write(inbox, shard(1), trace_id="again")
    inbox.ack("again")
    assert list(inbox.retire()) == []
    now.s += 2 * DAY_S
    assert list(inbox.retire()) == ["again.json", "old.json"]
    assert write(inbox, shard(1), trace_id="again")["duplicates"] == 1
    now.s += 9 * DAY_S
    assert list(inbox.retire()) == ["again~2.json"]
    assert sorted(path.name for path in inbox.folder.rglob("*.json")) == ["of others.json", "waits.json"]
    now.s -= 100 * DAY_S  # a clock that jumped back removes nothing
    inbox.ack("waits")
    assert list(inbox.retire()) == []


def test_the_sweep_removes_temporaries_by_age(inbox: Inbox, now: Now) -> None:
    write(inbox, shard(0))
    litter = inbox.folder / ".tmp"
    for name, age_s in (("young.json", 10), ("old.json", 5000), ("future.json", -5000)):
        (litter / name).write_bytes(b"{")
        os.utime(litter / name, (now.s - age_s, now.s - age_s))
    (litter / "link").symlink_to("/etc/passwd")
    os.utime(litter / "link", (now.s, now.s), follow_symlinks=False)
    (litter / "folder").mkdir()
    assert inbox.counts()["temporaries"] == 5
    assert list(inbox.sweep(older_than_s=3600)) == ["future.json", "old.json"]
    assert list(inbox.sweep()) == ["link", "young.json"]
    assert [path.name for path in litter.iterdir()] == ["folder"]
    assert inbox.read("t")["shards"] == [shard(0)]


@pytest.mark.parametrize(
    ("mode", "file_mode", "folder_mode"),
    [("0600", 0o600, 0o700), ("0640", 0o640, 0o2750), (0o660, 0o660, 0o2770)],
)
def test_sets_the_modes_under_any_umask(
    mode: Any, file_mode: int, folder_mode: int, tmp_path: Path, now: Now
) -> None:
    inbox = make(tmp_path, now, mode=mode)
    before = os.umask(0o077)
    try:
        write(inbox, shard(0))
    finally:
        os.umask(before)
    for path in (inbox.folder, inbox.folder / ".tmp", inbox.folder / "done"):
        assert stat.S_IMODE(path.stat().st_mode) == folder_mode
    for name in ("t.json", ".lock"):
        assert stat.S_IMODE((inbox.folder / name).stat().st_mode) == file_mode
    assert stat.S_IMODE(inbox.folder.parent.stat().st_mode) == 0o700


class Racing(Waiting):
    """Another writer makes each folder at the same moment."""

    def mkdir(self, name: str, at: int, mode: int) -> None:
        os.mkdir(name, mode, dir_fd=at)
        super().mkdir(name, at, mode)


class InPieces(Waiting):
    """A system that writes and reads seven bytes at a time."""

    def write(self, fd: int, data: memoryview) -> int:
        return super().write(fd, data[:7])

    def read(self, fd: int, size: int) -> bytes:
        return super().read(fd, 7)


@pytest.mark.parametrize("kind", [Racing, InPieces])
def test_p6_survives_short_writes_and_races_for_folders(
    kind: type[Waiting], tmp_path: Path, now: Now
) -> None:
    """P6: the file is whole nevertheless."""
    inbox = Inbox(tmp_path / "a" / "b", files=kind(now), clock=Clock(now, now))
    write(inbox, shard(0))
    write(inbox, shard(1))
    assert inbox.read("t")["shards"] == [shard(0), shard(1)]


class Failing(Waiting):
    """A disk that refuses to sync a file, and then to remove it."""

    def fsync(self, fd: int) -> None:
        if stat.S_ISREG(self.fstat(fd).st_mode):
            raise OSError(errno.EIO, "sync")

    def unlink(self, name: str, at: int) -> None:
        raise OSError(errno.EIO, "unlink")


def test_p7_next_write_removes_a_left_over_temporary(inbox: Inbox, now: Now) -> None:
    """P7: the next write of that trace removes it."""
    write(inbox, shard(0))
    with pytest.raises(InboxUnavailable) as failed:
        write(Inbox(inbox.folder, files=Failing(now), clock=Clock(now, now)), shard(1))
    assert failed.value.errno == errno.EIO
    assert inbox.counts()["temporaries"] == 1
    assert write(inbox, shard(1))["shards_written"] == 1
    assert inbox.counts()["temporaries"] == 0


class OfAnotherUser(Waiting):
    """One file belongs to another user and is read-only for the group, so that its time cannot be set."""

    def touch(self, name: str, at: int, time_s: float) -> None:
        if stat.S_IMODE(self.stat(name, at).st_mode) == 0o644:
            raise PermissionError(errno.EPERM, "not the owner")
        super().touch(name, at, time_s)


def test_acknowledges_another_users_file_that_it_may_only_read(inbox: Inbox, now: Now) -> None:
    write(inbox, shard(0))
    (inbox.folder / "t.json").chmod(0o644)
    data = (inbox.folder / "t.json").read_bytes()
    ours = Inbox(inbox.folder, files=OfAnotherUser(now), clock=Clock(now, now))
    now.s += DAY_S
    done = Path(ours.ack("t")["path"])
    assert (done.read_bytes(), done.stat().st_mtime) == (data, now.s)  # retention counts from now


def test_a_huge_file_is_acknowledged_unread(inbox: Inbox, now: Now) -> None:
    class Unread(Waiting):
        def read(self, fd: int, size: int) -> bytes:
            raise AssertionError("it may be larger than the memory")

    write(inbox, shard(0), trace_id="other")
    with (inbox.folder / "t.json").open("wb") as file:
        file.truncate(1 << 40)
    box = Inbox(inbox.folder, files=Unread(now), clock=Clock(now, now))
    with pytest.raises(ValidationError, match="has grown"):
        box.ack("t", 5)
    assert Path(box.ack("t")["path"]).stat().st_size == 1 << 40


class Consumer(Waiting):
    """A consumer without the lock moves the file to done/ while more is added to it."""

    def __init__(self, now: Now, folder: Path) -> None:
        super().__init__(now)
        self.file, self.moved = folder / "t.json", False

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        if name == "t.json" and self.file.exists() and not self.moved:
            self.moved = True
            self.file.rename(self.file.parent / "done" / "t.json")
        super().rename(name, at, new_name, new_at)


class EarlyConsumer(Consumer):
    """This one moves the file before it is read, but after it was looked for in done/."""

    def open_read(self, name: str, at: int) -> int:
        if name == "t.json" and not self.moved:
            self.moved = True
            self.file.rename(self.file.parent / "done" / "t.json")
        return super().open_read(name, at)


def test_p5_what_a_consumer_moves_before_it_is_read_does_not_come_back(inbox: Inbox, now: Now) -> None:
    for more in ([], [shard(1)]):
        write(inbox, shard(0))
        files = EarlyConsumer(now, inbox.folder)
        report = write(Inbox(inbox.folder, files=files, clock=Clock(now, now)), shard(0), *more)
        assert files.moved
        assert (report["shards_written"], report["duplicates"]) == (len(more), 1)
        assert Path(report["path"]).stat().st_size == report["bytes"]
        assert not (inbox.folder / "t.json").exists()
        for path in inbox.folder.rglob("t*"):
            path.unlink()


@pytest.mark.parametrize("size", [1, 600_000])  # the second does not fit into one part
def test_p5_what_a_consumer_moves_while_a_trace_grows_does_not_come_back(
    inbox: Inbox, now: Now, size: int
) -> None:
    write(inbox, shard(0), nodes=[node(1)])
    files = Consumer(now, inbox.folder)
    late = Inbox(inbox.folder, files=files, clock=Clock(now, now))
    more = [shard(number, text="x" * size) for number in (1, 2)]
    report = write(late, shard(0), *more, nodes=[node(1), node(2)])
    assert files.moved
    found = [json.loads(path.read_text()) for path in inbox.folder.glob("t*.json")]
    assert sorted(each["index"] for document in found for each in document["shards"]) == [1, 2]
    assert [each["id"] for document in found for each in document["matada_nodes"]] == [node(2)["id"]]
    assert not (inbox.folder / "t.json").exists()
    assert (report["shards_written"], report["duplicates"], report["nodes_written"]) == (2, 1, 1)
    assert Path(report["path"]).stat().st_size == report["bytes"]
    assert write(inbox, shard(0), *more)["duplicates"] == 3


def test_an_acknowledgement_at_the_moment_of_another_consumers_is_no_error(inbox: Inbox, now: Now) -> None:
    class Later(Waiting):
        def touch(self, name: str, at: int, time_s: float) -> None:
            if (file := inbox.folder / name).exists() and name != ".lock":
                file.rename(inbox.folder / "done" / name)
            super().touch(name, at, time_s)

    write(inbox, shard(0))
    done = Inbox(inbox.folder, files=Later(now), clock=Clock(now, now)).ack("t")["path"]
    assert done == str(inbox.folder / "done" / "t.json")


def test_a_sandbox_without_setgid_gets_folders_that_the_group_may_enter(tmp_path: Path, now: Now) -> None:
    class Sandboxed(Waiting):
        def chmod(self, fd: int, mode: int) -> None:
            if mode & stat.S_ISGID:
                raise PermissionError(errno.EPERM, "RestrictSUIDSGID=")
            super().chmod(fd, mode)

    inbox = Inbox(tmp_path / "inbox", InboxSettings(mode="0660"), files=Sandboxed(now), clock=Clock(now, now))
    write(inbox, shard(0))
    folders = (inbox.folder, inbox.folder / ".tmp", inbox.folder / "done")
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o770] * 3
