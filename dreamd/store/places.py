"""The places where the database may lie, and opening it. That may take long: a large file is checked or copied, or a
disk hangs."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from dreamd.clock import Clock
from dreamd.errors import StoreForeign, StoreUnavailable
from dreamd.store.file.connection import Database
from dreamd.store.file.health import UNANSWERED
from dreamd.store.opening import Opening, open_file

OPEN_S: Final = 1.25  # seconds that a start waits: usually milliseconds, 1 s if another program has it locked


class Places:
    """The places of a database, one of which is used. A `given` place comes first, then the name of `own` beside it,
    and last `own`, dreamd's place in the state folder. `name`: the place that is used. `path`: `name` with links
    resolved. `lock`: as of opening.Opening."""

    def __init__(
        self,
        own: Path,
        given: Path | None,
        *,
        clock: Clock,
        keep_texts: bool,
        busy_timeout_s: float,
        lock: Callable[[Path], None],
    ) -> None:
        beside = [given, given.with_name(own.name)] if given else []
        self.name, *self._others = dict.fromkeys([*beside, own])
        self.path = _resolve_links(self.name)
        self.notes: list[str] = []  # what opening did: left alone, set aside, migrated
        self._clock = clock
        self._opening: asyncio.Task[Database] | None = None
        self._how = partial(
            Opening,
            own=_resolve_links(own),
            keep_texts=keep_texts,
            busy_timeout_s=busy_timeout_s,
            notes=self.notes,
            lock=lock,
        )

    async def open(self) -> Database:
        """Open the first usable place. An opening that takes too long continues, and the next call waits for it.

        Raise StoreForeign, StoreTooNew or StoreTaken with the file untouched, StoreUnavailable, sqlite3.Error or
        OSError if it cannot be opened now.
        """
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
        await asyncio.wait([self._opening], timeout=OPEN_S)
        if not self._opening.done():
            raise StoreUnavailable(UNANSWERED, "the database is being opened")
        opening, self._opening = self._opening, None
        return await opening

    async def close(self) -> None:
        """Abandon an opening that has not ended."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().close()

    async def _open(self) -> Database:
        while True:
            try:
                connector = partial(open_file, self.path, self._how(at=self._clock.wall()))
                return await Database.open(self.path, connector, self.name)
            except StoreForeign as error:
                if not self._others:
                    raise
                left, self.name = self.name, self._others.pop(0)
                self.path = _resolve_links(self.name)
                self.notes.append(f"not dreamd's: {left}: {error}; dreams are kept in {self.path}")


def _resolve_links(path: Path) -> Path:
    """Return the path with links resolved, also if one of them leads to itself, for which `Path.resolve` raises."""
    return Path(os.path.realpath(path))
