"""Publishing a batch of messages to JetStream, and waiting for the server's acknowledgement of each.

nats-py 2.16 has `publish_async`, whose future never ends if the server answers with an error.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import click

from dreamd.ctl.commands.inbox.relay.message import ID_HEADER
from dreamd.ctl.commands.inbox.relay.server import Place, ServerUnreachable, explain_answer, no_stream

BATCH_S: Final = 60.0  # for a batch of 4 MB and its acknowledgements
LOOK_S: Final = 0.5


class Message(NamedTuple):
    subject: str
    id: str
    data: bytes


class Publisher:
    """Publishes on one connection. `open` it first."""

    def __init__(self, client: Any, place: Place) -> None:
        self._client, self._place = client, place
        self._prefix = client.new_inbox()
        self._waiting: dict[str, Message] = {}
        self._stored: set[str] = set()  # ids; only an acknowledgement adds one
        self._arrived = asyncio.Event()
        self._problem: click.ClickException | None = None
        self._number = 0

    async def open(self) -> None:
        """Subscribe to the acknowledgements."""
        await self._client.subscribe(f"{self._prefix}.*", cb=self._take_answer)

    async def publish(self, messages: Sequence[Message]) -> tuple[set[str], click.ClickException | None]:
        """Return the ids that the server has stored, and what went wrong with the others, if anything did."""
        self._waiting = {}
        self._stored = set()
        self._arrived.clear()
        self._problem = None
        try:
            async with asyncio.timeout(BATCH_S):
                for message in messages:
                    await self._send(message)
                while self._waiting and not self._client.is_closed:
                    with suppress(TimeoutError):  # look whether the connection is still there
                        await asyncio.wait_for(self._arrived.wait(), LOOK_S)
                        break
        except Exception as error:  # noqa: BLE001 - what is acknowledged counts, whatever happened to the connection
            self._problem = self._problem or _lost(self._place, error)
        if self._waiting and self._problem is None:
            self._problem = _lost(self._place)
        return self._stored, self._problem

    async def _send(self, message: Message) -> None:
        self._number += 1
        number = str(self._number)
        self._waiting[number] = message
        reply, headers = f"{self._prefix}.{number}", {ID_HEADER: message.id}
        await self._client.publish(message.subject, message.data, reply=reply, headers=headers)

    async def _take_answer(self, answer: Any) -> None:
        number = answer.subject.rpartition(".")[2]
        message = self._waiting.get(number)
        if message is None:  # of an earlier batch
            return
        if answer.headers and answer.headers.get("Status") == "503":
            self._refuse(no_stream(message.subject, self._place))
            return
        try:
            said = json.loads(answer.data)
            wrong = said.get("error")
            stored = isinstance(said.get("seq"), int) and isinstance(said.get("stream"), str)
        except (ValueError, AttributeError):
            wrong, stored = {}, False
        if wrong is not None or not stored:
            wrong = wrong or {}
            text = str(wrong.get("description", "no answer of JetStream"))
            self._refuse(explain_answer(wrong.get("code", "?"), text, self._place))
            return
        del self._waiting[number]
        self._stored.add(message.id)
        if not self._waiting:
            self._arrived.set()

    def _refuse(self, problem: click.ClickException) -> None:
        """Keep the first problem, and end the waiting shortly: the other messages of the batch meet it too."""
        if self._problem is None:
            self._problem = problem
            asyncio.get_running_loop().call_later(0.2, self._arrived.set)


def _lost(place: Place, error: Exception | None = None) -> click.ClickException:
    why = "the connection was lost before it acknowledged"
    if isinstance(error, TimeoutError):
        why = f"it acknowledged nothing for {BATCH_S:.0f} s"
    return ServerUnreachable(f"{place.shown}: {why}")
