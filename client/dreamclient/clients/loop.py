"""AsyncDreamClient: leo's side of the socket on his own event loop.

Sync hooks run on the loop, at once; async ones run as tasks, so that the client goes on reading and a hook
may itself call the daemon. Everything here belongs to the loop's thread.
"""

import asyncio
import inspect
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Any, Self

from dreamclient.clients.base import Client, Run, result_of
from dreamclient.clients.link import FLAGS, Link
from dreamclient.errors import CallTimeout
from dreamclient.protocol.rpc import Reply, Request
from dreamclient.protocol.session import CLOSED, Session


class LoopLink(Link):
    """A link that never waits: what does not go out at once goes when the loop finds room, and meanwhile contexts are
    dropped."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        super().__init__(sock, session)
        self._loop = asyncio.get_running_loop()
        self._file = sock.fileno()
        self._unsent = bytearray()

    @property
    def is_open(self) -> bool:
        return not (self._ended or self._loop.is_closed())

    async def wait(self, wait_s: float | None) -> None:
        came = asyncio.Event()
        self._loop.add_reader(self._file, came.set)
        try:
            async with asyncio.timeout(wait_s):
                await came.wait()
        except TimeoutError:
            pass
        finally:
            self._loop.remove_reader(self._file)

    def _send(self, data: bytes, deadline: float | None) -> None:  # noqa: ARG002
        self._unsent += data
        self._write()

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent, FLAGS)]
        except BlockingIOError:
            self._loop.add_writer(self._file, self._write)
        except OSError:  # the client reads the end too
            self._unsent.clear()
        self._waits_for_room = bool(self._unsent)
        if not self._unsent:
            self._loop.remove_writer(self._file)

    def end(self) -> None:
        with suppress(RuntimeError):  # its loop was closed under it
            self._loop.remove_writer(self._file)
        super().end()


class LoopRun(Run):
    """A task, on the loop that runs."""

    def begin(self, work: Callable[[Run], Any]) -> None:
        self.tried = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.task = self.loop.create_task(work(self), name="dreamd-client")

    @property
    def is_alive(self) -> bool:
        return not (self.task.done() or self.loop.is_closed())


class AsyncDreamClient(Client):
    """Connects a host to dreamd, keeps it connected, and serves its hooks, which may be async functions.

    The arguments are those of `dreamclient.clients.base.Client`.
    """

    _kinds = (LoopRun, LoopLink)

    def _idle(self) -> None:
        super()._idle()
        self._answers: set[asyncio.Task[None]] = set()

    async def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting; wait up to `wait_s` for the first attempt to end; return whether it is connected.
        Starting twice does nothing more; after `close` it starts again."""
        if (run := self._began()) and wait_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await run.tried.wait()
        return self.connected

    async def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/reference/protocol.md) and return its result.

        Raise NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()

        def done(reply: Reply | None) -> None:
            if not future.done():  # its caller was cancelled, and has not run yet
                future.set_result(reply)

        forget = self.ask(method, list(params), done, time.monotonic() + timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                return result_of(await future)
        except TimeoutError:
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s") from None
        finally:
            forget()

    async def close(self) -> None:
        """End the connection, and cancel the hooks that still run; wait half a second for them at most."""
        self._wanted = False
        if self._run is not None:
            tasks = {self._run.task, *self._answers} - {asyncio.current_task()}
            for each in tasks:
                each.cancel()
            await asyncio.wait(tasks, timeout=self._timing.close_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _work(self, run: Run) -> None:
        try:
            with closing(self._steps(run)) as steps:
                for link, wait_s in steps:
                    await (asyncio.sleep(wait_s or 0.0) if link is None else link.wait(wait_s))
        finally:
            run.session.trouble = CLOSED

    def _answer(self, link: Link, request: Request, value: Any) -> None:
        if inspect.isawaitable(value):
            task = asyncio.create_task(self._awaited(link, request, value))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
        else:
            super()._answer(link, request, value)

    async def _awaited(self, link: Link, request: Request, value: Awaitable[Any]) -> None:
        try:
            link.answer(request, await value)
        except BaseException as error:
            link.answer(request, None, error)
            if not isinstance(error, Exception):  # a cancellation is never swallowed
                raise
