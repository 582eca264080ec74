"""Keep a command running as a host. Each run of it has a session with the daemon, and only that ends with the run."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamclient.clients.loop import AsyncDreamClient
from dreamclient.messages import Method
from dreamclient.protocol.failures import Failures
from dreamclient.protocol.hooks import Hook

from dreamd.ctl.commands.host.calls import Calls
from dreamd.ctl.commands.host.child import Child, HostFailed
from dreamd.ctl.commands.host.protocol import Answer, BadLine, Hello, Report, parse_line
from dreamd.ctl.daemon.connection import CONNECT_S

ANSWER_S = 25.0  # less than the 30 s after which the daemon gives up, so that the reason can be reported

# What is said once of each kind of failure. All are counted, and `dreamctl status` shows the counts.
_NOTES = {
    "wrong_id": "it answered a call that is not open: each call gets one answer, with its own id",
    "late": "an answer came after its deadline, and was dropped",
}


@dataclass(frozen=True)
class Waits:
    """The time limits, in seconds."""

    answer_s: float = ANSWER_S
    hello_s: float = ANSWER_S  # a host may read its memory before it
    first_retry_s: float = 1.0  # doubling, to
    last_retry_s: float = 60.0

    def next_retry_s(self, wait_s: float, ran_s: float) -> float:
        """Return the wait before the next start, if the last was `wait_s` (0 at first) and the run lasted `ran_s`."""
        if not wait_s or ran_s > wait_s:  # it ran well
            return self.first_retry_s
        return min(2 * wait_s, self.last_retry_s)


@dataclass(frozen=True)
class Wanted:
    """What the user asked for: the command, the daemon's socket, and what replaces a part of the hello."""

    words: Sequence[str]
    socket: Path
    name: str | None = None
    origin: Sequence[str] = ()
    stderr: int | None = 2  # a descriptor; None: it is dropped and counted


class Hosting:
    """The runs of one command. `tell` gets sentences for the user, none with a text of the host."""

    def __init__(self, wanted: Wanted, waits: Waits, tell: Callable[[str], object]) -> None:
        self._wanted, self._waits, self._tell = wanted, waits, tell
        self._failures = Failures()  # one for all runs: the next hello reports what the last run left
        self._noted = set[str]()

    async def run(self) -> None:
        """Run the command again and again, until this task is cancelled."""
        loop, wait_s = asyncio.get_running_loop(), 0.0
        while True:
            began = loop.time()
            try:
                await self._run_once()
            except HostFailed as error:
                wait_s = self._waits.next_retry_s(wait_s, loop.time() - began)
                self._failures.count("process_ended")
                self._tell(f"{error}; it starts again in {wait_s:g} s")
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> None:
        """Run the command until its end. Raise HostFailed then."""
        waits, wanted = self._waits, self._wanted
        dropped = lambda: self._failures.count("stderr_dropped")  # noqa: E731
        child = await Child.start(wanted.words, wanted.stderr, dropped)
        try:
            hello = await self._hello(child)
            calls = Calls(child, concurrent=hello.concurrent, answer_s=waits.answer_s)
            client = self._client(hello, calls)
            try:
                await self._greet(client, hello)
                await self._serve(child, client, calls)
            finally:  # no open call is answered: to the daemon the host is gone, and may come back
                await client.close()
        finally:
            await child.end()

    async def _hello(self, child: Child) -> Hello:
        hello_s = self._waits.hello_s
        advice = "; `dreamctl host --check` says more"
        try:
            async with asyncio.timeout(hello_s):
                data = await child.receive_line()
            line = parse_line(data) if data else None
        except TimeoutError:
            raise HostFailed(f"it said no hello in {hello_s:g} s{advice}") from None
        except BadLine as error:
            raise HostFailed(f"its first line is no hello: {error}{advice}") from None
        if line is None:
            raise HostFailed(f"{await child.ending()} before its hello{advice}")
        if not isinstance(line, Hello):
            raise HostFailed(f"its first line is no hello{advice}")
        return line

    def _client(self, hello: Hello, calls: Calls) -> AsyncDreamClient:
        wanted = self._wanted
        client = AsyncDreamClient(
            socket_path=wanted.socket,
            name=wanted.name or hello.name,
            origin=wanted.origin or hello.origin,
            failures=self._failures,
        )
        client.serve(**_hooks(calls, hello.provides), field_id=lambda: hello.field)
        return client

    async def _greet(self, client: AsyncDreamClient, hello: Hello) -> None:
        name = self._wanted.name or hello.name
        if await client.start(CONNECT_S):
            self._tell(f"{name} is connected, and provides {', '.join(hello.provides) or 'no hook'}")
        else:
            self._tell(f"{name} waits for a daemon: {client.trouble}")

    async def _serve(self, child: Child, client: AsyncDreamClient, calls: Calls) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(child, client, calls))
                group.create_task(_watch_input(child))
                group.create_task(self._watch_calls(calls))
        except* HostFailed as failed:
            raise failed.exceptions[0] from None

    async def _read(self, child: Child, client: AsyncDreamClient, calls: Calls) -> None:
        """Take the lines of the host. Raise HostFailed at its end."""
        while True:
            try:
                if not (data := await child.receive_line()):
                    raise HostFailed(await child.ending())
                line = parse_line(data)
                if isinstance(line, Hello):
                    raise BadLine("a second hello")
            except BadLine as error:
                self._note("wrong_line", f"a line that it printed was dropped: {error}")
                if error.call is None:
                    continue
                line = Answer(id=error.call, error="BadLineError")
            if isinstance(line, Report):
                client.offer(line.context)
            elif kind := calls.settle(line):
                self._note(kind, _NOTES[kind])

    async def _watch_calls(self, calls: Calls) -> None:
        await calls.hung.wait()
        raise HostFailed(f"it left two calls in a row without an answer in {self._waits.answer_s:g} s")

    def _note(self, kind: str, words: str) -> None:
        """Count a failure of the host, and tell the first of its kind."""
        self._failures.count(kind)
        if kind not in self._noted:
            self._noted.add(kind)
            self._tell(words)


async def _watch_input(child: Child) -> None:
    await child.input_closed()
    ended = await child.ending()
    raise HostFailed("it closed its input" if ended == "it closed its output" else ended)


def _hooks(calls: Calls, provides: Sequence[str]) -> dict[str, Hook]:
    """Return the hooks that the host provides, by name."""

    async def generate(seed: str, temperature: float, semantic_weight: float, meta: Mapping[str, Any]) -> Any:
        return await calls.ask(Method.GENERATE, (seed, temperature, semantic_weight), meta)

    async def observe(text: str, meta: Mapping[str, Any]) -> Any:
        return await calls.ask(Method.OBSERVE, (text,), meta)

    async def recall(query: str, n: int) -> Any:
        return await calls.ask(Method.RECALL, (query, n))

    async def unobserve(what: Any, meta: Mapping[str, Any]) -> Any:
        return await calls.ask(Method.UNOBSERVE, (what,), meta)

    hooks: dict[str, Hook] = {
        Method.GENERATE: generate,
        Method.OBSERVE: observe,
        Method.RECALL: recall,
        Method.UNOBSERVE: unobserve,
    }
    return {name: hooks[name] for name in provides}
