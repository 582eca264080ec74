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
from types import TracebackType
from typing import Any, Self, cast

from dreamclient.clients.base import Client
from dreamclient.errors import CallTimeout, DreamError, NotConnected, UsageError
from dreamclient.messages import Method
from dreamclient.protocol.rpc import Peer, Reply, Request
from dreamclient.protocol.session import CONNECTING, Host

UNSENT_BYTES = 64 * 1024  # beyond, the daemon does not read, and contexts are dropped


class AsyncLink(asyncio.Protocol):
    """One connection: the asyncio counterpart of `dreamclient.clients.link.Link`. `lost` says when and why it ended."""

    def __init__(
        self, sock: socket.socket, host: Host, serve: Callable[["AsyncLink", Request], None]
    ) -> None:
        self.lost: asyncio.Future[NotConnected] = asyncio.get_running_loop().create_future()
        self._sock = sock
        self._host = host
        self._serve = serve
        self._peer = Peer()
        self._stalled = False
        self._transport: asyncio.Transport

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES, low=0)

    def pause_writing(self) -> None:
        self._stalled = True

    def resume_writing(self) -> None:
        self._stalled = False

    def data_received(self, data: bytes) -> None:
        for event in self._peer.receive_data(data):
            if isinstance(event, Request):
                self._serve(self, event)
            elif isinstance(event, Reply):
                if not event.token.done():  # its caller was cancelled, and has not run yet
                    event.token.set_result(event)
            else:
                self._host.notified(event)
        if self._peer.data_owed:
            self._transport.write(self._peer.data_to_send())
        if self._peer.broken is not None:
            self._end(f"the peer broke the protocol: {self._peer.broken}")

    def connection_lost(self, error: Exception | None) -> None:
        self._end(
            "the daemon closed the connection" if error is None else f"the connection has ended: {error}"
        )

    def _end(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(NotConnected(why))
        for future in self._peer.pending.values():
            if not future.done():
                future.set_exception(NotConnected("the connection ended before the answer"))

    # the client calls these

    def offer(self, ctx: Any) -> bool:
        """Write a context; False where it was dropped, and counted."""
        failures = self._host.failures
        if self._stalled or self.lost.done():
            failures.count("stalled" if self._stalled else "not_connected")
            return False
        untold = failures.untold()
        try:
            self._transport.write(self._peer.notify(Method.CONTEXT, [self._host.context(ctx, untold)]))
        except Exception:  # noqa: BLE001 a context may hold anything, and the reply must go on
            failures.count("unsendable")
            return False
        failures.told(untold)
        return True

    async def call(self, method: str, params: list[Any], timeout_s: float) -> Reply:
        """Call the daemon; its Reply. Raises NotConnected, CallTimeout, UsageError (it cannot be sent)."""
        if self.lost.done():
            raise self.lost.result()
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        msgid, data = self._peer.call(method, params, future)
        self._transport.write(data)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s") from None
        finally:
            self._peer.pending.pop(msgid, None)

    def respond(self, msgid: int, result: Any) -> None:
        """Answer a request; nothing where nobody is there to read it."""
        if not self.lost.done():
            self._transport.write(self._peer.respond(msgid, result))

    def fail(self, msgid: int, code: int, message: str, detail: dict[str, Any] | None) -> None:
        """Answer a request with an error, likewise."""
        if not self.lost.done():
            self._transport.write(self._peer.fail(msgid, code, message, detail))

    def abort(self) -> None:
        """Close now, whatever is unsent."""
        self._end("closed")
        self._transport.abort()

    def abandon(self) -> None:
        """In a forked child: close this copy. A shutdown would end the parent's connection too."""
        with suppress(OSError):
            os.close(self._sock.detach())


class AsyncDreamClient(Client[AsyncLink]):
    """Connects a host to dreamd, keeps it connected, and serves its hooks, which may be async functions.

    The arguments are those of `dreamclient.clients.base.Client`.
    """

    def _idle(self) -> None:
        super()._idle()
        self._task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._tried = asyncio.Event()

    async def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting; wait up to `wait_s` for the first attempt to end; whether it is connected.
        Starting twice does nothing more, and a closed client stays closed."""
        if self._task is None:
            self._forked = False
            self._host.trouble = CONNECTING
            self._task = asyncio.create_task(self._run(), name="dreamd-client")
        if wait_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._tried.wait()
        return self.connected

    async def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/protocol.md) and return its result.

        Raises NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        reply = await self._reach(method).call(method, list(params), timeout_s)
        if reply.error is not None:
            raise reply.error
        return reply.result

    async def dream_now(self, ctx: Any = None, timeout_s: float = 330.0) -> dict[str, Any]:
        """Dream past all gates with this host's hooks; return `{dialog, outcome, lines}` at its end."""
        answer: dict[str, Any] = await self.call(Method.NOW, ctx, None, timeout_s=timeout_s)
        return answer

    async def close(self) -> None:
        """End the connection, and cancel the hooks that still run; wait half a second for them at most."""
        if self._task is not None:
            tasks = {self._task, *self._answers} - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=self._timing.close_s)
            self._host.trouble = "closed"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except (DreamError, OSError) as error:
                self._host.lost(error)
            except Exception as error:  # noqa: BLE001 a bug of ours must not end dreaming for good
                self._host.failures.count("internal")
                self._host.lost(NotConnected(f"a bug in dreamclient: {type(error).__name__}"))
            self._tried.set()
            await asyncio.sleep(self._backoff.next_s())

    async def _session(self) -> None:
        sock = self._connect()
        link = AsyncLink(sock, self._host, self._serve)
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=sock)
        self._link = link
        try:
            await self._greet(link)
            raise await asyncio.shield(link.lost)
        finally:
            self._link = self._ready = None
            link.abort()

    async def _greet(self, link: AsyncLink) -> None:
        hello = self._host.hello()
        reply = await link.call(Method.HELLO, [hello], self._timing.hello_s)
        self._host.failures.told(hello["failures"])
        welcome = self._host.welcome(reply)
        if welcome:
            self._backoff.reset()
            self._ready = link
        self._tried.set()
        seed = self._host.seed() if welcome else None
        if seed is not None:
            try:
                taken = (await link.call(Method.SEED, [seed], self._timing.hello_s)).error is None
            except (CallTimeout, UsageError):
                taken = False
            if not taken:
                self._host.failures.count("seed")

    def _serve(self, link: AsyncLink, request: Request) -> None:
        hooks, method = self._host.hooks, request.method
        try:
            value = hooks.invoke(method, request.params)
            if inspect.isawaitable(value):
                task = asyncio.create_task(self._answer(link, request, value))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
                return
            answer = hooks.settle(method, request.params, value)
        except Exception as error:  # noqa: BLE001 whatever a hook raises is answered
            link.fail(request.msgid, *self._host.failed(method, error))
        else:
            link.respond(request.msgid, answer)

    async def _answer(self, link: AsyncLink, request: Request, value: Awaitable[Any]) -> None:
        try:
            answer = self._host.hooks.settle(request.method, request.params, await value)
        except BaseException as error:
            link.fail(request.msgid, *self._host.failed(request.method, error))
            if not isinstance(error, Exception):  # a cancellation is never swallowed
                raise
        else:
            link.respond(request.msgid, answer)
