"""One trace: which of its parts waits, was acknowledged last, and is written to."""

import contextlib
from collections.abc import Collection
from functools import cache

import msgspec

from dreamd.inbox.document import Json, check_own, encode
from dreamd.inbox.errors import DamagedFile, ValidationError
from dreamd.inbox.files import Files
from dreamd.inbox.folder import Folder, open_inside, read_document
from dreamd.inbox.keys import KEYS, Keys, read_keys
from dreamd.inbox.parts import part_name, part_of_name


def first_waiting(files: Files, main: int, keys: Keys) -> int | None:
    """Return the number of the first part that waits, or None if none does."""
    for number in (*keys.waiting, keys.number):
        if files.exists(part_name(keys.trace_id, number), main):
            return number
    parts = filter(None, map(part_of_name, files.names(main)))  # the keys file may be missing
    return min((number for trace_id, number in parts if trace_id == keys.trace_id), default=None)


def last_acknowledged(files: Files, done: int, keys: Keys) -> int | None:
    """Return the number of the part that was acknowledged last, or None if none was."""
    number = keys.number
    while files.exists(part_name(keys.trace_id, number + 1), done):
        number += 1
    while number and not files.exists(part_name(keys.trace_id, number), done):
        number -= 1
    return number or None


class Trace:
    """A trace that is written to. Hold the folder's lock."""

    def __init__(self, folder: Folder, trace_id: str) -> None:
        self._folder = folder
        self._files = folder.files
        self.trace_id = trace_id
        self.keys = read_keys(folder.files, folder.main, trace_id)
        self.is_there = cache(self._is_there)
        self._saved_number = self.keys.number
        self._last_ts = 0
        self._close_old()

    @property
    def name(self) -> str:
        """The file name of the part that is written to."""
        return part_name(self.trace_id, self.keys.number)

    def earlier(self, keys: bytes) -> bool:
        """Return whether an earlier part holds what begins with these digests."""
        return self.keys.hold(keys, self.is_there)

    def latest(self) -> tuple[str, int] | None:
        """Return the last part's name and its folder, or None if there is no part."""
        for number in range(self.keys.number, 0, -1):
            name = part_name(self.trace_id, number)
            for at in (self._folder.main, self._folder.done):
                if self._files.exists(name, at):
                    return name, at
        return None

    def read(self) -> Json | None:
        """Return the part that is written to, or None if it is not there yet.

        Raise DamagedFile if it may be set aside, ForeignFile if it is not ours to change.
        """
        document = read_document(self._files, self.name, self._folder.main)
        if document is not None:
            check_own(document, self.trace_id)
            self._see_time(document)
        return document

    def put(self, document: Json, wall_s: float) -> None:
        """Write the part that is written to. Its `saved_ts` is always a later one, so that it tells of each change."""
        if self.keys.number > self._saved_number:
            self.save_keys()
        self._last_ts = max(int(wall_s * 1000), self._last_ts + 1)
        # Readers page by a file's time, so a file that grows keeps it.
        written_s = self._files.stat(self.name, self._folder.main).st_mtime if self._is_waiting() else None
        self._folder.put(self.name, encode(document | {"saved_ts": self._last_ts}), written_s=written_s)

    def begin_next(self, full: Json) -> None:
        """Go on in the next part."""
        self.keys.add(full)
        self.keys.waiting.append(self.keys.number)
        self.keys.number += 1
        self._close_old()

    def save_keys(self) -> None:
        """Write the keys file."""
        folder, main = self._folder, self._folder.main
        waits = [n for n in self.keys.waiting if self._files.exists(part_name(self.trace_id, n), main)]
        self.keys.waiting = waits
        room = open_inside(self._files, KEYS, main, folder.settings.folder_mode)
        with self._files.closing(room):
            folder.put(self.trace_id, msgspec.msgpack.encode(self.keys), into=room)
        self._saved_number = self.keys.number

    def goes_on_without(self, numbers: Collection[int]) -> bool:
        """Return whether the trace has other parts than these."""
        return any(self.is_there(n) for n in range(self.keys.number, 0, -1) if n not in numbers)

    def drop_keys(self) -> None:
        """Remove the keys file of a trace without parts."""
        with (
            contextlib.suppress(FileNotFoundError),
            self._files.closing(self._files.open_dir(KEYS, self._folder.main)) as room,
        ):
            self._files.unlink(self.trace_id, room)

    def _close_old(self) -> None:
        """Take in the parts that were acknowledged since, and all if the keys file is missing."""
        while self._is_old(self.keys.number):
            for at in (self._folder.done, self._folder.main):  # in both after another program renamed it
                self._take_in(at)
            if self._is_waiting():
                self.keys.waiting.append(self.keys.number)
            self.keys.number += 1

    def _is_old(self, number: int) -> bool:
        name = part_name(self.trace_id, number)
        return self._files.exists(name, self._folder.done) or self._is_there(number + 1)

    def _take_in(self, at: int) -> None:
        try:
            document = read_document(self._files, self.name, at)
        except (DamagedFile, ValidationError):  # it holds nothing that we know of
            return
        if document is not None and document.get("trace_id", self.trace_id) == self.trace_id:
            self._see_time(document)
            self.keys.add(document)

    def _see_time(self, document: Json) -> None:
        saved_ts = document.get("saved_ts")
        if type(saved_ts) is int and saved_ts < 1 << 53:  # else it is another program's, in units of its own
            self._last_ts = max(saved_ts, self._last_ts)

    def _is_waiting(self) -> bool:
        return self._files.exists(self.name, self._folder.main)

    def _is_there(self, number: int) -> bool:
        name = part_name(self.trace_id, number)
        return any(self._files.exists(name, at) for at in (self._folder.main, self._folder.done))
