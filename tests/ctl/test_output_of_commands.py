"""The output of each command at 80 and 40 columns, on a dumb terminal, in a pipe, and at early ends."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

import dreamd.ctl
from dreamd.ctl.__main__ import main
from tests.ctl.conftest import SHARDS, at_home
from tests.ctl.test_main import ALL
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.dreamctl import UNSET, spawn_dreamctl
from tests.helpers.terminal import Terminal

# Those that run until Ctrl-C, and `dream` and `demo`, have their own tests.
COMMANDS = [
    "status",
    "doctor",
    "why",
    "recent",
    "show --full",
    "replay",
    "friend",
    "friend checkpoint",
    "friend diff",
    "drift",
    "effect",
    "report --out {folder}/page.html --force",
    "inbox ls",
    "inbox show sim-1",
    "inbox persist {folder}/shards.json",
    "inbox verify",
    "inbox sweep",
    "inbox ack sim-2",
    "inbox schema",
    "service uninstall --dry-run",
    "service status",
    "leo check {folder} --python {python}",
    "leo uninstall {folder} --dry-run",
    "completions zsh",
    "call why 1",
    "stats",
    "backup {folder}/copy.sqlite3 --force",
]
WORDS = ("quiet old word, old “door”", "the rain is 3 × as near", "who keeps the café", "you do")


@pytest.fixture(scope="module")
def dreamt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A daemon in which leo has dreamt, and what the commands speak of."""
    folder = tmp_path_factory.mktemp("a terminal")
    with at_home(folder, WORDS, "I am small ≤ as I am.") as (daemon, client):
        client.call("dream.context", {"prompt": "p", "reply": "r", "pulse": {"novelty": 0.12}})
        client.dream_now()
        client.dream_now()
        client.call("friend.checkpoint", "one")
        for trace_id in ("sim-1", "sim-2"):
            client.call("inbox.persist", SHARDS | {"result": SHARDS["result"] | {"trace_id": trace_id}})
        yield {"folder": str(folder), "state": str(daemon.state_dir), "python": sys.executable}


def read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # EIO: so a terminal ends
        return b""


@pytest.fixture
def person(dreamt: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs a command in this process, on a terminal or into a pipe: the exit code, and what is seen."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", dreamt["folder"])
    monkeypatch.setattr(sys, "prefix", "/usr")

    def run(command: str, columns: int, term: str, *, piped: bool = False) -> tuple[int, str]:
        argv = [
            "dreamctl",
            "--state-dir",
            dreamt["state"],
            *(word.format(**dreamt) for word in command.split()),
        ]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", term)
        ours, theirs = os.pipe() if piped else pty.openpty()  # each holds more than any of them prints
        with monkeypatch.context() as stdout, os.fdopen(theirs, "w", encoding="utf-8") as out:
            stdout.setattr(sys, "stdout", out)
            with pytest.raises(SystemExit) as ended:
                main()
            sys.stdout.flush()
        with open(ours, "rb", buffering=0) as reading:
            seen = b"".join(iter(lambda: read(reading.fileno()), b"")).decode()
        return int(ended.value.code or 0), seen.replace("\r\n", "\n")

    return run


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def still(text: str) -> str:
    """Return an output without its parts that change: numbers, and the signature of a token."""
    return re.sub(r"[0-9a-f]{64}", "", re.sub(r"[0-9.]+", "0", text))


def whole(line: str) -> bool:
    """Return whether a line may be wider than the terminal, because it holds a path or a command to copy."""
    return any(sign in line for sign in ("/", "`", "dreamctl", "systemctl"))


def copied(text: str, dreamt: dict[str, str]) -> Counter[str]:
    """Return the parts that users copy: commands, and the paths of this test, which hold blanks."""
    found = re.findall(rf"`[^`]+`|{re.escape(dreamt['folder'])}[^\s'`:;]*", plain(text))
    return Counter(still(one) for one in found)


@pytest.mark.parametrize("command", COMMANDS)
def test_output_of_each_command_on_each_terminal(
    dreamt: dict[str, str], person: Callable[..., tuple[int, str]], command: str
) -> None:
    code, wide = person(command, 80, "xterm")
    assert code == 0
    narrow, dumb = person(command, 40, "xterm")[1], person(command, 80, "dumb")[1]
    folded = not command.startswith(("completions", "call", "inbox schema"))
    for text, columns in ((plain(wide), 80), (plain(narrow), 40), (dumb, 80)):
        assert text.strip()
        assert [
            line for line in text.splitlines() if folded and len(line) > columns and not whole(line)
        ] == []
    assert dumb.isascii()
    assert "\x1b" not in dumb
    piped = person(command, 80, "dumb", piped=True)[1]
    assert "\x1b" not in piped
    assert still(piped) == still(person(command, 40, "xterm", piped=True)[1])  # UTF-8, and nothing is folded
    assert set(still(plain(wide)).split()) <= set(still(piped).split())
    assert set(still(plain(narrow)).split()) <= {*still(plain(wide)).split(), "-"}
    for text in (wide, narrow, dumb):
        assert copied(text, dreamt) == copied(piped, dreamt)


EMPTY = ("recent", "why", "show -n 2", "friend", "friend checkpoint", "friend diff now now", "drift", "diary",
         "stats", "effect", "search x", "whence x y")  # fmt: skip


@pytest.mark.parametrize("command", EMPTY)
def test_says_in_narrow_columns_that_there_is_nothing(
    dreamt: dict[str, str], person: Callable[..., tuple[int, str]], command: str
) -> None:
    state = Path(dreamt["folder"], "empty")
    state.mkdir(exist_ok=True)
    (state / "dream.sqlite3").touch()
    code, shown = person(f"--state-dir {{folder}}/empty {command}", 40, "xterm")
    assert (code, bool(shown.strip())) == (0, True)
    assert [line for line in plain(shown).splitlines() if len(line) > 40 and not whole(line)] == []


def test_folds_a_note(dreamt: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dream.sqlite3").touch()
    command = [sys.executable, "-m", "dreamd.ctl", "--state-dir", tmp_path, "recent"]
    with Terminal(command, tmp_path, columns=40, TERM="dumb") as terminal:
        assert terminal.end() == 0
    assert terminal.seen.startswith("No daemon answers; this is read from\r\n/")


def test_json_loses_nothing_on_a_dumb_terminal(person: Callable[..., tuple[int, str]]) -> None:
    (_, dumb), (_, usual) = person("show --json", 80, "dumb"), person("show --json", 80, "xterm")
    assert dumb.isascii()
    assert not usual.isascii()
    assert json.loads(dumb) == json.loads(usual)


@pytest.mark.parametrize(
    "command",
    [
        "report --out {folder}/written --force",
        "export {folder}/written --force --format md",
        "export {folder}/written --force --format txt",
    ],
)
def test_what_a_file_holds_does_not_depend_on_the_terminal(
    dreamt: dict[str, str], person: Callable[..., tuple[int, str]], command: str
) -> None:
    assert person(command, 80, "dumb")[0] == 0
    assert "keeps the café" in Path(dreamt["folder"], "written").read_text(encoding="utf-8")


COUNTED = ("why", "recent", "show", "search old", "whence old", "friend", "drift")


@pytest.mark.parametrize("command", COUNTED)
def test_json_has_as_many_entries_as_were_asked_for(
    person: Callable[..., tuple[int, str]], command: str
) -> None:
    shown = [json.loads(person(f"{command} -n {count} --json", 80, "xterm")[1]) for count in (1, 2)]
    assert list(map(len, shown)) == [1, 2]


def test_every_command_that_counts_is_among_these() -> None:
    counting = {name for name, command in ALL.items() if "-n" in {o for p in command.params for o in p.opts}}
    assert counting - {"report", "service logs", "friend diff"} == {words.split()[0] for words in COUNTED}


@pytest.mark.parametrize(
    "command", ["recent", "show", "status --json", "friend", "inbox ls", "completions bash", "dream"]
)
def test_a_closed_pipe_prints_no_traceback(dreamt: dict[str, str], tmp_path: Path, command: str) -> None:
    """In `dreamctl recent | head -1` head may end first."""
    ours, theirs = os.pipe()
    os.close(ours)
    process = spawn_dreamctl("--state-dir", dreamt["state"], *command.split(), cwd=tmp_path, stdout=theirs)
    os.close(theirs)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "")


@pytest.mark.parametrize(
    ("command", "closed", "code"),
    [("recent", ">&-", 0), ("forget 99", "<&-", 4), ("call why -", "<&-", 2), ("show 99", "2>&-", 4)],
)
def test_a_closed_standard_stream_is_no_error(
    dreamt: dict[str, str], tmp_path: Path, command: str, closed: str, code: int
) -> None:
    words = [sys.executable, "-m", "dreamd.ctl", "--state-dir", dreamt["state"], *command.split()]
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *words],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False)


def test_ctrl_c_prints_no_traceback(socket: Path, tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        asked.set()
        go_on.wait(30)

    with LittleDaemon(socket, {"dream.now": slow, "events.subscribe": lambda *_: True}):
        process = spawn_dreamctl("--socket", socket, "dream", cwd=tmp_path)
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
        go_on.set()
    assert (process.returncode, out, said) == (1, "", "")


def test_ctrl_c_while_modules_are_imported_prints_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(MetaPathFinder):
        def find_spec(self, *_: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "dreamd.ctl.__main__")
    monkeypatch.setattr(sys, "meta_path", [Interrupted()])
    with pytest.raises(SystemExit) as ended:
        dreamd.ctl.main()
    assert ended.value.code == 1


def test_reports_a_removed_working_folder(tmp_path: Path) -> None:
    lost = ["sh", "-c", 'mkdir lost && cd lost && rmdir ../lost && exec "$@"', "sh"]
    command = [*lost, sys.executable, "-m", "dreamd.ctl", "--state-dir", "x", "status"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "dreamctl: the current folder is not there any more; go to one that is\n"


@pytest.mark.parametrize(
    ("columns", "rows"), [(80, "outcome   lines  first words"), (40, "outcome   first words")]
)
def test_the_width_is_that_of_the_terminal(
    dreamt: dict[str, str], tmp_path: Path, columns: int, rows: str
) -> None:
    """The test runs dreamctl in a process of its own, without COLUMNS."""
    recent = [sys.executable, "-m", "dreamd.ctl", "--state-dir", dreamt["state"], "recent"]
    with Terminal(recent, tmp_path, columns=columns, TERM="dumb") as terminal:
        assert terminal.end() == 0
    assert rows in terminal.seen.splitlines(keepends=True)[0]
    assert max(map(len, terminal.seen.splitlines())) <= columns


@pytest.mark.parametrize("words", [["show", "99"], ["recent", "-n", "0"], ["inbox", "ack", "zz", "yy"]])
def test_errors_are_folded_on_a_terminal(dreamt: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "dreamd.ctl", "--state-dir", dreamt["state"], *words]
    with Terminal(command, tmp_path, columns=40, TERM="dumb") as terminal:
        assert terminal.end() != 0
    lines = terminal.seen.splitlines()
    assert any(line.startswith("Error: ") for line in lines)
    assert [line for line in lines if len(line) > 40 and not whole(line)] == []
