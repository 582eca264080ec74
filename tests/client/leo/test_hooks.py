"""The hooks that the daemon calls, on the leo-shaped double: for his lines, to feed him, for his memories."""

import random
import sqlite3
import threading
import weakref
from collections import Counter
from contextlib import closing

import pytest
from dreamclient.leo import hooks as module
from dreamclient.leo.database import FieldDatabase, opened
from dreamclient.leo.diet import Diet, Everything
from dreamclient.leo.hooks import FieldHooks
from dreamclient.leo.modules import Modules
from dreamclient.leo.voice import Voice, neighbours

from tests.client.leo.conftest import rows
from tests.helpers import leo_double

SEED = "who remembers the rain. the river and the grass"
META = {"dialog": 1, "trace_id": "t", "turn": 1, "speaker": "leo", "expert": "", "max_tokens": 50}


def hooks_of(leo, diet=None, names=None, count=None) -> FieldHooks:
    names = names or vars(leo_double)
    database = FieldDatabase()
    database.look(leo)
    count = count or str
    voice, modules = Voice(names, count), Modules([], names, count)
    return FieldHooks(weakref.ref(leo), names, database, voice, diet or Everything(), count, modules)


def said_by_chance(leo, seed: str, weight: float, draws: int) -> Counter:
    """Return the counts of words in `draws` lines, whose random seeds are 0, 1, 2 ..."""
    said, hooks = Counter(), hooks_of(leo)
    for draw in range(draws):
        hooks.voice._random.seed(draw)
        said.update(hooks.generate(seed, 0.8, weight, META)["text"].split())
    return said


# generate


def test_speaks_a_line_with_a_leo_whose_own_adapter_is_mute(leo):
    assert leo._dream_generate(SEED, 0.8, 0.3) == ""
    answer = hooks_of(leo).generate(SEED, 0.8, 0.3, META)
    assert len(answer["text"].split()) == 24
    assert answer["entropy"] == 0.4
    assert answer["quality"] == 0.8


def test_the_measures_are_of_the_line_and_not_of_the_seed(leo):
    """Leo returns the novelty of the seed. His line is made of words that he knows."""
    answer = hooks_of(leo).generate("utterly unheard of words in here", 0.01, 0.3, META)
    tokens = leo_double.tokenize(answer["text"])
    assert answer["novelty"] == leo_double.compute_prompt_novelty(tokens, leo.trigrams)
    leo.emotion = dict.fromkeys(leo.vocab, 0.01)
    assert 0 < hooks_of(leo).generate(SEED, 0.8, 0.3, META)["arousal"] <= 1


def test_an_empty_leo_says_nothing_rather_than_the_seed(leo):
    leo.bigrams = {}
    assert hooks_of(leo).generate(SEED, 0.8, 0.3, META) == {"text": ""}


def test_the_semantic_weight_changes_the_distribution_of_lines(leo):
    """A dream asks for 0.3 to 0.6. Both ends are compared over equal random numbers."""
    things = ["stone", "bread", "lamp", "letter", "salt", "moss"]
    for thing in things:
        leo.observe(f"then the {thing} was here and then the {thing} was here")
    leo.observe("rain on moss rain on moss rain on salt")

    def share(weight: float) -> float:
        said = said_by_chance(leo, "rain", weight, 300)
        return (said["moss"] + said["salt"]) / sum(said[thing] for thing in things)

    none, less, more = share(0.0), share(0.3), share(0.6)
    assert none < less - 0.05 < more - 0.1


def test_his_modules_hear_the_measures_of_the_candidate_that_became_the_line(leo):
    digested = []
    hooks = hooks_of(leo)
    hooks.modules.tell = lambda _leo, line: digested.append(line.measures)
    hooks.voice._random.seed(11)
    answers = [hooks.generate(SEED, 0.8, 0.3, META | {"candidate": n}) for n in (1, 2)]
    for n in (2, 1):
        hooks.observe(f"the {'moon' * n} was never here", META | {"candidate": n})
    told = [{name: value for name, value in answer.items() if name != "text"} for answer in answers]
    assert told[0] != told[1]
    assert digested == told[::-1]


def test_finds_no_neighbours_of_an_unknown_seed():
    assert neighbours({}, ["what"]) == {}
    assert neighbours({"a": {".": 3}}, ["a"]) == {}


def test_common_company_counts_less_than_close_company():
    company = {"rain": {"the": 2, "river": 2}, "river": {"rain": 1}, "the": dict.fromkeys("abcdefgh", 1)}
    ties = neighbours(company, ["rain"])
    assert ties["river"] == 1.0
    assert ties["the"] < 0.5


def test_a_leo_whose_functions_measure_nothing_leaves_it_to_the_daemon(leo):
    bare = {name: vars(leo_double)[name] for name in ("tokenize", "generate_reply", "ingest_text")}
    assert hooks_of(leo, names=bare).generate(SEED, 0.8, 0.3, META).keys() == {"text", "entropy", "quality"}


def dream_on(hooks, lines: list[str], over: threading.Event) -> None:
    while not over.is_set():
        lines.append(hooks.generate(SEED, 0.8, 0.3, META)["text"])


@pytest.mark.parametrize("while_he_talks", [False, True])
def test_replies_are_the_same_while_lines_are_made_and_not_fed(tmp_path, while_he_talks):
    """P1: lines are made on another thread at any time. They change neither his random state nor his owner's seed."""
    said, lines = [], []
    for dreams in (False, True):
        (tmp_path / str(dreams)).mkdir()
        with closing(leo_double.settle(tmp_path / str(dreams))) as connection:
            leo = leo_double.LeoField(connection)
            hooks, over = hooks_of(leo), threading.Event()

            dreamer = threading.Thread(target=dream_on, args=(hooks, lines, over))
            if dreams and while_he_talks:
                dreamer.start()
            replies = []
            for n in range(12):
                leo.observe(f"THE RAIN is late {n}")  # what he feels changes in place
                random.seed(n % 3)
                replies.append(leo.reply("where is the rain"))
                more = range(2 * (dreams and not while_he_talks))
                lines += [hooks.generate(SEED, 0.8, 0.3, META)["text"] for _ in more]
            over.set()
            if dreams and while_he_talks:
                dreamer.join()
            said.append(replies)
    assert said[0] == said[1]
    assert len(lines) >= 2
    assert len(set(lines)) > 0.9 * len(lines)  # each has a chance of its own, also while he is silent


def test_a_line_waits_a_little_for_a_reply_to_end_and_nothing_waits_for_it(leo, monkeypatch):
    hooks, looked = hooks_of(leo), []
    monkeypatch.setattr(module, "LOOKS_AGAIN_S", 0.001)
    calls = (lambda: hooks.generate(SEED, 0.8, 0.3, META)["text"], lambda: hooks.observe("x y z", META))
    for call in calls:
        looked.clear()
        hooks.talks = lambda: looked.append(1) or len(looked) < 4
        assert call()
        assert len(looked) == 4
    monkeypatch.setattr(module, "LINE_WAITS_S", 0.01)
    hooks.talks = lambda: True
    for call in calls:
        assert call()


def test_a_line_waits_for_a_field_that_is_being_loaded(leo, monkeypatch):
    """Within his constructor leo has no words yet."""
    monkeypatch.setattr(module, "LOOKS_AGAIN_S", 0.001)
    words, leo.vocab = leo.vocab, []
    loads = threading.Timer(0.02, lambda: setattr(leo, "vocab", words))
    loads.start()
    assert hooks_of(leo).generate(SEED, 0.8, 0.3, META)["text"]
    loads.join()


def test_holds_the_field_weakly(tmp_path):
    with closing(leo_double.settle(tmp_path)) as connection:
        hooks = hooks_of(leo_double.LeoField(connection))
    for call in (lambda: hooks.generate(SEED, 0.8, 0.3, META), lambda: hooks.observe("x", META)):
        with pytest.raises(ReferenceError):
            call()


# observe


def test_leos_next_observe_reads_an_ingested_line_and_forgets_no_faster(leo):
    line = "an unheard thing was said in the dream"
    for _ in range(150):
        assert hooks_of(leo).observe(line, META)["taken"] is True
    assert ("an", "unheard") not in leo.trigrams
    leo.observe("and then")
    assert leo.trigrams["an", "unheard"] == {"thing": 150}
    assert leo.observe_count == 1


def test_a_line_that_the_diet_refuses_does_not_reach_the_field(leo):
    class Fasting:
        def portions(self, tokens, known):
            return []

    before = rows("SELECT * FROM trigrams")
    assert hooks_of(leo, Fasting()).observe("an unheard thing was said", META) == {"taken": False}
    assert hooks_of(leo).observe("  ", META) == {"taken": False}
    assert rows("SELECT * FROM trigrams") == before


def test_the_diet_takes_the_new_links_of_each_line(leo):
    fed, known = [], leo_double.EMBEDDED_BOOTSTRAP.split(".")[0]
    names = {**vars(leo_double), "ingest_text": lambda connection, text: fed.append(text)}
    hooks = hooks_of(leo, Diet(), names)
    assert hooks.observe(known, META) == {"taken": False}
    assert hooks.observe(f"{known} to snow falling", META)["taken"] is True
    assert hooks.observe(f"{known} to snow falling", META) == {"taken": False}, (
        "though leo has not read it yet"
    )
    assert fed == ["I listen to snow falling"]


def test_tells_him_his_worn_origin_until_he_says_it_often_enough(leo):
    fed = []
    names = {**vars(leo_double), "ingest_text": lambda connection, text: fed.append(text)}
    names["EMBEDDED_BOOTSTRAP"] = "leo hears snow"
    leo.trigrams = {("leo", "hears"): {"snow": 1, "rain": 6}}
    hooks = hooks_of(leo, Diet(), names)
    for _ in range(2):
        assert hooks.observe("leo hears", META)["taken"] is True
    assert hooks.observe("leo hears", META) == {"taken": False}, "it is 3 of 9"
    assert fed == ["leo hears snow"] * 2
    names["EMBEDDED_BOOTSTRAP"] = None
    assert hooks_of(leo, Diet(), names).observe("leo hears", META) == {"taken": False}


def test_an_ingest_that_fails_leaves_no_transaction_open(leo):
    def breaks(connection, text):
        connection.execute("INSERT INTO trigrams VALUES ('x', 'y', 'z', 1)")
        raise ValueError

    with pytest.raises(ValueError):
        hooks_of(leo, names=vars(leo_double) | {"ingest_text": breaks}).observe("x y z", META)
    leo.observe("he can still write")
    assert rows("SELECT * FROM trigrams WHERE a = 'x'") == []


def test_does_not_create_a_database_that_is_gone(leo, tmp_path):
    failed = []
    hooks = hooks_of(leo, count=failed.append)
    leo_double.DB_PATH.rename(tmp_path / "elsewhere.sqlite3")
    assert hooks.observe("x y z", META) == {"taken": False}
    assert hooks.recall("rain", 2) == []
    assert failed == ["no_database"] * 2
    assert not leo_double.DB_PATH.exists()
    sqlite3.connect(leo_double.DB_PATH).close()  # another one in its place
    leo_double.DB_PATH.touch()
    assert hooks.observe("x y z", META) == {"taken": False}
    assert leo_double.DB_PATH.stat().st_size == 0


def test_a_line_of_several_pieces_is_fed_whole_or_not_at_all(leo):
    """leo's own function commits each piece. If one failed, the others would stay, and the line would count as not
    fed."""
    fed = []

    class Pieces:
        def portions(self, tokens, known):
            return ["x y z", "u v w"]

    def second_fails(connection, text):
        leo_double.ingest_text(connection, text)
        fed.append(text)
        if len(fed) == 2:
            raise ValueError

    names = vars(leo_double) | {"ingest_text": second_fails}
    with pytest.raises(ValueError):
        hooks_of(leo, Pieces(), names).observe("a line", META)
    assert rows("SELECT * FROM trigrams WHERE a IN ('x', 'u')") == []
    assert hooks_of(leo, Pieces()).observe("a line", META)["taken"] is True
    assert len(rows("SELECT * FROM trigrams WHERE a IN ('x', 'u')")) == 2


# recall


def test_recall_finds_snapshots_that_have_to_do_with_it_and_writes_nothing(leo):
    with closing(sqlite3.connect(leo_double.DB_PATH)) as connection, connection:
        for text in ("the rain is late", "Rain and the river", "lamp", ""):
            connection.execute("INSERT INTO snapshots (text, use_count) VALUES (?, 0)", (text,))
    assert hooks_of(leo).recall("rain, river", 2) == ["Rain and the river", "the rain is late"]
    assert hooks_of(leo).recall("rain, river", 1) == ["Rain and the river"]
    assert rows("SELECT SUM(use_count) FROM snapshots") == [(0,)]
    with opened(leo_double.DB_PATH, "ro") as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM snapshots")


# whose field, and where


def test_remembers_the_last_private_texts_only(leo, monkeypatch):
    monkeypatch.setattr(module, "PRIVATE_TEXTS", 3)
    hooks = hooks_of(leo)
    for text in "abcde":
        hooks.keep_private(text)
    assert list(hooks.private_texts) == [hash(text) for text in "cde"]


def test_the_id_of_a_field_goes_with_its_file(leo, tmp_path):
    found = hooks_of(leo).field_id()
    assert found
    assert hooks_of(leo).field_id() == found
    assert rows("SELECT value FROM meta WHERE key = 'dreamd_field'") == [(found,)]
    with closing(leo_double.settle(tmp_path / "..")) as elsewhere:
        assert hooks_of(leo_double.LeoField(elsewhere)).field_id() not in (None, found)
    leo_double.DB_PATH.unlink()


def test_a_field_without_a_place_for_an_id_has_none(leo):
    leo.conn.execute("DROP TABLE meta")
    assert hooks_of(leo).field_id() is None
    leo.conn = None
    assert hooks_of(leo).field_id() is None


def test_does_not_feed_a_leo_in_memory(leo):
    """`DB_PATH` may be another leo's, so it is not used for a connection without a file."""
    failed, before = [], rows("SELECT SUM(count) FROM trigrams")
    with closing(sqlite3.connect(":memory:")) as memory:
        leo.conn.backup(memory)
        leo.conn = memory
        hooks = hooks_of(leo, count=failed.append)
        assert hooks.observe("x y z", META) == {"taken": False}
        assert hooks.recall("rain", 2) == []
        assert hooks.generate(SEED, 0.8, 0.3, META | {"expert": "wounded"})["text"]
    assert failed == ["no_database"] * 2
    assert rows("SELECT SUM(count) FROM trigrams") == before


@pytest.mark.parametrize("connection", [None, "no connection"])
def test_a_connection_that_cannot_be_asked_names_no_file(leo, connection):
    leo.conn = connection
    assert hooks_of(leo).database.path(leo) is None


# unobserve


@pytest.fixture
def own(leo):
    """The hooks of a leo whose field has an id, and the meta of the calls that take a line out of it."""
    hooks = hooks_of(leo)
    return hooks, {"trace_id": "t", "turn": 1, "field": hooks.field_id()}


def test_takes_out_what_a_line_added(own):
    hooks, meta = own
    before = rows("SELECT * FROM trigrams"), rows("SELECT * FROM co_occurrence")
    added = hooks.observe("the rain never came to the door", META)["added"]
    assert hooks.unobserve(added, meta) == {"undone": True, "missing": 0}
    assert (rows("SELECT * FROM trigrams"), rows("SELECT * FROM co_occurrence")) == before
    assert hooks.unobserve(None, meta) == {"undone": True}
    assert rows("SELECT key FROM meta") == [("dreamd_field",)]


def test_knows_a_line_whose_answer_the_daemon_never_got_by_its_name(own):
    hooks, meta = own
    before = rows("SELECT * FROM trigrams")
    hooks.observe("the rain never came to the door", META)
    assert hooks.unobserve("the rain never came to the door", meta | {"turn": 2}) == {"undone": False}
    assert hooks.unobserve("the rain never came to the door", meta) == {"undone": True, "missing": 0}
    assert rows("SELECT * FROM trigrams") == before


def test_says_after_a_restart_that_a_line_was_taken_out_whose_answer_the_daemon_never_got(own, leo):
    hooks, meta = own
    hooks.observe("the rain never came to the door", META)
    hooks.unobserve("the rain never came to the door", meta)
    later = hooks_of(leo)  # knows nothing of what lines added
    assert later.unobserve("the rain never came to the door", meta) == {"undone": True, "missing": 0}


def test_a_link_that_was_taken_out_may_be_fed_again(leo):
    hooks = hooks_of(leo, Diet())
    meta = {"trace_id": "t", "turn": 1, "field": hooks.field_id()}
    added = hooks.observe("leo hears whales", META)["added"]
    assert hooks.observe("leo hears whales", META | {"turn": 2})["taken"] is False
    hooks.unobserve(added, meta)
    assert hooks.observe("leo hears whales", META | {"turn": 3})["taken"] is True


def test_keeps_few_lines_in_memory_and_counts_what_is_too_large_to_say(leo, monkeypatch):
    counted = []
    hooks = hooks_of(leo, count=counted.append)
    for turn in range(module.FED + 5):
        hooks.observe(f"the rain {'so ' * turn}", META | {"turn": turn})
    assert len(hooks._fed) == module.FED
    monkeypatch.setattr(module, "ADDED_BYTES", 10)
    assert hooks.observe("the rain came to the door", META) == {"taken": True}
    assert counted == ["added"]
