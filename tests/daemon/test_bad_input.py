"""Bad input of every kind: it gets a clear error if one can be sent, `status` counts it with its reason, and another
session keeps dreaming meanwhile."""

import asyncio
import math
import socket
from contextlib import asynccontextmanager

import msgpack
import pytest
from dreamclient.messages import Method

from dreamd.inbox.capability import WRITE_SCOPE
from dreamd.wire import session
from dreamd.wire.handlers import TABLE
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, leo
from tests.helpers.peer import PeerError, PlainPeer, hearing, saying
from tests.helpers.waiting import until_on_loop

HUGE = "x" * 1_000_000
DEEP = "deep"
for _ in range(900):
    DEEP = [DEEP]


@asynccontextmanager
async def besides(tmp_path, **settings):
    """Run a daemon and a leo that dreams all the time. Yield the service, and check that the dreams went on."""
    settings = {"dialogue__call_deadline_s": 60, **settings}
    async with serving(tmp_path, **settings) as service, await leo(service, "besides") as other:
        outcomes = []

        async def dream():
            while True:
                outcomes.append((await other.call("dream.now", STIRRED))["outcome"])

        dreaming = asyncio.create_task(dream())
        await until_on_loop(lambda: outcomes)
        try:
            yield service
            before = len(outcomes)
            await until_on_loop(lambda: len(outcomes) > before + 1 or dreaming.done())
            assert not dreaming.done()
            assert set(outcomes) == {"complete"}
        finally:
            dreaming.cancel()
            await asyncio.gather(dreaming, return_exceptions=True)


def hurry(service, name, hook):
    """Give each call of this hook of this client 0.2 s. The other dialogues have a deadline that never passes."""
    [session] = [session for session in service.sessions.values() if session.name == name]
    call = session.call
    session.call = lambda method, params, deadline_s: call(
        method, params, 0.2 if method == hook else deadline_s
    )


async def counted(service):
    """Return the failures and refusals that a new client sees in `status`."""
    async with await PlainPeer.connect(service.socket) as peer:
        status = await peer.call("status")
        return status["failures"] | status["refusals"]


# --- params ------------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
# A timestamp of its first second: reading it raises ValueError, as nothing else does.
YEAR_10000 = b"\xc7\x0c\xff" + bytes(4) + (253402300800).to_bytes(8, "big")
WRONG = {
    Method.HELLO: [
        [], [None], [[]], [{}], [{"protocol": 1}], [{"name": "leo"}], [{"name": 5, "protocol": 1}],
        [{"protocol": 1.5, "name": "x"}], [{"protocol": NAN, "name": "x"}], [{"protocol": 1, "name": HUGE}],
        [{"protocol": 1, "name": ""}], [{"protocol": 1, "name": "x", "pid": -1}],
        [{"protocol": 1, "name": "x", "provides": "generate"}], [{"protocol": 1, "name": "x", "provides": [5]}],
        [{"protocol": 1, "name": "x", "provides": ["g"] * 65}], [{"protocol": 1, "name": "x", "version": HUGE}],
        [{"protocol": 1, "name": "x", "failures": {"a": -1}}], [{"protocol": 1, "name": "x"}, 1], ["leo", 1],
    ],
    Method.STATUS: [[1], [None], [{}], [HUGE]],
    Method.SHUTDOWN: [[1], [None], [{}], [HUGE]],
    Method.SUBSCRIBE: [[1], [None], ["line"]],
    Method.TRACE: [["1"], [1.5], [NAN], [{}], [1, 2]],
    Method.CONTEXT: [
        [], [None], [[]], ["hello"], [5], [{}, 1], [{"prompt": 5}], [{"prompt": None}], [{"reply": b"x"}],
        [{"trauma_level": NAN}], [{"trauma_level": INF}], [{"trauma_level": "0.5"}], [{"quality": -INF}],
        [{"pulse": []}], [{"pulse": {"novelty": NAN}}], [{"pulse": {"arousal": "x"}}], [{"themes": 5}],
        [{"themes": ["a"]}], [{"themes": [1.5]}], [{"expert": None}], [{"math_state": []}],
        [{"math_state": {1: 2}}], [{"math_state": {b"a": 2}}], [YEAR_10000], [{"themes": [1e300]}],
        [{"themes": [NAN]}], [{"themes": [1] * 1025}], [{"failures": {str(n): 1 for n in range(300)}}],
        [{"failures": {"a": "b"}}], [{"failures": []}], [b"\x81\x81\x01\x02\x03"],
    ],
    Method.NOW: [[5], [None, "1"], [None, 1.5], [{}, {}], [1, {}], [None, None, None], [{"quality": NAN}]],
    Method.PRIVATE: [
        [], [None], [3], [{"private": -1}], [{"private": "3"}], [{"private": 1.5}], [{"failures": []}], [{}, 1],
    ],
    Method.PAUSE: [["2h"], [0], [-1], [NAN], [INF], [1e300], [1, 2], [[]]],
    Method.RESUME: [[1], [None], [{}]],
    Method.SEED: [
        [], [None], [[]], [{"origin": "text"}], [{"origin": [5]}], [{"origin": [None]}], [{"readme": {}}],
        [{"origin": ["a"] * 5000}], [["a"], ["b"]], [{}, {}],
    ],
    Method.WHY: [["1"], [-1], [1.5], [NAN], [None], [10_001], [1, 2], [1 << 63], [[]]],
    Method.DIALOGS_RECENT: [
        ["1"], [-1], [1.5], [INF], [None], [1001], [1, 0], [1, "2"], [1, 1.5], [1, 1 << 63], [1, 2, 3], [{}],
    ],
    Method.DIALOGS_GET: [[], ["1"], [-1], [0], [1.5], [NAN], [None], [1, 2], [1 << 63], [(1 << 64) - 1], [-(1 << 63)]],
    Method.DIALOGS_SEARCH: [[], [1], ["a" * 1025], ["a", -1], ["a", 1, 0], ["a", 1, None, 1]],
    Method.DIALOGS_WHENCE: [[], [1], ["a" * 1025], ["a", -1], ["a", 1, -1], ["a", 1, 0, 1]],
    Method.DIALOGS_UNDREAM: [
        [], [None], [1], [{}], [{"id": 0}], [{"id": 1, "since": 1.0}], [{"since": NAN}], [{"x": 1}],
    ],
    Method.DIALOGS_FORGET: [
        [], [None], [1], [{}], [{"id": 1, "before": 2}], [{"id": 0}], [{"id": "1"}], [{"id": 1 << 63}],
        [{"before": "1"}], [{"id": 1, "friend": 1}], [{"id": 1, "other": True}], [{"id": 1}, 1],
        [{"before": NAN}], [{"before": INF}],
    ],
    Method.DIALOGS_REPLAY: [[], ["1"], [-1], [0], [1.5], [None], [1, 2], [1 << 63]],
    Method.FRAGMENTS: [[1], [[]], [HUGE], [""], ["a", 1], [None, 0], [None, "1"], [None, None, None]],
    Method.CHECKPOINT: [[], [5], [None], [HUGE], [""], ["a", 1], ["a", False, None]],
    Method.CHECKPOINTS: [["1"], [-1], [1.5], [None], [1, 2]],
    Method.DELETE_CHECKPOINT: [[], [5], [None], [HUGE], [""], ["a", "b"]],
    Method.RESTORE: [[], [5], [None], [HUGE], [""], ["a", "b"], ["a", 1], [None, 0], [None, None]],
    Method.DROP: [[], [None], [5], [[]], [[0]], [["1"]], [[1.5]], [list(range(1, 400))], [[1], [2]]],
    Method.IMPORT: [[], [5], [None], [[]], [[5]], [[{}]], [[{"text": 5}]], [{}], [[{"text": "a", "weight": "b"}]]],
    Method.RESEED: [[], [None], [[]], [{"origin": "text"}], [{"origin": [5]}], [{"readme": {}}], [{}, {}]],
    Method.DRIFT: [["1"], [-1], [1.5], [None], [1001], [1, 0], [1, 2, 3]],
    Method.STATS: [[1], [None]],
    Method.INBOX_PERSIST: [
        [], [None], [{}], [{"seed": {}, "result": {}}], [{"seed": {}, "result": {}, "cap_token": {}, "base_dir": "/"}],
        [{}, {}, {}], [HUGE], [b"\x81\xa4seed\x81\x81\x01\x02\x03"],
    ],
    Method.INBOX_LIST: [[None], ["x"], [-1], [1001], [1.5], [1, 2], [1, "a", 2], [1, b"a"]],
    Method.INBOX_READ: [[], [5], [None], ["a", "b"], [b"a"], [[]]],
    Method.INBOX_ACK: [[], [5], [None], ["a", "b"], [b"a"], [{}]],
}  # fmt: skip
PERMITTED = {"scopes": [WRITE_SCOPE]}


def asked_to_persist(result=None, seed=None, cap_token=PERMITTED):
    return [{"seed": {} if seed is None else seed, "result": result, "cap_token": cap_token}]


# Of the right types, and still not right.
REFUSED = {
    Method.DIALOGS_SEARCH: [([""], 2), (["!? *"], 2), (['"'], 2)],
    Method.DIALOGS_WHENCE: [([""], 2), (["!? *"], 2), (['"'], 2)],
    Method.INBOX_READ: [(["../../etc/passwd"], 16), ([""], 16), (["x" * 129], 16), ([HUGE], 16), (["none"], 12)],
    Method.INBOX_ACK: [([".."], 16), (["a/b"], 16), (["a\0"], 16), (["none"], 12)],
    Method.INBOX_PERSIST: [
        (asked_to_persist(), 16),
        (asked_to_persist(result=5), 16),
        (asked_to_persist({"trace_id": "t"}, cap_token=5), 15),
        (asked_to_persist({"trace_id": "t"}, cap_token={"scopes": ["other"]}), 15),
        (asked_to_persist({"trace_id": "t"}, cap_token=PERMITTED | {"exp_ts": NAN}), 15),
        (asked_to_persist({"trace_id": "t", "shards": []}, seed=5), 16),
        *(
            (asked_to_persist({"trace_id": "t", "shards": shards}), 16)
            for shards in (5, [5], [{"a": NAN}], [{"a": b"x"}], [{"a": DEEP}], [{None: 6}], [{5: 6, "5": 7}], [])
        ),
    ],
    Method.DIALOGS_GET: [([1 << 62], 12)],
    Method.TRACE: [([999], 12), ([-1], 12)],
    Method.NOW: [([None, 999], 13), ([None, -1], 13), ([None, (1 << 64) - 1], 13)],
    Method.HELLO: [([{"protocol": n, "name": "x"}], 6) for n in (0, 2, 99, -1, 1 << 40)],
    "no.such.method": [([], 3), ([HUGE], 3)],
    HUGE: [([], 3)],
    "": [([], 3)],
}  # fmt: skip


def test_covers_every_method():
    assert {*WRONG} == {*TABLE}


def frame(msgid, method, params):
    """Return a request. A param in bytes that is no text goes in as it is."""
    raw = [p if isinstance(p, bytes) and p[:1] >= b"\x80" else msgpack.packb(p) for p in params]
    return (
        b"\x94\x00" + msgpack.packb(msgid) + msgpack.packb(method) + bytes([0x90 | len(raw)]) + b"".join(raw)
    )


async def answer_of(peer, method, params, msgid):
    waiting = peer._waiting[msgid] = asyncio.get_running_loop().create_future()
    peer.send(frame(msgid, method, params))
    async with asyncio.timeout(20):
        with pytest.raises(PeerError) as caught:
            await waiting
    return caught.value


async def test_every_method_names_wrong_params_and_the_expected_type(tmp_path):
    async with besides(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        await peer.hello("bad")
        msgid = 1000
        for method, wrong in WRONG.items():
            for params in wrong:
                msgid += 1
                error = await answer_of(peer, method, params, msgid)
                assert error.code == 2, (method, str(params)[:100], error)
                assert error.message.startswith(f"{method}: "), method
                assert "; expected [" in error.message
                assert len(error.message) < 300
            assert (await counted(service))[f"{method}: INVALID_PARAMS"] == len(wrong)
        assert await peer.call("why", 0) == []
        assert not service.stop.__self__.is_set()


async def test_every_method_refuses_wrong_values_of_the_right_type(tmp_path):
    async with besides(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        await peer.hello("bad")
        msgid = 1000
        for method, wrong in REFUSED.items():
            for params, code in wrong:
                msgid += 1
                error = await answer_of(peer, method, params, msgid)
                assert error.code == code, (method, str(params)[:100], error)
                assert 0 < len(error.message) < 300
        found = await counted(service)
        named = {key.partition(": ")[0] for key in found}
        assert named == {method for method in REFUSED if method in TABLE} | {"unknown method"}
        assert sum(found.values()) == sum(map(len, REFUSED.values()))
        assert list((tmp_path / "inbox" / "dreams").glob("t*.json")) == []


@pytest.mark.parametrize("params", [None, {}, "x", 5, b"\x80", True])
async def test_params_that_are_no_array_end_that_connection_with_an_answer(tmp_path, params):
    async with besides(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        answer = peer._waiting[7] = asyncio.get_running_loop().create_future()
        peer.send([0, 7, "status", params])
        with pytest.raises(PeerError, match=r"expected \[0, msgid, method, params\]") as caught:
            await answer
        assert caught.value.code == 8
        await peer.closed()
        assert (await counted(service)) == {"peer: Malformed": 1}


async def test_answers_another_protocol_with_advice_and_the_frozen_methods(tmp_path):
    async with besides(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        with pytest.raises(PeerError, match="upgrade the older of the two and restart it") as caught:
            await peer.hello(protocol=2)
        assert caught.value.code == 6
        with pytest.raises(PeerError) as caught:
            await peer.call("dream.context", STIRRED)
        assert caught.value.code == 5
        assert (await peer.call("status"))["refusals"] == {
            "hello: WRONG_PROTOCOL": 1,
            "dream.context: HELLO_REQUIRED": 1,
        }


async def test_contexts_without_hello_are_counted_and_decide_nothing(tmp_path):
    async with besides(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        for _ in range(10):
            peer.send([2, "dream.context", [STIRRED]])
        assert (await peer.call("status"))["failures"] == {"dream.context: HELLO_REQUIRED": 10}
        assert "dream" not in service.engine.reasons


async def test_counts_and_ignores_an_answer_to_no_call(tmp_path):
    async with besides(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        for message in ([1, 5, None, "x"], [1, 1 << 31, [1, "x"], None], [1, 0, None, None]):
            peer.send(message)
        assert (await peer.call("status"))["failures"] == {"peer: answer to no call": 3}


# --- bytes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    ids=lambda value: value[:8].hex() if isinstance(value, bytes) else None,
    argvalues=[
        (b"\xdb\x40\x00\x00\x00", "MessageTooLarge", 7),  # a text of 1 GiB
        (b"\x93\x02\xa4test\x91\xc6\x40\x00\x00\x00", "MessageTooLarge", 7),
        (b"\x94\x00\x01\xa4test\xdd\x40\x00\x00\x00", "MessageTooLarge", 7),
        (b"\x91" * 10_000, "Malformed", 8),
        (b"\x81\xa1a" * 10_000, "Malformed", 8),
        (b"\xc1" * 100, "Malformed", 8),
        (b"GET / HTTP/1.1\r\n\r\n", "Malformed", 8),
        (b"\x94\x00\x05\xa6status\xc0", "Malformed", "as an answer"),
        (msgpack.packb([0, 5]), "Malformed", "as an answer"),
        (msgpack.packb([2, 5, []]), "Malformed", 8),
        (msgpack.packb([1, 5]), "Malformed", None),  # meant as an answer: never answered
        (msgpack.packb([2, "x", ["y" * (1 << 20)]]), "MessageTooLarge", 7),
    ],
)
async def test_a_breach_of_the_protocol_ends_only_its_connection(tmp_path, data, kind, told):
    async with besides(tmp_path) as service:
        async with await PlainPeer.connect(service.socket) as peer:
            answer = peer._waiting[5] = asyncio.get_running_loop().create_future()
            peer.send(data)
            await peer.closed()
            if told == "as an answer":
                assert answer.exception().code == 8
            else:
                assert isinstance(answer.exception(), ConnectionError)
            if isinstance(told, int):
                method, [code, text] = peer.told.get_nowait()
                assert (method, code) == ("error", told)
                assert 0 < len(text) < 200
            assert peer.told.empty()
        assert await counted(service) == {f"peer: {kind}": 1}


async def test_half_a_frame_and_silence_affect_no_other_session(tmp_path):
    async with besides(tmp_path) as service:
        silent = [await PlainPeer.connect(service.socket) for _ in range(20)]
        for number, peer in enumerate(silent):
            peer.send(msgpack.packb([0, 1, "status", []])[: number % 9])
        async with await PlainPeer.connect(service.socket) as other:
            assert len((await other.call("status"))["sessions"]) == 22
        assert await counted(service) == {}
        for peer in silent:
            await peer.close()


async def _without_end(send, *arguments):
    while True:
        await send(*arguments)


async def test_p11_cuts_off_a_client_that_never_reads_without_effect_on_others(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "PATIENCE_S", 0.1)
    async with (
        besides(tmp_path, tick_s=0.05) as service,
        await PlainPeer.connect(service.socket) as asker,
    ):
        await asker.hello("asker")
        await asker.call(
            "dream.seed", {"origin": [f"{n} is a fragment of a long origin, " * 10 for n in range(200)]}
        )
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.setblocking(False)
            deaf.connect(service.socket)
            request = msgpack.packb([0, 1, "hello", [{"protocol": 1, "name": "deaf"}]]) + b"".join(
                msgpack.packb([0, n, "friend.fragments", []]) for n in range(2, 1000)
            )
            loop = asyncio.get_running_loop()
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await asyncio.wait_for(_without_end(loop.sock_sendall, deaf, request), 20)
        assert (await counted(service))["peer: slow reader"] == 1
        assert "deaf" not in {s["name"] for s in (await asker.call("status"))["sessions"]}


# --- hooks -------------------------------------------------------------------------------------------


async def never(*_):
    await asyncio.Event().wait()


def raising(*_):
    raise ZeroDivisionError("secret words")


BAD_HOOKS = {
    "raises": (raising, "hook_error", "ZeroDivisionError"),
    "never returns": (never, "deadline", "timeout"),
    "a number": (lambda *_: 5, "hook_error", "wrong answer"),
    "a list": (lambda *_: ["a"], "hook_error", "wrong answer"),
    "bytes": (lambda *_: b"a", "hook_error", "wrong answer"),
    "NaN": (lambda *_: {"text": "x", "novelty": NAN}, "hook_error", "wrong answer"),
    "wrong types inside": (lambda *_: {"text": "x", "trauma": "deep"}, "hook_error", "wrong answer"),
    "10 MB": (lambda *_: "x" * 10_000_000, "left", "connection lost"),
    "nested": (lambda *_: DEEP, "hook_error", "wrong answer"),
}
ALONE = {
    ("generate", "nothing"): (lambda *_: None, "hook_error", "wrong answer"),
    ("generate", "an empty map"): (lambda *_: {}, "hook_error", "wrong answer"),
    ("observe", "a text"): (lambda *_: "a", "hook_error", "wrong answer"),
    ("observe", "true"): (lambda *_: True, "hook_error", "wrong answer"),
}


@pytest.mark.parametrize(
    ("hook", "does", "outcome", "reason"),
    [(hook, *bad) for hook in ("generate", "observe") for bad in BAD_HOOKS.values()]
    + [(hook, *bad) for (hook, _), bad in ALONE.items()],
    ids=[f"{hook} {name}" for hook in ("generate", "observe") for name in BAD_HOOKS]
    + [" ".join(key) for key in ALONE],
)
async def test_p10_a_bad_hook_ends_its_own_dialogue_and_is_counted(tmp_path, hook, does, outcome, reason):
    async with besides(tmp_path) as service:
        hooks = {"generate": saying, "observe": hearing, hook: does}
        async with (
            await PlainPeer.connect(service.socket, **hooks) as bad,
            await PlainPeer.connect(service.socket) as asker,
        ):
            await bad.hello("bad")
            await asker.hello("asker")
            if outcome == "deadline":
                hurry(service, "bad", hook)
            [number] = [s["session"] for s in (await asker.call("status"))["sessions"] if s["name"] == "bad"]
            ended = await asker.call("dream.now", STIRRED, number)
            assert ended["outcome"] == outcome
            assert ended["lines"] == (1 if hook == "observe" else 0)
            status = await asker.call("status")
        assert status["failures"].pop(f"{hook}: {reason}") == 1
        assert status["failures"] == ({"peer: MessageTooLarge": 1} if outcome == "left" else {})
        assert status["last_errors"][-1]["type"] in (reason, "MessageTooLarge")
        assert "secret" not in str(status)


@pytest.mark.parametrize("recalled", [5, [5], None, [NAN], {"a": 1}])
async def test_a_recall_of_any_kind_never_ends_a_dream(tmp_path, recalled):
    async with besides(tmp_path) as service:
        async with await leo(service, "bad", recall=lambda *_: recalled) as bad:
            assert (await bad.call("dream.now", STIRRED))["outcome"] == "complete"
        assert await counted(service) == {"recall: wrong answer": 1}


async def test_a_slow_hook_delays_only_its_dialogue(tmp_path):
    """Two bad leos and a good one are connected together."""
    async with besides(tmp_path) as service:
        bad = [await leo(service, f"bad{n}", generate=never) for n in range(2)]
        for number in range(2):
            hurry(service, f"bad{number}", "generate")
        async with await PlainPeer.connect(service.socket) as asker:
            await asker.hello("asker")
            numbers = [
                s["session"] for s in (await asker.call("status"))["sessions"] if s["name"].startswith("bad")
            ]
            ended = await asyncio.gather(*(asker.call("dream.now", STIRRED, n) for n in numbers))
        assert [e["outcome"] for e in ended] == ["deadline"] * 2
        assert await counted(service) == {"generate: timeout": 2}
        for peer in bad:
            await peer.close()
