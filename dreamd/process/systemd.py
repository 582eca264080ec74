"""Notifying systemd, and taking the socket that it passes: sd_notify(3), sd_listen_fds(3).

Both protocols are documented: a datagram, and three environment variables. The maintained bindings need a compiled
libsystemd.
"""

import os
import re
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from dreamd.errors import StartError
from dreamd.process.exit_codes import ExitCode

FIRST_FD = 3  # SD_LISTEN_FDS_START
# A socket has the name of its unit, unless the unit gives another.
_OURS = re.compile(r"dreamd(@.*)?(\.socket)?$")


class Notifier:
    """A sender of states to the service manager that started this process. Without one it sends nothing."""

    def __init__(self, address: str | None) -> None:
        # A leading @ stands for the abstract namespace.
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        # Made once, because a daemon without free descriptors must still notify, or it would seem to hang.
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None

    def tell(self, *states: str) -> None:
        """Send `states` (READY=1, STATUS=.., WATCHDOG=1, STOPPING=1) in one datagram. A missing or slow manager is no
        error."""
        if self._sender and self._address:
            with suppress(OSError):
                self._sender.sendto("\n".join(states).encode(), socket.MSG_DONTWAIT, self._address)

    def close(self) -> None:
        """Close the sender's socket."""
        if self._sender:
            self._sender.close()


def passed_socket(env: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """Return the listening socket that systemd passed to this process, or None. Remove its variables from `env`.

    Of several sockets it is the one named dreamd, like the socket unit. Raise StartError if there is no such socket, or
    if clients could not connect to it.
    """
    pid, count, names = (env.pop(f"LISTEN_{what}", "") for what in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal() or count == "0":
        return None
    fds = range(FIRST_FD, FIRST_FD + int(count))
    ours = [fd for fd, name in zip(fds, names.split(":"), strict=False) if _OURS.match(name)]
    if len(fds) == 1:
        ours = [FIRST_FD]
    if len(ours) != 1:
        raise StartError(
            f"systemd passed {count} sockets, {len(ours)} of them named dreamd: leave its socket unit one "
            "ListenStream=, and name no other so (FileDescriptorName=)",
            ExitCode.SOCKET,
        )
    for fd in set(fds) - set(ours):
        with suppress(OSError):
            os.close(fd)
    try:
        passed = socket.socket(fileno=ours[0])
        unfit = _why_unfit(passed)
    except OSError as error:
        unfit = f"no socket ({error.strerror})"
    if unfit:
        raise StartError(
            f"what systemd passed is {unfit}: its socket unit needs ListenStream= with a path, and Accept=no",
            ExitCode.SOCKET,
        )
    passed.set_inheritable(False)
    passed.setblocking(False)
    return passed


def _why_unfit(passed: socket.socket) -> str:
    """Return why clients could not connect to this socket, or an empty string."""
    if (passed.family, passed.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        return f"of {passed.family.name} and {passed.type.name}, no stream socket of Unix's"
    name = passed.getsockname()
    if not name or not isinstance(name, str):  # abstract names are bytes
        return "a socket without a file"
    listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return "" if listens else "a socket that does not listen"
