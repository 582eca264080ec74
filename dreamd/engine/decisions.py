"""The last decisions of a daemon: in memory when they are made, on disk at the tick and when it stops."""

from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

from dreamclient.messages import DECISIONS

from dreamd.clock import day_name, day_number
from dreamd.dream.gate import Decision
from dreamd.errors import StoreUnavailable
from dreamd.failures import Failures
from dreamd.store.store import Store

PRIVATE = "private"  # stands among the reasons for the replies on which none was decided
PRIVATE_MOST = 1_000_000  # that a host may tell at once, so that their sum fits into a message


class Decisions:
    """The last 256 decisions, those of earlier daemons among them. `reasons` counts those of this daemon."""

    def __init__(self, store: Store, failures: Failures) -> None:
        self.reasons: Counter[str] = Counter()
        self._store = store
        self._failures = failures
        self._last: deque[Decision] = deque(maxlen=DECISIONS)
        # The newest of `_last`, which the store does not have yet. It may count some that have gone.
        self._unsaved = 0
        self._uncounted: Counter[tuple[int, str]] = Counter()  # by day since 1970 (UTC) and reason

    def __len__(self) -> int:
        return len(self._last)

    def add(self, decision: Decision) -> None:
        """Take in a new decision. No disk is touched."""
        self._last.append(decision)
        self._unsaved += 1
        self.reasons[decision.reason] += 1
        self._uncounted[day_number(decision.at), decision.reason] += 1

    def count_private(self, replies: int, at: float) -> None:
        """Count replies in private conversations, of which nothing else is known. No disk is touched."""
        replies = min(replies, PRIVATE_MOST)
        self.reasons[PRIVATE] += replies
        self._uncounted[day_number(at), PRIVATE] += replies

    def restore(self, earlier: Iterable[Decision]) -> None:
        """Put the decisions of earlier daemons, oldest first, before those that were made meanwhile."""
        self._last = deque([*earlier, *self._last], maxlen=DECISIONS)

    def newest(self, n: int) -> list[Decision]:
        """Return the last n decisions, newest first."""
        return list(islice(reversed(self._last), n))

    async def save(self) -> None:
        """Store what is new. Without anything new, write nothing. What cannot be stored is stored the next time."""
        if not self._uncounted or self._store.unavailable_reason:
            return
        unsaved, uncounted = self.newest(self._unsaved)[::-1], self._uncounted
        self._unsaved, self._uncounted = 0, Counter()
        try:
            days = {(day_name(day), reason): n for (day, reason), n in uncounted.items()}
            await self._store.keep_decisions(unsaved, days)
        except StoreUnavailable as error:
            self._failures.count("store", error.reason, place="decisions")
            self._unsaved += len(unsaved)
            self._uncounted += uncounted
