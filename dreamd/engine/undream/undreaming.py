"""Takes dialogues back out of the field that they were fed to, by the hook `unobserve` of its host.

Each line is one call, recorded before the next one. The host takes a line out once, whatever it is asked: a crash on
either side leaves the dialogue waiting, and the next session of that field goes on. No dream runs in that field
meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from dreamclient.messages import Code, Method
from msgspec import Raw

from dreamd.clock import Clock
from dreamd.engine.delivery import Delivery
from dreamd.engine.dialogues import Dreamer
from dreamd.engine.engine import Engine
from dreamd.engine.events import Event, Events
from dreamd.engine.friend_state import FriendState
from dreamd.engine.hold import WAIT_S as HOLD_S
from dreamd.engine.hold import hold_dialogues
from dreamd.engine.pending import Pause
from dreamd.engine.session_hooks import Caller
from dreamd.engine.undream.unobserve_hook import HookFailed, Removal, UnobserveHook
from dreamd.errors import Refusal, StoreUnavailable
from dreamd.failures import Failures
from dreamd.inbox import InboxError
from dreamd.store.store import Store
from dreamd.store.undreaming.candidates import Asked, Candidate

WAIT_S = 60.0  # that a request waits for its end: a dream that runs may take longer, and goes on without it
# In a row: a host that is lost in each attempt, and may die of them, is asked again only by the user.
LOSSES = 3
NO_LEO, NO_HOOK = "leo is not running", "leo's client cannot take a dream back"
FORGOTTEN = {"state": "waiting", "why": "it was forgotten meanwhile"}
LOST = f"leo was lost {LOSSES} times while it was taken back"

Field = str


class Undreaming:
    """The dialogues that are to be taken back. No dialogue of the engine's begins in a field meanwhile."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        friend: FriendState,
        delivery: Delivery,
        clock: Clock,
        failures: Failures,
        events: Events,
    ) -> None:
        self.waiting: dict[int, tuple[str, Field]] = {}  # by dialogue, newest first: trace id and field
        self.working: dict[Field, asyncio.Task[None]] = {}
        self._in_work = set[int]()  # of `waiting`: those that are being taken back now
        self._held = Counter[int]()  # of `waiting`: those that are being forgotten, by how many requests
        self._pauses: dict[Field, Pause] = {}  # after a failure
        self._failed: dict[Field, str] = {}  # the last reason
        self._lost = Counter[Field]()  # hosts, since a line was taken back
        self._ends: dict[int, list[asyncio.Future[dict[str, Any]]]] = {}  # of requests that wait, by dialogue
        self._engine = engine
        self._store = store
        self._friend = friend
        self._delivery = delivery
        self._clock = clock
        self._failures = failures
        self._events = events
        self._loaded = self._closed = False
        events.subscribe(self._hear, "dialog.finished", "dialog.suspended")

    async def load(self) -> None:
        """Take up what is noted in the store and was not taken up: by an earlier daemon, or as the inbox could not be
        changed. If it cannot be now, the next tick tries again."""
        try:
            if not self._loaded and self._store.unavailable_reason is None:
                self._loaded = True
                await self._take_up(
                    [one for one in await self._store.waiting_undreams() if one[0] not in self.waiting]
                )
        except StoreUnavailable:
            self._loaded = False
        except InboxError as error:
            self._loaded = False
            self._failures.count("inbox", type(error).__name__, place="undream")
        self.wake()

    def _hear(self, _: Event) -> None:
        if self.waiting:
            asyncio.get_running_loop().call_soon(self.wake)  # when the engine has done its part

    def wake(self) -> None:
        """Start to take back what waits, in each field whose host is there and does not dream, unless the pause after a
        failure is not over."""
        if self._closed:
            return
        now_s = self._clock.monotonic()
        for field in dict.fromkeys(field for n, (_, field) in self.waiting.items() if n not in self._held):
            pause = self._pauses.get(field)
            resting = self._lost[field] >= LOSSES or (pause is not None and not pause.over(now_s))
            if field in self.working or resting:
                continue
            if (session := self._able(field)) is not None and not self._dreams(field):
                self._engine.dialogues.undreamt.add(field)
                self.working[field] = asyncio.get_running_loop().create_task(self._work(session, field))

    async def close(self) -> None:
        """Stop. What is not done waits for the next daemon."""
        self._closed = True
        tasks = list(self.working.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def forgetting(self, dialogs: Collection[int]) -> AsyncIterator[None]:
        """Take none of these dialogues back in the block, nor after it: what they added is forgotten there. Wait for
        those that are being taken back, since half of one would stay. Raise Refusal if that takes too long."""
        self._held.update(dialogs)
        try:
            await self._wait_for(self._in_work.intersection(dialogs))
            yield
            for number in dialogs:
                self.waiting.pop(number, None)
                self._end(number, FORGOTTEN)
        finally:
            self._held -= Counter(dialogs)
            self.wake()

    async def _wait_for(self, dialogs: Collection[int]) -> None:
        ends = self._expect(list(dialogs))
        try:
            if ends:
                await asyncio.wait(ends.values(), timeout=HOLD_S)
        finally:
            self._expect_no_more(ends)
        for number in self._in_work.intersection(dialogs):
            raise Refusal(Code.BUSY, f"dialogue {number} is being taken back; try again when that is done")

    # a request

    async def undream(self, asked: Asked) -> dict[str, Any]:
        """Take dialogues back, or note that they are to be, and wait for that if leo is there.

        Return {dialogs: [{id, state: "done" or "waiting", why, lines, unknown, missing, fragments, inbox}], left: [{id,
        why}]}. Raise Refusal if the one that is named cannot be taken back, StoreUnavailable, InboxError."""
        chosen, left = await self._store.undream_candidates(asked), list[dict[str, Any]]()
        todo = list[Candidate]()
        for one in chosen:
            hindrance = one.hindrance or self._hindrance_of_host(one.field)
            if hindrance and asked.id is not None:
                code = Code.BUSY if not one.has_ended else Code.NOT_FOUND
                raise Refusal(code, f"dialogue {one.id} {hindrance}")
            if hindrance:
                left.append({"id": one.id, "why": hindrance})
            else:
                todo.append(one)
        if asked.dry_run:
            return {"dialogs": [{"id": one.id} for one in todo], "left": left}
        taken = await self._note(todo)
        ends = self._expect([one.id for one in todo])
        for one in todo:  # the user asks, so no pause is kept
            self._pauses.pop(one.field or "", None)
            self._lost.pop(one.field or "", None)
        try:
            self.wake()
            if any(self._able(one.field or "") for one in todo):
                await asyncio.wait(ends.values(), timeout=WAIT_S)
        finally:
            self._expect_no_more(ends)
        return {"dialogs": [self._told(one, ends[one.id], taken) for one in todo], "left": left}

    async def _note(self, todo: Sequence[Candidate]) -> dict[int, dict[str, Any]]:
        """Note in the store that these dialogues are to be taken back, with what the friend has of them, and take them
        up. Return what went, by dialogue."""
        new = {one.id: one for one in todo if one.undone is None}
        if not new:
            return {}
        try:
            async with hold_dialogues(self._engine.dialogues):
                lost = await self._friend.take_back(list(new))
            files = await self._take_up(
                [(one.id, one.trace_id or "", one.field or "") for one in new.values()]
            )
        except BaseException:  # the store may have noted them all the same: the next tick finds them there
            self._loaded = False
            raise
        return {
            number: {"fragments": lost[number], "inbox": files.get(one.trace_id or "")}
            for number, one in new.items()
        }

    async def _take_up(self, noted: Sequence[tuple[int, str, Field]]) -> dict[str, str]:
        """Remove the waiting files of dialogues that are noted in the store. From then on they wait for their host.
        Return what became of each file, by trace id. Raise StoreUnavailable, InboxError."""
        if not noted:
            return {}
        async with self._delivery.paused([number for number, _, _ in noted]):
            own = await self._store.shards_of([trace_id for _, trace_id, _ in noted])
            files = await self._delivery.for_a_client(self._delivery.inbox.take_back, own)
        for number, trace_id, field in noted:
            self.waiting[number] = trace_id, field
        return files

    def _expect(self, dialogs: Sequence[int]) -> dict[int, asyncio.Future[dict[str, Any]]]:
        loop = asyncio.get_running_loop()
        ends = {number: loop.create_future() for number in dialogs}
        for number, end in ends.items():
            self._ends.setdefault(number, []).append(end)
        return ends

    def _expect_no_more(self, ends: Mapping[int, asyncio.Future[dict[str, Any]]]) -> None:
        for number, end in ends.items():
            others = [other for other in self._ends.pop(number, ()) if other is not end]
            if others:
                self._ends[number] = others

    def _told(
        self, one: Candidate, end: asyncio.Future[dict[str, Any]], taken: Mapping[int, dict[str, Any]]
    ) -> dict[str, Any]:
        about = {"id": one.id, "state": "done", "why": None}
        result = end.result() if end.done() else {}
        if not result:
            about |= {"state": "waiting", "why": self._why_waiting(one.field or "")}
        nothing = {"lines": 0, "unknown": [], "missing": 0, "fragments": 0, "inbox": None}
        return nothing | about | taken.get(one.id, {}) | result

    def _why_waiting(self, field: Field) -> str:
        if self._lost[field] >= LOSSES:
            return LOST
        if self._able(field) is None:
            return NO_HOOK if self._hosts(field) else NO_LEO
        return "leo is dreaming" if self._dreams(field) else self._failed.get(field, "it takes long")

    def _hindrance_of_host(self, field: Field | None) -> str:
        hosts = self._hosts(field or "")
        if not hosts or self._able(field or "") is not None:
            return ""
        who = hosts[0].session
        return (
            f"cannot be taken back: session {who.number} ({who.name}) has no hook `unobserve`; "
            "upgrade dreamd-client where leo runs, and restart him"
        )

    def _hosts(self, field: Field) -> list[Dreamer]:
        """Return the sessions that feed a field."""
        return [
            dreamer for dreamer in self._engine.dreamers.values() if field and dreamer.session.field == field
        ]

    def _able(self, field: Field) -> Caller | None:
        able = [host.session for host in self._hosts(field) if Method.UNOBSERVE in host.session.provides]
        return able[0] if able else None

    def _dreams(self, field: Field) -> bool:
        return any(host.run is not None for host in self._hosts(field))

    # the work in one field

    async def _work(self, session: Caller, field: Field) -> None:
        failed: HookFailed | None = None
        try:
            while todo := self._todo(field):
                failed = await self._take_back_all(UnobserveHook(session, self._failures), todo)
                if failed is not None:
                    break
        except StoreUnavailable as error:
            self._failures.count("store", error.reason, place="undream")
            failed = HookFailed(error.reason, ends=True)
        except Exception as error:  # noqa: BLE001 - a fault of the daemon ends only this attempt; it is counted and reported
            fault = {"message": "an undream", "exception": error}
            asyncio.get_running_loop().call_exception_handler(fault)
            failed = HookFailed(type(error).__name__, ends=True)
        finally:
            self.working.pop(field, None)
            self._engine.dialogues.undreamt.discard(field)
            self._account(field, failed)
        self._engine.resume_all()

    def _todo(self, field: Field) -> list[int]:
        return [n for n, (_, of) in self.waiting.items() if of == field and n not in self._held]

    async def _take_back_all(self, hook: UnobserveHook, todo: Sequence[int]) -> HookFailed | None:
        """Take these dialogues back. Return the failure of one, if there was any. The others are tried all the same, if
        that is of use."""
        failed = None
        for number in todo:
            if number not in self.waiting or number in self._held:  # forgotten meanwhile
                continue
            self._in_work.add(number)
            try:
                await self._take_back(hook, number)
            except HookFailed as error:
                failed = error
                self._end(number, {})
                if error.ends:
                    break
            finally:
                self._in_work.discard(number)
        return failed

    async def _take_back(self, hook: UnobserveHook, number: int) -> None:
        trace_id, field = self.waiting[number]
        lines = await self._store.lines_to_undo(number)
        if lines is None:  # forgotten before it was taken up, or by a request that was cut short
            self.waiting.pop(number, None)
            self._end(number, FORGOTTEN)
            return
        about = {"kind": "undream", "dialog": number, "trace_id": trace_id, "field": field}
        for line in lines:
            what = Raw(line.added) if line.added else line.text
            removal = await hook.unobserve(what, about | {"turn": line.turn}) if what else Removal(False)
            how: Literal["done", "unknown"] = "done" if removal.undone else "unknown"
            await self._store.line_undone(number, line.turn, how, int(removal.missing))
            self._lost.pop(field, None)
        # All is recorded, so the host need not know its lines any more.
        await hook.unobserve(None, about | {"turn": 0})
        at = self._clock.wall()
        result = await self._store.finish_undream(number, at)
        self._engine.reply_shares.take_back([number])
        self.waiting.pop(number, None)
        self._events.publish(
            {"type": "dialog.undone", "at": at, "dialog": number, "trace_id": trace_id, **result}
        )
        self._end(number, result)

    def _account(self, field: Field, failed: HookFailed | None) -> None:
        """Note how the work in a field ended. After a failure there is a pause, but not after the first lost
        connection: the next session goes on at once."""
        if failed is None:
            for known in (self._pauses, self._failed, self._lost):
                known.pop(field, None)
        else:
            first, pause = field not in self._pauses, self._pauses.setdefault(field, Pause())
            self._failed[field] = failed.reason
            self._lost[field] += failed.lost
            if not (first and failed.lost):
                pause.failed(self._clock.monotonic())
        for number, (_, of) in list(self.waiting.items()):
            if of == field and failed is not None:
                self._end(number, {})

    def _end(self, number: int, result: dict[str, Any]) -> None:
        for end in self._ends.pop(number, ()):
            if not end.done():
                end.set_result(result)
