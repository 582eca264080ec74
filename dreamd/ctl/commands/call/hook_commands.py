"""Commands that stand in for leo's hooks: each line runs one, with the parameters as JSON on its standard input."""

import json
import os
import select
import signal
import threading
import time
from collections.abc import Sequence
from subprocess import PIPE, Popen
from typing import Any

from dreamclient.messages import Method
from dreamclient.protocol.hooks import Hook

from dreamd.ctl.terminal.output import emit_note

OUTPUT_BYTES = 64 << 10  # far beyond any line, or any map of measures

Words = Sequence[str]  # of a command; no shell sees them


class CommandFailed(Exception):
    """The command ended with another exit code than 0, or by a signal."""


class CommandTimeout(Exception):
    """The command had not ended by the deadline."""


class CommandMute(Exception):
    """The command could not be started, or printed no valid text or map, or too much."""


class Commands:
    """The commands of one client, whose hooks run one at a time. `close` ends the command that runs."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._running: Popen[bytes] | None = None
        self._closed = False

    def generate(self, words: Words) -> Hook:
        """Return the hook `generate`: it returns what the command prints, the line or a JSON map with its `text`."""

        def generate(seed: str, temperature: float, semantic_weight: float, meta: Any) -> Any:
            params = [seed, temperature, semantic_weight, meta]
            said, found = self._said(Method.GENERATE, words, params)
            return said if found is None else found

        return generate

    def observe(self, words: Words) -> Hook:
        """Return the hook `observe`: it returns the JSON map of measures that the command prints, or None."""

        def observe(text: str, meta: Any) -> Any:
            return self._said(Method.OBSERVE, words, [text, meta])[1]

        return observe

    def close(self) -> None:
        """Kill the running command and its process group. No other command is started afterwards."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                os.killpg(self._running.pid, signal.SIGKILL)

    def _said(self, hook: str, words: Words, params: list[Any]) -> tuple[str, dict[str, Any] | None]:
        try:
            said = self._run(words, params)
            return said, _parse_map(hook, said)
        except (CommandFailed, CommandTimeout, CommandMute) as error:
            if not self._closed:
                emit_note(f"{hook}: the command {error}")
            raise

    def _run(self, words: Words, params: list[Any]) -> str:
        process = self._start(words, params)
        try:
            said = _read_output(process, time.monotonic() + self._deadline_s)
        except CommandTimeout:
            raise CommandTimeout(f"did not end within {self._deadline_s:g} s") from None
        finally:
            with self._lock:
                self._running = None
                os.killpg(process.pid, signal.SIGKILL)  # before `wait`: the number is still its own
                code = process.wait()
        if code:
            raise CommandFailed(
                f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            )
        try:
            return said.decode().strip()
        except UnicodeDecodeError:
            raise CommandMute("printed what is not UTF-8") from None

    def _start(self, words: Words, params: list[Any]) -> Popen[bytes]:
        with open(os.memfd_create("params"), "w+") as stdin, self._lock:
            json.dump(params, stdin)
            stdin.seek(0)
            if self._closed:
                raise CommandFailed("was not started: dreamctl ends")
            try:
                self._running = Popen(words, stdin=stdin, stdout=PIPE, start_new_session=True)
            except OSError as error:
                raise CommandMute(f"could not be started: {error.strerror}") from None
            return self._running


def _read_output(process: Popen[bytes], deadline: float) -> bytes:
    """Return all that the process prints until it ends. The caller has to `wait` for it."""
    assert process.stdout is not None
    said = bytearray()
    with process.stdout as stdout:
        while data := os.read(_wait_ready(stdout.fileno(), deadline), OUTPUT_BYTES):
            said += data
            if len(said) > OUTPUT_BYTES:
                raise CommandMute(f"printed more than {OUTPUT_BYTES} bytes")
    end = os.pidfd_open(process.pid)
    try:
        _wait_ready(end, deadline)
    finally:
        os.close(end)
    return bytes(said)


def _wait_ready(descriptor: int, deadline: float) -> int:
    if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise CommandTimeout
    return descriptor


def _parse_map(hook: str, said: str) -> dict[str, Any] | None:
    """Return a JSON map, or None for any other text. Raise CommandMute for a map that the hook may not return."""
    try:
        found = json.loads(said) if said.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    from msgspec import ValidationError, convert

    from dreamd.dream.model import Answer, Heard

    try:
        convert(found, Answer if hook == Method.GENERATE else Heard)
    except ValidationError as error:  # its message names places and types, no texts
        raise CommandMute(f"printed a map that is no answer: {error}") from None
    return found
