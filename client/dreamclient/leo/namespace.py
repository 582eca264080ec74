"""Run leo's functions over a namespace of their own, so that a dream draws its random numbers apart from his.

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
# Of the module, whose functions a host may have replaced.
_SHARED: random.Random = random._inst  # noqa: SLF001


def own_random() -> ModuleType:
    """Return a module like `random`, with a state of its own."""
    chance, own = random.Random(), ModuleType("random", random.__doc__)
    for name, value in vars(random).items():
        draws = isinstance(value, _METHODS) and value.__self__ is _SHARED
        setattr(own, name, getattr(chance, value.__name__) if draws else value)
    return own


def private_namespace(names: Mapping[str, Any], chance: ModuleType) -> dict[str, Any]:
    """Return a copy of a module's names, whose functions see the copy, and `chance` in place of `random`. That takes 60
    µs for leo's 180 names. Each line gets a fresh copy, so that patches of his module count."""
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
    """Do `work`, and return whether it left the state of the process's `random` alone. Another thread may have drawn
    meanwhile, so it is tried up to five times. If all fail, put the first state back."""
    first = random.getstate()
    for _ in range(5):
        before = random.getstate()
        work()
        if random.getstate() == before:
            return True
    random.setstate(first)
    return False


class SharedChance:
    """The process's `random`, lent to a leo whose lines draw from it in spite of the private namespace.

    A wrapper in another module may do that. Its state is put back after each line. Only one line in the process may be
    spoken at a time, or two would put back each other's state. A seed that another thread sets meanwhile is lost. The
    caller counts such lines."""

    def __init__(self) -> None:
        self._renew()
        call_in_child(self._renew)

    def _renew(self) -> None:
        """In a forked child, draw other numbers than the parent, and take another lock: a thread of the parent may have
        held this one."""
        self._state = random.Random().getstate()
        self._lock = threading.Lock()

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Set the state of the process's `random` to that of the dreams during this block."""
        with unforked(), self._lock:
            theirs = random.getstate()
            random.setstate(self._state)
            try:
                yield
            finally:
                self._state = random.getstate()
                random.setstate(theirs)


SHARED_CHANCE = SharedChance()
