"""The calls to one run of a host: their turns, their deadlines, and the answers that come late or to no call."""

import asyncio
from collections.abc import Mapping
from typing import Any

from dreamclient.messages import CALLS_IN_FLIGHT, Method

from dreamd.ctl.commands.host.child import Child
from dreamd.ctl.commands.host.protocol import Answer, answer_value, call_line, error_kind

NO_META: Mapping[str, Any] = {}


class HostTimeout(Exception):
    """The host did not answer in time."""


class HostError(Exception):
    """The host answered with an error."""


class Calls:
    """The calls to `child`, one at a time unless it is `concurrent`. The turn of a call ends with its answer, even if
    that comes late. `hung` is set when two calls in a row got no answer in time."""

    def __init__(self, child: Child, *, concurrent: bool, answer_s: float) -> None:
        self._child = child
        self._answer_s = answer_s
        self._turns = asyncio.Semaphore(CALLS_IN_FLIGHT if concurrent else 1)
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._next = 1
        self._missed = 0  # calls since the last answer
        self.hung = asyncio.Event()

    async def ask(self, method: str, values: tuple[Any, ...], meta: Mapping[str, Any] = NO_META) -> Any:
        """Call a hook of the host, and return its value. Raise HostTimeout, HostError or BadLine. A call that
        shows that the host hangs does not return."""
        try:
            async with asyncio.timeout(self._answer_s):
                await self._turns.acquire()
                number, self._next = self._next, self._next + 1
                answered = self._pending[number] = asyncio.get_running_loop().create_future()
                await self._child.send_line(call_line(number, method, values, meta))
                answer = await answered
        except TimeoutError:
            self._missed += 1
            if self._missed > 1:
                self.hung.set()
                # The host is ended now, and this call is cancelled without an answer: so its dialogue goes on later.
                await asyncio.get_running_loop().create_future()
            raise HostTimeout from None
        if answer.error is not None:
            raise type(error_kind(answer.error), (HostError,), {})
        return answer_value(method, answer, values[1] if method == Method.RECALL else 0)

    def settle(self, answer: Answer) -> str:
        """End the call that an answer is for. Return the kind of failure if there is none, or if it is over."""
        answered = self._pending.pop(answer.id, None)
        if answered is None:
            return "wrong_id"
        self._turns.release()
        self._missed = 0
        if answered.done():
            return "late"
        answered.set_result(answer)
        return ""
