"""The keys of a trace's earlier parts. A write compares its shards with them, and need not read those parts.

<folder>/.keys/<trace_id>    exists if a trace has more than one part; made from the parts if it is missing
"""

import contextlib
import sys
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from itertools import chain

import msgspec

from dreamd.inbox.document.document import Json
from dreamd.inbox.document.merge import DIGEST_BYTES, keys_of
from dreamd.inbox.folder.folder import Folder, open_inside, read_bytes

KEYS = ".keys"

_NUMBER_BYTES = 4
_RECORD_BYTES = 2 * DIGEST_BYTES + _NUMBER_BYTES


class Keys(msgspec.Struct):
    """A keys file. `records` are sorted. Each is a key, followed by the number of the part that holds it."""

    trace_id: str
    number: int = 1  # of the part that is written to
    records: bytes = b""

    def hold(self, key: bytes, is_there: Callable[[int], bool]) -> bool:
        """Return whether an existing earlier part holds a key that begins with these bytes."""
        at = bisect_left(range(len(self.records) // _RECORD_BYTES), key, key=self._record)
        while (record := self._record(at)).startswith(key):
            if is_there(_part_number(record)):
                return True
            at += 1
        return False

    def add(self, document: Json) -> None:
        """Add the keys of the current part's document. A node replaces an earlier part's node of its id."""
        shards, nodes = keys_of(document, self.trace_id)
        number = self.number.to_bytes(_NUMBER_BYTES, "big")
        kept = (record for record in self._all() if record[:DIGEST_BYTES] not in nodes)
        added = (key + number for key in chain(shards, map(b"".join, nodes.items())))
        self.records = b"".join(sorted({*kept, *added}))

    def forget(self, numbers: Collection[int]) -> None:
        """Remove the keys of these parts."""
        self.records = b"".join(record for record in self._all() if _part_number(record) not in numbers)

    def _record(self, at: int) -> bytes:
        return self.records[at * _RECORD_BYTES : (at + 1) * _RECORD_BYTES]

    def _all(self) -> Iterator[bytes]:
        return map(self._record, range(len(self.records) // _RECORD_BYTES))


def _part_number(record: bytes) -> int:
    return int.from_bytes(record[-_NUMBER_BYTES:], "big")


def read_keys(folder: Folder, trace_id: str) -> Keys:
    """Return the keys of a trace's earlier parts from its keys file, empty if it is missing or damaged."""
    try:
        room = folder.files.open_dir(KEYS, folder.main)
    except FileNotFoundError:
        return Keys(trace_id)
    with folder.files.closing(room):
        data = read_bytes(folder.files, trace_id, room, sys.maxsize)
    return parse_keys(data or b"", trace_id)


def parse_keys(data: bytes, trace_id: str) -> Keys:
    """Return the keys in a keys file of this trace, empty if it is damaged."""
    try:
        found = msgspec.msgpack.decode(data, type=Keys)
    except (ValueError, RecursionError):  # DecodeError, and UnicodeDecodeError of a text that is no UTF-8
        return Keys(trace_id)
    whole = found.trace_id == trace_id and len(found.records) % _RECORD_BYTES == 0 and found.number > 0
    return found if whole else Keys(trace_id)


def write_keys(folder: Folder, keys: Keys) -> None:
    """Write the keys file of a trace."""
    room = open_inside(folder.files, KEYS, folder.main, folder.modes.of_folders)
    with folder.files.closing(room):
        folder.put(keys.trace_id, msgspec.msgpack.encode(keys), into=room)


def drop_keys(folder: Folder, trace_id: str) -> None:
    """Remove the keys file of a trace without parts, if it has one."""
    with (
        contextlib.suppress(FileNotFoundError),
        folder.files.closing(folder.files.open_dir(KEYS, folder.main)) as room,
    ):
        folder.files.unlink(trace_id, room)
