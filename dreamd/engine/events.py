"""The daemon's events and their listeners: the subscribers on the wire, and systemd's status line."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Events:
    """A list of listeners, made before all other parts, so that a publisher need not know the listeners."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._of_types: defaultdict[str, list[Listener]] = defaultdict(list)

    def subscribe(self, listener: Listener, *types: str) -> None:
        """Call `listener` with each event from now on, or with each of some types, at once and on the loop's thread."""
        for listeners in [self._of_types[each] for each in types] or [self._listeners]:
            listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Call the listeners with an event, a map with a `type` that is ready for the wire."""
        for listener in self._listeners:
            listener(event)
        for listener in self._of_types.get(event["type"], ()):
            listener(event)
