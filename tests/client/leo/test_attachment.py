"""attach(field) on the leo-shaped double, with a real daemon where one is spoken of."""

import asyncio
import copy
import gc
import random
import sqlite3
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from unittest import mock

import pytest
from dreamclient import AsyncDreamClient, DreamClient, DreamContext, UsageError
from dreamclient.leo import attach
from dreamclient.leo import attachment as attachment_module
from dreamclient.leo.attachment import attachment_of
from dreamclient.leo.diet import Diet, Everything

from tests.helpers import leo_double
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.waiting import until

PROMPT = "where is the rain"
ABSENT = "/nonexistent/dreamd.sock"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """Dreams of everything, at once."""
    folder = tmp_path_factory.mktemp("daemon") / "state"
    with DaemonProcess(folder, "--set", "gate.chance=1", "--set", "gate.cooldown_s=0") as daemon:
        yield daemon


@pytest.fixture
def connection(tmp_path):
    with closing(leo_double.settle(tmp_path)) as connection:
        yield connection


@pytest.fixture
def leo(connection):
    return leo_double.LeoField(connection)


class Recorder(DreamClient):
    """A client that keeps what is offered."""

    def __init__(self) -> None:
        super().__init__(socket_path=ABSENT)
        self.offered: list[DreamContext] = []
        self.waited: list[float] = []

    def start(self, wait_s: float = 0.0) -> bool:
        self.waited.append(wait_s)
        return super().start(wait_s)

    def offer(self, ctx) -> bool:
        self.offered.append(ctx)
        return super().offer(ctx)


@pytest.fixture
def client():
    client = Recorder()
    yield client
    client.close()


# dreaming


def test_leo_dreams_and_finds_the_lines_in_his_field(daemon, leo):
    attachment = attach(leo, name="a", socket_path=daemon.socket, diet=Everything())
    try:
        assert attachment.client.start(20), attachment.client.trouble
        dreamt = attachment.client.dream_now(timeout_s=20)
        turns = attachment.client.call("dialogs.get", dreamt["dialog"])["turns"]
        assert dreamt["lines"] == len(turns) >= 1
        assert {turn["observed"] for turn in turns} == {"answered"}
        leo.observe("and now")
        tokens = leo_double.tokenize(turns[0]["text"])
        assert leo.trigrams[tokens[0], tokens[1]][tokens[2]] >= 1
        assert attachment.client.failures == {}
    finally:
        attachment.detach()


def test_a_reply_is_told_and_dreamt_of_while_leo_talks_on(daemon, leo):
    """The hooks run between his calls, and his replies are those that he would give without them."""
    attachment = attach(
        leo, name="b", socket_path=daemon.socket, recall=True, into=["episodes"], diet=Everything()
    )
    ended = threading.Event()
    watcher = DreamClient(
        socket_path=daemon.socket,
        name="watcher",
        on_event=lambda event: event["type"] == "dialog.finished" and ended.set(),
    )
    try:
        assert attachment.client.start(20)
        assert watcher.start(20)
        watcher.call("events.subscribe")
        while not ended.is_set():
            leo.observe(PROMPT)
            leo.reply(PROMPT)
        # Not by `why`: while he dreams, a hundred later replies may find him busy.
        [dreamt] = watcher.call("dialogs.recent", 1)
        assert dreamt["client"] == "b"
        until(lambda: leo.rag.episodes, "an episode")
        assert leo.rag.episodes[0].prompt.startswith("dream:")
        hooks = attachment.client.call("status")["hooks"]
        assert hooks["recall"]["calls"] >= 1
    finally:
        watcher.close()
        attachment.detach()


async def test_an_async_leo_dreams_on_his_own_loop(daemon, connection):
    leo = leo_double.AsyncLeoField(connection)
    attachment = attach(leo, name="c", socket_path=daemon.socket, after_reply=False)
    try:
        assert await asyncio.to_thread(attachment.client.start, 20)
        await leo.async_observe(PROMPT)
        dream = asyncio.create_task(asyncio.to_thread(attachment.client.dream_now, None, 20))
        while not dream.done():
            await leo.async_observe(PROMPT)
            await leo.async_reply(PROMPT)
        result = await dream
        assert result["lines"] >= 1
        assert set(attachment.client.failures) <= {"stalled"}
    finally:
        attachment.detach()
    assert type(leo) is leo_double.AsyncLeoField


def test_a_field_made_in_one_thread_and_asked_in_another(daemon, leo):
    """A web server does so. Leo's connection refuses the other thread, so the hooks open their own."""
    attachment = attach(leo, name="d", socket_path=daemon.socket, after_reply=False, diet=Everything())
    said = []
    try:
        assert attachment.client.start(20)
        other = threading.Thread(target=lambda: said.append(leo.reply(PROMPT)))
        other.start()
        other.join()
        assert said[0]
        assert attachment.client.dream_now(timeout_s=20)["lines"] >= 1
        with closing(sqlite3.connect(leo_double.DB_PATH)) as connection:
            (count,) = connection.execute("SELECT SUM(count) FROM trigrams").fetchone()
        assert count > sum(sum(row.values()) for row in leo.trigrams.values())
    finally:
        attachment.detach()


def test_attached_within_his_constructor_leo_is_asked_when_he_has_words(daemon, connection, monkeypatch):
    """leo's dream layer starts before his field is loaded. A line that is asked for then waits, and is not empty."""
    bonds = []

    def init_dream(*_):
        import sys

        field = sys._getframe(1).f_locals["self"]
        assert not field.vocab
        bonds.append(attach(field, name="e", socket_path=daemon.socket))
        assert bonds[0].client.start(20)
        asked = threading.Event()
        generate = bonds[0].client._session.hooks._hooks["generate"]
        monkeypatch.setattr(generate.__self__.voice, "examine", asked.set)
        dream = threading.Thread(target=lambda: bonds.append(bonds[0].client.dream_now(timeout_s=20)))
        dream.start()
        bonds.append(dream)
        assert not asked.wait(0.05)

    monkeypatch.setattr(leo_double, "init_dream", init_dream)
    leo = leo_double.LeoField(connection)
    attachment, dream = bonds[:2]
    dream.join()
    attachment.detach()
    assert leo.vocab
    assert bonds[2]["lines"] >= 1


# what leo is, is left as it was


@pytest.mark.parametrize("kind", [leo_double.LeoField, leo_double.AsyncLeoField])
def test_detach_restores_the_field(connection, kind):
    leo = kind(connection)
    before, methods = dict(vars(leo)), dict(vars(kind))
    attachment = attach(leo, socket_path=ABSENT)
    assert isinstance(leo, kind)
    assert type(leo).__name__ == kind.__name__
    assert dict(vars(leo)) == before
    thread = attachment.client._run.thread
    attachment.detach()
    attachment.detach()
    assert type(leo) is kind
    assert (dict(vars(leo)), dict(vars(kind))) == (before, methods)
    assert not thread.is_alive()
    attach(leo, socket_path=ABSENT).detach()


def test_hears_methods_set_on_the_object_and_restores_them(leo, client):
    leo.reply = mine = lambda prompt: f"mine: {prompt}"
    attachment = attach(leo, client=client)
    assert leo.reply(PROMPT) == f"mine: {PROMPT}"
    assert [ctx.reply for ctx in client.offered] == [f"mine: {PROMPT}"]
    attachment.detach()
    assert leo.reply is mine


def test_calls_the_method_that_the_class_has_at_that_time(leo, client, monkeypatch):
    attachment = attach(leo, client=client)
    monkeypatch.setattr(leo_double.LeoField, "reply", lambda self, prompt: f"patched {self is leo}")
    assert leo.reply(PROMPT) == "patched True"
    mocked = mock.Mock(return_value="a mock takes no self")
    monkeypatch.setattr(leo_double.LeoField, "reply", mocked)
    assert leo.reply(PROMPT) == "a mock takes no self"
    mocked.assert_called_once_with(PROMPT)
    attachment.detach()
    assert [ctx.reply for ctx in client.offered] == ["patched True", "a mock takes no self"]


def test_a_patch_of_the_object_may_outlive_the_attachment_or_end_before_it(leo, client):
    attachment = attach(leo, client=client)
    with mock.patch.object(leo, "reply", return_value="a mock"):
        assert leo.reply(PROMPT) == "a mock"
        attachment.detach()
        assert leo.reply(PROMPT) == "a mock"
    assert "reply" not in vars(leo)
    assert leo.reply(PROMPT)
    with mock.patch.object(leo, "reply", return_value="a mock"):
        attachment = attach(leo, socket_path=ABSENT)
    assert leo.reply(PROMPT) != "a mock"
    attachment.detach()
    assert "reply" not in vars(leo)


def test_a_copy_of_an_attached_field_is_not_attached(leo, client):
    """Two attachments of different fields never see each other."""
    attachment = attach(leo, client=client)
    twin = copy.copy(leo)
    twin.reply(PROMPT)
    assert client.offered == []
    other = Recorder()
    bond = attach(twin, client=other)
    assert (attachment_of(leo), attachment_of(twin)) == (attachment, bond)
    leo.reply("only I")
    twin.reply("only he")
    attachment.detach()
    twin.reply("still he")
    bond.detach()
    assert [ctx.prompt for ctx in client.offered] == ["only I"]
    assert [ctx.prompt for ctx in other.offered] == ["only he", "still he"]
    assert type(leo) is leo_double.LeoField


def test_a_field_that_is_given_another_class_keeps_it(leo, client):
    class Sub(leo_double.LeoField):
        pass

    attachment = attach(leo, client=client)
    leo.__class__ = Sub
    attachment.detach()
    assert type(leo) is Sub


def test_a_field_that_cannot_be_given_a_class_is_refused():
    class Slots:
        __slots__ = ("__weakref__", "bigrams", "vocab")
        reply = observe = lambda self, text: text

    Slots.__module__ = leo_double.__name__
    slots = Slots()
    slots.bigrams, slots.vocab = {}, []
    bond = attach(slots, socket_path=ABSENT)  # slots are no obstacle
    bond.detach()
    assert type(slots) is Slots


def test_an_interrupt_anywhere_in_a_call_leaves_nothing_behind(leo, client, monkeypatch):
    """P1: after a Ctrl-C or an alarm around `reply` at any line of ours, the next reply is heard as before."""
    attachment = attach(leo, client=client)
    monkeypatch.setattr(leo_double.LeoField, "reply", lambda self, prompt: "a reply")

    class Alarm(BaseException):
        pass

    interrupted = 0
    for line in range(1, 200):
        passed = 0

        def trace(frame, event, _, line=line):
            nonlocal passed
            if frame.f_code.co_filename != attachment_module.__file__:
                return None
            if event == "line":
                passed += 1
                if passed == line:
                    raise Alarm
            return trace

        sys.settrace(trace)
        try:
            leo.reply(PROMPT)
        except Alarm:
            interrupted += 1
        else:
            break
        finally:
            sys.settrace(None)
        assert attachment_module.Call.here() is None
        assert not attachment.replies
        offered = len(client.offered)
        leo.reply(f"and then {line}")
        assert client.offered[offered].prompt == f"and then {line}"
    attachment.detach()
    assert interrupted > 15


def test_a_wrapper_around_ours_is_left_on_and_only_passes_on(leo, client):
    attachment = attach(leo, client=client)
    ours = leo.reply
    leo.reply = lambda prompt: ours(prompt).upper()
    attachment.detach()
    assert leo.reply(PROMPT).isupper()
    assert client.offered == []


async def test_an_async_wrapper_that_was_kept_only_passes_on(connection, client):
    leo = leo_double.AsyncLeoField(connection)
    attachment = attach(leo, client=client)
    kept = leo.async_reply
    attachment.detach()
    assert await kept(PROMPT)
    assert client.offered == []


def test_replies_do_not_change_when_attached(tmp_path):
    """P1: without a daemon there is no dream, so the replies are equal byte for byte."""
    said = []
    for attached in (False, True):
        (tmp_path / str(attached)).mkdir()
        with closing(leo_double.settle(tmp_path / str(attached))) as connection:
            leo = leo_double.LeoField(connection)
            bond = attach(leo, socket_path=ABSENT) if attached else None
            random.seed(11)
            said.append([leo.reply(f"{PROMPT} {n}") for n in range(10)])
            if bond:
                bond.detach()
    assert said[0] == said[1]


@pytest.mark.parametrize("detached", [False, True])
def test_the_attachment_ends_with_the_field_which_it_does_not_keep_alive(connection, detached):
    leo = leo_double.LeoField(connection)
    leo.observe = lambda text: None
    attachment = attach(leo, socket_path=ABSENT)
    thread = attachment.client._run.thread
    leo.reply(PROMPT)
    if detached:
        attachment.detach()
    gone = weakref.ref(leo)
    del leo
    gc.collect()
    assert gone() is None
    thread.join(20)
    assert (thread.is_alive(), attachment.client.trouble) == (False, "closed")
    assert attachment.offer(DreamContext(PROMPT, "r")) is False
    attachment.detach()


def test_attach_does_not_wait(leo, client):
    attach(leo, client=client).detach()
    assert client.waited == [0.0]


def test_refuses_a_field_whose_class_refuses_a_subclass(connection):
    class Final(leo_double.LeoField):
        def __init_subclass__(cls):
            raise RuntimeError("it is final")

    leo = Final(connection)
    with pytest.raises(UsageError, match="cannot be attached: it is final"):
        attach(leo)
    assert type(leo) is Final


def test_refuses_a_field_that_another_thread_attaches_meanwhile(leo, client, monkeypatch):
    examine = attachment_module.Voice.examine
    others = []

    def meanwhile(voice):
        monkeypatch.setattr(attachment_module.Voice, "examine", examine)
        others.append(attach(leo, client=client))
        examine(voice)

    monkeypatch.setattr(attachment_module.Voice, "examine", meanwhile)
    with pytest.raises(UsageError, match="attached already"):
        attach(leo, client=DreamClient(socket_path=ABSENT))
    assert attachment_of(leo) is others[0]
    others[0].detach()
    assert type(leo) is leo_double.LeoField


def test_refuses_a_field_that_is_attached_is_no_leo_or_cannot_speak(leo, client, monkeypatch):
    attachment = attach(leo, client=client)
    with pytest.raises(UsageError, match="attached already"):
        attach(leo)
    attachment.detach()
    with pytest.raises(UsageError, match="no field"):
        attach(object())
    with pytest.raises(UsageError, match="attach takes a DreamClient"):
        attach(leo, client=AsyncDreamClient(socket_path=ABSENT))
    with pytest.raises(UsageError, match="hooks are set once"):
        attach(leo, client=client)
    monkeypatch.setattr(leo_double, "generate_reply", lambda prompt, soul: prompt)
    with pytest.raises(UsageError, match="cannot dream: his generate_reply needs soul"):
        attach(leo)
    assert type(leo) is leo_double.LeoField


# what is told


def test_a_reply_that_the_dream_layer_did_not_tell_of_is_told(leo, client):
    attachment = attach(leo, client=client)
    leo.observe(PROMPT)
    said = leo.reply(prompt=PROMPT)
    leo.observe(text=said)
    attachment.detach()
    (ctx,) = client.offered
    assert (ctx.prompt, ctx.reply, ctx.expert, ctx.trauma_level) == (PROMPT, said, "wounded", 0.98)
    assert ctx.pulse.novelty == pytest.approx(0.5 * 1 / 4 + 0.5)


def test_tells_each_of_the_equal_replies_on_several_threads(leo, client, monkeypatch):
    """Equal texts are different replies: each is told once."""
    everyone = threading.Barrier(5)
    monkeypatch.setattr(leo_double.LeoField, "reply", lambda self, prompt: f"yes {everyone.wait(20)}")
    attachment = attach(leo, client=client)
    with ThreadPoolExecutor(5) as people:
        said = list(people.map(leo.reply, [PROMPT] * 5))
    attachment.detach()
    assert sorted(ctx.reply for ctx in client.offered) == sorted(said)


async def test_tells_each_of_the_equal_replies_on_one_loop(connection, client):
    leo = leo_double.AsyncLeoField(connection)
    attachment = attach(leo, client=client)
    said = await asyncio.gather(*[leo.async_reply(PROMPT) for _ in range(3)])
    attachment.detach()
    assert sorted(ctx.reply for ctx in client.offered) == sorted(said)


async def test_an_async_reply_is_told(connection, client):
    leo = leo_double.AsyncLeoField(connection)
    attachment = attach(leo, client=client)
    said = await leo.async_reply(PROMPT)
    attachment.detach()
    assert [(ctx.prompt, ctx.reply) for ctx in client.offered] == [(PROMPT, said)]


def test_tells_a_reply_once_if_the_dream_layer_tells_of_it(leo, client, monkeypatch):
    attachment = attach(leo, client=client)
    monkeypatch.setattr(leo_double, "DreamContext", dict)
    monkeypatch.setattr(
        leo_double,
        "maybe_run_dream",
        lambda ctx, **_: attachment.offer(DreamContext(ctx["prompt"], ctx["reply"], expert="own")),
    )
    leo.reply(PROMPT)
    attachment.detach()
    assert [ctx.expert for ctx in client.offered] == ["own"]


@pytest.mark.parametrize(("setting", "diet"), [(None, Diet), ("1", Diet), ("0", Everything)])
def test_his_dreams_are_on_a_diet_unless_it_is_set_off(leo, client, monkeypatch, setting, diet):
    if setting is not None:
        monkeypatch.setenv("DREAMD_DIET", setting)
    attach(leo, client=client).detach()
    assert type(client._session.hooks._hooks["observe"].__self__.diet) is diet


def test_does_not_tell_a_reply_if_after_reply_is_false(leo, client):
    attachment = attach(leo, client=client, after_reply=False)
    leo.reply(PROMPT)
    attachment.detach()
    assert client.offered == []


def test_a_context_of_no_reply_can_be_offered(leo, client):
    attachment = attach(leo, client=client)
    assert attachment.offer(DreamContext(PROMPT, "r")) is False
    attachment.detach()
    assert client.failures["not_connected"] == 1


def test_counts_failures_in_the_host_and_still_replies(leo, client, capfd, monkeypatch):
    """P10: failures are counted by kind. P1: none is raised or printed."""

    class Broken:
        def __getattr__(self, name):
            raise ZeroDivisionError

    attachment = attach(leo, client=client)
    attachment.senses, senses = Broken(), attachment.senses
    assert leo.reply(PROMPT)
    assert client.failures["listen"] == 2  # the prompt, and the reply
    monkeypatch.setattr(type(senses), "prompt", Broken.__getattr__)
    attachment.senses = senses
    assert leo.reply(PROMPT)
    assert client.failures["listen"] == 3
    assert [ctx.prompt for ctx in client.offered] == [PROMPT]  # though it was not measured
    assert attachment.offer("no context") is False
    assert client.failures["offer"] == 1
    with pytest.raises(TypeError):
        leo.reply()  # his own errors stay his own
    leo.observe(PROMPT)
    attachment.detach()
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_of_a_call_of_leos_that_raised(leo, client, monkeypatch):
    attachment = attach(leo, client=client)
    with pytest.raises(AttributeError):
        leo.observe(7)
    monkeypatch.setattr(leo_double, "generate_reply", None)
    with pytest.raises(TypeError):
        leo.reply(PROMPT)
    assert not attachment.replies
    attachment.detach()


def test_a_line_waits_while_leo_is_in_a_reply(leo, client, monkeypatch):
    attachment = attach(leo, client=client)
    talks = client._session.hooks._hooks["generate"].__self__.talks
    seen = []

    def reply(self, prompt):
        leo.observe("in the midst of it")
        seen.append(talks())
        client.waits = True  # for the dream itself
        attachment.offer(DreamContext(PROMPT, "r"))
        seen.append(talks())
        return "r"

    monkeypatch.setattr(leo_double.LeoField, "reply", reply)
    leo.reply(PROMPT)
    attachment.detach()
    assert (seen, talks()) == ([True, False], False)


def test_leos_modules_are_told_on_his_own_thread(leo, client):
    attachment = attach(leo, client=client, into=["episodes"], diet=Everything())
    observe = client._session.hooks._hooks["observe"]
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(observe, "the rain is late", {"dialog": 1}).result()["taken"] is True
    assert leo.rag.episodes == []
    leo.observe(PROMPT)
    assert [episode.reply for episode in leo.rag.episodes] == ["the rain is late"]
    attachment.detach()


def test_a_field_of_another_thread_is_fed_when_he_has_made_a_call(leo, connection, client):
    """A web worker attaches it. The file is found on leo's own thread only."""
    with ThreadPoolExecutor(1) as worker:
        attachment = worker.submit(attach, leo, client=client, diet=Everything()).result()
    observe = client._session.hooks._hooks["observe"]
    assert observe("x y z", {}) == {"taken": False}
    assert client.failures["no_database"] == 1
    leo.observe(PROMPT)
    assert observe("x y z", {})["taken"] is True
    attachment.detach()
    assert observe("x y z", {}) == {"taken": False}


def test_a_hello_says_which_field_is_fed(leo, tmp_path):
    path = tmp_path / "s"
    with LittleDaemon(path) as daemon:
        attachment = attach(leo, socket_path=path)
        (hello,) = daemon.arrival().hears("hello")
        attachment.detach()
    with closing(sqlite3.connect(leo_double.DB_PATH)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'dreamd_field'").fetchone() == (
            hello["field"],
        )


def test_settings_of_a_leo_who_cannot_pass_any(leo, monkeypatch):
    monkeypatch.setenv("DREAMD_RECALL", "1")
    monkeypatch.setenv("DREAMD_INTO", "episodes, game ,gmae")
    attachment = attach(leo, socket_path=ABSENT)
    hooks = attachment.client._session.hooks
    attachment.detach()
    assert attachment.client.failures["into.gmae"] == 1  # he dreams all the same
    assert hooks.provides == ["generate", "observe", "recall", "unobserve"]
    assert set(hooks._hooks["generate"].__self__.modules._tellers) == {"episodes", "game"}


def test_the_origin_is_leos_own_bootstrap_text(leo, connection):
    for origin, expected in ((None, [leo_double.EMBEDDED_BOOTSTRAP]), (["mine"], ["mine"])):
        attachment = attach(leo, socket_path=ABSENT, origin=origin, readme=["x"])
        attachment.detach()
        assert attachment.client._session.fragments == {"origin": expected, "readme": ["x"]}


# private conversations


def test_a_private_reply_is_counted_and_leaves_nothing_to_later_measures(leo, client, monkeypatch):
    attachment = attach(leo, client=client)
    told = []
    monkeypatch.setattr(client, "_keep_private", lambda: bool(told.append("private")))
    with attachment.private():
        leo.observe("a secret")
        leo.reply("a secret")
    assert (told, [ctx for ctx in client.offered if ctx is not None]) == (["private"], [])
    assert attachment.senses._novelty == {}
    leo.observe("said aloud, and then in private")
    with attachment.private():
        leo.reply("said aloud, and then in private")
    assert attachment.senses._novelty == {}
    assert told.pop() == "private"
    leo.reply(PROMPT)
    assert [ctx.prompt for ctx in client.offered if ctx is not None] == [PROMPT]
    assert (told, client.failures["not_connected"]) == (["private"], 1)
    attachment.detach()


def test_a_private_reply_that_leos_own_layer_tells_is_counted_once(leo, client, monkeypatch):
    attachment = attach(leo, client=client)
    told = []
    monkeypatch.setattr(client, "_keep_private", lambda: bool(told.append("private")))
    monkeypatch.setattr(
        leo_double,
        "maybe_run_dream",
        lambda ctx, *_, **__: attachment.offer(DreamContext("secret", "reply")),
    )
    with attachment.private():
        leo.reply("a secret")
    assert told == ["private"]
    attachment.detach()


async def test_a_private_task_beside_a_public_one(connection, client):
    leo = leo_double.AsyncLeoField(connection)
    attachment = attach(leo, client=client)
    entered, left = asyncio.Event(), asyncio.Event()

    async def secretly():
        with attachment.private():
            entered.set()
            await left.wait()
            await leo.async_reply("a secret")

    talking = asyncio.create_task(secretly())
    await entered.wait()
    await leo.async_reply(PROMPT)
    left.set()
    await talking
    assert [ctx.prompt for ctx in client.offered if ctx is not None] == [PROMPT]
    assert client.offered[-1] is None
    attachment.detach()


def test_dreams_do_not_recall_what_was_said_in_private(leo, client):
    attachment = attach(leo, client=client, recall=True)
    with attachment.private():
        leo.observe("rain on the old roof")
        secret = leo.reply(PROMPT)
    for number in range(2000):  # of which he kept no snapshot
        attachment.keep_private(f"another {number}", told=True)
    recall = client._session.hooks._hooks["recall"]
    with closing(sqlite3.connect(leo_double.DB_PATH)) as database, database:
        database.execute("DELETE FROM snapshots")
        for text in (secret, PROMPT, "rain on the old roof", f"{secret} and more"):
            database.execute("INSERT INTO snapshots (text) VALUES (?)", (text,))
    assert recall(f"{secret} {PROMPT} roof", 5) == [f"{secret} and more"]
    attachment.detach()


def test_a_private_conversation_leaves_nothing_in_the_state_folder_but_a_count(leo, tmp_path):
    state = tmp_path / "service"
    with DaemonProcess(state, "--set", "gate.chance=1", "--set", "log.level=debug") as daemon:
        attachment = attach(leo, socket_path=daemon.socket, recall=True)
        assert attachment.client.start(20)
        with attachment.private():
            for _ in range(3):
                leo.observe("xyzzy is my secret word")
                leo.reply("what is xyzzy")
        until(lambda: daemon.call("status")["decisions"] == {"private": 3}, "the count")
        attachment.detach()
        said = daemon.stderr
    found = {
        path.relative_to(state).as_posix(): path.read_bytes() for path in state.rglob("*") if path.is_file()
    }
    assert [name for name, data in {**found, "log": said.read_bytes()}.items() if b"xyzzy" in data] == []
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        counts = database.execute("SELECT reason, count FROM dream_decision_counts").fetchall()
        assert counts == [("private", 3)]
        for table in ("dream_dialogs", "dream_turns", "dream_decisions", "dream_signals"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert "xyzzy" in leo.vocab  # what was said is still in his own field
