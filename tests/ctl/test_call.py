"""`call`: any method, JSON in and out; and how failures become exit codes."""

import json
from pathlib import Path

import pytest

from tests.helpers.daemon import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.little_daemon import LittleDaemon, fails


def test_params_are_json_and_so_is_the_answer(socket: Path) -> None:
    with LittleDaemon(socket, {"echo": lambda _, params: params}) as echo:
        result = dreamctl("--socket", socket, "call", "echo", "1", "-2.5", '"é"', "null", '{"a": [true]}')
        assert json.loads(result.stdout) == [1, -2.5, "é", None, {"a": [True]}]
        assert "é" in result.stdout
        assert echo.arrival()


def test_bytes_become_hexadecimal_text(socket: Path) -> None:
    with LittleDaemon(socket, {"raw": lambda *_: b"\x00\xff"}):
        assert json.loads(dreamctl("--socket", socket, "call", "raw").stdout) == "00ff"


def test_an_error_of_the_daemon_is_exit_code_4(daemon: DaemonProcess) -> None:
    result = dreamctl("--socket", daemon.socket, "call", "no.such.method")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "UNKNOWN_METHOD (3)" in result.stderr
    assert "INVALID_PARAMS (2)" in dreamctl("--socket", daemon.socket, "call", "why", "-1").stderr


def test_an_error_code_that_nobody_knows_is_shown(socket: Path) -> None:
    with LittleDaemon(socket, {"stats": fails(99, "something new")}):
        assert "error (99): something new" in dreamctl("--socket", socket, "call", "stats").stderr


@pytest.mark.parametrize("text", ["hello", "{", "[" * 100_000, ""])
def test_what_is_not_json_is_wrong_usage(tmp_path: Path, text: str) -> None:
    result = dreamctl("--state-dir", tmp_path, "call", "why", "1", text)
    assert result.exit_code == 2
    assert "parameter 2 is not JSON" in result.stderr


def test_what_messagepack_cannot_hold_is_wrong_usage(daemon: DaemonProcess) -> None:
    result = dreamctl("--socket", daemon.socket, "call", "why", str(1 << 70))
    assert result.exit_code == 2
    assert "cannot be sent" in result.stderr


def test_help_lists_every_command_and_each_has_its_own() -> None:
    shown = dreamctl("--help").stdout
    for command in ("status", "why", "recent", "dream", "call", "demo"):
        assert f"  {command} " in shown
        assert dreamctl(command, "--help").exit_code == 0
    unknown = dreamctl("stauts")
    assert unknown.exit_code == 2
    assert "No such command 'stauts'" in unknown.stderr
