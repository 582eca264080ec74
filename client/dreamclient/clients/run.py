"""The background thread of a client: it connects, serves hooks, and connects again when the connection has ended."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from dreamclient.clients import process
from dreamclient.clients.link import Connect, Link
from dreamclient.errors import DreamError, NotConnected
from dreamclient.protocol.rpc import Request
from dreamclient.protocol.session import Session


@dataclass(frozen=True)
class Timing:
    """The time limits of a client, in seconds."""

    hello_s: float = 5.0  # a daemon answers in a millisecond; a stopped one never
    first_retry_s: float = 1.0  # doubling, to
    last_retry_s: float = 60.0
    close_s: float = 0.5  # that `close` waits at most for a running hook


class Run:
    """The background thread from one start of the client to its end. It has a session of its own, since the run of an
    earlier start may still be at work. `stop` takes no lock: the garbage collector and signal handlers may call it."""

    def __init__(
        self, session: Session, connect: Connect, timing: Timing, serve: Callable[[Link, Request], None]
    ) -> None:
        self.session = session
        self.link: Link | None = None  # from connect to the end
        self.over = False
        self.tried = threading.Event()  # the first attempt to connect has ended
        self.thread = threading.Thread(target=self._work, name="dreamd-client", daemon=True)
        self._connect, self._timing, self._serve = connect, timing, serve
        self._ready_at: float | None = None  # since when (monotonic seconds)
        self._next_retry_s = timing.first_retry_s
        self._draw = random.Random().random  # not the shared one: its state decides leo's replies
        self._wake = threading.Lock()  # held, but for a moment after `stop`
        self._wake.acquire()

    def begin(self) -> None:
        """Start the thread. Raise RuntimeError if the system has no thread left."""
        process.start_thread(self.thread)

    def stop(self) -> None:
        """Ask the thread to end, and wake it."""
        self.over = True
        with suppress(RuntimeError):  # released already
            self._wake.release()
        if (link := self.link) is not None:  # the thread may take it off at any time
            link.shutdown()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread, unless this is called on it."""
        if self.thread is not threading.current_thread():
            self.thread.join(timeout_s)

    def abandon(self) -> None:
        """End this run in a forked child: close its copy of the connection, and let the thread end if a hook forked."""
        self.over, self.tried = True, threading.Event()  # a thread that is not here may have held its lock
        if self.link is not None:
            self.link.abandon()

    def _work(self) -> None:
        process.started(self)
        while not self.over:
            try:
                self._connection()
            except BaseException as error:  # noqa: BLE001 counted
                if not self.over:  # otherwise `stop` ended it
                    wait_s = self.failed(error)
                    self.tried.set()
                    self._wake.acquire(timeout=wait_s)
        self.tried.set()
        process.ended(self)

    def _connection(self) -> None:
        session, hello_s = self.session, self._timing.hello_s
        link = self.link = Link(self._connect(), session)
        try:
            if self.over:
                return
            session.begin()
            link.flush()
            deadline = time.monotonic() + hello_s
            while not session.answered:
                if (left_s := deadline - time.monotonic()) <= 0:
                    raise NotConnected(f"the daemon did not answer hello in {hello_s:g} s")
                self._receive(link, left_s)
            if session.ready:
                self._ready_at = time.monotonic()
            self.tried.set()
            while not self.over:
                self._receive(link, None)
        finally:
            self.link = None
            link.end()

    def _receive(self, link: Link, wait_s: float | None) -> None:
        for request in link.receive(wait_s):
            self._serve(link, request)

    def failed(self, error: BaseException) -> float:
        """Count that an attempt has failed, or that a connection has ended. Return the seconds to wait before the next.

        That is double the last wait, shortened by up to a quarter, so that many hosts do not try at one time. After a
        connection that lasted longer than the next wait, the waits begin at the shortest again."""
        if not isinstance(error, DreamError | OSError):  # a bug here must not end dreaming for good
            self.session.failures.count("internal")
            error = NotConnected(f"a bug in dreamclient: {type(error).__name__}")
        self.session.lost(error, was_ready=self._ready_at is not None)
        if self._ready_at is not None and time.monotonic() - self._ready_at > self._next_retry_s:
            self._next_retry_s = self._timing.first_retry_s
        wait_s, self._ready_at = self._next_retry_s, None
        self._next_retry_s = min(2 * wait_s, self._timing.last_retry_s)
        return wait_s * (1 - self._draw() / 4)
