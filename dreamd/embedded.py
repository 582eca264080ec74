"""The embedded form: the daemon of `dreamd.daemon` on a thread of its host, for machines without a service.

The host must not notice it: it has no signal handlers and no listener, prints nothing to the host's logs, changes no
limits, and its threads do not delay the exit. Work that is unfinished when the host ends is completed at the next
start, as after any crash.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dreamclient import paths
from dreamclient.clients import process
from dreamclient.clients.link import connected
from dreamclient.errors import NotConnected

from dreamd import settings as sources
from dreamd.clock import Clock
from dreamd.daemon import Daemon
from dreamd.errors import DreamdError, SettingsError, StartError
from dreamd.process.exit_codes import ExitCode
from dreamd.process.state_folder import LOCK_NAME, release_in_child
from dreamd.settings import Settings

if TYPE_CHECKING:
    from dreamd.wire.parts import Parts

P = ParamSpec("P")
T = TypeVar("T")
Place = str | os.PathLike[str]

START_S = 10.0  # usually a tenth of a second
CONNECT_S = 5.0  # usually a millisecond; a loop that does not answer has ended
SESSIONS = 64  # a process has a few leos, and needs its descriptors itself


class Embedded:
    """A daemon that serves from this process until `close`, or until the process ends. If its database is lost, it
    ends, and the next `connect` starts one with the database that is there then.

    All methods may be called from any thread. In a forked child it is closed, because the daemon is the parent's.
    """

    def __init__(
        self, state_dir: Place, *, db_path: Place | None, settings: Settings | None, clock: Clock
    ) -> None:
        """Start the daemon, and return when it serves. Raise StartError or SettingsError."""
        self._state_dir, self._clock = _fixed_path(state_dir), clock
        self._db_path = None if db_path is None else _fixed_path(db_path)
        self._settings = settings or sources.load_settings()
        self._starting = threading.Lock()
        self._closed = False
        self._start()
        process.call_in_child(self._in_child)

    def _start(self) -> None:
        daemon = Daemon(
            self._settings,
            self._state_dir,
            None,
            clock=self._clock,
            database=self._db_path,
            sessions=SESSIONS,
        )
        started: Future[tuple[asyncio.AbstractEventLoop, Parts]] = Future()
        thread = threading.Thread(target=_run_daemon, args=(daemon, started), name="dreamd", daemon=True)
        process.start_thread(thread)
        self._loop, self._parts = started.result()
        self._daemon, self._thread = daemon, thread
        process.started(self)
        if self._closed:  # closed while it restarted
            self.stop()

    @property
    def alive(self) -> bool:
        """True while it serves."""
        return self._thread.is_alive()  # False in a forked child

    def connect(self) -> socket.socket:
        """Return a non-blocking socket that is connected to it. Raise NotConnected if it has ended and does not
        restart."""
        self._start_again()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        ours.setblocking(False)
        try:
            self._ask(self._daemon.server.connect(theirs))
        except NotConnected:
            ours.close()
            theirs.close()
            raise
        return ours

    def _start_again(self) -> None:
        if self._closed:
            return
        with self._starting:
            if self._daemon.lost and not self.alive:
                try:
                    self._start()
                except StartError as error:
                    raise NotConnected(str(error)) from None

    def adopt(self, settings: Settings) -> None:
        """Apply other settings of gates, dialogues and friend to later dreams. Raise NotConnected."""
        self._settings = settings

        async def take() -> None:
            self._parts.engine.change_settings(settings)

        self._ask(take())

    def close(self) -> None:
        """Stop in order, waiting half a second at most. Safe to call twice."""
        process.ended(self)
        self.stop()
        self.join(process.EXIT_WAITS_S)

    def stop(self) -> None:
        """Begin to stop, without waiting: at its exit the process waits for all that runs in it together."""
        self._closed = True
        if self.alive:
            with suppress(RuntimeError):  # it is ending by itself
                self._loop.call_soon_threadsafe(self._daemon.stopping.set)

    def join(self, timeout_s: float) -> None:
        """Wait at most `timeout_s` until it has stopped."""
        self._thread.join(timeout_s)

    def _ask(self, work: Coroutine[Any, Any, object]) -> None:
        """Run `work` on the daemon's thread, and wait for its end. Raise NotConnected."""
        try:
            if not self.alive:
                raise RuntimeError
            asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # its loop is closed
            work.close()
            raise NotConnected("the embedded daemon has ended") from None
        try:
            asked.result(CONNECT_S)
        except (Exception, CancelledError) as error:  # noqa: BLE001 - refused, at its end, or stuck
            raise NotConnected(f"the embedded daemon does not answer ({type(error).__name__})") from None

    def _in_child(self) -> None:
        self._closed = True
        daemon, state = self._daemon, self._daemon.state_dir
        held = zip((state, state / LOCK_NAME), daemon.locks, strict=True)
        release_in_child([*held, *daemon.database_locks.items()])


def _fixed_path(place: Place) -> Path:
    """Return the path that this place has now: the host may change its working folder later."""
    with suppress(
        FileNotFoundError
    ):  # there is no working folder: the start says that the place cannot be used
        return Path(place).absolute()
    return Path(place)


def _run_daemon(daemon: Daemon, started: "Future[tuple[asyncio.AbstractEventLoop, Parts]]") -> None:
    """Serve on this thread until the daemon stops. `started` gets its loop and parts, or the exception of the start."""

    async def serve() -> None:
        async with daemon.serve() as parts:
            started.set_result((asyncio.get_running_loop(), parts))
            await daemon.stopping.wait()

    with mute_logger("dreamd"):
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(serve())
        except BaseException as error:  # noqa: BLE001 - a thread has no caller to raise it to
            if not started.done():
                started.set_exception(error)


class Shared:
    """The daemon that the clients of this process share: an `Embedded`, started at the first use, or the daemon that
    serves the state folder already. `now` returns the time of its clock (unix s), or None for the real time."""

    def __init__(
        self,
        state: Place | None,
        database: Place | None,
        now: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._state = state
        self._database = None if database is None else Path(database)
        real = Clock()
        self._clock = Clock(wall=lambda: real.wall() if (set_to := now()) is None else set_to)
        self._embedded: Embedded | None = None
        self._renew()
        process.call_in_child(self._renew)

    def _renew(self) -> None:
        """Make a new lock, also in a forked child, in which no thread would release the old one."""
        self._starting = threading.Lock()

    def connect(self) -> socket.socket:
        """Return a connected socket. Raise NotConnected."""
        embedded = self._running()
        return embedded.connect() if embedded else connected(paths.socket_path(state=self._state))

    def adopt(self, assignments: Iterable[str]) -> None:
        """Apply settings such as "gate.chance=1" to later dreams, unless the daemon runs in another process."""
        embedded = self._running()
        if embedded is not None:
            try:
                embedded.adopt(sources.load_settings(assignments=assignments))
            except SettingsError as error:
                raise NotConnected(str(error)) from None

    def close(self) -> None:
        """Stop the daemon, if it runs in this process, in at most half a second."""
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.close()

    def _running(self) -> Embedded | None:
        """Return the embedded daemon, started if needed, or None if another daemon serves the state folder."""
        if not self._starting.acquire(timeout=START_S):
            raise NotConnected("the embedded daemon does not start")
        try:
            if self._embedded is None or not self._embedded.alive:
                self._embedded = self._start()
            return self._embedded
        finally:
            self._starting.release()

    def _start(self) -> Embedded | None:
        state = paths.state_dir(self._state)
        try:
            return Embedded(state, db_path=self._database, settings=None, clock=self._clock)
        except DreamdError as error:
            if isinstance(error, StartError) and error.exit_code == ExitCode.TAKEN:
                return None
            raise NotConnected(str(error)) from None


class _Silence(logging.NullHandler):
    propagated = True  # whether its logger propagated records to the host's handlers before


@contextmanager
def mute_logger(name: str) -> Iterator[None]:
    """Keep this logger's records from the host's handlers, and from standard error if there are none, until the last of
    these blocks ends. A process may have several daemons."""
    log, ours = logging.getLogger(name), _Silence()
    ours.propagated = log.propagate
    for other in (handler for handler in log.handlers if isinstance(handler, _Silence)):
        ours.propagated = other.propagated
    log.addHandler(ours)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(ours)
        if not any(isinstance(handler, _Silence) for handler in log.handlers):
            log.propagate = ours.propagated


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
