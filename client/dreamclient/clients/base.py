"""What both clients are: one life, connected again and again, whose steps a thread or a loop takes."""

import os
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from dreamclient.clients.connect import Connect, connected
from dreamclient.clients.link import Link
from dreamclient.clients.process import call_in_child
from dreamclient.errors import DreamError, NotConnected, UsageError
from dreamclient.messages import Method
from dreamclient.protocol.contexts import small_context
from dreamclient.protocol.failures import Failures
from dreamclient.protocol.hooks import Hook, Hooks
from dreamclient.protocol.rpc import Reply, Request
from dreamclient.protocol.session import CONNECTING, NOT_STARTED, Done, Session

# Served by any daemon, whatever protocol it speaks, so that an old one can be seen and stopped.
FROZEN = frozenset({Method.HELLO, Method.STATUS, Method.SHUTDOWN})


@dataclass(frozen=True)
class Timing:
    """How long things may take, in seconds."""

    hello_s: float = 5.0  # a daemon answers in a millisecond; a stopped one never
    first_retry_s: float = 1.0  # doubling, to
    last_retry_s: float = 60.0
    close_s: float = 0.5  # what `close` waits for a hook that is at work


TIMING = Timing()


class Run:
    """What one start began, to its end. `tried` is set when the first attempt to connect has ended."""

    tried: Any  # an Event
    over = False
    link: Link | None = None

    def __init__(self, session: Session) -> None:
        self.session = session

    def begin(self, work: Callable[["Run"], Any]) -> None:
        """Begin to do `work`. Raise RuntimeError if nothing can begin now: no thread, or no loop."""

    @property
    def is_alive(self) -> bool:
        """Whether it still keeps its client connected."""
        return not self.over


class Client:
    """Base of `DreamClient` and `AsyncDreamClient`.

    generate(seed: str, temperature: float, semantic_weight: float[, meta]) -> str | Mapping with `text`
    observe(text: str[, meta]) -> None | Mapping of measures
    recall(query: str, n: int) -> Sequence[str]

    `origin` and `readme` are the fragments that leo was born with, sent to a daemon that has none. `connect`
    returns a connected socket; clients with the same `failures` count together.
    """

    _kinds: tuple[type[Run], type[Link]]
    _work: Callable[[Any], Any]
    call: Callable[..., Any]
    _swallowed: type[BaseException] = (
        Exception  # what hooks and attempts to connect may raise, and it goes on
    )
    waits = False  # whether `offer` returns only when the dream has ended

    def __init__(
        self,
        generate: Hook | None = None,
        observe: Hook | None = None,
        recall: Hook | None = None,
        *,
        socket_path: str | os.PathLike[str] | None = None,
        name: str = "leo",
        origin: Sequence[str] = (),
        readme: Sequence[str] = (),
        on_event: Callable[[dict[str, Any]], object] | None = None,
        connect: Connect | None = None,
        timing: Timing = TIMING,
        failures: Failures | None = None,
    ) -> None:
        fragments = {"origin": list(origin), "readme": list(readme)}
        self._session = Session(Hooks(generate, observe, recall), name, fragments, failures or Failures())
        self._session.on_event = on_event
        self._connect = connect or partial(connected, socket_path)
        self._timing = timing
        self._draw = random.Random().random  # not the shared one: its state decides leo's replies
        self._next_retry_s = timing.first_retry_s
        self._wanted = self._forked = False  # started, and not closed; in a child that has not connected yet
        self._retry_at = 0.0  # if it could not be started, when an offer tries again
        self._starting = threading.Lock()
        self._idle()
        call_in_child(self._in_child)

    # how it lives

    def _idle(self) -> None:
        """Nothing runs. What ran may be at work for a while, on a session that is its own."""
        self._session = copy(self._session)
        self._run: Any = None
        self._link: Any = None  # from connect to the end
        self._ready_at: float | None = None  # since when (monotonic seconds)

    def _began(self) -> Any:
        """Begin to connect in the background, unless that has begun. Return the run; None, counted, if it cannot."""
        self._wanted = True
        if (self._run is None or not self._run.is_alive) and self._starting.acquire(blocking=False):
            try:  # else another thread starts it, or a signal came meanwhile
                self._idle()
                self._session.trouble = CONNECTING
                self._run = self._kinds[0](self._session)
                self._run.begin(self._work)
            except RuntimeError as error:
                self._run = None
                self._session.lost(error, was_ready=False)
                self._retry_at = time.monotonic() + self._timing.first_retry_s
                return None
            finally:
                self._starting.release()
        self._retry_at, self._forked = float("inf"), False
        return self._run

    def _steps(self, run: Run) -> Generator[tuple[Any, float | None], None, None]:
        """Connect, and connect again when that has ended. A step is what to wait for before the next one is taken: for
        the link to have something, or, without a link, for so many seconds."""
        while self._run is run:  # not so in a child that a hook forked
            try:
                yield from self._connection(run)
            except self._swallowed as error:
                if self._run is run:  # else it is we who ended it
                    wait_s = self._failed(error)
                    run.tried.set()
                    yield None, wait_s

    def _connection(self, run: Run) -> Iterator[tuple[Link, float | None]]:
        session, timing = run.session, self._timing
        link = run.link = self._kinds[1](self._connect(), session)
        try:
            if run.over:
                return
            self._link = link
            session.begin()
            link.flush()
            deadline = time.monotonic() + timing.hello_s
            while not session.answered:
                if (left_s := deadline - time.monotonic()) <= 0:
                    raise NotConnected(f"the daemon did not answer hello in {timing.hello_s:g} s")
                yield link, left_s
                self._serve(link)
            if session.ready and self._run is run:
                self._ready_at = time.monotonic()
            run.tried.set()
            while not run.over:
                yield link, None
                self._serve(link)
        finally:
            if self._link is link:
                self._link = None
            link.end()

    def _serve(self, link: Link) -> None:
        """Take what has come, and run the hooks that it calls."""
        for request in link.receive():
            try:
                value = self._session.hooks.invoke(request.method, request.params)
            except self._swallowed as error:
                link.answer(request, None, error)
            else:
                self._answer(link, request, value)

    def _answer(self, link: Link, request: Request, value: Any) -> None:
        link.answer(request, value)

    def _failed(self, error: BaseException) -> float:
        """Count that an attempt has failed, or a connection ended. Return how many seconds to wait for the next: double
        the last wait, shortened by up to a quarter, so that many hosts do not try at one time. A connection that
        lasted begins at the first again; one that a daemon ends at once does not."""
        if not isinstance(error, DreamError | OSError):  # it must not end dreaming for good
            self._session.failures.count("internal")
            error = NotConnected(f"a bug in dreamclient: {type(error).__name__}")
        self._session.lost(error, was_ready=self._ready_at is not None)
        if self._ready_at is not None and time.monotonic() - self._ready_at > self._next_retry_s:
            self._next_retry_s = self._timing.first_retry_s
        wait_s, self._ready_at = self._next_retry_s, None
        self._next_retry_s = min(2 * wait_s, self._timing.last_retry_s)
        return wait_s * (1 - self._draw() / 4)

    def _in_child(self) -> None:
        """After a fork the connection is the parent's, and so is what served it: begin again with the next offer."""
        self._forked, self._retry_at = self._wanted, 0.0
        if self._link is not None:
            self._link.abandon()
        self._starting = threading.Lock()
        self._idle()
        self._session.failures.forked()

    # what its host calls

    def offer(self, ctx: Any) -> bool:
        """Tell the daemon of a reply: a `DreamContext`, or a mapping with its keys. False if it was dropped, and
        counted. This is all that the reply path pays: it never waits and never raises."""
        if (link := self._link) is not None and self._session.ready:
            sent: bool = link.offer(ctx)
            return sent
        self.count("forked" if self._forked else "not_connected")
        if self._wanted and time.monotonic() >= self._retry_at:
            self._began()
        return False

    def serve(
        self,
        generate: Hook | None = None,
        observe: Hook | None = None,
        recall: Hook | None = None,
        field_id: Callable[[], str | None] | None = None,
    ) -> None:
        """Set the hooks of a client that was made without and has not started. Else raise UsageError. `field_id` says
        which field they feed, each time that the client connects."""
        if self._session.hooks.provides or self._session.trouble != NOT_STARTED:
            raise UsageError("hooks are set once, before the client starts")
        self._session.hooks = Hooks(generate, observe, recall)
        self._session.field_id = field_id or self._session.field_id

    def count(self, kind: str) -> None:
        """Count what the host swallowed: the daemon is told with the next message."""
        self._session.failures.count(kind)

    def ask(self, method: str, params: list[Any], done: Done, deadline: float) -> Callable[[], None]:
        """Call a method of the daemon without waiting; return what gives the call up. `done` gets the Reply, or None if
        the connection ends before, where hooks run; `deadline` is for the sending (monotonic seconds)."""
        forget: Callable[[], None] = self._reach(method).call(method, params, done, deadline)
        return forget

    def dream_now(self, ctx: Any = None, timeout_s: float = 330.0) -> Any:
        """Dream past all gates with this host's hooks; return `{dialog, outcome, lines}` at its end."""
        small = None if ctx is None else small_context(ctx)
        return self.call(Method.NOW, small, None, timeout_s=timeout_s)

    def _reach(self, method: str) -> Any:
        """Return the connection to call `method` on. Raise NotConnected if there is none."""
        link = self._link
        if link is None or not link.is_open or not (self._session.ready or method in FROZEN):
            raise NotConnected(self.trouble)
        return link

    @property
    def connected(self) -> bool:
        """Whether the daemon has answered hello, and the connection stands."""
        return self._link is not None and self._session.ready and bool(self._link.is_open)

    @property
    def failures(self) -> dict[str, int]:
        """What was swallowed so far, by kind: `dreamclient.protocol.failures` has the list."""
        return dict(self._session.failures.counts)

    @property
    def trouble(self) -> str:
        """Why there is no connection, in a line; empty while there is one."""
        if self._forked:
            return "this process was forked; it connects with its next context, or start()"
        return self._session.trouble or ("" if self.connected else "the event loop has ended")

    @property
    def daemon(self) -> dict[str, Any]:
        """The daemon's last answer to hello."""
        return self._session.daemon


def result_of(reply: Reply | None) -> Any:
    """Return what a call was answered. Raise RemoteError if that was an error, NotConnected if nothing was."""
    if reply is None:
        raise NotConnected("the connection ended before the answer")
    if reply.error is not None:
        raise reply.error
    return reply.result
