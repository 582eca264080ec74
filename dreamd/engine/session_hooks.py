"""The hooks of one session, as one dialogue calls them: typed answers, deadlines and latencies.

Every failure is counted with its reason, and ends the dialogue with an outcome.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec
from dreamclient.errors import CallTimeout, NotConnected, RemoteError, UsageError
from dreamclient.messages import Method

from dreamd.clock import Clock
from dreamd.dream.dialogue import DialogueSettings, Ended, Generate, Observe
from dreamd.dream.model import Answer, Heard, Line, cut_text
from dreamd.dream.outcomes import Outcome
from dreamd.failures import Failures, hook_failure

SLACK_S = 1.0  # after the deadline of a dialogue, until it is ended even if its call has not timed out
SAMPLES = 1024  # calls that the latency figures of `status` cover

_ANSWER = msgspec.msgpack.Decoder(str | Answer)
_HEARD = msgspec.msgpack.Decoder(Heard | None)
_SNAPSHOTS = msgspec.msgpack.Decoder(list[str])

T = TypeVar("T")

_ROLES = {"leo": "leo_dream", "friend": "friend"}


class Meta(msgspec.Struct):
    """The `meta` of a hook call, on the wire a map: see `dreamclient.messages.LineMeta`."""

    kind: str
    dialog: int
    trace_id: str
    turn: int
    speaker: str
    role: str
    expert: str
    max_tokens: int
    candidate: int


def _answer(raw: msgspec.Raw) -> Answer:
    """Return the answer of `generate`, which may be a text alone."""
    said = _ANSWER.decode(raw)
    return Answer(text=said) if isinstance(said, str) else said


def explain_wrong_answer(error: Exception) -> str:
    """Return the field of an answer that is wrong, its type and the expected one, and no text of it (P14)."""
    return str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__


class Caller(Protocol):
    """The part of a session that dialogues need: see `wire.session.Session`."""

    number: int
    name: str
    provides: frozenset[str]
    field: str | None

    def call(self, method: str, params: list[Any], deadline_s: float) -> asyncio.Future[msgspec.Raw]: ...


class Latency:
    """The latencies of hooks, including the host's work."""

    def __init__(self) -> None:
        self._calls = Counter[str]()
        self._recent_ms: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=SAMPLES))

    def add(self, method: str, seconds: float) -> None:
        """Count one call that was answered or timed out, with its duration."""
        self._calls[method] += 1
        self._recent_ms[method].append(seconds * 1000)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return by method the calls since the start, and the median and 99th percentile of the last 1024 in ms."""
        found = {}
        for method, recent in self._recent_ms.items():
            ordered = sorted(recent)
            found[method] = {
                "calls": self._calls[method],
                "p50_ms": _nearest_rank(ordered, 50),
                "p99_ms": _nearest_rank(ordered, 99),
            }
        return found


def _nearest_rank(ordered: list[float], percent: int) -> float:
    """Return the percentile by nearest rank: the least value that `percent` of all values do not exceed."""
    return round(ordered[-(-len(ordered) * percent // 100) - 1], 3)


class SessionHooks:
    """The hooks of `session` for one dialogue. Every method raises `dialogue.Ended` if it fails."""

    def __init__(
        self,
        session: Caller,
        dialog: int,
        trace_id: str,
        settings: DialogueSettings,
        clock: Clock,
        failures: Failures,
        latency: Latency,
    ) -> None:
        self._session = session
        self._about = ("dream", dialog, trace_id)
        self.settings = settings
        self._monotonic = clock.monotonic
        self._failures = failures
        self._latency = latency
        self._until = clock.monotonic() + settings.deadline_s
        self._asking: asyncio.Future[msgspec.Raw] | None = None
        self._asked = ""  # the method
        # Each call has a deadline. This one is for the whole dialogue, whatever happens to a call.
        self._timer = asyncio.get_running_loop().call_later(settings.deadline_s + SLACK_S, self._expire)
        self._ended: Ended | None = None
        self._at: tuple[str, int] | None = None
        self.failed = ""  # the hook and the type that ended the dialogue, shown as its note

    def generate(self, ask: Generate) -> Coroutine[Any, Any, Answer]:
        """Return the line that leo says."""
        params = [ask.seed, ask.temperature, ask.semantic_weight, self._meta(ask, ask.candidate)]
        return self._ask(Method.GENERATE, params, _answer, ask.turn)

    def observe(self, what: Observe) -> Coroutine[Any, Any, Heard | None]:
        """Feed a recorded line into leo's field, and return the measures that he reports."""
        params = [what.line.text, self._meta(what.line, what.candidate)]
        return self._ask(Method.OBSERVE, params, _HEARD.decode, what.line.turn)

    async def recall(self, query: str, n: int) -> list[str]:
        """Return snapshots of leo's past. They only colour a seed, so if the hook raises, the dream goes on without."""
        try:
            snapshots = await self._ask(Method.RECALL, [query, n], _SNAPSHOTS.decode)
        except Ended as ended:
            if ended.outcome != "hook_error":
                raise
            self.failed = ""
            return []
        return [cut_text(snapshot) for snapshot in snapshots[:n]]

    @property
    def at(self) -> str:
        """The hook and the turn of the last call that was sent."""
        return f"{self._at[0]} {self._at[1]}" if self._at else ""

    def abandon(self, outcome: Outcome) -> None:
        """End the dialogue without waiting for the current call, and make no further one."""
        self._ended = Ended(outcome)
        if self._asking is not None and not self._asking.done():
            self._asking.set_exception(self._ended)

    def close(self) -> None:
        """Stop the timer of an ended dialogue."""
        self._timer.cancel()

    def _expire(self) -> None:
        if self._asking is not None and not self._asking.done():
            self._ended = self._end(self._asked, "dialogue deadline", "deadline")
            self._asking.set_exception(self._ended)

    def _meta(self, line: Generate | Line, candidate: int) -> Meta:
        role = _ROLES[line.speaker]
        tokens = self.settings.max_tokens
        return Meta(*self._about, line.turn, line.speaker, role, line.expert, tokens, candidate)

    async def _ask(
        self, method: str, params: list[Any], decode: Callable[[msgspec.Raw], T], turn: int = 1
    ) -> T:
        if self._ended is not None:
            raise self._ended
        started = self._monotonic()
        left_s = self._until - started
        if left_s <= 0:
            raise self._end(method, "dialogue deadline", "deadline")
        try:
            self._asked = method
            self._asking = self._session.call(method, params, min(left_s, self.settings.call_deadline_s))
            if not self._asking.done():
                self._at = method, turn
            raw = await self._asking
        except RemoteError as error:
            self._latency.add(method, self._monotonic() - started)
            kind, place = hook_failure(error.message, error.detail)
            raise self._end(method, kind, "hook_error", place) from None
        except CallTimeout:
            self._latency.add(method, self._monotonic() - started)
            raise self._end(method, "timeout", "deadline") from None
        except NotConnected:
            raise self._end(method, "connection lost", "lost") from None
        except UsageError:  # the params with the texts of the context exceed one message
            raise self._end(method, "too large to ask", "hook_error") from None
        self._latency.add(method, self._monotonic() - started)
        try:
            return decode(raw)
        except Exception as error:  # noqa: BLE001 - a peer's bytes can raise exceptions that no list foresees
            raise self._end(method, "wrong answer", "hook_error", explain_wrong_answer(error)) from None

    def _end(self, method: str, reason: str, outcome: Outcome, place: str = "") -> Ended:
        self.failed = f"{method}: {reason}"
        where = f"session {self._session.number}"
        self._failures.count(method, reason, place=f"{where}, {place}" if place else where)
        return Ended(outcome)
