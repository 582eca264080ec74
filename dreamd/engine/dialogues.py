"""The dialogues of a daemon: the running ones, each a task, and those that are suspended until their client is back."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from dreamclient.messages import Method
from msgspec import Struct, field

import dreamd
from dreamd.clock import Clock
from dreamd.dream.clients import Clients
from dreamd.dream.dialogue import Result
from dreamd.dream.model import Context
from dreamd.dream.outcomes import INTERRUPTED, NOT_OF_THE_CLIENT, SUSPENDED, Outcome
from dreamd.dream.trial import Trial
from dreamd.engine.dialogue_run import DialogueRun
from dreamd.engine.events import Events
from dreamd.engine.friend_state import FriendState
from dreamd.engine.reply_shares import ReplyShares
from dreamd.engine.session_hooks import Caller, Latency, SessionHooks
from dreamd.errors import StoreUnavailable, Unreadable
from dreamd.failures import Failures
from dreamd.settings import Settings
from dreamd.store.file.late_calls import LateCalls
from dreamd.store.records import Finish, OpenDialog
from dreamd.store.store import Store

GO_ON_TIMES = 2  # how often a dialogue may go on: the third interruption ends it
GO_ON_S = 86400.0  # from its beginning: an older dialogue does not go on
WAITING = 64  # suspended dialogues; if there are more, the oldest end
HOOKS_OF_A_DREAM = frozenset({Method.GENERATE, Method.OBSERVE})
LOSSES = 3  # in a row: from then on a client that is lost before its first line is paused like a mute one


class Dreamer(Struct):
    """The state of one session that has said hello."""

    session: Caller
    name: str  # of its last hello
    latest: Context | None = None
    latest_at_s: float = 0.0  # monotonic
    run: DialogueRun | None = None
    trial: Trial = field(default_factory=Trial)

    @property
    def has_hooks(self) -> bool:
        """True if it provides the hooks of a dream."""
        return self.session.provides >= HOOKS_OF_A_DREAM


class Ending(NamedTuple):
    """The outcome of a dialogue, or that it is suspended, its number of lines, and whether they were fed."""

    outcome: str
    lines: int
    fed: bool = True


def may_go_on(dialog: OpenDialog, now_s: float) -> bool:
    """Return whether a suspended dialogue may go on: it began less than a day ago with this version, and its field is
    known. If the clock was wrong when it began, that is not known."""
    young = abs(now_s - dialog.started_at) < GO_ON_S
    return young and dialog.field is not None and dialog.version == dreamd.__version__


def may_be_suspended(dialog: OpenDialog, interrupted_in: str, now_s: float) -> bool:
    """Return whether an interrupted dialogue waits for its client. It does not at the third interruption, nor at the
    second one in one hook call, which may have crashed the client."""
    often = dialog.interruptions >= GO_ON_TIMES or dialog.interrupted_in == interrupted_in
    return not often and may_go_on(dialog, now_s)


class Dialogues:
    """The dialogues, which it begins, suspends, resumes and ends. `is_over` is called when one has ended or is
    suspended, because its file may have to be delivered."""

    def __init__(
        self,
        store: Store,
        friend: FriendState,
        shares: ReplyShares,
        clients: Clients,
        clock: Clock,
        failures: Failures,
        events: Events,
        chance: random.Random,
        is_over: Callable[[], None],
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.latency = Latency()
        self.running: dict[int, tuple[DialogueRun, asyncio.Task[Ending]]] = {}
        self.suspended: dict[int, OpenDialog] = {}
        self.next_dialog = 1
        self.holding = asyncio.Lock()  # of hold.hold_dialogues; while it is locked, none begins or goes on
        self.undreamt = set[str]()  # fields out of which a dream is being taken back: none begins there
        self._store = store
        self._late = LateCalls(lambda: self.is_over())
        self._friend = friend
        self._shares = shares
        self._clients = clients
        self._clock = clock
        self._failures = failures
        self._events = events
        self._chance = chance
        self.is_over = is_over

    def begin(
        self, dreamer: Dreamer, ctx: Context, at: float, settings: Settings, drawn: float | None = None
    ) -> tuple[int, asyncio.Task[Ending]]:
        """Begin a dialogue of this session from `ctx`."""
        dialog, self.next_dialog = self.next_dialog, self.next_dialog + 1
        about = OpenDialog(
            id=dialog,
            trace_id=f"dream-{int(at)}-{dialog}-{self._chance.getrandbits(32):08x}",
            client=dreamer.name,
            field=dreamer.session.field or None,
            version=dreamd.__version__,
            started_at=at,
            fed=settings.dialogue.feed,
        )
        return dialog, self._start(dreamer, about, ctx, settings, drawn)

    def resume(self, dreamer: Dreamer, settings: Settings) -> OpenDialog | None:
        """Go on with the oldest suspended dialogue of this session's name and field, and return it, or None."""
        if (
            self.holds(dreamer)
            or dreamer.run is not None
            or not dreamer.has_hooks
            or self._clients[dreamer.name].running
        ):
            return None
        now_s, mine = self._clock.wall(), (dreamer.name, dreamer.session.field)
        for dialog in self.suspended.values():
            if (dialog.client, dialog.field) == mine and may_go_on(dialog, now_s):
                del self.suspended[dialog.id]
                self._start(dreamer, dialog, Context(prompt="", reply=""), settings, None)
                return dialog
        return None

    async def recover(self) -> None:
        """Suspend dialogues that a crash interrupted, and end those that have waited too long. Raise
        StoreUnavailable."""
        now_s = self._clock.wall()
        found = await self._store.open_dialogs()
        # The row of a dialogue whose call is late is about to change.
        known = (self.running, self.suspended, self._late)
        for dialog in [d for d in found if not any(d.id in those for those in known)]:
            if not dialog.suspended and not may_be_suspended(dialog, dialog.at, now_s):
                await self._leave(dialog)
                continue
            if not dialog.suspended:
                await self._store.suspend(dialog.id, dialog.at)
            self._wait_for_client(dialog if dialog.suspended else dialog.interrupted(dialog.at))
        waiting = list(self.suspended.values())
        beyond = waiting[: max(0, len(waiting) - WAITING)]
        for dialog in waiting:
            if dialog.id in self.suspended and (dialog in beyond or not may_go_on(dialog, now_s)):
                await self._leave(dialog)

    @property
    def due(self) -> bool:
        """True if a suspended dialogue has waited too long, or too many wait."""
        now_s = self._clock.wall()
        late = any(not may_go_on(dialog, now_s) for dialog in self.suspended.values())
        return late or len(self.suspended) > WAITING

    def holds(self, dreamer: Dreamer) -> bool:
        """Return whether no dialogue of this session may begin or go on: something is changed beside which none may
        run."""
        return self.holding.locked() or dreamer.session.field in self.undreamt

    @property
    def may_all_be_suspended(self) -> bool:
        """True if each of the running dialogues would go on after an interruption."""
        now_s = self._clock.wall()
        runs = [run for run, _ in self.running.values()]
        return all(may_be_suspended(run.about, run.hooks.at, now_s) for run in runs)

    async def friend_changed(self, patience_s: float) -> None:
        """Wait for changes of the friend whose caller has gone, at most `patience_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._friend.close(), patience_s)

    async def interrupt(self, outcome: Outcome) -> None:
        """Cancel the pending hook calls, and wait for the end of their dialogues."""
        for run, _ in self.running.values():
            run.hooks.abandon(outcome)
        if running := [task for _, task in self.running.values()]:
            await asyncio.wait(running)  # it cancels no dialogue if the caller is cancelled

    # one dialogue

    def _start(
        self, dreamer: Dreamer, about: OpenDialog, ctx: Context, settings: Settings, drawn: float | None
    ) -> asyncio.Task[Ending]:
        hooks = SessionHooks(
            dreamer.session,
            about.id,
            about.trace_id,
            settings.dialogue,
            self._clock,
            self._failures,
            self.latency,
        )
        dreamer.run = run = DialogueRun(
            about=about,
            ctx=ctx,
            session=dreamer.session,
            hooks=hooks,
            settings=settings,
            store=self._store,
            late=self._late,
            shares=self._shares,
            clients=self._clients,
            clock=self._clock,
            failures=self._failures,
            events=self._events,
            chance=self._chance,
        )
        self._clients[about.client].begin(about.id, about.started_at)
        task = asyncio.get_running_loop().create_task(self._dream(dreamer, run, drawn))
        self.running[about.id] = run, task
        return task

    async def _dream(self, dreamer: Dreamer, run: DialogueRun, drawn: float | None) -> Ending:
        result, ending = Result("store_error", []), Ending("store_error", 0)
        end = None
        try:
            result = await run.perform(self._friend.friend)
            outcome = "left" if result.outcome in INTERRUPTED else result.outcome
            ending = Ending(outcome, len(result.lines), run.about.fed)
            if run.begun:
                ending, end = await self._conclude(run, result, ending)
        except StoreUnavailable as error:
            self._failures.count("store", error.reason, place="finish")
        except Exception as error:  # noqa: BLE001 - a fault of the daemon ends only this dialogue; it is counted and reported
            self._failures.count("engine", type(error).__name__)
            fault = {"message": "a dialogue", "exception": error, "counted": True}
            asyncio.get_running_loop().call_exception_handler(fault)
        finally:
            run.hooks.close()
            dreamer.run = None
            self._account(run, result, drawn, suspended=ending.outcome == SUSPENDED)
            self._clients.end(run.about.client, run.about.id, keep=ending.outcome == SUSPENDED)
            self._tell_end(run, ending, end)
            del self.running[run.about.id]
            self.is_over()  # its file, or its end in the store, may be pending
        return ending

    async def _conclude(
        self, run: DialogueRun, result: Result, ending: Ending
    ) -> tuple[Ending, Finish | None]:
        """Suspend an interrupted dialogue if it may go on. Store the end of any other."""
        at = run.hooks.at
        if result.outcome in INTERRUPTED and may_be_suspended(run.about, at, self._clock.wall()):
            try:
                suspend = self._store.suspend(run.about.id, at)
                await self._late.answer(run.about.id, suspend, run.settings.dialogue.call_deadline_s)
                self._wait_for_client(run.about.interrupted(at))
            except StoreUnavailable as error:  # it has not ended: `recover` suspends it
                self._failures.count("store", error.reason, place="suspend")
            return ending._replace(outcome=SUSPENDED), None
        return ending, await self._finish(run, result, ending.outcome)

    async def _finish(self, run: DialogueRun, result: Result, outcome: str) -> Finish:
        """Store the end and the next friend in one transaction, which goes on even if this stops waiting."""
        signals = self._clients[run.about.client].signals
        end = Finish(
            at=self._clock.wall(),
            outcome=outcome,
            ended_by=run.hooks.failed or None,
            lines=result.lines,
            observed=run.observed,
            added=run.added,
            recalled=run.recalled,
            fed=run.about.fed,
            signals={run.about.client: signals.take()},
        )
        try:
            ending, patience_s = self._end(run.about.id, end), run.settings.dialogue.call_deadline_s
            return await self._late.answer(run.about.id, ending, patience_s)
        except StoreUnavailable:
            signals.changed = True
            raise

    async def _end(self, dialog: int, end: Finish) -> Finish:
        finished = await self._friend.finish(dialog, end)
        self.outcomes[end.outcome] += 1
        return finished

    async def _leave(self, dialog: OpenDialog) -> None:
        """End a dialogue whose client did not come back, or whose record is incomplete. Its lines are kept."""
        self.suspended.pop(dialog.id, None)
        script = None
        with suppress(Unreadable):
            script = await self._store.script(dialog.id)
        lines = script.lines if script else []
        end = Finish(at=self._clock.wall(), outcome="left", lines=lines, fed=dialog.fed)
        try:
            await self._end(dialog.id, end)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - counted and logged by the loop's handler; the others still end
            fault = {"message": "the end of a dialogue", "exception": error}
            asyncio.get_running_loop().call_exception_handler(fault)
        self._clients.end(dialog.client, dialog.id)

    def _wait_for_client(self, dialog: OpenDialog) -> None:
        """Keep a suspended dialogue, and its cooldown reserved."""
        self.suspended[dialog.id] = dialog
        self._clients[dialog.client].reserved[dialog.id] = dialog.started_at

    def _tell_end(self, run: DialogueRun, ending: Ending, end: Finish | None) -> None:
        if ending.outcome == SUSPENDED:
            run.tell("dialog.suspended", lines=ending.lines)
            return
        change = end.change if end else None
        run.tell(
            "dialog.finished",
            outcome=ending.outcome,
            lines=ending.lines,
            fed=ending.fed,
            drift=end.drift if end else None,
            admitted=[fragment.text for fragment in change.added] if change else [],
        )

    def _account(self, run: DialogueRun, result: Result, drawn: float | None, *, suspended: bool) -> None:
        """Note what the end of a dialogue shows of its client. If the client was lost before a line and the dialogue
        does not go on, its context is delivered once more, but not after a second loss in a row. From the third loss
        on, each doubles the pause, until a dialogue ends in another way."""
        named, now_s = self._clients[run.about.client], self._clock.monotonic()
        if result.outcome == "lost" and not result.spoke:
            named.lost += 1
            if named.lost >= LOSSES:
                named.came_back(False, now_s)
            elif named.lost == 1 and drawn is not None and not suspended:
                named.keep(run.ctx, drawn, now_s)
        elif result.outcome == "lost":
            named.lost = 0
        elif result.outcome not in NOT_OF_THE_CLIENT:
            named.lost = 0
            named.came_back(result.spoke, now_s)
