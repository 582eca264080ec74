"""The protocol with no I/O: both ends of a connection run these tests, each with its codec."""

import json
from collections import UserDict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from dreamclient.errors import DreamError, Malformed, MessageTooLarge, RemoteError, UsageError
from dreamclient.messages import CALLS_IN_FLIGHT, MESSAGE_BYTES, Code, PulseSnapshot
from dreamclient.protocol import rpc
from dreamclient.protocol.rpc import PLAIN, Codec, Notification, Peer, Reply, Request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgpack import fallback

from dreamd.wire import typed

DATA = Path(__file__).parent.parent / "data"
VALID = json.loads((DATA / "wire_valid.json").read_text())
BROKEN = json.loads((DATA / "wire_broken.json").read_text())
CODECS = {"client": PLAIN, "daemon": typed.CODEC}
JUNK = b"\xc1\xc1 no MessagePack \xc1"

both_codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())


def value(raw: Any) -> Any:
    """What a codec left undecoded, as a value: the daemon's decodes params and results later, by type."""
    if isinstance(raw, msgspec.Raw | bytes):
        return msgspec.msgpack.decode(raw)
    return raw


def seen(event: rpc.Event) -> list[Any]:
    """An event as the golden files write it."""
    match event:
        case Request(msgid, method, params):
            return ["request", msgid, method, value(params)]
        case Notification(method, params):
            return ["notification", method, value(params)]
        case Reply(token, error, result):
            failed = error and [error.code, error.message, error.detail]
            return ["response", token, failed, value(result)]


def heard(peer: Peer, *pieces: bytes) -> list[list[Any]]:
    return [seen(event) for piece in pieces for event in peer.receive_data(piece)]


def waiting_peer(codec: Codec) -> Peer:
    """A peer that has called with every id that the golden responses carry."""
    peer = Peer(codec)
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


@both_codecs
@pytest.mark.usefixtures("unpacker")
@pytest.mark.parametrize("golden", VALID, ids=lambda golden: golden["name"])
def test_golden_message_whole_byte_by_byte_and_with_junk_behind(codec: Codec, golden: dict[str, Any]) -> None:
    data = bytes.fromhex(golden["hex"])
    for pieces in ([data], singly(data)):
        peer = waiting_peer(codec)
        assert heard(peer, *pieces) == [golden["event"]]
        assert peer.broken is None
    peer = waiting_peer(codec)
    assert heard(peer, data + JUNK) == [golden["event"]]
    assert isinstance(peer.broken, Malformed)


@both_codecs
@pytest.mark.usefixtures("unpacker")
@pytest.mark.parametrize("golden", BROKEN, ids=lambda golden: golden["name"])
def test_golden_breach_is_named_addressed_and_ends_that_peer(codec: Codec, golden: dict[str, Any]) -> None:
    if golden["inside"] and codec is typed.CODEC:
        # The daemon reads what is inside later, by its type, and answers that call alone.
        codec = PLAIN
    data = bytes.fromhex(golden["hex"])
    before = msgpack.packb([2, "event", [{}]])
    for pieces in ([before + data], [before, *singly(data)], [before + data + JUNK]):
        peer = waiting_peer(codec)
        assert heard(peer, *pieces) == [["notification", "event", [{}]]]
        assert isinstance(peer.broken, Malformed)
        assert (peer.broken.msgid, peer.broken.is_answer) == (golden["msgid"], golden["is_answer"])
        assert peer.data_owed is not golden["is_answer"]
        owed = peer.data_to_send()
        if golden["is_answer"]:
            assert owed == b""  # answered, two such peers would bounce errors for ever
        elif golden["msgid"] is None:
            assert msgpack.unpackb(owed) == [2, "error", [Code.MALFORMED, str(peer.broken)]]
        else:
            assert msgpack.unpackb(owed) == [1, golden["msgid"], [Code.MALFORMED, str(peer.broken)], None]
        assert (peer.data_owed, peer.data_to_send()) == (False, b"")
        assert heard(peer, before) == []


def test_a_tap_is_shown_each_whole_message_that_cannot_be_read_too() -> None:
    frames = [msgpack.packb([2, "a", []]), msgpack.packb([0, 1, "b", ["x" * 300]]), msgpack.packb([9])]
    peer, shown = Peer(), list[bytes]()
    for piece in singly(b"".join(frames)):
        list(peer.receive_data(piece, shown.extend))
    assert shown == frames
    assert peer.broken is not None


def test_what_a_peer_owes_can_be_taken_message_by_message() -> None:
    peer = Peer(calls_in_flight=1)
    list(peer.receive_data(b"".join(msgpack.packb([0, n, "m", []]) for n in range(3))))
    assert [msgpack.unpackb(message)[1] for message in peer.messages_to_send()] == [1, 2]
    assert (peer.data_owed, peer.data_to_send()) == (False, b"")


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


@both_codecs
@given(stream=streams, cuts=st.lists(st.integers(0, 10_000), max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_split_of_any_valid_stream_gives_the_same_events(
    codec: Codec, stream: bytes, cuts: list[int]
) -> None:
    whole, split = waiting_peer(codec), waiting_peer(codec)
    events = heard(whole, stream)
    assert heard(split, *pieces_of(stream, cuts)) == events
    assert whole.broken is split.broken is None
    assert whole.unknown_answers == split.unknown_answers


@given(stream=streams)
@settings(max_examples=40, deadline=None)
def test_both_codecs_read_the_same_from_any_valid_stream(stream: bytes) -> None:
    assert heard(waiting_peer(PLAIN), stream) == heard(waiting_peer(typed.CODEC), stream)


damaged = st.tuples(streams, st.integers(0, 10_000), st.binary(max_size=4)).map(
    lambda it: it[0][: it[1] % (len(it[0]) + 1)] + it[2] + it[0][it[1] % (len(it[0]) + 1) + 1 :]
)


@both_codecs
@given(data=st.binary(max_size=200) | damaged, cuts=st.lists(st.integers(0, 10_000), max_size=6))
@example(data=b"\x91" * 10_000, cuts=[])  # nesting
@example(data=b"\xdd\x40\x00\x00\x00", cuts=[])  # a list of 2**30
@example(data=b"\xdb\x40\x00\x00\x00", cuts=[1, 2, 3])  # a text of 1 GiB
@example(data=b"\xc1", cuts=[])
@settings(max_examples=80, deadline=None)
def test_any_bytes_give_events_or_one_documented_error(codec: Codec, data: bytes, cuts: list[int]) -> None:
    peer = waiting_peer(codec)
    for piece in pieces_of(data, cuts):
        for event in peer.receive_data(piece):
            assert isinstance(event, Request | Notification | Reply)
    assert peer.broken is None or isinstance(peer.broken, Malformed | MessageTooLarge)
    unaddressed = getattr(peer.broken, "is_answer", False)
    assert peer.data_owed is (peer.broken is not None and not unaddressed)


@pytest.mark.parametrize("here", CODECS.values(), ids=CODECS.keys())
@pytest.mark.parametrize("there", CODECS.values(), ids=CODECS.keys())
@given(asked=params, told=params, answer=values)
@settings(max_examples=25, deadline=None)
def test_what_one_end_says_the_other_hears(
    here: Codec, there: Codec, asked: list[Any], told: list[Any], answer: Any
) -> None:
    us, them = Peer(here), Peer(there)
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
    """`[2, "x", [bytes]]`, the bytes' length always written with four."""
    return b"\x93\x02\xa1x\x91\xc6" + (size - 10).to_bytes(4, "big") + b"\0" * (size - 10)


@both_codecs
def test_a_message_of_the_limit_is_taken_and_one_byte_more_is_not(codec: Codec) -> None:
    """P11: what a session can hold is bounded."""
    peer = Peer(codec)
    assert len(list(peer.receive_data(notification_of(MESSAGE_BYTES)))) == 1
    assert len(list(peer.receive_data(notification_of(100)))) == 1  # by a new Unpacker
    for split in (MESSAGE_BYTES + 1, 1000, MESSAGE_BYTES):
        peer = Peer(codec)
        data = notification_of(MESSAGE_BYTES + 1)
        assert heard(peer, data[:split], data[split:]) == []
        assert isinstance(peer.broken, MessageTooLarge)
        assert msgpack.unpackb(peer.data_to_send()) == [2, "error", [Code.TOO_LARGE, str(peer.broken)]]


@both_codecs
def test_the_limit_counts_messages_and_not_what_is_read_at_once(codec: Codec) -> None:
    peer = Peer(codec, message_bytes=100)
    assert len(list(peer.receive_data(notification_of(100) * 50))) == 50
    assert len(list(peer.receive_data(notification_of(100) + notification_of(101)))) == 1
    assert isinstance(peer.broken, MessageTooLarge)


@both_codecs
def test_a_message_without_end_is_refused_at_the_limit(codec: Codec) -> None:
    """P11: many small values that never end are as bounded as one large one."""
    peer = Peer(codec, message_bytes=1000)
    opening = b"\x93\x02\xa1x\xdc\x03\xe8"  # a list of 1000
    assert list(peer.receive_data(opening + b"\xc0" * 900)) == []
    assert peer.broken is None
    assert list(peer.receive_data(b"\xc0" * 100)) == []
    assert isinstance(peer.broken, MessageTooLarge)


# Numbers, ext values and short texts and bytes that stand before the length which is too large.
BEFORE_A_LENGTH = (
    "ca00000000 cb0000000000000000 ccff cdffff ceffffffff cfffffffffffffffff d0ff d1ffff d2ffffffff "
    "d3ffffffffffffffff d40000 d5000000 d60000000000 c7010000 c8000100ff c900000001ffff c40100 c5000100 "
    "c60000000100 d90161 da000161 db0000000161 a161 dc0000 de0000 9080 c0 c2 05 ff"
)


@both_codecs
@pytest.mark.parametrize("length", ["c6", "c9", "db", "dd", "df"])
def test_a_giant_is_refused_when_its_length_is_read(codec: Codec, length: str) -> None:
    """P11: 1 GiB announced costs a few bytes."""
    announced = bytes.fromhex(f"93 02 a178 dc0040 {BEFORE_A_LENGTH} {length}40000000")
    peer = Peer(codec)
    for piece in singly(announced[:-1]):
        assert list(peer.receive_data(piece)) == []
        assert peer.broken is None
    assert list(peer.receive_data(announced[-1:])) == []
    assert isinstance(peer.broken, MessageTooLarge)
    assert str(2**30) in str(peer.broken)


@both_codecs
def test_a_giant_behind_another_message_is_refused_as_soon(codec: Codec) -> None:
    peer = Peer(codec)
    before = notification_of(1000)
    assert list(peer.receive_data(before[:900])) == []
    assert len(list(peer.receive_data(before[900:] + b"\x93\x02\xa1x\x91\xdb\x40\x00\x00\x00"))) == 1
    assert isinstance(peer.broken, MessageTooLarge)


def test_the_buffer_of_a_large_message_is_given_back() -> None:
    """P11: an Unpacker keeps the largest buffer that it ever had, so it goes, where no message is begun."""
    framer = rpc.Framer()
    framer.feed(notification_of(1000))
    [first] = framer._spare
    framer.feed(notification_of(rpc.LARGE_BYTES) + b"\x93")
    assert (framer._unpacker, framer._spare) == (first, [])
    framer.feed(b"\x02\xa1x\x90")
    assert (framer._unpacker, framer._spare) == (None, [])


def test_peers_share_what_they_need_for_an_unfinished_message_alone() -> None:
    """P11: an idle connection would keep 44 KiB for it."""
    spare: list[Any] = []
    peers = [Peer(spare=spare) for _ in range(2 * rpc.SPARE)]
    message = notification_of(1000)
    for cut in (1000, 400, 1000, 1, 1000):
        for peer in peers:
            assert len(list(peer.receive_data(message[:cut]))) == (cut == 1000)
        assert len(spare) == (1 if cut == 1000 else 0)
        for peer in peers if cut < 1000 else ():
            assert len(list(peer.receive_data(message[cut:]))) == 1
        assert 1 <= len(spare) <= rpc.SPARE
        del spare[1:]


@both_codecs
def test_a_giant_far_inside_a_message_is_refused_by_what_has_come(codec: Codec) -> None:
    peer = Peer(codec, message_bytes=2000)
    list(peer.receive_data(b"\x93\x02\xa1x\x92" + msgpack.packb("x" * 300) + b"\xdb\x40\x00\x00\x00"))
    assert peer.broken is None
    list(peer.receive_data(b"x" * 2000))
    assert isinstance(peer.broken, MessageTooLarge)


@pytest.mark.usefixtures("unpacker")
def test_nesting_of_ten_thousand_is_malformed() -> None:
    for opening in (b"\x91", b"\x81\xa1x"):
        peer = Peer()
        assert list(peer.receive_data(opening * 10_000)) == []
        assert isinstance(peer.broken, Malformed)


def test_free_values_nest_to_the_limit_and_no_deeper() -> None:
    within: Any = 1
    for _ in range(rpc.NESTING):
        within = [within]
    assert not rpc.too_deep(within)
    assert rpc.too_deep([within])
    assert rpc.too_deep({"a": 1, "b": {"c": within}})
    assert len(list(Peer().receive_data(msgpack.packb([2, "x", [within]])))) == 1


@both_codecs
def test_calls_beyond_the_cap_are_answered_too_many(codec: Codec) -> None:
    """P11: calls in flight are bounded, and every one of them is answered."""
    peer = Peer(codec)
    calls = b"".join(msgpack.packb([0, msgid, "why", []]) for msgid in range(CALLS_IN_FLIGHT + 2))
    assert [event[1] for event in heard(peer, calls)] == list(range(CALLS_IN_FLIGHT))
    unpacker = msgpack.Unpacker()
    unpacker.feed(peer.data_to_send())
    assert [(answer[1], answer[2][0]) for answer in unpacker] == [
        (CALLS_IN_FLIGHT, Code.TOO_MANY),
        (CALLS_IN_FLIGHT + 1, Code.TOO_MANY),
    ]
    assert (peer.refused_calls, peer.broken) == (2, None)
    peer.respond(0, [])
    peer.fail(1, Code.INTERNAL, "no")
    more = b"".join(msgpack.packb([0, msgid, "why", []]) for msgid in range(100, 103))
    assert [event[1] for event in heard(peer, more)] == [100, 101]


@both_codecs
def test_an_answer_to_no_call_is_counted_and_ignored(codec: Codec) -> None:
    peer = Peer(codec)
    answered, _ = peer.call("why", [], "first")
    given_up, _ = peer.call("why", [], "second")
    del peer.pending[given_up]
    answers = [msgpack.packb([1, msgid, None, True]) for msgid in (77, given_up, answered, answered)]
    assert heard(peer, *answers) == [["response", "first", None, True]]
    assert (peer.unknown_answers, peer.broken, peer.data_owed) == (3, None, False)


@both_codecs
def test_a_call_is_pending_until_its_reply_is_taken(codec: Codec) -> None:
    """Its caller is failed with the others if what stands before it costs the connection."""
    peer = Peer(codec)
    first, _ = peer.call("a", [], "first")
    second, _ = peer.call("b", [], "second")
    data = b"".join(msgpack.packb([1, msgid, None, True]) for msgid in (first, second))
    events = peer.receive_data(data + msgpack.packb([9]))
    assert seen(next(events))[1] == "first"
    assert (peer.pending, peer.broken) == ({second: "second"}, None)
    assert [seen(event)[1] for event in peer.events()] == ["second"]  # by any reader
    assert isinstance(peer.broken, Malformed)


@both_codecs
def test_how_far_a_peer_has_got(codec: Codec) -> None:
    peer = Peer(codec)
    message = msgpack.packb([2, "x", []])
    assert (peer.messages, peer.unfinished) == (0, False)
    assert len(list(peer.receive_data(message * 2 + message[:3]))) == 2
    assert (peer.messages, peer.unfinished) == (2, True)
    assert len(list(peer.receive_data(message[3:]))) == 1
    assert (peer.messages, peer.unfinished) == (3, False)


def test_message_ids_go_round_and_pass_over_those_still_out() -> None:
    peer = Peer()
    peer._next_id = rpc.MSGID_MASK
    assert peer.call("x", [], "last")[0] == rpc.MSGID_MASK
    peer.pending[0] = "out for 2**32 calls"
    assert peer.call("x", [], "next")[0] == 1


@both_codecs
def test_what_is_too_large_to_send_is_never_sent(codec: Codec) -> None:
    """Sent, it would cost the connection: a call is refused here, an answer becomes an error."""
    peer = Peer(codec, message_bytes=1000)
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
    depth: int
    inner: Any = None


class Bare:
    __slots__ = ()


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (Attributes(1, Attributes(2)), {"depth": 1, "inner": {"depth": 2, "inner": None}}),
        (PulseSnapshot(0.5), {"novelty": 0.5, "arousal": None, "entropy": None}),
        (UserDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        ((1, 2), [1, 2]),
        ("half \ud83d an emoji", "half ? an emoji"),
        (Attributes(1, "\udfff"), {"depth": 1, "inner": "?"}),
    ],
    ids=repr,
)
def test_what_hosts_have_is_encoded_as_values(sent: Any, arrives: Any) -> None:
    assert msgpack.unpackb(rpc.packed(sent)) == arrives


@pytest.mark.parametrize("sent", [Bare(), {1, 2}, 2**64, object(), ["\ud800", Bare()]], ids=type)
def test_what_no_message_can_hold_is_a_usage_error(sent: Any) -> None:
    with pytest.raises(UsageError) as caught:
        rpc.packed(sent)
    assert isinstance(caught.value, DreamError)


def test_a_value_that_holds_itself_is_a_usage_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UsageError):
        rpc.packed(loop)
