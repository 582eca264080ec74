"""DREAMD_EMBEDDED=wait: a client whose `offer` returns when the dialogue has ended, for scripts and leo's own tests."""

import socket
import time
from collections.abc import Callable
from functools import wraps
from queue import Empty, SimpleQueue
from typing import Any

from dreamclient.clients.base import Timing, result_of
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import CallTimeout, DreamError
from dreamclient.messages import Method
from dreamclient.protocol.contexts import small_context
from dreamclient.protocol.hooks import Hook

ANSWER_S = 10.0  # a daemon in this process starts in a tenth of a second, and answers in a millisecond
HOOK_S = 30.0  # what the daemon gives a hook
SILENCE_S = 1.0  # after which the daemon is asked whether the dialogue goes on


class WaitingClient(DreamClient):
    """Connects for each offer to the daemon of `database`, and waits there for the end of the dream."""

    waits = True

    def __init__(self, connect_to: Callable[[str | None], socket.socket]) -> None:
        self.database: str | None = None
        # What the thread that waits is to do or to know: a hook to run, [a Reply or None], the end of a dialogue.
        self._things: SimpleQueue[Any] = SimpleQueue()
        self._why = ""
        super().__init__(
            connect=lambda: connect_to(self.database), on_event=self._heard, timing=Timing(hello_s=ANSWER_S)
        )

    def start(self, wait_s: float = 0.0) -> bool:  # noqa: ARG002
        """Nothing: each offer connects."""
        return True

    @property
    def trouble(self) -> str:
        """Why the last offer found no daemon, in a line, or empty."""
        return self._why

    def offer(self, ctx: Any) -> bool:
        """Return whether the context was decided on, when the dialogue that it began has ended."""
        self._why = ""
        try:
            if super().start(ANSWER_S):
                self._dream(ctx)
            else:
                self._why = super().trouble
        except DreamError as error:
            self._why = str(error)
        finally:
            self.close()
            self._things = SimpleQueue()  # no thread waits for what is left there
        if self._why:
            self.count("not_connected")
        return not self._why

    def on_the_waiting_thread(self, hook: Hook) -> Hook:
        """Return a hook that runs `hook` on the thread that offers, which may be the only one that it can run on."""

        @wraps(hook)
        def run(*arguments: Any) -> Any:
            answers: SimpleQueue[Any] = SimpleQueue()
            self._things.put(lambda: answers.put(_outcome(hook, arguments)))
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
            if thing is None:  # its end may go unsaid, if the store could not take it
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
        """Return what comes next, having run it if it is a hook; None if nothing comes."""
        try:
            thing = self._things.get(timeout=timeout_s)
        except Empty:
            return None
        if not callable(thing):
            return thing
        thing()
        return "a hook"


def _outcome(hook: Hook, arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return hook(*arguments), None
    except Exception as error:  # noqa: BLE001 it is raised on the client's thread; an interrupt is the host's
        return None, error
