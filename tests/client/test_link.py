"""One connection of the blocking client: whole messages, from any thread, without waiting where it must not."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dreamclient.errors import CallTimeout, NotConnected, UsageError
from dreamclient.hooks import Hooks
from dreamclient.host import Host
from dreamclient.link import HOT_BYTES, Link
from dreamclient.messages import MESSAGE_BYTES, Code
from dreamclient.rpc import Event, Notification, Peer, Reply, Request, packed

from tests.helpers.little_daemon import DEADLINE_S

TICK_S = 0.02


class Ends:
    """A link, and the daemon's end of it, which reads when it is told to."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.host = Host(Hooks(), name="leo")
        self.link = Link(ours, self.host, TICK_S)
        self.peer = Peer()
        self.theirs.settimeout(DEADLINE_S)

    def reads(self, count: int) -> list[Event]:
        """The next `count` messages."""
        events: list[Event] = []
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
    assert ends.prompts(2) == ["a", "b"]
    assert ends.failures == {}


def test_a_daemon_that_does_not_read_costs_contexts_and_no_time(ends: Ends) -> None:
    """P1: the reply path never waits; P10: what it drops is counted, and told with the next that goes out."""
    taken = ends.stall()
    assert taken > 10
    for _ in range(5):
        assert not ends.link.offer(context("dropped"))
    assert ends.failures == {"stalled": 6} or ends.failures == {"stalled": 5}
    lost = ends.failures["stalled"]
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


def part_sent(ends: Ends) -> tuple[int, str]:
    """Bring it about that a message went out in part: offers until one did."""
    for size in range(20_000, 20_100):
        taken = 0
        while ends.link.offer(context("x" * size)):
            taken += 1
            if ends.link._tail:
                return taken, "x" * size
        ends.reads(taken)
        ends.link.flush()
    raise AssertionError("every send was all or nothing")


def test_a_message_sent_in_part_is_completed_before_any_other(ends: Ends) -> None:
    """P1: dropped contexts are dropped whole; the stream stays in step."""
    ends.link._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ends.host.failures.count("connect")
    # A large message goes out in parts on any kernel, by whoever may wait.
    with pytest.raises(CallTimeout, match="does not read"):
        ends.link.call("x", ["y" * 500_000], "token", soon())
    assert ends.link._tail
    assert not ends.link.offer(context("dropped"))
    ends.link._mail = context("also dropped")
    with pytest.raises(CallTimeout):
        ends.link.call("y", [], "token", soon())  # takes nothing of itself back but what has not gone
    reader = threading.Thread(target=lambda: got.extend(ends.reads(2)))
    got: list[Event] = []
    reader.start()
    while ends.link._tail:
        ends.link.flush()
    assert ends.link.offer(context("next"))
    reader.join()
    assert [type(event) for event in got] == [Request, Notification]
    assert got[1].params[0] == context("next", failures={"connect": 1, "stalled": 2})
