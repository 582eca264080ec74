"""DreamClient, and the base that AsyncDreamClient shares with it: a host's hooks, and a thread that stays connected.

The reply path calls `offer`, which encodes one message and sends it without waiting. Connecting, reading and everything
else that may take time happen on the thread named "dreamd-client", a daemon thread.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any, Self

from dreamclient.clients.link import Connect, Link, connected
from dreamclient.clients.process import call_host, call_in_child
from dreamclient.clients.run import Run, Timing
from dreamclient.errors import CallTimeout, NotConnected, UsageError
from dreamclient.messages import DIALOGUE_S, Method
from dreamclient.privacy import Private, is_private, private
from dreamclient.protocol.contexts import small_context
from dreamclient.protocol.failures import Failures
from dreamclient.protocol.hooks import Hook, Hooks
from dreamclient.protocol.rpc import Reply, Request
from dreamclient.protocol.session import CLOSED, CONNECTING, NOT_STARTED, Done, Session

# Served by any daemon, whatever protocol it speaks, so that an old one can be seen and stopped.
FROZEN = frozenset({Method.HELLO, Method.STATUS, Method.SHUTDOWN})

TIMING = Timing()
LONGEST_S = 7 * 86400.0  # of a wait: the system's own calls take no infinity


class Client:
    """The base of `DreamClient` and `AsyncDreamClient`.

    generate(seed: str, temperature: float, semantic_weight: float[, meta]) -> str | Mapping with `text`
    observe(text: str[, meta]) -> None | Mapping of measures
    recall(query: str, n: int) -> Sequence[str]
    unobserve(what: Any, meta) -> None | Mapping with `undone` and `missing`

    `origin` and `readme` are the fragments that leo was born with, sent to a daemon that has none. `connect`
    returns a connected socket; clients with the same `failures` count together.
    """

    call: Callable[..., Any]
    waits = False  # whether `offer` returns only when the dream has ended

    def __init__(
        self,
        generate: Hook | None = None,
        observe: Hook | None = None,
        recall: Hook | None = None,
        unobserve: Hook | None = None,
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
        fragments = {"origin": _as_list(origin), "readme": _as_list(readme)}
        hooks = Hooks(generate, observe, recall, unobserve)
        self._session = Session(hooks, name, fragments, failures or Failures())
        self._session.on_event = on_event and partial(call_host, on_event)
        self._connect = connect or partial(connected, socket_path)
        self._timing = timing
        self._run: Run | None = None
        self._wanted = self._forked = False  # started, and not closed; in a child that has not connected yet
        self._retry_at = 0.0  # if it could not be started, when an offer tries again
        self._starting = threading.Lock()
        call_in_child(self._in_child)

    def offer(self, ctx: Any) -> bool:
        """Tell the daemon of a reply by a `DreamContext`, or by a mapping with its keys. Return False if it was dropped
        and counted, or if it is private. The reply path calls only this: it never waits and never raises."""
        if is_private():
            return self._keep_private()
        if (link := self._link()) is not None:
            return link.offer(ctx)
        self.count("forked" if self._forked else "not_connected")
        if self._wanted and time.monotonic() >= self._retry_at:
            self._began()
        return False

    def private(self) -> Private:
        """Return a block that keeps a conversation out of all dreams: what is offered in it is counted, and not sent.

        It holds for this thread or task, and for each client in it."""
        return private()

    def _keep_private(self) -> bool:
        """Count a private reply, and tell the daemon the number alone. Return False, since no context is sent."""
        self._session.failures.count_private()
        if (link := self._link()) is not None:
            link.tell_private()
        return False

    def serve(
        self,
        generate: Hook | None = None,
        observe: Hook | None = None,
        recall: Hook | None = None,
        field_id: Callable[[], str | None] | None = None,
        unobserve: Hook | None = None,
    ) -> None:
        """Set the hooks of a client that has none and has not started; raise UsageError for any other. `field_id`
        returns the id of the field that they feed: it is called each time that the client connects."""
        if self._session.hooks.provides or self._session.trouble != NOT_STARTED:
            raise UsageError("hooks are set once, before the client starts")
        self._session.hooks = Hooks(generate, observe, recall, unobserve)
        self._session.field_id = field_id or self._session.field_id

    def count(self, kind: str) -> None:
        """Count a failure that the host has caught. The next message tells the daemon."""
        self._session.failures.count(kind)

    def ask(self, method: str, params: list[Any], done: Done, deadline: float) -> Callable[[], None]:
        """Call a method of the daemon without waiting; return a function that gives the call up. `done` is called on
        the client's thread, with the Reply, or with None if the connection ends first. `deadline` (monotonic seconds)
        is for the sending. In a private block a context raises UsageError."""
        if is_private() and method in (Method.CONTEXT, Method.NOW) and params[:1] not in ([], [None]):
            raise UsageError("this conversation is private: nothing of it is sent; dream after the block")
        link = self._link(method)
        if link is None or not link.is_open:
            raise NotConnected(self.trouble)
        return link.call(method, params, done, min(deadline, deadline_in(LONGEST_S)))

    def dream_now(self, ctx: Any = None, timeout_s: float = DIALOGUE_S) -> Any:
        """Dream past all gates with this host's hooks; return `{dialog, outcome, lines}` at its end."""
        small = None if ctx is None else small_context(ctx)
        return self.call(Method.NOW, small, None, timeout_s=timeout_s)

    def stop(self) -> None:
        """Begin to end the connection and the thread, as `close` does, but without a lock and without waiting."""
        self._wanted = False
        run, self._run = self._run, None
        if run is not None:
            self._session = copy(run.session)
            self._session.trouble = CLOSED
            run.stop()

    @property
    def connected(self) -> bool:
        """True while there is a connection on which the daemon has answered hello."""
        link = self._link()
        return link is not None and link.is_open

    @property
    def failures(self) -> dict[str, int]:
        """The failures that were caught so far, by kind. `dreamclient.protocol.failures` has the list."""
        return dict(self._session.failures.counts)

    @property
    def trouble(self) -> str:
        """The reason why there is no connection, in a line. Empty while there is one."""
        if self._forked:
            return "this process was forked; it connects with its next context, or start()"
        return self._now().trouble

    @property
    def daemon(self) -> dict[str, Any]:
        """The daemon's last answer to hello."""
        return self._now().daemon

    def _serve_hook(self, link: Link, request: Request) -> None:
        """Run the hook that the daemon calls, and answer, even if the hook raises SystemExit."""
        try:
            value = call_host(self._session.hooks.invoke, request.method, request.params)
        except BaseException as error:  # noqa: BLE001
            link.answer(request, None, error)
        else:
            link.answer(request, value)

    def _now(self) -> Session:
        """Return the session of the current run, or the one that the next run will use."""
        return self._session if (run := self._run) is None else run.session

    def _link(self, method: str = "") -> Link | None:
        """Return the connection on which to call `method`, or None."""
        run = self._run
        return run.link if run is not None and (run.session.ready or method in FROZEN) else None

    def _began(self) -> Run | None:
        """Begin to connect in the background, unless that has begun. Return the run. If it cannot start, count that and
        return None."""
        self._wanted = True
        if self._run is None and self._starting.acquire(blocking=False):
            try:  # else another thread starts it, or a signal came meanwhile
                if self._run is None:  # else another thread has started it before the lock was taken
                    self._session.trouble = CONNECTING
                    run = Run(copy(self._session), self._connect, self._timing, self._serve_hook)
                    self._run = run
                    run.begin()  # `stop` may have taken it off meanwhile: then its thread ends at once
            except RuntimeError as error:  # no thread is left, or the interpreter is at its end
                self._run = None
                self._session.lost(error, was_ready=False)
                self._retry_at = time.monotonic() + self._timing.first_retry_s
                return None
            finally:
                self._starting.release()
        self._retry_at, self._forked = float("inf"), False
        return self._run

    def _in_child(self) -> None:
        """Abandon the run after a fork: the connection and the thread are the parent's. The next offer starts
        another."""
        self._forked, self._retry_at = self._wanted, 0.0
        if self._run is not None:
            self._run.abandon()
        self._run, self._starting = None, threading.Lock()
        self._session.failures.forked()


class DreamClient(Client):
    """A client that connects a host to dreamd, keeps it connected, and serves its hooks.

    The arguments are those of `dreamclient.clients.thread.Client`. Hooks and `on_event` run on the client's thread,
    one at a time; they may `offer`, but not `call`. All methods may be called from any thread.
    """

    def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting, wait up to `wait_s` for the first attempt to end, and return whether it is connected. A
        second start does nothing. After `close` a start connects again."""
        if run := self._began():
            run.tried.wait(min(wait_s, LONGEST_S))
        return self.connected

    def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/reference/protocol.md) and return its result.

        Raise NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        if self._run is not None and threading.current_thread() is self._run.thread:
            raise UsageError("a hook cannot call the daemon: the answer would come to the thread that waits")
        deadline = deadline_in(timeout_s)
        ended, replies = threading.Event(), list[Reply | None]()

        def done(reply: Reply | None) -> None:
            replies.append(reply)
            ended.set()

        forget = self.ask(method, list(params), done, deadline)
        if not ended.wait(max(0.0, deadline - time.monotonic())):
            forget()
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s")
        return result_of(replies[0])

    def close(self) -> None:
        """End the connection and the thread. Wait half a second at most, for a hook that is at work."""
        run = self._run
        self.stop()
        if run is not None:
            run.join(self._timing.close_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def deadline_in(timeout_s: float) -> float:
    """Return the time (monotonic seconds) at which a call is given up: in a week at most."""
    return time.monotonic() + min(timeout_s, LONGEST_S)


def _as_list(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list. A text alone is one of them: its letters would be the origin for good."""
    return [texts] if isinstance(texts, str) else list(texts)


def result_of(reply: Reply | None) -> Any:
    """Return the result in the answer to a call. Raise RemoteError if the answer is an error, NotConnected if there is
    none."""
    if reply is None:
        raise NotConnected("the connection ended before the answer")
    if reply.error is not None:
        raise reply.error
    return reply.result
