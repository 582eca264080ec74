"""attach(field): let a leo dream. His own code is neither changed nor imported.

The field object gets a subclass of its class. Its methods see the prompt and the reply of his calls, and call the
methods that his class has at that time. `detach` gives the object its class back. Nothing here raises in leo's calls:
a failure is counted by kind and told to the daemon.
"""

import os
import types
import weakref
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, Self

from dreamclient.clients.thread import DreamClient
from dreamclient.errors import UsageError
from dreamclient.leo.database import FieldDatabase
from dreamclient.leo.diet import Chooses, Diet, Everything
from dreamclient.leo.hooks import FieldHooks
from dreamclient.leo.measures import Senses
from dreamclient.leo.modules import Modules
from dreamclient.leo.names import names_of
from dreamclient.leo.voice import Voice
from dreamclient.messages import DreamContext
from dreamclient.privacy import Private, is_private, private

# Those of his calls whose first argument is a text.
_CALLS = ("reply", "observe", "async_reply", "async_observe")
_MARK = "_dreamd_attachment"
# By id, since a field may have an equality of its own: those that were detached on purpose, or cannot speak.
_left_alone: set[int] = set()


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
    """Let a `LeoField` or an `AsyncLeoField` dream. Return at once, and connect in the background.

    `client`       a client that has not started and has no hooks; if None, one is made of name, socket_path, origin
                   (leo's own bootstrap text) and readme
    `recall`       True lets dreams begin from leo's snapshots; if None, $DREAMD_RECALL=1 does
    `after_reply`  True tells the daemon of each reply that leo's own dream layer did not tell of
    `into`         the other modules of leo's that are told of a dream: "episodes", "game", "mathbrain", "santa",
                   "trauma"; if None, those of $DREAMD_INTO, comma-separated
    `diet`         chooses the parts of the lines that reach the field; if None, dreamclient.leo.Diet(), or whole
                   lines if $DREAMD_DIET is 0

    Raise UsageError if `field` is no field of leo's, is attached already, or cannot speak a line: the message says why.
    """
    if client is not None and not isinstance(client, DreamClient):
        raise UsageError("attach takes a DreamClient, for an AsyncLeoField too")
    _check_not_attached(field)
    names = names_of(field)
    if client is None:
        if origin is None:
            origin = [text for text in (names.get("EMBEDDED_BOOTSTRAP"),) if isinstance(text, str)]
        client = DreamClient(socket_path=socket_path, name=name, origin=origin, readme=readme)
    voice = Voice(names, client.count)
    voice.examine()
    if diet is None:
        diet = Everything() if os.environ.get("DREAMD_DIET") == "0" else Diet()
    modules = Modules(into, names, client.count)
    hooks = FieldHooks(weakref.ref(field), names, FieldDatabase(), voice, diet, client.count, modules)
    remembers = os.environ.get("DREAMD_RECALL") == "1" if recall is None else recall
    recalls = hooks.recall if remembers else None
    client.serve(hooks.generate, hooks.observe, recalls, hooks.field_id, hooks.unobserve)
    attachment = Attachment(field, client, hooks, after_reply)
    client.start()
    return attachment


def attachment_of(field: Any) -> "Attachment | None":
    """Return the attachment of this object, or None. A copy of an attached object has none."""
    found: Attachment | None = getattr(type(field), _MARK, None)
    return found if found is not None and found.field() is field else None


def _check_not_attached(field: Any) -> None:
    if attachment_of(field) is not None:
        raise UsageError("this field is attached already; detach() it first")


def leave_alone(field: Any) -> None:
    """Stop the drop-in from attaching this field. A call of `attach` ends that."""
    _left_alone.add(id(field))
    weakref.finalize(field, _left_alone.discard, id(field)).atexit = False


def is_left_alone(field: Any) -> bool:
    """Return whether the drop-in must not attach this field."""
    return id(field) in _left_alone


class Attachment:
    """The bond between a field and its client. It ends with `detach`, or with the field."""

    def __init__(self, field: Any, client: DreamClient, hooks: FieldHooks, after_reply: bool) -> None:
        self.client = client
        self.field, self.database, self.modules = hooks.field, hooks.database, hooks.modules
        self.senses = Senses(hooks.names)
        self.hooks = hooks
        self.after_reply = after_reply
        self.replies: weakref.WeakSet[Call] = weakref.WeakSet()  # under way
        hooks.talks = lambda: len(self.replies) > 0
        self.database.look(field)
        self._class = type(field)
        try:
            self._bond = _class_for(self, self._class)
            _check_not_attached(field)  # again: another thread may have done it meanwhile
            field.__class__ = self._bond
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 his class may have its own idea of subclasses
            raise UsageError(f"this field cannot be attached: {error}") from None
        # What the owner has set on the object itself hides its class.
        own = getattr(field, "__dict__", {})
        self._patched = {name: own[name] for name in _CALLS if name in own}
        self._ours = {name: _on_the_object(self, name, theirs) for name, theirs in self._patched.items()}
        own.update(self._ours)
        _left_alone.discard(id(field))
        self._end = weakref.finalize(field, _ended, client, hooks.database)
        self._end.atexit = False  # the client stops at the exit by itself

    @property
    def stands(self) -> bool:
        """True until `detach` or the end of the field."""
        return self._end.alive

    def offer(self, ctx: DreamContext) -> bool:
        """Tell the daemon of a reply, with the measures that leo lacks. Return False if it was dropped, or is private.
        This never waits and never raises."""
        try:
            if (call := Call.here()) is not None and call.attachment is self:
                call.told = True
                if self.client.waits:  # for the lines of its dream
                    self.replies.discard(call)
            if is_private():
                return self.client.offer(None)  # only counts it
            return self.client.offer(self.senses.sharpened(self.field(), ctx))
        except Exception:  # noqa: BLE001 the reply must go on
            self.client.count("offer")
            return False

    def private(self) -> Private:
        """Return a block that keeps a conversation out of all dreams: of the replies in it only their number is told.
        It holds for this thread or task. What is said in it is still in leo's own field."""
        return private()

    def keep_private(self, reply: Any, *, told: bool) -> None:
        """Keep a private reply out of what dreams recall, and count it unless it was."""
        if isinstance(reply, str):
            self.hooks.keep_private(reply)
        if self.after_reply and not told:
            self.client.offer(None)

    def detach(self) -> None:
        """Undo `attach`, and end the connection. The drop-in leaves the field alone from then on. A second call does
        nothing."""
        field = self.field()
        if field is not None and self._end.detach() is not None:
            for name, theirs in self._patched.items():
                if vars(field).get(name) is self._ours[name]:
                    vars(field)[name] = theirs
            if type(field) is self._bond:  # otherwise the owner has given it another class since
                field.__class__ = self._class
            leave_alone(field)
        self.database.forget()
        self.client.close()


def _ended(client: DreamClient, database: FieldDatabase) -> None:
    """Stop the client of a field, and drop its connection to leo's database. The garbage collector runs this, so it
    takes no lock and does not wait."""
    database.forget()
    client.stop()


class Call:
    """One call of a method of leo's. Two people may say one text at one time, so the text does not identify a call.

    A signal may raise anywhere in here, for instance a timeout around `reply`. So all references to a call are weak,
    and end with it."""

    # Several may be under way on one loop.
    _here: ContextVar[Callable[[], "Call | None"]] = ContextVar("dreamd_call", default=lambda: None)

    def __init__(self, attachment: Attachment, field: Any, name: str, args: Any, more: Any) -> None:
        self.attachment, self._field, self._is_reply = attachment, field, name.endswith("reply")
        self.prompt: str | None = None  # that he answers
        self.told = False  # True when the daemon was told of the reply
        self._text = args[0] if args else more.get("prompt", more.get("text"))
        self._before = self._here.get()
        # Calls of a copy, calls within another call, and calls after `detach` are not looked at.
        outer = self._before()
        of_this = field is not None and attachment.field() is field and attachment.stands
        self._heard = of_this and (outer is None or outer.attachment is not attachment)

    @classmethod
    def here(cls) -> "Call | None":
        """Return the running call on this thread or in this task, or None."""
        return cls._here.get()()

    def __enter__(self) -> Self:
        if not self._heard:
            return self
        self._here.set(weakref.ref(self))
        bond = self.attachment
        try:
            bond.database.look(self._field)
            if isinstance(self._text, str):
                self.prompt = self._text if self._is_reply else None
                if is_private():
                    bond.hooks.keep_private(self._text)  # some leos keep snapshots of prompts too
                else:
                    bond.senses.prompt(self._field, self._text)
        except Exception:  # noqa: BLE001 leo must get the text in any case
            bond.client.count("listen")
        if self._is_reply:
            bond.replies.add(self)
        return self

    def answered(self, reply: Any) -> Any:
        """Tell the daemon of the reply, unless it was told. Tell leo's modules of his dreams. Return the reply."""
        bond = self.attachment
        bond.replies.discard(self)
        try:
            if self.prompt is not None:
                if is_private():
                    bond.keep_private(reply, told=self.told)
                elif bond.after_reply and not self.told:
                    bond.offer(bond.senses.context(self._field, self.prompt, reply))
                bond.senses.answered(self.prompt)
            if self._heard:
                bond.modules.tell_waiting(self._field)
        except Exception:  # noqa: BLE001 leo has answered
            bond.client.count("listen")
        return reply

    def __exit__(self, *_: object) -> None:
        self.attachment.replies.discard(self)
        if self._heard:
            self._here.set(self._before)


def _class_for(attachment: Attachment, kind: type) -> type:
    """Return a class under `kind` that tells `attachment` of the calls of its field."""
    own: dict[str, Any] = {_MARK: attachment, "__slots__": ()}
    own |= {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    for name in _CALLS:
        if callable(theirs := getattr(kind, name, None)):
            own[name] = _hearing(attachment, name, theirs, partial(_bound, kind, name))
    return types.new_class(kind.__name__, (kind,), exec_body=lambda body: body.update(own))


def _on_the_object(attachment: Attachment, name: str, theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that replaces `theirs` on the field object itself."""
    method = _hearing(attachment, name, theirs, lambda _: theirs)
    return wraps(theirs)(lambda *args, **more: method(attachment.field(), *args, **more))


def _bound(kind: type, name: str, field: Any) -> Any:
    """Return what `field.name` would be if `kind` were its class, as that class is now: it may have been patched."""
    found = next(vars(base)[name] for base in kind.__mro__ if name in vars(base))
    bind = getattr(type(found), "__get__", None)
    return found if bind is None else bind(found, field, kind)


def _hearing(attachment: Attachment, name: str, theirs: Any, resolve: Callable[[Any], Any]) -> Any:
    """Return a method that tells `attachment` of the call, and calls the method that `resolve` returns for the
    field."""

    def method(field: Any, *args: Any, **more: Any) -> Any:
        with Call(attachment, field, name, args, more) as call:
            return call.answered(resolve(field)(*args, **more))

    async def async_method(field: Any, *args: Any, **more: Any) -> Any:
        with Call(attachment, field, name, args, more) as call:
            return call.answered(await resolve(field)(*args, **more))

    return wraps(theirs)(async_method if name.startswith("async_") else method)
