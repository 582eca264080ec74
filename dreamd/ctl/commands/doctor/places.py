"""The socket and the state folder: findings from their facts."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from shlex import quote

from dreamclient.paths import SOCKET_PATH_BYTES

from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.ctl.machine.places import SocketFacts, StateFacts, mount_of
from dreamd.ctl.terminal.layout import format_size

# File systems whose locks may not work, or not between machines. SQLite and dreamd rely on locks.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gfs2", "ocfs2"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.davfs2", "davfs"}
)
LITTLE_BYTES = 16 << 20  # a year of dreams
PAGE_BYTES = 4096  # a page of the database: with less nothing can be written
_MOVABLE = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFSOCK})


def check_socket(
    facts: SocketFacts, uid: int, *, listener: int | None, deaf: bool, guarded: bool, state: StateFacts
) -> Iterator[Finding]:
    """Check the socket. `listener`: its pid, 0 if unknown, None if no process listens. `deaf`: it does not answer as
    dreamd does. `guarded`: systemd listens, in place of a daemon. `state`: whose holder is a daemon."""
    length = len(os.fsencode(facts.path))
    if length > SOCKET_PATH_BYTES:
        yield fail(
            f"{facts.path} has {length} bytes, and the kernel takes {SOCKET_PATH_BYTES}",
            "name a shorter one in DREAMD_SOCKET, for leo and the daemon",
        )
    elif facts.kind == "other":
        yield fail(f"{facts.path} is no socket", f"{set_aside(facts.path, '--socket')}, then start dreamd")
    elif facts.kind == "absent":
        yield _absent_socket(facts, guarded, state)
    elif facts.uid != uid:
        yield fail(
            f"{facts.path} belongs to uid {facts.uid}, you are {uid}",
            "run dreamctl and leo as the user of the daemon, or set DREAMD_SOCKET to one of your own",
        )
    elif listener is None and not guarded:
        yield fail(
            f"{facts.path} is stale: no process listens",
            "start dreamd, which removes it: `dreamctl service start`",
        )
    elif deaf and (state.embedded or not state.holder):
        yield fail(
            f"{f'pid {listener}' if listener else 'another program'} listens at {facts.path}, and is no dreamd that "
            "answers",
            f"end it: {f'`kill {listener}`' if listener else '`ss -xlp` may name it'}, then `dreamctl service start`. "
            "Or set DREAMD_SOCKET to another path, for leo, the daemon and dreamctl",
        )
    elif facts.mode & 0o077 or facts.folder_mode & 0o022:
        ours = f"`chmod 600 {quote(str(facts.path))}`"
        yield warn(
            f"{facts.path} has mode {facts.mode:04o}, its folder {facts.folder_mode:04o}",
            "other users are refused by their credentials all the same. To keep them from the file too, "
            f"{ours if facts.mode & 0o077 else 'name a folder in DREAMD_SOCKET that only you can write'}",
        )
    else:
        yield ok(str(facts.path))


def _absent_socket(facts: SocketFacts, guarded: bool, state: StateFacts) -> Finding:
    path = facts.path
    if facts.refused:
        return fail(f"{path} cannot be reached: {facts.refused}", facts.cure)
    if state.embedded:
        return ok(f"none at {path}: an embedded daemon has none")
    if state.holder:
        return fail(
            f"there is none at {path}, and a daemon (pid {state.holder}) has the state folder",
            "the daemon makes a vanished file again within 15 s. If it does not, `dreamctl service restart`. If it "
            "listens elsewhere, set DREAMD_SOCKET for leo and dreamctl",
        )
    if guarded:
        return fail(
            f"there is none at {path}, though systemd listens: its file has vanished",
            "`dreamctl service restart`. If dreamd.socket listens elsewhere, set DREAMD_SOCKET for leo and dreamctl",
        )
    return ok(f"none at {path}, as no daemon runs")


def check_state(facts: StateFacts, trouble: str | None = None) -> Iterator[Finding]:
    """Check the state folder. `trouble`: the trouble that a running daemon reports of its database."""
    if facts.kind == "other":
        yield fail(f"{facts.path} is no folder", set_aside(facts.path, "--state-dir"))
    elif facts.read_only:
        yield fail(f"{facts.path} cannot be written", remount_advice(facts.path))
    elif facts.refused:
        yield fail(f"{facts.path} cannot be used: {facts.refused}", facts.cure)
    elif facts.kind == "unknown":
        advice = "name another: --state-dir, or DREAMD_STATE_DIR"
        yield fail(f"{facts.path}: {facts.error}", advice)
    elif not facts.writable:
        cure = f"make it writable: `chmod u+rwx {quote(str(facts.path))}`"
        yield fail(f"{facts.path} cannot be written", cure)
    if facts.kind != "folder":
        return
    if facts.file_system in NETWORK:
        yield warn(
            f"{facts.path} lies on {facts.file_system}, where SQLite's locks cannot be relied on",
            "move the state folder to a local disk: --state-dir, or DREAMD_STATE_DIR",
        )
    if trouble == "disk full" and facts.free_bytes >= LITTLE_BYTES:
        yield fail(
            f"nothing more can be written where {facts.path} is, though {format_size(facts.free_bytes)} are free",
            "is a quota used up? `quota -s` tells: raise it, or make room. The daemon goes on by itself",
        )
    elif facts.free_bytes < LITTLE_BYTES:
        full = facts.free_bytes < PAGE_BYTES or trouble == "disk full"
        yield (fail if full else warn)(
            f"the disk is {'' if full else 'nearly '}full: {format_size(facts.free_bytes)} left where {facts.path} is",
            "make room. The daemon goes on by itself",
        )
    else:
        yield ok(f"{facts.path} lies on {facts.file_system or 'a file system of unknown type'}")


def set_aside(path: Path, option: str, label: str = "aside") -> str:
    """Return the advice to rename `path` to a free name beside it. If it is no file, folder, link or socket of this
    user, return the advice to name another path by `option`."""
    with suppress(OSError):
        found = path.lstat()
        if stat.S_IFMT(found.st_mode) in _MOVABLE and found.st_uid == os.getuid():
            names = chain([f"{path}.{label}"], (f"{path}.{label}-{number}" for number in count(2)))
            free = next(name for name in names if not os.path.lexists(name))
            return f"move it away: `mv -n {quote(str(path))} {quote(free)}`"
    return f"name another with {option}"


def remount_advice(path: Path) -> str:
    """Return the advice if the file system of a folder is read-only."""
    return f"as root, `mount -o remount,rw {quote(mount_of(path)[0] or str(path))}`"
