"""DreamClient: leo's side of the socket, on one background thread.

The reply path calls `offer` and pays for an encode and one send that never waits. Connecting, reading, hooks
and everything that may take time happen on the thread named "dreamd-client", a daemon thread.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any, Self

from dreamclient.clients import process
from dreamclient.clients.base import Client, result_of
from dreamclient.clients.link import Link
from dreamclient.errors import CallTimeout, NotConnected, UsageError
from dreamclient.messages import Method
from dreamclient.protocol.contexts import small_context
from dreamclient.protocol.rpc import Reply
from dreamclient.protocol.session import CLOSED, CONNECTING, Done, Session


class _Run:
    """What one start began, to its end. `stop` takes no lock: the garbage collector and signal handlers may call it."""

    def __init__(self, session: Session, work: Callable[["_Run"], None]) -> None:
        self.session = session  # its own: what an earlier one began may still be at work
        self.over = False
        self.link: Link | None = None
        self.thread = threading.Thread(target=work, args=(self,), name="dreamd-client", daemon=True)
        self._wake = threading.Lock()  # held, but for a moment after `stop`
        self._wake.acquire()

    def stop(self) -> None:
        """Ask the thread to end, and wake it."""
        self.over = True
        with suppress(RuntimeError):  # released already
            self._wake.release()
        if self.link is not None:
            self.link.shutdown()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, but not on the thread itself."""
        if self.thread is not threading.current_thread():
            self.thread.join(timeout_s)

    def rest(self, wait_s: float) -> None:
        """Wait, unless it is to end."""
        self._wake.acquire(timeout=wait_s)


class DreamClient(Client):
    """Connects a host to dreamd, keeps it connected, and serves its hooks.

    The arguments are those of `dreamclient.clients.base.Client`. Hooks and `on_event` run on the client's thread,
    one at a time; they may `offer`, but not `call`. All methods may be called from any thread.
    """

    def _idle(self) -> None:
        super()._idle()
        self._run: _Run | None = None
        self._starting = threading.Lock()
        self._tried = threading.Event()

    def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting; wait up to `wait_s` for the first attempt to end; return whether it is connected.
        Starting twice does nothing more; after `close` it starts again."""
        if self._began():
            self._tried.wait(wait_s)
        return self.connected

    def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/reference/protocol.md) and return its result.

        Raise NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        if self._run is not None and threading.current_thread() is self._run.thread:
            raise UsageError("a hook cannot call the daemon: the answer would come to the thread that waits")
        deadline = self._monotonic() + timeout_s
        ended, replies = threading.Event(), list[Reply | None]()

        def done(reply: Reply | None) -> None:
            replies.append(reply)
            ended.set()

        forget = self.ask(method, list(params), done, deadline)
        if not ended.wait(max(0.0, deadline - self._monotonic())):
            forget()
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s")
        return result_of(replies[0])

    def ask(self, method: str, params: list[Any], done: Done, deadline: float) -> Callable[[], None]:
        """Call a method of the daemon without waiting; return what gives the call up. `done` gets the Reply, or None if
        the connection ends before, on the client's thread; `deadline` is for the sending (monotonic seconds)."""
        msgid = self._reach(method).call(method, params, done, deadline)
        return lambda: self._session.forget(msgid)

    def dream_now(self, ctx: Any = None, timeout_s: float = 330.0) -> dict[str, Any]:
        """Dream past all gates with this host's hooks; return `{dialog, outcome, lines}` at its end."""
        small = None if ctx is None else small_context(ctx)
        answer: dict[str, Any] = self.call(Method.NOW, small, None, timeout_s=timeout_s)
        return answer

    def stop(self) -> None:
        """Begin to end the connection and the thread, as `close` does, but take no lock and wait for nothing."""
        self._wanted = False
        run, self._run = self._run, None
        if run is not None:
            self._session = copy(self._session)  # the thread may be at work on its own for a while
            self._session.trouble = CLOSED
            self._link = self._ready = None
            run.stop()

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

    def _begin(self) -> None:
        if self._run is not None or not self._starting.acquire(False):
            return  # it runs; or another thread starts it, or a signal came meanwhile
        try:
            self._tried.clear()
            self._session = copy(self._session)
            self._session.trouble = CONNECTING
            self._run = run = _Run(self._session, self._keep)
            run.thread.start()
            process.started(run)
        except RuntimeError:  # no more threads, or the interpreter is at its end
            self._run = None
            raise
        finally:
            self._starting.release()

    # the background thread

    def _keep(self, run: _Run) -> None:
        """Connect, and connect again when that has ended."""
        while self._run is run:  # not so in a child that a hook forked
            try:
                self._connection(run)
            except BaseException as error:  # noqa: BLE001 counted
                if self._run is run:  # else it is we who ended it
                    wait_s = self._failed(error)
                    self._tried.set()
                    run.rest(wait_s)
        self._tried.set()
        process.ended(run)

    def _connection(self, run: _Run) -> None:
        session = run.session
        link = run.link = Link(self._connect(), session, self._monotonic)
        try:
            if run.over:
                return
            self._link = link
            session.begin()
            link.flush()
            deadline = self._monotonic() + self._timing.hello_s
            while not session.answered:
                self._pump(link, session, max(0.001, deadline - self._monotonic()))
            if session.ready and self._run is run:
                self._welcomed(link)
            self._tried.set()
            while not run.over:
                self._pump(link, session, None)
        except CallTimeout:
            raise NotConnected(f"the daemon did not answer hello in {self._timing.hello_s:g} s") from None
        finally:
            if self._link is link:
                self._link = self._ready = None
            link.end()

    @staticmethod
    def _pump(link: Link, session: Session, wait_s: float | None) -> None:
        """Take what comes next, and run the hooks that it calls."""
        for request in link.receive(wait_s):
            try:
                value = session.invoke(request)
            except BaseException as error:  # noqa: BLE001 even a hook that exits is answered for
                session.fail(request, error)
            else:
                session.answer(request, value)
            link.flush()
