"""The command `dreamd`: its arguments, its one-line errors, its exit codes."""

import re
import subprocess
import sys

import pytest

import dreamd
from dreamd import settings
from dreamd.__main__ import Arguments, main, make_parser, read_arguments
from tests.helpers.daemons.process import DaemonProcess


@pytest.fixture(autouse=True)
def _nothing_of_the_machines_own(monkeypatch, tmp_path):
    for name in ("DREAMD_CONFIG", "DREAMD_STATE_DIR", "DREAMD_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_prints_its_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"dreamd {dreamd.__version__}\n"


def test_a_wrong_setting_is_exit_2_with_the_nearest_right_one(capsys, tmp_path):
    assert main(["--state-dir", str(tmp_path / "s"), "--set", "gate.chanse=1"]) == 2
    said = capsys.readouterr()
    assert said.err == "dreamd: --set gate.chanse: there is no such setting; did you mean gate.chance?\n"
    assert said.out == ""
    assert not (tmp_path / "s").exists()


def test_a_removed_setting_is_one_line_on_standard_error(tmp_path, monkeypatch, capsys):
    from dreamd import app

    monkeypatch.setattr(settings, "GONE", {"gate.shut": "it opens"})
    monkeypatch.setattr(app, "run", lambda load, *_: load() and 0)
    assert main(["--state-dir", str(tmp_path / "s"), "--set", "gate.shut=1"]) == 0
    said = capsys.readouterr()
    assert said.err == "dreamd: ignored, since this version has no such setting: --set gate.shut (it opens)\n"
    assert said.out == ""


def test_an_installation_that_signed_tokens_starts(tmp_path):
    signed = {"DREAMD_INBOX__REQUIRE_SIGNED": "true"}
    with DaemonProcess(tmp_path / "s", "--set", "inbox.require_signed=yes", env=signed) as daemon:
        assert daemon.call("status")["state"] == "ok"
    [line] = daemon.said().splitlines()
    assert line.startswith(
        "dreamd: ignored, since this version has no such setting: DREAMD_INBOX__REQUIRE_SIGNED ("
    )
    assert "--set inbox.require_signed (tokens are no longer signed" in line


def test_starts_beside_a_kubernetes_service_of_its_name(tmp_path):
    service = {"DREAMD_PORT": "tcp://10.0.0.1:80", "DREAMD_SERVICE_HOST": "10.0.0.1"}
    with DaemonProcess(tmp_path / "s", env=service) as daemon:
        assert daemon.call("status")["state"] == "ok"
    assert (daemon.process.returncode, daemon.said()) == (0, "")


def test_a_wrong_settings_file_is_exit_2(capsys, tmp_path):
    assert main(["--config", str(tmp_path / "none.toml")]) == 2
    assert "the settings cannot be read" in capsys.readouterr().err


def test_an_unknown_argument_is_exit_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--what"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "socket"),
    [
        (["--state-dir", "{0}/s"], "{0}/s/dreamd.sock"),
        (["--state-dir", "{0}/s", "--socket", "{0}/x"], "{0}/x"),
    ],
)
def test_the_arguments_reach_the_daemon(tmp_path, monkeypatch, arguments, socket):
    from dreamd import app

    given = []
    monkeypatch.setattr(app, "run", lambda *all_: given.append(all_) or 42)
    config = tmp_path / "c.toml"
    config.write_text("[gate]\nchance = 0.25\n")
    assert (
        main(
            [*(a.format(tmp_path) for a in arguments), "--config", str(config), "--set", "gate.cooldown_s=7"]
        )
        == 42
    )
    [(load, state, path)] = given
    settings = load()
    assert (settings.gate.chance, settings.gate.cooldown_s) == (0.25, 7.0)
    assert (str(state), str(path)) == (f"{tmp_path}/s", socket.format(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--state-dir s",
        "--state-dir s --state-dir t",
        "--config c --socket x --state-dir s",
        "--set a.b=1 --state-dir s --set c.d=-2 --set e",
        "--state-dir=s --set=a.b=1",
        "--state s --set a.b=1",
    ],
)
def test_arguments_are_read_as_argparse_reads_them(words):
    read = vars(read_arguments(words.split()))
    assert read == vars(make_parser().parse_args(words.split()))
    assert read.keys() == vars(Arguments()).keys()


@pytest.mark.parametrize(
    "words", ["s", "--state-dir", "--state-dir s --set", "--set -x", "--config s t", "-- s"]
)
def test_arguments_that_are_no_pairs_are_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        read_arguments(words.split())
    assert ended.value.code == 2
    assert "usage: dreamd" in capsys.readouterr().err


def test_a_start_imports_nothing_that_it_does_not_need(tmp_path):
    with DaemonProcess(
        tmp_path / "s", "--set", "gate.chance=0.25", env={"PYTHONPROFILEIMPORTTIME": "1"}
    ) as daemon:
        pass
    imported = {line.rpartition("|")[2].strip() for line in daemon.said().splitlines()}
    assert {"dreamd.daemon", "dreamd.engine.engine"} <= imported
    later = {"argparse", "difflib", "hashlib", "numpy", "shutil", "tempfile", "tomllib"}
    assert not imported & (later | {"dreamd.inbox.redaction.redact", "dreamd.inbox.redaction.phones"})


COLLECTOR = """
import gc, sys
from contextlib import asynccontextmanager
from dreamd import app, settings
from dreamd.__main__ import main

def load(**_):
    print("loading:", gc.isenabled())
    return settings.Settings()

class Daemon(app.Daemon):
    @asynccontextmanager
    async def serve(self):
        async with super().serve() as parts:
            self.stopping.set()
            yield parts
            print("serving:", gc.isenabled(), gc.get_freeze_count() > 10_000)

settings.load_settings, app.Daemon = load, Daemon
print("ended:", main(["--state-dir", sys.argv[1]]))
settings.load_settings = None
try:
    main(["--state-dir", sys.argv[1]])
except TypeError:
    print("failed:", gc.isenabled())
"""


def test_the_collector_waits_until_the_daemon_serves(tmp_path):
    command = [sys.executable, "-c", COLLECTOR, tmp_path / "s"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert said == "loading: False\nserving: True True\nended: 0\nfailed: True\n"


def test_python_dash_m_runs_the_daemon(tmp_path):
    with DaemonProcess(tmp_path / "s", "--set", "gate.chance=0.25") as daemon:
        assert daemon.call("status")["state_dir"] == str(tmp_path / "s")
    assert daemon.process.returncode == 0
    assert daemon.said() == ""


def test_an_unexpected_exception_is_one_line_and_exit_code_1(tmp_path):
    """The test makes a bug of dreamd's: a daemon that cannot be called."""
    faulty = (
        "import sys, dreamd.app; from dreamd.__main__ import main; dreamd.app.Daemon = None; sys.exit(main())"
    )
    command = [sys.executable, "-c", faulty, "--state-dir", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(r"dreamd: unexpected TypeError at app\.py:\d+\n", ran.stderr)


@pytest.mark.parametrize("option", ["--state-dir", "--socket"])
def test_an_empty_path_is_not_the_default(option, capsys):
    with pytest.raises(SystemExit) as ended:
        main([option, ""])
    assert ended.value.code == 2
    assert "expected a path" in capsys.readouterr().err
