"""The database in the simulation: real SQLite on the world's own time, without its thread."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dreamd.store.file.connection import Database
from dreamd.store.file.open_files import OpenFiles

if TYPE_CHECKING:
    from tests.sim.world import World

WAL_HEADER = 32  # bytes, before the first frame of a log
ERRORS = (
    "SQLITE_FULL",
    "SQLITE_BUSY",
    "SQLITE_IOERR",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
)


def sqlite_error(name: str) -> sqlite3.OperationalError:
    """Return an error as SQLite raises it."""
    error = sqlite3.OperationalError(name)
    error.sqlite_errorname, error.sqlite_errorcode = name, getattr(sqlite3, name)
    return error


class DatabaseThread:
    """Stands for the database's thread: calls run one by one, have their effect, and are answered later.

    `fault`: called with the name of a transaction, returns None, or the error and whether it comes after the work.
    `stall`: returns the seconds before the effect and before the answer. `effect`: called around each effect."""

    def __init__(self, world: "World") -> None:
        self._world, self._life = world, world.life
        self._calls: deque[tuple[str, Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._busy = False
        self._answers: deque[Callable[[], None]] = deque()
        self._chance = world.chance(f"database of {world.life.name}")
        self.calls = 0

    def do(self, name: str, call: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Run a call in its turn. It runs even if the caller is cancelled."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.calls += 1
        self._calls.append((name, call, future))
        if self._life.dead:
            self.flush()
        elif not self._busy:
            self._begin()
        return future

    def _begin(self) -> None:
        self._busy = bool(self._calls)
        if self._busy:
            stall_s = self._life.database_stall("before")
            self._world.after(stall_s + self._world.pace * self._chance.uniform(1e-4, 4e-3), self._effect)

    def _effect(self) -> None:
        if not self._calls:  # it was flushed
            self._busy = False
            return
        name, call, future = self._calls.popleft()
        self._world.note(self._life.name, "database", name)
        answer = self._life.around(name, partial(_try, call))
        self._answers.append(partial(_settle, future, *answer))
        if self._life.dead:
            self.flush()
            return
        stall_s = self._life.database_stall("after")
        self._world.after(stall_s + self._world.pace * self._chance.uniform(1e-5, 2e-3), self._answer)

    def _answer(self) -> None:
        if self._answers:
            self._answers.popleft()()
        if not self._life.dead:
            self._begin()

    def drop(self) -> None:
        """Do nothing more: the process has ended."""
        self._answers.clear()
        self._calls.clear()

    def flush(self) -> None:
        """Do all at once: the daemon is dead, and no longer of interest."""
        while self._answers:
            self._answers.popleft()()
        while self._calls:
            _, call, future = self._calls.popleft()
            _settle(future, *_try(call))


def _try(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:
        return None, error


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if not future.done():
        future.set_result(result) if error is None else future.set_exception(error)


class SimDatabase(Database):
    """A connection whose calls run on a DatabaseThread. `world`: of the current run."""

    world: "World"

    @classmethod
    async def open(
        cls, path: Path, connector: Callable[[], sqlite3.Connection], name: Path | None = None
    ) -> Self:
        life = cls.world.life

        def connect() -> tuple[sqlite3.Connection, OpenFiles]:
            fault = life.database_fault("open")
            if fault is not None:
                raise sqlite_error(fault[0])
            life.connection = connector()  # at once, since the process may end before it is answered
            return life.connection, OpenFiles(path, name or path)

        connection, files = await life.database.do("open", connect)
        database = cls(lambda: None, iter_chunk_size=64)  # type: ignore[arg-type, return-value]
        database._connection, database.files, database.life = connection, files, life
        return database

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        works = [each for each in (fn, *args) if callable(each) and not isinstance(each, sqlite3.Connection)]
        name = works[-1].__name__
        if name == "close" and self.life.connection is self._connection:
            self.life.connection = None
        return await self.life.database.do(name, partial(fn, *args, **kwargs))

    def _looked_into(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if function.__name__ != "_transaction" and (fault := self.life.database_fault(function.__name__)):
            raise sqlite_error(fault[0])
        return super()._looked_into(function, *args, **kwargs)

    def _transaction(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        fault = self.life.database_fault(function.__name__)
        if fault is not None and not fault[1]:
            raise sqlite_error(fault[0])

        def work(connection: sqlite3.Connection, *more: Any, **named: Any) -> Any:
            result = function(connection, *more, **named)
            if fault is not None:
                raise sqlite_error(fault[0])
            return result

        return super()._transaction(work, *args, **kwargs)

    def stop(self) -> None:
        self._running = False

    def __del__(self) -> None:
        """Warn of nothing: what a killed daemon has open is closed by its Life."""


def copy_state(source: Path, target: Path, cut: Callable[[bytes], bytes]) -> None:
    """Copy a state folder as a crash leaves it. `cut`: what it leaves of the log."""
    target.mkdir()
    for file in sorted(source.iterdir()):
        if file.is_file() and not file.name.endswith(("-shm", ".lock")):
            data = file.read_bytes()
            (target / file.name).write_bytes(cut(data) if file.name.endswith("-wal") else data)


def torn(before: bytes, after: bytes, share: float) -> bytes:
    """Return a log of which the last writes are on disk in part: `share` of what is new in `after`."""
    first, most = 0, len(before)  # the first byte that differs lies between: a log has a million
    while first < most:
        middle = (first + most + 1) // 2
        if before[first:middle] == after[first:middle]:
            first = middle
        else:
            most = middle - 1
    cut = first + round(share * (len(after) - first))
    return after[:cut] + before[cut:]
