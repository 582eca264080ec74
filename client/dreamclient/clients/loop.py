"""AsyncDreamClient: leo's side of the socket on his own event loop.

Sync hooks run on the loop, at once; async ones run as tasks, so that the client goes on reading and a hook
may itself call the daemon. Everything here belongs to the loop's thread.
"""

import asyncio
import inspect
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self, cast

from dreamclient.clients.base import Client, result_of
from dreamclient.errors import CallTimeout, NotConnected
from dreamclient.messages import Method
from dreamclient.protocol.contexts import context_message, small_context
from dreamclient.protocol.rpc import Reply, Request
from dreamclient.protocol.session import CLOSED, CONNECTING, Session

UNSENT_BYTES = 64 * 1024  # beyond, the daemon does not read, and contexts are dropped


class LoopLink(asyncio.Protocol):
    """One connection, and the session that talks over it. `lost` says when and why it ended."""

    def __init__(self, sock: socket.socket, session: Session, run: Callable[[Request], None]) -> None:
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[None] = loop.create_future()  # hello was
        self.lost: asyncio.Future[NotConnected] = loop.create_future()
        self._sock = sock
        self._session = session
        self._run = run
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still be written to."""
        return not (self.lost.done() or self.lost.get_loop().is_closed())

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._session.begin()
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._session.receive(data)
        except NotConnected as error:
            self.flush()
            self.end(error)
            return
        if self._session.answered and not self.answered.done():
            self.answered.set_result(None)
        for request in requests:
            self._run(request)
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        why = "the daemon closed the connection" if error is None else f"the connection has ended: {error}"
        self.end(NotConnected(why))

    # the client calls these

    def flush(self) -> None:
        """Write what the session has to say."""
        out, self._session.out = self._session.out, []
        if out and self.is_open and self._transport is not None:
            self._transport.write(b"".join(out))

    def offer(self, ctx: Any) -> bool:
        """Write a context; False if it was dropped, and counted."""
        failures, transport = self._session.failures, self._transport
        if transport is None or not self.is_open or transport.get_write_buffer_size() > UNSENT_BYTES:
            failures.count("stalled" if self.is_open else "not_connected")
            return False
        taken = failures.take()
        try:
            transport.write(context_message(ctx, taken))
        except Exception:  # noqa: BLE001 a context may hold anything, and the reply must go on
            failures.put_back(taken)
            failures.count("unsendable")
            return False
        return True

    async def call(self, method: str, params: list[Any], timeout_s: float) -> Reply | None:
        """Call the daemon; return its Reply, or None if the connection ended. Raise CallTimeout, UsageError."""
        if not self.is_open:
            return None
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()

        def done(reply: Reply | None) -> None:
            if not future.done():  # its caller was cancelled, and has not run yet
                future.set_result(reply)

        msgid, data = self._session.call(method, params, done)
        self._session.out.append(data)
        self.flush()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s") from None
        finally:
            self._session.forget(msgid)

    def end(self, why: NotConnected) -> None:
        """End it, if it has not ended, and close at once, whatever is unsent."""
        if not self.lost.done():
            self.lost.set_result(why)
            self._session.end()
        if self._transport is not None:
            with suppress(RuntimeError):  # its loop was closed under it
                self._transport.abort()

    def abandon(self) -> None:
        """In a forked child: close this copy. A shutdown would end the parent's connection too."""
        with suppress(OSError):
            os.close(self._sock.detach())


class AsyncDreamClient(Client):
    """Connects a host to dreamd, keeps it connected, and serves its hooks, which may be async functions.

    The arguments are those of `dreamclient.clients.base.Client`.
    """

    def _idle(self) -> None:
        super()._idle()
        self._task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._tried = asyncio.Event()

    async def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting; wait up to `wait_s` for the first attempt to end; return whether it is connected.
        Starting twice does nothing more; after `close` it starts again."""
        if self._began() and wait_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._tried.wait()
        return self.connected

    async def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/reference/protocol.md) and return its result.

        Raise NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        return result_of(await self._reach(method).call(method, list(params), timeout_s))

    async def dream_now(self, ctx: Any = None, timeout_s: float = 330.0) -> dict[str, Any]:
        """Dream past all gates with this host's hooks; return `{dialog, outcome, lines}` at its end."""
        small = None if ctx is None else small_context(ctx)
        answer: dict[str, Any] = await self.call(Method.NOW, small, None, timeout_s=timeout_s)
        return answer

    async def close(self) -> None:
        """End the connection, and cancel the hooks that still run; wait half a second for them at most."""
        self._wanted = False
        if self._task is not None:
            tasks = {self._task, *self._answers} - {asyncio.current_task()}
            for each in tasks:
                each.cancel()
            await asyncio.wait(tasks, timeout=self._timing.close_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _begin(self) -> None:
        if self._task is None or self._task.done() or self._task.get_loop().is_closed():
            loop = asyncio.get_running_loop()
            self._idle()
            self._session.trouble = CONNECTING
            self._task = loop.create_task(self._keep(), name="dreamd-client")

    async def _keep(self) -> None:
        """Connect, and connect again when that has ended."""
        try:
            while True:
                try:
                    error: BaseException = await self._connection()
                except Exception as caught:  # noqa: BLE001 counted
                    error = caught
                wait_s = self._failed(error)
                self._tried.set()
                await asyncio.sleep(wait_s)
        finally:
            self._session.trouble = CLOSED

    async def _connection(self) -> NotConnected:
        sock = self._connect()
        link = self._link = LoopLink(sock, self._session, self._serve)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=sock)
            first = (link.answered, link.lost)
            await asyncio.wait(first, timeout=self._timing.hello_s, return_when=asyncio.FIRST_COMPLETED)
            if not (link.answered.done() or link.lost.done()):
                return NotConnected(f"the daemon did not answer hello in {self._timing.hello_s:g} s")
            if self._session.ready:
                self._welcomed(link)
            self._tried.set()
            return await asyncio.shield(link.lost)
        finally:
            self._link = self._ready = None
            link.end(NotConnected("closed"))

    def _serve(self, request: Request) -> None:
        try:
            value = self._session.invoke(request)
        except Exception as error:  # noqa: BLE001 whatever a hook raises is answered
            self._session.fail(request, error)
            return
        if inspect.isawaitable(value):
            task = asyncio.create_task(self._answer(self._link, request, value))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
        else:
            self._session.answer(request, value)

    async def _answer(self, link: LoopLink, request: Request, value: Awaitable[Any]) -> None:
        try:
            result = await value
        except BaseException as error:
            if link.is_open:
                self._session.fail(request, error)
                link.flush()
            if not isinstance(error, Exception):  # a cancellation is never swallowed
                raise
        else:
            if link.is_open:
                self._session.answer(request, result)
                link.flush()
