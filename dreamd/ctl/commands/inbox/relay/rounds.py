"""The rounds of a relay: each publishes all files that wait, in batches, and acknowledges what the server stored."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dreamd.ctl.commands.inbox.relay.message import fill_subject, message_id, read_file
from dreamd.ctl.commands.inbox.relay.publishing import Message, Publisher
from dreamd.ctl.commands.inbox.relay.server import Place, ServerUnreachable
from dreamd.ctl.machine.relay_state import RelayState
from dreamd.inbox import DamagedFile, Inbox, InboxUnavailable
from dreamd.inbox.folder.passing import WaitingFile

BATCH: Final = 256
BATCH_BYTES: Final = 4 << 20
LOOK_S: Final = 1.0  # between two looks at the folder
HEARTBEAT_S: Final = 30.0  # between two writes of the state while nothing happens
# A folder that changed later than this may change again in the same tick of its clock.
_SETTLED_S: Final = 2.0


@dataclass
class Relay:
    """What a relay works on. `save`: writes the state."""

    box: Inbox
    place: Place
    subject: str
    machine: str
    state: RelayState
    save: Callable[[RelayState], None]

    async def follow(self, client: Any, once: bool, on_success: Callable[[], None]) -> None:
        """Publish what waits, and then what comes. Return after the first round if `once`. Raise ClickException,
        InboxError."""
        publisher = Publisher(client, self.place)
        await publisher.open()
        await client.flush()
        while True:
            seen = self._folder_time()
            await self._pass_round(publisher, client.max_payload, on_success)
            on_success()
            self.state.note_success(time.time())
            self.save(self.state)
            if once:
                return
            await self._until_changed(client, seen)

    async def _pass_round(self, publisher: Publisher, most: int, on_success: Callable[[], None]) -> None:
        parts = list(await asyncio.to_thread(self.box.waiting_parts))
        self.state.waiting, self.state.skipped = len(parts), 0
        while parts:
            batch = await asyncio.to_thread(self.box.read_waiting, parts[:BATCH], BATCH_BYTES)
            if not batch:
                parts = parts[BATCH:]
                continue
            parts = parts[parts.index(batch[-1].part) + 1 :]
            if await self._pass_batch(publisher, batch, most):
                on_success()

    async def _pass_batch(self, publisher: Publisher, batch: Sequence[WaitingFile], most: int) -> int:
        """Publish a batch, and acknowledge what the server has stored. Return how many. Raise ClickException if the
        server took none, and for the others after that."""
        made = [(each, self._message(each, most)) for each in batch]
        messages = [message for _, message in made if message]
        self.state.skipped += len(made) - len(messages)
        stored, problem = await publisher.publish(messages)
        self.state.published += len(stored)
        accepted = [each for each, message in made if message and message.id in stored]
        if accepted:
            moved = await asyncio.to_thread(self.box.ack_files, accepted)
            self.state.acknowledged += moved
            self.state.waiting -= moved
            self.state.last_at = time.time()
        self.save(self.state)
        if problem:
            raise problem
        return len(stored)

    def _message(self, file: WaitingFile, most: int) -> Message | None:
        """Return the message for a file, or None if it is no inbox document or larger than the server takes."""
        trace_id = file.part[0]
        if file.data is None or len(file.data) + 512 > most:
            return None
        try:
            document = read_file(trace_id, file.data)
        except DamagedFile:
            return None
        return Message(
            fill_subject(self.subject, self.machine, document), message_id(trace_id, file.data), file.data
        )

    def _folder_time(self) -> int | None:
        """Return the time of the folder's last change, or None if it may change again without another time."""
        try:
            changed = os.stat(self.box.folder).st_mtime_ns
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InboxUnavailable(error.errno, f"look at the inbox: {error.strerror}") from None
        return changed if abs(time.time() - changed / 1e9) > _SETTLED_S else None

    async def _until_changed(self, client: Any, seen: int | None) -> None:
        began = saved = time.monotonic()
        while time.monotonic() < began + LOOK_S or self._folder_time() == seen is not None:
            await asyncio.sleep(LOOK_S)
            if client.is_closed:
                raise ServerUnreachable(f"{self.place.shown}: the connection was lost")
            if time.monotonic() > saved + HEARTBEAT_S:
                if self.state.skipped:  # a file may be whole by now, which its folder's time does not show
                    return
                saved = time.monotonic()
                self.state.at = time.time()
                self.save(self.state)
