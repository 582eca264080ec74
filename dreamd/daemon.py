"""The daemon: build its parts, serve, and stop in order. `serve` shows all of it."""

import asyncio
import logging
import os
import random
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamd.clock import Clock
from dreamd.dream.gate import Gate
from dreamd.engine.delivery import Delivery, StoppableFiles
from dreamd.engine.engine import Engine
from dreamd.engine.events import Event, Events
from dreamd.engine.forgetting import Forgetting
from dreamd.engine.friend_state import FriendState
from dreamd.engine.undream.undreaming import Undreaming
from dreamd.errors import SettingsError, StartError, StoreError, StoreTaken, StoreUnavailable
from dreamd.failures import Failures
from dreamd.housekeeping import Housekeeping
from dreamd.inbox import Inbox, inbox_folder
from dreamd.process.exit_codes import ExitCode
from dreamd.process.state_folder import (
    DATABASE_NAME,
    LOCK_NAME,
    file_lock,
    note_embedded,
    note_end,
    owns_folder,
    state_lock,
)
from dreamd.process.systemd import Notifier
from dreamd.process.threads import Looker
from dreamd.settings import Settings
from dreamd.store.file.late_calls import answer_within
from dreamd.store.store import Store
from dreamd.wire.dispatch import Dispatcher
from dreamd.wire.handlers import CODEC, TABLE
from dreamd.wire.listener import Listener
from dreamd.wire.parts import Parts
from dreamd.wire.server import Server, session_cap
from dreamd.wire.subscriptions import Subscriptions

TICK_S = 15.0  # the interval of everything periodic: dreamd/housekeeping.py
LOAD_S = 0.5  # how long a start waits for the database to be loaded: usually milliseconds
# How long a stop waits for dialogues to end. Unfinished work is completed at the next start. A session that does not
# read takes 0.5 s more.
STOP_S = 1.5
# The events after which the daemon does something else than before, for systemd's status line.
CHANGES_OF_DOING = ("dialog.started", "dialog.resumed", "dialog.suspended", "dialog.finished")
if TYPE_CHECKING:
    from dreamd.wire.session import Session

log = logging.getLogger("dreamd")
START_LOG = "dreamd.start"  # of the one line that says where it serves


@dataclass
class Daemon:
    """One daemon: its places, its settings, and the parts that a caller may replace."""

    settings: Settings
    state_dir: Path
    # None if embedded: no listening socket, connections come through `Server.connect`.
    socket_path: Path | None
    clock: Clock = Clock()
    chance: random.Random = field(default_factory=random.SystemRandom)
    notifier: Notifier = field(default_factory=lambda: Notifier(None))
    passed: socket.socket | None = None  # the listening socket that systemd made, if any
    tick_s: float = TICK_S
    database: Path | None = None  # by default dream.sqlite3 in the state folder
    sessions: int | None = None  # the most sessions, by default as many as there are descriptors for
    locks: tuple[int, int] = field(init=False)  # the descriptors that lock the state folder
    # The descriptors that lock a database elsewhere, by lock file.
    database_locks: dict[Path, int] = field(default_factory=dict)
    lost: str = ""  # why it ended by itself: its database or folder is gone, replaced or damaged
    exit_code: int = ExitCode.STOPPED
    server: Server = field(init=False)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    reload: Callable[[Callable[[], Settings]], None] = field(init=False)  # apply new settings while it serves

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Parts]:
        """Serve during the block, which should end when `stopping` is set. Raise StartError."""
        failures = Failures(self.clock)
        _tell_of_faults(failures)
        async with AsyncExitStack() as stack:
            stack.callback(self.notifier.close)
            self.locks = stack.enter_context(state_lock(self.state_dir))
            listener = self._listener()
            if listener is None:
                note_embedded(self.locks[1])
            else:
                stack.callback(listener.close)
            stack.callback(self._unlock_databases)
            store = await stack.enter_async_context(await self._open_store())
            parts = self._build(stack, store, failures, str(listener.path) if listener else "")
            engine, server = parts.engine, self.server

            with suppress(StoreUnavailable):  # reported as trouble; the pending work loads it later
                await answer_within(engine.load(), LOAD_S)
                await answer_within(parts.undreaming.load(), LOAD_S)
            if listener is not None:
                await server.listen(listener.socket)
            stack.callback(asyncio.create_task(engine.pending.run()).cancel)
            stack.push_async_callback(self._stop, server, engine)
            stack.push_async_callback(parts.undreaming.close)
            held = partial(owns_folder, self.locks[0], self.state_dir)
            lose = partial(self._lose, f"state folder replaced ({self.state_dir})")
            housekeeping = Housekeeping(parts, listener, server, self.notifier.tell, held, lose)
            stack.callback(asyncio.create_task(housekeeping.run(self.tick_s)).cancel)
            self.reload = partial(_reload_settings, engine, failures)
            self.notifier.tell("READY=1", f"STATUS={engine.doing}")
            engine.pending.wake()
            logging.getLogger(START_LOG).info(
                "serving at %s, state in %s", parts.socket or "no socket", self.state_dir
            )
            yield parts

    def _build(self, stack: AsyncExitStack, store: Store, failures: Failures, address: str) -> Parts:
        """Build the parts in the order in which they need each other, and the server of their sessions."""
        settings, clock, events = self.settings, self.clock, Events()
        files = StoppableFiles()
        stack.callback(files.stop)
        inbox = Inbox(inbox_folder(settings.inbox, self.state_dir), settings.inbox, files=files, clock=clock)
        friend = FriendState(store, clock, settings.friend)
        delivery = Delivery(store, inbox, clock, failures, events)
        stack.callback(delivery.close)
        gate = Gate(settings.gate)
        engine = Engine(settings, store, friend, delivery, gate, clock, failures, events, self.chance)
        undreaming = Undreaming(engine, store, friend, delivery, clock, failures, events)
        days = settings.store.keep_days
        forgetting = Forgetting(store, friend, delivery, engine, undreaming, clock, failures, days)
        subscriptions = Subscriptions(clock)
        events.subscribe(subscriptions.publish)
        events.subscribe(partial(self._report_status, engine), *CHANGES_OF_DOING)
        sessions: dict[int, Session] = {}
        parts = Parts(
            clock=clock,
            failures=failures,
            events=events,
            store=store,
            friend=friend,
            inbox=inbox,
            delivery=delivery,
            engine=engine,
            forgetting=forgetting,
            undreaming=undreaming,
            subscriptions=subscriptions,
            sessions=sessions,
            socket=address,
            state_dir=self.state_dir,
            stop=self.stopping.set,
            started_s=clock.monotonic(),
            sizes=Looker("dreamd-sizes", lambda: store.sizes()),
            counts=Looker("dreamd-counts", lambda: inbox.counts()),
        )
        stack.callback(parts.close)
        dispatcher = Dispatcher(TABLE, parts)
        cap = self.sessions or session_cap()
        self.server = Server(
            dispatcher.dispatch, dispatcher.forget, failures, cap, subscriptions.taps, sessions, CODEC, clock
        )
        return parts

    def _lose(self, why: str, exit_code: ExitCode = ExitCode.LOST) -> None:
        """Stop, and report the reason on standard error, to clients and in the lock file."""
        if not self.lost:
            self.lost, self.exit_code = why, exit_code
            note_end(self.locks[1], why)
            self.stopping.set()

    def _lose_database(self, error: StoreError) -> None:
        self._lose(str(error), ExitCode.LOST if isinstance(error, StoreUnavailable) else ExitCode.DATABASE)

    def _lock_database(self, path: Path) -> None:
        """Lock a database that lies elsewhere than in the state folder. Raise StoreTaken."""
        file = path.with_name(LOCK_NAME if path.name == DATABASE_NAME else f"{path.name}.lock")
        if file not in self.database_locks and file != self.state_dir / LOCK_NAME:
            try:
                self.database_locks[file] = file_lock(file)
            except BlockingIOError:
                raise StoreTaken(
                    f"another dreamd has {path} open; end it, or name another database"
                ) from None

    def _unlock_databases(self) -> None:
        while self.database_locks:
            os.close(self.database_locks.popitem()[1])

    def _listener(self) -> Listener | None:
        return Listener(self.socket_path, self.passed, self.locks[0]) if self.socket_path else None

    async def _open_store(self) -> Store:
        try:
            store = await Store.open(
                self.state_dir / DATABASE_NAME,
                given=self.database,
                clock=self.clock,
                diagnostics=self.settings.store.diagnostics,
                replayable=self.settings.store.replay_dialogues,
                undoable=self.settings.store.undo_dialogues,
                lock=self._lock_database,
                on_lost=self._lose_database,
            )
        except StoreError as error:
            path = self.database or self.state_dir / DATABASE_NAME
            raise StartError(f"the database {path}: {error}", ExitCode.DATABASE) from None
        for note in store.notes:
            log.warning("%s", note)
        return store

    def _report_status(self, engine: Engine, _: Event) -> None:
        """Report the daemon's activity to systemd after the beginning or the end of a dialogue."""
        asyncio.get_running_loop().call_soon(lambda: self.notifier.tell(f"STATUS={engine.doing}"))

    async def _stop(self, server: Server, engine: Engine) -> None:
        """Stop accepting, interrupt running dialogues (their lines are kept), then close all sessions."""
        self.notifier.tell("STOPPING=1")
        await server.stop_listening()
        try:
            await asyncio.wait_for(engine.close(), STOP_S)
        except TimeoutError:
            log.warning("not all was done in %s s; it is completed at the next start", STOP_S)
        await server.close(self.lost)
        log.info("stopped")


def _reload_settings(engine: Engine, failures: Failures, load: Callable[[], Settings]) -> None:
    """Apply the settings that may change while serving. Count wrong ones, and those that need a restart, because a
    signal has no answer."""
    try:
        later = engine.change_settings(load())
    except SettingsError as error:
        failures.count("reload", "SettingsError")
        log.warning("not reloaded: %s", error)
        return
    for name in later:
        failures.count("reload", "restart needed", place=name)
    log.warning("settings reloaded%s", f"; a restart is needed for {', '.join(later)}" if later else "")


def _tell_of_faults(failures: Failures) -> None:
    """Have faults of the loop counted and logged by type and place only, because an exception's text may hold a
    line."""

    def tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        kind = type(error).__name__ if error else "fault"
        if not context.get("counted"):
            failures.count("daemon", kind)
        # asyncio's own message may contain the arguments of a callback: "Exception in callback f('..')".
        message = str(context.get("message")).partition("(")[0]
        log.error("%s: %s%s", message, kind, place_of(error))

    asyncio.get_running_loop().set_exception_handler(tell)


def place_of(error: BaseException | None) -> str:
    """Return where an exception was raised, such as " at file:line", or an empty string."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
