"""The hook `unobserve` of one session: typed answers and a deadline. Each failure is counted with its reason."""

from typing import Annotated, Any

import msgspec
from dreamclient.errors import CallTimeout, NotConnected, RemoteError
from dreamclient.messages import Method
from msgspec import Meta, Struct

from dreamd.engine.session_hooks import Caller, explain_wrong_answer
from dreamd.failures import Failures, hook_failure

CALL_S = 30.0  # for one call, as in a dream


MOST_MISSING = (
    1_000_000_000  # of a line; more fits neither into the database nor, with others, into a message
)


class Removal(Struct):
    """The answer of `unobserve`. `missing`: the counts that were not in the field any more, a whole number, which some
    peers send as a double."""

    undone: bool = True
    missing: Annotated[float, Meta(ge=0, le=MOST_MISSING, multiple_of=1)] = 0


_REMOVAL = msgspec.msgpack.Decoder(Removal | None)


class HookFailed(Exception):
    """The hook could not take a line back. `ends`: no further call is of use now."""

    def __init__(self, reason: str, *, ends: bool, lost: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.ends, self.lost = reason, ends, lost


class UnobserveHook:
    """The hook of `session`."""

    def __init__(self, session: Caller, failures: Failures) -> None:
        self._session = session
        self._failures = failures

    async def unobserve(self, what: Any, meta: dict[str, Any]) -> Removal:
        """Call the hook with what a line added, or with None at the end. Raise HookFailed."""
        try:
            raw = await self._session.call(Method.UNOBSERVE, [what, meta], CALL_S)
        except RemoteError as error:
            kind, place = hook_failure(error.message, error.detail)
            raise self._fault(kind, place) from None
        except CallTimeout:
            raise self._fault("timeout", ends=True) from None
        except NotConnected:
            raise self._fault("connection lost", ends=True, lost=True) from None
        try:
            return _REMOVAL.decode(raw) or Removal()
        except Exception as error:  # noqa: BLE001 - a peer's bytes can raise exceptions that no list foresees
            raise self._fault("wrong answer", explain_wrong_answer(error)) from None

    def _fault(self, kind: str, place: str = "", *, ends: bool = False, lost: bool = False) -> HookFailed:
        where = f"session {self._session.number}"
        self._failures.count(Method.UNOBSERVE, kind, place=f"{where}, {place}" if place else where)
        return HookFailed(f"{Method.UNOBSERVE}: {kind}", ends=ends, lost=lost)
