"""The key file that signs tokens: made once, never half, read by its owner only."""

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path

from dreamd.inbox.capability import LEAST_KEY_BYTES
from dreamd.inbox.errors import CapabilityError
from dreamd.inbox.files import Files

_MODE = 0o600
_MOST_BYTES = 4096


def read_key(path: Path, files: Files) -> bytes | None:
    """The key, or None where there is none; CapabilityError where others may have read it."""
    try:
        room = files.open_dir(f"{path.parent}/.")
        with files.closing(room), files.closing(files.open_read(path.name, room)) as fd:
            mode = files.fstat(fd).st_mode
            key = files.read(fd, _MOST_BYTES) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        return None
    if mode & 0o077 or len(key) < LEAST_KEY_BYTES:
        message = (
            "the key file must be a regular one, 0600, of 32 bytes or more; remove it, and a new one is made"
        )
        raise CapabilityError("signature", message)
    return key


def make_key(path: Path, files: Files, entropy: Callable[[int], bytes]) -> bytes:
    """The key, made where there is none. Of two that make it at once both give the same one back."""
    while (key := read_key(path, files)) is None:
        with files.closing(files.open_dir(f"{path.parent}/.")) as room:
            temporary = f".{path.name}.{entropy(8).hex()}"
            with files.closing(files.open_new(temporary, room, _MODE)) as fd:
                try:
                    files.chmod(fd, _MODE)
                    files.write(fd, memoryview(entropy(LEAST_KEY_BYTES)))
                    files.fsync(fd)
                    with contextlib.suppress(FileExistsError):
                        files.link(temporary, room, path.name)
                finally:
                    files.unlink(temporary, room)
            files.fsync(room)
    return key
