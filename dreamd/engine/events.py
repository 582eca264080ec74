"""The daemon's events and their listeners: the subscribers on the wire, and systemd's status line."""

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Events:
    """A list of listeners, made before all other parts, so that a publisher need not know the listeners."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each event from now on, at once and on the loop's thread."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Call all listeners with an event, a map with a `type` that is ready for the wire."""
        for listener in self._listeners:
            listener(event)
