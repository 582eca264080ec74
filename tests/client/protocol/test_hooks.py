"""Calling a host's hooks: their arguments, the answers that they may return, and the report of their failures."""

import functools
from collections import UserDict, deque
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from dreamclient.messages import Code
from dreamclient.protocol.hooks import TEXT_CHARS, Failure, Hooks, takes

META = {"kind": "dream", "turn": 1}
GENERATE = ["a seed", 0.7, 0.3, META]


def answer(hooks: Hooks, method: str, params: list[Any]) -> Any:
    """Return what the peer gets: the result, or the Failure."""
    try:
        return hooks.settle(method, params, hooks.invoke(method, params))
    except Exception as error:
        return hooks.failure(method, error)


# --- what a hook gets --------------------------------------------------------------------------------


class Leo:
    """The forms in which a hook may come."""

    def three(self, seed: str, temperature: float, semantic_weight: float) -> str:
        return f"{seed} {temperature} {semantic_weight}"

    def four(self, seed: str, temperature: float, semantic_weight: float, meta: dict[str, Any]) -> str:
        return f"{seed} {meta['turn']}"

    @classmethod
    def of_class(cls, seed: str, temperature: float, semantic_weight: float, meta: dict[str, Any]) -> str:
        return f"{seed} {meta['turn']}"

    @staticmethod
    def static(seed: str, temperature: float, semantic_weight: float) -> str:
        return seed

    def __call__(self, seed: str, temperature: float, semantic_weight: float, meta: dict[str, Any]) -> str:
        return f"{seed} {meta['turn']}"


def with_rest(*args: Any) -> str:
    return f"{len(args)} arguments"


def wrapper(*args: Any, **kwargs: Any) -> str:
    return f"{len(args)} arguments"


def keyword_only(seed: str, temperature: float, semantic_weight: float, *, style: str = "plain") -> str:
    return style


def six(field: str, seed: str, temperature: float, semantic_weight: float, meta: Any = None) -> str:
    return f"{field} {seed} {meta['turn']}"


@functools.wraps(Leo.static)
def decorated(*args: Any, **kwargs: Any) -> str:
    return f"{len(args)} arguments"


@pytest.mark.parametrize(
    ("generate", "line"),
    [
        (Leo().three, "a seed 0.7 0.3"),
        (Leo().four, "a seed 1"),
        (Leo.of_class, "a seed 1"),
        (Leo.static, "a seed"),
        (Leo(), "a seed 1"),
        (functools.partial(six, "a field"), "a field a seed 1"),
        (functools.partial(keyword_only, style="bold"), "bold"),
        (keyword_only, "plain"),
        (lambda seed, temperature, weight: seed, "a seed"),
        (with_rest, "4 arguments"),
        (wrapper, "3 arguments"),
        (decorated, "3 arguments"),
    ],
)
def test_generate_gets_meta_if_it_takes_a_fourth_argument(generate: Callable[..., str], line: str) -> None:
    hooks = Hooks(generate=generate)
    for _ in range(2):
        assert answer(hooks, "generate", GENERATE) == line
    # A later daemon may send more than this one does.
    assert answer(hooks, "generate", [*GENERATE, "more"]) == line


def test_observe_gets_meta_if_it_takes_a_second_argument_and_recall_never() -> None:
    seen: list[Any] = []
    assert answer(Hooks(observe=seen.append), "observe", ["a line", META]) is None
    assert answer(Hooks(observe=lambda *all_: seen.extend(all_)), "observe", ["b", META]) is None
    assert seen == ["a line", "b", META]
    recalled = answer(Hooks(recall=lambda query, n=1, meta=None: [str(meta)]), "recall", ["q", 2, META])
    assert recalled == ["None"]


def test_a_hook_without_a_signature_gets_no_meta() -> None:
    assert not takes(type, 4)


def test_a_signature_is_examined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    examined = []
    original = inspect.signature
    monkeypatch.setattr(inspect, "signature", lambda hook: examined.append(hook) or original(hook))
    hooks = Hooks(generate=Leo.static)
    assert examined == []  # not where the host starts
    for _ in range(3):
        answer(hooks, "generate", GENERATE)
    assert examined == [Leo.static]


def test_only_hooks_that_are_there_are_provided() -> None:
    assert Hooks().provides == []
    assert Hooks(observe=print, generate=print).provides == ["generate", "observe"]
    assert Hooks(recall=print).provides == ["recall"]


@pytest.mark.parametrize("method", ["recall", "shutdown", ""])
def test_a_hook_that_is_not_there_is_an_unknown_method(method: str) -> None:
    failure = answer(Hooks(generate=Leo.static), method, [])
    assert failure.code == Code.UNKNOWN_METHOD
    assert "['generate']" in failure.message


@pytest.mark.parametrize(
    ("method", "params"), [("generate", ["a seed", 0.7]), ("observe", []), ("recall", ["a query"])]
)
def test_too_few_params_are_refused(method: str, params: list[Any]) -> None:
    failure = answer(Hooks(print, print, print), method, params)
    assert failure.code == Code.INVALID_PARAMS
    assert failure.message.startswith(method)
    assert failure.message.endswith(f"got {len(params)}")


# --- what a hook may return --------------------------------------------------------------------------


def generating(value: Any) -> Any:
    return answer(Hooks(generate=lambda seed, temperature, weight: value), "generate", GENERATE)


def observing(value: Any) -> Any:
    return answer(Hooks(observe=lambda text: value), "observe", ["a line", META])


def recalling(value: Any) -> Any:
    return answer(Hooks(recall=lambda query, n: value), "recall", ["a query", 2])


@pytest.mark.parametrize(
    ("returned", "sent"),
    [
        ("a line", "a line"),
        ("", ""),
        ({"text": "a line"}, {"text": "a line"}),
        ({"text": "", "novelty": 1, "trauma": None}, {"text": "", "novelty": 1.0}),
        (MappingProxyType({"text": "x", "arousal": np.float32(0.5)}), {"text": "x", "arousal": 0.5}),
        (UserDict(text="x", quality=-3, mood="blue"), {"text": "x", "quality": -3.0}),
        ("x" * TEXT_CHARS, "x" * TEXT_CHARS),
    ],
)
def test_accepts_each_form_of_an_answer_of_generate(returned: Any, sent: Any) -> None:
    assert generating(returned) == sent


@pytest.mark.parametrize(
    ("returned", "sent"),
    [
        (None, None),
        ({}, {}),
        ({"novelty": 0.1, "overlap": True, "text": "x"}, {"novelty": 0.1, "overlap": 1.0}),
    ],
)
def test_accepts_each_form_of_an_answer_of_observe(returned: Any, sent: Any) -> None:
    assert observing(returned) == sent


@pytest.mark.parametrize(
    ("returned", "sent"),
    [([], []), (["a"], ["a"]), (("a", "b", "c"), ["a", "b"]), (deque("abc"), ["a", "b"])],
)
def test_accepts_each_form_of_an_answer_of_recall(returned: Any, sent: Any) -> None:
    assert recalling(returned) == sent


@pytest.mark.parametrize(
    ("call", "returned", "named"),
    [
        (generating, None, "generate returned NoneType"),
        (generating, 7, "generate returned int"),
        (generating, b"a line", "generate returned bytes"),
        (generating, ["a line"], "generate returned list"),
        (generating, {}, "generate returned NoneType for a text"),
        (generating, {"text": 7}, "generate returned int for a text"),
        (generating, "x" * 10_000_000, "generate returned 10000000 characters"),
        (generating, {"text": "x", "novelty": "high"}, "generate returned str for novelty"),
        (generating, {"text": "x", "trauma": float("nan")}, "generate returned float for trauma"),
        (observing, "fine", "observe returned str"),
        (observing, [0.1], "observe returned list"),
        (observing, {"arousal": float("inf")}, "observe returned float for arousal"),
        (observing, {"overlap": [1]}, "observe returned list for overlap"),
        (recalling, None, "recall returned NoneType"),
        (recalling, "abc", "recall returned str"),
        (recalling, [1], "recall returned int"),
        (recalling, {"a": "b"}, "recall returned dict"),
    ],
)
def test_names_the_type_of_an_answer_that_is_not_accepted(
    call: Callable[[Any], Any], returned: Any, named: str
) -> None:
    failure = call(returned)
    assert failure.code == Code.HOOK_FAILED
    assert failure.message.startswith(named)
    assert failure.detail["type"] == "TypeError"
    assert failure.detail["where"].startswith("test_hooks.py:")


# --- how a failure is told ---------------------------------------------------------------------------


def secretive(seed: str, temperature: float, weight: float) -> str:
    raise ValueError(f"cannot say {seed}")


def test_a_failure_names_type_and_place_and_no_text() -> None:
    """P14: the exception's message may hold leo's text."""
    line = secretive.__code__.co_firstlineno + 1
    assert answer(Hooks(generate=secretive), "generate", GENERATE) == Failure(
        Code.HOOK_FAILED,
        "generate raised ValueError",
        {"type": "ValueError", "where": f"test_hooks.py:{line} in secretive"},
    )


def old_leo(prompt: str, max_tokens: int = 50, *, semantic: float) -> str:
    return prompt


@pytest.mark.parametrize(
    ("generate", "where"),
    [
        (old_leo, f"test_hooks.py:{old_leo.__code__.co_firstlineno} in old_leo"),
        (functools.partial(old_leo, "x"), f"test_hooks.py:{old_leo.__code__.co_firstlineno} in old_leo"),
        (Leo.__call__, f"test_hooks.py:{Leo.__call__.__code__.co_firstlineno} in __call__"),
        (int.from_bytes, "generate"),
    ],
)
def test_a_hook_that_cannot_be_called_so_is_named_by_its_definition(
    generate: Callable[..., str], where: str
) -> None:
    """P10: if the hook never ran, its definition identifies the leo, not our call of it."""
    params = [1, 0.7, 0.3]
    failure = answer(Hooks(generate=generate), "generate", params)
    assert failure == Failure(
        Code.HOOK_FAILED, "generate raised TypeError", {"type": "TypeError", "where": where}
    )


class Measures(UserDict[str, float]):
    def get(self, key: str, default: Any = None) -> Any:
        raise LookupError("broken")


def test_an_answer_that_breaks_while_it_is_read_is_a_failure_of_the_hook() -> None:
    failure = observing(Measures())
    assert (failure.message, failure.detail["type"]) == ("observe raised LookupError", "LookupError")


@pytest.mark.parametrize(
    ("said", "told"), [(True, {"taken": True}), (False, {"taken": False}), ("yes", {}), (None, {})]
)
def test_passes_on_if_the_field_took_a_line(said, told):
    hooks = Hooks(lambda *_: "", lambda _: {"taken": said, "other": 1})
    assert answer(hooks, "observe", ["a line"]) == told


def test_passes_on_what_a_line_added_in_whatever_form():
    hooks = Hooks(lambda *_: "", lambda _: {"added": [1, {"b": b"c"}]})
    assert answer(hooks, "observe", ["a line"]) == {"added": [1, {"b": b"c"}]}


@pytest.mark.parametrize("added", ["x" * 40_000, object()])
def test_what_a_line_added_must_be_sendable_and_small(added):
    assert observing({"added": added}).detail["type"] in {"TypeError", "UsageError"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, None),
        ({}, {"undone": True, "missing": 0}),
        ({"undone": False, "missing": None}, {"undone": False, "missing": 0}),
        ({"missing": 3, "more": 1}, {"undone": True, "missing": 3}),
    ],
)
def test_passes_on_how_a_line_was_taken_out(said, told):
    hooks = Hooks(unobserve=lambda what, meta: said)
    assert answer(hooks, "unobserve", ["what", {}]) == told
