"""The whole demo with a real daemon, from every kind of input."""

import fcntl
import json
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random
from shlex import quote

import pytest

from dreamd.ctl.commands.demo.command import OPENING, PROMPTS, make_fresh_folder
from dreamd.ctl.commands.demo.corpus import CORPUS_BYTES, plain, read_corpus
from dreamd.ctl.stand_in.field import TrigramField, read_story, split_sentences
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.terminal import Terminal
from tests.helpers.waiting import until

DEADLINE_S = 30.0


def run(tmp_path: Path, *arguments: object, said: str | None = None, **env: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of `dreamctl demo` in `tmp_path`, given `said` through a pipe."""
    stdin = subprocess.DEVNULL if said is None else subprocess.PIPE
    process = spawn_dreamctl("--state-dir", "state", "demo", *arguments, cwd=tmp_path, stdin=stdin, **env)
    out, err = process.communicate(said, timeout=DEADLINE_S)
    return process.returncode, out, err


def free(state: Path) -> bool:
    """Return whether no daemon holds the lock of the state folder."""
    with (state / "dreamd.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_without_input_and_folder_it_holds_a_conversation_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Leo's own dreams, in the default folder, are left alone."""
    process = spawn_dreamctl("demo", cwd=tmp_path, XDG_STATE_HOME=str(tmp_path))
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    for prompt in PROMPTS:
        assert f"   you  {prompt}\n" in out
    assert out.count("Does it dream? Yes") == len(PROMPTS)
    assert "\x1b" not in out
    assert "\nfriend  " in out
    lines, files = (
        int(re.search(r"(\d+) lines", out)[1]),
        re.findall(r"dreamd/demo/inbox/dreams/\S+\.json", out),
    )
    assert len(files) == len(PROMPTS)
    shards = [shard for file in files for shard in json.loads((tmp_path / file).read_text())["shards"]]
    assert "  rows  dreamd/demo/dream.sqlite3\n" in out
    assert not (tmp_path / "dreamd/dream.sqlite3").exists()
    with sqlite3.connect(tmp_path / "dreamd/demo/dream.sqlite3") as database:
        texts = [text for (text,) in database.execute("SELECT text FROM dream_turns ORDER BY id")]
    database.close()
    assert len(texts) == lines
    assert sorted(texts) == sorted(shard["text"] for shard in shards)
    for text in texts:
        assert " ".join(text.split()) in " ".join(out.split())
    assert out.split("The daemon has been stopped.\n")[1] == (
        f"\nRead the dreams  dreamctl --state-dir dreamd/demo show -n {len(PROMPTS)}\n"
        "All on one page  dreamctl --state-dir dreamd/demo report --open\n"
        "Into your leo    dreamctl leo install PATH_OF_LEO\n"
    )
    assert free(tmp_path / "dreamd/demo")
    for words in ("show -n 4", "report"):
        told = spawn_dreamctl("--state-dir", "dreamd/demo", *words.split(), cwd=tmp_path)
        said, _ = told.communicate(timeout=DEADLINE_S)
        assert (told.returncode, bool(said)) == (0, True)


def test_each_line_of_a_pipe_is_a_prompt(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, said="Do you know the sea?\n\n \nAnd \x1b[31mthe moon?")
    assert code == 0
    assert out.count("   you  ") == 2
    assert "   you  Do you know the sea?\n" in out
    assert "   you  And  [31mthe moon?\n" in out


def test_questions_to_the_program_are_no_prompts(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "--json", said="/help\n?\nWho are you?\nQUIT\nNever said.\n")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["type"] for event in events[:4]] == ["intro", "help", "help", "reply"]
    assert [event["prompt"] for event in events if event["type"] == "reply"] == ["Who are you?"]
    assert events[-1]["type"] == "end"


def test_an_empty_or_silent_pipe_counts_as_no_input(tmp_path: Path) -> None:
    assert f"   you  {PROMPTS[0]}" in run(tmp_path, said="\n\n")[1]
    silent = spawn_dreamctl("--state-dir", "state", "demo", cwd=tmp_path, stdin=subprocess.PIPE)
    out = silent.stdout.read()  # with its stdin open all the while
    silent.communicate(timeout=DEADLINE_S)
    assert f"   you  {PROMPTS[0]}" in out


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "--json", said="Hello, small one.\n")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    kinds = [event["type"] for event in events]
    lines = kinds.count("line")
    assert kinds == ["intro", "reply", "decision", *["line"] * lines, "dialog.finished", "friend", "end"]
    assert 1 <= lines <= 4
    friend, end = events[-2:]
    added = [fragment["text"] for fragment in friend["moved"] if fragment["before"] is None]
    assert set(added) <= {event["text"] for event in events if event["type"] == "line"}
    assert [
        fragment["after"] for fragment in friend["moved"] if fragment["before"] == 1.0
    ]  # what was drawn faded
    assert (end["dialogues"], end["lines"], len(end["files"])) == (1, lines, 1)
    field = TrigramField(Random(OPENING))
    field.observe(read_story())
    assert events[1]["reply"] == field.reply("Hello, small one.")


def test_corpus_feeds_the_field_and_the_origin_of_the_friend(tmp_path: Path) -> None:
    (tmp_path / "my rhymes.txt").write_bytes(
        b"\xef\xbb\xbfThe goat ate the hat. The goat sat. The hat was \xc3\xa9 red."
    )
    code, out, _ = run(tmp_path, "--corpus", "my rhymes.txt", "--json", said="goat\n")
    assert code == 0
    intro, reply, *_ = (json.loads(line) for line in out.splitlines())
    assert intro["source"] == "my rhymes.txt"
    assert set(re.findall(r"\w+", reply["reply"].lower())) <= {
        "the",
        "goat",
        "ate",
        "hat",
        "sat",
        "was",
        "é",
        "red",
    }
    (folder,) = (tmp_path / "state").iterdir()
    assert folder.name.startswith("corpus-my-rhymes-")
    with sqlite3.connect(folder / "dream.sqlite3") as database:
        origin = {
            text
            for (text,) in database.execute("SELECT text FROM dream_bootstrap_fragments WHERE origin = 1")
        }
    database.close()
    assert "The goat sat." in origin


@pytest.mark.parametrize("content", [b"", b" ... \n", None])
def test_a_corpus_without_words_is_wrong_usage(tmp_path: Path, content: bytes | None) -> None:
    corpus = tmp_path / "corpus.txt"
    if content is not None:
        corpus.write_bytes(content)
    result = dreamctl("--state-dir", tmp_path / "state", "demo", "--corpus", corpus)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "corpus.txt" in result.stderr
    assert not (tmp_path / "state").exists()


def test_a_corpus_that_cannot_be_read_is_a_problem_even_with_stdin_closed(tmp_path: Path) -> None:
    command = f"exec {quote(sys.executable)} -m dreamd.ctl demo --corpus /proc/self/mem <&-"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=DEADLINE_S)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "/proc/self/mem" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_daemon_that_serves_the_folder_is_used_and_left_alone(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "state", "--set", "gate.novelty_above=2") as daemon:
        code, out, _ = run(tmp_path, said="Hello.\n")
        assert code == 0
        assert "A daemon serves this folder already." in out
        assert "Does it dream? No (calm: nothing called for a dream, since novelty" in out
        assert "\n    it  " in out.split("all the same")[1]
        assert "The daemon goes on.\n" in out
        assert daemon.call("status")["decisions"] == {"calm": 1, "asked": 1}


def test_reports_a_refused_dream(tmp_path: Path) -> None:
    """Another program holds its database, so no dream can be kept, and the demo reports that."""
    with DaemonProcess(tmp_path / "state") as daemon:
        assert run(tmp_path, said="Hello.\n")[0] == 0
        with closing(sqlite3.connect(tmp_path / "state/dream.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            code, out, _ = run(tmp_path, said="Hello.\nHello again.\n")
        assert code == 0
        assert "(UNAVAILABLE, 10)" in out.split("No dream: ")[1].splitlines()[0]
        assert "0 lines" in out
        assert daemon.process.poll() is None


def test_inbox_disabled_leaves_no_file_and_waits_for_none(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, "--json", said="Hello.\n", DREAMD_INBOX__ENABLED="0")
    end = json.loads(out.splitlines()[-1])
    assert (code, end["files"]) == (0, [])
    assert end["lines"] > 0


def test_a_long_path_with_spaces_gets_a_private_socket(tmp_path: Path) -> None:
    """The terminal closes. Then no file is left in the folder of temporary files."""
    folder, temporaries = tmp_path / ("a long way " * 9).strip(), tmp_path / "t"
    folder.mkdir()
    temporaries.mkdir()
    process = spawn_dreamctl(
        "--state-dir", "state", "--json", "demo", cwd=folder, stdin=subprocess.PIPE, TMPDIR=str(temporaries)
    )
    assert json.loads(process.stdout.readline())["type"] == "intro"
    (private,) = [place for place in temporaries.iterdir() if place.is_dir()]
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + signal.SIGHUP
    assert list(temporaries.iterdir()) == []
    assert (folder / "state/dream.sqlite3").exists()
    assert free(folder / "state")


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    code, out, err = run(tmp_path)
    assert (code, out) == (3, "")
    assert "the daemon did not start (exit code 4)" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_in_order(tmp_path: Path, number: int) -> None:
    process = spawn_dreamctl("--state-dir", "state", "--json", "demo", cwd=tmp_path, stdin=subprocess.PIPE)
    process.stdin.write("Hello.\n")
    process.stdin.flush()
    while json.loads(process.stdout.readline())["type"] != "friend":
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    if number == signal.SIGINT:
        assert process.returncode == 0
        assert json.loads(out.splitlines()[-1])["type"] == "end"
    else:
        assert process.returncode == 128 + number
    assert err == ""
    assert free(tmp_path / "state")


def test_notices_a_daemon_that_dies(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "state") as daemon:
        process = spawn_dreamctl(
            "--state-dir", "state", "--json", "demo", cwd=tmp_path, stdin=subprocess.PIPE
        )
        process.stdin.write("Hello.\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline())["type"] != "friend":
            pass
        daemon.kill()
        _, err = process.communicate("Are you there?\n", timeout=DEADLINE_S)
    assert process.returncode == 3
    assert "Traceback" not in err


def test_a_closed_pipe_prints_no_traceback_and_leaves_no_daemon(tmp_path: Path) -> None:
    process = spawn_dreamctl("--state-dir", "state", "demo", cwd=tmp_path)
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.wait(DEADLINE_S)
    process.stderr.close()
    assert "Traceback" not in err
    assert free(tmp_path / "state")


@pytest.mark.parametrize(
    ("keys", "env", "colours"),
    [("\x04", {}, True), ("\x03", {"NO_COLOR": "1"}, False), ("\x04", {"TERM": "dumb"}, False)],
)
def test_on_a_terminal_a_person_types(tmp_path: Path, keys: str, env: dict[str, str], colours: bool) -> None:
    demo = [sys.executable, "-m", "dreamd.ctl", "--state-dir", "state", "demo"]
    with Terminal(demo, tmp_path, columns=40, **env) as terminal:
        terminal.until("   you  ")
        terminal.type("\n")
        terminal.until("   you  ", times=2)
        terminal.type("Do you know the sea?\n")
        terminal.until("lighter")
        terminal.until("   you  ", times=3)
        if keys == "\x03":  # no controlling terminal here that would turn the key into a signal
            terminal.until_it_waits()
            terminal.process.send_signal(signal.SIGINT)
        else:
            terminal.type(keys)
        assert terminal.end() == 0
    assert "The daemon has been stopped." in terminal.seen
    assert ("\x1b[1;32m" in terminal.seen) == colours
    assert ("\x1b[2m" in terminal.seen) == colours
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.seen)
    wide = [line for line in plain.splitlines() if len(line) > 40]
    assert [line[:28] for line in wide] == [
        " files  state/inbox/dreams/d",
        "Read the dreams  dreamctl --",
        "All on one page  dreamctl --",
        "Into your leo    dreamctl le",
    ]  # what is to be copied stays whole
    assert plain.isascii() == (env.get("TERM") == "dumb")
    assert free(tmp_path / "state")


def test_a_demo_goes_on_from_an_earlier_one_unless_it_is_to_be_fresh(tmp_path: Path) -> None:
    first = run(tmp_path, said="Hello.\n")[1]
    assert "This goes on" not in first
    assert (
        "This goes on from 1 earlier dream; --fresh begins without them.\n"
        in run(tmp_path, said="Hello.\n")[1]
    )
    fresh = run(tmp_path, "--fresh", said="Hello.\n")[1]
    assert "This goes on" not in fresh
    assert re.search(r"--state-dir state/fresh-\d{8}T\d{6} show", fresh)


def test_two_fresh_demos_of_one_second_have_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: form)
    made = [make_fresh_folder(tmp_path / "state").name for _ in range(3)]
    assert made == [f"fresh-%Y%m%dT%H%M%S{ending}" for ending in ("", "-2", "-3")]


@pytest.mark.parametrize("content", [b"\x00\x01\x02 words", b"words \xff\xfe", b"\x7fELF\xc3"])
def test_a_corpus_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    told = dreamctl("--state-dir", tmp_path / "state", "demo", "--corpus", tmp_path / "a.bin")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "a.bin is not UTF-8 text; give a text file" in told.stderr
    assert not (tmp_path / "state").exists()


def test_a_large_text_may_be_cut_within_a_character(tmp_path: Path) -> None:
    corpus = tmp_path / "a.txt"
    corpus.write_bytes("é ".encode() * CORPUS_BYTES)
    assert set(read_corpus(corpus)) == {"é", " "}
    corpus.write_bytes(b"x" + "é".encode() * CORPUS_BYTES)
    assert set(read_corpus(corpus)) == {"x", "é"}


MARKDOWN = """\
---
title: rain
---
<!-- a note -->
# On the **rain**

- It is _near_, and [kept](https://rain.example) by a `roof`.
- ![a picture](roof.png)
1. Nothing is lost_in_it.

> Who keeps
> the roof?

| you | we |
|---|---|

```
dreamctl demo
```
[kept]: https://rain.example

you | we
--- | ---
are | not

- [x] ***Both*** are \\*here\\* &amp; there in `~/state`.[^1]

    dreamctl show

  ```
  dreamctl report
"""


def test_markdown_is_read_as_prose() -> None:
    assert split_sentences(plain(MARKDOWN)) == [
        "On the rain",
        "It is near, and kept by a roof.",
        "Nothing is lost_in_it.",
        "Who keeps the roof?",
        "Both are *here* & there in ~/state.",
    ]


@pytest.mark.parametrize("text", ["|-", "[", "*", "> ", "_a", "<a", "```", "    \n", "a|\n", "---\n"])
def test_a_long_line_of_marks_is_read_too(text: str) -> None:
    plain(text * 20_000)


def test_a_heading_as_long_as_the_file_is_read_in_one_pass() -> None:
    assert plain(f"# a{' #' * (CORPUS_BYTES // 2)}b ##") == f"\na{' #' * (CORPUS_BYTES // 2)}b\n"


def test_two_demos_share_a_daemon_and_the_last_one_ends_it(tmp_path: Path) -> None:
    """Either may leave first."""

    def begun() -> "subprocess.Popen[str]":
        process = spawn_dreamctl(
            "--state-dir", "state", "--json", "demo", cwd=tmp_path, stdin=subprocess.PIPE
        )
        process.stdin.write("Hello.\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline())["type"] != "friend":
            pass
        return process

    for owner_leaves_first in (True, False):
        owner, other = begun(), begun()
        ends = [owner, other] if owner_leaves_first else [other, owner]
        out, err = ends[0].communicate(timeout=DEADLINE_S)
        assert (ends[0].returncode, err, json.loads(out.splitlines()[-1])["ours"]) == (0, "", False)
        assert not free(tmp_path / "state")
        out, err = ends[1].communicate("Are you there?\n", timeout=DEADLINE_S)
        kinds = [json.loads(line)["type"] for line in out.splitlines()]
        assert (ends[1].returncode, err, kinds[-1], "line" in kinds) == (0, "", "end", True)
        assert json.loads(out.splitlines()[-1])["ours"]
        until(lambda: free(tmp_path / "state"), "the daemon has ended")


def test_a_long_conversation_lists_its_last_files_alone(tmp_path: Path) -> None:
    _, out, _ = run(tmp_path, said="Hello.\n" * 7)
    assert len(re.findall(r"state/inbox/dreams/\S+\.json", out)) == 5
    assert "\n        and 2 more beside them\n" in out
