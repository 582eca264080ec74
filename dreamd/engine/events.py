"""What happens in the daemon, told to all that listen: the subscribers on the wire, and systemd's status line."""

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Events:
    """Made before all other parts: what publishes does not know who listens."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each event from now on, at once and on the loop's thread."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Tell all listeners of an event: a map with its `type`, ready for the wire."""
        for listener in self._listeners:
            listener(event)
