"""One connection of the client: whole messages from any thread, without waiting on the reply path."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from dreamclient.clients.link import OFFERED, Link
from dreamclient.errors import CallTimeout, NotConnected, UsageError
from dreamclient.messages import MESSAGE_BYTES
from dreamclient.protocol.failures import Failures
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.packing import packed
from dreamclient.protocol.rpc import Notification, Peer, Reply, Request
from dreamclient.protocol.session import Session

from tests.helpers.daemons.little import DEADLINE_S
from tests.helpers.ptrace import fork
from tests.helpers.waiting import until


class Ends:
    """A link, and the daemon's end of it, which reads when the test says so."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.session = Session(Hooks(recall=lambda query, n: [query]), "leo", {}, Failures())
        self.link = Link(ours, self.session)
        self.peer = Peer()
        self.theirs.settimeout(DEADLINE_S)
        self.replies: list[Reply | None] = []

    def call(self, *params: Any, deadline: float | None = None) -> None:
        soonest = time.monotonic() + (DEADLINE_S if deadline is None else deadline)
        self.link.call("why", list(params), self.replies.append, soonest)

    def receive(self) -> list[Request]:
        """Wait for the next requests, and return them."""
        return self.link.receive(DEADLINE_S)

    def reads(self, count: int) -> list[Any]:
        """Return the next `count` messages."""
        events: list[Any] = []
        while len(events) < count:
            read = self.peer.receive_data(self.theirs.recv(1 << 20))
            events += [event for event in read if event is not None]
            assert self.peer.broken is None
        assert len(events) == count
        return events

    def prompts(self, count: int) -> list[str]:
        """Return the prompts of the next `count` contexts."""
        return [event.params[0]["prompt"] for event in self.reads(count) if isinstance(event, Notification)]

    def stall(self) -> int:
        """Offer until no more fits, and return how many were taken."""
        taken = 0
        while self.link.offer({"prompt": f"{taken} {'x' * 1000}"}):
            taken += 1
        return taken

    @property
    def failures(self) -> dict[str, int]:
        return self.session.failures.counts


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.link.end()
    both.theirs.close()


# --- the reply path ----------------------------------------------------------------------------------


def at_once(work: Callable[[], Any]) -> Any:
    """Return what `work` returns. Fail soon if it waits, and not by the limit of the suite."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert results, "it waits"
    return results[0]


def test_an_offer_waits_for_no_other_thread(ends: Ends) -> None:
    """P1: the thread that is sending takes the context over."""
    with ends.link._lock:
        assert at_once(lambda: ends.link.offer({"prompt": "a"}))
    ends.link._send_offered()
    assert ends.prompts(1) == ["a"]


def test_an_offer_waits_for_no_room_in_the_socket(ends: Ends) -> None:
    """P1: a daemon that does not read costs a context, and no time."""
    assert at_once(ends.stall) > 10


def test_a_lost_daemon_signals_nothing(ends: Ends) -> None:
    """P1: a host may have given SIGPIPE its own meaning back, which is to end the process."""
    ends.theirs.close()

    def offer() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        ends.link.offer({"prompt": "a"})

    assert os.waitstatus_to_exitcode(os.waitpid(fork(offer), 0)[1]) == 0


def test_sends_a_context_as_one_message(ends: Ends) -> None:
    assert ends.link.offer({"prompt": "a"})
    assert ends.link.offer({"prompt": "b"})
    assert ends.prompts(2) == ["a", "b"]
    assert ends.failures == {}


def test_drops_contexts_without_waiting_if_the_daemon_does_not_read(ends: Ends) -> None:
    """P1: the reply path never waits. P10: a dropped context is counted, and the next message tells the daemon."""
    taken = ends.stall()
    assert taken > 10
    for _ in range(5):
        assert not ends.link.offer({"prompt": "dropped"})
    lost = ends.failures["stalled"]
    assert lost >= 5
    ends.reads(taken)
    assert ends.link.offer({"prompt": "again"})
    (event,) = ends.reads(1)
    assert event.params[0]["failures"] == {"stalled": lost}
    assert ends.link.offer({"prompt": "and again"})
    (event,) = ends.reads(1)
    assert "failures" not in event.params[0]


def test_does_not_make_a_context_while_there_is_no_room(ends: Ends) -> None:
    """P1: while the daemon is stopped, an offer costs a look at the socket."""
    ends.stall()
    assert not ends.link.offer({"prompt": object()})
    assert "unsendable" not in ends.failures


def test_drops_a_context_while_a_call_waits_for_room(ends: Ends) -> None:
    """P1, P11: what waits behind a daemon that does not read would only grow."""
    caller = threading.Thread(target=ends.call, args=("x" * 900_000,))
    caller.start()
    until(lambda: ends.link._full)
    assert not ends.link.offer({"prompt": "dropped"})
    assert ends.failures == {"stalled": 1}
    ends.reads(1)
    caller.join(DEADLINE_S)
    assert not ends.link._full  # though less than a quarter of the socket's buffer may be free
    assert ends.link.offer({"prompt": "a"})
    assert ends.prompts(1) == ["a"]


@pytest.fixture
def narrow(ends: Ends) -> Ends:
    """Ends whose kernel takes a few KiB at once, so that messages go out in part."""
    ends.link._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return ends


def test_ends_the_connection_and_counts_if_a_context_went_out_in_part(narrow: Ends) -> None:
    """P1: on a kernel that takes less at once, the rest would have to wait. What comes behind could not be read."""
    narrow.session.failures.count("connect")
    assert not narrow.link.offer({"prompt": "x" * 3000, "reply": "x" * 4000, "expert": "x" * 4000})
    assert narrow.failures == {"connect": 1, "stalled": 1}
    assert narrow.session.failures.pending == {"connect": 1, "stalled": 1}  # no message has carried them
    with pytest.raises(NotConnected):
        narrow.receive()


def test_leaves_a_context_to_the_thread_that_is_sending(ends: Ends) -> None:
    """P1: neither a thread nor a signal handler in the middle of an offer waits. P10: no context is dropped."""
    with ends.link._lock:
        assert ends.link.offer({"prompt": "while it was held"})
        assert ends.link.offer({"prompt": "then"})
    ends.link.flush()
    assert ends.prompts(2) == ["while it was held", "then"]
    assert ends.failures == {}


def test_an_alarm_of_the_host_leaves_no_lock_held(ends: Ends) -> None:
    """P1: a host may put a time limit on a reply by a signal whose handler raises. Whatever call it comes after, later
    contexts are sent."""

    class Alarm(BaseException):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    before, limit = signal.signal(signal.SIGALRM, ring), signal.getitimer(signal.ITIMER_REAL)
    draw, stuck = random.Random(6), 0
    read = threading.Thread(target=lambda: [None for _ in iter(lambda: ends.theirs.recv(1 << 20), b"")])
    read.start()
    try:
        for _ in range(2000):
            with suppress(Alarm):
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(20e-6, 60e-6))
                while True:
                    ends.link.offer({})
            if ends.link._lock.locked():
                stuck += 1
                ends.link._lock.release()
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *limit)  # that of the suite
        ends.link.shutdown()
        read.join(DEADLINE_S)
    assert stuck == 0


def test_bounds_the_contexts_that_wait_and_counts_them_at_the_end(ends: Ends) -> None:
    """P11, P10: a thread that is sending may never finish."""
    with ends.link._lock:
        assert sum(ends.link.offer({"prompt": str(n)}) for n in range(OFFERED + 2)) == OFFERED
    ends.theirs.close()
    ends.link.end()
    assert ends.failures == {"stalled": 2, "not_connected": OFFERED}


def test_sends_or_counts_each_context_of_many_threads(ends: Ends) -> None:
    prompts: list[str] = []

    def read() -> None:
        while "end" not in prompts:
            events: list[Any] = list(ends.peer.receive_data(ends.theirs.recv(1 << 20)))
            prompts.extend(event.params[0]["prompt"] for event in events)

    def reply(number: int) -> None:
        for count in range(200):
            ends.link.offer({"prompt": f"{number}.{count}"})

    threads = [threading.Thread(target=reply, args=(number,)) for number in range(4)]
    reader = threading.Thread(target=read)
    for thread in [*threads, reader]:
        thread.start()
    for thread in threads:
        thread.join()
    lost = sum(ends.failures.values())
    until(lambda: ends.link.offer({"prompt": "end"}))
    reader.join(DEADLINE_S)
    assert ends.peer.broken is None
    assert len(set(prompts)) == len(prompts) == 800 - lost + 1


class Unsendable:
    __slots__ = ()


@pytest.mark.parametrize("ctx", [{"prompt": Unsendable()}, Unsendable(), {1, 2}], ids=type)
def test_counts_a_context_that_no_message_can_hold(ends: Ends, ctx: Any) -> None:
    """P1: a host may offer anything."""
    for _ in range(2):  # the second has failures to carry
        assert not ends.link.offer(ctx)
    assert ends.failures == {"unsendable": 2}
    assert ends.link.offer({"prompt": "half \ud83d an emoji"})
    assert ends.prompts(1) == ["half ? an emoji"]


def test_drops_only_the_context_if_the_connection_has_ended(ends: Ends) -> None:
    ends.theirs.close()
    assert not ends.link.offer({"prompt": "a"})
    ends.link.end()
    assert not ends.link.offer({"prompt": "a"})
    assert ends.failures == {"not_connected": 2}


# --- calls -------------------------------------------------------------------------------------------


def test_calls_and_gets_the_answer(ends: Ends) -> None:
    ends.call(10)
    assert ends.reads(1) == [Request(0, "why", [10])]
    ends.theirs.sendall(ends.peer.respond(0, [1]))
    assert ends.receive() == []
    assert [reply and reply.result for reply in ends.replies] == [[1]]


def test_giving_a_call_up_late_leaves_the_next_connection_alone(ends: Ends) -> None:
    forget = ends.link.call("why", [], ends.replies.append, time.monotonic() + DEADLINE_S)
    ends.session.end()
    ends.session.begin()  # whose first call has that number again
    forget()
    assert list(ends.session.pending) == [0]
    ends.session.pending.clear()


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


def test_call_waits_for_room_until_its_deadline(ends: Ends) -> None:
    taken = ends.stall()
    with pytest.raises(CallTimeout, match="does not read"):
        ends.call("x" * 100, deadline=0.02)  # nothing of it has gone out, so the connection stands
    reader = Reader(ends, taken + 1)
    ends.call("x" * 100_000)
    assert isinstance(reader.events()[-1], Request)
    assert ends.link.offer({"prompt": "a"})


def test_ends_the_connection_if_a_call_went_out_in_part_by_its_deadline(narrow: Ends) -> None:
    with pytest.raises(CallTimeout):
        narrow.call("x" * 50_000, deadline=0.02)
    with pytest.raises(NotConnected):
        narrow.receive()
    narrow.link.end()
    assert narrow.replies == []  # its caller knows already


def test_ends_the_connection_if_an_interrupt_comes_while_a_call_goes_out(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon would take what follows for the rest of that call."""

    def interrupt(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(ends.link, "_polled", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ends.call("x" * 900_000)
    assert 0 < sum(map(len, iter(lambda: ends.theirs.recv(1 << 20), b""))) < 900_000


def test_call_waits_for_the_lock_until_its_deadline(ends: Ends) -> None:
    with ends.link._lock, pytest.raises(CallTimeout):
        ends.call(deadline=0.02)
    ends.call(deadline=0.02)


def test_refuses_a_call_that_cannot_be_sent(ends: Ends) -> None:
    for param in (Unsendable(), "x" * MESSAGE_BYTES):
        with pytest.raises(UsageError):
            ends.call(param)
    ends.link.end()
    assert ends.replies == []


def test_call_raises_not_connected_on_a_lost_connection(ends: Ends) -> None:
    ends.call()
    ends.theirs.close()
    with pytest.raises(NotConnected, match="Broken pipe"):
        ends.call()
    assert ends.replies == []
    ends.link.end()
    assert ends.replies == [None]  # the first, whose caller waits
    with pytest.raises(NotConnected, match="has ended"):
        ends.call()


def test_end_wakes_the_thread_that_waits_for_room(ends: Ends) -> None:
    ends.stall()
    errors: list[Exception] = []

    def call() -> None:
        try:
            ends.call()
        except NotConnected as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    ends.link.end()
    caller.join(DEADLINE_S)
    assert len(errors) == 1


# --- reading -----------------------------------------------------------------------------------------


def test_receives_nothing_if_nothing_was_sent(ends: Ends) -> None:
    assert ends.link.receive(0.01) == []
    ends.theirs.sendall(ends.peer.notify("event", [{}]))
    assert ends.receive() == []
    assert ends.link.receive(0.01) == []


def test_answers_requests(ends: Ends) -> None:
    for answer in ("result", "error"):
        _, data = ends.peer.call("recall", ["a query", 1], "theirs")
        ends.theirs.sendall(data)
        (request,) = ends.receive()
        if answer == "result":
            ends.link.answer(request, ["a line"])
        else:
            ends.link.answer(request, None, ZeroDivisionError())
        (reply,) = ends.reads(1)
        assert isinstance(reply, Reply)
        assert reply.result == ["a line"] or reply.error


def test_tells_a_peer_that_breaks_the_protocol_once_and_ends(ends: Ends) -> None:
    ends.theirs.sendall(packed([2, "event", [{}]]) + b"\xc1")
    with pytest.raises(NotConnected, match="broke the protocol: no MessagePack"):
        ends.receive()
    (event,) = ends.reads(1)
    assert event.method == "error"


def test_raises_not_connected_at_the_end_of_the_connection(ends: Ends) -> None:
    ends.theirs.close()
    with pytest.raises(NotConnected, match="the daemon closed the connection"):
        ends.receive()
    ends.link.end()
    assert not ends.link.is_open
    with pytest.raises(NotConnected, match="Bad file descriptor"):
        ends.receive()


def test_abandon_closes_the_forked_copy_only(ends: Ends) -> None:
    """P1: the end of a child's copy of the connection sends nothing to the daemon."""
    ends.link._lock.acquire()  # by a thread that the child has not
    sock = ends.link._sock.dup()
    ends.link.abandon()
    ends.link.abandon()
    with pytest.raises(NotConnected):
        ends.call()
    ends.theirs.sendall(b"still there")
    assert sock.recv(100) == b"still there"
    sock.close()


def test_waits_without_poll_which_eventlet_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.poll")
    ends = Ends()
    assert ends.link.receive(0.0) == []
    ends.theirs.sendall(ends.peer.call("recall", ["q", 1], 1)[1])
    assert [request.method for request in ends.receive()] == ["recall"]
    ends.stall()
    assert not ends.link.offer({})
    with pytest.raises(CallTimeout):
        ends.call(deadline=0.0)
    ends.link.end()
    ends.theirs.close()
