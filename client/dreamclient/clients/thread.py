"""DreamClient: leo's side of the socket, for hosts with threads."""

import threading
import time
from typing import Any, Self

from dreamclient.clients.base import Client, result_of
from dreamclient.errors import CallTimeout, UsageError
from dreamclient.protocol.rpc import Reply


class DreamClient(Client):
    """Connects a host to dreamd, keeps it connected, and serves its hooks.

    The arguments are those of `dreamclient.clients.base.Client`. Hooks and `on_event` run on the client's thread,
    one at a time; they may `offer`, but not `call`. All methods may be called from any thread.
    """

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
