"""`host`: commands that are hosts, with a real daemon: they dream, die, hang and come back."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dreamd.ctl.commands.host.check import check_host
from dreamd.ctl.commands.host.hosting import Hosting, Waits, Wanted
from dreamd.wire.parts import Parts
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.dreaming import onlooker, settled
from tests.helpers.terminal import Terminal
from tests.helpers.waiting import until, until_on_loop

ROOT = Path(__file__).parents[3]
BROKEN = ROOT / "tests/data/hosts/broken.sh"
HOSTS = ROOT / "examples/hosts"
SOON = Waits(answer_s=20.0, first_retry_s=0.001, last_retry_s=0.01)
SETTINGS = {"gate__chance": 1, "gate__mode": "fixed", "gate__cooldown_s": 0, "dialogue__candidates": 1}
PRIVATE = "the-private-words"

NOISE = "it is no JSON object: stdout is for the protocol alone, print the rest to stderr"

# A host that says numbered lines. Before its call number N, which is its argument, it does what `act` says: once, since
# it leaves a mark in the folder. It hears into the file `heard`.
NUMBERED = """
import json, os, signal, sys
folder, act, fatal, *rest = sys.argv[1:]
more = json.loads(rest[0]) if rest else {}
mark = os.path.join(folder, "mark")
def put(**line): print(json.dumps(line), flush=True)
put(hello={"name": "numbered", "provides": ["generate", "observe"], "field": "f1"} | more)
for number, line in enumerate(sys.stdin, 1):
    call = json.loads(line)
    if number == int(fatal) and not os.path.exists(mark):
        open(mark, "a").close()
        exec(act)
    if "generate" in call:
        put(id=call["id"], text=f"the line of turn {call['generate']['turn']} says {'abcdefgh'[number % 8] * 3}")
    elif "observe" in call:
        open(os.path.join(folder, "heard"), "a").write(call["observe"]["text"] + "\\n")
        put(id=call["id"], taken=True, arousal=0.8, added=[number])
    elif "unobserve" in call:
        put(id=call["id"], undone=True, missing=0)
"""


def numbered(folder: Path, act: str = "pass", fatal: int = 0, **hello: Any) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", NUMBERED, str(folder), act, str(fatal), json.dumps(hello)]


@asynccontextmanager
async def hosting(
    service: Parts, words: list[str], waits: Waits = SOON, **wanted: Any
) -> AsyncIterator[list[str]]:
    """Run `words` as a host for the block. Yield what the user is told."""
    told: list[str] = []
    host = Hosting(Wanted(words, service.socket, **wanted), waits, told.append)
    running = asyncio.create_task(host.run())
    try:
        yield told
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert running.cancelled()


def connected(service: Parts) -> list[Any]:
    return [each for each in service.sessions.values() if each.provides]


async def dreamt(service: Parts) -> dict[str, Any]:
    """Have the connected host dream, and return the dialogue once it has ended."""
    await until_on_loop(lambda: connected(service))
    async with await onlooker(service) as peer:
        asked = await peer.call("dream.now")
        await until_on_loop(lambda: not service.engine.dialogues.suspended)
        await settled(service)
        found: dict[str, Any] = await peer.call("dialogs.get", asked["dialog"])
    return found


def compiled(folder: Path) -> list[str]:
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", folder / "host", HOSTS / "host.c"], check=True)
    return [str(folder / "host")]


EXAMPLES = {"shell.sh": "awk", "host.mjs": "node", "host.c": "cc"}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_each_example_keeps_the_protocol_and_dreams(tmp_path: Path, name: str) -> None:
    if shutil.which(EXAMPLES[name]) is None:
        pytest.skip(f"no {EXAMPLES[name]} on this machine")
    words = {"shell.sh": ["sh", str(HOSTS / name)], "host.mjs": ["node", str(HOSTS / name)]}.get(name)
    words = words or compiled(tmp_path)
    assert (await check_host(words, 2, 20.0)).fault is None
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words):
        found = await dreamt(service)
    assert found["client"] == Path(name).stem.replace("host", Path(name).suffix[1:].replace("mjs", "node"))
    assert found["lines"] >= 1
    assert [each["observed"] for each in found["turns"]] == ["answered"] * found["lines"]


def test_each_example_is_under_forty_lines() -> None:
    assert [path.name for path in HOSTS.iterdir() if path.read_text().count("\n") >= 40] == []
    assert {path.name for path in HOSTS.iterdir()} == EXAMPLES.keys() | {"wrap_repl.py"}


REPL = 'while read -r line; do case $line in ":say "*) echo "the ${line#:say }";; *) echo "heard: $line";; esac; done'
WRAPPED = [sys.executable, str(HOSTS / "wrap_repl.py"), "sh", "-c", REPL]


async def test_a_wrapped_repl_keeps_the_protocol() -> None:
    assert (await check_host(WRAPPED, 2, 20.0)).fault is None
    assert (HOSTS / "wrap_repl.py").read_text() in (ROOT / "docs/guides/any-host.md").read_text()


async def test_the_user_of_a_wrapped_repl_talks_to_it_on_the_terminal(tmp_path: Path) -> None:
    if shutil.which("setsid") is None:
        pytest.skip("no setsid on this machine")
    async with serving(tmp_path / "state", **SETTINGS) as service:
        command = [sys.executable, "-m", "dreamd.ctl", "--socket", service.socket, "host", "--", *WRAPPED]
        with Terminal(["setsid", "--ctty", "--wait", *command], tmp_path) as terminal:
            await asyncio.to_thread(terminal.until, "repl is connected")
            terminal.type("who are you?\n")
            await asyncio.to_thread(terminal.until, "heard: who are you?")
            await until_on_loop(lambda: len(service.engine.decisions))
            terminal.type("\x03")
            assert await asyncio.to_thread(terminal.end) == 0


async def test_reports_a_context_and_dreams_of_it(tmp_path: Path) -> None:
    context = {"prompt": PRIVATE, "reply": "I am here", "trauma_level": 0.9}
    words = ["sh", str(BROKEN), "context", json.dumps({"context": context})]
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words) as told:
        await until_on_loop(lambda: len(service.engine.decisions))
        assert service.engine.decisions.newest(1)[0].reason == "dream"
        await settled(service)
    assert PRIVATE not in "".join(told)


async def test_a_dialogue_goes_on_when_the_host_is_back(tmp_path: Path) -> None:
    """It dies in the second of three lines; what was observed is not observed again."""
    words = numbered(tmp_path, "os._exit(3)", 3)
    settings = SETTINGS | {"dialogue__turns_min": 3, "dialogue__turns_max": 3}
    async with serving(tmp_path / "state", **settings) as service, hosting(service, words) as told:
        found = await dreamt(service)
        assert service.failures.counts["host: process_ended"] == 1
    assert (found["outcome"], found["lines"], found["undone"]) == ("complete", 3, None)
    heard = (tmp_path / "heard").read_text().splitlines()
    assert heard == [each["text"] for each in found["turns"]]
    assert told[1] == "it ended with exit code 3; it starts again in 0.001 s"
    assert told[0] == told[2] == "numbered is connected, and provides generate, observe"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "it was ended by SIGKILL"),
        ("os.close(1); sys.stdin.read(); sys.exit()", "it closed its output"),
        ("os.close(0); signal.pause()", "it closed its input"),
    ],
)
async def test_starts_again_after_any_end(tmp_path: Path, act: str, said: str) -> None:
    words = numbered(tmp_path, act, 1)
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words) as told:
        assert (await dreamt(service))["outcome"] == "complete"
    assert said in told[1]


async def test_ends_a_host_that_hangs(tmp_path: Path) -> None:
    waits = Waits(answer_s=0.3, first_retry_s=0.001)
    words = numbered(tmp_path, "sys.stdin.read(); sys.exit()", 1)
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words, waits) as told:
        assert (await dreamt(service))["outcome"] == "hook_error"
        assert service.failures.counts["generate: HostTimeout"] == 1
        assert (await dreamt(service))["outcome"] == "complete"
    assert told[1].startswith("it left two calls in a row without an answer in 0.3 s; it starts again")


async def test_drops_wrong_lines_and_goes_on(tmp_path: Path) -> None:
    act = f'print("{PRIVATE}"); put(id=99); put(hello={{}}); put(context=5)'
    words = numbered(tmp_path, act, 2)
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words) as told:
        assert (await dreamt(service))["outcome"] == "complete"
    assert told[1:] == [
        f"a line that it printed was dropped: {NOISE}",
        "it answered a call that is not open: each call gets one answer, with its own id",
    ]


async def test_a_wrong_answer_fails_its_call_at_once(tmp_path: Path) -> None:
    words = numbered(tmp_path, f'put(id=call["id"], text=["{PRIVATE}"]); call = {{}}', 1)
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words) as told:
        assert (await dreamt(service))["outcome"] == "hook_error"
        assert service.failures.counts["generate: BadLineError"] == 1
    assert PRIVATE not in "".join(told)


async def test_the_error_of_a_host_is_counted_by_its_kind(tmp_path: Path) -> None:
    words = numbered(tmp_path, f'put(id=call["id"], error="ValueError: {PRIVATE}"); call = {{}}', 1)
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words):
        assert (await dreamt(service))["outcome"] == "hook_error"
        assert service.failures.counts["generate: ValueError"] == 1


async def test_name_and_origin_are_those_of_the_options(tmp_path: Path) -> None:
    words = numbered(tmp_path, origin=["I am of the hello."])
    wanted = {"name": "given", "origin": ["I am of the file."]}
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words, **wanted):
        await until_on_loop(lambda: connected(service))
        assert [each.name for each in connected(service)] == ["given"]
        async with await onlooker(service) as peer:
            await until_on_loop(lambda: service.friend.seeded)
            fragments = await peer.call("friend.fragments")
    assert [each["text"] for each in fragments] == ["I am of the file."]


async def test_a_dream_of_a_host_is_taken_back(tmp_path: Path) -> None:
    words = numbered(tmp_path, provides=["generate", "observe", "unobserve"])
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words):
        found = await dreamt(service)
        async with await onlooker(service) as peer:
            undone = await peer.call("dialogs.undream", {"id": found["id"]})
    assert [each["state"] for each in undone["dialogs"]] == ["done"]


async def test_recalls_for_a_dream(tmp_path: Path) -> None:
    words = ["sh", str(BROKEN), "all"]
    async with serving(tmp_path / "state", **SETTINGS) as service, hosting(service, words):
        assert (await dreamt(service))["lines"] >= 1
        async with await onlooker(service) as peer:
            hooks = (await peer.call("status"))["hooks"]
    assert hooks["recall"]["calls"] == 1


ADVICE = "; `dreamctl host --check` says more"
NO_HELLO = [
    (["true"], f"it ended with exit code 0 before its hello{ADVICE}"),
    (["sh", str(BROKEN), "answer_first"], f"its first line is no hello{ADVICE}"),
    (["echo", PRIVATE], f"its first line is no hello: {NOISE}{ADVICE}"),
    (["cat"], f"it said no hello in 0.2 s{ADVICE}"),
    (["/"], "it could not be started: Permission denied"),
]


async def test_tells_why_there_is_no_hello(tmp_path: Path) -> None:
    for words, said in NO_HELLO:
        told = list[str]()
        waits = Waits(hello_s=0.2 if words == ["cat"] else 20.0, first_retry_s=60.0)
        running = asyncio.create_task(Hosting(Wanted(words, tmp_path / "s"), waits, told.append).run())
        await until_on_loop(told.copy)
        running.cancel()
        await asyncio.wait({running})
        assert told == [f"{said}; it starts again in 60 s"]


def test_waits_longer_from_start_to_start_unless_it_ran_well() -> None:
    waits, found = Waits(), [0.0]
    for ran_s in (0.1, 0.1, 0.1, 3.9, 4.1, *[0.1] * 8):
        found.append(waits.next_retry_s(found[-1], ran_s))
    assert found[1:] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60]
    assert waits.next_retry_s(60, 61) == 1


# As a process of its own.


def test_runs_until_a_signal_and_ends_its_command(tmp_path: Path) -> None:
    words = numbered(tmp_path)
    for number in (signal.SIGINT, signal.SIGTERM):
        process = spawn_dreamctl("--state-dir", tmp_path, "host", "--", *words, cwd=tmp_path)
        assert process.stderr is not None
        assert "numbered waits for a daemon: " in process.stderr.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        process.send_signal(number)
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0
        until(lambda: not os.path.exists(f"/proc/{children[0]}"))  # noqa: B023


def test_goes_on_under_nohup_when_the_terminal_is_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dreamd.ctl", "--state-dir", tmp_path, "host", "--", *numbered(tmp_path)]
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *map(str, command)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stderr is not None
        assert "numbered waits for a daemon: " in process.stderr.readline()
        (ignored,) = re.findall(
            r"^SigIgn:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert int(ignored, 16) & 1  # SIGHUP: proc(5)


def test_standard_error_goes_to_the_terminal_or_to_a_file(tmp_path: Path) -> None:
    loud = ["--", "sh", "-c", f"echo {PRIVATE} >&2; exec sh '{BROKEN}' dies"]
    process = spawn_dreamctl("host", "--check", *loud, cwd=tmp_path)
    assert process.communicate(timeout=20)[1] == f"{PRIVATE}\n"
    file = tmp_path / "said"
    for _ in range(2):  # the second time it is appended to
        assert PRIVATE not in dreamctl("host", "--check", "--stderr", file, *loud).output
    assert file.read_text() == f"{PRIVATE}\n" * 2
    assert file.stat().st_mode & 0o777 == 0o600


async def test_standard_error_is_dropped_and_counted_where_a_journal_would_get_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "state", **SETTINGS) as service:
        with (tmp_path / "journal").open("w+") as journal:
            of_journal = os.fstat(journal.fileno())
            words = numbered(
                tmp_path, f"sys.stderr.write('{PRIVATE}\\n' * 3); sys.stderr.flush(); os._exit(1)", 1
            )
            env = {**os.environ, "JOURNAL_STREAM": f"{of_journal.st_dev}:{of_journal.st_ino}"}
            command = [
                sys.executable,
                "-m",
                "dreamd.ctl",
                "--socket",
                str(service.socket),
                "host",
                "--",
                *words,
            ]
            process = await asyncio.create_subprocess_exec(*command, stderr=journal, env=env)
            await dreamt(service)
            assert service.failures.counts["host: stderr_dropped"] == 3
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            journal.seek(0)
            said = journal.read()
    assert PRIVATE not in said
    assert "host: it ended with exit code 1" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Missing argument 'COMMAND [ARGS]...'"),
        (["--", "no-such-command"], "there is no command 'no-such-command'; for shell syntax use sh -c '..'"),
        (["--name", "", "--", "true"], "--name takes 1 to 64 characters"),
        (["--origin", "/dev/null/x", "--", "true"], "'--origin'"),
        (["--stderr", "{folder}/no/file", "--", "true"], "No such file or directory"),
        (["--timeout", "0", "--", "true"], "'--timeout'"),
    ],
)
def test_wrong_usage_is_one_sentence(tmp_path: Path, options: list[str], said: str) -> None:
    result = dreamctl("host", *(each.format(folder=tmp_path) for each in options))
    assert result.exit_code == 2
    assert said in result.stderr


def test_refuses_an_origin_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "origin"
    for data, said in ((b"\xff", "not UTF-8 text"), (b"a" * (513 << 10), "has more than 524288 bytes")):
        file.write_bytes(data)
        result = dreamctl("host", "--origin", file, "--", "true")
        assert result.exit_code == 2
        assert said in result.stderr
