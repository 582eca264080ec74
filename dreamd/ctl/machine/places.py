"""The socket and the state folder: their files, modes and file system, and who holds them."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from shlex import quote
from struct import Struct

from dreamclient.paths import SOCKET_PATH_BYTES

from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.ctl.machine.access import refused
from dreamd.ctl.terminal.layout import size
from dreamd.wire.listener import end_noted

# On these the locks that SQLite and dreamd rely on may not hold, or not between machines.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gfs2", "ocfs2"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.davfs2", "davfs"}
)
LITTLE_BYTES = 16 << 20  # a year of dreams
PAGE_BYTES = 4096  # of the database: with less nothing can be written
_MOVABLE = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFSOCK})
_UCRED = Struct("iII")  # pid, uid, gid: unix(7)


@dataclass(frozen=True)
class SocketFacts:
    """`kind` is absent, socket or other; `uid` its owner; `mode` and `folder_mode` permission bits. `refused`: why this
    user could not reach or make it, `cure`: what to do then."""

    path: Path
    kind: str
    uid: int = 0
    mode: int = 0
    folder_mode: int = 0
    refused: str = ""
    cure: str = ""


@dataclass(frozen=True)
class StateFacts:
    """`holder` is the pid that holds the folder's lock, 0 where nobody does, and `stopped` whether by SIGSTOP it does
    nothing else; `free_bytes` for this user. `kind` is absent, folder, other, or unknown because of `error`. `refused`:
    why this user cannot use or make it, `cure`: what to do then."""

    path: Path
    kind: str
    writable: bool = True
    read_only: bool = False  # its file system
    file_system: str = ""
    free_bytes: int = 0
    holder: int = 0
    stopped: bool = False
    ended: str = ""  # why the last daemon ended by itself, if it did
    error: str = ""
    refused: str = ""
    cure: str = ""


def look_at_socket(path: Path) -> SocketFacts:
    """Look at the file alone, without a connection."""
    try:
        found, folder = path.lstat(), path.parent.stat()
    except OSError:
        why, cure = refused(path.parent)
        return SocketFacts(path, "absent", refused=why, cure=cure)
    kind = "socket" if stat.S_ISSOCK(found.st_mode) else "other"
    return SocketFacts(path, kind, found.st_uid, found.st_mode & 0o777, folder.st_mode & 0o777)


def listens(path: Path) -> bool:
    """Whether somebody accepts connections there. A unit's socket starts its daemon by this."""
    return listener(path) is not None


def listener(path: Path) -> int | None:
    """The pid of who listens there, None where nobody does; 0 where it cannot be told. It is a knock, too."""
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
    """Return whether a socket listens there, without a connection: proc_pid_net(5)."""
    lines = proc("net/unix").splitlines()
    listening = (line.split(maxsplit=7) for line in lines if " 00010000 " in line)  # __SO_ACCEPTCON
    return os.path.exists(path) and any(fields[7:] == [str(path)] for fields in listening)


def check_socket(
    facts: SocketFacts, uid: int, *, listener: int | None, deaf: bool, guarded: bool, holder: int
) -> Iterator[Finding]:
    """Check the socket. `listener`: its pid, 0 if unknown, None if no process listens; `deaf`: it does not answer as
    dreamd does. `guarded`: systemd listens, in place of a daemon. `holder`: the pid of a daemon that has the state
    folder, or 0."""
    length = len(os.fsencode(facts.path))
    if length > SOCKET_PATH_BYTES:
        yield fail(
            "socket",
            f"{facts.path} has {length} bytes, and the kernel takes {SOCKET_PATH_BYTES}",
            "name a shorter one in DREAMD_SOCKET, for leo and the daemon",
        )
    elif facts.kind == "other":
        yield fail(
            "socket", f"{facts.path} is no socket", f"{set_aside(facts.path, '--socket')}; then start dreamd"
        )
    elif facts.kind == "absent":
        yield _absent(facts, guarded, holder)
    elif facts.uid != uid:
        yield fail(
            "socket",
            f"{facts.path} belongs to uid {facts.uid}, you are {uid}",
            "run dreamctl and leo as the user of the daemon, or set DREAMD_SOCKET to one of your own",
        )
    elif listener is None and not guarded:
        yield fail(
            "socket",
            f"{facts.path} is stale: nobody listens",
            "start dreamd, which clears it away: `dreamctl service start`",
        )
    elif deaf and not holder:
        yield fail(
            "socket",
            f"{f'pid {listener}' if listener else 'another program'} listens at {facts.path}, and is no dreamd that "
            "answers",
            f"end it: {f'`kill {listener}`' if listener else '`ss -xlp` may name it'}, then `dreamctl service start`; "
            "or set DREAMD_SOCKET to another place, for all of them",
        )
    elif facts.mode & 0o077 or facts.folder_mode & 0o022:
        ours = f"`chmod 600 {quote(str(facts.path))}`"
        yield warn(
            "socket",
            f"{facts.path} has mode {facts.mode:04o}, its folder {facts.folder_mode:04o}",
            "others are refused by their credentials all the same; "
            f"{ours if facts.mode & 0o077 else 'name a folder that you alone write, in DREAMD_SOCKET'}",
        )
    else:
        yield ok("socket", str(facts.path))


def _absent(facts: SocketFacts, guarded: bool, holder: int) -> Finding:
    path = facts.path
    if facts.refused:
        return fail("socket", f"{path} cannot be reached: {facts.refused}", facts.cure)
    if holder:
        return fail(
            "socket",
            f"there is none at {path}, and a daemon (pid {holder}) has the state folder",
            "it makes a file that vanished again within 15 s, else `dreamctl service restart` does; if it listens "
            "elsewhere, set DREAMD_SOCKET for all of them",
        )
    if guarded:
        return fail(
            "socket",
            f"there is none at {path}, though systemd listens: its file has vanished",
            "`dreamctl service restart`; if dreamd.socket listens elsewhere, set DREAMD_SOCKET for all of them",
        )
    return ok("socket", f"none at {path}, as no daemon runs")


def look_at_state(path: Path) -> StateFacts:
    """Look at the folder, at its file system, and at which process holds its lock."""
    why, cure = refused(path)
    try:
        found = path.stat()
        disk = os.statvfs(path)
    except FileNotFoundError:
        return StateFacts(path, "other" if os.path.lexists(path) else "absent", refused=why, cure=cure)
    except OSError as error:
        return StateFacts(path, "unknown", error=str(error.strerror), refused=why, cure=cure)
    if not stat.S_ISDIR(found.st_mode):
        return StateFacts(path, "other")
    holder = lock_holder(path, proc("locks"))
    return StateFacts(
        path,
        "folder",
        writable=os.access(path, os.W_OK | os.X_OK) and not disk.f_flag & os.ST_RDONLY,
        read_only=bool(disk.f_flag & os.ST_RDONLY),
        file_system=mount_of(path)[1],
        free_bytes=disk.f_bavail * disk.f_frsize,
        holder=holder,
        stopped=is_stopped(holder),
        ended="" if holder else end_noted(path),
    )


def check_state(facts: StateFacts, trouble: str | None = None) -> Iterator[Finding]:
    """`trouble` is what a daemon that runs tells of its database."""
    if facts.kind == "other":
        yield fail("database", f"{facts.path} is no folder", set_aside(facts.path, "--state-dir"))
    elif facts.read_only:
        yield fail("database", f"{facts.path} cannot be written", remount(facts.path))
    elif facts.refused:
        yield fail("database", f"{facts.path} cannot be used: {facts.refused}", facts.cure)
    elif facts.kind == "unknown":
        advice = "name another: --state-dir, or DREAMD_STATE_DIR"
        yield fail("database", f"{facts.path}: {facts.error}", advice)
    elif not facts.writable:
        cure = f"make it writable: `chmod u+rwx {quote(str(facts.path))}`"
        yield fail("database", f"{facts.path} cannot be written", cure)
    if facts.kind != "folder":
        return
    if facts.file_system in NETWORK:
        yield warn(
            "database",
            f"{facts.path} lies on {facts.file_system}, where SQLite's locks cannot be relied on",
            "move the state folder to a local disk: --state-dir, or DREAMD_STATE_DIR",
        )
    if trouble == "disk full" and facts.free_bytes >= LITTLE_BYTES:
        yield fail(
            "database",
            f"nothing more can be written where {facts.path} is, though {size(facts.free_bytes)} are free",
            "is a quota used up? `quota -s` tells: raise it, or make room; the daemon goes on by itself",
        )
    elif facts.free_bytes < LITTLE_BYTES:
        full = facts.free_bytes < PAGE_BYTES or trouble == "disk full"
        yield (fail if full else warn)(
            "database",
            f"the disk is {'' if full else 'nearly '}full: {size(facts.free_bytes)} left where {facts.path} is",
            "make room; the daemon goes on by itself",
        )
    else:
        yield ok("database", f"{facts.path} lies on {facts.file_system or 'a file system of unknown type'}")


def set_aside(path: Path, option: str, label: str = "aside") -> str:
    """The advice to give a thing another name, beside it, that is free. What is no file, folder, link or socket of this
    user stays: then the advice is to name another by `option`."""
    with suppress(OSError):
        found = path.lstat()
        if stat.S_IFMT(found.st_mode) in _MOVABLE and found.st_uid == os.getuid():
            names = chain([f"{path}.{label}"], (f"{path}.{label}-{number}" for number in count(2)))
            free = next(name for name in names if not os.path.lexists(name))
            return f"move it away: `mv -n {quote(str(path))} {quote(free)}`"
    return f"name another with {option}"


def remount(path: Path) -> str:
    """Return the advice if the file system of a folder is read-only."""
    return f"as root, `mount -o remount,rw {quote(mount_of(path)[0] or str(path))}`"


def mount_of(path: Path) -> tuple[str, str]:
    """Return where the file system that `path` lies on is mounted, and its type; empty without /proc."""
    return mount_point(path, proc("self/mountinfo"))


def mount_point(path: Path, mounts: str) -> tuple[str, str]:
    """The same by the text of mountinfo: proc(5)."""
    real, best, kind = os.path.realpath(path), "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")  # \040 is a space
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two at one place the later one is on top
            best, kind = point, after.split()[0]
    return best, kind


def lock_holder(lock: Path, locks: str) -> int:
    """The pid that holds an flock on the folder or file, by the text of /proc/locks; 0 where nobody does."""
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
    """Return whether a process was sent SIGSTOP, and has been left so: proc(5)."""
    return proc(f"{pid}/stat").rpartition(")")[2].split()[:1] == ["T"]


def proc(name: str) -> str:
    """Return a file of /proc; empty if it has none such, as in some containers."""
    with suppress(OSError):
        return Path("/proc", name).read_text(encoding="utf-8", errors="replace")
    return ""
