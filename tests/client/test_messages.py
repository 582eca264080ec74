"""The messages of the wire, as hosts make them."""

import msgpack
from dreamclient.messages import Code, DreamContext, Method, PulseSnapshot
from dreamclient.protocol import rpc


def test_a_context_is_the_map_of_the_contract() -> None:
    ctx = DreamContext(
        prompt="who are you",
        reply="a field",
        math_state={"entropy": 0.4},
        pulse=PulseSnapshot(novelty=0.1, arousal=0.2),
        trauma_level=0.3,
        themes=(1, 2),
        expert="structural",
        quality=0.5,
    )
    assert msgpack.unpackb(rpc.packed(ctx)) == {
        "prompt": "who are you",
        "reply": "a field",
        "math_state": {"entropy": 0.4},
        "pulse": {"novelty": 0.1, "arousal": 0.2, "entropy": None},
        "trauma_level": 0.3,
        "themes": [1, 2],
        "expert": "structural",
        "quality": 0.5,
    }


def test_sends_a_missing_measure_as_nil() -> None:
    sent = msgpack.unpackb(rpc.packed(DreamContext("a", "b")))
    assert [key for key, value in sent.items() if value is None] == [
        "math_state",
        "pulse",
        "trauma_level",
        "quality",
    ]
    assert sent["themes"] == []
    assert DreamContext("a", "b").themes is not DreamContext("a", "b").themes


def test_codes_and_methods_are_distinct() -> None:
    for names in (Code, Method):
        values = [value for name, value in vars(names).items() if name.isupper()]
        assert len(values) == len(set(values)) > 10
