"""The engine: it decides on contexts and runs dialogues. It is the only bridge from `dream/` to the world.

A decision is made at once and from memory. A dialogue is a task. After its end the friend, which is a value, is
replaced by the next one as soon as the store has it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from dreamclient.messages import DECISIONS, Code

from dreamd.clock import Clock
from dreamd.dream.gate import Decision, Gate, Reason
from dreamd.dream.measures import ContextWords
from dreamd.dream.model import Context
from dreamd.engine.decisions import Decisions
from dreamd.engine.delivery import Delivery
from dreamd.engine.dialogues import Dialogues, Dreamer
from dreamd.engine.events import Events
from dreamd.engine.friend_state import FriendState
from dreamd.engine.pause import DreamPause
from dreamd.engine.pending import Pending
from dreamd.engine.reply_shares import ReplyShares
from dreamd.engine.session_hooks import Caller
from dreamd.engine.trials import Trials
from dreamd.errors import Refusal, StoreUnavailable
from dreamd.failures import Failures
from dreamd.settings import Settings
from dreamd.store.file.health import UNANSWERED
from dreamd.store.records import Memory, OpenDialog
from dreamd.store.store import Store

# How long `dream.now` waits for the dream's file, usually milliseconds: its caller may look for it.
DELIVERY_S = 0.25


class Engine:
    """The dreams of one daemon. All its sessions share one `friend`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        friend: FriendState,
        delivery: Delivery,
        gate: Gate,
        clock: Clock,
        failures: Failures,
        events: Events,
        chance: random.Random,
    ) -> None:
        self.settings = settings
        self.gate = gate
        self.clients = gate.clients
        self.resources_reason: str | None = None  # a resource that the process lacks, as the tick found
        self.unanswered = False  # the database or the inbox did not answer in time
        self.decisions = Decisions(store, failures)
        self.reasons = self.decisions.reasons
        self._store = store
        self._friend = friend
        self._delivery = delivery
        self._clock = clock
        self._failures = failures
        self._events = events
        self._chance = chance
        self.dreamers: dict[int, Dreamer] = {}
        self._loaded = False
        self._closing = False
        self.reply_shares = ReplyShares(store, friend, failures)
        self.pending = Pending(self._complete, self._is_due, clock, failures)
        self.dialogues = Dialogues(
            store, friend, self.reply_shares, gate.clients, clock, failures, events, chance, self._is_over
        )
        self.trials = Trials(store, friend, self.dialogues, clock, failures)
        self.pause = DreamPause(store, self.dialogues, clock, self.resume_all)

    # start and end

    async def load(self) -> None:
        """Load the store, if it can be read and was not loaded yet. Raise StoreUnavailable."""
        if self._store.unavailable_reason is None and not self._loaded:
            memory, unfinished = await self._friend.load(), await self._store.open_dialogs()
            self._take_up(memory, unfinished, await self._store.decisions(DECISIONS))

    def _take_up(
        self, memory: Memory, unfinished: Iterable[OpenDialog], decisions: Sequence[Decision]
    ) -> None:
        if not self._loaded:  # the start may have loaded it meanwhile
            for dialog in unfinished:  # keep their cooldowns until it is known whether they go on
                self.clients[dialog.client].reserved[dialog.id] = dialog.started_at
            self.clients.load(memory.last_run, memory.signals)
            self.dialogues.outcomes = Counter(memory.outcomes)
            self.dialogues.next_dialog = memory.next_dialog
            self._delivery.dropped = memory.dropped
            self.pause.take_up(memory.pause)
            self.decisions.restore(reversed(decisions))
            self._loaded = True

    async def _complete(self) -> bool:
        """Load the store, end interrupted dialogues, deliver the files, tidy the inbox. Return whether all is done."""
        await self.load()
        if self._store.unavailable_reason is not None:
            return False
        await self.reply_shares.load()
        await self.pause.note_end()
        await self.dialogues.recover()
        self.resume_all()
        delivered = await self._delivery.deliver()
        if delivered:
            await self._delivery.tidy()
        return delivered

    def _is_over(self) -> None:
        """Handle the end or the suspension of a dialogue. Its client may be back already. All other work is pending, as
        it may have to wait for the inbox."""
        self.resume_all()
        self.pending.add()

    def _is_due(self) -> bool:
        loaded = self._loaded and self.reply_shares.loaded
        return not loaded or self._delivery.due or self.dialogues.due or self.pause.due

    async def close(self) -> None:
        """Interrupt the dialogues. A later daemon continues them, or they end and are delivered."""
        self._closing = True
        await self.dialogues.interrupt("shutdown")
        await self._friend.close()
        await self.keep_heard()
        await self.pending.attempt()

    async def keep_heard(self) -> None:
        """Store the decisions and the signals of contexts since the last time, for the next daemon. If there is nothing
        new, write nothing."""
        if self._loaded:
            await self.decisions.save()
            await self.reply_shares.save()
            await self.trials.save()
            await self._keep_signals()

    async def _keep_signals(self) -> None:
        changed = dict(self.clients.changed())
        if not changed or self._store.unavailable_reason:
            return
        kept = {name: signals.take() for name, signals in changed.items()}
        try:
            await self._store.keep_signals(kept, self._clock.wall())
        except StoreUnavailable as error:
            self._failures.count("store", error.reason, place="signals")
            for signals in changed.values():  # they are stored the next time
                signals.changed = True

    @property
    def unavailable_reason(self) -> str | None:
        """The reason for which no dream can be kept now, or None."""
        if self._closing:
            return "stopping"
        if self._store.unavailable_reason or self._loaded:
            return self._store.unavailable_reason or (UNANSWERED if self.unanswered else None)
        return "starting"

    @property
    def is_paused(self) -> bool:
        """True while no dream may begin by itself."""
        return self.pause.left_s is not None

    @property
    def is_hindered(self) -> bool:
        """True if pending work cannot be done now. The tick retries it at once when this has ended."""
        return bool(self._store.unavailable_reason or self.unanswered or self._delivery.unwritable_reason)

    @property
    def degraded_reason(self) -> str | None:
        """The reason for which the daemon is degraded, as a word that docs/guides/troubleshooting.md lists, or None."""
        return self.resources_reason or self.unavailable_reason or self._delivery.undelivered_reason

    @property
    def doing(self) -> str:
        """The daemon's activity in a few words, for `systemctl status`."""
        if self.degraded_reason:
            return f"degraded: {self.degraded_reason}"
        if self.dialogues.running:
            sessions = sorted(run.session.number for run, _ in self.dialogues.running.values())
            return f"dreaming with session {', '.join(map(str, sessions[:8]))}"
        if self.is_paused:
            return "paused"
        return "waiting for leo" if not self.dreamers else f"{len(self.dreamers)} connected"

    def change_settings(self, settings: Settings) -> list[str]:
        """Apply new settings from the next decision on. Return the names of the groups that need a restart."""
        later = [
            name
            for name in ("inbox", "store", "log")
            if getattr(settings, name) != getattr(self.settings, name)
        ]
        kept = {name: getattr(self.settings, name) for name in later}
        self.settings = msgspec.structs.replace(settings, **kept)
        self._friend.settings = self.settings.friend
        self.gate.settings = self.settings.gate
        return later

    # sessions

    def join(self, session: Caller) -> None:
        """Add a session that has said hello. If a dialogue is suspended for it, go on with that. Otherwise decide on
        the context that is kept for its name, with the draw that was made for it. The context is not kept again,
        because a client that crashes on it would crash at each start."""
        if session.number in self.dreamers:
            self.clients.leave(self.dreamers[session.number].name)
        dreamer = self.dreamers.setdefault(session.number, Dreamer(session, session.name))
        dreamer.name = session.name
        self.clients.join(session.name)
        if self._resume(dreamer):
            return
        held = self.is_paused or self.dialogues.holds(dreamer)  # then it is kept on
        may_dream = dreamer.has_hooks and not held
        kept = self.clients[session.name].take(self._clock.monotonic()) if may_dream else None
        if kept is not None:
            # If its dialogue is lost too, that is at least the second loss: the context is not kept again.
            self.clients[session.name].lost = max(1, self.clients[session.name].lost)
            drawn = kept.drawn
            draw = self._chance.random if drawn is None else lambda: drawn
            self._decide(dreamer, kept.ctx, draw, is_new=False)

    def resume_all(self) -> None:
        """Go on with what is suspended, in each session that may dream."""
        for dreamer in self.dreamers.values():
            self._resume(dreamer)

    def _resume(self, dreamer: Dreamer) -> bool:
        """Go on with a dialogue that is suspended for this session, if there is one and dreams can be kept. Return
        whether there is."""
        if self.unavailable_reason or self.is_paused or not self.gate.settings.enabled:
            return False
        dialog = self.dialogues.resume(dreamer, self.settings)
        if dialog is not None:
            self._note_begun("resumed", dreamer, dialog.id, fed=dialog.fed)
        return dialog is not None

    def leave(self, number: int) -> None:
        """Remove a closed session. Its dialogue, if one runs, ends by itself."""
        dreamer = self.dreamers.pop(number, None)
        if dreamer is not None:
            if dreamer.run is not None:
                about = dreamer.run.about
                self.clients[about.client].running.discard(about.id)
            self.clients.leave(dreamer.name)

    def dreamer(self, number: int) -> Dreamer | None:
        """Return the state of a session that has said hello, or None."""
        return self.dreamers.get(number)

    # decisions

    def offer(self, session: Caller, ctx: Context) -> Decision:
        """Decide on a new context, and start its dialogue if leo is to dream. Never blocks."""
        dreamer = self.dreamers[session.number]
        decision = self._decide(dreamer, ctx, self._chance.random, is_new=True)
        self.trials.add(dreamer, ctx, decision, feeds=self.settings.dialogue.feed)
        return decision

    def _decide(self, dreamer: Dreamer, ctx: Context, draw: Callable[[], float], *, is_new: bool) -> Decision:
        session, now, now_s = dreamer.session, self._clock.wall(), self._clock.monotonic()
        dreamer.latest, dreamer.latest_at_s = ctx, now_s
        words = ContextWords(ctx.prompt, ctx.reply, self._friend.overlap)
        decision = self.gate.decide(
            ctx,
            dreamer.name,
            at=now,
            now_s=now_s,
            is_new=is_new,
            has_hooks=dreamer.has_hooks,
            busy=dreamer.run is not None or self.dialogues.holds(dreamer),
            degraded=self.unavailable_reason is not None,
            draw=draw,
            overlap=words.overlap,
            paused_left_s=self.pause.left_s,
        )
        decision.session = session.number
        if is_new:
            name = session.field or dreamer.name
            decision.from_dreams = self.reply_shares.of_reply(name, words.reply, now)
        if decision.dream:
            decision.dialog, _ = self.dialogues.begin(dreamer, ctx, now, self.settings, decision.drawn)
            decision.fed = self.settings.dialogue.feed
        self._note(decision)
        return decision

    async def dream_now(self, caller: Caller, ctx: Context | None, number: int | None) -> dict[str, Any]:
        """Start a dialogue past every gate, and wait for its end. Raise Refusal."""
        dreamer = self._who_dreams(caller, number)
        if dreamer.run is not None:
            raise Refusal(Code.BUSY, f"session {dreamer.session.number} is dreaming already; try again later")
        if self.dialogues.holds(dreamer):
            raise Refusal(
                Code.BUSY, "the friend, the past or leo's field is being changed; try again when that is done"
            )
        if self.unavailable_reason:
            raise Refusal(Code.UNAVAILABLE, f"no dream can be kept now: {self.unavailable_reason}")
        ctx = ctx or dreamer.latest or Context(prompt="", reply="")
        dreamer.trial.spoil()
        dialog, task = self.dialogues.begin(dreamer, ctx, self._clock.wall(), self.settings)
        self._note_begun("asked", dreamer, dialog, fed=self.settings.dialogue.feed)
        ending = await asyncio.shield(task)
        await self.pending.wait_idle(DELIVERY_S)
        answer = {"dialog": dialog, "outcome": ending.outcome, "lines": ending.lines}
        return answer if ending.fed else {**answer, "fed": False}

    def why(self, n: int) -> list[Decision]:
        """Return the last n decisions, newest first."""
        return self.decisions.newest(n)

    def _note_begun(self, reason: Reason, dreamer: Dreamer, dialog: int, *, fed: bool) -> None:
        """Note that a dialogue began, or goes on, without a decision."""
        at, session = self._clock.wall(), dreamer.session
        self._note(
            Decision(
                at=at,
                dream=True,
                reason=reason,
                client=dreamer.name,
                session=session.number,
                dialog=dialog,
                fed=fed,
            )
        )

    def _note(self, decision: Decision) -> None:
        self.decisions.add(decision)
        self._events.publish({"type": "decision", "at": decision.at, "decision": decision})

    def _who_dreams(self, caller: Caller, number: int | None) -> Dreamer:
        if number is not None:
            named = self.dreamers.get(number)
            if named is None or not named.has_hooks:
                what = "no session" if named is None else "no generate and observe in session"
                raise Refusal(Code.NO_HOOKS, f"{what} {number}; `dreamctl status` lists the sessions")
            return named
        own = self.dreamers[caller.number]
        able = [own] if own.has_hooks else [d for d in self.dreamers.values() if d.has_hooks]
        if not able:
            raise Refusal(Code.NO_HOOKS, "leo is not running: no session provides generate and observe")
        return max(able, key=lambda dreamer: (dreamer.run is None, dreamer.latest_at_s))
