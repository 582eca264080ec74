"""The conformance test: it passes for a host that keeps the protocol, and names what is wrong with any other."""

import asyncio
import json
from contextvars import ContextVar
from pathlib import Path

import pytest

from dreamd.ctl.commands.host import check
from dreamd.ctl.commands.host.check import Checked, Talk, check_host
from tests.helpers.dreamctl import dreamctl

BROKEN = Path(__file__).parents[3] / "data/hosts/broken.sh"
# The patience with the broken hosts. It is short at the step at which time has to pass, because a busy machine may be
# slow at all others. The late host answers once a file is there: when the first of two such times has passed.
SHORT_S, LONG_S = 2.0, 20.0
PASSES = {"no_hello": "hello", "hangs": "generate", "late": "generate", "stays": "end"}
short_at: ContextVar[str | None] = ContextVar("short_at")
awaited: ContextVar[Path | None] = ContextVar("awaited")

# Each fault of broken.sh: the step at which it is met, and what is said of it.
FAULTS = {
    "no_hello": ("hello", "it said no hello in 2 s"),
    "answer_first": ("hello", "no hello: its first line is another one"),
    "wrong_id": ("generate", "its answer has the id 1999; the call has 6"),
    "two_answers": ("observe", "it answered the call 6 (generate) twice"),
    "text_too_long": ("generate", "line 2: text: expected str of length <= 4000"),
    "invalid_json": (
        "generate",
        "line 2: it is not valid JSON: JSON is malformed: expected ',' or '}' (byte 20)",
    ),
    "hangs": ("generate", "no answer in 2 s"),
    "dies": ("generate", "it ended with exit code 3 before its answer"),
    "noise": (
        "generate",
        "line 2: it is no JSON object: stdout is for the protocol alone, print the rest to stderr",
    ),
    "late": ("generate", "no answer in 2 s; it came later"),
    "closes_input": ("generate", "it closed its input: no call can reach it"),
    "closes_output": ("generate", "it closed its output before its answer"),
    "empty": ("generate", "its text is empty: a dialogue ends there"),
    "error": ("generate", "it answered with an error"),
    "hello_twice": ("generate", "it said hello twice"),
    "no_observe": ("hello", "it provides no observe: a dream needs both"),
    "wrong_second": ("generate", "its answer has the id 1999, which was not asked"),
    "many_texts": ("recall", "line 8: texts: expected a list of at most 3 texts"),
    "answers_at_end": ("end", "it answered a call that was not made"),
    "fails_at_end": ("end", "it ended with exit code 4 when its input ended"),
    "stays": ("end", "it goes on 2 s after its input has ended"),
}


class ShortAtOneStep(Talk):
    @property
    def _answer_s(self) -> float:
        return SHORT_S if self.at == short_at.get() else LONG_S

    @_answer_s.setter
    def _answer_s(self, _: float) -> None: ...

    async def _received(self, most_s: float) -> bytes | None:
        file = awaited.get()
        found = await super()._received(LONG_S if file and file.exists() else most_s)
        if file and found is None:
            file.touch()
        return found


async def check_broken(fault: str, file: Path) -> Checked:
    short_at.set(PASSES.get(fault))
    awaited.set(file if fault == "late" else None)
    return await check_host(["sh", str(BROKEN), fault, str(file)], 2, 0.0)


async def all_checked(file: Path) -> dict[str, Checked]:
    found = await asyncio.gather(*(check_broken(fault, file) for fault in FAULTS))
    return dict(zip(FAULTS, found, strict=True))


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checked]:
    """All broken hosts, checked at once: some are found by waiting."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(check, "Talk", ShortAtOneStep)
        return asyncio.run(all_checked(tmp_path_factory.mktemp("late") / "answer"))


@pytest.mark.parametrize("fault", FAULTS)
def test_names_the_fault_of_a_broken_host(checked: dict[str, Checked], fault: str) -> None:
    assert (checked[fault].at, checked[fault].fault) == FAULTS[fault]


def test_a_host_that_keeps_the_protocol_passes() -> None:
    result = dreamctl("host", "--check", "--", "sh", BROKEN)
    assert result.exit_code == 0, result.stdout
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["OK", "hello"], ["OK", "generate"], ["OK", "observe"], ["OK", "end"]
    ]  # fmt: skip


async def test_calls_each_hook_that_is_provided_and_two_at_once_where_that_is_allowed() -> None:
    found = await check_host(["sh", str(BROKEN), "all"], 2, 20.0)
    assert (found.fault, found.ended) == (None, True)
    assert {hook: timed.calls for hook, timed in found.calls.items()} == {
        "generate": 5, "observe": 3, "recall": 1, "unobserve": 1
    }  # fmt: skip


async def test_a_context_is_no_answer() -> None:
    found = await check_host(["sh", str(BROKEN), "context", '{"context": {"reply": "here"}}'], 2, 20.0)
    assert (found.fault, found.contexts) == (None, 1)
    found = await check_host(["sh", str(BROKEN), "context", '{"context": {"reply": 5}}'], 2, 20.0)
    assert found.fault == "line 2: context.reply: expected str, got int"


async def test_a_command_that_cannot_be_started_is_a_fault() -> None:
    found = await check_host(["/"], 2, 20.0)
    assert (found.at, found.fault) == ("start", "it could not be started: Permission denied")


def test_a_fault_is_one_line_and_exit_code_1() -> None:
    result = dreamctl("host", "--check", "sh", BROKEN, "dies")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == ["FAIL  generate  it ended with exit code 3 before its answer"]
    found = json.loads(dreamctl("host", "--json", "--check", "sh", BROKEN, "dies").stdout)
    assert (found["at"], found["fault"]) == FAULTS["dies"]
