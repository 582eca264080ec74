"""The one way to change something beside which no dialogue may run: the friend, the past, leo's field, a pause.

A restore, a reseed, an import, a drop, forgetting and taking a dream back use it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dreamclient.messages import Code

from dreamd.engine.dialogues import Dialogues
from dreamd.errors import Refusal

# How long a change waits for the dialogues that run, usually a few seconds, before it suspends them. Its caller waits
# for it.
WAIT_S = 10.0


@asynccontextmanager
async def hold_dialogues(dialogues: Dialogues, patience_s: float | None = None) -> AsyncIterator[None]:
    """Run no dialogue in the block, and begin none: the gate says `busy`. Wait WAIT_S for those that run, then suspend
    them: they go on after the block. One block is entered at a time.

    `patience_s`: how long to wait for another block, and for dialogues that cannot be suspended, by default WAIT_S.
    Then raise Refusal.
    """
    async with _begin_none(dialogues, WAIT_S if patience_s is None else patience_s):
        try:
            await dialogues.interrupt("shutdown")
            yield
        finally:
            await dialogues.friend_changed(WAIT_S)


async def refuse_if_held_up(dialogues: Dialogues) -> None:
    """Raise Refusal if a dialogue that cannot be suspended goes on for WAIT_S. So a change whose first steps need no
    block is refused before them."""
    if not dialogues.may_all_be_suspended:
        async with _begin_none(dialogues, WAIT_S):
            pass


@asynccontextmanager
async def _begin_none(dialogues: Dialogues, patience_s: float) -> AsyncIterator[None]:
    try:
        await asyncio.wait_for(dialogues.holding.acquire(), patience_s)
    except TimeoutError:
        raise Refusal(
            Code.BUSY, "another change of the friend or the past is not done; try again later"
        ) from None
    try:
        await _wait_for_those_that_run(dialogues, min(patience_s, WAIT_S))
        if patience_s > WAIT_S and not dialogues.may_all_be_suspended:
            await _wait_for_those_that_run(dialogues, patience_s - WAIT_S)
        if not dialogues.may_all_be_suspended:
            raise Refusal(Code.BUSY, "a dialogue runs that cannot be suspended; try again when it has ended")
        yield
    finally:
        dialogues.holding.release()
        dialogues.is_over()


async def _wait_for_those_that_run(dialogues: Dialogues, patience_s: float) -> None:
    if running := [task for _, task in dialogues.running.values()]:
        await asyncio.wait(running, timeout=patience_s)
