"""Use for a child whose system calls are to fail one by one: `strace -e inject`, with no strace installed.

Linux on x86-64 only (the two registers below); where it does not work, `needs_ptrace` skips a test and says why.
"""

import ctypes
import errno
import os
import platform
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_SYSGOOD, _EXITKILL = 1, 1 << 20
_RAX, _ORIG_RAX = 10 * 8, 15 * 8  # offsets in struct user_regs_struct
_NAMES = {
    0: "read", 1: "write", 3: "close", 5: "fstat", 8: "lseek", 18: "pwrite64", 73: "flock", 74: "fsync",
    82: "rename", 83: "mkdir", 87: "unlink", 91: "fchmod", 217: "getdents64", 257: "openat", 258: "mkdirat",
    262: "newfstatat", 263: "unlinkat", 264: "renameat", 265: "linkat", 280: "utimensat", 316: "renameat2",
    332: "statx",
}  # fmt: skip
FILE_CALLS = frozenset(_NAMES.values())


class _Info(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("args", ctypes.c_uint64 * 6),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


@dataclass(frozen=True)
class Call:
    """A system call at its entry: its name, how many of that name came before it, its first and third arguments."""

    name: str
    nth: int
    pid: int
    first: int
    third: int

    @property
    def file(self) -> str:
        """The file of the descriptor in the first argument."""
        return os.readlink(f"/proc/{self.pid}/fd/{self.first}")

    @property
    def target(self) -> str:
        """The file of the descriptor in the third argument: the folder that a file is renamed into."""
        return os.readlink(f"/proc/{self.pid}/fd/{self.third}")


class Kill:
    """Kill the child before the call is run."""


def _why_not() -> str | None:
    """Return None if children can be traced, or else the reason."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the registers of this machine are not known to tests/helpers/ptrace.py"
    try:
        traced(lambda: None, lambda call: None)
    except PermissionError:
        return "the kernel refuses ptrace here"
    return None


def fork(run: Callable[[], int | None]) -> int:
    """Fork a child that only runs `run` and exits with its result."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of forking beside threads: the child waits for none
        pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        status = run() or 0
    finally:
        os._exit(status)


def traced(run: Callable[[], int | None], fault: Callable[[Call], int | type[Kill] | None]) -> int:
    """Run `run` in a child, and ask `fault` at each system call; the child's exit code, or -signal.

    The answer None lets the call be, an errno makes it fail with that and do nothing, Kill ends the child before it.
    """

    def begin() -> int | None:
        if _libc.ptrace(_TRACEME, 0, None, None) < 0:
            return 71
        os.kill(os.getpid(), signal.SIGSTOP)
        return run()

    pid = fork(begin)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        raise PermissionError(errno.EPERM, "ptrace")
    _ptrace(_SETOPTIONS, pid, 0, _SYSGOOD | _EXITKILL)
    seen: dict[str, int] = {}
    while True:
        if (status := _next(pid)) is not None:
            return status
        info = _Info()
        _ptrace(_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
        name = _NAMES.get(info.number, f"call {info.number}")
        seen[name] = seen.get(name, 0) + 1
        wanted = fault(Call(name, seen[name], pid, info.args[0], info.args[2]))
        if wanted is Kill:
            os.kill(pid, signal.SIGKILL)
        elif isinstance(wanted, int):
            _ptrace(_POKEUSER, pid, _ORIG_RAX, -1)
        if (status := _next(pid)) is not None:
            return status
        if isinstance(wanted, int):
            _ptrace(_POKEUSER, pid, _RAX, -wanted)


def _next(pid: int) -> int | None:
    """Let the child run to its next stop at a system call. Return its exit code if it ended instead."""
    passed_on = 0
    while True:
        _ptrace(_SYSCALL, pid, 0, passed_on)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            return None
        passed_on = os.WSTOPSIG(status)


def _ptrace(request: int, pid: int, address: int, data: int) -> None:
    if _libc.ptrace(request, pid, address, data) < 0 and ctypes.get_errno() != errno.ESRCH:
        raise OSError(ctypes.get_errno(), "ptrace")


_REASON = _why_not()
# Nothing else stops a child at each call: what cannot be tried here is skipped, and counted in the closing lines.
needs_ptrace = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")
