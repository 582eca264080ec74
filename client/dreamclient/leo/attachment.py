"""attach(field): a leo that dreams. His own code is neither changed nor imported.

What is set on the field object itself, and taken off again by `detach`: wrappers of his calls, which keep dreams
out of them (`field_turns`), and measure what he does not tell (`field_sense`). Everything here is silent: what
fails is counted by kind, told to the daemon, and costs leo nothing.
"""

import os
import weakref
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any

from dreamclient.clients.thread import DreamClient
from dreamclient.errors import UsageError
from dreamclient.leo.database import FieldDatabase
from dreamclient.leo.diet import Diet
from dreamclient.leo.hooks import Chooses, Everything, FieldHooks
from dreamclient.leo.measures import Senses
from dreamclient.leo.modules import MODULES, Modules
from dreamclient.leo.names import names_of
from dreamclient.leo.turns import LoopTurns, ThreadTurns
from dreamclient.messages import DreamContext

_MARK = "_dreamd_attachment"
# What reads or replaces the words of the field. The first argument of all but `refresh` is a text.
_CALLS = ("reply", "observe", "refresh")
_ASYNC_CALLS = ("async_reply", "async_observe")


def attach(
    field: Any,
    *,
    client: DreamClient | None = None,
    name: str = "leo",
    socket_path: str | os.PathLike[str] | None = None,
    recall: bool | None = None,
    after_reply: bool = True,
    into: Collection[str] | None = None,
    diet: Chooses | None = None,
    origin: Sequence[str] | None = None,
    readme: Sequence[str] = (),
) -> "Attachment":
    """Let a `LeoField` or an `AsyncLeoField` dream; returns at once, and connects in the background.

    `client`       one that has not started and has no hooks; else one is made of name, socket_path, origin (leo's
                   own bootstrap text) and readme
    `recall`       dreams may begin from leo's snapshots; if None, where $DREAMD_RECALL is 1
    `after_reply`  tell the daemon of each reply that leo's own dream layer did not tell of
    `into`         which of leo's other modules hear of a dream: "episodes", "game", "mathbrain", "santa", "trauma";
                   if None, those of $DREAMD_INTO, comma-separated
    `diet`         what of the lines reaches the field; if None, dreamclient.leo.diet.Diet(), or, where $DREAMD_DIET
                   is 0, all of them whole

    Raises UsageError where `field` is no field of leo's, or is attached already.
    """
    if getattr(field, _MARK, None) is not None:
        raise UsageError("this field is attached already; detach() it first")
    if recall is None:
        recall = os.environ.get("DREAMD_RECALL") == "1"
    names = names_of(field)
    database = FieldDatabase()
    database.look(field)
    if client is None:
        born = [text for text in (names.get("EMBEDDED_BOOTSTRAP"),) if isinstance(text, str)]
        client = DreamClient(
            socket_path=socket_path,
            name=name,
            origin=born if origin is None else origin,
            readme=readme,
        )
    if into is None:
        into = _asked_for(client.count)
    here: weakref.ref[Any] = weakref.ref(field)
    turns: ThreadTurns | LoopTurns
    if hasattr(field, "async_reply"):
        turns = LoopTurns(field._lock, lambda: _loaded(here()))  # noqa: SLF001 the lock of his calls
    else:
        turns = ThreadTurns(lambda: _loaded(here()))
    if diet is None:
        diet = Everything() if os.environ.get("DREAMD_DIET") == "0" else Diet()
    digest = Modules(into, names, client.count) if into else None
    hooks = FieldHooks(here, names, database, turns, diet, client.count, digest)
    client.serve(hooks.generate, hooks.observe, hooks.recall if recall else None)
    _LEFT_ALONE.pop(id(field), None)
    attachment = Attachment(field, client, turns, Senses(field, names), database, after_reply)
    client.start()
    return attachment


def _asked_for(count: Callable[[str], None]) -> list[str]:
    """The modules of $DREAMD_INTO. One that leo has not is counted: an error would only keep him from dreaming."""
    asked = {name.strip() for name in os.environ.get("DREAMD_INTO", "").split(",")} - {""}
    for unknown in sorted(asked.difference(MODULES)):
        count(f"into: {unknown}")
    return [name for name in MODULES if name in asked]


# Fields that are to be left alone: detached on purpose, or none that could speak. By id, since a field may have an
# equality of its own; a field that is gone takes its entry with it.
_LEFT_ALONE: dict[int, weakref.ref[Any]] = {}


def leave_alone(field: Any) -> None:
    """Have the drop-in leave this field alone, until `attach` is called for it."""
    place = id(field)
    _LEFT_ALONE[place] = weakref.ref(field, lambda _: _LEFT_ALONE.pop(place, None))


def is_left_alone(field: Any) -> bool:
    """Return whether the drop-in must not attach this field."""
    known = _LEFT_ALONE.get(id(field))
    return known is not None and known() is field


def _loaded(field: Any) -> bool:
    """Within his constructor leo has no words yet. One that is gone need not be waited for."""
    return field is None or bool(field.vocab)


class Attachment:
    """The bond between a field and its client. Ends with the field, if not detached before."""

    def __init__(
        self,
        field: Any,
        client: DreamClient,
        turns: ThreadTurns | LoopTurns,
        senses: Senses,
        database: FieldDatabase,
        after_reply: bool,
    ) -> None:
        self.client = client
        self._field = field
        self._turns = turns
        self._senses = senses
        self._database = database
        self._after_reply = after_reply
        self._attached = True
        self._wrapped: dict[str, Callable[..., Any]] = {}
        wrap = self._async_call if isinstance(turns, LoopTurns) else self._call
        for call in _ASYNC_CALLS if isinstance(turns, LoopTurns) else _CALLS:
            if hasattr(field, call):
                self._wrapped[call] = wrap(call, getattr(field, call))
        for call, wrapper in self._wrapped.items():
            setattr(field, call, wrapper)
        setattr(field, _MARK, self)
        self._end = weakref.finalize(field, client.close)
        self._end.atexit = False  # the client sees to that itself

    def offer(self, ctx: DreamContext) -> bool:
        """Tell the daemon of a reply, with what leo does not know of it. Never waits, never raises."""
        try:
            call = _CALL.get()
            if call is not None and call.attachment is self:
                call.told = True
            return self.client.offer(self._senses.sharpened(ctx))
        except Exception:  # noqa: BLE001 the reply must go on
            self.client.count("offer")
            return False

    def detach(self) -> None:
        """Take off all that `attach` set, and end the connection. Twice does nothing more."""
        if not self._attached:
            return
        self._attached = False  # a wrapper that someone wrapped in turn can't be taken off: it only passes on
        for call, wrapper in self._wrapped.items():
            if vars(self._field).get(call) is wrapper:
                delattr(self._field, call)
        delattr(self._field, _MARK)
        leave_alone(self._field)
        self._database.forget()
        self._end.detach()
        self.client.close()

    # leo's calls

    def _call(self, call: str, original: Callable[..., Any]) -> Callable[..., Any]:
        turns = self._turns
        assert isinstance(turns, ThreadTurns)

        @wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not self._attached:
                return original(*args, **kwargs)
            if not turns.enter():
                try:
                    return original(*args, **kwargs)
                finally:
                    turns.leave()
            here = _Call(self)
            entered = _CALL.set(here)
            try:
                self._heard(here, call, args, kwargs)
                result = original(*args, **kwargs)
                self._answered(here, result)
                return result
            finally:
                _CALL.reset(entered)
                turns.leave()

        return wrapper

    def _async_call(self, call: str, original: Callable[..., Any]) -> Callable[..., Any]:
        turns = self._turns
        assert isinstance(turns, LoopTurns)

        @wraps(original)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not self._attached:
                return await original(*args, **kwargs)
            turns.note_loop()
            here = _Call(self)
            entered = _CALL.set(here)
            try:
                self._heard(here, call, args, kwargs)
                result = await original(*args, **kwargs)
                self._answered(here, result)
                return result
            finally:
                _CALL.reset(entered)
                turns.serve()

        return wrapper

    def _heard(self, here: "_Call", call: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Leo is about to hear or answer a text: measure it, and keep it if he answers."""
        try:
            self._database.look(self._field)
            text = args[0] if args else kwargs.get("prompt", kwargs.get("text"))
            if isinstance(text, str):
                self._senses.prompt(self._field, text)
                here.prompt = text if call.endswith("reply") else None
        except Exception:  # noqa: BLE001 leo must hear it whatever we make of it
            self.client.count("listen")

    def _answered(self, here: "_Call", reply: Any) -> None:
        if here.prompt is None:
            return
        try:
            if self._after_reply and not here.told:
                self.offer(self._senses.context(self._field, here.prompt, reply))
            self._senses.answered(here.prompt)
        except Exception:  # noqa: BLE001 leo has answered
            self.client.count("listen")


class _Call:
    """One call of leo's that is under way. Two people may say the same at one time: a text is no identity."""

    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.prompt: str | None = None  # that he answers
        self.told = False  # whether the daemon knows of the reply


_CALL: ContextVar[_Call | None] = ContextVar("dreamd_call", default=None)
