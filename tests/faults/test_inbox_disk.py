"""P6, P7: a disk that is really full, and then is not."""

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamd.inbox import Inbox, InboxUnavailable
from tests.helpers.inbox_check import files, indexes, temporaries

_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if _libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=256k"):
        pytest.skip(f"mounting is refused here: {os.strerror(ctypes.get_errno())}")
    yield place
    assert _libc.umount2(os.fsencode(place), 2) == 0


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


def write_until_refused(inbox: Inbox, accepted: list[int]) -> None:
    for index in range(1000):
        shard = {"index": index, "timestamp": index, "text": "x" * 3000}
        inbox.write({"goal": "fill"}, [shard], trace_id="t")
        accepted.append(index)


def test_p7_a_full_disk_loses_nothing_and_recovers_by_itself(small_disk: Path) -> None:
    inbox = Inbox(small_disk / "inbox")
    accepted: list[int] = []
    with pytest.raises(InboxUnavailable) as full:
        write_until_refused(inbox, accepted)
    assert full.value.errno == errno.ENOSPC
    assert len(accepted) > 10  # half the disk: the old file and the new one are there at once
    assert indexes(inbox.folder, "t") == dict.fromkeys(accepted, 1)
    assert temporaries(inbox.folder) == []

    with pytest.raises(OSError):
        fill(small_disk / "ballast")
    with pytest.raises(InboxUnavailable):
        inbox.write({"goal": "fill"}, [{"index": 0, "timestamp": 0}], trace_id="another")
    assert list(files(inbox.folder)) == ["t.json"]
    inbox.ack("t")  # a rename needs no room

    (small_disk / "ballast").unlink()
    report = inbox.write({"goal": "fill"}, [{"index": 0, "timestamp": 0}], trace_id="another")
    assert report["shards_written"] == 1
    assert indexes(inbox.folder, "another") == {0: 1}
