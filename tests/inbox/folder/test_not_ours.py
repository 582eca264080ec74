"""Unreadable files, and files that dreamd must not change, stay unchanged."""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dreamd.inbox import DamagedFile, Inbox, InboxError, InboxUnavailable, ValidationError
from dreamd.inbox.folder.files import Files


def shard(index: int) -> dict[str, int]:
    return {"index": index, "timestamp": 5}


def write(inbox: Inbox, *shards: dict[str, int], trace_id: str = "t") -> dict[str, Any]:
    return inbox.write({"goal": "g"}, list(shards), trace_id=trace_id)


def all_files(inbox: Inbox) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in inbox.folder.rglob("*") if path.is_file()}


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


class Unreadable(Files):
    """A disk on which opening, or reading, a file fails, or gives less than there is."""

    def __init__(self, call: str, error: int) -> None:
        self.call, self.error = call, error

    def open_read(self, name: str, at: int) -> int:
        if self.call == "open" and name.endswith(".json"):
            raise OSError(self.error, os.strerror(self.error))
        return super().open_read(name, at)

    def read(self, fd: int, size: int) -> bytes:
        if self.call == "read":
            raise OSError(self.error, os.strerror(self.error))
        return b"" if self.call == "short" else super().read(fd, size)


@pytest.mark.parametrize(
    "error", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE]
)
@pytest.mark.parametrize("call", ["open", "read", "short"])
def test_p7_does_not_set_aside_a_file_that_cannot_be_read_now(call: str, error: int, inbox: Inbox) -> None:
    """P7: a failed read does not prove damage, so a later write succeeds."""
    write(inbox, shard(0))
    before = all_files(inbox)
    failing = Inbox(inbox.folder, files=Unreadable(call, error))
    with pytest.raises(InboxUnavailable) as failed:
        write(failing, shard(1))
    assert failed.value.errno == (errno.EIO if call == "short" else error)
    with pytest.raises(InboxUnavailable):
        failing.ack("t")
    assert all_files(inbox) == before
    assert write(inbox, shard(0), shard(1))["shards_written"] == 1


@pytest.mark.parametrize("call", ["open", "read", "short"])
def test_p5_an_acknowledged_file_that_cannot_be_read_now_still_counts(call: str, inbox: Inbox) -> None:
    """P5: otherwise its shards would come back."""
    write(inbox, shard(0))
    inbox.ack("t")
    before = all_files(inbox)
    with pytest.raises(InboxUnavailable):
        write(Inbox(inbox.folder, files=Unreadable(call, errno.EIO)), shard(0))
    assert all_files(inbox) == before


def whole(inbox: Inbox, **more: Any) -> bytes:
    """Put a file in the place of `t` that differs from ours by these keys."""
    write(inbox, shard(0))
    path = inbox.folder / "t.json"
    data = json.dumps(json.loads(path.read_bytes()) | more).encode()
    path.write_bytes(data)
    return data


@pytest.mark.parametrize(
    ("more", "why"),
    [({"trace_id": "other"}, "trace_id"), ({"trace_id": "T"}, "trace_id"), ({"version": 2}, "version")],
)
def test_a_file_of_another_trace_or_version_is_not_appended_to(
    more: dict[str, Any], why: str, inbox: Inbox
) -> None:
    data = whole(inbox, **more)
    for index in (0, 1):
        with pytest.raises(ValidationError, match=why):
            write(inbox, shard(index))
    assert (inbox.folder / "t.json").read_bytes() == data
    assert [path.name for path in inbox.folder.glob("*.json*")] == ["t.json"]
    [entry] = inbox.verify()
    assert why in " ".join(entry["problems"])


def test_does_not_acknowledge_a_file_of_another_trace(inbox: Inbox) -> None:
    whole(inbox, trace_id="other")
    with pytest.raises(ValidationError, match="trace_id is not the one of its name"):
        inbox.ack("t")
    assert (inbox.folder / "t.json").exists()


def test_a_file_of_a_newer_version_is_read_and_acknowledged(inbox: Inbox) -> None:
    """The reader acknowledges what it has read."""
    whole(inbox, version=2)
    assert inbox.read("t")["version"] == 2
    inbox.ack("t")
    assert (inbox.folder / "done" / "t.json").exists()


class CaseInsensitive(Files):
    """A folder in which names that differ in case are one."""

    def found(self, name: str, at: int) -> str:
        return next((other for other in self.names(at) if other.lower() == name.lower()), name)

    def open_read(self, name: str, at: int) -> int:
        return super().open_read(self.found(name, at), at)

    def stat(self, name: str, at: int) -> os.stat_result:
        return super().stat(self.found(name, at), at)

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        super().rename(self.found(name, at), at, self.found(new_name, new_at), new_at)

    def unlink(self, name: str, at: int) -> None:
        super().unlink(self.found(name, at), at)


def test_in_a_folder_that_ignores_case_two_traces_stay_apart(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox", files=CaseInsensitive())
    write(inbox, shard(0), trace_id="Sim-A")
    before = all_files(inbox)
    with pytest.raises(ValidationError, match="trace_id"):
        write(inbox, shard(1), trace_id="sim-a")
    with pytest.raises(ValidationError, match="trace_id"):
        inbox.ack("sim-a")
    assert all_files(inbox) == before
    inbox.ack("Sim-A")
    for index in range(1, 4):
        assert write(inbox, shard(index), trace_id="sim-a")["shards_written"] == 1
        assert write(inbox, shard(index), trace_id="sim-a")["duplicates"] == 1
        inbox.ack("sim-a")
    assert write(inbox, shard(0), trace_id="Sim-A")["duplicates"] == 1
    found = [json.loads(path.read_bytes()) for path in inbox.folder.rglob("*.json")]
    assert sorted((one["trace_id"], one["shards"][0]["index"]) for one in found) == [
        ("Sim-A", 0), ("sim-a", 1), ("sim-a", 2), ("sim-a", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xef\xbb\xbf" + b'{"trace_id": "t", "shards": [], "version": 1}', "byte order mark"),
        ('{"trace_id": "t", "shards": []}'.encode("utf-16"), "byte order mark"),
        (b'{"trace_id": "t", "shards": [' + b"9" * 5000 + b"]}", "too long"),
        (b'{"trace_id": "t", "shards": [' + b"[" * 200_000 + b"]" * 200_000 + b"]}", "nested"),
    ],
)
def test_leaves_and_names_a_file_of_another_program(data: bytes, why: str, inbox: Inbox) -> None:
    write(inbox, shard(0))
    (inbox.folder / "t.json").write_bytes(data)
    before = all_files(inbox)
    with pytest.raises(DamagedFile, match=why):
        write(inbox, shard(1))
    with pytest.raises(DamagedFile, match=why):
        inbox.read("t")
    assert all_files(inbox) == before
    assert why in inbox.verify()[0]["problems"][0]


@pytest.mark.parametrize("depth", [30, 300, *range(900, 1000, 7), 3000, 10_000, 30_000])
def test_a_file_of_any_depth_is_kept_or_refused(depth: int, inbox: Inbox) -> None:
    """The depth to which Python reads and writes a file differs between its versions."""
    write(inbox, shard(0))
    data = b'{"trace_id": "t", "shards": [' + b"[" * depth + b"]" * depth + b"]}"
    (inbox.folder / "t.json").write_bytes(data)
    for act in (
        inbox.verify,
        lambda: inbox.read("t"),
        lambda: write(inbox, shard(1)),
        lambda: inbox.ack("t"),
    ):
        with contextlib.suppress(InboxError):
            act()
    [path] = [path for path in inbox.folder.rglob("*.json*") if data[29:-2] in path.read_bytes()]
    assert ".corrupt" not in path.name
