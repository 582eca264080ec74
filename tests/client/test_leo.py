"""attach(field) on the leo-shaped double, with a real daemon where one is spoken of."""

import asyncio
import gc
import random
import sqlite3
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from dreamclient import DreamClient, DreamContext, UsageError
from dreamclient.leo import attach
from dreamclient.leo.diet import Diet
from dreamclient.leo.hooks import Everything

from tests.helpers import leo_double
from tests.helpers.daemon import DaemonProcess

PROMPT = "where is the rain"
NOBODY = "/nonexistent/dreamd.sock"


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
        super().__init__(socket_path=NOBODY)
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
    """The hooks get their turns between his calls, and what he says is what he would have said."""
    attachment = attach(leo, name="b", socket_path=daemon.socket, recall=True, into=["episodes"])
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
        decisions = attachment.client.call("why", 100)
        assert "dream" in {decision["reason"] for decision in decisions if decision["client"] == "b"}
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
    assert "async_reply" not in vars(leo)


def test_a_field_made_in_one_thread_and_asked_in_another(daemon, leo):
    """As a web front does it: leo's own connection refuses the other thread, the hooks have their own."""
    attachment = attach(leo, name="d", socket_path=daemon.socket, after_reply=False)
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
    """leo's dream layer is started before his field is loaded; a line asked for then comes later, and not empty."""
    bonds = []

    def init_dream(*_):
        import sys

        field = sys._getframe(1).f_locals["self"]
        assert not field.vocab
        bonds.append(attach(field, name="e", socket_path=daemon.socket))
        assert bonds[0].client.start(20)
        dream = threading.Thread(target=lambda: bonds.append(bonds[0].client.dream_now(timeout_s=20)))
        dream.start()
        bonds.append(dream)
        while dream.is_alive() and not bonds[0]._turns._waiting:
            dream.join(0.001)

    monkeypatch.setattr(leo_double, "init_dream", init_dream)
    leo_double.LeoField(connection)
    attachment, dream = bonds[:2]
    dream.join()
    attachment.detach()
    assert bonds[2]["lines"] >= 1


# what leo is, is left as it was


@pytest.mark.parametrize("kind", [leo_double.LeoField, leo_double.AsyncLeoField])
def test_detach_restores_everything(connection, kind):
    leo = kind(connection)
    before = {name: value for name, value in vars(leo).items() if not name.startswith("_lock")}
    attachment = attach(leo, socket_path=NOBODY)
    assert vars(leo).keys() > before.keys()
    attachment.detach()
    attachment.detach()
    assert {name: value for name, value in vars(leo).items() if not name.startswith("_lock")} == before
    assert not attachment.client._thread.is_alive()
    attach(leo, socket_path=NOBODY).detach()


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


def test_replies_are_the_same_attached_and_not(tmp_path):
    """P1: no daemon, so no dream: byte for byte."""
    said = []
    for attached in (False, True):
        (tmp_path / str(attached)).mkdir()
        with closing(leo_double.settle(tmp_path / str(attached))) as connection:
            leo = leo_double.LeoField(connection)
            bond = attach(leo, socket_path=NOBODY) if attached else None
            random.seed(11)
            said.append([leo.reply(f"{PROMPT} {n}") for n in range(10)])
            if bond:
                bond.detach()
    assert said[0] == said[1]


def test_the_attachment_ends_with_the_field(connection):
    leo = leo_double.LeoField(connection)
    client = attach(leo, socket_path=NOBODY).client
    gone = weakref.ref(leo)
    del leo
    gc.collect()
    assert gone() is None
    client._thread.join(20)
    assert client.trouble == "closed"


def test_a_leo_who_has_no_refresh_is_attached_without(connection, client, monkeypatch):
    leo = leo_double.LeoField(connection)
    monkeypatch.delattr(leo_double.LeoField, "refresh")
    attachment = attach(leo, client=client)
    assert "reply" in vars(leo)
    assert "refresh" not in vars(leo)
    attachment.detach()


def test_attaching_waits_for_nobody(leo, client):
    attach(leo, client=client).detach()
    assert client.waited == [0.0]


def test_what_is_attached_or_no_leo_is_refused(leo, client):
    attachment = attach(leo, client=client)
    with pytest.raises(UsageError, match="attached already"):
        attach(leo)
    attachment.detach()
    with pytest.raises(UsageError, match="no field"):
        attach(object())
    with pytest.raises(UsageError, match="hooks are set once"):
        attach(leo, client=client)
    assert "reply" not in vars(leo)


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


def test_each_of_those_who_say_the_same_at_one_time_is_told(leo, client, monkeypatch):
    """A text is no identity: every reply is told, once."""
    everyone = threading.Barrier(5)
    monkeypatch.setattr(leo_double.LeoField, "reply", lambda self, prompt: f"yes {everyone.wait(20)}")
    attachment = attach(leo, client=client)
    with ThreadPoolExecutor(5) as people:
        said = list(people.map(leo.reply, [PROMPT] * 5))
    attachment.detach()
    assert sorted(ctx.reply for ctx in client.offered) == sorted(said)


async def test_each_of_those_who_say_the_same_on_one_loop_is_told(connection, client):
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


def test_a_reply_is_told_once_where_the_dream_layer_tells_of_it(leo, client, monkeypatch):
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
    assert type(client._host.hooks._hooks["observe"].__self__.diet) is diet


def test_a_reply_is_not_told_where_that_is_not_wanted(leo, client):
    attachment = attach(leo, client=client, after_reply=False)
    leo.reply(PROMPT)
    attachment.detach()
    assert client.offered == []


def test_a_context_of_no_reply_can_be_offered(leo, client):
    attachment = attach(leo, client=client)
    assert attachment.offer(DreamContext(PROMPT, "r")) is False
    attachment.detach()
    assert client.failures["not_connected"] == 1


def test_what_fails_in_the_host_is_counted_and_costs_no_reply(leo, client, capfd, monkeypatch):
    """P10: each by its kind. P1: nothing is raised, nothing printed."""

    class Broken:
        def prompt(self, *_):
            raise ZeroDivisionError

    attachment = attach(leo, client=client)
    attachment._senses, senses = Broken(), attachment._senses
    leo.observe("what is it to him?")
    assert client.failures["listen"] == 1
    attachment._senses = senses
    monkeypatch.setattr(leo_double.LeoField, "reply", lambda self, prompt: setattr(self, "themes", None))
    leo.themes, themes = None, leo.themes
    del leo.__dict__["reply"]
    attachment._call("reply", leo.reply)(PROMPT)
    assert client.failures["listen"] == 2
    leo.themes = themes
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
    assert attachment._turns.take(lambda: 1) == 1
    monkeypatch.setattr(leo_double, "generate_reply", None)
    with pytest.raises(TypeError):
        leo.reply(PROMPT)
    attachment.detach()


def test_the_exit_of_the_host_waits_for_the_client_once(leo, client):
    """P1: the client ends itself then, in half a second at most."""
    attachment = attach(leo, client=client)
    assert not attachment._end.atexit
    attachment.detach()


def test_settings_of_a_leo_who_cannot_pass_any(leo, monkeypatch):
    monkeypatch.setenv("DREAMD_RECALL", "1")
    monkeypatch.setenv("DREAMD_INTO", "episodes, game ,gmae")
    attachment = attach(leo, socket_path=NOBODY)
    hooks = attachment.client._host.hooks
    attachment.detach()
    assert attachment.client.failures["into: gmae"] == 1  # he dreams all the same
    assert hooks.provides == ["generate", "observe", "recall"]
    assert set(hooks._hooks["generate"].__self__.digest._tellers) == {"episodes", "game"}


def test_the_origin_is_leos_own_bootstrap_text(leo, connection):
    for origin, expected in ((None, [leo_double.EMBEDDED_BOOTSTRAP]), (["mine"], ["mine"])):
        attachment = attach(leo, socket_path=NOBODY, origin=origin, readme=["x"])
        attachment.detach()
        assert attachment.client._host._fragments == {"origin": expected, "readme": ["x"]}
