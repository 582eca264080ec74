"""The sessions that are shown more than their answers: subscribers the events, tracers the messages of others."""

from dreamd.clock import Clock
from dreamd.engine.events import Event
from dreamd.wire import params
from dreamd.wire.session import UNTAPPED, Session, Tap
from dreamd.wire.trace import Trace


class Subscriptions:
    """Who is shown what. `taps` are those of the tracers, by their session."""

    def __init__(self, clock: Clock) -> None:
        self.subscribers: set[Session] = set()
        self.taps: dict[int, Tap] = {}
        self._clock = clock

    def publish(self, event: Event) -> None:
        """Send an event to all subscribers, encoded once."""
        if self.subscribers:
            data = params.encode_event(event)
            for session in self.subscribers:
                session.event(data)

    def trace(self, tracer: Session, only: int | None) -> None:
        """Show a session the messages of all others, or of one, from now on; but never those of a tracer: two would
        trace each other's traces without end."""
        tracer.taps = UNTAPPED
        self.taps[tracer.number] = Trace(tracer, only, self._clock).see

    def forget(self, session: Session) -> None:
        """Show nothing more to a session that has gone."""
        self.subscribers.discard(session)
        self.taps.pop(session.number, None)
