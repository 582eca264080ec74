"""The dream module that leo imports: his names, his signatures, and the three ways to reach a daemon."""

import gc
import inspect
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from contextlib import closing
from dataclasses import replace
from types import ModuleType
from unittest import mock

import pytest
from dreamclient import dropin, embedded
from dreamclient.dropin import (
    BOOTSTRAP_TEXT,
    DreamConfig,
    DreamContext,
    get_dream_stats,
    get_recent_dreams,
    init_dream,
    maybe_run_dream,
)
from dreamclient.dropin import process as dropin_host
from dreamclient.dropin.process import Process
from dreamclient.leo.attachment import attachment_of
from dreamclient.leo.voice import Voice
from dreamclient.messages import PulseSnapshot
from dreamclient.privacy import private
from dreamclient.protocol.contexts import small_context

from tests.helpers import leo_double
from tests.helpers.daemons.in_loop import wait_for_database
from tests.helpers.daemons.little import DEADLINE_S, LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.peer import saying
from tests.helpers.waiting import until

NOW = 1_800_000_000.0
ALWAYS = DreamConfig(min_interval_seconds=0, trigger_probability=1.0)
STIRRED = DreamContext("hello", "I am here", None, 0.8, 0.6, 0.5, 0.7, [1, 2], "wounded", 0.5)
CALM = DreamContext("hello", "I am here", None, 0.2, 0.2, 0.5, 0.1, [], "structural", 0.8)


@pytest.fixture(autouse=True)
def host(monkeypatch, tmp_path):
    """The drop-in as in a new process, in which nothing is set."""
    for name in os.environ:
        if name.startswith(("DREAM", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(dropin_host, "FIGURES_S", DEADLINE_S)  # however busy the machine is
    wait_for_database(monkeypatch)
    host = Process()
    monkeypatch.setattr(dropin, "_process", host)
    yield host
    for part in (host._client, host._silent, host._daemon, host._waiting):
        if part is not None:
            part.close()


@pytest.fixture
def waits(monkeypatch):
    monkeypatch.setenv("DREAMD_EMBEDDED", "wait")


@pytest.fixture
def service(monkeypatch, tmp_path):
    monkeypatch.setenv("DREAMD_STATE_DIR", str(tmp_path / "service"))
    with DaemonProcess(
        tmp_path / "service", "--set", "gate.chance=1", "--set", "gate.cooldown_s=0"
    ) as service:
        yield service


@pytest.fixture
def database(tmp_path):
    return tmp_path / "leo/dream_test.sqlite3"


class Functions:
    """The hooks of a leo who is no field."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.heard: list[str] = []
        self.alike = 1  # so many candidates of a line are alike
        self._asked = 0

    def generate(self, seed: str, temperature: float, semantic_weight: float) -> str:
        if self._asked % self.alike == 0:
            self.said.append(saying())
        self._asked += 1
        return self.said[-1]

    def observe(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def leo():
    return Functions()


def rows(database, query):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


# --- the module ----------------------------------------------------------------------------------------


def test_import_star_gives_leos_names_and_no_docstring():
    module = ModuleType("dream", "his own words")
    exec("from dreamclient.dropin import *", vars(module))
    assert module.__doc__ == "his own words"
    assert {name for name in vars(module) if not name.startswith("__")} == set(dropin.__all__)
    assert module.DREAM_AVAILABLE is True
    assert "dream space" in module.BOOTSTRAP_TEXT.lower()


def test_has_leos_signatures():
    def names(function):
        return list(inspect.signature(function).parameters)

    assert names(init_dream) == ["db_path", "bootstrap_text", "readme_fragments"]
    assert names(maybe_run_dream) == ["ctx", "generate_fn", "observe_fn", "db_path", "config", "now"]
    assert names(get_dream_stats) == ["db_path"]
    assert names(get_recent_dreams) == ["db_path", "n"]
    flat = (
        "prompt reply math_state pulse_novelty pulse_arousal pulse_entropy trauma_level themes expert quality"
    )
    assert names(DreamContext) == [*flat.split(), "pulse"]


def test_sends_both_forms_of_the_context_alike():
    nested = DreamContext("hello", "I am here", pulse=PulseSnapshot(0.8, 0.6, 0.5), trauma_level=0.7, themes=[1, 2],
                          expert="wounded", quality=0.5)  # fmt: skip
    assert nested == STIRRED
    assert small_context(STIRRED) == small_context(nested) == {
        "prompt": "hello", "reply": "I am here", "pulse": {"novelty": 0.8, "arousal": 0.6, "entropy": 0.5},
        "trauma_level": 0.7, "themes": [1, 2], "expert": "wounded", "quality": 0.5,
    }  # fmt: skip
    assert (nested.pulse_novelty, nested.pulse_arousal, nested.pulse_entropy) == (0.8, 0.6, 0.5)
    nothing = replace(nested, pulse=None)
    assert (nothing.pulse_novelty, nothing.prompt) == (None, "hello")


@pytest.mark.parametrize("themes", [None, 7])
def test_p1_a_context_is_made_of_whatever_leo_gives(themes):
    assert DreamContext("hello", "I am here", themes=themes).themes is themes


def test_bootstrap_feeds_the_text_and_never_raises(leo):
    dropin.bootstrap(leo)
    assert leo.heard == [BOOTSTRAP_TEXT.strip()]
    dropin.bootstrap(None)


def in_a_process(program, **env):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DREAM")}
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, env=kept | env)


def test_p1_import_loads_only_few_modules():
    program = (
        "import sys; old = set(sys.modules); import dreamclient.dropin; print(*(set(sys.modules) - old))"
    )
    loaded = in_a_process(program).stdout.split()
    assert "dreamclient.dropin" in loaded
    heavy = (
        "asyncio",
        "msgpack",
        "socket",
        "sqlite3",
        "dreamd",
        "numpy",
        "dreamclient.protocol.rpc",
        "dreamclient.clients.thread",
    )
    assert not set(heavy) & set(loaded)


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from dreamclient.dropin import *
from pathlib import Path
class Field:
    def __init__(self):
        init_dream(Path(sys.argv[2]), "I am small.", [])
        ctx = DreamContext("p", "r", None, .9, .9, .9, .9, [], "", .5)
        for _ in range(3):
            maybe_run_dream(ctx, self.generate, print, Path(sys.argv[2]), DreamConfig(0, 1.0))
    def generate(self, seed, temperature, weight):
        return seed
Field()
assert get_dream_stats(sys.argv[2]) == {} and get_recent_dreams(sys.argv[2]) == []
"""


@pytest.mark.parametrize("mode", ["", "1", "wait"])
@pytest.mark.parametrize("lacks", ["msgpack", "dreamd"])
def test_p1_works_without_the_packages_that_are_not_installed(tmp_path, mode, lacks):
    program = WITHOUT.replace("sys.argv[1]", repr(lacks)).replace(
        "sys.argv[2]", repr(str(tmp_path / "d.sqlite3"))
    )
    ended = in_a_process(program, DREAMD_EMBEDDED=mode, HOME=str(tmp_path), DREAMD_STATE_DIR=str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# --- leo's own tests, by what they mean (DREAMD_EMBEDDED=wait) -----------------------------------------


def test_init_makes_the_four_tables_and_the_origin_once(waits, database):
    for _ in range(2):
        init_dream(database, "Leo is a small organism. No weights, no data.", ["language is a field"])
    tables = {name for (name,) in rows(database, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables >= {"dream_meta", "dream_bootstrap_fragments", "dream_dialogs", "dream_turns"}
    assert rows(database, "SELECT COUNT(*) FROM dream_bootstrap_fragments") == [(2,)]


def test_the_cooldown_of_the_call_is_kept_on_the_clock_of_the_call(waits, database, leo):
    config = DreamConfig(min_interval_seconds=60.0, trigger_probability=1.0)
    for now, lines in ((NOW, 3), (NOW + 59, 3), (NOW + 61, 6)):
        maybe_run_dream(STIRRED, leo.generate, leo.observe, database, config, now)
        assert lines <= len(leo.said) <= lines // 3 * 4
    assert rows(database, "SELECT started_at FROM dream_dialogs") == [(NOW,), (NOW + 61,)]


def test_dreams_only_after_a_reply_that_stirs_him(waits, database, leo):
    config = DreamConfig(trigger_probability=1.0)
    maybe_run_dream(CALM, leo.generate, leo.observe, database, config, NOW)
    assert leo.said == []
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, config, NOW)
    assert leo.said


def test_takes_the_chance_of_the_call_or_else_of_the_daemon(waits, database, leo, monkeypatch):
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, replace(ALWAYS, trigger_probability=0.0))
    assert leo.said == []
    monkeypatch.setenv("DREAMD_GATE__CHANCE", "1")
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database)
    assert leo.said


@pytest.mark.parametrize(("most", "lines"), [(1, {1}), (2, {2}), (3, {3}), (4, {3, 4}), (6, {3, 4, 5, 6})])
def test_p2_the_lines_are_said_recorded_and_observed(waits, database, leo, most, lines):
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, replace(ALWAYS, max_turns=most))
    assert len(leo.said) in lines
    assert leo.heard == leo.said
    recorded = rows(database, "SELECT speaker, text FROM dream_turns ORDER BY id")
    assert [text for _, text in recorded] == leo.said
    assert [speaker for speaker, _ in recorded] == ["leo", "friend", "leo", "friend", "leo", "friend"][
        : len(leo.said)
    ]


def test_a_call_with_a_config_asks_once_for_each_line(waits, database):
    """leo's own tests count the calls of generate_fn as turns."""
    asked = []

    def generate(*_):
        asked.append(saying())
        return asked[-1]

    maybe_run_dream(STIRRED, generate, lambda _: None, database, replace(ALWAYS, max_turns=4))
    assert len(asked) in (3, 4)


def test_a_line_has_as_many_words_as_the_call_allows(waits, database, leo):
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, replace(ALWAYS, max_tokens_per_turn=2))
    assert {len(text.split()) for text in leo.heard} == {2}


@pytest.mark.parametrize("wrong", [{"max_turns": 0}, {"trigger_probability": float("nan")}])
def test_does_not_dream_with_impossible_settings(waits, database, leo, wrong):
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, replace(ALWAYS, **wrong))
    assert leo.said == []


def test_p1_a_config_of_another_type_raises_no_error(waits, database, leo):
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, object())
    assert leo.said == []


def test_p1_an_error_of_a_hook_is_not_raised(waits, database, leo):
    def broken(*_):
        raise RuntimeError("a text of leo's")

    maybe_run_dream(STIRRED, broken, leo.observe, database, ALWAYS)
    assert rows(database, "SELECT outcome, note FROM dream_dialogs") == [
        ("hook_error", "generate: RuntimeError")
    ]


def test_figures_have_leos_names(waits, database, leo):
    init_dream(database, "I am small.", [])
    nothing = {
        "total_dialogs": 0,
        "total_turns": 0,
        "total_fragments": 1,
        "avg_trauma": 0.0,
        "avg_arousal": 0.0,
    }
    assert get_dream_stats(database) == nothing
    for now in (NOW, NOW + 1):
        maybe_run_dream(STIRRED, leo.generate, leo.observe, database, ALWAYS, now)
    stats = get_dream_stats(database)
    assert (stats["total_dialogs"], stats["total_turns"]) == (2, len(leo.said))
    last, first = get_recent_dreams(database)
    assert (first["started_at"], last["started_at"]) == (NOW, NOW + 1)
    assert set(first) == {"started_at", "finished_at", "episodes", "avg_trauma", "avg_arousal", "turns"}
    assert set(first["turns"][0]) == {"speaker", "text", "trauma", "arousal"}
    assert [turn["text"] for turn in first["turns"]] == leo.said[: first["episodes"]]
    assert len(get_recent_dreams(database, 1)) == 1


def test_leaves_out_a_dream_that_was_removed_meanwhile(waits, database, host, monkeypatch):
    monkeypatch.setattr(
        host, "ask", lambda _, method, *__: [{"id": 1}] if method == "dialogs.recent" else None
    )
    assert get_recent_dreams(database) == []


# --- waiting, otherwise --------------------------------------------------------------------------------


def test_asking_for_figures_of_another_database_ends_no_dream(waits, tmp_path, leo, monkeypatch):
    """On another thread the figures wait for the end of the dream, or are empty. In a hook they are empty."""
    monkeypatch.setattr(dropin_host, "FIGURES_S", 0.01)
    one, two = tmp_path / "one/d.sqlite3", tmp_path / "two/d.sqlite3"
    other = []

    def generate(*asked):
        other.append(get_dream_stats(two))
        asker = threading.Thread(target=lambda: other.append(get_dream_stats(two)))
        asker.start()
        asker.join()
        return leo.generate(*asked)

    maybe_run_dream(STIRRED, generate, leo.observe, one, ALWAYS)
    assert rows(one, "SELECT outcome FROM dream_dialogs") == [("complete",)]
    assert other == [{}] * len(other)
    monkeypatch.setattr(dropin_host, "FIGURES_S", DEADLINE_S)
    assert get_dream_stats(two)["total_dialogs"] == 0
    assert get_dream_stats(one)["total_dialogs"] == 1


def test_the_thread_that_waits_runs_the_functions(waits, database, leo):
    """The functions may work on that thread only, as leo's own connection does."""
    ran = set()

    def generate(*asked):
        ran.add(threading.current_thread())
        return leo.generate(*asked)

    def observe(text):
        ran.add(threading.current_thread())
        leo.observe(text)

    maybe_run_dream(STIRRED, generate, observe, database, ALWAYS)
    assert ran == {threading.current_thread()}
    assert leo.heard == leo.said != []


def test_p10_counts_a_failure_while_waiting_and_tells_the_daemon(waits, database, leo, host, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("DREAMD_GATE__CHANCES", "1")  # with which no daemon starts
        maybe_run_dream(STIRRED, leo.generate, leo.observe, database)
    assert host.failures.counts == {"offer": 1}
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, ALWAYS)
    assert asked_of(database, "status")["failures"]["host: offer"] == 1


def asked_of(database, method, *params):
    return dropin._process.ask(database, method, *params)


def test_holds_methods_weakly(service, host):
    class Caller(Functions):
        pass

    caller = Caller()
    maybe_run_dream(CALM, caller.generate, caller.observe)
    gone = weakref.ref(caller)
    del caller
    gc.collect()
    assert gone() is None


def test_each_database_has_its_own_dreams(waits, tmp_path, leo):
    for name in ("one", "two", "one"):
        maybe_run_dream(STIRRED, leo.generate, leo.observe, tmp_path / name / "d.sqlite3", ALWAYS)
    dialogs = "SELECT COUNT(*) FROM dream_dialogs"
    assert rows(tmp_path / "one/d.sqlite3", dialogs) == [(2,)]
    assert rows(tmp_path / "two/d.sqlite3", dialogs) == [(1,)]


def test_starts_no_dream_within_a_dream(waits, database, leo):
    def generate(*asked):
        maybe_run_dream(STIRRED, leo.generate, leo.observe, database, ALWAYS)
        return leo.generate(*asked)

    maybe_run_dream(STIRRED, generate, leo.observe, database, ALWAYS)
    assert rows(database, "SELECT COUNT(*) FROM dream_dialogs") == [(1,)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_p1_a_forked_child_is_not_blocked_by_a_dream_of_its_parent(waits, host):
    waits_for, dreaming, free = host._waits(), threading.Event(), threading.Event()

    def dream():
        with waits_for._one_at_a_time:
            waits_for._dreaming = True
            dreaming.set()
            free.wait(DEADLINE_S)

    thread = threading.Thread(target=dream)
    thread.start()
    assert dreaming.wait(DEADLINE_S)
    child = os.fork()
    if not child:
        os._exit(0 if waits_for._one_at_a_time.acquire(blocking=False) and not waits_for._dreaming else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    free.set()
    thread.join()


class Double:
    """The leo-shaped double with the drop-in for his dream module."""

    def __init__(self, monkeypatch, folder):
        for name in ("init_dream", "maybe_run_dream", "DreamContext"):
            monkeypatch.setattr(leo_double, name, getattr(dropin, name))
        monkeypatch.setattr(leo_double, "DB_PATH", None)
        self.connection = leo_double.settle(folder)
        self.field = leo_double.LeoField(self.connection)

    def end(self):
        attachment_of(self.field).detach()
        self.connection.close()


def test_p1_leo_waits_for_a_dream_within_his_reply_and_his_database_is_not_ours(waits, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMD_GATE__CHANCE", "1")
    monkeypatch.setenv("DREAMD_GATE__NOVELTY_ABOVE", "-1")
    double = Double(monkeypatch, tmp_path)
    double.field.reply("what does the river say")
    (dream,) = get_recent_dreams(leo_double.DB_PATH)
    assert dream["episodes"] >= 1  # he draws from chance, and a line that repeats another ends the dream
    assert rows(tmp_path / "dream.sqlite3", "SELECT COUNT(*) FROM dream_dialogs") == [(1,)]
    tables = rows(leo_double.DB_PATH, "SELECT name FROM sqlite_schema WHERE name LIKE 'dream%'")
    assert tables == []
    double.end()


# --- a service -----------------------------------------------------------------------------------------


def asked(method, *params):
    """Return the service's answer."""
    return dropin._process.ask(None, method, *params)


def test_functions_are_the_hooks_of_a_session(service, database, leo):
    leo.alike = 2  # the daemon's own settings
    init_dream(database, "I am small. I listen.", ["a lamp is on"])
    until(lambda: maybe_run_dream(STIRRED, leo.generate, leo.observe, database) or asked("why"))
    until(lambda: asked("status")["dialogues"])
    assert leo.heard == leo.said
    assert len(leo.said) >= 3
    assert get_dream_stats()["total_turns"] == len(leo.said)
    assert [turn["text"] for turn in get_recent_dreams()[0]["turns"]] == leo.said
    origin = [fragment["text"] for fragment in asked("friend.fragments") if fragment["origin"]]
    assert len(origin) == 2
    assert not database.exists()


def test_the_latest_functions_are_asked(service, database, leo):
    other = Functions()
    maybe_run_dream(CALM, other.generate, other.observe, database)
    until(lambda: maybe_run_dream(STIRRED, leo.generate, leo.observe, database) or asked("why"))
    until(lambda: asked("status")["dialogues"])
    assert other.said == []
    assert leo.said


class Quicker:
    """In the place of `function`: another thread's call of `work` ends before the first call of it does."""

    def __init__(self, function, work):
        self._function, self._work, self.others = function, work, []

    def __call__(self, *arguments):
        if not self.others:
            self.others.append(None)
            self.others[0] = self._work()
        return self._function(*arguments)


def test_first_replies_of_functions_on_two_threads_have_one_client(monkeypatch, host, leo):
    functions = (leo.generate, leo.observe)
    quicker = Quicker(host._new_client, lambda: host._plain(functions))
    monkeypatch.setattr(host, "_new_client", quicker)
    assert host._plain(functions) is quicker.others[0] is host._client


def test_first_replies_on_two_threads_wait_for_one_daemon(monkeypatch, host):
    quicker = Quicker(embedded.from_dreamd, host._waits)
    monkeypatch.setattr(embedded, "from_dreamd", quicker)
    assert host._waits() is quicker.others[0] is host._waiting


def test_first_replies_on_two_threads_share_the_embedded_daemon(monkeypatch, host):
    monkeypatch.setenv("DREAMD_EMBEDDED", "1")
    quicker = Quicker(embedded.EmbeddedDaemon, host._embedded)
    monkeypatch.setattr(embedded, "EmbeddedDaemon", quicker)
    assert host._embedded() is quicker.others[0] is host._daemon


def test_attaches_a_field_once_whose_first_replies_are_on_two_threads(monkeypatch, tmp_path, host):
    with closing(leo_double.settle(tmp_path)) as connection:
        field = leo_double.LeoField(connection)
        quicker = Quicker(Voice.examine, lambda: host._attach(field))
        monkeypatch.setattr(Voice, "examine", lambda voice: quicker(voice))
        assert host._attach(field) is quicker.others[0] is attachment_of(field)
        assert host.failures.counts["init"] == 0
        attachment_of(field).detach()


def test_fields_that_cannot_dream_have_one_client_together(monkeypatch, tmp_path, host):
    monkeypatch.setattr("dreamclient.leo.attachment.attach", mock.Mock(side_effect=AttributeError))
    first = Double(monkeypatch, tmp_path).field
    silent = host._silent
    assert host._attach(leo_double.LeoField(first.conn)) is None
    assert host._silent is silent
    assert host.failures.counts["init"] == 2
    first.conn.close()


def test_p1_asks_any_object_of_a_host_if_it_is_a_leo(host, leo):
    class Proxy:
        """As those of web frameworks, outside of a request."""

        def __getattr__(self, name):
            raise RuntimeError("working outside of request context")

        def talk(self):
            maybe_run_dream(STIRRED, leo.generate, leo.observe)

    Proxy().talk()
    host.failures.counts.pop("connect", None)  # of the attempt that has begun
    assert host.failures.counts == {"not_connected": 1}


def test_a_field_is_attached_as_it_is_made(service, tmp_path, monkeypatch):
    double = Double(monkeypatch, tmp_path / "service")
    attached = attachment_of(double.field)
    until(lambda: attached.client.connected)
    double.field.reply("what does the river say")
    until(lambda: asked("why"))
    (decision,) = asked("why")
    assert decision["client"] == "leo"
    until(lambda: asked("status")["seeded"])
    origin = {fragment["text"] for fragment in asked("friend.fragments")}
    assert "the lamp is on" in origin
    double.end()


def test_does_not_attach_a_detached_field_again(service, tmp_path, monkeypatch, host):
    double = Double(monkeypatch, tmp_path)
    client = attachment_of(double.field).client
    assert client.start(DEADLINE_S)
    attachment_of(double.field).detach()
    for n in range(3):
        double.field.reply(f"the rain {n}")
    assert not attachment_of(double.field)
    assert host._client is None
    assert not asked("status")["decisions"]
    gone, double.field = weakref.ref(double.field), None
    gc.collect()
    assert gone() is None
    double.connection.close()


class Helper(leo_double.LeoField):
    """Another leo's code: he has helper functions, and passes lambdas."""

    def _dream(self, prompt, context):
        ctx = DreamContext(prompt, context.output, trauma_level=0.9)
        maybe_run_dream(ctx, lambda *a: self._dream_generate(*a), lambda text: self._dream_observe(text))


def prepare(path, origin, readme):
    init_dream(path, origin, readme)


@pytest.mark.parametrize("init", [prepare, lambda *_: None])
def test_attaches_a_leo_once_with_helper_functions_and_lambdas(service, tmp_path, monkeypatch, init, host):
    monkeypatch.setattr(leo_double, "init_dream", init)
    monkeypatch.setattr(leo_double, "maybe_run_dream", None)
    with closing(leo_double.settle(tmp_path)) as connection:
        leo = Helper(connection)
        assert bool(attachment_of(leo)) == (init is prepare)
        leo.reply("what does the river say")
        assert attachment_of(leo).client.start(DEADLINE_S)
        before = len(asked("why", 100))
        for n in range(3):
            leo.reply(f"what does the rain say {n}")
        until(lambda: len(asked("why", 100)) >= before + 3)
        assert len(asked("why", 100)) == before + 3
        assert host._client is None
        attachment_of(leo).detach()


def test_a_second_init_of_a_field_changes_nothing(tmp_path, monkeypatch):
    double = Double(monkeypatch, tmp_path)
    attached = attachment_of(double.field)
    type("Again", (), {"go": lambda self: init_dream(tmp_path)}).go(double.field)
    assert attachment_of(double.field) is attached
    double.end()


def test_p10_a_field_that_cannot_be_attached_is_left_alone_and_counted(service, tmp_path, monkeypatch, host):
    def broken(*_, **__):
        raise AttributeError

    monkeypatch.setattr("dreamclient.leo.attachment.attach", broken)
    leo = Double(monkeypatch, tmp_path).field
    assert not attachment_of(leo)
    assert leo.reply("and on he talks")
    until(lambda: asked("status")["sessions"])
    status = asked("status")
    assert status["failures"]["host: init"] == 1
    assert [session["provides"] for session in status["sessions"] if session["name"] == "leo"] == [[], []]
    host._silent.close()
    leo.conn.close()


def test_p10_the_client_of_a_field_tells_the_failures_beside_it(tmp_path, monkeypatch, host):
    double = Double(monkeypatch, tmp_path)
    for _ in range(3):
        assert get_dream_stats() == {}  # no daemon listens
    assert attachment_of(double.field).client.failures["ask"] == 3
    double.end()


@pytest.mark.parametrize("stats", [{"dialogs": 1}, [1], None, "7"])
@pytest.mark.parametrize("recent", [[{"id": 1}, {"id": 2}], [{}], 5, None, [7]])
@pytest.mark.parametrize("dialog", [{"id": 1}, [], None, {"turns": [3]}])
def test_p1_a_daemon_of_another_version_has_no_figures(monkeypatch, tmp_path, host, stats, recent, dialog):
    answers = {"stats": stats, "dialogs.recent": recent, "dialogs.get": dialog}
    monkeypatch.setattr(host, "ask", lambda _, method, *__: answers[method])
    assert get_dream_stats() == {}
    assert get_recent_dreams() == []
    assert host.failures.counts["ask"] >= 2


def test_waits_for_figures_for_one_second_at_most(monkeypatch, tmp_path):
    """P1: the daemon answers hello, and then nothing more."""
    end = threading.Event()
    monkeypatch.setattr(dropin_host, "FIGURES_S", 0.05)
    monkeypatch.setenv("DREAMD_SOCKET", str(tmp_path / "s"))
    with LittleDaemon(tmp_path / "s", {"stats": lambda *_: end.wait(DEADLINE_S)}):
        began = time.monotonic()
        assert get_dream_stats() == {}
        assert time.monotonic() - began < DEADLINE_S / 2
        end.set()


def test_p10_an_offer_that_fails_is_counted(service, leo, host):
    maybe_run_dream(CALM, leo.generate, leo.observe)
    host._client.offer, host._client._offer = None, host._client.offer
    maybe_run_dream(STIRRED, leo.generate, leo.observe)
    assert host._client.failures["offer"] == 1


def test_p1_seeded_replies_do_not_change_without_a_daemon(tmp_path, monkeypatch):
    def replies(field):
        random.seed(11)
        return [field.reply(prompt) for prompt in ("who are you", "the rain", "the lamp") * 3]

    monkeypatch.setattr(leo_double, "init_dream", None)
    monkeypatch.setattr(leo_double, "maybe_run_dream", None)
    monkeypatch.setattr(leo_double, "DB_PATH", None)
    for name in ("bare", "with"):
        (tmp_path / name).mkdir()
    bare = leo_double.settle(tmp_path / "bare")
    expected = replies(leo_double.LeoField(bare))
    bare.close()
    double = Double(monkeypatch, tmp_path / "with")
    assert replies(double.field) == expected
    double.end()


@pytest.mark.parametrize("off", ["", "0", "no", "off", "False"])
def test_dreamd_embedded_off_means_the_service(monkeypatch, off, host):
    monkeypatch.setenv("DREAMD_EMBEDDED", off)
    assert get_dream_stats() == {}
    assert host._daemon is None or host._daemon._shared is None


# --- in this process, never waiting --------------------------------------------------------------------


def test_embedded_dreams_in_the_usual_state_folder_without_waiting(
    monkeypatch, tmp_path, database, leo, host
):
    leo.alike = 2  # the daemon's own settings
    monkeypatch.setenv("DREAMD_EMBEDDED", "1")
    monkeypatch.setenv("DREAMD_STATE_DIR", str(tmp_path / "usual"))
    monkeypatch.setenv("DREAMD_GATE__CHANCE", "1")
    free = threading.Event()

    def generate(*asked):
        free.wait(DEADLINE_S)
        return leo.generate(*asked)

    init_dream(database, "I am small.")
    until(lambda: maybe_run_dream(STIRRED, generate, leo.observe, database) or host._client.connected)
    maybe_run_dream(STIRRED, generate, leo.observe, database)
    assert leo.said == []  # and yet we are here
    free.set()
    until(
        lambda: (
            get_dream_stats(database)["total_turns"] >= 3
            and not host._daemon._shared._embedded._parts.engine.dialogues.running
        )
    )
    assert leo.heard == leo.said
    assert not database.exists()
    assert (tmp_path / "usual/dream.sqlite3").exists()


# --- a dream.py that was made by hand ------------------------------------------------------------------


@pytest.fixture
def field_database(tmp_path):
    with closing(sqlite3.connect(tmp_path / "field.sqlite3")) as leo, leo:
        leo.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
    return tmp_path / "field.sqlite3"


def by_hand(monkeypatch, docstring):
    module = ModuleType("dream", docstring)
    exec("from dreamclient.dropin import *", vars(module))
    monkeypatch.setitem(sys.modules, "dream", module)
    return module


def test_a_first_leo_is_fed_his_modules_also_without_a_docstring(monkeypatch, field_database):
    module = by_hand(monkeypatch, None)
    init_dream(field_database)
    assert module.__doc__ == ""


def test_a_leo_that_was_fed_is_not_fed_again(monkeypatch, field_database):
    with closing(sqlite3.connect(field_database)) as leo, leo:
        leo.execute("INSERT INTO meta VALUES ('module_bootstrap_hash', 'abc')")
    module = by_hand(monkeypatch, None)
    init_dream(field_database)
    assert module.__doc__ is None


def test_changes_neither_a_docstring_nor_another_dream_module(monkeypatch, field_database, tmp_path):
    module = by_hand(monkeypatch, "his own words")
    init_dream(field_database)
    assert module.__doc__ == "his own words"
    other = ModuleType("dream", None)
    monkeypatch.setitem(sys.modules, "dream", other)
    init_dream(field_database)
    assert other.__doc__ is None
    module = by_hand(monkeypatch, None)
    for path in (tmp_path / "no such file", None):
        init_dream(path)
        assert module.__doc__ is None


@pytest.mark.parametrize("name", ["what?", "100%25", "a#b", "an emoji 🌧", "\udcff"])
def test_finds_leos_first_database_whatever_its_folder_is_called(monkeypatch, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    with closing(sqlite3.connect(os.fsencode(folder / "leo.sqlite3"))) as leo:
        leo.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
    before = os.listdir(tmp_path)
    module = by_hand(monkeypatch, None)
    init_dream(folder / "leo.sqlite3")
    assert module.__doc__ == ""
    assert os.listdir(tmp_path) == before


def test_waiting_takes_the_real_time_if_none_is_given(waits, database, leo):
    before = time.time()
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, ALWAYS, NOW)
    maybe_run_dream(STIRRED, leo.generate, leo.observe, database, ALWAYS)
    ((first,), (second,)) = rows(database, "SELECT started_at FROM dream_dialogs ORDER BY id")
    assert first == NOW
    assert before <= second <= time.time()


# --- private conversations -----------------------------------------------------------------------------


def test_a_private_reply_of_leos_own_layer_is_counted_by_the_service_and_dreamt_of_by_none(
    service, leo, host
):
    maybe_run_dream(CALM, leo.generate, leo.observe)
    until(lambda: host._client.connected, "the connection")
    for _ in range(2):
        with private():
            maybe_run_dream(STIRRED, leo.generate, leo.observe)
    until(lambda: service.call("status")["decisions"].get("private") == 2, "the count")
    assert service.call("status")["dialogues"] == {}
    assert leo.said == []


def test_a_private_reply_starts_no_daemon_that_is_waited_for(waits, database, leo, host):
    with private():
        maybe_run_dream(STIRRED, leo.generate, leo.observe, database, ALWAYS, NOW)
    assert (leo.said, database.exists()) == ([], False)
    maybe_run_dream(CALM, leo.generate, leo.observe, database, ALWAYS, NOW)
    assert host.ask(database, "status")["decisions"] == {"calm": 1, "private": 1}


def test_a_private_reply_is_counted_by_the_embedded_daemon(leo, host, monkeypatch):
    monkeypatch.setenv("DREAMD_EMBEDDED", "1")
    with private():
        maybe_run_dream(STIRRED, leo.generate, leo.observe)
    until(lambda: host.ask(None, "status")["decisions"] == {"private": 1}, "the count")
    assert leo.said == []
