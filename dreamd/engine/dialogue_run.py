"""One running dialogue: it performs each effect that `dream/dialogue.py` asks for."""

import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from dreamclient.messages import ADDED_BYTES, SHOWN_MEASURES, Method
from msgspec import Struct, field

from dreamd.clock import Clock
from dreamd.dream.clients import Clients
from dreamd.dream.dialogue import (
    Dialogue,
    Effect,
    Ended,
    Generate,
    Observe,
    Recall,
    Record,
    Result,
    speak_dialogue,
    with_metrics,
)
from dreamd.dream.draws import Draws
from dreamd.dream.friend import Friend
from dreamd.dream.model import Context, Line, LineMetrics
from dreamd.dream.replay import Differs, resume_dialogue
from dreamd.engine.events import Events
from dreamd.engine.reply_shares import ReplyShares
from dreamd.engine.session_hooks import Caller, SessionHooks
from dreamd.errors import StoreUnavailable, Unreadable
from dreamd.failures import Failures
from dreamd.settings import Settings
from dreamd.store.file.late_calls import LateCalls
from dreamd.store.records import Charge, NewDialog, Observed, OpenDialog
from dreamd.store.store import Store

NIL = b"\xc0"  # of MessagePack

T = TypeVar("T")


class DialogueRun(Struct):
    """A dialogue with `session` from `ctx`, or one that goes on. `observed`, `added` and `recalled` are filled as it
    runs. `about.client`: the session's name when it began, which a later hello may change."""

    about: OpenDialog
    ctx: Context
    session: Caller
    hooks: SessionHooks
    settings: Settings
    store: Store
    late: LateCalls
    shares: ReplyShares
    clients: Clients
    clock: Clock
    failures: Failures
    events: Events
    chance: random.Random
    observed: dict[int, Observed] = field(default_factory=dict)
    added: dict[int, bytes] = field(default_factory=dict)
    recalled: list[str] = field(default_factory=list)
    unkept: bool = False  # an answer of a hook could not be stored
    begun: bool = False  # it is in the store, so it has to be finished there

    async def perform(self, friend: Friend) -> Result:
        """Speak the lines, and return the result. A failure is counted and becomes the outcome, and is not raised."""
        try:
            speaking, effect = await (self._resume() if self.about.interruptions else self._begin(friend))
        except Ended as ended:
            return Result(ended.outcome, [])
        try:
            while not isinstance(effect, Result):
                try:
                    answer = await self._do(effect)
                except Ended as ended:
                    effect = speaking.throw(ended)
                else:
                    effect = speaking.send(answer)
        except StopIteration as stop:
            effect = stop.value
        return effect

    async def _do(self, effect: Effect) -> Any:
        match effect:
            case Generate():
                if self.unkept:  # after a crash the line could not be asked for in the same way (P13)
                    raise Ended("store_error")
                return await self.hooks.generate(effect)
            case Record(line):
                await self._record(line)
            case Observe(line):
                return await self._observe(effect, line)
            case Recall(query, n):  # pragma: no branch - there is no other
                self.recalled = (await self.hooks.recall(query, n))[:n]
                await self._note("recall", self.store.recalled(self.about.id, self.recalled))
                return self.recalled
        return None

    async def _begin(self, friend: Friend) -> tuple[Dialogue, Effect | Result]:
        rng_seed = self.chance.getrandbits(63)  # SQLite's integers are signed
        new = NewDialog(
            id=self.about.id,
            trace_id=self.about.trace_id,
            session=self.session.number,
            client=self.about.client,
            field=self.about.field,
            version=self.about.version or "",
            started_at=self.about.started_at,
            rng_seed=rng_seed,
            context=msgspec.json.encode(self.ctx),
            settings=msgspec.json.encode(self.settings.dialogue),
            friend_state=msgspec.msgpack.encode([(f.id, f.weight) for f in friend.fragments]),
            fed=self.about.fed,
        )
        await self._kept("begin", self.store.begin(new))
        self.begun = True
        self.tell("dialog.started", session=self.session.number, client=self.about.client)
        speaking = speak_dialogue(
            self.ctx, friend, Draws(rng_seed), self.settings.dialogue, can_recall=self._can_recall
        )
        return speaking, next(speaking)

    async def _resume(self) -> tuple[Dialogue, Effect | Result]:
        """Continue a suspended dialogue from its seed and the recorded answers. If that is not possible, it ends as
        `left`."""
        try:
            script = await self._kept("resume", self.store.resume(self.about.id, self.session.number))
        except Unreadable:
            script = None
        self.begun = True
        if script is None:
            raise Ended("left")
        self.recalled = script.recalled or []
        self.settings = msgspec.structs.replace(self.settings, dialogue=script.settings)
        self.hooks.settings = script.settings
        self.tell("dialog.resumed", session=self.session.number, client=self.about.client)
        try:
            return resume_dialogue(script, can_recall=self._can_recall)
        except Differs:
            self.failures.count("engine", "suspended dialogue differs")
            raise Ended("left") from None

    @property
    def _can_recall(self) -> bool:
        return Method.RECALL in self.session.provides

    async def _record(self, line: Line) -> None:
        """Record a line before it is observed (P2), and with the first line the start of the cooldown."""
        about, charge = self.about, None
        if line.turn == 1:
            # A resumed dialogue may be older than the last one of this client.
            at = max(about.started_at, self.clients[about.client].last_run_s or 0.0)
            charge = Charge(about.client, at, tuple(self.clients.forgotten))
        kept = self.store.record(about.id, line, self.clock.wall(), charge=charge, fed=about.fed)
        await self._kept("record", kept)
        if charge is not None:
            self.clients.charged(charge.client, charge.at, charge.forget)
        self.tell("line", **{name: getattr(line, name) for name in _LINE_EVENT})

    async def _observe(self, effect: Observe, line: Line) -> LineMetrics | None:
        """Observe a line, and store the answer before the next line is asked for (P13). A line that is not to be fed
        never leaves the daemon."""
        if not self.about.fed:
            return None
        self.observed[line.turn] = "failed"
        heard = await self.hooks.observe(effect)
        how: Observed = "refused" if heard and heard.taken is False else "answered"
        self.observed[line.turn] = how
        final = with_metrics(line, heard) if heard else line
        brought = None
        if how == "answered":
            about = self.about
            brought = self.shares.of_line(about.field or about.client, about.id, line.text)
        added = bytes(heard.added) if heard else b""
        if len(added) > ADDED_BYTES:
            self.failures.count(Method.OBSERVE, "too much added", place=f"session {self.session.number}")
        elif added and added != NIL:
            self.added[line.turn] = added
        kept = self.store.observed(self.about.id, final, how, brought, self.added.get(line.turn))
        await self._note("observe", kept)
        return heard

    async def _note(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        """Store a hook's answer at once, so that a crash does not lose it. If this fails, the end of the dialogue
        stores it, and no line is asked for with it."""
        try:
            await self._kept(what, work)
        except Ended:
            self.unkept = True

    async def _kept(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Wait for the store as long as for a hook. Raise Ended if it takes longer, though it may still finish."""
        try:
            return await self.late.answer(self.about.id, work, self.settings.dialogue.call_deadline_s)
        except StoreUnavailable as error:
            self.failures.count("store", error.reason, place=what)
            raise Ended("store_error") from None

    def tell(self, kind: str, **what: Any) -> None:
        """Publish an event of this dialogue."""
        self.events.publish(
            {
                "type": kind,
                "at": self.clock.wall(),
                "dialog": self.about.id,
                "trace_id": self.about.trace_id,
                **what,
            }
        )


_LINE_EVENT = (
    "turn", "speaker", "text", *SHOWN_MEASURES, "overlap", "temperature",
    "semantic_weight", "expert",
)  # fmt: skip
