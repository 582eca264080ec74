"""Errors of params name the field."""

import os

import msgpack
import msgspec
import pytest

from dreamd.wire import params
from dreamd.wire.handlers import TABLE


def read(shape, value):
    data = value if isinstance(value, bytes) else msgpack.packb(value)
    return params.read_params(data, msgspec.msgpack.Decoder(shape))


def refused(shape, value):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)) as caught:
        read(shape, value)
    return params.explain_error(caught.value, shape)


@pytest.mark.parametrize(
    ("shape", "value", "says"),
    [
        (
            params.HelloParams,
            [],
            "Expected `array` of at least length 1, got 0; expected [hello], see docs/reference/protocol.md",
        ),
        (params.CountParams, [1, 2], "Expected `array` of at most length 1, got 2; expected [n]"),
        (params.HelloParams, [{"name": "leo"}], "Object missing required field `protocol` - at `hello`"),
        (
            params.HelloParams,
            [{"protocol": "1", "name": "x"}],
            "Expected `int`, got `str` - at `hello.protocol`",
        ),
        (
            params.HelloParams,
            [{"protocol": 1, "name": ""}],
            "Expected `str` of length >= 1 - at `hello.name`",
        ),
        (params.ContextParams, [{"pulse": {"novelty": "x"}}], "got `str` - at `context.pulse.novelty`"),
        (
            params.ContextParams,
            [{"quality": float("nan")}],
            "`quality` is nan, send a finite number or nil - at `context`",
        ),
        (
            params.NowParams,
            [{"trauma_level": float("inf")}, None],
            "`trauma_level` is inf, send a finite number or nil - at `context`",
        ),
        (params.CountParams, [1.5], "Expected `int`, got `float` - at `n`; expected [n]"),
        (params.HelloParams, [{"protocol": 1.5, "name": "x"}], "got `float` - at `hello.protocol`"),
        (params.ContextParams, [{"themes": [0.5]}], "got `float` - at `context.themes[0]`"),
        (params.DialogParams, [2.0**63], "Expected `int`, got `float` - at `id`"),
        (params.CountParams, [-1], "Expected `int` >= 0 - at `n`; expected [n]"),
        (
            params.ImportParams,
            [[{"text": "a", "weight": 1.0}, {"text": " \n", "weight": 1.0}]],
            "fragments[1].text is empty; expected [fragments]",
        ),
        (
            params.ImportParams,
            [[{"text": "a", "weight": 1, "dialog": 1.5}]],
            "got `float` - at `fragments[0].dialog`",
        ),
        (params.NoParams, [1], "Expected `array` of at most length 0, got 1; expected []"),
        (params.DialogParams, [1 << 63], "at `id`; expected [id]"),
        (
            params.PersistParams,
            [{"seed": 1, "result": 2, "cap_token": 3, "base_dir": "/"}],
            "unknown field `base_dir`",
        ),
        (params.TraceParams, b"\x91\xa1\xff", "a text is no UTF-8; expected [trace_id]"),
        (params.PersistParams, b"\x91\x81\xa4seed" + b"\x91" * 3000, "unreadable ("),
        (params.PersistParams, b"\x91\x81\xa4seed\x81\x81\x01\x02\x03", "unreadable (DecodeError)"),
    ],
)
def test_names_the_field_and_its_type(shape, value, says):
    assert says in refused(shape, value)


def doubled(value):
    """Return the value as a peer sends it whose numbers are all doubles."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [doubled(part) for part in value]
        case dict():
            return {key: doubled(part) for key, part in value.items()}
    return value


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (params.HelloParams, [{"protocol": 1, "name": "x", "pid": 7, "failures": {"stalled": 2}}]),
        (
            params.ContextParams,
            [{"themes": [1, -2], "failures": {"stalled": 2}, "math_state": {"reply_len": 3}}],
        ),
        (params.NowParams, [{"themes": [1]}, 5]),
        (params.CountParams, [3]),
        (params.DialogParams, [1 << 60]),
        (params.TraceSubscribeParams, [2]),
        (params.PageParams, [3, 7]),
        (params.WaitingParams, [3]),
        (params.AckParams, ["t", 1_700_000_000_000]),
    ],
)
def test_a_double_that_is_whole_is_an_integer(shape, value):
    whole = read(shape, doubled(value))
    assert whole == read(shape, value)
    assert "." not in msgspec.json.encode(whole).decode().replace('"reply_len":3.0', "")


def test_an_event_is_one_notification():
    assert msgpack.unpackb(params.encode_event({"type": "line", "turn": 1})) == [
        2,
        "event",
        [{"type": "line", "turn": 1}],
    ]


def test_an_event_names_a_path_that_is_no_utf_8():
    """As an answer does: else no dialogue is delivered while a client subscribes to events."""
    path = os.fsdecode(b"/home/\xff/t.json")
    [_, _, [event]] = msgpack.unpackb(params.encode_event({"type": "inbox.written", "path": path}))
    assert event == {"type": "inbox.written", "path": "/home/?/t.json"}


def test_a_long_name_of_an_unknown_field_is_cut_in_the_answer():
    """P11: it may be as long as its message, and the answer would be longer."""
    said = refused(params.ForgetParams, [{"k" * (1 << 20): 1}])
    assert said.startswith("Object contains unknown field `kkk")
    assert len(said) < 1000


def test_every_method_has_a_shape_that_refuses_surplus_params():
    for served in TABLE.values():
        assert served.shape.__struct_config__.array_like
        assert served.shape.__struct_config__.forbid_unknown_fields
