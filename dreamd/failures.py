"""The swallowed failures with their reasons, for `status` (P10).

A failure is a place, a kind and a time. No text of a dream is ever kept here.
"""

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from dreamd.clock import Clock

LAST = 32  # as many as `status` shows
# Distinct kinds of each place. Further kinds are counted together, so that no peer can make the table grow, or take the
# room of another place. Places are a closed list: methods, hooks, and the daemon's parts.
KINDS = 32
OTHER = "other kinds"
TIMES = 1_000_000  # the most failures that a host may report at once, so that their sum fits into a message
_WORD = re.compile(r"[A-Za-z_][\w.]{0,63}")
# Matches "generate" and "leo.py:4288 in generate_reply", and no sentence.
_PLACE = re.compile(r"[\w./<>-]{1,100}(:\d{1,9}( in [\w.<>]{1,100})?)?")
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception))\b")


class Counts(dict[str, int]):
    """Counts by "<where>: <reason>", of KINDS reasons a place."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[str, int] = {}  # by place

    def add(self, where: str, reason: str, times: int = 1) -> None:
        """Count `times` more."""
        key = f"{where}: {reason}"
        if key not in self:
            if self._kinds.get(where, 0) < KINDS:
                self._kinds[where] = self._kinds.get(where, 0) + 1
            else:
                key = f"{where}: {OTHER}"
        self[key] = self.get(key, 0) + times


class Failures:
    """Counts of what was swallowed, and the last few with their times. `refusals` are counted apart: the caller was
    told, so nothing is hidden, and nothing is wrong with the daemon."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.counts = Counts()
        self.refusals = Counts()
        self.last: deque[dict[str, Any]] = deque(maxlen=LAST)

    def count(self, where: str, reason: str, *, place: str = "", times: int = 1) -> None:
        """Count `times` failures of kind `reason` at `where`. `place`: details such as "leo.py:4288 in x"."""
        self.counts.add(where, reason, times)
        entry = {"type": reason, "where": f"{where} ({place})" if place else where}
        if self.last and {name: self.last[-1][name] for name in entry} == entry:
            self.last[-1]["times"] += times
            self.last[-1]["at"] = self._clock.wall()
        else:
            self.last.append({**entry, "times": times, "at": self._clock.wall()})

    def from_host(self, kinds: Mapping[str, int]) -> None:
        """Count the failures that a host swallowed since its last message, by kind."""
        for kind, times in kinds.items():
            if times > 0:
                self.count("host", kind if _WORD.fullmatch(kind) else "other", times=min(times, TIMES))


def hook_failure(message: str, detail: Mapping[str, Any]) -> tuple[str, str]:
    """Return the type and the place of a hook's exception, from the error that the host sent.

    Only the optional map of the error has the place. The type may also be the beginning of the message. Anything that
    could be text of a dream is dropped.
    """
    kind, where = detail.get("type"), detail.get("where")
    if not (isinstance(kind, str) and _WORD.fullmatch(kind)):
        named = _EXCEPTION.match(message)
        kind = named[1][:64] if named else "error"
    return kind, where if isinstance(where, str) and _PLACE.fullmatch(where) else ""
