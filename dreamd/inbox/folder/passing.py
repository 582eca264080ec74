"""Passing whole files on: read those that wait as bytes, and acknowledge many with one sync of each folder.

A file that was replaced since it was read stays waiting. Every writer replaces a file, so the replacement has another
inode, size or time.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dreamd.inbox.document.document import MOST_READ_BYTES
from dreamd.inbox.folder.files import Files
from dreamd.inbox.folder.folder import Folder
from dreamd.inbox.folder.parts import Part, part_name, part_of_name
from dreamd.inbox.folder.removing import note_consumer
from dreamd.inbox.folder.writing import rename_to_done

Stamp = tuple[int, int, int, int]
_NO_STAMP: Stamp = (0, 0, 0, 0)


class WaitingFile(NamedTuple):
    """A file as it was read. `data` is None if it cannot be read now, is no regular file, or is too large."""

    part: Part
    data: bytes | None
    stamp: Stamp


def waiting_parts(files: Files, main: int) -> list[Part]:
    """Return the parts that wait, the oldest first."""
    parts = filter(None, map(part_of_name, files.names(main)))
    found = ((files.stat_if_there(part_name(*part), main), part) for part in parts)
    return [part for _, part in sorted((about.st_mtime_ns, part) for about, part in found if about)]


def read_waiting(files: Files, main: int, parts: Sequence[Part], most_bytes: int) -> Iterator[WaitingFile]:
    """Yield these parts, without those that no longer wait, and end when `most_bytes` are read."""
    total = 0
    for part in parts:
        try:
            read = _read_part(files, main, part)
        except FileNotFoundError:
            continue
        except OSError:  # a link, another user's file, a bad block: it must not hold up the others
            read = WaitingFile(part, None, _NO_STAMP)
        yield read
        total += len(read.data or b"")
        if total >= most_bytes:
            return


def _read_part(files: Files, main: int, part: Part) -> WaitingFile:
    with files.closing(files.open_read(part_name(*part), main)) as fd:
        found = files.fstat(fd)
        fits = stat.S_ISREG(found.st_mode) and found.st_size <= MOST_READ_BYTES
        data = files.read(fd, found.st_size + 1) if fits else b""
    # A read is rarely short, and never of a whole file. One that is longer is of a file that another program writes.
    whole = fits and len(data) == found.st_size
    return WaitingFile(part, data if whole else None, _stamp_of(found))


def acknowledge_files(folder: Folder, read: Sequence[WaitingFile], wall_s: float) -> int:
    """Move to done/ each of these files that is still as it was read, and sync each folder once. Return how many.

    If one cannot be moved, go on with the others, and raise the first failure at the end.
    """
    moved = 0
    failures: list[OSError] = []
    for each in read:
        try:
            now = folder.files.stat_if_there(part_name(*each.part), folder.main)
            if now and _stamp_of(now) == each.stamp:
                if not moved:
                    note_consumer(folder, wall_s)
                rename_to_done(folder, *each.part, wall_s)
                moved += 1
        except FileNotFoundError:  # another consumer took it
            continue
        except OSError as failure:
            failures.append(failure)
    if moved:
        folder.files.fsync(folder.done)
        folder.files.fsync(folder.main)
    if failures:
        raise failures[0]
    return moved


def _stamp_of(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
