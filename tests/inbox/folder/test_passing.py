"""Passing whole files on: read as bytes, acknowledged together."""

import errno
import os
from pathlib import Path

import pytest

from dreamd.inbox import Inbox, InboxUnavailable, UnknownTrace
from dreamd.inbox.folder.files import Files


class CountedFiles(Files):
    syncs = 0

    def fsync(self, fd: int) -> None:
        self.syncs += 1
        super().fsync(fd)


@pytest.fixture
def box(tmp_path: Path) -> Inbox:
    made = Inbox(tmp_path / "dreams", files=CountedFiles())
    for name in ("a", "b", "c"):
        made.write({}, [{"index": 1, "timestamp": 1, "text": name}], trace_id=name)
    return made


def test_acknowledges_many_files_with_one_sync_of_each_folder(box):
    read = box.read_waiting(box.waiting_parts(), 1 << 20)
    assert [each.part for each in read] == [("a", 1), ("b", 1), ("c", 1)]
    assert read[0].data == (box.folder / "a.json").read_bytes()
    box._files.syncs = 0
    assert box.ack_files(read) == 3
    assert box._files.syncs == 3  # of the two folders, and of done/ under the lock
    assert (box.counts()["waiting"], box.counts()["done"]) == (0, 3)
    assert box.ack_files(read) == 0


def test_leaves_a_file_that_grew_or_was_replaced_since_it_was_read(box):
    read = box.read_waiting(box.waiting_parts(), 1 << 20)
    box.write({}, [{"index": 2, "timestamp": 2}], trace_id="a")
    changed = box.folder / "new"
    changed.write_bytes((box.folder / "b.json").read_bytes())
    os.utime(changed, ns=(os.stat(box.folder / "b.json").st_mtime_ns,) * 2)
    changed.replace(box.folder / "b.json")
    assert box.ack_files(read) == 1
    assert sorted(part for part, _ in box.waiting_parts()) == ["a", "b"]
    assert len(box.read("a")["shards"]) == 2


def test_reads_at_least_one_file_and_then_no_more_than_asked(box):
    assert len(box.read_waiting(box.waiting_parts(), 1)) == 1
    (box.folder / "b.json").unlink()
    assert [each.part[0] for each in box.read_waiting([("b", 1), ("c", 1)], 1 << 20)] == ["c"]
    (box.folder / "e.json").symlink_to(box.folder / "c.json")
    assert [each.data is None for each in box.read_waiting([("e", 1), ("c", 1)], 1 << 20)] == [True, False]
    os.mkfifo(box.folder / "d.json")
    assert box.read_waiting([("d", 1)], 1 << 20)[0].data is None


def test_a_missing_folder_has_nothing(tmp_path):
    box = Inbox(tmp_path / "none")
    assert (box.waiting_parts(), box.read_waiting([("a", 1)], 1)) == ([], [])
    with pytest.raises(UnknownTrace):
        box.read("a")


def test_keeps_equal_bytes_aside_once(box):
    for _ in range(2):
        box.keep_aside("pulled", b"{", 7)
    assert (box.folder / "pulled.json.corrupt-7").read_bytes() == b"{"
    assert box.counts()["set_aside"] == 1


class OddDisk(Files):
    """A disk with a bad block in one file, a file that grows while it is read, and one that must not be moved."""

    def open_read(self, name: str, at: int) -> int:
        self.name = name
        return super().open_read(name, at)

    def read(self, fd: int, size: int) -> bytes:
        if self.name == "a.json":
            raise OSError(errno.EIO, "bad block")
        return super().read(fd, size) + (b"more" if self.name == "b.json" else b"")

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        if name == "a.json" and at != new_at:
            raise PermissionError(errno.EPERM, "immutable")
        super().rename(name, at, new_name, new_at)


def test_a_file_that_cannot_be_read_now_holds_up_no_other(box):
    odd = Inbox(box.folder, files=OddDisk())
    read = odd.read_waiting(odd.waiting_parts(), 1 << 20)
    assert [(each.part[0], each.data is None) for each in read] == [("a", True), ("b", True), ("c", False)]


def test_a_file_that_cannot_be_moved_holds_up_no_other(box):
    read = box.read_waiting(box.waiting_parts(), 1 << 20)
    odd = Inbox(box.folder, files=OddDisk())
    with pytest.raises(InboxUnavailable):
        odd.ack_files(read)
    assert box.waiting_parts() == [("a", 1)]
    assert box.counts()["done"] == 2
