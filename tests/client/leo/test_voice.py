"""A line of leo: with the arguments that he takes, over a namespace of its own (`test_namespace.py`)."""

import random
import types

import pytest
from dreamclient.errors import UsageError
from dreamclient.leo.voice import Voice

from tests.client.leo.conftest import module
from tests.helpers import leo_double

SEED = "who remembers the rain"
NAMES = vars(leo_double)


def said(names, leo, count=None) -> object:
    return Voice(names, count or pytest.fail).say(leo, SEED, 0.7, 0.3, 9)


# the arguments


def test_leo_is_given_only_what_he_takes(leo):
    asked = []
    early = """
def generate_reply(bigrams, vocab, centers, bias, prompt, max_tokens=80, temperature=1.0):
    asked.append(dict(locals()))
    return "an early leo speaks"
"""
    assert said(module(early, asked=asked), leo) == "an early leo speaks"
    assert (asked[-1]["prompt"], asked[-1]["max_tokens"], asked[-1]["temperature"]) == (SEED, 9, 0.7)
    coming = """
def generate_reply(*, prompt, semantic_weight, token_boosts=None):
    asked.append(dict(locals()))
    return "a coming leo speaks"
"""
    assert said(module(coming, asked=asked), leo) == "a coming leo speaks"
    assert asked[-1] == {"prompt": SEED, "semantic_weight": 0.3, "token_boosts": None}


def test_a_field_need_not_have_what_his_own_functions_do_not_take():
    early = types.SimpleNamespace(bigrams={"a": {"b": 1}}, vocab=["a"])
    names = module("def generate_reply(bigrams, vocab, prompt, trigrams=7): return f'{prompt} {trigrams}'")
    assert said(names, early) == f"{SEED} 7"


def test_gives_his_emotions_as_a_copy(leo):
    leo.emotion["RAIN"] = 1.0
    given = []
    names = module("def generate_reply(emotion_map): given.append(emotion_map); return 'x'", given=given)
    said(names, leo)
    assert given[-1] == leo.emotion
    assert given[-1] is not leo.emotion


def test_finds_the_arguments_behind_a_plain_wrapper(leo):
    """A decorator without functools.wraps: (*args, **kwargs)."""
    wrapped = """
def real(bigrams, vocab, prompt, temperature=1.0): return f"{prompt} {temperature}"
def generate_reply(*args, **kwargs): return real(*args, **kwargs)
"""
    assert said(module(wrapped), leo) == f"{SEED} 0.7"
    real = leo_double.generate_reply
    names = module("", generate_reply=lambda *args, **kwargs: real(*args, **kwargs))
    counted = []
    state = random.getstate()
    assert said(names, leo, counted.append).output
    assert random.getstate() == state
    assert counted == ["chance"]  # what it wraps draws from the process's


@pytest.mark.parametrize(
    ("source", "lacks"),
    [
        ("def generate_reply(prompt, soul, mood): return prompt", "needs mood, soul"),
        ("def generate_reply(prompt): raise KeyError('a text of leo')", "raised KeyError"),
        ("def generate_reply(prompt): return 7", "returned a int"),
        ("def generate_reply(*args, **kwargs): raise TypeError('odd')", "raised TypeError"),
        ("def generate_reply(**kwargs): return missing", "raised NameError"),
    ],
)
def test_names_what_a_leo_lacks_who_cannot_speak(source, lacks):
    with pytest.raises(UsageError, match=lacks) as caught:
        Voice(module(source), pytest.fail).examine()
    assert "text of leo" not in str(caught.value)


def test_he_is_examined_once_and_again_when_another_speaks(leo):
    calls = []
    names = module("def generate_reply(prompt): calls.append(prompt); return 'x'", calls=calls)
    voice = Voice(names, pytest.fail)
    for _ in range(3):
        voice.say(leo, SEED, 0.7, 0.3, 9)
    assert calls == ["it rains", SEED, SEED, SEED]
    exec("def generate_reply(prompt, temperature): return str(temperature)", names)
    assert voice.say(leo, SEED, 0.7, 0.3, 9) == "0.7"  # patched, or loaded again


def test_real_functions_of_his_see_the_patches_of_his_module(leo, monkeypatch):
    voice = Voice(NAMES, pytest.fail)
    monkeypatch.setattr(leo_double, "compute_prompt_novelty", lambda tokens, trigrams: 0.123)
    assert voice.say(leo, SEED, 0.7, 0.3, 9).pulse.novelty == 0.123
