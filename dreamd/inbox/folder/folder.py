"""The inbox's folder as open descriptors, its lock, and the only way to write a file into it.

    <folder>/<trace_id>.json          waiting; <trace_id>~2.json and so on: parts.py
    <folder>/done/<trace_id>.json     acknowledged
    <folder>/<..>.json.corrupt-<ms>   set aside
    <folder>/.keys/<trace_id>         keys.py
    <folder>/.tmp/<name>              being written, only under the lock; any other one was left by a killed writer
    <folder>/.lock                    holds a byte once a consumer has acknowledged; its time is that of the last one

Every name is looked up in an open folder without following symbolic links. A link in the place of the folder, a
sub-folder or a file is refused, so it cannot lead a write elsewhere.
"""

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from dreamd.clock import Clock
from dreamd.inbox.document.document import MOST_READ_BYTES, Json, decode_document
from dreamd.inbox.errors import InboxBusy, InboxUnavailable, ValidationError
from dreamd.inbox.folder.files import Files
from dreamd.inbox.folder.parts import aside_name

LOCK = ".lock"
TEMPORARY = ".tmp"
DONE = "done"

LOCK_WAIT_S = 15.0  # a write takes milliseconds, or a second if it is very large and the disk slow
_PAUSE_S = 0.004  # between two attempts to lock


@contextlib.contextmanager
def typed_errors(doing: str) -> Iterator[None]:
    """Turn the system's errors into InboxUnavailable, or ValidationError if a wrong kind of file is in the way."""
    try:
        yield
    except InboxUnavailable:
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValidationError(f"{doing}: the folder's path, or a name in it, is too long") from None
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
            message = f"{doing}: a symbolic link or another kind of file stands in a place of the inbox"
            raise ValidationError(message) from None
        place = f"{error.filename}: " if error.filename in (LOCK, TEMPORARY, DONE) else ""
        raise InboxUnavailable(error.errno, f"{doing}: {place}{os.strerror(error.errno or 0)}") from error


class Modes(NamedTuple):
    """The permission bits of the files and of the folders that we make."""

    of_files: int
    of_folders: int


class Folder(Struct, frozen=True):
    """An open inbox folder with its two sub-folders."""

    path: Path
    files: Files
    modes: Modes
    main: int
    temporary: int
    done: int

    def put(self, name: str, data: bytes, *, into: int | None = None, written_s: float | None = None) -> None:
        """Write `data` to the file of that name, atomically and synced to disk. The caller holds the lock.

        `into`: another folder than the main one. `written_s`: the time of the file that this one replaces.
        """
        into = self.main if into is None else into
        with contextlib.ExitStack() as on_failure:
            fd = self._open_temporary(name)
            on_failure.callback(self._drop_temporary, name)
            with self.files.closing(fd):
                self.files.chmod(fd, self.modes.of_files)  # whatever the umask
                rest = memoryview(data)
                while rest:
                    rest = rest[self.files.write(fd, rest) :]
                if written_s is not None:
                    self.files.touch(name, self.temporary, written_s)
                self.files.fsync(fd)
            self.files.rename(name, self.temporary, name, into)
            on_failure.pop_all()
        self.files.fsync(into)

    def _open_temporary(self, name: str) -> int:
        try:
            return self.files.open_new(name, self.temporary, self.modes.of_files)
        except FileExistsError:
            if not stat.S_ISREG(self.files.stat(name, self.temporary).st_mode):
                raise ValidationError(
                    "something that is no regular file stands in a temporary's place"
                ) from None
        # Left by a killed writer, because this process holds the lock.
        self.files.unlink(name, self.temporary)
        return self.files.open_new(name, self.temporary, self.modes.of_files)

    def _drop_temporary(self, name: str) -> None:
        # If this fails, the next write of this trace or a sweep removes it.
        with contextlib.suppress(OSError):
            self.files.unlink(name, self.temporary)

    def sync(self, name: str) -> None:
        """Sync a file and its name to disk: its writer may have crashed before it did."""
        with self.files.closing(self.files.open_read(name, self.main)) as fd:
            self.files.fsync(fd)
        self.files.fsync(self.main)

    def set_aside(self, name: str, wall_s: float) -> str:
        """Rename a damaged file to a free name, and return that."""
        attempts = (aside_name(name, int(wall_s * 1000), attempt) for attempt in itertools.count(1))
        free = next(aside for aside in attempts if not self.files.exists(aside, self.main))
        self.files.rename(name, self.main, free, self.main)
        self.files.fsync(self.main)
        return free


def read_document(files: Files, name: str, at: int) -> Json | None:
    """Return the document of that name, or None if there is none. Raise DamagedFile if it cannot be read."""
    data = read_bytes(files, name, at, MOST_READ_BYTES)
    return None if data is None else decode_document(data)


def read_bytes(files: Files, name: str, at: int, most: int) -> bytes | None:
    """Return the bytes of a regular file, or None if there is none of that name."""
    try:
        fd = files.open_read(name, at)
    except FileNotFoundError:
        return None
    with files.closing(fd):
        found = files.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValidationError("something that is no regular file stands in the place of an inbox file")
        if found.st_size > most:
            raise ValidationError(f"the file is {found.st_size} bytes, at most {most} are read")
        data = b"".join(iter(lambda: files.read(fd, found.st_size + 1), b""))
        # The disk returned less than the file's size, which does not prove damage.
        if len(data) < found.st_size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data


@contextlib.contextmanager
def open_folder(path: Path, modes: Modes, files: Files) -> Iterator[Folder]:
    """Open the folder for writing. Make it if it is missing."""
    mode = modes.of_folders
    with (
        files.closing(_open_top(files, path, mode)) as main,
        files.closing(open_inside(files, TEMPORARY, main, mode)) as temporary,
        files.closing(open_inside(files, DONE, main, mode)) as done,
    ):
        yield Folder(path, files, modes, main, temporary, done)


def _open_top(files: Files, path: Path, mode: int) -> int:
    try:
        above = files.open_dir(f"{path.parent}/.")  # "/.": the parent may be a link, as /var/run is
    except FileNotFoundError:
        above = _open_top(files, path.parent, 0o700)
    with files.closing(above):
        return open_inside(files, path.name, above, mode)


def open_inside(files: Files, name: str, at: int, mode: int) -> int:
    """Open a folder in an open one. Make it if it is missing."""
    with contextlib.suppress(FileNotFoundError):
        return files.open_dir(name, at)
    with contextlib.suppress(FileExistsError):  # another writer has just made it
        files.mkdir(name, at, 0o700)
    fd = files.open_dir(name, at)
    try:
        files.chmod(fd, mode)
    except PermissionError:  # the sandbox of systemd permits no setgid bit
        files.chmod(fd, mode & 0o777)
    files.fsync(at)  # if its name is not on disk, a power cut loses the folder and all in it
    return fd


def check_folder(path: Path, files: Files) -> None:
    """Raise OSError if `open_folder` could not make the folder, or no file could be written into it."""
    try:
        fd = files.open_dir(str(path))
    except FileNotFoundError:
        missing = path
        while not missing.parent.exists():
            missing = missing.parent
        with files.closing(files.open_dir(f"{missing.parent}/.")) as fd:
            files.check_writable(fd)
        return
    with files.closing(fd):
        files.check_writable(fd)
        for name in (TEMPORARY, DONE):
            with contextlib.suppress(FileNotFoundError):
                files.close(files.open_dir(name, fd))
        for name in (TEMPORARY, LOCK):
            files.check_usable(name, fd)


@contextlib.contextmanager
def folder_lock(folder: Folder, clock: Clock, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the folder's lock. Raise InboxBusy if another process holds it for longer than `wait_s` seconds."""
    files, until = folder.files, clock.monotonic() + wait_s
    while True:
        with files.closing(files.open_lock(LOCK, folder.main, folder.modes.of_files)) as fd:
            _wait_for_lock(files, fd, clock, until)
            ours = files.fstat(fd)
            if stat.S_IMODE(ours.st_mode) != folder.modes.of_files:
                # It fails for another user's file, whose mode that user has set.
                with contextlib.suppress(PermissionError):
                    files.chmod(fd, folder.modes.of_files)
            if _is_still_there(folder, ours):
                # Whoever moved a file to done/ may have failed before it was synced. Once the main folder is synced
                # without that file, a power cut would leave it in neither.
                files.fsync(folder.done)
                yield
                return


def _wait_for_lock(files: Files, fd: int, clock: Clock, until: float) -> None:
    while True:
        try:
            return files.lock(fd)
        except BlockingIOError:
            if clock.monotonic() >= until:
                raise InboxBusy(errno.ETIMEDOUT, "others hold the inbox's lock for too long") from None
        files.pause(_PAUSE_S)


def _is_still_there(folder: Folder, ours: os.stat_result) -> bool:
    """Return whether the lock file is still in the folder. If it was removed, another process would lock a new one."""
    theirs = folder.files.stat_if_there(LOCK, folder.main)
    return theirs is not None and (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
