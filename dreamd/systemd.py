"""What systemd wants to hear, and the sockets that it passes: sd_notify(3), sd_listen_fds(3).

Both are a documented datagram and three environment variables; the kept bindings need a compiled libsystemd.
"""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

FIRST_FD = 3  # SD_LISTEN_FDS_START


class Notifier:
    """Sends states to the service manager that started us; without one, to nobody."""

    def __init__(self, address: str | None) -> None:
        # A leading @ stands for the abstract namespace.
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        # Made once: a daemon that is out of descriptors must not be taken for one that hangs.
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None

    def tell(self, *states: str) -> None:
        """Send `states` (READY=1, STATUS=.., WATCHDOG=1, STOPPING=1) in one datagram. A manager that is gone
        or deaf is no reason to fail."""
        if self._sender and self._address:
            with suppress(OSError):
                self._sender.sendto("\n".join(states).encode(), socket.MSG_DONTWAIT, self._address)

    def close(self) -> None:
        """Say nothing more."""
        if self._sender:
            self._sender.close()


def passed_socket(env: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """The listening socket that systemd passed to this process, or None; its variables are taken out of `env`."""
    pid, count = env.pop("LISTEN_PID", ""), env.pop("LISTEN_FDS", "")
    env.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count != "1":
        return None
    passed = socket.socket(fileno=FIRST_FD)
    passed.set_inheritable(False)
    passed.setblocking(False)
    return passed
