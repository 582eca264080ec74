"""A line of leo's: with the arguments that he takes, over a namespace of its own with a `random` of its own."""

import random
import sys
import threading
import types
from contextlib import closing, suppress

import pytest
from dreamclient.errors import UsageError
from dreamclient.leo import namespace
from dreamclient.leo.namespace import SharedChance, own_random, private_namespace
from dreamclient.leo.voice import Voice

from tests.helpers import leo_double

SEED = "who remembers the rain"
NAMES = vars(leo_double)


@pytest.fixture
def leo(tmp_path):
    with closing(leo_double.settle(tmp_path)) as connection:
        yield leo_double.LeoField(connection)


def module(source: str, **names) -> dict:
    """The live namespace of a module with this source, and a `tokenize` of leo's."""
    made = types.ModuleType("another_leo")
    vars(made).update({"tokenize": str.split, **names})
    exec(source, vars(made))
    return vars(made)


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


# chance


def test_lines_draw_from_a_chance_of_their_own(leo):
    random.seed(5)
    state, voice = random.getstate(), Voice(NAMES, pytest.fail)
    lines = {voice.say(leo, SEED, 0.8, 0.3, 50).output for _ in range(50)}
    assert len(lines) > 45
    assert random.getstate() == state


DRAWS = """
import random
import random as chance
from random import choice, random as number
def inner(): return random.random()
def generate_reply(prompt, factor=1.0, *, more=inner):
    made = random.Random(3)
    made.seed(4)
    return f"{inner()} {chance.gauss(0, 1)} {choice('abc')} {number()} {random.choices('abc')} {factor}"
generate_reply.note = "kept"
"""


def test_redirects_every_way_to_draw_in_his_module():
    names, state = module(DRAWS), random.getstate()
    own = private_namespace(names, own_random())
    lines = {own["generate_reply"]("x") for _ in range(20)}
    assert len(lines) == 20
    assert random.getstate() == state
    assert own["generate_reply"].note == "kept"
    assert names["random"] is random  # nothing is set in his
    assert own["generate_reply"].__globals__ is own


OUTSIDE = "def draw():\n    import random\n    return random.random()"


def test_puts_the_state_back_and_counts_if_a_line_draws_from_the_process(leo):
    """Through another module, which has the process's `random` for its own."""
    names = module("def generate_reply(prompt): return f'{prompt} {draw()}'", draw=module(OUTSIDE)["draw"])
    counted, state = [], random.getstate()
    voice = Voice(names, counted.append)
    lines = {voice.say(leo, SEED, 0.7, 0.3, 9) for _ in range(10)}
    assert random.getstate() == state
    assert len(lines) == 10
    assert counted == ["chance"] * 10


def test_two_leos_who_borrow_chance_do_so_one_after_the_other():
    """Else the second would put back what the first had put there."""
    state, chances = random.getstate(), [SharedChance()] * 2
    drawn, together = [], threading.Barrier(2)

    def draw(chance):
        together.wait(20)
        for _ in range(300):
            with chance.borrowed():
                drawn.append(random.random())

    threads = [threading.Thread(target=draw, args=(chance,)) for chance in chances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert random.getstate() == state
    assert len(set(drawn)) == 600


def test_an_error_in_a_line_leaves_the_random_state_alone():
    state = random.getstate()
    with suppress(ZeroDivisionError), SharedChance().borrowed():
        random.seed(1)
        raise ZeroDivisionError
    assert random.getstate() == state


def test_examines_again_if_another_thread_draws_meanwhile(leo, monkeypatch):
    """The line that shows whether he leaves `random` alone is spoken again."""
    drew = []

    def getstate():
        if len(drew) < 3:
            drew.append(random.random())
        return random.Random.getstate(namespace._SHARED)

    monkeypatch.setattr(namespace.random, "getstate", getstate)
    assert Voice(NAMES, pytest.fail).say(leo, SEED, 0.8, 0.3, 50).output
    assert len(drew) == 3


def test_his_module_is_not_changed_and_nothing_of_it_is_imported(leo):
    before, loaded = dict(NAMES), set(sys.modules)
    Voice(NAMES, pytest.fail).say(leo, SEED, 0.8, 0.3, 50)
    assert dict(NAMES) == before
    assert set(sys.modules) == loaded
