"""`call`: any method, with JSON or MessagePack, the exit codes of failures, and a leo made of commands."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.helpers.daemons.little import LittleDaemon, fails
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.waiting import until


def test_params_and_answer_are_json(socket: Path) -> None:
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
    assert "(UNKNOWN_METHOD, 3)" in result.stderr
    assert "(INVALID_PARAMS, 2)" in dreamctl("--socket", daemon.socket, "call", "why", "-1").stderr


def test_shows_an_unknown_error_code(socket: Path) -> None:
    with LittleDaemon(socket, {"stats": fails(99, "something new")}):
        assert "something new (error, 99)" in dreamctl("--socket", socket, "call", "stats").stderr


def answer(daemon: DaemonProcess, *arguments: object, given: bytes) -> tuple[int, bytes]:
    """Return the exit code and the bytes that `call` prints for the bytes that it reads."""
    command = [
        sys.executable,
        "-m",
        "dreamd.ctl",
        "--socket",
        str(daemon.socket),
        "call",
        *map(str, arguments),
    ]
    ended = subprocess.run(command, input=given, capture_output=True, timeout=30, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_reads_all_params_from_stdin(daemon: DaemonProcess) -> None:
    code, said = answer(daemon, "dream.context", "-", given=b'[{"prompt": "hi"}]')
    assert (code, json.loads(said)["reason"]) == (0, "no_hooks")
    code, said = answer(daemon, "dream.context", "-", "--msgpack", given=msgpack.packb([{"prompt": "hi"}]))
    assert (code, msgpack.unpackb(said)["reason"]) == (0, "no_hooks")


@pytest.mark.parametrize("given", [b"", b"{}", b"5", b"\xff", b"[" * 100_000, b"[1"])
@pytest.mark.parametrize("form", [[], ["--msgpack"]])
def test_stdin_without_an_array_is_wrong_usage(tmp_path: Path, given: bytes, form: list[str]) -> None:
    runner = dreamctl("--state-dir", tmp_path, "call", "why", "-", *form, given=given)
    assert runner.exit_code == 2
    assert "stdin holds no array in " in runner.stderr


@pytest.mark.parametrize("form", [[], ["--msgpack"]])
def test_reads_only_a_bounded_part_of_stdin(tmp_path: Path, form: list[str]) -> None:
    with open("/dev/zero", "rb") as zeros:
        command = ["--state-dir", tmp_path, "call", "why", "-", *form]
        process = spawn_dreamctl(*command, cwd=tmp_path, stdin=zeros.fileno())
        out, said = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert "stdin holds more than 8388608 bytes; a message has 1048576 at most" in said


def test_prints_messagepack_only_to_programs(daemon: DaemonProcess) -> None:
    code, said = answer(daemon, "why", 1, "--msgpack", given=b"")
    assert (code, type(msgpack.unpackb(said))) == (0, list)
    refused = dreamctl("--socket", daemon.socket, "call", "why", "--msgpack", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")


@pytest.mark.parametrize("text", ["hello", "{", "[" * 100_000, ""])
def test_invalid_json_is_wrong_usage(tmp_path: Path, text: str) -> None:
    result = dreamctl("--state-dir", tmp_path, "call", "why", "1", text)
    assert result.exit_code == 2
    assert "parameter 2 is not JSON" in result.stderr


def test_a_value_that_messagepack_lacks_is_wrong_usage(daemon: DaemonProcess) -> None:
    for command in (["call", "why", f'[{{"n": {1 << 70}}}]'], ["trace", "--session", 1 << 70]):
        result = dreamctl("--socket", daemon.socket, *command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert ": a number has more than 64 bits\n" in result.stderr


def test_help_lists_every_command_and_each_has_its_own() -> None:
    shown = dreamctl("--help").stdout
    for command in ("status", "why", "recent", "dream", "call", "demo"):
        assert f"  {command} " in shown
        assert dreamctl(command, "--help").exit_code == 0
    unknown = dreamctl("stauts")
    assert unknown.exit_code == 2
    assert "There is no command 'stauts'" in unknown.stderr


# A leo made of commands.

SPEAK = """
import json, sys
seed, temperature, semantic_weight, meta = json.load(sys.stdin)
assert isinstance(seed, str) and temperature > 0 and semantic_weight > 0
print({lines}[meta["turn"] - 1], end="\\n\\n")
"""
LINES = [
    "the rain is near",
    '{"text": "a roof keeps it", "novelty": 0.25}',
    "{who} keeps the roof",
    "you do, both of us",
]


def python(folder: Path, name: str, code: str) -> str:
    """Return a command that runs `code`."""
    file = folder / f"{name}.py"
    file.write_text(code)
    return shlex.join([sys.executable, str(file)])


def dream(daemon: DaemonProcess, *options: object) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Run `call dream.now`. Return its answer, the stored dialogue, and its stderr."""
    result = dreamctl("--socket", daemon.socket, "call", "dream.now", *options)
    assert result.exit_code == 0, result.stderr
    ended = json.loads(result.stdout)
    kept = dreamctl("--socket", daemon.socket, "call", "dialogs.get", ended["dialog"])
    return ended, json.loads(kept.stdout), result.stderr


def test_one_command_generates_and_another_observes(daemon: DaemonProcess, tmp_path: Path) -> None:
    speak = python(tmp_path, "speak", SPEAK.format(lines=LINES))
    heard = tmp_path / "heard"
    hear = f"import sys; open({str(heard)!r}, 'a').write(sys.stdin.read() + chr(10)); print('{{\"arousal\": 0.5}}')"
    ended, kept, said = dream(
        daemon, "--generate-cmd", speak, "--observe-cmd", python(tmp_path, "hear", hear)
    )
    assert (ended["outcome"], said) == ("complete", "")
    texts = ["the rain is near", "a roof keeps it", "{who} keeps the roof", "you do, both of us"]
    assert [turn["text"] for turn in kept["turns"]] == texts[: ended["lines"]]
    assert kept["turns"][1]["novelty"] == 0.25
    assert [turn["arousal"] for turn in kept["turns"]] == [0.5] * ended["lines"]
    told = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [(text, meta["turn"]) for text, meta in told] == [
        (text, turn) for turn, text in enumerate(texts[: ended["lines"]], 1)
    ]
    assert kept["client"] == "dreamctl"


def test_a_client_without_an_observe_command_can_generate(daemon: DaemonProcess, tmp_path: Path) -> None:
    ended, kept, _ = dream(daemon, "--generate-cmd", python(tmp_path, "speak", SPEAK.format(lines=LINES)))
    assert ended["outcome"] == "complete"
    assert all(turn["observed"] for turn in kept["turns"])


@pytest.mark.parametrize(
    ("code", "said", "note"),
    [
        ("raise SystemExit(3)", "ended with exit code 3", "CommandFailed"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9", "CommandFailed"),
        (
            "import time; print('half', flush=True); time.sleep(1000)",
            "did not end within 0.5 s",
            "CommandTimeout",
        ),
        ("import os, time; os.close(1); time.sleep(1000)", "did not end within 0.5 s", "CommandTimeout"),
        ("print('the secret ' * 10_000)", "printed more than 65536 bytes", "CommandMute"),
        ("import os; os.write(1, b'\\xff')", "printed what is not UTF-8", "CommandMute"),
        (
            'print(\'{"text": 5, "secret": "the secret"}\')',
            "printed a map that is no answer: Expected `str`, got `int` - at `$.text`",
            "CommandMute",
        ),
    ],
)
def test_a_failing_command_is_an_error_of_the_hook(
    daemon: DaemonProcess, tmp_path: Path, code: str, said: str, note: str
) -> None:
    """P10, P14: the failure is named, without any text of a dream."""
    timeout_s = 0.5 if "within" in said else 20
    ended, kept, told = dream(
        daemon, "--generate-cmd", python(tmp_path, "fails", code), "--cmd-timeout", timeout_s
    )
    assert (ended["outcome"], ended["lines"]) == ("hook_error", 0)
    assert kept["note"] == f"generate: {note}"
    assert told == f"generate: the command {said}\n"
    assert daemon.call("status")["failures"][f"generate: {note}"] >= 1
    assert "secret" not in daemon.said()


def test_names_a_command_that_cannot_be_started(daemon: DaemonProcess, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o700)
    _, kept, told = dream(daemon, "--generate-cmd", script)
    assert kept["note"] == "generate: CommandMute"
    assert told == "generate: the command could not be started: No such file or directory\n"


STUCK = """
import os, sys, time
if not os.fork():
    time.sleep(1000)
open({file!r}, "w").write(f"{{os.getpid()}} ")
time.sleep(1000)
"""


def group(process: int) -> list[int]:
    """Return the processes that live in the group of this number."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == process and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, None])
def test_leaves_no_process_of_a_command(
    daemon: DaemonProcess, tmp_path: Path, number: signal.Signals | None
) -> None:
    """This holds if dreamctl is asked to end and if it gives up, also for children of the command."""
    file = tmp_path / "pid"
    stuck = python(tmp_path, "stuck", STUCK.format(file=str(file)))
    # The command must have noted its number before dreamctl gives it up. A busy machine needs the second patience.
    for patience_s in [0.5, 10] if number is None else [1000]:
        process = spawn_dreamctl(
            *(
                "--socket",
                daemon.socket,
                "call",
                "dream.now",
                "--generate-cmd",
                stuck,
                "--cmd-timeout",
                patience_s,
            ),
            cwd=tmp_path,
        )
        if number is not None:
            until(lambda: file.exists() and file.read_text().endswith(" "), "the command runs")
            assert len(group(int(file.read_text()))) == 2
            process.send_signal(number)
        _, said = process.communicate(timeout=30)
        if file.exists():
            break
    assert "Traceback" not in said
    assert process.returncode == {None: 0, signal.SIGINT: 1}.get(number, 128 + (number or 0))
    until(lambda: not group(int(file.read_text())), "they are gone")


def test_the_demo_field_dreams_what_a_file_taught_it(daemon: DaemonProcess, tmp_path: Path) -> None:
    story = tmp_path / "story.txt"
    nouns = ["river", "boat", "roof", "lantern", "garden", "snow", "window", "child"]
    story.write_text(
        " ".join(f"The {one} waits for the {other} at night." for one in nouns for other in nouns)
    )
    ended, kept, said = dream(daemon, "--field", story)
    assert said == ""
    assert ended["lines"] >= 1
    words = {word.strip(".,").lower() for turn in kept["turns"] for word in turn["text"].split()}
    assert words <= {*nouns, "the", "waits", "for", "at", "night"}
    story.write_text("... \n")
    empty = dreamctl("--socket", daemon.socket, "call", "dream.now", "--field", story)
    assert (empty.exit_code, empty.stdout) == (2, "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--generate-cmd", "no-such-command-at-all x"], "there is no such command"),
        (["--generate-cmd", "'half"], "no closing quotation"),
        (["--generate-cmd", ""], "there is no such command"),
        (["--observe-cmd", "cat"], "--observe-cmd goes with --generate-cmd"),
        (["--generate-cmd", "cat", "--field", os.devnull], "--field speaks and hears by itself"),
        (["--field", "no-such-file"], "no-such-file"),
        *((["--cmd-timeout", value], "expected seconds above 0") for value in ("0", "-1", "inf")),
        *((["--timeout", value], "expected seconds above 0") for value in ("0", "inf", "nan", "1e30")),
    ],
)
def test_contradictory_hook_options_are_wrong_usage(tmp_path: Path, options: list[str], said: str) -> None:
    result = dreamctl("--state-dir", tmp_path, "call", "dream.now", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
