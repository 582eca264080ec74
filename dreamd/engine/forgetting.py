"""Forgets dialogues: their rows, their files in the inbox, what the friend and copies of the database hold of them.

The rows go last: if anything fails before that, the user asks again.
"""

import sqlite3
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from dreamclient.messages import Code
from msgspec.structs import asdict

from dreamd.clock import DAY_S, Clock
from dreamd.engine.delivery import Delivery
from dreamd.engine.engine import Engine
from dreamd.engine.friend_state import FriendState
from dreamd.engine.hold import hold_dialogues, refuse_if_held_up
from dreamd.engine.undream.undreaming import Undreaming
from dreamd.errors import Refusal, StoreUnavailable
from dreamd.failures import Failures
from dreamd.inbox import InboxError
from dreamd.store import forgetting
from dreamd.store.file.copies import copies_of, forget_in
from dreamd.store.file.late_calls import OneByOne
from dreamd.store.forgetting import Asked, Dream, Forgotten
from dreamd.store.store import Store

PATIENCE_S = 500.0  # for a dialogue that began while files were removed: it ends within 420 s
LOOK_S = 3600.0  # monotonic: how often it is asked whether a day has gone since the last look


class Forgetting:
    """Forgets what the user asks for, and what is older than `keep_days` (0: nothing)."""

    def __init__(
        self,
        store: Store,
        friend: FriendState,
        delivery: Delivery,
        engine: Engine,
        undreaming: Undreaming,
        clock: Clock,
        failures: Failures,
        keep_days: int,
    ) -> None:
        self._store = store
        self._friend = friend
        self._delivery = delivery
        self._dialogues = engine.dialogues
        self._undreaming = undreaming
        self._shares = engine.reply_shares
        self._clock = clock
        self._failures = failures
        self._keep_days = keep_days
        self._turn = OneByOne()
        self._again_s = -inf  # monotonic: when what is too old is looked for

    async def forget(self, asked: Asked) -> dict[str, Any]:
        """Forget dialogues. Return {dialogs, files, lines, fragments, replays: counts; fragments_left: count,
        checkpoints_left: names, copies_left: paths; scrubbed}. Raise Refusal, StoreUnavailable, InboxError.

        `replays` are other dialogues whose replay data quoted them, `..left` is what still holds something. If another
        program keeps the log of the database from being emptied, or the disk has no room to rewrite it, `scrubbed` is
        false, and the tick does it later.
        """
        dreams = await self._store.forgettable(asked)
        files, copies, gone, scrubbed = 0, list[str](), Forgotten(), True
        if dreams and not asked.dry_run:
            await refuse_if_held_up(self._dialogues)
            # To its end even if the caller is cancelled, so that no half of it stays.
            files, copies, gone = await self._turn.run(partial(self._forget, dreams, asked))
            scrubbed = await self._scrub()
        return {
            "dialogs": len(dreams),
            "files": files,
            **asdict(gone),
            "copies_left": copies,
            "scrubbed": scrubbed,
        }

    async def _forget(self, dreams: list[Dream], asked: Asked) -> tuple[int, list[str], Forgotten]:
        """Return the count of inbox files that went, the copies that are left, and what else went."""
        ids = {dream.id for dream in dreams}
        async with self._undreaming.forgetting(ids), self._delivery.paused(ids):
            copies = await self._delivery.on_thread(_forget_in_copies, self._store.path, dreams, asked)
            files = await self._forget_files(dreams)
            # Not above: a disk that hangs must not stop all dreams. With the files gone it is not refused any more.
            async with hold_dialogues(self._dialogues, PATIENCE_S):
                gone = await self._friend.forget(dreams, asked)
                self._shares.take_back(ids)
        return files, copies, gone

    async def _forget_files(self, dreams: list[Dream]) -> int:
        traces = [dream.trace_id for dream in dreams if dream.trace_id is not None]
        own = await self._store.shards_of(traces)
        return len(await self._delivery.for_a_client(self._delivery.inbox.forget, own))

    async def _scrub(self) -> bool:
        try:
            return await self._store.scrub()
        except StoreUnavailable:  # reported as its `unavailable_reason`; the tick tries again
            return False

    async def by_age(self) -> None:
        """Forget what was older than `keep_days` already at a look at least a day ago, at a tick at which no dialogue
        runs. So a clock that is wrong at one start forgets nothing. What fails is counted, and tried again the next
        day."""
        now_s = self._clock.monotonic()
        if not self._keep_days or self._store.unavailable_reason or now_s < self._again_s:
            return
        if self._dialogues.running:
            return
        self._again_s = now_s + LOOK_S
        try:
            looked_at = await self._store.look_at_age(self._clock.wall(), DAY_S)
            if looked_at is not None:
                await self.forget(Asked(before=looked_at - self._keep_days * DAY_S))
        except (StoreUnavailable, InboxError, Refusal) as error:
            self._failures.count("forgetting", type(error).__name__, place="keep_days")


def _forget_in_copies(database: Path, dreams: list[Dream], asked: Asked) -> list[str]:
    """Return the copies of the database that may still hold one of these dialogues. With `everywhere` a file
    is left that is no database and that dreamd did not make, or for whose rewriting the disk has no room. Raise Refusal
    if one cannot be changed."""
    forget = (
        partial(forgetting.forget_in_copy, dreams=dreams, friend=asked.friend) if asked.everywhere else None
    )
    left = []
    for copy in copies_of(database):
        try:
            if forget_in(copy, partial(forgetting.holds, dreams=dreams), forget):
                left.append(str(copy))
        except (OSError, sqlite3.Error) as error:
            why = error.strerror if isinstance(error, OSError) else error
            message = (
                f"{copy} cannot be changed ({why}); mend or delete it, and ask again to forget all of it"
            )
            raise Refusal(Code.UNAVAILABLE, message) from None
    return left
