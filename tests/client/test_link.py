"""One connection of the blocking client: whole messages, from any thread, without waiting where it must not."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dreamclient.clients.link import HOT_BYTES, Link
from dreamclient.errors import CallTimeout, NotConnected, UsageError
from dreamclient.messages import MESSAGE_BYTES, Code
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.rpc import Notification, Peer, Reply, Request, packed
from dreamclient.protocol.session import Host

from tests.helpers.little_daemon import DEADLINE_S, until

TICK_S = 0.02


class Ends:
    """A link, and the daemon's end of it, which reads when it is told to."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.host = Host(Hooks(), name="leo")
        self.link = Link(ours, self.host, TICK_S)
        self.peer = Peer()
        self.theirs.settimeout(DEADLINE_S)

    def reads(self, count: int) -> list[Any]:
        """The next `count` messages."""
        events: list[Any] = []
        while len(events) < count:
            events += self.peer.receive_data(self.theirs.recv(1 << 20))
            assert self.peer.broken is None
        assert len(events) == count
        return events

    def prompts(self, count: int) -> list[str]:
        """The prompts of the next `count` contexts."""
        return [event.params[0]["prompt"] for event in self.reads(count) if isinstance(event, Notification)]

    def stall(self) -> int:
        """Offer until no more fits; how many were taken."""
        taken = 0
        while self.link.offer(context(f"{taken} {'x' * 1000}")):
            taken += 1
        return taken

    @property
    def failures(self) -> dict[str, int]:
        return self.host.failures.counts


def context(prompt: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "reply": "", **more}


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.link.end()
    both.theirs.close()


def soon() -> float:
    return time.monotonic() + 0.05


# --- the reply path ----------------------------------------------------------------------------------


def test_a_context_is_one_message(ends: Ends) -> None:
    assert ends.link.offer(context("a"))
    assert ends.link.offer(context("b"))
    ends.link.flush()  # with nothing to do
    assert ends.prompts(2) == ["a", "b"]
    assert ends.failures == {}


def test_a_daemon_that_does_not_read_costs_contexts_and_no_time(ends: Ends) -> None:
    """P1: the reply path never waits; P10: what it drops is counted, and told with the next that goes out."""
    taken = ends.stall()
    assert taken > 10
    for _ in range(5):
        assert not ends.link.offer(context("dropped"))
    lost = ends.failures["stalled"]
    assert lost >= 5
    ends.link.flush()  # nothing has been read: as before
    assert not ends.link.offer(context("dropped"))
    ends.reads(taken)
    ends.link.flush()
    assert ends.link.offer(context("again"))
    (event,) = ends.reads(1)
    assert event.params[0] == context("again", failures={"stalled": lost + 1})
    assert ends.link.offer(context("and again"))
    (event,) = ends.reads(1)
    assert "failures" not in event.params[0]


@pytest.fixture
def narrow(ends: Ends) -> Ends:
    """Ends whose kernel takes a few KiB at once, so that messages go out in part."""
    ends.link._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return ends


def test_a_message_sent_in_part_is_completed_before_any_other(narrow: Ends) -> None:
    """P1: what is dropped is dropped whole, so that the stream stays in step. P10: failures count as told only
    when the message that carries them is out."""
    link, failures = narrow.link, narrow.host.failures
    failures.count("connect")
    assert link.offer(context("x" * 20_000))
    assert link._tail
    assert not link.offer(context("dropped"))
    assert failures.untold() == {"connect": 1, "stalled": 1}
    with pytest.raises(CallTimeout, match="does not read"):
        link.call("why", [10], "token", soon())
    assert link._peer.pending == {}
    link.flush()
    reader = Reader(narrow, 2)
    while link._tail:
        link.flush()
    assert failures.untold() == {"stalled": 1}
    assert link.offer(context("next"))
    assert [event.params[0] for event in reader.events()] == [
        context("x" * 20_000, failures={"connect": 1}),
        context("next", failures={"stalled": 1}),
    ]


class Reader(threading.Thread):
    """The daemon reads again: `count` messages."""

    def __init__(self, ends: Ends, count: int) -> None:
        super().__init__(daemon=True)
        self._ends, self._count = ends, count
        self._events: list[Any] = []
        self.start()

    def run(self) -> None:
        self._events = self._ends.reads(self._count)

    def events(self) -> list[Any]:
        self.join(DEADLINE_S)
        assert len(self._events) == self._count
        return self._events


def test_a_context_that_finds_the_lock_held_is_sent_by_its_holder(ends: Ends) -> None:
    """P1: two replies at once: neither waits, and neither context is lost to mere timing."""
    assert ends.link._lock.acquire(blocking=False)
    assert ends.link.offer(context("while it was held"))
    ends.link._release()
    assert ends.prompts(1) == ["while it was held"]
    assert ends.failures == {}


def test_mail_that_comes_while_a_context_is_sent_goes_next(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends.link, "_lock", Lock(on_first=lambda: setattr(ends.link, "_mail", context("b"))))
    assert ends.link.offer(context("a"))
    assert ends.prompts(2) == ["a", "b"]


def test_the_mailbox_has_one_place_and_the_newer_context_has_it(ends: Ends) -> None:
    ends.link._lock.acquire()
    assert ends.link.offer(context("old"))
    assert ends.link.offer(context("new"))
    ends.link._release()
    (event,) = ends.reads(1)
    assert event.params[0] == context("new", failures={"replaced": 1})


class Lock:
    """A lock with something that happens when it is first tried."""

    def __init__(self, on_first: Callable[[], bool | None]) -> None:
        self._real = threading.Lock()
        self._on_first: Callable[[], bool | None] | None = on_first

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        first, self._on_first = self._on_first, None
        if first is not None and first() is False:
            return False
        return self._real.acquire(blocking, timeout)

    def release(self) -> None:
        if self._real.locked():
            self._real.release()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


def test_mail_that_its_holder_could_no_longer_see_is_sent_all_the_same(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends.link, "_lock", Lock(on_first=lambda: False))
    assert ends.link.offer(context("just too late"))
    assert ends.prompts(1) == ["just too late"]


def test_an_interrupt_while_mail_is_sent_leaves_the_link_usable(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: a signal handler of leo's may raise at any line."""

    def interrupted(_: Any) -> bool:
        raise KeyboardInterrupt

    ends.link._mail = context("lost")
    with monkeypatch.context() as patch:
        patch.setattr(ends.link, "_offer_locked", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ends.link._deliver()
    assert ends.link.offer(context("after"))
    assert ends.prompts(1) == ["after"]


def test_mail_is_never_put_between_the_parts_of_a_message(narrow: Ends) -> None:
    """P1: found by thinking, not by luck: the holder leaves a tail, and there is mail."""
    narrow.link._lock.acquire()
    assert narrow.link.offer(context("mail"))
    assert narrow.link._offer_locked(context("y" * 20_000))
    assert narrow.link._tail
    assert list(narrow.peer.receive_data(narrow.theirs.recv(1 << 20))) == []  # now there would be room
    narrow.link._release()
    reader = Reader(narrow, 1)
    while narrow.link._tail:
        narrow.link.flush()
    assert [event.params[0]["prompt"] for event in reader.events()] == ["y" * 20_000]
    assert narrow.failures == {"stalled": 1}


def test_mail_that_someone_else_has_sent_is_not_sent_twice(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends.link._mail = context("a")
    monkeypatch.setattr(ends.link, "_lock", Lock(on_first=lambda: setattr(ends.link, "_mail", None)))
    ends.link._release()
    assert ends.link.offer(context("b"))
    assert ends.prompts(1) == ["b"]


def test_many_threads_offer_at_once_and_each_context_is_sent_or_counted(ends: Ends) -> None:
    prompts: list[str] = []

    def read() -> None:
        while "end" not in prompts:
            events: list[Any] = list(ends.peer.receive_data(ends.theirs.recv(1 << 20)))
            prompts.extend(event.params[0]["prompt"] for event in events)

    def reply(number: int) -> None:
        for count in range(200):
            ends.link.offer(context(f"{number}.{count}"))

    threads = [threading.Thread(target=reply, args=(number,)) for number in range(4)]
    reader = threading.Thread(target=read)
    for thread in [*threads, reader]:
        thread.start()
    for thread in threads:
        thread.join()
    lost = sum(ends.failures.values())
    until(lambda: ends.link.flush() or ends.link.offer(context("end")))
    reader.join(DEADLINE_S)
    assert ends.peer.broken is None
    assert len(set(prompts)) == len(prompts) == 800 - lost + 1


def test_a_large_context_is_left_to_the_background_thread(ends: Ends) -> None:
    """P1: the reply path pays no copy of it and risks no part of it."""
    ends.host.failures.count("connect")
    large = context("x" * (HOT_BYTES * 8))
    assert ends.link.offer(context("older " * HOT_BYTES))
    assert ends.link.offer(large)
    assert ends.link._large is large
    with ends.link._lock:
        ends.link.flush()  # does not wait for who is sending
    assert ends.link._large is large
    assert ends.link.offer(context("small"))
    (event,) = ends.reads(1)
    assert event.params[0] == context("small", failures={"connect": 1, "replaced": 1})
    reader = Reader(ends, 1)
    while ends.link._large is not None or ends.link._tail:
        ends.link.flush()
    assert [event.params[0] for event in reader.events()] == [large]
    assert ends.failures == {"connect": 1, "replaced": 1}


class Unsendable:
    __slots__ = ()


@pytest.mark.parametrize(
    "ctx",
    [context("x" * MESSAGE_BYTES), context("a", math_state=Unsendable()), Unsendable(), {1, 2}],
    ids=type,
)
def test_a_context_that_no_message_can_hold_is_counted(ends: Ends, ctx: Any) -> None:
    """P1: a host may offer anything."""
    for _ in range(2):  # the second has failures to carry
        assert not ends.link.offer(ctx)
    assert ends.failures == {"unsendable": 2}
    assert ends.link.offer(context("half \ud83d an emoji"))
    assert ends.prompts(1) == ["half ? an emoji"]


def test_a_large_context_tells_the_failures_too(ends: Ends) -> None:
    ends.host.failures.count("connect")
    assert ends.link.offer(context("x" * HOT_BYTES))
    ends.link.flush()
    (event,) = ends.reads(1)
    assert event.params[0]["failures"] == {"connect": 1}
    assert ends.host.failures.untold() == {}


def test_a_large_context_that_changed_into_what_cannot_be_sent_is_counted(ends: Ends) -> None:
    large = context("x" * HOT_BYTES * 2)
    assert ends.link.offer(large)
    large["math_state"] = Unsendable()
    ends.link.flush()
    assert ends.failures == {"unsendable": 1}
    assert ends.link.offer(context("a"))


def test_a_connection_that_is_gone_costs_the_context_alone(ends: Ends) -> None:
    ends.theirs.close()
    assert not ends.link.offer(context("a"))
    ends.link.end()
    assert not ends.link.offer(context("a"))
    assert ends.failures == {"not_connected": 2}
    ends.link._large = context("b")
    ends.link.flush()  # and says nothing: reading tells


# --- calls -------------------------------------------------------------------------------------------


def test_a_call_is_answered_by_its_token(ends: Ends) -> None:
    msgid = ends.link.call("why", [10], "token")
    assert ends.reads(1) == [Request(msgid, "why", [10])]
    ends.theirs.sendall(ends.peer.respond(msgid, [1]))
    assert ends.link.receive() == [Reply("token", None, [1])]


def test_a_call_waits_for_room_until_its_deadline(ends: Ends) -> None:
    taken = ends.stall()
    reader = Reader(ends, taken + 1)
    ends.link.call("why", ["x" * 100_000], "token", time.monotonic() + DEADLINE_S)
    assert isinstance(reader.events()[-1], Request)
    assert ends.link.offer(context("a"))


def test_a_call_that_went_out_in_part_is_completed_though_nobody_waits_for_it(narrow: Ends) -> None:
    with pytest.raises(CallTimeout):
        narrow.link.call("dream.now", ["x" * 50_000], "token", soon())
    assert narrow.link._tail
    assert narrow.link._peer.pending == {}
    reader = Reader(narrow, 1)
    while narrow.link._tail:
        narrow.link.flush()
    (request,) = reader.events()
    narrow.theirs.sendall(narrow.peer.respond(request.msgid, {}))
    assert narrow.link.receive() == []
    assert narrow.link.offer(context("a"))


def test_a_call_waits_for_the_lock_until_its_deadline(ends: Ends) -> None:
    ends.link._lock.acquire()
    with pytest.raises(CallTimeout):
        ends.link.call("why", [], "token", soon())
    ends.link._lock.release()
    ends.link.call("why", [], "token", soon())


def test_a_call_that_cannot_be_sent_is_refused_here(ends: Ends) -> None:
    with pytest.raises(UsageError):
        ends.link.call("why", [Unsendable()], "token")
    assert ends.link._peer.pending == {}


def test_a_call_on_a_lost_connection_says_so(ends: Ends) -> None:
    msgid = ends.link.call("why", [], "first")
    ends.theirs.close()
    with pytest.raises(NotConnected, match="Broken pipe"):
        ends.link.call("why", [], "second")
    ends.link.forget(99)
    assert ends.link._peer.pending == {msgid: "first"}
    assert ends.link.end() == ["first"]
    with pytest.raises(NotConnected, match="has ended"):
        ends.link.call("why", [], "third")


def test_an_end_wakes_who_waits_for_room(ends: Ends) -> None:
    ends.stall()
    errors: list[Exception] = []

    def call() -> None:
        try:
            ends.link.call("why", [], "token")
        except NotConnected as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    ends.link.end()
    caller.join(DEADLINE_S)
    assert len(errors) == 1


# --- reading -----------------------------------------------------------------------------------------


def test_reading_returns_after_a_tick(ends: Ends) -> None:
    assert ends.link.receive() == []


def test_requests_are_answered_in_full(ends: Ends) -> None:
    for answer in ("result", "error"):
        msgid, data = ends.peer.call("generate", [], "theirs")
        ends.theirs.sendall(data)
        assert ends.link.receive() == [Request(msgid, "generate", [])]
        if answer == "result":
            ends.link.respond(msgid, "a line")
        else:
            ends.link.fail(msgid, Code.HOOK_FAILED, "generate raised E", {"type": "E"})
        (reply,) = ends.reads(1)
        assert isinstance(reply, Reply)
        assert reply.result == "a line" or reply.error.detail == {"type": "E"}


def test_a_peer_that_breaks_the_protocol_is_told_once_and_lost(ends: Ends) -> None:
    ends.theirs.sendall(packed([2, "event", [{}]]) + b"\xc1")
    assert ends.link.receive() == [Notification("event", [{}])]
    (event,) = ends.reads(1)
    assert (event.method, event.params[0]) == ("error", Code.MALFORMED)
    with pytest.raises(NotConnected, match="broke the protocol: no MessagePack"):
        ends.link.receive()


def test_the_end_of_the_connection_is_said(ends: Ends) -> None:
    ends.theirs.close()
    with pytest.raises(NotConnected, match="the daemon closed the connection"):
        ends.link.receive()
    ends.link.end()
    with pytest.raises(NotConnected, match="Bad file descriptor"):
        ends.link.receive()


def test_a_forked_copy_is_closed_and_nothing_else_is(ends: Ends) -> None:
    """P1: a child's copy of the connection ends without a word to the daemon."""
    ends.link._lock.acquire()  # by a thread that the child has not
    sock = ends.link._sock.dup()
    ends.link.abandon()
    ends.link.abandon()
    with pytest.raises(NotConnected):
        ends.link.respond(0, "a line")
    ends.theirs.sendall(b"still there")
    assert sock.recv(100) == b"still there"
    sock.close()
