"""The hook calls of one dialogue: typed answers, deadlines, and the count of failures (P10)."""

import asyncio
from contextlib import asynccontextmanager

import msgpack
import pytest
from dreamclient.errors import CallTimeout

from dreamd.clock import Clock
from dreamd.dream.dialogue import DialogueSettings, Ended, Generate, Observe
from dreamd.dream.model import TEXT_CHARS, Answer, Heard, Line
from dreamd.engine.session_hooks import SAMPLES, Latency, SessionHooks
from dreamd.failures import Failures
from tests.helpers.connection import pair
from tests.helpers.daemons.in_loop import TestClock

ASK = Generate(
    turn=2, speaker="friend", role="friend", seed="s", temperature=0.7, semantic_weight=0.5, expert="wounded"
)
LINE = Line(
    turn=1, speaker="leo", text="hi", novelty=0, arousal=0, entropy=0, trauma=0, overlap=0, seed="s",
    temperature=0.6, semantic_weight=0.3, expert="", candidates=("hi",),
)  # fmt: skip


# A timestamp of the first second of the year 10000: reading it raises ValueError, which is no msgspec error.
TOO_LATE = b"\xc7\x0c\xff" + bytes(4) + (253402300800).to_bytes(8, "big")


class Host:
    """The bare other end: takes one call, answers what it is told to."""

    def __init__(self, made, sock, clock, **settings):
        self.made, self.sock, self.latency = made, sock, Latency()
        self.hooks = SessionHooks(
            made.session, 5, "t-5", DialogueSettings(**settings), clock, made.failures, self.latency
        )
        self.loop = asyncio.get_running_loop()

    async def answers(self, call, error=None, result=None):
        asking = asyncio.create_task(call)
        _, msgid, *self.asked = msgpack.unpackb(await self.loop.sock_recv(self.sock, 1 << 20))
        raw = result if isinstance(result, bytes) else msgpack.packb(result)
        await self.loop.sock_sendall(
            self.sock, b"\x94\x01" + msgpack.packb(msgid) + msgpack.packb(error) + raw
        )
        return await asking


@asynccontextmanager
async def host(clock=None, **settings):
    async with pair() as (made, sock):
        yield Host(made, sock, clock or Clock(), **settings)


async def test_sends_documented_params_and_reads_typed_answers():
    async with host(max_tokens=9) as leo:
        assert await leo.answers(leo.hooks.generate(ASK), result="a line") == Answer(text="a line")
        about = {"kind": "dream", "dialog": 5, "trace_id": "t-5", "max_tokens": 9}
        meta = about | {"turn": 2, "speaker": "friend", "role": "friend", "expert": "wounded", "candidate": 1}
        assert leo.asked == ["generate", ["s", 0.7, 0.5, meta]]
        answer = await leo.answers(leo.hooks.generate(ASK), result={"text": "x", "novelty": 7, "new": []})
        assert answer == Answer(text="x", novelty=1.0)
        assert await leo.answers(leo.hooks.observe(Observe(LINE, 2))) is None
        meta = about | {"turn": 1, "speaker": "leo", "role": "leo_dream", "expert": "", "candidate": 2}
        assert leo.asked == ["observe", ["hi", meta]]
        assert await leo.answers(leo.hooks.observe(Observe(LINE, 2)), result={"trauma": -1}) == Heard(
            trauma=0.0
        )
        assert await leo.answers(leo.hooks.recall("q", 2), result=["a"]) == ["a"]
        assert leo.asked == ["recall", ["q", 2]]
        assert {name: f["calls"] for name, f in leo.latency.figures().items()} == {
            "generate": 2,
            "observe": 2,
            "recall": 1,
        }
        assert leo.hooks.failed == ""
        assert leo.made.failures.counts == {}


@pytest.mark.parametrize(
    "result",
    [
        *(None, 5, [], {}, {"text": 5}, {"text": "x", "novelty": "y"}, {"text": "x", "trauma": float("nan")}),
        *(b"\xa2\xff\xff", b"\x91" * 600 + b"\xc0"),
        *(TOO_LATE, b"\x82\xa4text\xa1x\xa7novelty" + TOO_LATE),
    ],
)
async def test_p10_a_wrong_answer_ends_the_dialogue_and_is_counted(result):
    async with host() as leo:
        with pytest.raises(Ended) as ended:
            await leo.answers(leo.hooks.generate(ASK), result=result)
        assert ended.value.outcome == "hook_error"
        assert leo.hooks.failed == "generate: wrong answer"
        assert leo.made.failures.counts == {"generate: wrong answer": 1}


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"text": 5}, "Expected `str`, got `int` - at `$.text`"),
        ({"novelty": 0.5}, "Object missing required field `text`"),
        ({"text": "secret", "novelty": "words"}, "Expected `float | null`, got `str` - at `$.novelty`"),
        ({"text": "secret", "trauma": float("nan")}, "`trauma` is nan, send a finite number or nil"),
        (b"\xa2\xff\xff", "UnicodeDecodeError"),
    ],
)
async def test_p10_p14_says_what_is_wrong_with_an_answer_and_no_text_of_it(result, says):
    async with host() as leo:
        with pytest.raises(Ended):
            await leo.answers(leo.hooks.generate(ASK), result=result)
        assert leo.made.failures.last[-1]["where"] == f"generate (session 1, {says})"


async def test_p10_an_exception_is_counted_by_its_type_and_place():
    async with host() as leo:
        error = [11, "generate raised TypeError", {"type": "TypeError", "where": "leo.py:42 in reply"}]
        with pytest.raises(Ended) as ended:
            await leo.answers(leo.hooks.generate(ASK), error=error)
        assert ended.value.outcome == "hook_error"
        with pytest.raises(Ended):
            await leo.answers(leo.hooks.observe(Observe(LINE, 2)), error="secret words")
        assert [(e["type"], e["where"]) for e in leo.made.failures.last] == [
            ("TypeError", "generate (session 1, leo.py:42 in reply)"), ("error", "observe (session 1)"),
        ]  # fmt: skip


async def test_a_failed_recall_does_not_end_the_dream():
    async with host() as leo:
        assert await leo.answers(leo.hooks.recall("q", 2), result="no list") == []
        assert leo.made.failures.counts == {"recall: wrong answer": 1}
        assert not leo.hooks.failed  # it ended nothing
        leo.sock.close()
        with pytest.raises(Ended) as ended:
            await leo.hooks.recall("q", 2)
        assert ended.value.outcome == "lost"


async def test_ends_a_dialogue_at_the_deadline_of_a_call():
    async with host(call_deadline_s=0.01) as leo:
        with pytest.raises(Ended) as ended:
            await leo.hooks.generate(ASK)
        assert ended.value.outcome == "deadline"
        assert leo.made.failures.counts == {"generate: timeout": 1}


async def test_ends_a_dialogue_at_its_own_deadline():
    time = TestClock()
    async with host(time.clock, deadline_s=10, call_deadline_s=8) as leo:
        time.pass_s(9)
        assert await leo.answers(leo.hooks.generate(ASK), result="x") == Answer(text="x")
        [timer] = [leo.made.session._calls._sweep]
        assert timer.when() < leo.loop.time() + 1.01  # what was left of the dialogue's, not the call's
        time.pass_s(1)
        with pytest.raises(Ended) as ended:
            await leo.hooks.observe(Observe(LINE, 2))
        assert ended.value.outcome == "deadline"
        assert leo.made.failures.counts == {"observe: dialogue deadline": 1}


async def test_ends_a_dialogue_with_its_connection():
    async with host() as leo:
        asking = asyncio.create_task(leo.hooks.generate(ASK))
        await leo.loop.sock_recv(leo.sock, 1 << 20)
        leo.sock.close()
        with pytest.raises(Ended) as ended:
            await asking
        assert ended.value.outcome == "lost"
        assert leo.made.failures.counts == {"generate: connection lost": 1}


async def test_counts_a_call_that_exceeds_a_message():
    """A context of nearly 1 MiB fits into a message. The call of the hook about it does not."""
    async with host() as leo:
        line = LINE.__class__(
            **{name: getattr(LINE, name) for name in LINE.__struct_fields__} | {"expert": "x" * (1 << 20)}
        )
        with pytest.raises(Ended) as ended:
            await leo.hooks.observe(Observe(line))
        assert ended.value.outcome == "hook_error"
        assert leo.made.failures.counts == {"observe: too large to ask": 1}
        assert leo.made.session._peer.pending == {}


async def test_abandon_ends_the_current_call_and_makes_no_further_one():
    async with host() as leo:
        asking = asyncio.create_task(leo.hooks.generate(ASK))
        await leo.loop.sock_recv(leo.sock, 1 << 20)
        leo.hooks.abandon("shutdown")
        with pytest.raises(Ended) as ended:
            await asking
        assert ended.value.outcome == "shutdown"
        leo.hooks.abandon("shutdown")
        with pytest.raises(Ended) as ended:
            await leo.hooks.observe(Observe(LINE, 2))
        assert ended.value.outcome == "shutdown"
        assert leo.made.failures.counts == {}  # not counted as a failure
        with pytest.raises(BlockingIOError):
            leo.sock.recv(1)


async def test_abandon_before_the_first_call_makes_none():
    async with host() as leo:
        leo.hooks.abandon("shutdown")
        with pytest.raises(Ended):
            await leo.hooks.generate(ASK)


def test_latency_figures_are_of_the_last_calls_and_counts_of_all():
    latency = Latency()
    for number in range(SAMPLES + 100):
        latency.add("generate", 1.0 if number < 100 else (number - 100) / 1e6)
    assert latency.figures() == {"generate": {"calls": SAMPLES + 100, "p50_ms": 0.511, "p99_ms": 1.013}}
    latency.add("observe", 0.25)
    assert latency.figures()["observe"] == {"calls": 1, "p50_ms": 250.0, "p99_ms": 250.0}


def test_latency_figures_are_nearest_ranks():
    latency = Latency()
    for number in range(1, 101):
        latency.add("generate", number / 1000)
    assert latency.figures()["generate"] == {"calls": 100, "p50_ms": 50.0, "p99_ms": 99.0}
    for seconds in (0.1, 0.001):
        latency.add("observe", seconds)
    assert latency.figures()["observe"] == {"calls": 2, "p50_ms": 1.0, "p99_ms": 100.0}


async def test_latency_figures_include_failed_and_slow_calls():
    """Otherwise the figures would show only the successful calls."""
    async with host(call_deadline_s=0.01) as leo:
        with pytest.raises(Ended):
            await leo.hooks.generate(ASK)
        assert leo.latency.figures()["generate"]["calls"] == 1
        assert leo.latency.figures()["generate"]["p50_ms"] >= 9
        await leo.loop.sock_recv(leo.sock, 1 << 20)
    async with host() as leo:
        for answer in ({"error": [11, "TypeError"]}, {"result": 5}):
            with pytest.raises(Ended):
                await leo.answers(leo.hooks.generate(ASK), **answer)
        assert leo.latency.figures()["generate"]["calls"] == 2


async def test_p11_cuts_answers_to_the_size_of_a_seed():
    async with host() as leo:
        assert (await leo.answers(leo.hooks.generate(ASK), result="x" * 100_000)).text == "x" * TEXT_CHARS
        snapshots = await leo.answers(leo.hooks.recall("q", 2), result=["y" * 100_000] * 9)
        assert snapshots == ["y" * TEXT_CHARS] * 2


async def test_each_call_has_the_deadline_of_a_call_at_most():
    class Silent:
        number, name, provides, field = 1, "leo", frozenset(), None

        def call(self, method, params, deadline_s):
            self.deadline_s = deadline_s
            answer = asyncio.get_running_loop().create_future()
            answer.set_exception(CallTimeout("no answer in time"))
            return answer

    session, clock = Silent(), Clock()
    settings = DialogueSettings(call_deadline_s=2.0)
    hooks = SessionHooks(session, 1, "t", settings, clock, Failures(clock), Latency())
    with pytest.raises(Ended):
        await hooks.recall("a", 1)
    assert session.deadline_s == 2.0
    hooks.close()
