"""The failures that a host catches, counted by kind. The next message tells them to the daemon.

not_connected, forked, stalled         contexts dropped: no daemon; in a forked child that has not connected yet; the
                                       daemon does not read
unsendable                             a context that MessagePack cannot hold, or that is over 32 KiB all the same
connect, lost                          attempts to connect that failed; connections that ended
generate, observe, recall              hooks that raised, or returned what they may not
unknown_hook                           calls of a hook that this host does not provide
seed, field, on_event, internal        the daemon took no seed; the field's id could not be read; the host's callback
                                       raised; a bug of ours
listen, offer, chance, no_database,    `leo.attach`: a prompt not measured; a context not made; a line drawn from the
into.<module>                          process's own `random`; no file to feed; a module of leo's not told of a line
other                                  a host's own kind that is no text of 64 characters, or one of too many
"""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

KINDS, KIND_CHARS = 64, 64  # as many as one message carries easily; the daemon keeps 32
OTHER = "other"
PRIVATE = "private"  # replies in private conversations: they travel with the failures, and are none

NOTHING: Counter[str] = Counter()  # taken by a message that has nothing to tell; never changed


class Failures:
    """Counts of failures by kind, from any thread. The lock is re-entrant, since a signal handler may reply too."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.pending: Counter[str] = Counter()  # that no message has carried
        self._lock = threading.RLock()

    def count(self, kind: str) -> None:
        """Count one failure of this kind. A kind that no message could carry, or one of too many, counts as `other`:
        it would keep every later message back."""
        with self._lock:
            carried = isinstance(kind, str) and len(kind) <= KIND_CHARS
            if not carried or (kind not in self.counts and len(self.counts) >= KINDS):
                kind = OTHER
            self.counts[kind] += 1
            self.pending[kind] += 1

    def count_private(self) -> None:
        """Count one reply in a private conversation."""
        with self._lock:
            self.pending[PRIVATE] += 1

    def take(self) -> Counter[str]:
        """Return the failures and private replies that no message has carried, for the next message. Call `put_back` if
        it is not sent."""
        if not self.pending:  # nearly always
            return NOTHING
        with self._lock:
            taken, self.pending = self.pending, Counter()
        return taken

    def put_back(self, taken: Counter[str]) -> None:
        """Leave failures that were taken to another message."""
        if taken:
            with self._lock:
                self.pending += taken

    def forked(self) -> None:
        """Begin at zero in a forked child, with another lock: a thread of the parent may have held it. The parent tells
        what it counted."""
        self._lock, self.pending = threading.RLock(), Counter()


def as_told(taken: Mapping[str, int]) -> dict[str, Any]:
    """Return what was taken as a message carries it: `{failures?, private?}`."""
    failures = {kind: count for kind, count in taken.items() if kind != PRIVATE}
    replies = taken.get(PRIVATE, 0)
    return ({"failures": failures} if failures else {}) | ({"private": replies} if replies else {})
