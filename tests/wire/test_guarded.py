"""The daemon's end of a connection with an untrusted peer. For both ends: tests/client/protocol/test_rpc.py."""

from typing import Any

import msgpack
import pytest
from dreamclient.errors import MessageTooLarge
from dreamclient.messages import CALLS_IN_FLIGHT, NESTING, Code

from dreamd.wire.codec import too_deep
from dreamd.wire.guarded import LARGE_BYTES, SPARE, GuardedPeer
from tests.client.protocol.test_rpc import notification_of, singly

# Numbers, ext values and short texts and bytes that stand before the length which is too large.
BEFORE_A_LENGTH = (
    "ca00000000 cb0000000000000000 ccff cdffff ceffffffff cfffffffffffffffff d0ff d1ffff d2ffffffff "
    "d3ffffffffffffffff d40000 d5000000 d60000000000 c7010000 c8000100ff c900000001ffff c40100 c5000100 "
    "c60000000100 d90161 da000161 db0000000161 a161 dc0000 de0000 9080 c0 c2 05 ff"
)


def test_a_tap_gets_each_whole_message_even_if_it_cannot_be_read() -> None:
    frames = [msgpack.packb([2, "a", []]), msgpack.packb([0, 1, "b", ["x" * 300]]), msgpack.packb([9])]
    peer, shown = GuardedPeer(), list[bytes]()
    peer.tap = shown.extend
    for piece in singly(b"".join(frames)):
        list(peer.receive_data(piece))
    assert shown == frames
    assert peer.broken is not None


@pytest.mark.parametrize("length", ["c6", "c9", "db", "dd", "df"])
def test_a_giant_is_refused_when_its_length_is_read(length: str) -> None:
    """P11: 1 GiB announced costs a few bytes."""
    announced = bytes.fromhex(f"93 02 a178 dc0040 {BEFORE_A_LENGTH} {length}40000000")
    peer = GuardedPeer()
    for piece in singly(announced[:-1]):
        assert list(peer.receive_data(piece)) == []
        assert peer.broken is None
    assert list(peer.receive_data(announced[-1:])) == []
    assert isinstance(peer.broken, MessageTooLarge)
    assert str(2**30) in str(peer.broken)


def test_a_giant_behind_another_message_is_refused_as_soon() -> None:
    peer = GuardedPeer()
    before = notification_of(1000)
    assert list(peer.receive_data(before[:900])) == []
    assert len(list(peer.receive_data(before[900:] + b"\x93\x02\xa1x\x91\xdb\x40\x00\x00\x00"))) == 1
    assert isinstance(peer.broken, MessageTooLarge)


def test_refuses_a_giant_inside_a_message_before_it_has_come() -> None:
    peer = GuardedPeer(message_bytes=2000)
    list(peer.receive_data(b"\x93\x02\xa1x\x92" + msgpack.packb("x" * 300) + b"\xdb\x40\x00\x00\x00"))
    assert peer.broken is None
    list(peer.receive_data(b"x" * 2000))
    assert isinstance(peer.broken, MessageTooLarge)


def test_calls_beyond_the_cap_are_answered_too_many() -> None:
    """P11: calls in flight are bounded, and every one of them is answered."""
    peer = GuardedPeer()
    calls = b"".join(msgpack.packb([0, msgid, "why", []]) for msgid in range(CALLS_IN_FLIGHT + 2))
    events = list(peer.receive_data(calls))
    assert [event.msgid for event in events[:-2]] == list(range(CALLS_IN_FLIGHT))
    assert events[-2:] == [None, None]  # so that a session may stop between them
    said = [msgpack.unpackb(message) for message in peer.messages_to_send()]
    assert [(answer[1], answer[2][0]) for answer in said] == [
        (CALLS_IN_FLIGHT, Code.TOO_MANY),
        (CALLS_IN_FLIGHT + 1, Code.TOO_MANY),
    ]
    assert (peer.refused_calls, peer.broken) == (2, None)
    peer.respond(0, [])
    peer.fail(1, Code.INTERNAL, "no")
    more = b"".join(msgpack.packb([0, msgid, "why", []]) for msgid in range(100, 103))
    assert [event and event.msgid for event in peer.receive_data(more)] == [100, 101, None]


def test_reports_the_progress_of_a_peer() -> None:
    peer = GuardedPeer()
    message = msgpack.packb([2, "x", []])
    assert (peer.messages, peer.unfinished) == (0, False)
    assert len(list(peer.receive_data(message * 2 + message[:3]))) == 2
    assert (peer.messages, peer.unfinished) == (2, True)
    assert len(list(peer.receive_data(message[3:]))) == 1
    assert (peer.messages, peer.unfinished) == (3, False)
    events = iter(peer.receive_data(message * 2 + message[:3]))
    assert next(events) is not None
    assert (peer.messages, peer.unfinished) == (
        5,
        False,
    )  # the peer waits for its turn, and not the session for it
    assert len(list(events)) == 1
    assert peer.unfinished


def test_free_values_nest_to_the_limit_and_no_deeper() -> None:
    within: Any = 1
    for _ in range(NESTING):
        within = [within]
    assert not too_deep(within)
    assert too_deep([within])
    assert too_deep({"a": 1, "b": {"c": within}})


def test_p11_peers_share_their_unpackers() -> None:
    """P11: an unpacker of its own would cost an idle connection 44 KiB."""
    spare: list[Any] = []
    peers = [GuardedPeer(spare=spare) for _ in range(2 * SPARE)]
    message = notification_of(1000)
    for cut in (1000, 400, 1000, 1, 1000):
        before = len(spare)
        for peer in peers:
            assert len(list(peer.receive_data(message[:cut]))) == (cut == 1000)
        assert len(spare) == (before if cut == 1000 else 0)  # whole messages need none
        for peer in peers if cut < 1000 else ():
            assert len(list(peer.receive_data(message[cut:]))) == 1
        assert before <= len(spare) <= SPARE
        del spare[1:]


def test_the_buffer_of_a_large_message_is_not_kept() -> None:
    """P11: an Unpacker never frees its buffer."""
    spare: list[Any] = []
    peer = GuardedPeer(spare=spare)
    for size, kept in ((LARGE_BYTES * 2, 0), (100, 1)):
        whole = msgpack.packb([2, "a", ["x" * size]])
        list(peer.receive_data(whole[:50]))
        list(peer.receive_data(whole[50:]))
        assert len(spare) == kept
