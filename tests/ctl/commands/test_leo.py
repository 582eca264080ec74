"""`dreamctl leo`: dreamd's dream.py in place of leo's own, and back, byte for byte."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from shlex import quote

import pytest

from dreamd.ctl.commands.leo.files import IMPORT, LeoFiles, render_dream_file
from dreamd.ctl.machine.installed import requirement_of
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.terminal import Terminal

OWN = b'#!/usr/bin/env python3\n# his\n"""\ndream.py \xe2\x80\x94 "his" own\n\n  words\n"""\n\nimport random\nX = 1\n'
HEAD = OWN[: OWN.index(b"\n\nimport")]
HERE = ("--python", sys.executable)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dream.py").write_bytes(OWN)
    (tmp_path / "dream.py").chmod(0o754)
    os.utime(tmp_path / "dream.py", (1_700_000_000, 1_700_000_000))
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_install_keeps_the_docstring_and_uninstall_every_byte(folder):
    done = dreamctl("leo", "install", folder, *HERE)
    assert (done.exit_code, done.stderr) == (0, "")
    assert contents(folder) == {"dream.py": HEAD + b"\n\n" + IMPORT.encode(), "dream_original.py": OWN}
    assert (folder / "dream.py").stat().st_mode & 0o777 == 0o754
    back = dreamctl("leo", "uninstall", folder)
    assert back.exit_code == 0
    assert contents(folder) == {"dream.py": OWN}
    found = (folder / "dream.py").stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o754, 1_700_000_000)


def test_path_may_be_the_file_itself(folder):
    assert dreamctl("leo", "install", folder / "dream.py", *HERE).exit_code == 0
    assert (folder / "dream_original.py").read_bytes() == OWN


def test_a_second_install_changes_nothing(folder):
    dreamctl("leo", "install", folder, *HERE)
    before = contents(folder)
    again = dreamctl("leo", "install", folder, "--json", *HERE)
    assert (json.loads(again.stdout)["action"], again.exit_code) == ("nothing", 0)
    assert contents(folder) == before


def test_dry_runs_and_check_change_nothing_and_say_what_would_be_done(folder):
    for arguments in (("install", folder, "--dry-run", *HERE), ("check", folder, *HERE)):
        said = dreamctl("leo", *arguments)
        assert (said.exit_code, "would install" in said.stdout) == (0, True)
        assert f"leo must run with {quote(sys.executable)}, which has dreamclient." in said.stdout
        assert contents(folder) == {"dream.py": OWN}
    dreamctl("leo", "install", folder, *HERE)
    before = contents(folder)
    assert "would uninstall" in dreamctl("leo", "uninstall", folder, "--dry-run").stdout
    assert contents(folder) == before


def test_install_uninstall_and_check_as_json(folder):
    checked = json.loads(dreamctl("leo", "check", folder, "--json", *HERE).stdout)
    assert checked.pop("python") == {"path": sys.executable, "version": sys.version.split()[0], "problem": ""}
    assert checked == {
        "folder": str(folder),
        "state": "leo's own",
        "action": "install",
        "done": False,
        "message": "dream.py becomes dream_original.py, a new dream.py takes its place",
        "docstring": True,
    }
    installed = json.loads(dreamctl("leo", "install", folder, "--json", *HERE).stdout)
    assert (installed["state"], installed["done"]) == ("leo's own", True)
    gone = json.loads(dreamctl("leo", "uninstall", folder, "--json").stdout)
    assert (gone["state"], gone["done"], gone["python"]) == ("installed", True, None)


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "missing"),
        ({"dream.py": b"def ("}, "unreadable"),
        ({"dream.py": b"\x00"}, "unreadable"),
        ({"dream.py": OWN, "dream_original.py": b"another = 1\n"}, "in the way"),
        ({"dream.py": render_dream_file(OWN) + b"X = 2\n", "dream_original.py": OWN}, "changed"),
        ({"dream.py": render_dream_file(OWN)}, "missing"),
    ],
)
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_refuses_an_unknown_file(tmp_path, files, state, command):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    refused = dreamctl("leo", command, tmp_path, "--json")
    assert refused.exit_code == 1
    assert (json.loads(refused.stdout)["state"], json.loads(refused.stdout)["action"]) == (state, "refuse")
    assert "refused: " in refused.stderr
    assert contents(tmp_path) == files


def test_refuses_a_link(folder, tmp_path):
    (tmp_path / "leo").mkdir()
    (tmp_path / "leo/dream.py").symlink_to(folder / "dream.py")
    assert dreamctl("leo", "install", tmp_path / "leo", *HERE).exit_code == 1
    assert (folder / "dream.py").read_bytes() == OWN


def test_uninstall_reports_nothing_to_undo_and_refuses_a_hand_made_file(folder):
    own = dreamctl("leo", "uninstall", folder)
    assert (own.exit_code, "nothing to undo" in own.stdout) == (0, True)
    (folder / "dream.py").write_text("from dreamclient.dropin import *\n")
    by_hand = dreamctl("leo", "install", folder, *HERE)
    assert (by_hand.exit_code, "by hand" in by_hand.stdout) == (0, True)
    assert dreamctl("leo", "uninstall", folder).exit_code == 1
    assert contents(folder) == {"dream.py": b"from dreamclient.dropin import *\n"}


def test_completes_an_interrupted_install(folder):
    (folder / "dream_original.py").write_bytes(OWN)
    assert dreamctl("leo", "install", folder, *HERE).exit_code == 0
    assert contents(folder) == {"dream.py": render_dream_file(OWN), "dream_original.py": OWN}


@pytest.mark.parametrize("broken", ["dream_original.py", "dream.py"])
def test_a_failed_write_leaves_a_whole_dream_py(folder, monkeypatch, broken):
    replace = os.replace

    def failing(source, target):
        if Path(target).name == broken:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    failed = dreamctl("leo", "install", folder, *HERE)
    assert (failed.exit_code, "No space left" in failed.stderr) == (1, True)
    monkeypatch.undo()
    assert (folder / "dream.py").read_bytes() == OWN
    assert not list(folder.glob(".*"))
    assert dreamctl("leo", "install", folder, *HERE).exit_code == 0


# --- docstrings ----------------------------------------------------------------------------------------


def docstring(source: bytes):
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the odd escape
        exec(compile(source.replace(IMPORT.encode(), b""), "dream.py", "exec"), names)
    return names["__doc__"]


@pytest.mark.parametrize(
    "source",
    [
        OWN,
        b"'one line'",
        b"'one line'; import os\n",
        b'r"""raw \\d"""\nimport os\n',
        b"'two' \\\n  'parts'\nimport os\n",
        b"('in brackets')\n",
        b'"""crlf\r\nlines"""\r\nimport os\r\n',
        b'\xef\xbb\xbf"""with a BOM \xc3\xa9"""\n',
        b'# -*- coding: latin-1 -*-\n"""caf\xe9"""\nimport os\n',
        '"""odd \u2028 line \x0c breaks é""" ; X = 1\n'.encode(),
        b'"an odd \\escape"\n',
    ],
)
def test_keeps_the_docstring_in_every_form(source):
    assert docstring(render_dream_file(source)) == docstring(source)


def test_warns_of_a_dream_py_without_a_docstring(tmp_path):
    (tmp_path / "dream.py").write_bytes(b"import os\n")
    done = dreamctl("leo", "install", tmp_path, "--json", *HERE)
    assert (done.exit_code, json.loads(done.stdout)["docstring"]) == (0, False)
    assert "no docstring" in done.stderr
    assert (tmp_path / "dream.py").read_text() == IMPORT


def run(folder, *, client):
    """Import the dream module of the leo in `folder`, and return what he gets from it."""
    block = "" if client else "import sys; sys.modules['dreamclient'] = None; "
    program = f"{block}import dream; print(dream.__doc__.strip()[:8], dream.init_dream.__module__)"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=True).stdout


def test_without_dreamclient_leo_uses_his_own_dream_py(folder):
    (folder / "dream.py").write_bytes(OWN + b"def init_dream(): pass\n")
    dreamctl("leo", "install", folder, *HERE)
    assert run(folder, client=True) == "dream.py dreamclient.dropin\n"
    assert run(folder, client=False) == "dream.py dream_original\n"


# --- his interpreter -----------------------------------------------------------------------------------


def an_interpreter(path, says):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def test_reports_an_interpreter_without_dreamclient(folder):
    bare = an_interpreter(folder / "a bare one", """echo '["3.11.1", "ModuleNotFoundError: dreamclient"]'""")
    checked = dreamctl("leo", "check", folder, "--python", bare)
    assert checked.exit_code == 1
    assert "cannot import dreamclient" in checked.stderr
    command = f"{quote(str(bare))} -m pip install {quote(requirement_of('dreamd-client'))}"
    assert f"Do: {command};" in checked.stderr
    installed = dreamctl("leo", "install", folder, "--python", bare)
    assert (installed.exit_code, "cannot import" in installed.stderr) == (0, True)


@pytest.mark.parametrize("says", ["exit 3", "echo nonsense", "true"])
def test_reports_an_interpreter_that_does_not_run(folder, says):
    checked = dreamctl("leo", "check", folder, "--json", "--python", an_interpreter(folder / "odd", says))
    assert json.loads(checked.stdout)["python"]["problem"].startswith("it does not run")


def test_prefers_the_interpreter_of_his_own_environment(folder, tmp_path, monkeypatch):
    says = """echo '["3.12.0", ""]'"""
    usual = an_interpreter(tmp_path / "bin/python3", says)
    monkeypatch.setenv("PATH", str(usual.parent))
    found = json.loads(dreamctl("leo", "check", folder, "--json").stdout)["python"]
    assert found == {"path": str(usual), "version": "3.12.0", "problem": ""}
    his = an_interpreter(folder / "venv/bin/python", says)
    assert json.loads(dreamctl("leo", "check", folder, "--json").stdout)["python"]["path"] == str(his)


def test_refuses_a_docstring_that_cannot_be_kept(folder, monkeypatch):
    monkeypatch.setattr("dreamd.ctl.commands.leo.files._docstring_head", lambda _: b'"another"')
    assert LeoFiles(folder).installing().state == "unreadable"


@pytest.mark.parametrize("verb", ["check", "install", "uninstall"])
def test_an_empty_path_is_not_the_current_folder(verb: str) -> None:
    refused = dreamctl("leo", verb, "")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "expected a path, not an empty text" in refused.stderr


# --- what to do next -----------------------------------------------------------------------------------


@pytest.fixture
def without_systemd(monkeypatch):
    monkeypatch.setattr("dreamd.ctl.commands.leo.command.manager_answers", lambda: False)


def test_install_says_what_to_do_next(folder, tmp_path, without_systemd):
    place = ("--state-dir", tmp_path / "state")
    told = dreamctl(*place, "leo", "install", folder, *HERE, HOME=str(tmp_path))
    _, exe, first, then = told.stdout.splitlines()
    assert exe == f"leo must run with {quote(sys.executable)}, which has dreamclient."
    assert (
        first
        == f"Next, set up the daemon: `dreamctl --state-dir {quote(str(tmp_path / 'state'))} service start`"
    )
    assert then.startswith("Then start leo and talk with him: `dreamctl --state-dir ")
    assert not (tmp_path / "state").exists()


def test_install_sets_up_the_daemon_if_it_may(folder, tmp_path):
    """There is no user manager of systemd here, since there is no runtime folder."""
    env = {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
    }

    def run(*words):
        process = spawn_dreamctl("--state-dir", tmp_path / "state", *words, cwd=tmp_path, **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out

    try:
        assert "started a process of its own" in run("leo", "install", folder, *HERE, "--yes")
        again = run("leo", "install", folder, *HERE, "--yes")
        assert "started" not in again  # one is there
        assert len(again.splitlines()) == 3
    finally:
        run("service", "stop")


@pytest.mark.parametrize("option", ["--dry-run", "--json"])
def test_a_script_is_told_no_next_step(folder, tmp_path, without_systemd, option):
    told = dreamctl("--state-dir", tmp_path / "state", "leo", "install", folder, *HERE, "--yes", option)
    assert "Then start leo" not in told.stdout
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("answer", ["n", "y"])
def test_install_asks_on_a_terminal_whether_dreams_may_be_fed(folder, tmp_path, answer):
    command = [
        sys.executable,
        "-m",
        "dreamd.ctl",
        "--state-dir",
        tmp_path / "s",
        "leo",
        "install",
        folder,
        *HERE,
    ]
    place = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with Terminal(command, tmp_path, **place) as terminal:
        terminal.until("Feed his dreams into his field?")
        terminal.type(f"{answer}\n")
        terminal.until("No daemon runs.")
        terminal.type("n\n")
        assert terminal.end() == 0
    settings = tmp_path / "dreamd" / "config.toml"
    assert (settings.exists() and "feed = false" in settings.read_text()) is (answer == "n")
    assert ("unset dialogue.feed" in terminal.seen) is (answer == "n")


def test_install_without_feeding_by_an_option_and_never_by_yes(folder, tmp_path, without_systemd):
    settings = tmp_path / "dreamd" / "config.toml"
    place = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    install = ("--state-dir", tmp_path / "s", "leo", "install", folder, *HERE)
    for more in (("--json",), ("--no-feed", "--dry-run")):
        assert dreamctl(*install, *more, **place).exit_code == 0
        assert not settings.exists()
    assert "would set dialogue.feed = false" in dreamctl(*install, "--no-feed", "--dry-run", **place).stdout
    told = dreamctl(*install, "--no-feed", "--json", **place)
    assert json.loads(told.stdout)["done"] is False  # it was installed already
    assert settings.read_text() == "[dialogue]\nfeed = false\n"
