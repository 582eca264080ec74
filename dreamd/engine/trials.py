"""The trials of all sessions: replies after an open gate are measured at once, and stored at the tick."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from dreamd.clock import Clock
from dreamd.dream.gate import Decision
from dreamd.dream.model import Context
from dreamd.dream.trial import ComparedReply
from dreamd.engine.dialogues import Dialogues, Dreamer
from dreamd.engine.friend_state import FriendState
from dreamd.errors import StoreUnavailable
from dreamd.failures import Failures
from dreamd.store.store import Store

UNSAVED = 256  # as many as decisions: more come between two ticks only while the store is in trouble
NOTHING: Final[Mapping[int, str]] = {}


class Trials:
    """Compares replies, and keeps the figures until the store has them."""

    def __init__(
        self, store: Store, friend: FriendState, dialogues: Dialogues, clock: Clock, failures: Failures
    ) -> None:
        self._store = store
        self._friend = friend
        self._dialogues = dialogues
        self._clock = clock
        self._failures = failures
        self._unsaved = deque[ComparedReply](maxlen=UNSAVED)

    def add(self, dreamer: Dreamer, ctx: Context, decision: Decision, *, feeds: bool) -> None:
        """Compare a reply if chance decided after the one before, and note what it decided now. `feeds`: dreams are fed
        to leo. If they are not, there is nothing to try, whatever chance decides."""
        now_s = self._clock.monotonic()
        compared = dreamer.trial.next_reply(
            ctx,
            client=dreamer.name,
            at=decision.at,
            now_s=now_s,
            overlap=self._friend.overlap,
            from_dreams=decision.from_dreams,
        )
        if compared is not None:
            self._unsaved.append(compared)
        if feeds and decision.drawn is not None:
            running = self._dialogues.running.get(decision.dialog or 0)
            dreamer.trial.draw(decision, now_s, running[0].observed if running else NOTHING)

    async def save(self) -> None:
        """Store what is new. Without anything new, write nothing. What cannot be stored is stored the next time."""
        if not self._unsaved or self._store.unavailable_reason:
            return
        unsaved = list(self._unsaved)
        self._unsaved.clear()
        try:
            await self._store.keep_trial(unsaved)
        except StoreUnavailable as error:
            self._failures.count("store", error.reason, place="trial")
            self._unsaved = deque([*unsaved, *self._unsaved], maxlen=UNSAVED)
