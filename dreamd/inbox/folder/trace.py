"""One trace: the parts that wait, that were acknowledged, and the one that is written to."""

from collections.abc import Collection, Iterator
from functools import cache

from dreamd.inbox.document.document import Json, check_own, encode_document
from dreamd.inbox.errors import DamagedFile, ValidationError
from dreamd.inbox.folder.files import Files
from dreamd.inbox.folder.folder import Folder, read_document
from dreamd.inbox.folder.keys import read_keys, write_keys
from dreamd.inbox.folder.parts import part_name, part_of_name


def waiting_part(files: Files, main: int, trace_id: str, asked: int | None) -> int | None:
    """Return the number of the part `asked`, by default of the first that waits. None if there is no such part."""
    number = asked or 1  # most traces have one part, so the folder need not be listed
    if files.exists(part_name(trace_id, number), main):
        return number
    return None if asked else min(_part_numbers(files, main, trace_id), default=None)


def acknowledged_part(files: Files, done: int, trace_id: str, asked: int | None) -> int | None:
    """Return `asked` if that part was acknowledged, by default the last part that was. None if there is none."""
    if asked is None:
        return max(_part_numbers(files, done, trace_id), default=None)
    return asked if files.exists(part_name(trace_id, asked), done) else None


def _part_numbers(files: Files, at: int, trace_id: str) -> Iterator[int]:
    for name in files.names(at):
        if name.startswith(trace_id) and (part := part_of_name(name)) and part[0] == trace_id:
            yield part[1]


class TakenMeanwhile(Exception):
    """A consumer moved the part to done/ without the lock while more was added to it."""


class Trace:
    """A trace that is written to. The caller holds the folder's lock."""

    def __init__(self, folder: Folder, trace_id: str) -> None:
        self.trace_id = trace_id
        self._folder = folder
        self._files = folder.files
        self._keys = read_keys(folder, trace_id)
        self._saved_number = self._keys.number
        self._still_there = cache(self._is_there)
        self._last_ts = 0
        self._close_old()

    @property
    def name(self) -> str:
        """The file name of the part that is written to."""
        return part_name(self.trace_id, self._keys.number)

    def earlier(self, key: bytes) -> bool:
        """Return whether an earlier part holds a key that begins with these bytes."""
        return self._keys.hold(key, self._still_there)

    def latest(self) -> tuple[str, int, int] | None:
        """Return the last part's name, its folder and its size, or None if there is no part."""
        for number in range(self._keys.number, 0, -1):
            if found := self._where(number):
                return part_name(self.trace_id, number), *found
        return None

    def read(self) -> Json | None:
        """Return the part that is written to, or None if it is not there yet.

        Raise DamagedFile if it may be set aside, ForeignFile if dreamd must not change it.
        """
        document = read_document(self._files, self.name, self._folder.main)
        if document is not None:
            check_own(document, self.trace_id)
            self._see_time(document)
        return document

    def put(self, document: Json, wall_s: float) -> None:
        """Write the current part. Its `saved_ts` always increases, so that it shows each change.

        Raise TakenMeanwhile, with the part as it was moved: what it held must not come back.
        """
        if self._keys.number > self._saved_number:
            self._save_keys()
        self._last_ts = max(int(wall_s * 1000), self._last_ts + 1)
        # Readers page by a file's time, so a growing file keeps its time.
        waits = self._files.stat_if_there(self.name, self._folder.main)
        data = encode_document(document | {"saved_ts": self._last_ts})
        self._folder.put(self.name, data, written_s=waits.st_mtime if waits else None)
        if self._files.exists(self.name, self._folder.done):
            try:
                self._files.unlink(self.name, self._folder.main)
            except FileNotFoundError:  # it was moved as it is now
                return
            raise TakenMeanwhile

    def begin_next(self, full: Json) -> None:
        """Go on in the next part."""
        self._keys.add(full)
        self._keys.number += 1
        self._close_old()

    def forget(self, numbers: Collection[int]) -> None:
        """Write the keys file without the keys of these parts, which are about to be removed."""
        self._keys.forget(numbers)
        self._save_keys()

    def _save_keys(self) -> None:
        write_keys(self._folder, self._keys)
        self._saved_number = self._keys.number

    def _close_old(self) -> None:
        """Add the keys of parts that were acknowledged since, or of all parts if the keys file is missing."""
        while self._is_old(self._keys.number):
            for at in (self._folder.done, self._folder.main):  # in both, if another program copied it
                self._take_in(at)
            self._keys.number += 1

    def _is_old(self, number: int) -> bool:
        name = part_name(self.trace_id, number)
        return self._files.exists(name, self._folder.done) or self._is_there(number + 1)

    def _take_in(self, at: int) -> None:
        try:
            document = read_document(self._files, self.name, at)
        except (DamagedFile, ValidationError):  # it holds no known key
            return
        if document is not None and document.get("trace_id", self.trace_id) == self.trace_id:
            self._see_time(document)
            self._keys.add(document)

    def _see_time(self, document: Json) -> None:
        saved_ts = document.get("saved_ts")
        if type(saved_ts) is int and saved_ts < 1 << 53:  # else another program wrote it, in other units
            self._last_ts = max(saved_ts, self._last_ts)

    def _is_there(self, number: int) -> bool:
        return self._where(number) is not None

    def _where(self, number: int) -> tuple[int, int] | None:
        """Return the folder that a part is in, and its size, or None if it is gone."""
        name = part_name(self.trace_id, number)
        for at in (
            self._folder.main,
            self._folder.done,
        ):  # a consumer may move it meanwhile, in this direction
            if found := self._files.stat_if_there(name, at):
                return at, found.st_size
        return None
