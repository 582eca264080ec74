"""DreamClient: leo's side of the socket, on one background thread.

The reply path calls `offer` and pays for an encode and one send that never waits. Connecting, reading, hooks
and everything that may take time happen on the thread named "dreamd-client", a daemon thread.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from dreamclient.clients import process
from dreamclient.clients.base import Client, Run, result_of
from dreamclient.clients.link import Link
from dreamclient.errors import CallTimeout, UsageError
from dreamclient.protocol.rpc import Reply
from dreamclient.protocol.session import CLOSED


class ThreadRun(Run):
    """`stop` takes no lock: the garbage collector and signal handlers may call it."""

    def begin(self, work: Callable[[Run], Any]) -> None:
        self.tried = threading.Event()
        self.thread = threading.Thread(target=work, args=(self,), name="dreamd-client", daemon=True)
        self._wake = threading.Lock()  # held, but for a moment after `stop`
        self._wake.acquire()
        self.thread.start()
        process.started(self)

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

    _kinds = (ThreadRun, Link)
    _swallowed = BaseException  # even a hook that exits is answered for, and the thread goes on

    def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting; wait up to `wait_s` for the first attempt to end; return whether it is connected.
        Starting twice does nothing more; after `close` it starts again."""
        if run := self._began():
            run.tried.wait(wait_s)
        return self.connected

    def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/reference/protocol.md) and return its result.

        Raise NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        if self._run is not None and threading.current_thread() is self._run.thread:
            raise UsageError("a hook cannot call the daemon: the answer would come to the thread that waits")
        deadline = time.monotonic() + timeout_s
        ended, replies = threading.Event(), list[Reply | None]()

        def done(reply: Reply | None) -> None:
            replies.append(reply)
            ended.set()

        forget = self.ask(method, list(params), done, deadline)
        if not ended.wait(max(0.0, deadline - time.monotonic())):
            forget()
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s")
        return result_of(replies[0])

    def stop(self) -> None:
        """Begin to end the connection and the thread, as `close` does, but take no lock and wait for nothing."""
        self._wanted = False
        if (run := self._run) is not None:
            self._idle()
            self._session.trouble = CLOSED
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

    def _work(self, run: Any) -> None:
        for link, wait_s in self._steps(run):
            if link is None:
                run.rest(wait_s or 0.0)
            else:
                link.wait(wait_s)
        if run.over:  # else it is a child that a hook forked
            run.tried.set()
        process.ended(run)
