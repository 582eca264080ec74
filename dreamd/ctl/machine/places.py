"""The socket and the state folder: their files, modes and file system, and who holds them."""

import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from dreamd.ctl.machine.access import refusal_and_cure
from dreamd.process.state_folder import end_noted, is_embedded

_UCRED = Struct("iII")  # pid, uid, gid: unix(7)


@dataclass(frozen=True)
class SocketFacts:
    """The facts of a socket file. `kind`: absent, socket or other. `uid`: its owner. `mode`, `folder_mode`: permission
    bits. `refused`: why this user could not reach or make it. `cure`: what to do then."""

    path: Path
    kind: str
    uid: int = 0
    mode: int = 0
    folder_mode: int = 0
    refused: str = ""
    cure: str = ""


@dataclass(frozen=True)
class StateFacts:
    """The facts of a state folder. `kind`: absent, folder, other, or unknown because of `error`. `holder`: the pid that
    holds its lock, or 0. `stopped`: SIGSTOP has stopped that process. `free_bytes`: for this user. `refused`: why this
    user cannot use or make the folder. `cure`: what to do then."""

    path: Path
    kind: str
    writable: bool = True
    read_only: bool = False  # its file system
    file_system: str = ""
    free_bytes: int = 0
    holder: int = 0
    embedded: bool = False  # the holder's daemon is a thread of it, and has no socket
    stopped: bool = False
    ended: str = ""  # why the last daemon ended by itself, if it did
    error: str = ""
    refused: str = ""
    cure: str = ""

    @property
    def way_to_end(self) -> str:
        """What the user does to end the daemon that holds the folder."""
        kill = f"`kill {self.holder}`"
        return f"{kill} (that ends the host in which it is embedded)" if self.embedded else kill


def look_at_socket(path: Path) -> SocketFacts:
    """Gather the facts of the socket file, without connecting to it."""
    try:
        found, folder = path.lstat(), path.parent.stat()
    except OSError:
        why, cure = refusal_and_cure(path.parent)
        return SocketFacts(path, "absent", refused=why, cure=cure)
    kind = "socket" if stat.S_ISSOCK(found.st_mode) else "other"
    return SocketFacts(path, kind, found.st_uid, found.st_mode & 0o777, folder.st_mode & 0o777)


def has_listener(path: Path) -> bool:
    """Return whether a process accepts connections at `path`. This connects, so systemd may start its daemon."""
    return listener_pid(path) is not None


def listener_pid(path: Path) -> int | None:
    """Return the listener's pid, 0 if unknown, None if no process listens. This connects, so systemd may start its
    daemon."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its backlog is full
            return 0
        except OSError:
            return None
        pid: int = _UCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[0]
    return pid


def awaits_knock(path: Path) -> bool:
    """Return whether a socket listens at `path`, without connecting to it: proc_pid_net(5)."""
    lines = read_proc("net/unix").splitlines()
    listening = (line.split(maxsplit=7) for line in lines if " 00010000 " in line)  # __SO_ACCEPTCON
    return os.path.exists(path) and any(fields[7:] == [str(path)] for fields in listening)


def look_at_state(path: Path) -> StateFacts:
    """Gather the facts of the state folder, its file system, and the process that holds its lock."""
    why, cure = refusal_and_cure(path)
    try:
        found = path.stat()
        disk = os.statvfs(path)
    except FileNotFoundError:
        return StateFacts(path, "other" if os.path.lexists(path) else "absent", refused=why, cure=cure)
    except OSError as error:
        return StateFacts(path, "unknown", error=str(error.strerror), refused=why, cure=cure)
    if not stat.S_ISDIR(found.st_mode):
        return StateFacts(path, "other")
    holder = lock_holder(path, read_proc("locks"))
    return StateFacts(
        path,
        "folder",
        writable=os.access(path, os.W_OK | os.X_OK) and not disk.f_flag & os.ST_RDONLY,
        read_only=bool(disk.f_flag & os.ST_RDONLY),
        file_system=mount_of(path)[1],
        free_bytes=disk.f_bavail * disk.f_frsize,
        holder=holder,
        embedded=bool(holder) and is_embedded(path),
        stopped=is_stopped(holder),
        ended="" if holder else end_noted(path),
    )


def mount_of(path: Path) -> tuple[str, str]:
    """Return the mount point and the type of the file system of `path`, empty without /proc."""
    return mount_point(path, read_proc("self/mountinfo"))


def mount_point(path: Path, mounts: str) -> tuple[str, str]:
    """Return the mount point and the type of the file system of `path` by the text of mountinfo: proc(5)."""
    real, best, kind = os.path.realpath(path), "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")  # \040 is a space
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two mounts at one point the later one counts
            best, kind = point, after.split()[0]
    return best, kind


def lock_holder(lock: Path, locks: str) -> int:
    """Return the pid that holds an flock on the folder or file by the text of /proc/locks, or 0."""
    try:
        inode = lock.stat().st_ino
    except OSError:
        return 0
    for line in locks.splitlines():
        fields = line.split()
        if "->" not in fields and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return 0


def is_stopped(pid: int) -> bool:
    """Return whether SIGSTOP has stopped a process: proc(5)."""
    return read_proc(f"{pid}/stat").rpartition(")")[2].split()[:1] == ["T"]


def read_proc(name: str) -> str:
    """Return the text of a file of /proc, empty if it is missing, as in some containers."""
    with suppress(OSError):
        return Path("/proc", name).read_text(encoding="utf-8", errors="replace")
    return ""
