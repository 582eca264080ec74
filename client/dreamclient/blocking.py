"""DreamClient: leo's side of the socket, on one background thread.

The reply path calls `offer` and pays for an encode and one send that never waits. Connecting, reading, hooks
and everything that may take time happen on the thread named "dreamd-client", a daemon thread.
"""

import atexit
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from dreamclient.connect import Connect, Connector
from dreamclient.errors import CallTimeout, DreamError, NotConnected, RemoteError, UsageError
from dreamclient.hooks import Hook, Hooks
from dreamclient.host import FROZEN, Backoff, Host, Timing
from dreamclient.link import Link
from dreamclient.messages import DreamContext, Method
from dreamclient.rpc import Event, Notification, Reply, Request


class _Waiter:
    """The token of a call: whoever called waits on it."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self.reply: Reply | None = None

    def wait(self, timeout_s: float) -> bool:
        return self._done.wait(timeout_s)

    def end(self, reply: Reply | None) -> None:
        self.reply = reply
        self._done.set()

    @property
    def ended(self) -> bool:
        return self._done.is_set()


class DreamClient:
    """Connects a host to dreamd, keeps it connected, and serves its hooks.

    generate(seed: str, temperature: float, semantic_weight: float[, meta]) -> str | Mapping with `text`
    observe(text: str[, meta]) -> None | Mapping of measures
    recall(query: str, n: int) -> Sequence[str]

    `origin` and `readme` are the fragments that leo was born with, sent to a daemon that has none. Hooks and
    `on_event` run on the client's thread, one at a time; they may `offer`, but not `call`.
    """

    def __init__(
        self,
        generate: Hook | None = None,
        observe: Hook | None = None,
        recall: Hook | None = None,
        *,
        socket_path: str | os.PathLike[str] | None = None,
        name: str = "leo",
        autostart: bool = False,
        origin: Sequence[str] = (),
        readme: Sequence[str] = (),
        on_event: Callable[[dict[str, Any]], object] | None = None,
        connect: Connect | None = None,
        timing: Timing = Timing(),
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] | None = None,
    ) -> None:
        self._host = Host(Hooks(generate, observe, recall), name=name, origin=origin, readme=readme, on_event=on_event)
        self._connect = connect or Connector(socket_path, autostart=autostart, timing=timing, monotonic=monotonic)
        self._timing = timing
        self._monotonic = monotonic
        self._backoff = Backoff(timing.first_retry_s, timing.last_retry_s, draw or random.Random().random)
        self._forked = False
        self._idle()
        forked = weakref.WeakMethod(self._in_child)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def _idle(self) -> None:
        self._thread: threading.Thread | None = None
        self._link: Link | None = None  # from connect to the end
        self._ready: Link | None = None  # while it is welcome
        self._closing = threading.Event()
        self._tried = threading.Event()

    def _in_child(self) -> None:
        """After a fork the connection is the parent's: drop this copy, and all locks that may be held."""
        if self._link is not None:
            self._link.abandon()
        self._host.failures.forked()
        self._forked = self._thread is not None
        self._idle()

    # the reply path

    def offer(self, ctx: DreamContext | Mapping[str, Any]) -> bool:
        """Tell the daemon of a reply; False where that was dropped (and counted). Never waits or raises."""
        link = self._ready
        if link is None:
            self._host.failures.count("forked" if self._forked else "not_connected")
            return False
        return link.offer(ctx)

    # whoever may wait

    def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting; wait up to `wait_s` for the first attempt to end; whether it is connected."""
        if self._thread is None:
            self._forked = False
            self._thread = threading.Thread(target=self._run, name="dreamd-client", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        self._tried.wait(wait_s)
        return self.connected

    def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/protocol.md) and return its result.

        Raises NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        if threading.current_thread() is self._thread:
            raise UsageError("a hook cannot call the daemon: the answer would come to the thread that waits")
        deadline = self._monotonic() + timeout_s
        link = self._link if method in FROZEN else self._ready
        if link is None:
            raise NotConnected(self.trouble)
        waiter = _Waiter()
        msgid = link.call(method, list(params), waiter, deadline)
        if not waiter.wait(max(0.0, deadline - self._monotonic())):
            link.forget(msgid)
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s")
        if waiter.reply is None:
            raise NotConnected("the connection ended before the answer")
        if waiter.reply.error is not None:
            raise waiter.reply.error
        return waiter.reply.result

    def dream_now(
        self, ctx: DreamContext | Mapping[str, Any] | None = None, timeout_s: float = 330.0
    ) -> dict[str, Any]:
        """Dream past all gates, with this host's hooks; return `{dialog, outcome, lines}` at its end."""
        answer: dict[str, Any] = self.call(Method.NOW, ctx, None, timeout_s=timeout_s)
        return answer

    def close(self) -> None:
        """End the connection and the thread, waiting half a second at most (a hook may be running)."""
        self._closing.set()
        link, thread = self._link, self._thread
        if link is not None:
            link.shutdown()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._timing.close_s)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether the daemon has answered hello, and the connection stands."""
        return self._ready is not None

    @property
    def failures(self) -> dict[str, int]:
        """What was swallowed so far, by kind: dreamclient.host has the list."""
        return dict(self._host.failures.counts)

    @property
    def trouble(self) -> str:
        """Why there is no connection, in a line; empty while there is one."""
        return "this process was forked; start() connects it anew" if self._forked else self._host.trouble

    @property
    def daemon(self) -> dict[str, Any]:
        """The daemon's last answer to hello."""
        return self._host.daemon

    # the background thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._session()
            except (DreamError, OSError) as error:
                self._host.trouble = str(error)
            except Exception as error:  # noqa: BLE001 a bug of ours must not end dreaming for good
                self._host.failures.count("internal")
                self._host.trouble = f"a bug in dreamclient: {type(error).__name__}"
            self._tried.set()
            self._closing.wait(self._backoff.next_s())
        self._host.trouble = "closed"

    def _session(self) -> None:
        try:
            sock = self._connect()
        except (DreamError, OSError):
            self._host.failures.count("connect")
            raise
        link = self._link = Link(sock, self._host, tick_s=self._timing.tick_s, monotonic=self._monotonic)
        try:
            if not self._closing.is_set():
                self._greet(link)
            while not self._closing.is_set():
                self._pump(link)
        finally:
            self._link = self._ready = None
            for waiter in link.end():
                waiter.end(None)

    def _greet(self, link: Link) -> None:
        hello = self._host.hello()
        reply = self._ask(link, Method.HELLO, hello)
        self._host.failures.told(hello["failures"])
        if self._host.welcome(reply):
            self._backoff.reset()
            self._ready = link
            seed = self._host.seed()
            if seed is not None:
                link.call(Method.SEED, [seed], _Waiter(), None)
        self._tried.set()

    def _ask(self, link: Link, method: str, argument: Any) -> Reply:
        waiter = _Waiter()
        deadline = self._monotonic() + self._timing.hello_s
        link.call(method, [argument], waiter, deadline)
        while waiter.reply is None:
            if self._monotonic() >= deadline:
                raise CallTimeout(f"the daemon did not answer {method} in {self._timing.hello_s:g} s")
            self._pump(link)
        return waiter.reply

    def _pump(self, link: Link) -> None:
        for event in link.receive():
            self._take(link, event)
        link.flush()

    def _take(self, link: Link, event: Event) -> None:
        if type(event) is Request:
            self._serve(link, event)
        elif type(event) is Reply:
            event.token.end(event)
        elif type(event) is Notification:
            self._host.notified(event)

    def _serve(self, link: Link, request: Request) -> None:
        hooks, method = self._host.hooks, request.method
        try:
            answer = hooks.settle(method, request.params, hooks.invoke(method, request.params))
        except BaseException as error:  # noqa: BLE001 even a hook that exits is answered for
            self._host.failures.count(method)
            link.fail(request.msgid, *hooks.failure(method, error))
        else:
            link.respond(request.msgid, answer)

