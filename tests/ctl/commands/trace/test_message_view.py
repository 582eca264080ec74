"""One unpacked message: its shown and hidden parts, and the rest of a cut one."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamd.ctl.commands.trace.message_view import CUT, KEYS, in_hex, unpack_message
from dreamd.dream.fragment_records import FragmentRecord
from dreamd.dream.model import Answer, Context, Heard, Pulse
from dreamd.wire.params import Hello, Persist, Seed

EXPERT = {"expert": "<0 chars>"}
META = {"kind": "dream", "dialog": 1, "trace_id": "dream-1-2-0a", "turn": 1, "speaker": "leo", "expert": ""}
GENERATE = [0, 7, "generate", ["the rain is near", 0.75, 0.5, META]]


def values(message: Any, *, ours: bool = False, show_text: bool = False) -> Any:
    return unpack_message(msgpack.packb(message), ours=ours, show_text=show_text).values


def test_unpacks_each_type_of_message() -> None:
    call = unpack_message(msgpack.packb(GENERATE), ours=True, show_text=False)
    assert call[:4] == ("call", 7, "generate", None)
    assert call.values == ["<16 chars>", 0.75, 0.5, META | EXPERT]
    answer = unpack_message(msgpack.packb([1, 7, None, "a roof"]), ours=False, show_text=False)
    assert answer[:5] == ("answer", 7, None, None, "<6 chars>")
    told = unpack_message(msgpack.packb([2, "error", [8, "no MessagePack"]]), ours=True, show_text=False)
    assert told[:5] == ("notification", None, "error", None, [8, "no MessagePack"])


def test_show_text_shows_everything() -> None:
    assert values(GENERATE, show_text=True) == GENERATE[3]
    assert unpack_message(msgpack.packb(GENERATE), ours=True, show_text=True).hidden == []
    assert values([1, 1, None, b"\x00\xff"], show_text=True) == "00ff"


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"prompt": "who are you", "expert": "structural"}, {"prompt": "<11 chars>", "expert": "<10 chars>"}),
        ({"name": "leo"}, {"name": "leo"}),
        ({"name": "two words"}, {"name": "<9 chars>"}),  # no name, whatever it stands under
        ({"math_state": {"name": "Ann"}}, {"math_state": {"<4 chars>": "<3 chars>"}}),  # a host may put anything there
        ({"math_state": {"rain": 3, "reply_len": 2}}, {"math_state": {"<4 chars>": 3, "reply_len": 2}}),
        ({"math_state": {"novelty": {"novelty": 1}}}, {"math_state": {"novelty": {"<7 chars>": 1}}}),
        ({"failures": {"reply_len": 3}}, {"failures": {"<9 chars>": 3}}),
        ({"failures": {"rain": 1}}, {"failures": {"<4 chars>": 1}}),
        ({"rain": {"name": "Ann"}}, {"<4 chars>": {"<4 chars>": "<3 chars>"}}),
        ({"seed": {"constraints": {"flags": {"rain": 1}}}}, {"seed": {"<11 chars>": {"<5 chars>": {"<4 chars>": 1}}}}),
        ({"I love": 1, "I hate": 2}, {"<6 chars>": 1, "<6 chars> #1": 2}),
        ({"themes": [1, 2], "pulse": {"novelty": None}}, {"themes": [1, 2], "pulse": {"novelty": None}}),
        ({"text": b"\x00", "weight": float("nan")}, {"text": "<1 bytes>", "weight": "nan"}),
        ({"cap_token": {"type": "secret"}}, {"cap_token": {"<4 chars>": "<6 chars>"}}),
    ],
)  # fmt: skip
def test_hides_texts_of_a_peer_but_not_names(params: Any, shown: Any) -> None:
    assert values([2, "dream.context", [params]]) == [shown]


def test_p14_shows_the_daemons_own_words_only() -> None:
    """P14: the daemon's errors hold no text of a dream. Those of a host may."""
    error = [1, 3, [11, "TypeError: my secret", {"type": "TypeError", "where": "leo.py:12 in reply"}], None]
    detail = {"type": "TypeError", "where": "leo.py:12 in reply"}
    assert unpack_message(msgpack.packb(error), ours=True, show_text=False).error == [
        11,
        "TypeError: my secret",
        detail,
    ]
    assert unpack_message(msgpack.packb(error), ours=False, show_text=False).error == [
        11,
        "<20 chars>",
        detail,
    ]
    assert values([1, 3, None, {"failures": {"generate: TypeError": 1}}], ours=True) == {
        "failures": {"generate: TypeError": 1}
    }
    event = {"type": "line", "speaker": "leo", "text": "the rain"}
    assert values([2, "event", [event]], ours=True) == [event | {"text": "<8 chars>"}]
    file = {"trace_id": "t-1", "shards": [{"what I said": "x"}], "seed": {"goal": "g"}}
    assert values([1, 1, None, file], ours=True) == {
        "trace_id": "t-1", "shards": [{"<11 chars>": "<1 chars>"}], "seed": {"<4 chars>": "<1 chars>"},
    }  # fmt: skip
    assert values([0, 1, "inbox.ack", ["dream-1"]]) == ["dream-1"]
    assert values([0, 1, "observe", ["rain"]], ours=True) == ["<4 chars>"]


def test_p14_hides_what_a_line_added_to_a_field() -> None:
    """P14: it is made of words, in a form of the host's own, also when the daemon gives it back."""
    added = {"bigrams": {"rain": 3}, "name": "Ann"}
    assert values([1, 1, None, {"taken": True, "added": added}]) == {
        "taken": True, "added": {"<7 chars>": {"<4 chars>": 3}, "<4 chars>": "<3 chars>"},
    }  # fmt: skip
    meta = {"kind": "undream", "dialog": 7}
    assert values([0, 1, "unobserve", [added, meta]], ours=True) == [
        {"<7 chars>": {"<4 chars>": 3}, "<4 chars>": "<3 chars>"}, meta,
    ]  # fmt: skip


def test_raw_bytes_of_hidden_texts_are_dots() -> None:
    data = msgpack.packb([0, 1, "observe", ["rain", True]])
    assert (
        in_hex(data, unpack_message(data, ours=True, show_text=False).hidden) == "940001a76f627365727665"
        "92..........c3"
    )
    assert in_hex(data, unpack_message(data, ours=True, show_text=True).hidden) == data.hex()
    keyed = msgpack.packb([2, "dream.context", [{"math_state": {"rain": 3}}]])
    assert b"rain".hex() not in in_hex(keyed, unpack_message(keyed, ours=False, show_text=False).hidden)


def test_hides_the_name_of_an_unknown_method() -> None:
    data = msgpack.packb([2, "rain", []])
    assert unpack_message(data, ours=False, show_text=False).method == "<4 chars>"
    assert unpack_message(data, ours=False, show_text=True).method == "rain"


def test_knows_the_documented_keys_of_hosts() -> None:
    shapes = (Context, Pulse, Answer, Heard, Hello, Seed, Persist, FragmentRecord)
    assert {key for shape in shapes for key in shape.__struct_fields__} <= KEYS


@pytest.mark.parametrize(
    "message", [5, [], {}, [3], [0, "x", "m", []], [[0], 1], [True, 1, None, None], [0, 1, 2, []]]
)
def test_hides_all_of_an_unreadable_message(message: Any) -> None:
    data = msgpack.packb(message)
    found = unpack_message(data, ours=False, show_text=False)
    assert found[:5] == ("unreadable", None, None, None, None)
    assert in_hex(data, found.hidden) == ".." * len(data)


def test_shows_the_beginning_of_a_cut_message() -> None:
    data = msgpack.packb(
        [0, 1, "dream.context", [{"pulse": {"novelty": 0.5}, "prompt": "p" * 5000, "quality": 1}]]
    )
    found = unpack_message(data[:4096], ours=False, show_text=True)
    assert found.values == [{"pulse": {"novelty": 0.5}, "prompt": CUT}]


def test_cuts_what_nests_too_deep() -> None:
    deep = values([2, "dream.context", []], show_text=True)
    for _ in range(500):
        deep = [deep]
    shown = values([2, "dream.context", deep])
    assert json.dumps(shown, ensure_ascii=False).count("[") < 40
    assert CUT in json.dumps(shown, ensure_ascii=False)


TEXT = st.text("ж", min_size=1)  # no name has this letter
FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.binary() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT | st.sampled_from(["name", "type", "math_state"]), inner),
)  # fmt: skip


@given(st.tuples(st.just(2), TEXT, st.lists(FREE)) | st.tuples(st.just(1), st.just(1), FREE, FREE), st.data())
def test_hides_texts_wherever_the_message_is_cut(message: Any, data: st.DataObject) -> None:
    whole = msgpack.packb(message)
    head = whole[: data.draw(st.integers(1, len(whole)))]
    found = unpack_message(head, ours=False, show_text=False)
    assert "ж" not in json.dumps(found[:5], ensure_ascii=False, allow_nan=False)
    assert "ж".encode().hex() not in in_hex(head, found.hidden)
    if head == whole:
        assert found.type == ("answer" if message[0] == 1 else "notification")
        assert CUT not in json.dumps(found[:5], ensure_ascii=False)


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_can_be_unpacked(data: bytes) -> None:
    found = unpack_message(data, ours=True, show_text=False)
    assert len(in_hex(data, found.hidden)) == 2 * len(data)


@pytest.mark.parametrize(
    ("name", "shown"), [(b"dream.now", "dream.now"), (b"secret", "<6 chars>"), (b"\xff", "<1 chars>")]
)
def test_accepts_a_method_name_in_bytes(name: bytes, shown: str) -> None:
    data = msgpack.packb([0, 1, name, []])
    assert unpack_message(data, ours=False, show_text=False).method == shown
    assert unpack_message(data, ours=False, show_text=True).method == name.decode(errors="replace")
