"""The daemon and the clients of the drop-in in one process. Modules are imported when they are needed."""

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from types import FrameType, MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from dreamclient.privacy import is_private
from dreamclient.protocol.failures import Failures

if TYPE_CHECKING:
    from dreamclient.clients.thread import DreamClient
    from dreamclient.leo.attachment import Attachment

T = TypeVar("T")
Path = str | os.PathLike[str]
FRAMES = 4  # frames above the call of leo's dream layer in which his field is looked for: he may use helper functions
FIGURES_S = 1.0  # that a question for figures may take: a daemon answers in a millisecond


def leo_near(functions: Sequence[Callable[..., Any]], frame: FrameType | None) -> Any:
    """Return the field that `functions` are methods of, or the field that is `self` in `frame` or in a frame that
    called it. Return None if there is no such field."""
    from dreamclient.leo.names import names_of

    for candidate in _candidates(functions, frame):
        # Any object of the host's: a proxy may raise what it likes when it is asked for an attribute.
        with suppress(Exception):
            names_of(candidate)
            return candidate
    return None


def _candidates(functions: Sequence[Callable[..., Any]], frame: FrameType | None) -> Iterator[Any]:
    for function in functions:
        yield getattr(getattr(function, "func", function), "__self__", None)
    for _ in range(FRAMES):
        if frame is not None:
            # Before Python 3.13 the locals that are read here live until the function ends, so read no more than
            # `self`.
            yield frame.f_locals.get("self") if "self" in frame.f_code.co_varnames else None
            frame = frame.f_back


class Process:
    """The state of the drop-in, one for the process, since leo's API is a module. Only `ask` raises."""

    def __init__(self) -> None:
        self.failures = Failures()  # of all clients here
        self._functions: list[Callable[[], Any]] = []  # these return the latest hooks that are no field's
        self._client: DreamClient | None = None  # the client of those hooks
        # The client of a field that cannot dream: it tells the daemon why.
        self._silent: DreamClient | None = None
        self._fragments: dict[str, Any] = {"origin": [], "readme": []}
        self._daemon: Any = None  # in this process
        self._waiting: Any = None  # for the dreams of a daemon in this process
        self._missing = False  # dreamclient cannot be imported whole: msgpack is not there

    def born(self, frame: FrameType | None, db_path: Path, origin: str | None, readme: Sequence[str]) -> None:
        """Attach the field in whose making `init_dream` is called, if there is one."""
        self._fragments = {"origin": [origin] if origin else [], "readme": list(readme)}
        try:
            if self._mode == "wait":
                self.answer(lambda: self.ask(db_path, "dream.seed", self._fragments))
            if (field := leo_near((), frame)) is not None:
                self._attach(field)
        except Exception:  # noqa: BLE001 leo must not break over it
            self.failures.count("init")

    def _attach(self, field: Any) -> "Attachment | None":
        """Return the attachment of a field, and make it if it has none. Return None if the field must be left alone."""
        from dreamclient.leo.attachment import attach, attachment_of, is_left_alone, leave_alone

        attachment = attachment_of(field)
        if attachment is not None or is_left_alone(field):
            return attachment
        client = self._new_client()
        try:
            return attach(field, client=client)
        except Exception:  # noqa: BLE001 counted
            if (attachment := attachment_of(field)) is None:  # otherwise another thread was quicker
                leave_alone(field)  # the next reply would fail again
                self.failures.count("init")
                if self._silent is None:  # one is enough, however many fields there are
                    self._silent = client
                    client.start()
            return attachment

    def replied(
        self,
        ctx: Any,
        functions: Sequence[Callable[..., Any]],
        frame: FrameType | None,
        db_path: Path | None,
        config: Any,
        now: float | None,
    ) -> None:
        """Offer a context through the attachment of the field that replied. If the caller is no leo, offer it through a
        client that has the functions as hooks."""
        if self._missing:  # each try would cost a reply what a search of all folders costs
            return
        try:
            field = leo_near(functions, frame)
            target: Any = self._plain(functions) if field is None else self._attach(field)
            if target is None:
                return
            if self._mode != "wait" or is_private():  # of a private reply only its number is told
                target.offer(ctx)
                return
            with self._waits().dream(db_path, config.settings() if config else (), now) as may_dream:
                if may_dream:
                    target.offer(ctx)
        except ImportError:
            self._missing = True
        except Exception:  # noqa: BLE001 the reply must go on
            self.failures.count("offer")

    def ask(self, db_path: Path | None, method: str, *params: Any) -> Any:
        """Return the daemon's answer to a call. Raise an error if there is none."""
        from dreamclient.clients.run import Timing
        from dreamclient.clients.thread import DreamClient
        from dreamclient.errors import NotConnected

        waits, timing = self._mode == "wait", Timing(hello_s=FIGURES_S)
        with (
            self._waits().figures(db_path, FIGURES_S) if waits else nullcontext(self._embedded()) as connect,
            DreamClient(connect=connect, timing=timing) as client,
        ):
            if not client.start(FIGURES_S):
                raise NotConnected(client.trouble)
            return client.call(method, *params, timeout_s=FIGURES_S)

    def answer(self, make: Callable[[], T]) -> T | None:
        """Return what `make` returns. If it raises an error, count that and return None."""
        try:
            return make()
        except Exception:  # noqa: BLE001 as leo's own does
            self.failures.count("ask")
            return None

    # how a daemon is reached

    @property
    def _mode(self) -> str:
        mode = os.environ.get("DREAMD_EMBEDDED", "").strip().lower()
        return "" if mode in ("0", "no", "off", "false") else mode

    def _embedded(self) -> Any:
        """Return the daemon in this process, or None if the service is to be used."""
        from dreamclient.embedded import EmbeddedDaemon

        made = EmbeddedDaemon()
        self._daemon = self._daemon or made  # another thread may have made one meanwhile
        return self._daemon if self._mode else None

    def _waits(self) -> Any:
        from dreamclient.embedded import from_dreamd

        if self._waiting is None:
            made = from_dreamd("embedded_waiting").Waiting()
            self._waiting = self._waiting or made  # another thread may have made one meanwhile
        return self._waiting

    def _new_client(self) -> "DreamClient":
        from dreamclient.clients.thread import DreamClient

        if self._mode == "wait":
            client: DreamClient = self._waits().client(self.failures)
            return client
        return DreamClient(connect=self._embedded(), failures=self.failures, **self._fragments)

    # functions that are no field's

    def _plain(self, functions: Sequence[Callable[..., Any]]) -> "DreamClient":
        self._functions = [_weakly(function) for function in functions]
        if self._client is None:
            client = self._new_client()
            run = getattr(client, "on_the_waiting_thread", lambda hook: hook)
            hooks = (lambda *line: self._functions[0]()(*line[:3])), (lambda text: self._functions[1]()(text))
            client.serve(*map(run, hooks))
            self._client = self._client or client  # another thread may have made one meanwhile
            self._client.start()
        return self._client


def _weakly(function: Callable[..., Any]) -> Callable[[], Any]:
    """Return a callable that returns the function, but does not keep the object of a method alive."""
    return weakref.WeakMethod(function) if isinstance(function, MethodType) else lambda: function
