"""`completions`: a real bash, and the words that every shell gets."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class
from dreamclient.clients.thread import DreamClient

from dreamd.ctl.__main__ import COMMANDS, cli
from dreamd.ctl.commands.completions import SHELLS, join_words
from dreamd.dream.trial import ComparedReply
from dreamd.store.trial import keep_trial
from dreamd.wire.handlers import TABLE
from tests.ctl.conftest import LINES, Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.terminal import Terminal

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # dreamctl as it is installed


@pytest.fixture(scope="module")
def dreamt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with two dialogues, two checkpoints, and two traces that wait."""
    speaker = Speaker(LINES)
    with DaemonProcess(tmp_path_factory.mktemp("complete") / "state") as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            for name in ("monday", "tuesday"):
                client.dream_now()
                client.call("friend.checkpoint", name)
        yield daemon


def offered(daemon: DaemonProcess, *words: str) -> list[str]:
    """Return the completions of the last of `words`, by the protocol of all three scripts."""
    shell = get_completion_class("bash")
    assert shell is not None
    completion = shell(cli, {}, "dreamctl", "_DREAMCTL_COMPLETE")
    place = [] if "--socket" in words else ["--state-dir", str(daemon.state_dir)]
    given = [*place, *words[:-1]]
    return [item.value for item in completion.get_completions(given, words[-1])]


def test_offers_commands_and_options(dreamt: DaemonProcess) -> None:
    assert offered(dreamt, "") == list(COMMANDS)
    assert offered(dreamt, "re") == ["recent", "replay", "resume", "report", "restore"]
    assert offered(dreamt, "inbox", "ver") == ["verify"]
    assert offered(dreamt, "show", "--f") == ["--full"]
    assert offered(dreamt, "completions", "") == list(SHELLS)


def test_offers_ids_and_names(dreamt: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    recent = json.loads(dreamctl("--socket", dreamt.socket, "recent", "--json").stdout)
    newest, oldest = (each["trace_id"] for each in recent)
    for command in ("show", "replay"):
        assert offered(dreamt, command, "") == ["last", "2", "1"]
        assert offered(dreamt, command, "l") == ["last"]
        assert offered(dreamt, command, "dream-") == [newest, oldest]
        assert offered(dreamt, command, oldest[:-1]) == [oldest]
        assert offered(dreamt, command, "x") == []
    for words in (["restore"], ["checkpoint"], ["export", "f", "--checkpoint"]):
        assert set(offered(dreamt, "friend", *words, "")) == {"monday", "tuesday"}
        assert offered(dreamt, "friend", *words, "t") == ["tuesday"]
    assert offered(dreamt, "friend", "restore", "--before", "") == ["last", "2", "1"]
    assert offered(dreamt, "friend", "diff", "1", "") == ["now", "tuesday", "monday", "last", "2", "1"]
    fragments = json.loads(dreamctl("--socket", dreamt.socket, "friend", "--json").stdout)
    learned = [str(each["id"]) for each in fragments if not each["origin"]]
    assert learned
    assert offered(dreamt, "friend", "drop", "") == learned
    for command in ("show", "ack"):
        assert offered(dreamt, "inbox", command, "") == ["last", oldest, newest]
        assert offered(dreamt, "inbox", command, newest[:-1]) == [newest]
    monkeypatch.delenv("DREAMD_STATE_DIR", raising=False)
    assert offered(dreamt, "--socket", str(dreamt.socket), "inbox", "ack", newest) == [newest]


def test_offers_the_clients_whose_replies_were_compared(dreamt: DaemonProcess) -> None:
    replies = [
        ComparedReply(
            at=1.0, client=client, chance=0.5, dreamt=True, fed=True, novelty=0.5, quality=None, distinct_pairs=None,
            origin=None, from_dreams=None,
        )
        for client in ("eva", "leo", "leo")
    ]  # fmt: skip
    with closing(sqlite3.connect(dreamt.state_dir / "dream.sqlite3")) as connection, connection:
        keep_trial(connection, replies)
    assert offered(dreamt, "effect", "--client", "") == ["leo", "eva"]
    assert offered(dreamt, "effect", "--client", "e") == ["eva"]


def test_offers_methods_and_sessions(dreamt: DaemonProcess) -> None:
    assert set(offered(dreamt, "call", "dialogs.")) == {name for name in TABLE if name.startswith("dialogs.")}
    assert offered(dreamt, "call", "gen") == []  # it is a host's
    assert offered(dreamt, "trace", "--method", "gen") == ["generate"]
    with DreamClient(socket_path=dreamt.socket) as client:
        assert client.start(10.0)
        own = str(client.daemon["session"])
        for command in ("trace", "dream"):
            assert offered(dreamt, command, "--session", own) == [own]


def test_offers_and_prints_nothing_after_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """There is no daemon, a stopped one, an impossible path, or an unreadable inbox."""
    daemon = DaemonProcess(tmp_path / "state")
    assert offered(daemon, "show", "") == ["last"]
    assert offered(daemon, "friend", "restore", "") == []
    assert offered(daemon, "inbox", "ack", "") == []
    assert offered(daemon, "dream", "--session", "") == []
    assert offered(daemon, "effect", "--client", "") == []
    assert offered(daemon, "--socket", "/" + "x" * 200, "friend", "restore", "") == []
    with daemon:
        os.kill(daemon.process.pid, signal.SIGSTOP)
        assert offered(daemon, "friend", "restore", "") == []
    shutil.rmtree(tmp_path / "state/inbox/dreams")
    (tmp_path / "state/inbox/dreams").write_text("no folder")
    assert offered(daemon, "inbox", "ack", "") == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_its_script_and_asks_by_it(dreamt: DaemonProcess, shell: str) -> None:
    script = dreamctl("completions", shell).stdout
    assert f"_DREAMCTL_COMPLETE={shell}_complete" in script
    words = f"dreamctl --state-dir {dreamt.state_dir} friend restore t"
    place = "t" if shell == "fish" else "5"  # fish tells the word, the others its number
    env = {"_DREAMCTL_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": place, "PATH": PATH}
    asked = subprocess.run(["dreamctl"], env=env, capture_output=True, text=True, timeout=30)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.replace("\n", ",").startswith("plain,tuesday")


def test_tab_completes_in_a_real_bash(dreamt: DaemonProcess, tmp_path: Path) -> None:
    script = tmp_path / "dreamctl.bash"
    script.write_text(dreamctl("completions", "bash").stdout)
    bash = ["bash", "--noprofile", "--norc", "-i"]
    with Terminal(bash, tmp_path, columns=200, PATH=PATH, PS1="ready> ", HISTFILE="") as terminal:
        terminal.until("ready> ")
        terminal.type(f". {script}; export DREAMD_STATE_DIR={dreamt.state_dir}\n")
        terminal.until("ready> ", times=2)
        terminal.type("dreamctl repl\tla\t\n")
        terminal.until("ready> ", times=3)
        terminal.type("dreamctl friend di\tmon\ttu\t\n")
        terminal.until("ready> ", times=4)
        terminal.type("exit\n")
        assert terminal.end() == 0
    assert "dreamctl replay last " in terminal.seen
    assert "dreamctl friend diff monday tuesday " in terminal.seen
    assert "Dialogue 2, " in terminal.seen
    assert "1 changed in weight" in terminal.seen


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["--state-dir", "=", "{state}", "friend", "restore", "t"], ["tuesday"]),
        (["--state-dir", "=", "{state}", "show", ""], ["last", "2", "1"]),
        (["--socket", "=", "{state}/dreamd.sock", "friend", "restore", "m"], ["monday"]),
        (["--json", "--state-dir", "=", "{state}", "recent", "--j"], ["--json"]),
        (["--state-dir", "="], []),
        (["--state-dir", "=", "/"], []),
        (["--socket", "=", "/nowhere/a", ":", "b", "friend", "rest"], ["restore"]),
    ],
)
def test_understands_words_that_bash_splits(
    dreamt: DaemonProcess, tmp_path: Path, words: list[str], offers: list[str]
) -> None:
    script = dreamctl("completions", "bash").stdout
    given = " ".join(f"'{word.format(state=dreamt.state_dir)}'" for word in words)
    asked = f"""{script}
        COMP_WORDS=(dreamctl {given}) COMP_CWORD={len(words)}
        _dreamctl_completion dreamctl 2>&1
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    env = {"PATH": PATH, "HOME": str(tmp_path)}
    ran = subprocess.run(["bash", "-c", asked], env=env, capture_output=True, text=True, timeout=30)
    assert ran.stdout.split() == offers


def test_joins_words_as_they_were_typed() -> None:
    assert join_words(["a", "=", "b"]) == ["a", "=", "b"]
    assert join_words(["--x", "=", "b", "c"]) == ["--x=b", "c"]
    assert join_words(["--x", "="]) == ["--x"]
    assert join_words(["--x", "=", "a", ":", "b", "@", "c", "d"]) == ["--x=a:b@c", "d"]
    assert join_words([]) == []
