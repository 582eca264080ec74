"""Dream lines for leo's other modules: marked as dreams, of less weight, and harmless if they fail."""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from dreamclient.errors import UsageError
from dreamclient.leo.modules import SNAPSHOTS, WAITING, Modules, SpokenLine

from tests.client.leo.conftest import rows
from tests.helpers import leo_double

META = {"trace_id": "dream-1", "dialog": 1, "turn": 2, "speaker": "friend", "expert": "wounded"}
LINE = SpokenLine(
    "who is the rain? it is late",
    META,
    {"quality": 0.8, "entropy": 0.5, "novelty": 0.2, "arousal": 0.1},
    Path(),
)


def tell(leo, into, *lines, names=None) -> Counter:
    failed = Counter()
    modules = Modules([into], names or vars(leo_double), lambda kind: failed.update([kind]))
    for line in lines:
        modules.tell(leo, replace(line, path=leo_double.DB_PATH))
        modules.tell_waiting(leo)
    return failed


def test_an_episode_can_be_told_apart_and_weighs_half(leo):
    assert not tell(leo, "episodes", LINE)
    (episode,) = leo.rag.episodes
    assert episode.prompt == "dream:dream-1#2:friend"
    assert episode.reply == LINE.text
    assert episode.metrics.quality == 0.4
    assert episode.metrics.pulse == pytest.approx(0.25)
    assert (episode.metrics.reply_len, episode.metrics.unique_ratio) == (8, 7 / 8)


def test_mathbrain_learns_from_a_line_of_known_quality_only(leo):
    assert not tell(leo, "mathbrain", LINE, replace(LINE, measures={}), replace(LINE, text="", meta={}))
    assert [state.quality for state in leo._math_brain.observed] == [0.8, 0.8]
    assert [state.expert_id for state in leo._math_brain.observed] == ["wounded", "structural"]
    assert leo._math_brain.observed[1].unique_ratio == 0.0


def test_game_turns_are_in_a_conversation_of_their_own(leo):
    assert not tell(leo, "game", LINE, replace(LINE, measures={}))
    assert [conversation for conversation, _ in leo.game.turns] == ["dream", "dream"]
    turn = leo.game.turns[0][1]
    assert (turn.role, turn.mode, turn.expert, turn.quality_value) == ("leo", "q", "wounded", 0.8)
    assert leo.game.turns[1][1].quality_value is None


def test_strong_lines_are_snapshots_of_their_own_origin_and_few(leo):
    weak = replace(LINE, measures={"quality": 0.5})
    many = [replace(LINE, text=f"line {n}") for n in range(SNAPSHOTS + 8)]
    assert not tell(leo, "santa", weak, replace(LINE, measures={}), *many)
    assert rows("SELECT COUNT(*), MIN(text), MAX(quality), MAX(origin) FROM snapshots") == [
        (SNAPSHOTS, "line 0", 0.4, "dream")
    ]


def test_no_snapshot_of_a_dream_makes_leo_forget_one_of_his_own(leo):
    with closing(sqlite3.connect(leo_double.DB_PATH)) as connection, connection:
        connection.executemany("INSERT INTO snapshots (text, origin) VALUES (?, 'leo')", [("own",)] * 500)
    assert not tell(leo, "santa", LINE)
    assert rows("SELECT COUNT(*) FROM snapshots WHERE origin = 'dream'") == [(0,)]


OLD = replace(LINE, text="the rain asks the grass")


def test_trauma_takes_a_tenth_of_a_wound_once_a_dialogue(leo):
    """His own pipeline would count each line as a whole wound, and so feed on his dreams."""
    leo_double.run_trauma("the river", "", leo_double.EMBEDDED_BOOTSTRAP, None, leo_double.DB_PATH)
    level = leo._trauma_state
    assert not tell(leo, "trauma", OLD, OLD)
    wounds = dict(rows("SELECT * FROM trauma_tokens"))
    assert wounds == pytest.approx({"the": 1.1, "river": 1.0, "rain": 0.1, "asks": 0.1, "grass": 0.1})
    assert rows("SELECT score FROM trauma_events") == [(1.0,)]  # the one that he lived through
    assert leo._trauma_state is level
    assert not tell(leo, "trauma", OLD, replace(OLD, meta=META | {"dialog": 2}))
    assert dict(rows("SELECT * FROM trauma_tokens"))["rain"] == pytest.approx(0.3)


def test_nothing_that_another_process_writes_meanwhile_is_lost(leo):
    """Another process writes a wound while a dream's wound is written."""

    def run_trauma(**asked):
        for path in {asked["db_path"], leo_double.DB_PATH}:
            leo_double.run_trauma(**asked | {"db_path": path})
        return leo_double.TraumaState(1.0)

    assert not tell(leo, "trauma", OLD, names=vars(leo_double) | {"run_trauma": run_trauma})
    assert rows("SELECT score FROM trauma_events") == [(1.0,)]
    assert dict(rows("SELECT * FROM trauma_tokens"))["rain"] == pytest.approx(1.1)


def test_snapshots_of_dreams_that_are_there_stay(leo):
    with closing(sqlite3.connect(leo_double.DB_PATH)) as connection, connection:
        kept = [(f"kept {n}",) for n in range(SNAPSHOTS)]
        connection.executemany("INSERT INTO snapshots (text, origin) VALUES (?, 'dream')", kept)
    assert not tell(leo, "santa", LINE)
    assert rows("SELECT text FROM snapshots") == kept


def test_trauma_takes_no_line_of_few_old_words(leo):
    assert not tell(leo, "trauma", replace(LINE, text="seventeen penguins waltz in heavy rain"))
    assert rows("SELECT * FROM trauma_tokens") == []


def test_a_leo_who_keeps_no_wounds_is_given_none(leo):
    """The real leo creates his table with his first wound."""
    leo.conn.executescript("DROP TABLE trauma_tokens; DROP TABLE trauma_events")
    assert not tell(leo, "trauma", OLD)
    assert rows("SELECT name FROM sqlite_master WHERE name LIKE 'trauma%'") == []


@pytest.mark.parametrize(
    ("into", "missing"),
    [("episodes", "rag"), ("mathbrain", "_math_brain"), ("game", "game"), ("santa", "santa")],
)
def test_a_leo_without_the_module_is_told_nothing(leo, into, missing):
    setattr(leo, missing, None)
    assert not tell(leo, into, LINE)
    assert rows("SELECT * FROM snapshots") == []


def test_a_leo_without_trauma_is_told_nothing(leo):
    assert not tell(leo, "trauma", LINE, names=vars(leo_double) | {"run_trauma": None})
    assert rows("SELECT * FROM trauma_events") == []


@pytest.mark.parametrize("into", ["episodes", "game", "mathbrain", "santa", "trauma"])
def test_a_module_that_fails_is_counted_and_goes_no_further(leo, into):
    broken = {"tokenize": leo_double.tokenize, "run_trauma": leo_double.run_trauma}
    assert tell(leo, into, LINE, names=broken) == {f"into.{into}": 1}


@pytest.mark.parametrize("into", ["episodes", "santa"])
def test_p1_tells_no_more_after_a_call_of_leos_than_a_moment_takes(leo, into, monkeypatch):
    """After a night of dreams his first reply would be late by seconds."""
    monkeypatch.setattr("dreamclient.leo.modules.TELLING_S", 0.0)
    failed = Counter()
    modules = Modules([into], vars(leo_double), lambda kind: failed.update([kind]))
    for _ in range(WAITING + 3):
        modules.tell(leo, replace(LINE, path=leo_double.DB_PATH))
    assert failed == ({"into.late": 3} if into == "episodes" else {})  # P10
    for told in range(1, 4):
        modules.tell_waiting(leo)
        assert len(leo.rag.episodes) == (told if into == "episodes" else 0)


def test_changes_leos_memory_only_on_his_own_thread(leo, monkeypatch):
    monkeypatch.setattr("dreamclient.leo.modules.TELLING_S", 60.0)
    modules = Modules(["episodes", "santa"], vars(leo_double), str)
    for _ in range(WAITING + 8):
        modules.tell(leo, replace(LINE, path=leo_double.DB_PATH))
    assert leo.rag.episodes == []
    assert rows("SELECT COUNT(*) FROM snapshots") == [(SNAPSHOTS,)]
    modules.tell_waiting(leo)
    assert len(leo.rag.episodes) == WAITING  # the latest
    modules.tell_waiting(leo)
    assert len(leo.rag.episodes) == WAITING


def test_a_module_that_leo_never_had_is_refused():
    with pytest.raises(UsageError, match=r"no module \['soul'\]"):
        Modules(["soul", "game"], {}, None)
