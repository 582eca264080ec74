"""The command as a process: its lines, its standard error, and how it is ended."""

import asyncio
import os

import pytest

from dreamd.ctl.commands.host.child import Child, HostFailed, stderr_descriptor
from dreamd.ctl.commands.host.protocol import LINE_BYTES, BadLine


async def start(script: str, stderr: int | None = 2) -> Child:
    return await Child.start(["sh", "-c", script], stderr, lambda: None)


async def test_a_line_that_is_too_long_is_a_bad_line_and_the_next_is_read() -> None:
    child = await start(f"head -c {2 * LINE_BYTES} /dev/zero; echo; echo here")
    lines = list[bytes]()
    with pytest.raises(BadLine, match=f"it has more than {LINE_BYTES} bytes"):
        await child.receive_line()
    while len(lines) < 9 and not (lines and lines[-1] == b"here\n"):
        try:
            lines.append(await child.receive_line())
        except BadLine:
            lines.append(b"")
    assert lines[-1] == b"here\n"
    await child.end()


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("exit 3", "it ended with exit code 3"),
        ("kill -TERM $$", "it was ended by SIGTERM"),
        ("exec cat >/dev/null", "it closed its output"),
    ],
)
async def test_says_how_it_ended(script: str, how: str) -> None:
    child = await start(script)
    assert await child.receive_line() == b""
    assert await child.ending() == how
    await child.end()


async def test_ends_with_its_input() -> None:
    child = await start("cat")
    await child.send_line(b"a\n")
    assert await child.receive_line() == b"a\n"
    await child.end(20.0)
    assert await child.ending() == "it ended with exit code 0"


@pytest.mark.parametrize(
    ("script", "how"),
    [("exec sleep 60", "SIGTERM"), ("trap '' TERM; echo; exec sleep 60", "SIGKILL")],
)
async def test_ends_by_a_signal_what_goes_on(script: str, how: str) -> None:
    child = await start(f"echo; {script}")
    assert await child.receive_line() == b"\n"
    if how == "SIGKILL":
        assert await child.receive_line() == b"\n"
    await child.end(0.05)
    assert await child.ending() == f"it was ended by {how}"


async def test_two_signals_in_a_row_lose_no_exit_code() -> None:
    for child in [await start("exec sleep 60") for _ in range(50)]:
        await child.end(0.0)
        assert (await child.ending()).startswith("it was ended by SIG")


async def test_notices_that_its_input_was_closed() -> None:
    child = await start("exec sleep 60 <&-")
    async with asyncio.timeout(20):
        await child.input_closed()
    await child.send_line(b"dropped\n")
    await child.end(0.0)


async def test_a_command_that_cannot_be_started_is_a_failure() -> None:
    with pytest.raises(HostFailed, match="it could not be started: Permission denied"):
        await Child.start(["/"], 2, lambda: None)


def test_the_journal_gets_nothing() -> None:
    ours = os.fstat(2)
    assert stderr_descriptor(f"{ours.st_dev}:{ours.st_ino}") is None
    assert stderr_descriptor("1:1") == 2
    assert stderr_descriptor(None) == 2


async def test_counts_the_lines_of_its_standard_error_where_they_are_dropped() -> None:
    counted = list[None]()
    child = await Child.start(["sh", "-c", "echo a >&2; echo b >&2"], None, lambda: counted.append(None))
    assert await child.receive_line() == b""
    await child.end()
    assert len(counted) == 2
