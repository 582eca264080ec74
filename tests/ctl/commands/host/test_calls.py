"""The calls to one host: one at a time unless it is concurrent, late answers, and a host that hangs."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dreamclient.messages import Method

from dreamd.ctl.commands.host.calls import Calls, HostError, HostTimeout
from dreamd.ctl.commands.host.child import Child
from dreamd.ctl.commands.host.protocol import Answer, parse_line
from tests.helpers.waiting import until_on_loop

GENERATE = (Method.GENERATE, ("river", 0.8, 0.5), {"turn": 1})
# Answer the first call after something was written to the pipe `go`, and the others at once. All go into `heard`.
WAITS = """
read -r line; echo "$line" >>heard; read -r _ <go; echo '{"id": 1, "text": "late"}'
while read -r line; do echo "$line" >>heard; id=${line#*:}; echo "{\\"id\\": ${id%%,*}, \\"text\\": \\"soon\\"}"; done
"""


@asynccontextmanager
async def calling(
    script: str, *, concurrent: bool = False, answer_s: float = 20.0
) -> AsyncIterator[tuple[Calls, list[str]]]:
    """Call the host that `script` is. Yield the calls, and the kinds of its failures."""
    child = await Child.start(["sh", "-c", script], 2, lambda: None)
    calls, kinds = Calls(child, concurrent=concurrent, answer_s=answer_s), list[str]()

    async def read() -> None:
        while data := await child.receive_line():
            line = parse_line(data)
            assert isinstance(line, Answer)
            kinds.append(calls.settle(line))

    reading = asyncio.create_task(read())
    try:
        yield calls, kinds
    finally:
        await child.end()
        await reading


async def test_a_concurrent_host_may_answer_in_any_order() -> None:
    script = """read -r a; read -r b; echo '{"id": 2, "text": "b"}'; echo '{"id": 1, "text": "a"}'"""
    async with calling(script, concurrent=True) as (calls, _):
        first, second = await asyncio.gather(calls.ask(*GENERATE), calls.ask(*GENERATE))
    assert (first["text"], second["text"]) == ("a", "b")


async def test_any_other_host_has_one_call_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("go")
    async with calling(WAITS) as (calls, _):
        asked = [asyncio.create_task(calls.ask(*GENERATE)) for _ in range(3)]
        await until_on_loop(Path("heard").exists)
        Path("go").write_text("\n")
        assert Path("heard").read_text().count("\n") == 1
        assert [each["text"] for each in await asyncio.gather(*asked)] == ["late", "soon", "soon"]


async def test_a_late_answer_is_dropped_and_ends_the_turn_of_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("go")
    async with calling(WAITS, answer_s=1.0) as (calls, kinds):
        with pytest.raises(HostTimeout):
            await calls.ask(*GENERATE)
        await asyncio.to_thread(Path("go").write_text, "\n")
        assert (await calls.ask(*GENERATE))["text"] == "soon"
        assert (kinds, calls.hung.is_set()) == (["late", ""], False)


async def test_a_host_hangs_that_leaves_two_calls_in_a_row() -> None:
    async with calling("read -r _; read -r _; read -r _", answer_s=0.05) as (calls, _):
        with pytest.raises(HostTimeout):
            await calls.ask(*GENERATE)
        assert not calls.hung.is_set()
        second = asyncio.create_task(calls.ask(*GENERATE))
        await calls.hung.wait()
        assert not second.done()  # it gets no answer, so that the dialogue may go on
        second.cancel()


async def test_tells_an_answer_to_no_call_and_a_second_one() -> None:
    script = """read -r _; for id in 9 1 1; do echo "{\\"id\\": $id, \\"text\\": \\"a\\"}"; done"""
    async with calling(script) as (calls, kinds):
        await calls.ask(*GENERATE)
        await until_on_loop(lambda: len(kinds) == 3)
    assert kinds == ["wrong_id", "", "wrong_id"]


async def test_raises_the_kind_of_an_error_and_not_its_text() -> None:
    script = """read -r _; echo '{"id": 1, "error": "KeyError: a private text"}'"""
    async with calling(script) as (calls, _):
        with pytest.raises(HostError) as failed:
            await calls.ask(*GENERATE)
    assert (type(failed.value).__name__, str(failed.value)) == ("KeyError", "")
