"""InlineClient: a connection without a thread of its own. Its hooks run on the thread that waits for an answer.

So a dream can be waited for from inside leo's `reply`: the thread that waits is the one that may touch his
field, and it speaks his lines itself. On a thread of their own the hooks would wait for `reply` to end.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from dreamclient.clients.connect import Connect
from dreamclient.clients.link import Link
from dreamclient.errors import CallTimeout, NotConnected
from dreamclient.messages import Method
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.rpc import Event, Notification, Reply, Request
from dreamclient.protocol.session import TIMING, Failures, Host, Timing

NO_HOOKS = Hooks()
ANSWER_S = 10.0  # a daemon answers in a millisecond; one that is stopped, never


class InlineClient:
    """Connected from its making to the end of its block. Not to be shared between threads.

    `failures` counts what is swallowed, and outlives the connection: the next hello tells it.
    """

    def __init__(
        self,
        connect: Connect,
        hooks: Hooks = NO_HOOKS,
        *,
        name: str = "leo",
        failures: Failures | None = None,
        timing: Timing = TIMING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises NotConnected, SocketPathError, CallTimeout."""
        self._host = Host(hooks, name=name, on_event=self._heard)
        self._host.failures = failures or self._host.failures
        self._monotonic = monotonic
        self._ended: set[int] = set()  # dialogues, by their numbers
        self._link = Link(connect(), self._host, timing.tick_s, monotonic)
        try:
            self._greet(timing.hello_s)
        except BaseException:
            self._link.end()
            raise

    def call(self, method: str, *params: Any, timeout_s: float = ANSWER_S) -> Any:
        """As `DreamClient.call`, serving hooks while it waits."""
        reply = self._ask(method, list(params), timeout_s)
        if reply.error is not None:
            raise reply.error
        return reply.result

    def dream(self, ctx: Any) -> dict[str, Any]:
        """Offer a context; return the daemon's decision when the dialogue that it began, if any, has ended."""
        self.call(Method.SUBSCRIBE)
        decision: dict[str, Any] = self.call(Method.CONTEXT, self._host.context(ctx, {}))
        dialog = decision.get("dialog")
        while dialog is not None and dialog not in self._ended:
            # Its end may go unsaid, where the store could not take it; a silent second is the time to ask.
            if not self._pump() and self._dreaming() != dialog:
                break
        return decision

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.end()

    def _greet(self, timeout_s: float) -> None:
        hello = self._host.hello()
        reply = self._ask(Method.HELLO, [hello], timeout_s)
        self._host.failures.told(hello["failures"])
        if not self._host.welcome(reply):
            raise NotConnected(self._host.trouble)

    def _ask(self, method: str, params: list[Any], timeout_s: float) -> Reply:
        replies: list[Reply] = []
        deadline = self._monotonic() + timeout_s
        msgid = self._link.call(method, params, replies, deadline)
        while not replies:
            if self._monotonic() >= deadline:
                self._link.forget(msgid)
                raise CallTimeout(f"no answer to {method} in {timeout_s:g} s")
            self._pump()
        return replies[0]

    def _pump(self) -> bool:
        """Take what comes within a tick; whether something came."""
        events = self._link.receive()
        for event in events:
            self._take(event)
        return bool(events)

    def _take(self, event: Event) -> None:
        if isinstance(event, Reply):
            event.token.append(event)
        elif isinstance(event, Notification):
            self._host.notified(event)
        else:
            self._serve(event)

    def _serve(self, request: Request) -> None:
        hooks, method = self._host.hooks, request.method
        try:
            answer = hooks.settle(method, request.params, hooks.invoke(method, request.params))
        except Exception as error:  # noqa: BLE001 it is answered for, and counted; an interrupt is the host's
            self._link.fail(request.msgid, *self._host.failed(method, error))
        else:
            self._link.respond(request.msgid, answer)

    def _heard(self, event: dict[str, Any]) -> None:
        if event.get("type") == "dialog.finished":
            self._ended.add(event["dialog"])

    def _dreaming(self) -> int | None:
        """The dialogue of this session that runs now."""
        me = self._host.daemon["session"]
        sessions = self.call(Method.STATUS)["sessions"]
        return next((each["dreaming"] for each in sessions if each["session"] == me), None)
