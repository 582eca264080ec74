"""The obstacles of `service install`, and its complete results."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from shlex import split

import pytest

from tests.helpers.dreamctl import dreamctl_in
from tests.helpers.waiting import until


class Ran:
    """A dreamctl that may fail: its exit code, and what it said."""

    def __init__(self, manager, *arguments, **env):
        whole = {name: value for name, value in {**manager.env, **env}.items() if value is not None}
        ran = dreamctl_in(whole, *arguments, cwd=manager.base)
        self.code, self.out, self.said = ran.returncode, ran.stdout, ran.stdout + ran.stderr
        assert "Traceback" not in self.said, self.said

    def well(self):
        """Check that it succeeded, and return its output."""
        assert self.code == 0, self.said
        return self.out


@pytest.fixture
def dreamctl(manager):
    yield lambda *arguments, **env: Ran(manager, *arguments, **env)
    # Units whose files are gone are known to systemd alone: it would start the daemon at the next connection.
    manager.systemctl("stop", "dreamd*.socket", "dreamd*.service", check=False)
    Ran(manager, "service", "uninstall", "--force")
    Ran(manager, "service", "stop")
    manager.systemctl("reset-failed", check=False)


@pytest.fixture
def folder(manager):
    return manager.config / "systemd" / "user"


ALONE = {"XDG_RUNTIME_DIR": None, "DBUS_SESSION_BUS_ADDRESS": None}  # as under su


def units_in(folder):
    return sorted(path.name for path in folder.rglob("*") if "dreamd" in path.name and not path.is_dir())


def warned(dreamctl, text, **env):
    """Return the advice of the doctor's one finding about the service with this text."""
    found = json.loads(dreamctl("doctor", "--json", **env).out)["findings"]
    [advice] = [
        one["advice"]
        for one in found
        if (one["level"], one["section"]) == ("WARN", "service") and text in one["text"]
    ]
    return advice


def failed(dreamctl):
    """Return the FAIL about the service, and its advice."""
    found = json.loads(dreamctl("doctor", "--json").out)["findings"]
    return {
        one["text"]: one["advice"] for one in found if (one["level"], one["section"]) == ("FAIL", "service")
    }


def test_writes_nothing_without_a_user_manager(dreamctl, folder):
    told = dreamctl("service", "install", **ALONE)
    assert told.code == 1
    assert "no user manager of systemd answers here" in told.said
    assert "`dreamctl service start`" in told.said
    assert units_in(folder) == []
    status = dreamctl("service", "status", **ALONE).well()
    assert ("no user manager answers" in status, "service install" in status) == (True, False)


def test_plain_process_works_beside_installed_units_without_a_manager(manager, dreamctl, folder):
    dreamctl("service", "install").well()
    try:
        started = dreamctl("service", "start", **ALONE)
        assert (started.code, "no user manager answers: started a process" in started.said) == (0, True)
        status = json.loads(dreamctl("service", "status", "--json", **ALONE).out)
        assert (status["manager"], status["answers"], status["state"]) == (False, True, "ok")
        assert status["socket"] == str(manager.state / "dreamd" / "dreamd.sock")
    finally:
        assert dreamctl("service", "stop", **ALONE).said == "the daemon has stopped\n"
    removed = dreamctl("service", "uninstall", **ALONE)
    assert (removed.code, units_in(folder)) == (0, [])
    assert "stop nothing: no user manager of systemd answers" in removed.said


def test_a_socket_that_is_too_long_and_a_masked_unit_are_refused_first(manager, dreamctl, folder):
    odd = (
        ("--socket", "/run/x "),
        ("--socket", "/run/x\\"),
        ("--state-dir", "/x\ny"),
        ("--state-dir", "/x\udcff"),
    )
    for option, path in odd:
        told = dreamctl(option, path, "service", "install")
        assert (told.code, option in told.said, units_in(folder)) == (2, True, [])
    told = dreamctl("--socket", manager.base / ("x" * 100), "service", "install")
    assert (told.code, "a Unix socket's path may have 107" in told.said) == (1, True)
    assert units_in(folder) == []
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dreamd.service").symlink_to("/dev/null")
    told = dreamctl("service", "install", "--force")
    assert (told.code, "`systemctl --user unmask dreamd.service`" in told.said) == (1, True)
    assert failed(dreamctl) == {"masked: dreamd.service": "`systemctl --user unmask dreamd.service`"}
    assert units_in(folder) == ["dreamd.service"]
    manager.systemctl("unmask", "dreamd.service")
    dreamctl("service", "install").well()


def test_a_configuration_that_systemd_does_not_read_gets_no_units(manager, dreamctl, tmp_path):
    elsewhere = tmp_path / "elsewhere"  # without a blank, as the checkout may have: dreamctl cannot tell then
    told = dreamctl("service", "install", XDG_CONFIG_HOME=str(elsewhere))
    assert (told.code, "env -u XDG_CONFIG_HOME" in told.said, elsewhere.exists()) == (1, True, False)


def test_an_interpreter_that_systemd_would_not_start_is_refused_first(manager, folder):
    (quoted := manager.base / "ada's").symlink_to(sys.prefix)
    ran = subprocess.run(
        [quoted / "bin" / "python", "-m", "dreamd.ctl", "service", "install"],
        env=manager.env, cwd=manager.base, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, "with a quote or a backslash in its path" in ran.stderr) == (1, True)
    assert units_in(folder) == []


def test_folders_above_are_resolved_since_systemd_refuses_them(manager, dreamctl):
    (manager.base / "there").mkdir()
    places = ("--state-dir", "there/../up", "--socket", manager.runtime / ".." / "up.sock")
    dreamctl(*places, "service", "install").well()
    dreamctl(*places, "service", "start").well()
    status = json.loads(dreamctl(*places, "status", "--json").well())
    assert (status["state_dir"], status["socket"]) == (
        str(manager.base / "up"),
        str(manager.base / "up.sock"),
    )


@pytest.mark.parametrize("beside", [(), ("--socket", "elsewhere")])
def test_refuses_to_start_beside_a_plain_daemon(manager, dreamctl, folder, beside):
    """`start` refuses too, if the plain daemon was started while the unit was stopped."""
    dreamctl(*beside, "service", "start").well()
    told = dreamctl(*beside, "service", "install")
    assert (told.code, "a daemon that is not systemd's" in told.said, units_in(folder)) == (1, True, [])
    kill(manager, told.said)
    dreamctl("service", "install").well()
    dreamctl("service", "start", **ALONE).well()
    told = dreamctl("service", "start")
    assert (told.code, "a daemon that is not systemd's" in told.said) == (1, True)
    manager.systemctl("start", "dreamd.service", check=False)  # as when leo connects
    advice_of = {}

    def is_told():
        found = json.loads(dreamctl("doctor", "--json").out)["findings"]
        advice_of.update({one["section"]: one["advice"] for one in found if one["level"] == "FAIL"})
        return advice_of.keys() == {"daemon", "service"}

    until(is_told, "it crashes, and is to be started again")
    assert [re.findall(KILL, advice) for advice in advice_of.values()] == [re.findall(KILL, told.said)] * 2
    kill(manager, told.said)
    dreamctl("service", "start").well()
    assert json.loads(dreamctl("status", "--json").out)["pid"] == manager.main_pid()


KILL = r"`(kill \d+)`"


def kill(manager, advice):
    """Do what it says."""
    [command] = re.findall(KILL, advice)
    manager.run(*split(command))
    stat = Path(f"/proc/{command.split()[1]}/stat")
    until(lambda: not stat.exists() or ") Z " in stat.read_text(), "it has ended")


def test_refuses_to_start_beside_a_daemon_of_another_folder(manager, dreamctl, folder):
    other = manager.base / "other"
    dreamctl("--state-dir", other, "--socket", manager.socket, "service", "start").well()
    told = dreamctl("service", "install")
    assert (told.code, "another daemon listens at" in told.said, units_in(folder)) == (1, True, [])
    words = split(re.search(r"first `dreamctl ([^`]+)`", told.said)[1])
    dreamctl(*words).well()
    dreamctl("service", "install").well()


def test_keeps_the_socket_of_leo_with_another_state_folder(manager, dreamctl):
    """The socket does not change. The doctor names the option that dreamctl needs."""
    dreamctl("service", "install").well()
    before = json.loads(dreamctl("status", "--json").out)
    moved = manager.base / "moved"
    dreamctl("--state-dir", moved, "service", "install").well()
    after = json.loads(dreamctl("status", "--json").out)
    assert (after["state_dir"], after["pid"] != before["pid"]) == (str(moved), True)
    advice = warned(dreamctl, f"dreamd.service serves {moved}")
    env = dict(word.split("=") for word in split(advice) if word.startswith("DREAMD_"))
    assert env == {"DREAMD_STATE_DIR": str(moved), "DREAMD_SOCKET": str(manager.socket)}
    found = json.loads(dreamctl("doctor", "--json", **env).well())["findings"]
    assert {one["level"] for one in found if one["section"] in ("socket", "daemon", "service")} == {"OK"}


def test_install_with_another_socket_closes_the_old_one(manager, dreamctl):
    dreamctl("service", "install").well()
    dreamctl("status").well()
    other = manager.runtime / "other.sock"
    dreamctl("--socket", other, "service", "install").well()
    assert (other.exists(), manager.socket.exists()) == (True, False)
    running = json.loads(dreamctl("--socket", other, "status", "--json").out)
    assert (running["state"], running["pid"]) == ("ok", manager.main_pid())
    advice = warned(dreamctl, f"dreamd.socket listens at {other}")
    assert f"DREAMD_SOCKET={other}" in split(advice)


def test_uninstall_leaves_no_second_leo_behind(manager, dreamctl, folder):
    dreamctl("service", "install").well()
    dreamctl("service", "install", "--instance", "bob").well()
    sock = manager.runtime / "dreamd" / "bob.sock"
    bob = json.loads(dreamctl("--socket", sock, "status", "--json").out)
    assert bob["state_dir"] == str(manager.state / "dreamd@bob")
    assert manager.systemctl("is-enabled", "dreamd@bob.socket") == "enabled"
    (folder / "dreamd@.service").write_text("# mine\n")
    told = dreamctl("service", "uninstall")
    assert (told.code, "edited by hand" in told.said) == (1, True)
    assert manager.systemctl("is-active", "dreamd@bob.service") == "active"
    dreamctl("service", "uninstall", "--force").well()
    assert units_in(folder) == []
    assert (sock.exists(), Path(f"/proc/{bob['pid']}").exists()) == (False, False)


def test_one_instance_is_managed_beside_the_other(manager, dreamctl, folder):
    dreamctl("service", "install").well()
    main = json.loads(dreamctl("status", "--json").out)["pid"]
    bob = ("--instance", "bob")
    # As it is in bob's own environment.
    his = {"DREAMD_SOCKET": str(manager.runtime / "dreamd" / "bob.sock")}
    his["DREAMD_STATE_DIR"] = str(manager.state / "dreamd@bob")
    dreamctl("service", "install", *bob, **his).well()
    assert json.loads(dreamctl("status", "--json", **his).out)["state_dir"] == his["DREAMD_STATE_DIR"]
    assert dreamctl("service", "start", *bob).said == "started the unit dreamd@bob.service\n"
    first = json.loads(dreamctl("status", "--json", **his).out)["pid"]
    dreamctl("service", "restart", *bob).well()
    status = json.loads(dreamctl("service", "status", "--json", *bob).out)
    assert set(status["units"]) == {"dreamd@bob.socket", "dreamd@bob.service"}
    assert (status["socket"], status["state"]) == (his["DREAMD_SOCKET"], "ok")
    assert json.loads(dreamctl("status", "--json", **his).out)["pid"] != first
    dreamctl("service", "stop", *bob).well()
    dreamctl("service", "uninstall", *bob).well()
    assert [name for name in units_in(folder) if "bob" in name] == []
    assert json.loads(dreamctl("status", "--json").out)["pid"] == main == manager.main_pid()
    assert dreamctl("service", "stop", "--instance", "a/b").code == 2


def test_after_an_upgrade_the_new_interpreter_runs(manager, dreamctl, folder):
    """`install` restarts the daemon. Until then the doctor reports that another interpreter runs."""
    dreamctl("service", "install").well()
    old = manager.base / "old-python"
    old.symlink_to(sys.executable)
    home = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ran = subprocess.run(
        [str(old), "-m", "dreamd.ctl", "service", "install"],
        env={**manager.env, **home}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    unit = folder / "dreamd.service"
    assert f'ExecStart="{old}"' in unit.read_text()
    manager.drop_in(f'[Service]\nEnvironment="PYTHONPATH={home["PYTHONPATH"]}"\n')
    try:
        dreamctl("service", "start").well()
        dreamctl("service", "install", "--dry-run").well()
        ours = unit.read_text().replace(str(old), sys.executable)
        unit.write_text(ours)
        assert warned(dreamctl, f"{old} runs, and the unit names {sys.executable}")
        dreamctl("service", "install", "--force").well()
        program = Path(f"/proc/{manager.main_pid()}/cmdline").read_text().partition("\0")[0]
        assert program == sys.executable
    finally:
        manager.drop_in("")


def test_reports_and_cures_a_unit_that_systemd_does_not_know(manager, dreamctl, folder):
    """Its socket still listens, but starts no daemon."""
    dreamctl("service", "install").well()
    (folder / "dreamd.socket").unlink()
    manager.systemctl("daemon-reload")
    assert f"\nsocket          {manager.socket}\n" in dreamctl("service", "status").well()
    assert failed(dreamctl) == {"systemd has no dreamd.socket": "`dreamctl service install`"}
    dreamctl("service", "install").well()
    assert failed(dreamctl) == {}
    dreamctl("status").well()


def test_stop_reports_if_systemd_would_start_it_again(manager, dreamctl, tmp_path):
    """systemd knows the units, but dreamctl does not find them."""
    dreamctl("service", "install").well()
    for command in ("stop", "restart"):
        pid = json.loads(dreamctl("status", "--json").out)["pid"]
        told = dreamctl("service", command, XDG_CONFIG_HOME=str(tmp_path))
        assert (told.code, f"(pid {pid}) ended, and systemd, listening at" in told.said) == (1, True)
    manager.run(*split(re.search("`(systemctl [^`]+)`", told.said)[1]))  # the advice
    assert (manager.main_pid(), manager.socket.exists()) == (0, False)


def test_names_a_file_that_cannot_be_written_or_read(manager, dreamctl, folder):
    file = manager.base / "file"
    file.touch()
    told = dreamctl("--state-dir", file, "service", "install")
    assert (told.code, told.said) == (1, f"Error: {file}: File exists\n")
    told = dreamctl("--state-dir", "/proc/nope", "service", "install")
    assert (told.code, told.said) == (1, "Error: /proc/nope: No such file or directory\n")
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder.parent.rename(manager.config / "aside")
    folder.parent.touch()
    told = dreamctl("service", "install")
    assert (told.code, f"Error: {folder.parent}" in told.said) == (1, True)
    folder.parent.unlink()
    aside.rename(folder.parent)
    (folder / "dreamd.service").write_bytes(b"\xff\xfe")
    assert "edited by hand" in dreamctl("service", "install").said
    assert warned(dreamctl, "edited by hand")


def test_a_wrong_setting_is_named_by_start(manager, dreamctl):
    dreamctl("service", "install").well()
    config = manager.config / "dreamd" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text("[gate]\nchanse = 1\n")
    manager.drop_in("[Unit]\nStartLimitBurst=2\n")
    try:
        told = dreamctl("service", "start")
        dreamctl("status")  # a connection
        until(
            lambda: manager.systemctl("is-failed", "dreamd.socket", check=False) == "failed",
            "systemd gave up",
        )
        assert dreamctl("service", "status").code == 1
    finally:
        config.unlink()
    try:
        dreamctl("service", "start").well()  # what is mended is tried, though systemd has given up
    finally:
        manager.drop_in("")
    assert told.code == 1
    assert "gate.chanse" in told.said
    assert "`dreamctl doctor`" in told.said
    assert "plain background process" not in told.said


def test_reports_a_hanging_user_manager(manager, dreamctl):
    """The test shortens the timeout."""
    dreamctl("service", "install").well()
    dreamctl("service", "start").well()
    hasty = (
        "from dreamd.ctl.machine import systemd_state; systemd_state.MANAGER_S = 0.3; "
        "from dreamd.ctl.__main__ import main; main()"
    )
    manager.process.send_signal(signal.SIGSTOP)
    try:
        said = {
            words: subprocess.run(
                [sys.executable, "-c", hasty, *words.split()],
                env=manager.env, capture_output=True, text=True, timeout=20, check=False,
            )
            for words in ("service status", "doctor --json")
        }  # fmt: skip
    finally:
        manager.process.send_signal(signal.SIGCONT)
    status = said["service status"]
    assert (status.returncode, "the user manager of systemd does not answer" in status.stderr) == (1, True)
    findings = json.loads(said["doctor --json"].stdout)["findings"]
    [service] = [one for one in findings if one["section"] == "service"]
    assert (service["level"], service["text"]) == ("WARN", "the user manager of systemd does not answer")


def test_reports_an_empty_journal(dreamctl):
    dreamctl("service", "install").well()
    told = dreamctl("service", "logs", "--json")
    assert json.loads(told.out) == {"log": "journal", "lines": []}
    assert "the journal has no line of dreamd.service" in told.said
    assert "log.level" in told.said


def test_a_state_folder_of_any_name(manager, dreamctl):
    state = manager.base / 'a ${HOME} $$ 100% %i "b" \\c'
    dreamctl("--state-dir", state, "service", "install").well()
    assert json.loads(dreamctl("status", "--json").out)["state_dir"] == str(state)
    assert f"serves {state}" in dreamctl("doctor", "--json").out.encode().decode("unicode_escape")
    until(lambda: (state / "dream.sqlite3").exists(), "its database is there")


def test_a_dry_run_reads_as_english(manager, dreamctl, folder):
    state = manager.base / "fresh"
    said = dreamctl("--state-dir", state, "service", "install", "--dry-run").said
    assert f"would create the folder {state}\n" in said
    told = json.loads(dreamctl("--state-dir", state, "service", "install", "--dry-run", "--json").out)
    assert (told["done"], f"create the folder {state}" in told["would"]) == ([], True)
    state.mkdir()
    assert str(state) not in dreamctl("--state-dir", state, "service", "install", "--dry-run").said
    assert units_in(folder) == []
