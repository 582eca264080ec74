"""The file calls of the inbox, as one small class, so that a test can replace them."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator


class Files:
    """Thin wrappers of the system's calls. `at`: a descriptor of the folder in which a name is looked up.

    No call here follows a symbolic link in the last part of a name.
    """

    def open_dir(self, name: str, at: int | None = None) -> int:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)

    def check_writable(self, fd: int) -> None:
        """Raise OSError if this process may not make files in an open folder. This only checks permissions."""
        if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def check_usable(self, name: str, at: int) -> None:
        """Raise PermissionError if a file or folder is there that this process may not read or write."""
        if not os.access(name, os.R_OK | os.W_OK, dir_fd=at, effective_ids=True) and self.exists(name, at):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    def open_read(self, name: str, at: int) -> int:
        # O_NONBLOCK: a FIFO in a file's place must not block
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)

    def open_new(self, name: str, at: int, mode: int) -> int:
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=at)

    def open_lock(self, name: str, at: int, mode: int) -> int:
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, mode, dir_fd=at)

    def close(self, fd: int) -> None:
        # All data has been synced by now, and even a failed close releases the descriptor.
        with contextlib.suppress(OSError):
            os.close(fd)

    def read(self, fd: int, size: int) -> bytes:
        return os.read(fd, size)

    def write(self, fd: int, data: memoryview) -> int:
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        os.rename(name, new_name, src_dir_fd=at, dst_dir_fd=new_at)

    def unlink(self, name: str, at: int) -> None:
        os.unlink(name, dir_fd=at)

    def mkdir(self, name: str, at: int, mode: int) -> None:
        os.mkdir(name, mode, dir_fd=at)

    def chmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def stat(self, name: str, at: int) -> os.stat_result:
        return os.stat(name, dir_fd=at, follow_symlinks=False)

    def stat_if_there(self, name: str, at: int) -> os.stat_result | None:
        """Return None if there is no file of that name: another program may take any file at any moment."""
        try:
            return self.stat(name, at)
        except FileNotFoundError:
            return None

    def exists(self, name: str, at: int) -> bool:
        return self.stat_if_there(name, at) is not None

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def touch(self, name: str, at: int, time_s: float) -> None:
        try:
            os.utime(name, (time_s, time_s), dir_fd=at, follow_symlinks=False)
        except PermissionError:  # of another user's file, the group may set only the present time
            os.utime(name, dir_fd=at, follow_symlinks=False)

    def names(self, fd: int) -> list[str]:
        return os.listdir(fd)

    def lock(self, fd: int) -> None:
        """Lock an open file, or raise BlockingIOError at once."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    @contextlib.contextmanager
    def closing(self, fd: int) -> Iterator[int]:
        """Close the descriptor at the end of a `with`."""
        try:
            yield fd
        finally:
            self.close(fd)
