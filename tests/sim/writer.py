"""Other programs at the inbox: a writer that appends to traces, and a consumer that reads and acknowledges."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from dreamd.inbox import Inbox, InboxError
from dreamd.inbox.settings import InboxSettings
from tests.sim.files import SimFiles
from tests.sim.threads import WHOLE, Killed, Stretches

if TYPE_CHECKING:
    from tests.sim.world import World

TOKEN = {"scopes": ["memory.inbox.dreams.write"]}


class Writer:
    """A process at the inbox. It does one thing at a time, and may be killed in the middle of it."""

    def __init__(self, world: "World", settings: InboxSettings) -> None:
        self._world = world
        self.name = "writer"
        self._chance = world.chance("writer")
        self.dead = self.unwinding = False
        self.file_calls = 0
        self._left = -1  # file calls until it is killed, if not negative
        self._settings = settings
        self._now: Stretches | None = None
        self._persisting: tuple[str, Any] | None = None
        self._start()

    def _start(self) -> None:
        self.dead = False
        files = SimFiles(self._world, self._world.model.disk, self)
        self._inbox = Inbox(
            self._world.model.disk.folder, self._settings, files=files, clock=self._world.clock
        )

    # as files.SimFiles asks

    def file_fault(self, kind: str) -> int:
        return 0

    def file_stall(self, kind: str) -> float:
        return 0.0

    def kill_at_file_call(self) -> bool:
        self._left -= 1
        if self._left == 0:
            self._world.next_action = self.kill
        return self._left == 0

    # what it does

    @property
    def is_doomed(self) -> bool:
        """True if it is to be killed at a file call that comes."""
        return self._left > 0

    def kill_after(self, calls: int) -> None:
        """Kill it at a file call that comes."""
        self._left = calls

    def kill(self) -> None:
        """End it now. Another one may start."""
        call, self._now = self._now, None
        if call is not None and self._persisting is not None:  # whoever runs it tries again
            self._world.after(0.5, self.persist, *self._persisting)
        self.dead = self.unwinding = True
        if call is not None and not call.ended:
            self._world.note("the writer is killed")
            call.resume(kill=True)
        self.unwinding = False
        self._start()

    def _do(
        self, call: Callable[[], Any], then: Callable[[Any], None], persisting: tuple[str, Any] | None = None
    ) -> None:
        if self._now is None:
            self._persisting = persisting
            whole = not (self._world.parked or self.is_doomed) and self._chance.random() < WHOLE
            self._now = Stretches(self._world, call, whole=whole)
            self._go_on(self._now, then)

    def _go_on(self, call: Stretches, then: Callable[[Any], None]) -> None:
        if call is not self._now:
            return
        if not call.resume():
            self._world.after(self._world.parked_s, self._go_on, call, then)
            return
        self._now = None
        if call.error is None:
            then(call.result)
        elif not isinstance(call.error, InboxError | Killed):
            self._world.fail("the inbox raises its own errors", repr(call.error))

    def persist(self, trace_id: str, shards: list[dict[str, Any]]) -> None:
        """Append shards to a trace."""
        texts = [shard["text"] for shard in shards]
        result = {"trace_id": trace_id, "shards": shards}
        call = partial(self._inbox.persist, {"goal": "a test"}, result, TOKEN)

        def kept(_: Any) -> None:
            self._world.model.check_durable("P6", trace_id, texts)
            self._world.model.accepted(trace_id, texts)

        self._do(call, kept, (trace_id, shards))

    def consume(self, n: int) -> None:
        """Read and acknowledge one of the first waiting files."""

        def consume() -> tuple[str, list[Any]] | None:
            waiting = self._inbox.list(10)
            if not waiting:
                return None
            handle = waiting[n % len(waiting)]["trace_id"]
            document = self._inbox.read(handle)
            self._world.model.acknowledging(handle, document["shards"])
            self._inbox.ack(handle, document["saved_ts"])
            return handle, document["shards"]

        self._do(consume, lambda found: found and self._world.model.acknowledged(*found))
