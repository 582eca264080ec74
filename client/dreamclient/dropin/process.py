"""What stands behind the drop-in in one process: its daemon, and its clients. Loads what it needs when it does."""

import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dreamclient.clients.process import call_in_child

if TYPE_CHECKING:
    from dreamclient.clients.connect import Connect
    from dreamclient.clients.embedded import EmbeddedDaemon, WaitingClient
    from dreamclient.clients.thread import DreamClient

T = TypeVar("T")
Path = str | os.PathLike[str]
Generate = Callable[[str, float, float], str]
Observe = Callable[[str], Any]


class Config(Protocol):
    """What a call asks of its dream."""

    def settings(self) -> Sequence[str]:
        """As settings of the daemon: "gate.chance=1"."""


# Where `dreamclient.leo` keeps the attachment of a field.
ATTACHMENT = "_dreamd_attachment"
FRAMES = 4  # how far above the call of leo's dream layer his field is looked for: he may use helper functions
FIGURES_S = 1.0  # for who asks for figures: a daemon answers in a millisecond


def leo_near(functions: tuple[Callable[..., Any], ...], frame: FrameType | None) -> Any:
    """Return the field whose methods `functions` are, else the `self` of the frame or of one that called it, if a
    field is there; else None."""
    from dreamclient.errors import UsageError
    from dreamclient.leo.names import names_of

    found = [getattr(getattr(function, "func", function), "__self__", None) for function in functions]
    while frame is not None and len(found) < len(functions) + FRAMES:
        found.append(frame.f_locals.get("self"))
        frame = frame.f_back
    for candidate in found:
        if candidate is not None:
            with suppress(UsageError):
                names_of(candidate)
                return candidate
    return None


class Host:
    """One for a process: leo's API is a module, and has no other place for it. Nothing here raises."""

    def __init__(self) -> None:
        self._functions: tuple[Generate, Observe] | None = None  # the latest hooks that are no field's
        self._client: DreamClient | WaitingClient | None = None  # theirs
        self._mute: DreamClient | WaitingClient | None = None  # that of a field which cannot dream
        self._origin: list[str] = []
        self._readme: list[str] = []
        self._daemon: EmbeddedDaemon | None = None
        self._database: str | None = None  # that it serves
        self._attached: Callable[[], Any] = lambda: None  # the client of the field that was made last
        self._untold: Counter[str] = Counter()  # failures from before there was a client
        self._missing = False  # dreamclient cannot be imported whole: msgpack is not there
        self._renew()
        call_in_child(self._renew)

    def _renew(self) -> None:
        """In a forked child the thread that held the lock is not there."""
        self._one_at_a_time = threading.RLock()
        self._dreaming = False

    def born(self, frame: FrameType | None, db_path: Path, origin: str | None, readme: Sequence[str]) -> None:
        """Attach the field that is being made where `init_dream` is called, if one is."""
        self._origin, self._readme = [origin] if origin else [], list(readme)
        try:
            if self._waits:
                fragments = {"origin": self._origin, "readme": self._readme}
                self.answer(lambda: self.ask(db_path, "dream.seed", fragments))
            field = leo_near((), frame)
            if field is not None:
                self._attach(field)
        except Exception:  # noqa: BLE001 leo must not break over it
            self._count("init")

    def _attach(self, field: Any) -> Any:
        """The field's attachment, made if there is none; None if he is to be left alone."""
        from dreamclient.leo.attachment import attach, is_left_alone, leave_alone

        attachment = getattr(field, ATTACHMENT, None)
        if attachment is not None or is_left_alone(field):
            return attachment
        client: Any = self._new_client()
        try:
            attachment = attach(field, client=client)
        except Exception:  # noqa: BLE001 counted
            leave_alone(field)  # the next reply would fail again
            self._count("init")
            self._tell(client)
            self._mute = client  # it has no hooks, and tells the daemon of the failure
            client.start()
            return None
        self._attached = weakref.ref(client)
        self._tell(client)
        return attachment

    def replied(
        self,
        ctx: Any,
        functions: tuple[Generate, Observe],
        frame: FrameType | None,
        db_path: Path | None,
        config: Config | None,
        now: float | None,
    ) -> None:
        """Offer a context: through the attachment of the field that replied, or, if the caller is no leo, with the
        functions as hooks."""
        if self._missing:  # each try would cost a reply what a search of all folders costs
            return
        try:
            field = leo_near(functions, frame)
            target = self._plain(functions) if field is None else self._attach(field)
            if target is None:
                return
            if self._waits:
                self._offer_and_wait(target, ctx, db_path, config, now)
            else:
                target.offer(ctx)
        except ImportError:
            self._missing = True
        except Exception:  # noqa: BLE001 the reply must go on
            self._count("offer")

    def ask(self, db_path: Path | None, method: str, *params: Any) -> Any:
        """Return the daemon's answer to a call; raise if there is none."""
        from dreamclient.clients.inline import InlineClient
        from dreamclient.protocol.session import Timing

        timing = Timing(hello_s=FIGURES_S, tick_s=FIGURES_S)
        with InlineClient(self._connect(db_path), timing=timing) as daemon:
            return daemon.call(method, *params, timeout_s=FIGURES_S)

    def answer(self, make: Callable[[], T]) -> T | None:
        """Return what `make` makes of the daemon's answer; if it raises, count that and return None."""
        try:
            return make()
        except Exception:  # noqa: BLE001 as leo's own does
            self._count("ask")
            return None

    # how a daemon is reached

    @property
    def _mode(self) -> str:
        mode = os.environ.get("DREAMD_EMBEDDED", "").strip().lower()
        return "" if mode in ("0", "no", "off", "false") else mode

    @property
    def _waits(self) -> bool:
        return self._mode == "wait"

    def _connect(self, db_path: Path | None = None) -> "Connect":
        """What connects: to the service, to the daemon in this process, or to the one for `db_path` there."""
        if not self._mode:
            from dreamclient.clients.connect import Connector

            return Connector()
        return self._embedded(db_path if self._waits else None)

    def _embedded(self, db_path: Path | None) -> "EmbeddedDaemon":
        from dreamclient.clients.embedded import EmbeddedDaemon

        database = None if db_path is None else os.path.abspath(db_path)
        if self._daemon is not None and database in (None, self._database):
            return self._daemon
        if self._daemon is not None:
            self._daemon.close()
        folder = None if database is None else os.path.dirname(database)
        self._daemon, self._database = EmbeddedDaemon(folder, database), database
        return self._daemon

    def _new_client(self) -> "DreamClient | WaitingClient":
        if self._waits:
            from dreamclient.clients.embedded import WaitingClient

            return WaitingClient(lambda: self._connect()())
        from dreamclient.clients.thread import DreamClient

        connect = self._connect() if self._mode else None
        return DreamClient(connect=connect, origin=self._origin, readme=self._readme)

    # functions that are no field's

    def _plain(self, functions: tuple[Generate, Observe]) -> "DreamClient | WaitingClient":
        self._functions = functions
        if self._client is None:
            self._client = self._new_client()
            self._client.serve(self._generate, self._observe)
            self._tell(self._client)
            self._client.start()
        return self._client

    def _generate(self, seed: str, temperature: float, semantic_weight: float) -> str:
        assert self._functions is not None
        return self._functions[0](seed, temperature, semantic_weight)

    def _observe(self, text: str) -> Any:
        assert self._functions is not None
        return self._functions[1](text)

    # DREAMD_EMBEDDED=wait

    def _offer_and_wait(
        self, target: Any, ctx: Any, db_path: Path | None, config: Config | None, now: float | None
    ) -> None:
        with self._one_at_a_time:
            if self._dreaming:  # a hook has come back in here
                return
            self._dreaming = True
            try:
                daemon = self._embedded(db_path)
                daemon.now = now
                daemon.adopt(config.settings() if config else ())
                target.offer(ctx)
            finally:
                self._dreaming = False

    def _count(self, kind: str) -> None:
        """Have the daemon told of what was swallowed here, once a client is there to tell it."""
        self._untold[kind] += 1
        if client := self._attached() or self._client:
            self._tell(client)

    def _tell(self, client: "DreamClient | WaitingClient") -> None:
        untold, self._untold = self._untold, Counter()
        for kind in untold.elements():
            client.count(kind)
