"""The files and folders that users name: regular files, none of dreamd's own. They are written atomically."""

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

# The beginnings of dreamd's own names in the state folder.
OWN = ("dream.sqlite3", "dreamd.", "inbox/")
# The beginning and the end of the names of temporary files. They are short: some file systems allow only 143 bytes, and
# SQLite makes files with longer names beside them.
_BEGINS, _ENDS = ".dreamd-", ".part"


def named_folder(_: click.Context, __: click.Parameter, value: str) -> Path:
    """Return the folder that a parameter names. A variable that was not set must not mean the current folder."""
    if not value:
        raise click.BadParameter("expected a path, not an empty text")
    return Path(value)


class RegularFile(click.Path):
    """The path of a regular file, or of no file yet. A FIFO would block the command, and a device would be replaced or
    filled."""

    def __init__(self, *, exists: bool = False) -> None:
        super().__init__(exists=exists, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that was typed."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if os.path.exists(path) and not os.path.isfile(path):
            self.fail(f"{path} is no regular file", param, ctx)
        return path


def check_free(file: Path, state: Path, *, force: bool) -> None:
    """Raise UsageError if a file is dreamd's own, ClickException if it exists and not `force`."""
    if os.path.relpath(os.path.realpath(file), os.path.realpath(state)).startswith(OWN):
        raise click.UsageError(f"{file} is dreamd's own; name another FILE")
    if os.path.lexists(file) and not force:
        raise click.ClickException(f"{file} is there already; --force overwrites it")


def write_private(file: Path, parts: Iterable[bytes]) -> None:
    """Write `parts` to a file that only its owner can read. Raise ClickException."""
    try:
        with replacing_file(file) as (temporary, _), temporary.open("wb") as opened:
            opened.writelines(parts)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None


@contextmanager
def replacing_file(file: Path) -> Iterator[tuple[Path, int]]:
    """Yield an empty file beside `file`, and its descriptor. At the end of the block it replaces `file` and is synced
    to disk. After an error it is removed. If `file` is a link, its target is replaced."""
    file = Path(os.path.realpath(file))
    with temporary_beside(file.parent) as (part, number):
        yield part, number
        put_in_place(part, number, file)


@contextmanager
def temporary_beside(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield an empty file in `folder`, readable for its owner alone, and its descriptor. Remove it at the end if it
    still has its temporary name.

    Such a file is locked while it is used. One without a lock was left by a killed process, and is removed first."""
    for left in folder.glob(f"{_BEGINS}*{_ENDS}"):
        if not left.is_file() or left.is_symlink():  # not made by this function
            continue
        with suppress(OSError), left.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_temporary(left)
    while True:
        number, name = tempfile.mkstemp(prefix=_BEGINS, suffix=_ENDS, dir=folder)
        part = Path(name)
        with open(number, "rb"):
            try:
                fcntl.flock(number, fcntl.LOCK_EX)
                if not part.exists():  # another process removed it before it was locked
                    continue
                yield part, number
            finally:
                _remove_temporary(part)
        return


def put_in_place(part: Path, number: int, file: Path) -> None:
    """Sync a temporary file, open as `number`, to disk and rename it to `file`."""
    os.fsync(number)
    os.rename(part, file)
    sync_folder(file.parent)


def _remove_temporary(part: Path) -> None:
    """Remove a temporary file, and the files that SQLite may have left beside it."""
    for left in part.parent.glob(f"{part.name}*"):
        left.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
