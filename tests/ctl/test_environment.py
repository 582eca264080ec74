"""dreamctl and dreamd where a container, su or sudo left something missing: no traceback, and a line that helps."""

import json
from pathlib import Path

import pytest

from dreamd.ctl.__main__ import COMMANDS
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.places import AS_A_STRANGER, STRANGER, WITHOUT_PROC, run

# All commands, each as it does the most without a terminal and without changing the machine.
ARGUMENTS = {
    "show": ["last"],
    "replay": ["last"],
    "report": ["--out", "{folder}/r.html"],
    "inbox": ["verify"],
    "call": ["status"],
    "service": ["status"],
    "backup": ["{folder}/b"],
    "restore": ["/etc/hostname"],
    "leo": ["check", "{folder}"],
    "completions": ["bash"],
    "friend": ["export", "{folder}/f"],
    "search": ["rain"],
    "whence": ["rain"],
    "forget": ["1", "--yes"],
    "undream": ["1", "--yes"],
    "prune": ["--older-than", "1d", "--yes"],
}
# Run all commands in one process: each, as a user sees it, with its exit code and what it printed.
ALL = """
import json, sys
from click.testing import CliRunner
from dreamd.ctl.__main__ import cli
said = {}
for arguments in json.loads(sys.argv[1]):
    ran = CliRunner().invoke(cli, arguments)
    fault = ran.exception
    told = fault is None or isinstance(fault, SystemExit) or (isinstance(fault, OSError) and fault.filename)
    said[arguments[0]] = [ran.exit_code, "" if told else repr(fault), ran.output]
print(json.dumps(said))
"""


def commands(folder: Path) -> str:
    return json.dumps([
        [command, *(word.format(folder=folder) for word in ARGUMENTS.get(command, []))]
        for command in COMMANDS
        if command not in ("demo", "watch", "trace", "host")  # they go on until stopped; `status` reaches as far
    ])  # fmt: skip


def all_commands(
    prefix: tuple[str, ...], folder: Path, env: dict[str, str]
) -> dict[str, tuple[int, str, str]]:
    ran = run(prefix, "-c", ALL, commands(folder), env=env)
    assert ran.returncode == 0, ran.stderr
    return {command: tuple(said) for command, said in json.loads(ran.stdout).items()}


def test_each_command_reports_a_missing_home_in_one_line(tmp_path: Path) -> None:
    for command, (code, fault, output) in all_commands(AS_A_STRANGER, tmp_path, {}).items():
        assert not fault, (command, fault)
        if command in ("completions", "leo", "restore"):
            continue
        line = output.splitlines()[-1]
        assert line.startswith(f"Error: no home folder: HOME is not set, and uid {STRANGER} has no entry"), (
            command
        )
        assert code == 2, command


def test_without_a_home_a_state_folder_is_enough(tmp_path: Path) -> None:
    env = {"DREAMD_STATE_DIR": str(tmp_path / "s")}
    said = all_commands(AS_A_STRANGER, tmp_path, env)
    assert {command: fault for command, (_, fault, _) in said.items() if fault} == {}
    assert "no home folder" not in "".join(output for _, _, output in said.values())
    assert said["doctor"][0] == 1
    assert "FAIL  daemon    does not run" in said["doctor"][2]
    assert "installed" in said["service"][2]


def test_a_user_without_an_entry_in_the_user_database_sees_the_doctor(tmp_path: Path) -> None:
    said = all_commands(AS_A_STRANGER, tmp_path, {"HOME": str(tmp_path)})
    assert {command: fault for command, (_, fault, _) in said.items() if fault} == {}
    assert "does not run" in said["doctor"][2]


def test_a_home_that_cannot_be_entered_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("h")  # short: the path of a socket is in it
    home.chmod(0)
    said = all_commands(AS_A_STRANGER, home, {"HOME": str(home)})
    home.chmod(0o700)
    assert {command: fault for command, (_, fault, _) in said.items() if fault} == {}
    assert f"chmod u+rwx {home}" in " ".join(said["doctor"][2].replace("\n", "").split())
    assert "does not run → see section socket" in " ".join(
        said["doctor"][2].split()
    )  # a start would fail, too
    assert f"chmod u+rwx {home}" in said["status"][2]


def test_without_proc_all_commands_work(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "s"):
        said = all_commands(WITHOUT_PROC, tmp_path, {"DREAMD_STATE_DIR": str(tmp_path / "s")})
    assert {command: fault for command, (_, fault, _) in said.items() if fault} == {}
    assert said["status"][0] == 0
    assert "lies on a file system of unknown type" in " ".join(said["doctor"][2].split())


@pytest.mark.parametrize(
    ("env", "code", "says"),
    [
        ({}, 4, "dreamd: the state folder is not known: no home folder: HOME is not set"),
        ({"HOME": "/proc/1"}, 4, "dreamd: the state folder /proc/1/.local/state/dreamd cannot be used"),
    ],
)
def test_the_daemon_says_in_one_line_what_is_missing(env: dict[str, str], code: int, says: str) -> None:
    ran = run(AS_A_STRANGER, "-m", "dreamd", env=env)
    assert ran.returncode == code
    assert ran.stderr.startswith(says)
    assert len(ran.stderr.splitlines()) == 1


def test_a_socket_alone_does_not_tell_the_state_folder(tmp_path: Path) -> None:
    ran = run(AS_A_STRANGER, "-m", "dreamd", "--socket", str(tmp_path / "s"))
    assert (ran.returncode, "no home folder" in ran.stderr) == (4, True)


def test_a_file_that_may_not_be_read_is_one_line(tmp_path, monkeypatch) -> None:
    from dreamd.ctl import __main__ as program

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(program, "cli", refuse)
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == f"dreamctl: {tmp_path}: Permission denied"


@pytest.mark.parametrize("command", ["backup", "recent"])
def test_a_database_out_of_reach_is_not_called_missing(command, tmp_path, monkeypatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    file = [str(tmp_path / "copy")] if command == "backup" else []
    ran = dreamctl("--state-dir", str(tmp_path), command, *file)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == f"Error: {tmp_path / 'dream.sqlite3'}: Permission denied\n"


def test_tab_offers_nothing_without_a_home(monkeypatch) -> None:
    assert dreamctl("completions", "bash").exit_code == 0
