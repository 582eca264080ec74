"""The files that people name: regular ones, none of dreamd's own; and those that are written, whole or not at all."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

# How the names begin that dreamd itself gives in its state folder.
OWN = ("dream.sqlite3", "dreamd.", "inbox/")
# How those of temporary files begin and end. A name in the user's file system may be no longer than 143 bytes, and what
# SQLite puts beside it is longer.
_BEGINS, _ENDS = ".dreamd-", ".part"


def regular(_: click.Context, __: click.Parameter, value: Path) -> Path:
    """The callback of a parameter that takes a file: a regular one, or nothing yet. A FIFO would keep a command
    waiting, and a device be replaced or filled."""
    if os.path.exists(value) and not os.path.isfile(value):
        raise click.BadParameter(f"{value} is no regular file")
    return value


def check_free(file: Path, state: Path, *, force: bool) -> None:
    """Raise click.UsageError where a file is dreamd's own, click.ClickException where it is there and stays."""
    if os.path.relpath(os.path.realpath(file), os.path.realpath(state)).startswith(OWN):
        raise click.UsageError(f"{file} is dreamd's own; name another FILE")
    if os.path.lexists(file) and not force:
        raise click.ClickException(f"{file} is there already; --force overwrites it")


def write(file: Path, data: bytes) -> None:
    """Make a file, readable for its owner alone, of `data`. Raises click.ClickException."""
    try:
        with replacing(file) as (part, _):
            part.write_bytes(data)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None


@contextmanager
def replacing(file: Path) -> Iterator[tuple[Path, int]]:
    """Yield an empty file beside `file`, and its descriptor. At the end of the block it is `file`, and on disk; after
    an error it is gone. If `file` is a link, what it leads to is replaced."""
    file = Path(os.path.realpath(file))
    with temporary(file.parent) as (part, number):
        yield part, number
        put(part, number, file)


@contextmanager
def temporary(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield an empty file in `folder`, readable for its owner alone, and its descriptor; remove it at the end if it
    still has its name, which is short and hidden. It is locked: one that is not was left by a process that was killed,
    and is removed now."""
    for left in folder.glob(f"{_BEGINS}*{_ENDS}"):
        if not left.is_file() or left.is_symlink():  # none of ours
            continue
        with suppress(OSError), left.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(left)
    while True:
        number, name = tempfile.mkstemp(prefix=_BEGINS, suffix=_ENDS, dir=folder)
        part = Path(name)
        with open(number, "rb"):
            try:
                fcntl.flock(number, fcntl.LOCK_EX)
                if not part.exists():  # another process took it for left over, before it was locked
                    continue
                yield part, number
            finally:
                _remove(part)
        return


def put(part: Path, number: int, file: Path) -> None:
    """Give a temporary file, open as `number`, the name `file`, on disk."""
    os.fsync(number)
    os.rename(part, file)
    sync(file.parent)


def _remove(part: Path) -> None:
    """Remove it, and what SQLite may have left beside it."""
    for left in part.parent.glob(f"{part.name}*"):
        left.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
