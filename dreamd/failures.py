"""Every failure that was swallowed, with its reason, where the operator looks (P10).

No text of a dream is ever kept here: a failure is a place, a kind and a time.
"""

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from dreamd.clock import Clock

LAST = 32  # as many as `status` shows
# Distinct kinds a place; what comes beyond is counted together, so that no peer can grow the table, and what one
# makes up costs no other place its own kinds. Places are a closed list: methods, hooks, and the daemon's parts.
KINDS = 32
OTHER = "other kinds"
TIMES = 1_000_000  # as many as a host is believed at once: a sum of them stays a number that can be sent
_WORD = re.compile(r"[A-Za-z_][\w.]{0,63}")
# "generate", "leo.py:4288 in generate_reply": a sentence does not fit.
_PLACE = re.compile(r"[\w./<>-]{1,100}(:\d{1,9}( in [\w.<>]{1,100})?)?")
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception))\b")


class Failures:
    """Counts by "<where>: <reason>", and the last few with their times."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.counts: dict[str, int] = {}
        self._kinds: dict[str, int] = {}  # by place
        self.last: deque[dict[str, Any]] = deque(maxlen=LAST)

    def count(self, where: str, reason: str, *, place: str = "", times: int = 1) -> None:
        """Count `times` failures of kind `reason` at `where`; `place` tells it closer ("leo.py:4288 in x")."""
        key = f"{where}: {reason}"
        if key not in self.counts:
            if self._kinds.get(where, 0) < KINDS:
                self._kinds[where] = self._kinds.get(where, 0) + 1
            else:
                key = f"{where}: {OTHER}"
        self.counts[key] = self.counts.get(key, 0) + times
        entry = {"type": reason, "where": f"{where} ({place})" if place else where}
        if self.last and {name: self.last[-1][name] for name in entry} == entry:
            self.last[-1]["times"] += times
            self.last[-1]["at"] = self._clock.wall()
        else:
            self.last.append({**entry, "times": times, "at": self._clock.wall()})

    def from_host(self, kinds: Mapping[str, int]) -> None:
        """Take over what a host swallowed since its last message, by kind."""
        for kind, times in kinds.items():
            if times > 0:
                self.count("host", kind if _WORD.fullmatch(kind) else "other", times=min(times, TIMES))


def hook_failure(message: str, detail: Mapping[str, Any]) -> tuple[str, str]:
    """The type and place of the exception that a hook raised, from the error it was answered with.

    The place is given by the optional map of the error alone; the type also by a message that starts with one.
    Anything that could be text of a dream is dropped.
    """
    kind, where = detail.get("type"), detail.get("where")
    if not (isinstance(kind, str) and _WORD.fullmatch(kind)):
        named = _EXCEPTION.match(message)
        kind = named[1][:64] if named else "error"
    return kind, where if isinstance(where, str) and _PLACE.fullmatch(where) else ""
