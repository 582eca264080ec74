"""The protocol with no I/O: both ends of a connection run these tests, each with its codec."""

import gc
import json
import weakref
from collections import UserDict
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from dreamclient.errors import DreamError, Malformed, MessageTooLarge, RemoteError, UsageError
from dreamclient.messages import MESSAGE_BYTES, Code, PulseSnapshot
from dreamclient.protocol import rpc
from dreamclient.protocol.rpc import Notification, Peer, Reply, Request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgpack import fallback

from dreamd.wire import guarded
from dreamd.wire.guarded import GuardedPeer

DATA = Path(__file__).parents[2] / "data"
VALID = json.loads((DATA / "wire_valid.json").read_text())
BROKEN = json.loads((DATA / "wire_broken.json").read_text())
ENDS: dict[str, type[Peer]] = {"client": Peer, "daemon": GuardedPeer}
JUNK = b"\xc1\xc1 no MessagePack \xc1"

both_ends = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())


def value(raw: Any) -> Any:
    """Return the value that a codec left undecoded: the daemon's decodes params and results later, by type."""
    if isinstance(raw, msgspec.Raw | bytes):
        return msgspec.msgpack.decode(raw)
    return raw


def seen(event: rpc.Message) -> list[Any]:
    """Return an event as the golden files write it."""
    match event:
        case Request(msgid, method, params):
            return ["request", msgid, method, value(params)]
        case Notification(method, params):
            return ["notification", method, value(params)]
        case Reply(token, error, result):
            failed = error and [error.code, error.message, error.detail]
            return ["response", token, failed, value(result)]


def heard(peer: Peer, *pieces: bytes) -> list[list[Any]]:
    return [seen(event) for piece in pieces for event in peer.receive_data(piece) if event is not None]


def waiting_peer(end: type[Peer]) -> Peer:
    """Return a peer that has called with every id that the golden responses carry."""
    peer = end()
    peer.pending.update({msgid: msgid for msgid in range(8)})
    return peer


def singly(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# --- golden bytes ------------------------------------------------------------------------------------


@pytest.fixture(params=["compiled", "pure"])
def unpacker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms that msgpack comes in: where no compiler was, it is pure Python."""
    if request.param == "pure":
        monkeypatch.setattr(rpc, "Unpacker", fallback.Unpacker)


@both_ends
@pytest.mark.usefixtures("unpacker")
@pytest.mark.parametrize("golden", VALID, ids=lambda golden: golden["name"])
def test_golden_message_whole_byte_by_byte_and_with_junk_behind(
    end: type[Peer], golden: dict[str, Any]
) -> None:
    data = bytes.fromhex(golden["hex"])
    for pieces in ([data], singly(data)):
        peer = waiting_peer(end)
        assert heard(peer, *pieces) == [golden["event"]]
        assert peer.broken is None
    peer = waiting_peer(end)
    assert heard(peer, data + JUNK) == [golden["event"]]
    assert isinstance(peer.broken, Malformed)


@both_ends
@pytest.mark.usefixtures("unpacker")
@pytest.mark.parametrize("golden", BROKEN, ids=lambda golden: golden["name"])
def test_golden_breach_is_named_and_ends_that_peer(end: type[Peer], golden: dict[str, Any]) -> None:
    if golden["inside"] and end is GuardedPeer:
        end = Peer  # the daemon reads what is inside later, by its type, and answers that call alone
    msgid = golden["msgid"] if end is GuardedPeer else None  # the daemon addresses the error, if it can
    data = bytes.fromhex(golden["hex"])
    before = msgpack.packb([2, "event", [{}]])
    for pieces in ([before + data], [before, *singly(data)], [before + data + JUNK]):
        peer = waiting_peer(end)
        assert heard(peer, *pieces) == [["notification", "event", [{}]]]
        assert isinstance(peer.broken, Malformed)
        assert (peer.broken.msgid, peer.broken.is_answer) == (msgid, golden["is_answer"])
        said = [msgpack.unpackb(message) for message in peer.messages_to_send()]
        if golden["is_answer"]:
            assert said == []  # answered, two such peers would bounce errors without end
        elif msgid is None:
            assert said == [[2, "error", [Code.MALFORMED, str(peer.broken)]]]
        else:
            assert said == [[1, msgid, [Code.MALFORMED, str(peer.broken)], None]]
        assert peer.messages_to_send() == []
        assert heard(peer, before) == []


# --- properties --------------------------------------------------------------------------------------

keys = st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
params = st.lists(values, max_size=4)
msgids = st.integers(0, 7)
errors = st.none() | st.tuples(st.integers(0, 20), st.text(max_size=20)).map(list)
messages = (
    st.tuples(st.just(0), st.integers(0, rpc.MSGID_MASK), st.text(max_size=12), params)
    | st.tuples(st.just(1), msgids, errors, values)
    | st.tuples(st.just(2), st.text(max_size=12), params)
)
streams = st.lists(messages.map(msgpack.packb), max_size=6).map(b"".join)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@both_ends
@given(stream=streams, cuts=st.lists(st.integers(0, 10_000), max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_split_of_any_valid_stream_gives_the_same_events(
    end: type[Peer], stream: bytes, cuts: list[int]
) -> None:
    whole, split = waiting_peer(end), waiting_peer(end)
    events = heard(whole, stream)
    assert heard(split, *pieces_of(stream, cuts)) == events
    assert whole.broken is split.broken is None
    assert whole.unknown_answers == split.unknown_answers


@given(stream=streams)
@settings(max_examples=40, deadline=None)
def test_both_codecs_read_the_same_from_any_valid_stream(stream: bytes) -> None:
    assert heard(waiting_peer(Peer), stream) == heard(waiting_peer(GuardedPeer), stream)


damaged = st.tuples(streams, st.integers(0, 10_000), st.binary(max_size=4)).map(
    lambda it: it[0][: it[1] % (len(it[0]) + 1)] + it[2] + it[0][it[1] % (len(it[0]) + 1) + 1 :]
)


@both_ends
@given(data=st.binary(max_size=200) | damaged, cuts=st.lists(st.integers(0, 10_000), max_size=6))
@example(data=b"\x91" * 10_000, cuts=[])  # nesting
@example(data=b"\xdd\x40\x00\x00\x00", cuts=[])  # a list of 2**30
@example(data=b"\xdb\x40\x00\x00\x00", cuts=[1, 2, 3])  # a text of 1 GiB
@example(data=b"\xc1", cuts=[])
@settings(max_examples=80, deadline=None)
def test_any_bytes_give_events_or_one_documented_error(end: type[Peer], data: bytes, cuts: list[int]) -> None:
    peer = waiting_peer(end)
    for piece in pieces_of(data, cuts):
        for event in peer.receive_data(piece):
            assert isinstance(event, Request | Notification | Reply | None)
    assert peer.broken is None or isinstance(peer.broken, Malformed | MessageTooLarge)
    unaddressed = getattr(peer.broken, "is_answer", False)
    assert bool(peer.messages_to_send()) is (peer.broken is not None and not unaddressed)


@pytest.mark.parametrize("here", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("there", ENDS.values(), ids=ENDS.keys())
@given(asked=params, told=params, answer=values)
@settings(max_examples=25, deadline=None)
def test_one_end_reads_the_messages_of_the_other(
    here: type[Peer], there: type[Peer], asked: list[Any], told: list[Any], answer: Any
) -> None:
    us, them = here(), there()
    assert heard(them, us.notify("event", told)) == [["notification", "event", told]]
    # Nested, both ways at once: they call back before they answer.
    msgid, data = us.call("dream.now", asked, "ours")
    assert heard(them, data) == [["request", msgid, "dream.now", asked]]
    back, data = them.call("generate", asked, "theirs")
    assert heard(us, data) == [["request", back, "generate", asked]]
    assert heard(them, us.fail(back, 11, "generate raised TypeError", {"type": "TypeError"})) == [
        ["response", "theirs", [11, "generate raised TypeError", {"type": "TypeError"}], None]
    ]
    assert heard(us, them.respond(msgid, answer)) == [["response", "ours", None, answer]]
    assert us.pending == them.pending == {}


# --- limits ------------------------------------------------------------------------------------------


def notification_of(size: int) -> bytes:
    """Return `[2, "x", [bytes]]`, with the length of the bytes always written in four bytes."""
    return b"\x93\x02\xa1x\x91\xc6" + (size - 10).to_bytes(4, "big") + b"\0" * (size - 10)


@both_ends
def test_accepts_a_message_of_the_limit_and_refuses_one_byte_more(end: type[Peer]) -> None:
    """P11: the memory of a session is bounded."""
    peer = end()
    assert len(list(peer.receive_data(notification_of(MESSAGE_BYTES)))) == 1
    assert len(list(peer.receive_data(notification_of(100)))) == 1  # by a new Unpacker
    for split in (MESSAGE_BYTES + 1, 1000, MESSAGE_BYTES):
        peer = end()
        data = notification_of(MESSAGE_BYTES + 1)
        assert heard(peer, data[:split], data[split:]) == []
        assert isinstance(peer.broken, MessageTooLarge)
        assert msgpack.unpackb(*peer.messages_to_send()) == [2, "error", [Code.TOO_LARGE, str(peer.broken)]]


@both_ends
def test_the_limit_applies_to_messages_and_not_to_reads(end: type[Peer]) -> None:
    peer = end(message_bytes=100)
    assert len(list(peer.receive_data(notification_of(100) * 50))) == 50
    assert len(list(peer.receive_data(notification_of(100) + notification_of(101)))) == 1
    assert isinstance(peer.broken, MessageTooLarge)


@both_ends
def test_a_message_without_end_is_refused_at_the_limit(end: type[Peer]) -> None:
    """P11: many small values that never end are as bounded as one large one."""
    peer = end(message_bytes=1000)
    opening = b"\x93\x02\xa1x\xdc\x03\xe8"  # a list of 1000
    assert list(peer.receive_data(opening + b"\xc0" * 900)) == []
    assert peer.broken is None
    assert list(peer.receive_data(b"\xc0" * 100)) == []
    assert isinstance(peer.broken, MessageTooLarge)


def test_the_buffer_of_a_large_message_is_given_back() -> None:
    """P11: an Unpacker keeps the largest buffer that it ever had, so it is dropped while no message is begun."""
    peer = GuardedPeer()
    list(peer.receive_data(notification_of(1000)[:999]))
    list(peer.receive_data(notification_of(1000)[999:]))
    [first] = peer._spare
    list(peer.receive_data(notification_of(guarded.LARGE_BYTES + 9) + b"\x93"))
    assert (peer._unpacker, peer._spare) == (first, [])
    list(peer.receive_data(b"\x02\xa1x\x90"))
    assert (peer._unpacker, peer._spare) == (None, [])


@both_ends
@pytest.mark.parametrize(
    "broken", [b"\xc1", msgpack.packb([9]) * 2, b"\x94\x00\x01\xa1x\x01" * 2], ids=bytes.hex
)
def test_a_broken_peer_is_freed_with_its_buffers(end: type[Peer], broken: bytes) -> None:
    """P11: without a collection of cycles. After a flood of noise, they would keep 8 MB until the next one."""
    peer = end()
    assert list(peer.receive_data(broken)) == []
    assert isinstance(peer.broken, Malformed)
    freed = weakref.ref(peer)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        del peer
        assert freed() is None
    finally:
        gc.enable() if was_enabled else None


@pytest.mark.usefixtures("unpacker")
def test_nesting_of_ten_thousand_is_malformed() -> None:
    for opening in (b"\x91", b"\x81\xa1x"):
        peer = Peer()
        assert set(peer.receive_data(opening * 10_000)) <= {None}
        assert isinstance(peer.broken, Malformed)


@both_ends
def test_an_answer_to_no_call_is_counted_and_ignored(end: type[Peer]) -> None:
    peer = end()
    answered, _ = peer.call("why", [], "first")
    given_up, _ = peer.call("why", [], "second")
    del peer.pending[given_up]
    answers = [msgpack.packb([1, msgid, None, True]) for msgid in (77, given_up, answered, answered)]
    assert heard(peer, *answers) == [["response", "first", None, True]]
    assert (peer.unknown_answers, peer.broken, peer.messages_to_send()) == (3, None, [])


@both_ends
def test_a_call_is_pending_until_its_reply_is_taken(end: type[Peer]) -> None:
    """If a message before the reply ends the connection, its call fails like the others."""
    peer = end()
    first, _ = peer.call("a", [], "first")
    second, _ = peer.call("b", [], "second")
    data = b"".join(msgpack.packb([1, msgid, None, True]) for msgid in (first, second))
    events = peer.receive_data(data + msgpack.packb([9]))
    assert seen(next(events))[1] == "first"
    assert (peer.pending, peer.broken) == ({second: "second"}, None)
    assert [seen(event)[1] for event in peer.events()] == ["second"]  # by any reader
    assert isinstance(peer.broken, Malformed)


@both_ends
def test_a_reader_may_stop_after_any_message(end: type[Peer]) -> None:
    """P11: also after one that needs nothing more, and no more than CUT_BYTES are cut before the next event."""
    peer = end()
    data = msgpack.packb([1, 77, None, None]) + msgpack.packb([2, "x", []])
    pairs = 3 * rpc.CUT_BYTES // len(data)
    for chunk in data * pairs, data * 2:
        peer.receive_data(chunk)
    assert next(iter(peer.events())) is None
    assert (peer.messages, peer.unknown_answers) == (pytest.approx(2 * rpc.CUT_BYTES / len(data), abs=2), 1)
    taken = [event for event in peer.events() if event is not None]
    assert (peer.broken, peer.unknown_answers, len(taken)) == (None, pairs + 2, pairs + 2)


@both_ends
def test_a_reader_may_stop_within_a_large_message(end: type[Peer]) -> None:
    """P11: a MiB is not cut in one step, nor decoded in the last one, since others wait for the loop."""
    peer, data, pieces = end(), notification_of(MESSAGE_BYTES), MESSAGE_BYTES // rpc.CUT_BYTES
    half = MESSAGE_BYTES // 2
    assert list(peer.receive_data(data[:half])) == [None] * (pieces // 2 - 1)
    events = iter(peer.receive_data(data[half:]))
    assert (next(events), len(peer._uncut)) == (None, half - rpc.CUT_BYTES)
    assert [event and seen(event)[0] for event in events] == [None] * (pieces // 2 - 1) + ["notification"]


def test_message_ids_go_round_and_pass_over_those_still_out() -> None:
    peer = Peer()
    peer._ids = count(rpc.MSGID_MASK)
    assert peer.call("x", [], "last")[0] == rpc.MSGID_MASK
    peer.pending[0] = "out for 2**32 calls"
    assert peer.call("x", [], "next")[0] == 1


@both_ends
def test_never_sends_a_message_that_is_too_large(end: type[Peer]) -> None:
    """It would end the connection, so a call is refused here, and an answer becomes an error."""
    peer = end(message_bytes=1000)
    for send in (lambda: peer.call("x", ["y" * 1000], "token"), lambda: peer.notify("x", ["y" * 1000])):
        with pytest.raises(UsageError, match=r"^x: \d+ bytes to send; the limit is 1000$"):
            send()
    assert peer.pending == {}
    list(peer.receive_data(msgpack.packb([0, 4, "why", []])))
    answer = msgpack.unpackb(peer.respond(4, "y" * 1000))
    assert answer[:2] == [1, 4]
    assert answer[2][0] == Code.TOO_LARGE


# --- values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "message", "detail"),
    [
        ([5, "say hello"], 5, "say hello", {}),
        ([5, "say hello", {"type": "E"}], 5, "say hello", {"type": "E"}),
        ([5, "say hello", None], 5, "say hello", {}),
        ([5, "say hello", {"type": "E"}, 1], 5, "say hello", {"type": "E"}),
        ([5.0, "say hello", {"type": "E"}], 5, "say hello", {"type": "E"}),
        ([5, b"say hello"], 5, "say hello", {}),
        ([5.5, "say hello"], 0, "say hello", {}),
        ([float("inf"), "say hello"], 0, "say hello", {}),
        ([True, "say hello"], 0, "say hello", {}),
        (["code", "say hello", {"type": "E"}], 0, "say hello", {"type": "E"}),
        (b"say hello", 0, "say hello", {}),
        ("say hello", 0, "say hello", {}),
        (17, 0, "an error of type int", {}),
        ([], 0, "an error of type list", {}),
    ],
)
def test_errors_of_any_peer_are_understood(
    sent: Any, code: int, message: str, detail: dict[str, Any]
) -> None:
    peer = Peer()
    msgid, _ = peer.call("x", [], "token")
    (reply,) = peer.receive_data(msgpack.packb([1, msgid, sent, None]))
    assert isinstance(reply, Reply)
    error = reply.error
    assert isinstance(error, RemoteError)
    assert (error.code, error.message, error.detail, str(error)) == (code, message, detail, message)


@dataclass
class Attributes:
    """Measures of a host that refer to other objects, which would all be sent."""

    field: Any = None


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (PulseSnapshot(0.5), {"novelty": 0.5, "arousal": None, "entropy": None}),
        (UserDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        ((1, 2), [1, 2]),
        ("half \ud83d an emoji", "half ? an emoji"),
        ({"a": "\udfff"}, {"a": "?"}),
    ],
    ids=repr,
)
def test_encodes_the_values_that_hosts_have(sent: Any, arrives: Any) -> None:
    assert msgpack.unpackb(rpc.packed(sent)) == arrives


@pytest.mark.parametrize("sent", [Attributes(), {1, 2}, 2**64, object(), ["\ud800", Attributes()]], ids=type)
def test_raises_a_usage_error_for_a_value_that_no_message_can_hold(sent: Any) -> None:
    with pytest.raises(UsageError) as caught:
        rpc.packed(sent)
    assert isinstance(caught.value, DreamError)


def test_a_value_that_holds_itself_is_a_usage_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UsageError):
        rpc.packed(loop)


def test_nothing_behind_a_broken_message_is_read() -> None:
    """A stream that broke once has no meaning from there on, whatever follows."""
    peer = Peer()
    whole = rpc.packed([0, 1, "why", []])
    assert list(peer.receive_data(rpc.packed([9]) + whole)) == []
    assert isinstance(peer.broken, Malformed)
    assert [*peer.receive_data(whole), *peer.events()] == []
