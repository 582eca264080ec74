"""The codec of the daemon: what is decoded, and when. Of both codecs: tests/client/protocol/test_rpc.py."""

import msgpack
import msgspec
import pytest
from dreamclient.errors import Malformed
from dreamclient.protocol.rpc import Notification, Reply, Request

from dreamd.wire import codec


def test_params_stay_raw_until_their_type_is_known():
    message = codec.decode_message(msgpack.packb([0, 7, "why", [{"a": 1}]]))
    assert isinstance(message, Request)
    assert (message.msgid, message.method) == (7, "why")
    assert bytes(message.params) == msgpack.packb([{"a": 1}])


def test_reads_a_context_in_its_short_and_longer_forms():
    short = msgpack.packb([2, "dream.context", [{"prompt": "p"}]])
    longer = b"\xdc\x00\x03" + short[1:]
    read = [codec.decode_message(frame) for frame in (short, longer)]
    assert all(isinstance(message, Notification) and message.method == "dream.context" for message in read)
    assert bytes(read[0].params) == bytes(read[1].params) == msgpack.packb([{"prompt": "p"}])


class Said(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    text: str


def test_reads_the_notifications_of_one_method_with_their_params():
    decode = codec.codec_that_reads("say", Said).decode
    assert decode(msgpack.packb([2, "say", ["hi"]])) == Notification("say", Said("hi"))
    for other in (
        [2, "say", [1]],
        [2, "say", ["a", "b"]],
        [2, "said", ["hi"]],
        [0, 3, "say", ["hi"]],
        [2, b"say", []],
    ):
        message = decode(msgpack.packb(other))
        assert (message, bytes(message.params)) == (
            codec.decode_message(msgpack.packb(other)),
            msgpack.packb(other[-1]),
        )
    for broken in (msgpack.packb([2, "say", ["hi"]])[:-1], msgpack.packb([2, "say", ["hi"]]) + b"\xc0"):
        with pytest.raises(Malformed):
            decode(broken)


def test_an_answer_keeps_its_result_raw_and_reads_its_error():
    good = codec.decode_message(msgpack.packb([1, 3, None, {"text": "hi"}]))
    assert isinstance(good, Reply)
    assert (good.token, good.error, bytes(good.result)) == (3, None, msgpack.packb({"text": "hi"}))
    failed = codec.decode_message(msgpack.packb([1, 3, [11, "TypeError: no", {"type": "TypeError"}], None]))
    assert (failed.error.code, failed.error.detail) == (11, {"type": "TypeError"})


# A timestamp that ends the year 9999: Python's date cannot be rounded up to the next second.
LAST_MOMENT = b"\xc7\x0c\xff" + (999_999_999).to_bytes(4) + (253_402_300_799).to_bytes(8)


@pytest.mark.parametrize(
    ("frame", "msgid", "is_answer"),
    [
        (msgpack.packb([]), None, False),
        (msgpack.packb([0, 5, "why"]), 5, False),
        (msgpack.packb([0, 5, "why", {}]), 5, False),
        (msgpack.packb([0, 5, 6, []]), 5, False),
        (msgpack.packb([0, -1, "why", []]), None, False),
        (msgpack.packb([0, 1 << 32, "why", []]), None, False),
        (msgpack.packb([1, -1, None, None]), None, True),
        (msgpack.packb([1, "1", None, None]), None, True),
        (b"\x94\x01\x03\x91\x81\x81\x01\x02\x03\xc0", None, True),  # an error with a key that no map can have
        (b"\x94\x01\x03" + LAST_MOMENT + b"\xc0", None, True),
        (b"\x94\x00" + LAST_MOMENT + b"\xa3why\x90", None, False),
        (msgpack.packb([2, "why", None]), None, False),
        (msgpack.packb([2, "dream.context", None]), None, False),  # the short form
        (msgpack.packb([2, "dream.context", {"prompt": "p"}]), None, False),
        (msgpack.packb([3, "why", []]), None, False),
        (msgpack.packb({"a": 1}), None, False),
        (b"\x93\x02\xa2\xff\xff\x90", None, False),  # a method that is no UTF-8
    ],
)
def test_a_malformed_frame_has_its_msgid_if_it_can_be_read(frame, msgid, is_answer):
    with pytest.raises(Malformed) as caught:
        codec.decode_message(frame)
    assert (caught.value.msgid, caught.value.is_answer) == (msgid, is_answer)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (
            msgpack.packb([0, 1.0, "why", []]),
            "msgid is no integer from 0 to 4294967295: expected [0, msgid, method",
        ),
        (msgpack.packb([0, "a", "why", []]), "msgid is no integer from 0 to 4294967295: expected"),
        (msgpack.packb([0, -1, "why", []]), "msgid is no integer from 0 to 4294967295: expected"),
        (msgpack.packb([0, True, "why", []]), "msgid is no integer from 0 to 4294967295: expected"),
        (msgpack.packb([0, 1, None, []]), "method is no text: expected"),
        (b"\x94\x00\x01\xa2\xff\xff\x90", "method is no text: expected"),
        (msgpack.packb([0, 1, "why", {"n": 1}]), "params are no array: expected"),
        (msgpack.packb([2, "why", None]), "params are no array: expected"),
        (msgpack.packb([0, 1, "why"]), "the message has 3 elements: expected"),
        (msgpack.packb([2, 1, "why", []]), "the message has 4 elements: expected"),
        (msgpack.packb([0.0, 1, "why", []]), "the first element is no 0, 1 or 2: expected"),
        (msgpack.packb([3, 1, "why", []]), "the first element is no 0, 1 or 2: expected"),
        (msgpack.packb([]), "the first element is no 0, 1 or 2: expected"),
        (msgpack.packb({"jsonrpc": "2.0", "method": "why", "id": 1}), "the message is no array: expected"),
        (b"GET / HTTP/1.1\r\n", "the message is no array: expected"),
    ],
)
def test_says_what_is_wrong_with_a_message(frame, says):
    with pytest.raises(Malformed) as caught:
        codec.decode_message(frame)
    assert str(caught.value).startswith(says)
