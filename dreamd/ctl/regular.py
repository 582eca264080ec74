"""The files that people name: regular ones, none of dreamd's own; and those that are written, whole or not at all."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import click

# How the names begin that dreamd itself gives in its state folder.
OWN = ("dream.sqlite3", "dreamd.", "inbox/")


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
    """An empty file beside `file`, and its descriptor. At the end of the block it is `file`, and on disk; after an
    error it is gone. It is locked: one that is not was left behind by somebody who was killed, and goes now. Of a link,
    what it leads to is replaced."""
    file = Path(os.path.realpath(file))
    for left in file.parent.glob(f".{escape(file.name)}.*.part"):
        with suppress(OSError), open(left, "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(left)
    number, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    part = Path(name)
    with open(number, "rb"):
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield part, number
            os.fsync(number)
            os.rename(part, file)
            sync(file.parent)
        finally:
            _remove(part)


def _remove(part: Path) -> None:
    """And what SQLite may have left beside it."""
    for left in part.parent.glob(f"{escape(part.name)}*"):
        left.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
