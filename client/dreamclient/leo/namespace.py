"""leo's functions over a namespace of their own, so that a dream draws from a chance of its own.

The global `random` decides leo's replies, and its state belongs to the whole process: whatever changes it, even for a
moment, is seen by every thread, and a seed that the owner sets meanwhile is lost. So it is not touched. leo's
functions are bound again to a copy of his module's names, in which `random` is another one.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from dreamclient.clients.process import call_in_child, unforked

_METHODS = (MethodType, BuiltinFunctionType)
_SHARED: random.Random = random.random.__self__  # type: ignore[attr-defined]


def own_random() -> ModuleType:
    """Return a module as `random` is, with a state of its own."""
    chance, own = random.Random(), ModuleType("random", random.__doc__)
    for name, value in vars(random).items():
        draws = isinstance(value, _METHODS) and value.__self__ is _SHARED
        setattr(own, name, getattr(chance, value.__name__) if draws else value)
    return own


def private_namespace(names: Mapping[str, Any], chance: ModuleType) -> dict[str, Any]:
    """Return a copy of a module's names whose functions see that copy, and `chance` for `random`. It takes 60 µs for
    leo's 180 names, and is made for each line, so that what is patched in his module holds."""
    own = dict(names)
    for name, value in list(own.items()):
        if value is random:
            own[name] = chance
        elif isinstance(value, _METHODS) and value.__self__ is _SHARED:  # from random import choice
            own[name] = getattr(chance, value.__name__)
        elif isinstance(value, FunctionType) and value.__globals__ is names:
            again = FunctionType(value.__code__, own, value.__name__, value.__defaults__, value.__closure__)
            again.__kwdefaults__ = value.__kwdefaults__
            again.__dict__.update(value.__dict__)
            own[name] = again
    return own


def random_is_left_alone(work: Callable[[], object]) -> bool:
    """Do `work`; return whether the state of the process's `random` is what it was. Another thread may have drawn
    meanwhile, so it is tried again; in the end that state is put back."""
    first = random.getstate()
    for _ in range(5):
        before = random.getstate()
        work()
        if random.getstate() == before:
            return True
    random.setstate(first)
    return False


class SharedChance:
    """For a leo whose lines draw from the process's `random` all the same, through a wrapper in another module for
    instance: its state is put back after each. One line at a time in the whole process, or two would put back each
    other's; what others seed meanwhile is lost, which is counted."""

    def __init__(self) -> None:
        self._state = random.Random().getstate()
        self._renew()
        call_in_child(self._renew)

    def _renew(self) -> None:
        """In a forked child another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """The process's `random`, in a state of the dreams' own."""
        with unforked(), self._lock:
            theirs = random.getstate()
            random.setstate(self._state)
            try:
                yield
            finally:
                self._state = random.getstate()
                random.setstate(theirs)


SHARED_CHANCE = SharedChance()
