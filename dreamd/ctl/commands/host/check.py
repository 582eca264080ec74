"""The conformance test: speak with a command as the daemon would, and name the first thing that is wrong."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from dreamclient.messages import Method
from msgspec import Struct

from dreamd.ctl.commands.host.child import Child, HostFailed
from dreamd.ctl.commands.host.protocol import (
    Answer,
    BadLine,
    Hello,
    Report,
    answer_value,
    call_line,
    parse_line,
)
from dreamd.dream.model import TEXT_CHARS

META = {"kind": "check", "dialog": 1, "trace_id": "check-1", "expert": "structural", "max_tokens": 50}
# Texts on which a parser fails that looks for quotation marks, or that knows ASCII alone.
QUOTED = 'Who said "id": 7}, {"text":"no"} and C:\\new?\n\tI did.'
FOREIGN = "Там, где река — 川のそば — l'été 🙂"
LONG = "the river is near " * (TEXT_CHARS // 18)
SOON_S = 0.5  # from a closed input to the rest of what the host has printed, or to its end


class Fault(Exception):
    """What is wrong with the host."""


class Timed(Struct):
    """The calls of one hook: how many, and how long the slowest took."""

    calls: int = 0
    slowest_ms: float = 0.0


class Checked(Struct):
    """What a check has found. `fault` is None if the host keeps the protocol; `at` is where the fault was met."""

    name: str | None = None
    provides: list[str] = []
    contexts: int = 0
    calls: dict[str, Timed] = {}
    ended: bool = False
    at: str | None = None
    fault: str | None = None


async def check_host(words: Sequence[str], stderr: int | None, answer_s: float) -> Checked:
    """Start the command, speak with it, and return what was found. Each answer has `answer_s` seconds."""
    try:
        child = await Child.start(words, stderr, lambda: None)
    except HostFailed as error:
        return Checked(at="start", fault=str(error))
    talk = Talk(child, answer_s)
    try:
        await talk.check()
    except (Fault, BadLine) as error:
        talk.found.at = talk.at
        line = f"line {talk.lines}: " if isinstance(error, BadLine) else ""
        talk.found.fault = f"{line}{error}"
    finally:
        await child.end(0.0)
    return talk.found


class Talk:
    """A conversation with one host. `at` is the step that it has reached."""

    def __init__(self, child: Child, answer_s: float) -> None:
        self.found = Checked()
        self.at = "hello"
        self.lines = 0  # that the host has printed
        self._child = child
        self._answer_s = answer_s
        self._answered = dict[int, str]()  # calls that were answered: id and step
        self._open = dict[int, str]()
        self._now = asyncio.get_running_loop().time

    async def check(self) -> None:
        """Go through all steps. Raise Fault or BadLine at the first that is wrong."""
        hello = await self._hello()
        said = await self._generate(1, "Who are you?")
        heard = await self._observe(1, said)
        await self._observe(2, QUOTED)
        await self._generate(3, QUOTED)
        await self._observe(4, FOREIGN)
        await self._generate(5, f"{FOREIGN} {LONG}"[:TEXT_CHARS])
        if Method.RECALL in hello.provides:
            await self._call(Method.RECALL, ("river", 3), {})
        if Method.UNOBSERVE in hello.provides:
            await self._call(Method.UNOBSERVE, (heard.get("added"),), META | {"turn": 1})
        if hello.concurrent:
            await self._two_at_once()
        await self._end()

    async def _hello(self) -> Hello:
        line = await self._line("it said no hello in {} s", "{} before its hello")
        if not isinstance(line, Hello):
            raise Fault("no hello: its first line is another one")
        self.found.name, self.found.provides = line.name, list(line.provides)
        if missing := {Method.GENERATE, Method.OBSERVE} - set(line.provides):
            raise Fault(f"it provides no {' and no '.join(sorted(missing))}: a dream needs both")
        return line

    async def _generate(self, turn: int, seed: str) -> str:
        about = META | {"turn": turn, "speaker": "leo", "role": "leo_dream", "candidate": 1}
        text: str = (await self._call(Method.GENERATE, (seed, 0.8, 0.5), about))["text"]
        if not text.strip():
            raise Fault("its text is empty: a dialogue ends there")
        return text

    async def _observe(self, turn: int, text: str) -> dict[str, Any]:
        speaker, role = ("leo", "leo_dream") if turn % 2 else ("friend", "friend")
        about = META | {"turn": turn, "speaker": speaker, "role": role, "candidate": 1}
        heard: dict[str, Any] = await self._call(Method.OBSERVE, (text,), about)
        return heard

    async def _call(self, method: str, values: tuple[Any, ...], meta: dict[str, Any]) -> Any:
        number, sent = await self._ask(method, values, meta)
        answer = await self._answer()
        if answer.id != number:
            raise Fault(f"its answer has the id {answer.id}; the call has {number}")
        return self._take(answer, method, sent, values)

    async def _ask(self, method: str, values: tuple[Any, ...], meta: dict[str, Any]) -> tuple[int, float]:
        number = 6 + len(self._answered) + len(self._open)  # no host may count by itself
        self.at = self._open[number] = method
        await self._child.send_line(call_line(number, method, values, meta))
        return number, self._now()

    async def _answer(self) -> Answer:
        """Return the next answer, which may be to another call. Raise Fault if that call is not open."""
        line = await self._line("no answer in {} s", "{} before its answer")
        while not isinstance(line, Answer):
            line = await self._line("no answer in {} s", "{} before its answer")
        return line

    def _take(self, answer: Answer, method: str, sent: float, values: tuple[Any, ...]) -> Any:
        self._answered[answer.id] = self._open.pop(answer.id)
        timed = self.found.calls.setdefault(method, Timed())
        timed.calls += 1
        timed.slowest_ms = max(timed.slowest_ms, round(1000 * (self._now() - sent), 1))
        if answer.error is not None:
            raise Fault("it answered with an error")
        return answer_value(method, answer, values[1] if method == Method.RECALL else 0)

    async def _two_at_once(self) -> None:
        about = META | {"turn": 7, "speaker": "leo", "role": "leo_dream"}
        values = ("river", 0.8, 0.5)
        asked = [await self._ask(Method.GENERATE, values, about | {"candidate": one}) for one in (1, 2)]
        for _, sent in asked:
            answer = await self._answer()
            if answer.id not in self._open:
                raise Fault(f"its answer has the id {answer.id}, which was not asked")
            self._take(answer, Method.GENERATE, sent, values)

    async def _end(self) -> None:
        """End the input of the host, and read the rest. Raise Fault if it does not end."""
        self.at = "end"
        self._child.close_input()
        deadline = self._now() + self._answer_s
        while (left_s := deadline - self._now()) > 0:
            data = await _within(left_s, self._child.receive_line)
            if data is None:
                break
            if not data:
                ended = await self._child.ending()
                if not ended.startswith(("it ended with exit code 0", "it closed")):
                    raise Fault(f"{ended} when its input ended")
                self.found.ended = True
                return
            if isinstance(self._parsed(data), Answer):
                raise Fault("it answered a call that was not made")
        raise Fault(f"it goes on {self._answer_s:g} s after its input has ended")

    async def _line(self, late: str, ended: str) -> Hello | Report | Answer:
        """Return the next line. Raise Fault with `late` if none comes in time, or with `ended` if the host ended."""
        data = await self._received(self._answer_s)
        if data is None:
            again = await self._received(self._answer_s)
            words = late.format(f"{self._answer_s:g}")
            raise Fault(f"{words}; it came later" if again else words)
        if not data:
            raise Fault(ended.format(await self._child.ending()))
        return self._parsed(data)

    def _parsed(self, data: bytes) -> Hello | Report | Answer:
        self.lines += 1
        line = parse_line(data)
        if isinstance(line, Hello) and self.found.name is not None:
            raise Fault("it said hello twice")
        if isinstance(line, Report):
            self.found.contexts += 1
        if isinstance(line, Answer) and line.id in self._answered:
            raise Fault(f"it answered the call {line.id} ({self._answered[line.id]}) twice")
        return line

    async def _received(self, most_s: float) -> bytes | None:
        """Return the next bytes of a line, nothing at the end of the output, None if no line comes in time. Raise Fault
        if the host has closed its input and goes on."""
        reading = asyncio.ensure_future(self._child.receive_line())
        closed = asyncio.ensure_future(self._child.input_closed())
        try:
            await asyncio.wait({reading, closed}, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
            if closed.done():
                await asyncio.wait({reading}, timeout=SOON_S)
                if not reading.done():
                    raise Fault("it closed its input: no call can reach it")
            return reading.result() if reading.done() else None
        finally:
            for task in (reading, closed):
                task.cancel()


async def _within(most_s: float, read: Callable[[], Any]) -> bytes | None:
    try:
        async with asyncio.timeout(most_s):
            data: bytes = await read()
            return data
    except TimeoutError:
        return None
