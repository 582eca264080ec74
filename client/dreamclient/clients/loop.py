"""AsyncDreamClient: leo's side of the socket, for a host on an asyncio loop."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Self, TypeVar

from dreamclient.clients.link import Link
from dreamclient.clients.process import start_thread
from dreamclient.clients.run import Run
from dreamclient.clients.thread import LONGEST_S, Client, deadline_in, result_of
from dreamclient.errors import CallTimeout, NotConnected
from dreamclient.protocol.rpc import Reply, Request

T = TypeVar("T")


class AsyncDreamClient(Client):
    """A client that connects a host to dreamd, keeps it connected, and serves its hooks. The hooks and `on_event` run
    on the loop that started the client. They may be async functions, and those may call the daemon themselves.

    The arguments are those of `dreamclient.clients.thread.Client`.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, *hooks: Any, **more: Any) -> None:
        super().__init__(*hooks, **more)
        self._tasks: set[asyncio.Task[None]] = set()
        if (on_event := self._session.on_event) is not None:
            self._session.on_event = lambda event: self._on_the_loop(self._begin, self._tell, on_event, event)

    async def start(self, wait_s: float = 0.0) -> bool:
        """Start connecting, wait up to `wait_s` for the first attempt to end, and return whether it is connected. A
        second start does nothing. After `close` a start connects again."""
        if (run := self._began()) and wait_s:
            await _on_a_thread(run.tried.wait, min(wait_s, LONGEST_S))
        return self.connected

    async def call(self, method: str, *params: Any, timeout_s: float = 10.0) -> Any:
        """Call a method of the daemon (docs/reference/protocol.md) and return its result.

        Raise NotConnected, CallTimeout, RemoteError (the daemon answered with an error), UsageError."""
        loop, deadline = asyncio.get_running_loop(), deadline_in(timeout_s)
        answered: asyncio.Future[Reply | None] = loop.create_future()

        def end(reply: Reply | None) -> None:
            if not answered.done():  # its caller was cancelled, and has not run yet
                answered.set_result(reply)

        def done(reply: Reply | None) -> None:  # on the client's thread
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(end, reply)

        forget = await _on_a_thread(self.ask, method, list(params), done, deadline)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return result_of(await answered)
        except TimeoutError:
            raise CallTimeout(f"no answer to {method} in {timeout_s:g} s") from None
        finally:
            forget()

    async def close(self) -> None:
        """End the connection, and cancel the hooks that still run. Wait for them for half a second at most."""
        run = self._run
        self.stop()
        ours, loop = (
            asyncio.current_task(),
            asyncio.get_running_loop(),
        )  # a hook of another loop ended with that
        hooks = {hook for hook in self._tasks if hook is not ours and hook.get_loop() is loop}
        for hook in hooks:
            hook.cancel()
        if hooks:
            await asyncio.wait(hooks, timeout=self._timing.close_s)
        if run is not None:
            await _on_a_thread(run.join, self._timing.close_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def trouble(self) -> str:
        return "the event loop has ended" if self._run is not None and self._has_ended() else super().trouble

    def _has_ended(self) -> bool:
        return self._loop is None or self._loop.is_closed()

    def _link(self, method: str = "") -> Link | None:
        return None if self._has_ended() else super()._link(method)

    def _began(self) -> Run | None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # hooks would have nowhere to run
            return None
        return super()._began()

    def _on_the_loop(self, function: Callable[..., object], *arguments: Any) -> None:
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # it has ended
            self.stop()

    def _begin(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        task = asyncio.create_task(work(*arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, on_event: Callable[[Any], object], event: Any) -> None:
        try:
            heard = on_event(event)
            if inspect.isawaitable(heard):
                await heard
        except Exception:  # noqa: BLE001 the host's own code must not end the connection
            self.count("on_event")

    def _serve_hook(self, link: Link, request: Request) -> None:
        self._on_the_loop(self._begin, self._run_hook, link, request)

    async def _run_hook(self, link: Link, request: Request) -> None:
        try:
            value = self._session.hooks.invoke(request.method, request.params)
            value = await value if inspect.isawaitable(value) else value
        except BaseException as error:
            answered = _on_a_thread(link.answer, request, None, error)
            if not isinstance(error, Exception):  # a cancellation is answered, and never swallowed
                raise
            await answered
        else:
            await _on_a_thread(link.answer, request, value)


def _on_a_thread(function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Begin a call on a thread of its own, and return its result to await. The end of the loop and the exit of the host
    wait for each thread of `asyncio.to_thread`, and this one may wait for a daemon that is stopped."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def end(result: Any, error: Exception | None) -> None:
        if not ended.done():  # it was cancelled
            if error is None:
                ended.set_result(result)
            else:
                ended.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except Exception as caught:  # noqa: BLE001 the one that awaits it gets it
            error = caught
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(end, result, error)

    try:
        start_thread(
            threading.Thread(target=copy_context().run, args=(run,), name="dreamd-waits", daemon=True)
        )
    except RuntimeError:
        ended.set_exception(NotConnected("the system has no thread left"))
    return ended
