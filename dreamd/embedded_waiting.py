"""DREAMD_EMBEDDED=wait, for scripts and tests: the caller waits for each dream, with a daemon in its process."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from queue import Empty, SimpleQueue
from typing import Any

from dreamclient.clients.process import call_in_child
from dreamclient.clients.run import Timing
from dreamclient.clients.thread import DreamClient, result_of
from dreamclient.errors import CallTimeout, DreamError, NotConnected, UsageError
from dreamclient.messages import Method
from dreamclient.privacy import is_private
from dreamclient.protocol.contexts import small_context
from dreamclient.protocol.failures import Failures
from dreamclient.protocol.hooks import Hook

from dreamd.embedded import Shared

ANSWER_S = 10.0  # usually a tenth of a second for the start of the daemon, and a millisecond for an answer
HOOK_S = 30.0  # as long as the daemon waits for a hook
SILENCE_S = 1.0  # after this long without a message, ask the daemon whether the dialogue goes on

Path = str | os.PathLike[str]


class Waiting:
    """The daemon of the database that was named last. It has one dream at a time, which keeps its daemon."""

    def __init__(self) -> None:
        self._now: float | None = None
        self._daemon: Shared | None = None
        self._database: str | None = None  # the database that it serves
        self._renew()
        call_in_child(self._renew)

    def _renew(self) -> None:
        """Make a new lock, also in a forked child, in which no thread would release the old one."""
        self._one_at_a_time = threading.RLock()
        self._dreaming = False

    def client(self, failures: Failures) -> "WaitingClient":
        """Return a client whose offers wait. Use it within `dream`."""
        return WaitingClient(self._connect, failures)

    def _connect(self) -> socket.socket:
        if self._daemon is None:
            raise NotConnected("no dream is being waited for")
        return self._daemon.connect()

    @contextmanager
    def dream(self, db_path: Path | None, settings: Sequence[str], now: float | None) -> Iterator[bool]:
        """Prepare the daemon of `db_path` with these settings and its clock at `now`, and yield True. Yield False if
        this is called within a dream, by a hook."""
        with self._one_at_a_time:
            if self._dreaming:
                yield False
                return
            daemon = self._of(db_path)
            self._now = now
            daemon.adopt(settings)
            self._dreaming = True
            try:
                yield True
            finally:
                self._dreaming = False

    @contextmanager
    def figures(self, db_path: Path | None, timeout_s: float) -> Iterator[Callable[[], socket.socket]]:
        """Yield the function that connects to the daemon of `db_path`. Raise NotConnected while another dream runs."""
        if not self._one_at_a_time.acquire(timeout=timeout_s):
            raise NotConnected("a dream is being waited for")
        try:
            yield self._of(db_path).connect
        finally:
            self._one_at_a_time.release()

    def close(self) -> None:
        """End the daemon."""
        if self._daemon is not None:
            self._daemon.close()

    def _of(self, db_path: Path | None) -> Shared:
        database = None if db_path is None else os.path.abspath(db_path)
        if self._daemon is None or database != self._database:
            if self._dreaming:
                raise NotConnected("the dream that runs is another database's")
            self.close()
            folder = None if database is None else os.path.dirname(database)
            self._daemon, self._database = Shared(folder, database, lambda: self._now), database
        return self._daemon


class WaitingClient(DreamClient):
    """A client that connects for each offer, and returns from it after the dialogue has ended."""

    waits = True

    def __init__(self, connect: Callable[[], socket.socket], failures: Failures | None = None) -> None:
        # For the thread that waits: a hook to run, [a Reply or None], or the end of a dialogue.
        self._things: SimpleQueue[Any] = SimpleQueue()
        self._why = ""
        timing = Timing(hello_s=ANSWER_S)
        super().__init__(connect=connect, on_event=self._heard, timing=timing, failures=failures)

    def start(self, wait_s: float = 0.0) -> bool:  # noqa: ARG002
        """Do nothing, because each offer connects."""
        return True

    @property
    def trouble(self) -> str:
        """The reason in a line for which the last offer found no daemon, or an empty string."""
        return self._why

    def offer(self, ctx: Any) -> bool:
        """Offer a context, and wait for the end of its dialogue. Return whether the daemon decided on it. A private one
        is counted, and the next connection tells the number."""
        if is_private():
            return self._keep_private()
        self._why, kind = "", "not_connected"
        try:
            if super().start(ANSWER_S):
                self._dream(ctx)
            else:
                self._why = super().trouble
        except DreamError as error:
            self._why = str(error)
            kind = "unsendable" if isinstance(error, UsageError) else kind
        finally:
            self.close()
            self._things = SimpleQueue()  # no thread waits for the rest
        if self._why:
            self.count(kind)
        return not self._why

    def on_the_waiting_thread(self, hook: Hook) -> Hook:
        """Return a hook that runs `hook` on the thread that offers, as it may not work on any other."""

        @wraps(hook)
        def run(*arguments: Any) -> Any:
            answers: SimpleQueue[Any] = SimpleQueue()
            self._things.put(lambda: answers.put(_call_hook(hook, arguments)))
            try:
                value, error = answers.get(timeout=HOOK_S)
            except Empty:
                raise CallTimeout("the thread that waited for this dream does not any more") from None
            if error is not None:
                raise error
            return value

        return run

    def _heard(self, event: dict[str, Any]) -> None:
        if event.get("type") == "dialog.finished":
            self._things.put(("ended", event["dialog"]))

    def _dream(self, ctx: Any) -> None:
        self._asked(Method.SUBSCRIBE)
        decision = self._asked(Method.CONTEXT, small_context(ctx))
        dialog = decision.get("dialog") if isinstance(decision, dict) else None
        while dialog is not None:
            thing = self._thing(SILENCE_S)
            if thing == ("ended", dialog):
                return
            if thing is None:  # no event reports its end if the store could not take it
                sessions = self._asked(Method.STATUS)["sessions"]
                if not any(session.get("dreaming") == dialog for session in sessions):
                    return

    def _asked(self, method: str, *params: Any) -> Any:
        """Call the daemon, and run the hooks that it calls meanwhile."""
        deadline = time.monotonic() + ANSWER_S
        self.ask(method, list(params), lambda reply: self._things.put([reply]), deadline)
        while (left_s := deadline - time.monotonic()) > 0:
            if isinstance(thing := self._thing(left_s), list):
                return result_of(thing[0])
        raise CallTimeout(f"no answer to {method} in {ANSWER_S:g} s")

    def _thing(self, timeout_s: float) -> Any:
        """Return the next message, or None if none comes. Run it if it is a hook."""
        try:
            thing = self._things.get(timeout=timeout_s)
        except Empty:
            return None
        if not callable(thing):
            return thing
        thing()
        return "a hook"


def _call_hook(hook: Hook, arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return hook(*arguments), None
    except Exception as error:  # noqa: BLE001 - raised on the client's thread instead, but not an interrupt
        return None, error
