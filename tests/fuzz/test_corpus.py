"""The inputs that fuzzing begins with, those that found something, and a few thousand changes of them."""

import random

import pytest

from tests.fuzz.mutations import mutate_stream, pack_stream, unpack_stream
from tests.fuzz.seeds import CORPUS, found_of, seeds_of
from tests.fuzz.sessions import SESSIONS
from tests.fuzz.targets import PACKED, TARGETS

CHANGES = 500  # of each target's inputs


@pytest.mark.parametrize("target", TARGETS)
def test_whole_inputs_and_those_that_found_something(target: str) -> None:
    seeds = seeds_of(target)
    assert seeds
    for data in seeds:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_changed_inputs(target: str) -> None:
    chance, seeds = random.Random(17), seeds_of(target)
    before = PACKED.get(target, 0)
    for _ in range(CHANGES):
        data = chance.choice(seeds)
        data = data[:before] + mutate_stream(data[before:], chance)
        try:
            TARGETS[target](data)
        except Exception:
            print(f"seed 17: {target} {data.hex()}")
            raise


def test_each_file_of_the_corpus_belongs_to_a_target() -> None:
    assert {file.stem for file in CORPUS.glob("*")} <= set(TARGETS)
    assert all(found_of(file.stem) for file in CORPUS.glob("*"))


def test_a_recorded_session_stays_whole_if_nothing_is_changed() -> None:
    for session in SESSIONS.values():
        assert len(unpack_stream(b"".join(session))) == len(session)
        assert unpack_stream(pack_stream(unpack_stream(b"".join(session)))) == unpack_stream(
            b"".join(session)
        )


def test_changes_reach_values_deep_inside_and_keep_most_messages_whole() -> None:
    chance, stream = random.Random(17), b"".join(SESSIONS["a leo"])
    changed = [mutate_stream(stream, chance) for _ in range(50)]
    assert len(set(changed)) > 45
    whole = [len(unpack_stream(data)) >= len(SESSIONS["a leo"]) - 2 for data in changed]
    assert sum(whole) > 25
