"""The sessions that subscribe to events, and those that trace the messages of other sessions."""

from dreamd.clock import Clock
from dreamd.engine.events import Event
from dreamd.wire import params
from dreamd.wire.session import UNTAPPED, Session, Tap
from dreamd.wire.trace import Trace


class Subscriptions:
    """The subscribers and the tracers. `taps`: those of the tracers, by their session."""

    def __init__(self, clock: Clock) -> None:
        self.subscribers: set[Session] = set()
        self.taps: dict[int, Tap] = {}
        self._clock = clock

    def publish(self, event: Event) -> None:
        """Encode an event once, and send it to all subscribers."""
        if self.subscribers:
            data = params.encode_event(event)
            for session in self.subscribers:
                session.event(data)

    def trace(self, tracer: Session, only: int | None) -> None:
        """Show a session the messages of all other sessions, or of one, from now on. Those of tracers are never shown,
        because two tracers would trace each other without end."""
        tracer.taps = UNTAPPED
        self.taps[tracer.number] = Trace(tracer, only, self._clock).see

    def forget(self, session: Session) -> None:
        """Remove a closed session."""
        self.subscribers.discard(session)
        self.taps.pop(session.number, None)
