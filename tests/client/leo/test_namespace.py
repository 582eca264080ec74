"""A namespace of leo's module, with a chance of its own."""

import importlib.util
import random
import sys
import threading
from contextlib import suppress

import pytest
from dreamclient.leo import namespace
from dreamclient.leo.namespace import SharedChance, own_random, private_namespace
from dreamclient.leo.voice import Voice

from tests.client.leo.conftest import module
from tests.helpers import leo_double

SEED = "who remembers the rain"

NAMES = vars(leo_double)


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
    """The line draws through another module, which uses the process's `random`."""
    names = module("def generate_reply(prompt): return f'{prompt} {draw()}'", draw=module(OUTSIDE)["draw"])
    counted, state = [], random.getstate()
    voice = Voice(names, counted.append)
    lines = {voice.say(leo, SEED, 0.7, 0.3, 9) for _ in range(10)}
    assert random.getstate() == state
    assert len(lines) == 10
    assert counted == ["chance"] * 10


def test_two_leos_who_borrow_chance_do_so_one_after_the_other():
    """Otherwise the second would put back the state that the first had set."""
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
    """The line that shows if he leaves `random` alone is spoken again."""
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


def test_a_host_may_have_replaced_functions_of_random(monkeypatch):
    """As tests do, and only then make their first leo."""
    monkeypatch.setattr(random, "random", lambda: 0.5)
    spec = importlib.util.spec_from_file_location("loaded_again", namespace.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    own = again.own_random()
    before = random.getstate()
    assert own.random() == 0.5
    assert own.choice([7]) == 7
    assert random.getstate() == before
