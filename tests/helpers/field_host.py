"""Use for a leo whose field has leo's real tables: a peer without our client, on leo's side of the socket."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from dreamclient.leo.feeding import drop_marks, ingest, undo_line

from tests.helpers.leo_field import ingest_text, make_field
from tests.helpers.peer import PlainPeer, saying

FIELD = "a field"


class FieldHost:
    """A host that feeds and unfeeds the field at `path`. At a step of `dies_at` its connection ends: before a call of
    `unobserve` is done, or after it, with no answer."""

    def __init__(self, path: Path) -> None:
        self.path = path if path.exists() else make_field(path)
        self.peer: PlainPeer
        self.asked: list[tuple[Any, dict[str, Any]]] = []  # of `unobserve`
        self.dies_at: str | None = None  # "before 2", "after 2": by turn, 0 for the end
        self.raises: Exception | None = None
        self.observes = True  # whether it answers `observe`

    def generate(self, *asked: Any) -> str:
        return f"{saying()} and a whale"

    async def observe(self, text: str, meta: dict[str, Any]) -> Any:
        added = ingest(self.path, [text], ingest_text)
        if not self.observes:
            raise OSError
        return {"taken": True, "added": added}

    async def unobserve(self, what: Any, meta: dict[str, Any]) -> Any:
        self.asked.append((what, meta))
        await self._die_if(f"before {meta['turn']}")
        if self.raises is not None:
            raise self.raises
        if isinstance(what, str):
            return {"undone": False}
        if what is None:
            drop_marks(self.path, meta)
            answer = None
        else:
            answer = {"undone": True, "missing": undo_line(self.path, what, meta)}
        await self._die_if(f"after {meta['turn']}")
        return answer

    async def _die_if(self, step: str) -> None:
        if step == self.dies_at:
            self.peer.writer.close()
            await asyncio.Event().wait()

    async def connect(self, socket: Any, name: str = "leo", field: str = FIELD, **hooks: Any) -> PlainPeer:
        """Connect, with all hooks unless others are given."""
        own = {each: getattr(self, each) for each in ("generate", "observe", "unobserve")}
        self.peer = await PlainPeer.connect(socket, **(hooks or own))
        await self.peer.hello(name, field=field)
        return self.peer

    def run(self, statement: str) -> None:
        """Change the field by hand."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)
