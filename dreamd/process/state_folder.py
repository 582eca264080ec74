"""The state folder of this process. Each folder has one daemon.

Only the lock proves that a daemon lives (P8), not the pid in its file.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dreamd.errors import StartError
from dreamd.process.exit_codes import ExitCode

DATABASE_NAME = "dream.sqlite3"
LOCK_NAME = "dreamd.lock"  # its lines: the pid, why the daemon ended by itself, whether it is embedded
_EMBEDDED = b"embedded"


def make_private_folder(folder: Path) -> None:
    """Make `folder` with mode 0700, and its parents. An existing folder stays unchanged."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def state_lock(state_dir: Path) -> Iterator[tuple[int, int]]:
    """Lock the state folder for the life of the daemon. Yield two locked descriptors: of the folder, whose lock
    survives the deletion of its files, and of the lock file, which names the daemon. Raise StartError."""
    with ExitStack() as held:
        try:
            make_private_folder(state_dir)
            folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, folder)
            lock = file_lock(state_dir / LOCK_NAME)
            held.callback(os.close, lock)
            _hold_folder(folder)
        except BlockingIOError:
            pid = _noted(state_dir)[0][:32].decode("ascii", "replace")  # empty if the disk was full
            end = f"end {'its host' if is_embedded(state_dir) else 'it'}{f' (`kill {pid}`)' if pid else ''}"
            raise StartError(
                f"another dreamd (pid {pid or 'unknown'}) serves the state folder {state_dir}; {end}, "
                "or name another with --state-dir",
                ExitCode.TAKEN,
            ) from None
        except OSError as error:
            raise StartError(
                f"the state folder {state_dir} cannot be used: {_why_unusable(state_dir, error)}, "
                "or name another with --state-dir",
                ExitCode.STATE,
            ) from None
        with suppress(OSError):  # a full disk: the pid is only for people to read
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield folder, lock


def note_end(lock: int, why: str) -> None:
    """Write into the lock file, after the pid, why this daemon ends by itself. `dreamctl doctor` reports it."""
    with suppress(OSError):
        os.pwrite(lock, b"%d\n%s\n" % (os.getpid(), os.fsencode(why)), 0)


def note_embedded(lock: int) -> None:
    """Write into the lock file that this daemon is embedded in its host, so that no one looks for its socket."""
    with suppress(OSError):
        os.pwrite(lock, b"%d\n\n%s\n" % (os.getpid(), _EMBEDDED), 0)


def is_embedded(state_dir: Path) -> bool:
    """Return whether the last daemon of this state folder was embedded in its host."""
    return _noted(state_dir)[2:3] == [_EMBEDDED]


def end_noted(state_dir: Path) -> str:
    """Return why the last daemon of this state folder ended by itself, or an empty string."""
    lines = _noted(state_dir)
    return os.fsdecode(lines[1]) if len(lines) > 2 else ""


def _noted(state_dir: Path) -> list[bytes]:
    try:
        return (state_dir / LOCK_NAME).read_bytes().split(b"\n")
    except OSError:
        return [b""]


def file_lock(file: Path) -> int:
    """Lock a file, made if it is missing, and return its descriptor. Raise BlockingIOError if it is locked already."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _hold_folder(folder: int) -> None:
    """Lock the folder. Raise BlockingIOError if another daemon holds it. Network file systems may not lock folders:
    then the lock file must suffice."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass


def owns_folder(folder: int, state_dir: Path) -> bool:
    """Return whether the folder at `state_dir` is still the one that is held."""
    try:
        return os.path.samestat(os.fstat(folder), os.stat(state_dir))
    except OSError:
        return False


def _why_unusable(state_dir: Path, error: OSError) -> str:
    """Return what is wrong with the state folder, and what to do."""
    lock = state_dir / LOCK_NAME
    if os.path.lexists(state_dir) and not os.path.isdir(state_dir):
        return "it is no folder; move it away"
    if os.path.lexists(lock) and (os.path.islink(lock) or not os.path.isfile(lock)):
        return f"{lock} is no file of its own; move it away"
    return f"{error.strerror}; make it writable"


def release_in_child(held: Iterable[tuple[Path, int]]) -> None:
    """Release the parent's locks in a forked child, whose copies of the descriptors would keep them held."""
    for path, lock in held:
        if owns_folder(lock, path):  # not released already
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            # The number stays in use, because it may still be closed later.
            os.dup2(null, lock, inheritable=False)
            os.close(null)
