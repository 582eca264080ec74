"""DreamClient: leo's side of the socket, on one background thread.

The reply path calls `offer` and pays for an encode and one send that never waits. Connecting, reading, hooks
and everything that may take time happen on the thread named "dreamd-client", a daemon thread.
"""

import atexit
import threading
from types import TracebackType
from typing import Any, Self

from dreamclient.clients.base import Client
from dreamclient.clients.link import Link
from dreamclient.errors import CallTimeout, DreamError, NotConnected, UsageError
from dreamclient.messages import Method
from dreamclient.protocol.rpc import Event, Reply, Request
from dreamclient.protocol.session import CONNECTING


class _Waiter:
    """The token of a call: whoever called waits on it."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.reply: Reply | None = None

    def wait(self, timeout_s: float) -> bool:
        return self._ended.wait(timeout_s)

    def end(self, reply: Reply | None) -> None:
        self.reply = reply
        self._ended.set()


class DreamClient(Client[Link]):
    """Connects a host to dreamd, keeps it connected, and serves its hooks.

    The arguments are those of `dreamclient.clients.base.Client`. Hooks and `on_event` run on the client's thread,
    one at a time; they may `offer`, but not `call`. All methods may be called from any thread.
    """

    def _idle(self) -> None:
        super()._idle()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._tried = threading.Event()

    def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting; wait up to `wait_s` for the first attempt to end; whether it is connected.
        Starting twice does nothing more, and a closed client stays closed."""
        with self._starting:
            if self._thread is None:
                self._forked = False
                self._host.trouble = CONNECTING
                self._thread = threading.Thread(target=self._run, name="dreamd-client", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # no more threads, or the interpreter is at its end
                    self._thread = None
                    self._host.lost(error)
                    return False
                atexit.register(self.close)
        self._tried.wait(wait_s)
        return self.connected

    def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/protocol.md) and return its result.

        Raises NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        if threading.current_thread() is self._thread:
            raise UsageError("a hook cannot call the daemon: the answer would come to the thread that waits")
        deadline = self._monotonic() + timeout_s
        link, waiter = self._reach(method), _Waiter()
        msgid = link.call(method, list(params), waiter, deadline)
        if not waiter.wait(max(0.0, deadline - self._monotonic())):
            link.forget(msgid)
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s")
        if waiter.reply is None:
            raise NotConnected("the connection ended before the answer")
        if waiter.reply.error is not None:
            raise waiter.reply.error
        return waiter.reply.result

    def dream_now(self, ctx: Any = None, timeout_s: float = 330.0) -> dict[str, Any]:
        """Dream past all gates with this host's hooks; return `{dialog, outcome, lines}` at its end."""
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

    # the background thread

    def _run(self) -> None:
        me = threading.current_thread()
        while not self._closing.is_set() and self._thread is me:  # not so in a child that a hook forked
            try:
                self._session()
            except (DreamError, OSError) as error:
                if not self._closing.is_set():  # else it is we who ended it
                    self._host.lost(error)
            except BaseException as error:  # noqa: BLE001 a bug of ours must not end dreaming for good
                self._host.failures.count("internal")
                self._host.lost(NotConnected(f"a bug in dreamclient: {type(error).__name__}"))
            self._tried.set()
            self._closing.wait(self._backoff.next_s())
        self._host.trouble = "closed"

    def _session(self) -> None:
        link = self._link = Link(self._connect(), self._host, self._timing.tick_s, self._monotonic)
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
        welcome = self._host.welcome(reply)
        if welcome:
            self._backoff.reset()
            self._ready = link
        self._tried.set()
        seed = self._host.seed() if welcome else None
        if seed is not None:
            try:
                taken = self._ask(link, Method.SEED, seed).error is None
            except (CallTimeout, UsageError):
                taken = False
            if not taken:
                self._host.failures.count("seed")

    def _ask(self, link: Link, method: str, argument: Any) -> Reply:
        """Call on the background thread itself, which goes on reading until the answer is there."""
        waiter = _Waiter()
        deadline = self._monotonic() + self._timing.hello_s
        msgid = link.call(method, [argument], waiter, deadline)
        while waiter.reply is None:
            if self._monotonic() >= deadline:
                link.forget(msgid)
                raise CallTimeout(f"the daemon did not answer {method} in {self._timing.hello_s:g} s")
            self._pump(link)
        return waiter.reply

    def _pump(self, link: Link) -> None:
        for event in link.receive():
            self._take(link, event)
        link.flush()

    def _take(self, link: Link, event: Event) -> None:
        if isinstance(event, Request):
            self._serve(link, event)
        elif isinstance(event, Reply):
            event.token.end(event)
        else:
            self._host.notified(event)

    def _serve(self, link: Link, request: Request) -> None:
        hooks, method = self._host.hooks, request.method
        try:
            answer = hooks.settle(method, request.params, hooks.invoke(method, request.params))
        except BaseException as error:  # noqa: BLE001 even a hook that exits is answered for
            link.fail(request.msgid, *self._host.failed(method, error))
        else:
            link.respond(request.msgid, answer)
