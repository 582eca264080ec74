"""The words in which a message is shown."""

from typing import Any

import pytest

from dreamd.ctl.commands.trace.in_words import PARAMS, error_in_words, params_in_words, result_in_words
from dreamd.ctl.commands.trace.message_view import CUT
from dreamd.wire.handlers import TABLE


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("generate", ["<5 chars>", 0.7, 0.5, {}], "seed: <5 chars>, temperature: 0.7, semantic_weight: 0.5, meta: {}"),
        ("observe", ["<5 chars>", {}], "text: <5 chars>, meta: {}"),
        ("hello", [{"protocol": 1, "name": "leo"}], 'protocol: 1, name: "leo"'),
        ("dream.now", [None, 3], "context: null, session: 3"),
        ("dialogs.recent", [10, 4, True], "n: 10, before: 4, true"),
        ("status", [], "nothing"),
        ("<6 chars>", [1], "1"),
        (None, CUT, CUT),
    ],
)  # fmt: skip
def test_params_stand_behind_their_names(method: str | None, params: Any, words: str) -> None:
    assert params_in_words(method, params) == words


def test_the_names_are_those_of_the_daemon() -> None:
    named = {method: served.shape.__struct_fields__ for method, served in TABLE.items()}
    assert {method: named.get(method, names) for method, names in PARAMS.items()} == PARAMS


def test_each_method_with_params_that_are_no_map_alone_is_named() -> None:
    maps = {
        "hello", "dream.context", "dream.private", "dream.seed", "dialogs.forget", "dialogs.undream", "friend.reseed",
        "inbox.persist",
    }  # fmt: skip
    with_params = {method for method, served in TABLE.items() if served.shape.__struct_fields__}
    assert with_params - maps == set(PARAMS) & set(TABLE)


def test_long_lists_are_folded() -> None:
    assert result_in_words(list(range(8))) == "[0, 1, 2, 3, 4, 5, 6, 7]"
    assert result_in_words(list(range(484))) == "[0, 1, 2, .. 481 more]"
    assert result_in_words([*range(900), CUT]) == f"[0, 1, 2, .. {CUT}]"
    assert params_in_words("dream.context", [{"themes": [0] * 9}]) == "themes: [0, 0, 0, .. 6 more]"


def test_hidden_keys_are_counted() -> None:
    state = {"novelty": 0.2, "<7 chars>": 0.1, "<7 chars> #2": 0.3}
    assert (
        params_in_words("dream.context", [{"math_state": state}])
        == "math_state: {novelty: 0.2, 2 with hidden names}"
    )


def test_an_error_begins_with_the_name_of_its_code() -> None:
    detail = {"type": "TypeError", "where": "leo.py:4"}
    assert error_in_words([11, "<9 chars>", detail]) == (
        'HOOK_FAILED (11), <9 chars>, type: "TypeError", where: "leo.py:4"'
    )
    assert error_in_words([999, "no such thing"]) == '999, "no such thing"'
    assert error_in_words("odd") == '"odd"'
