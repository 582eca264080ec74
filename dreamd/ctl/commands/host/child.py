"""The command that is a host, as a process: its lines, its standard error, and its end."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

from dreamd.ctl.commands.host.protocol import LINE_BYTES, BadLine

END_S = 1.0  # from the end of its input to SIGTERM, and from there to SIGKILL
CODE_S = 0.5  # from the end of its output to its exit code


class HostFailed(Exception):
    """The host ended, or must be ended. The message says why, without a text of it."""


class Child:
    """A running command. Its standard error goes to the descriptor `stderr`, or, if that is None, is dropped line by
    line, with a call of `dropped` for each."""

    def __init__(self, process: Process, dropped: Callable[[], object]) -> None:
        self._process = process
        self._dropping = asyncio.create_task(self._drop(dropped))
        # One task, since a cancelled `wait_closed` would cancel what asyncio itself waits for.
        self._input_closed = asyncio.create_task(self._wait_closed())

    @classmethod
    async def start(cls, words: Sequence[str], stderr: int | None, dropped: Callable[[], object]) -> Self:
        """Start the command. Raise HostFailed if that is not possible."""
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=PIPE, stdout=PIPE, stderr=PIPE if stderr is None else stderr, limit=LINE_BYTES
            )
        except OSError as error:
            raise HostFailed(f"it could not be started: {error.strerror}") from None
        return cls(process, dropped)

    async def receive_line(self) -> bytes:
        """Return the next line of the host, or nothing at its end. Raise BadLine for a line that is too long."""
        assert self._process.stdout is not None
        try:
            return await self._process.stdout.readline()
        except ValueError:
            raise BadLine(f"it has more than {LINE_BYTES} bytes") from None

    async def send_line(self, line: bytes) -> None:
        """Write a line to the host. If it has closed its input, `input_closed` says so."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(line)
            await self._process.stdin.drain()

    async def input_closed(self) -> None:
        """Wait until the host has closed its standard input, as it does at its end."""
        await asyncio.wait({self._input_closed})

    def close_input(self) -> None:
        """End the input of the host, which then ends by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def ending(self) -> str:
        """Wait a moment for the end of the process, and return how it ended: `it ended with exit code 3`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CODE_S):
                await self._process.wait()
        code = self._process.returncode
        if code is None:
            return "it closed its output"
        return f"it ended with exit code {code}" if code >= 0 else f"it was ended by {_signal_name(-code)}"

    async def end(self, grace_s: float = END_S) -> None:
        """End the process: its input ends, then come SIGTERM and SIGKILL, each `grace_s` later."""
        try:
            self.close_input()
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await self._process.wait()
                        return
                self._send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._process.wait()
        finally:
            self._send_signal(signal.SIGKILL)
            await asyncio.wait({self._dropping}, timeout=CODE_S)  # longer if another process has its stderr
            self._dropping.cancel()

    def _send_signal(self, number: int) -> None:
        """Send a signal if the process runs. Its own `kill` would first take the exit code of one that has ended, and
        asyncio would find none."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def _wait_closed(self) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            await self._process.stdin.wait_closed()

    async def _drop(self, dropped: Callable[[], object]) -> None:
        while self._process.stderr is not None and (data := await self._process.stderr.read(1 << 16)):
            for _ in range(data.count(b"\n")):
                dropped()


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def stderr_descriptor(journal: str | None) -> int | None:
    """Return where a host's standard error goes: to ours, or None if that is the journal, which must not hold what a
    host says. `journal`: the variable JOURNAL_STREAM, with which systemd names its stream."""
    if sys.__stderr__ is None:
        return DEVNULL
    try:
        found = os.fstat(2)
    except OSError:  # it is closed
        return DEVNULL
    return None if journal == f"{found.st_dev}:{found.st_ino}" else 2
