"""The pending calls to one peer. Each ends by its deadline, and all end with the connection."""

import asyncio

import msgspec
from dreamclient.errors import CallTimeout, NotConnected
from dreamclient.protocol.rpc import Reply

TICK_S = 0.001  # a timer of uvloop may fire this much early


class Call(msgspec.Struct):
    """A pending call: its future, and its deadline (the loop's clock, s)."""

    future: asyncio.Future[msgspec.Raw]
    deadline: float


class Calls:
    """The pending calls of a peer. `pending`: the protocol's table of them, by message id."""

    def __init__(self, pending: dict[int, Call]) -> None:
        self._pending = pending
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0  # its deadline

    def new(self, deadline_s: float) -> Call:
        """Return a new call, the token of a request. Its future gets the raw result, or RemoteError, CallTimeout or
        NotConnected."""
        deadline = self._loop.time() + deadline_s
        if self._sweep is None or deadline < self._sweep_at:
            self._arm(deadline)
        return Call(self._loop.create_future(), deadline)

    def settle(self, reply: Reply) -> None:
        """End the call that a reply answers."""
        call: Call = reply.token
        if call.future.done():  # the caller was cancelled
            return
        if reply.error is not None:
            call.future.set_exception(reply.error)
        else:
            call.future.set_result(reply.result)

    def fail(self) -> None:
        """Fail all calls, because the peer can no longer answer."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for call in self._pending.values():
            if not call.future.done():
                call.future.set_exception(lost_call_error())
        self._pending.clear()

    def _arm(self, deadline: float) -> None:
        """Set the one timer to the earliest deadline. If that call is answered, the timer still fires."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep, self._sweep_at = self._loop.call_at(deadline, self._time_out), deadline

    def _time_out(self) -> None:
        self._sweep = None
        now = self._loop.time() + TICK_S
        for msgid, call in list(self._pending.items()):
            if call.deadline <= now or call.future.done():
                del self._pending[msgid]
                if not call.future.done():
                    call.future.set_exception(CallTimeout("no answer in time"))
        if self._pending:
            self._arm(min(call.deadline for call in self._pending.values()))


def lost_call_error() -> NotConnected:
    """Return the error of a call that can no longer be answered."""
    return NotConnected("the connection was lost")
