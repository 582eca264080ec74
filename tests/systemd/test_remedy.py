"""The doctor's advice on a service that systemd has given up on, which works.

The units that are not enabled, and the newer database, are in test_ailments.py.
"""

import json
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from shlex import split

import pytest

from tests.helpers.waiting import until

CRASHES = 30


@pytest.fixture(scope="module")
def installed(manager):
    manager.dreamctl("service", "install")
    return manager


def findings(manager, section):
    told = json.loads(manager.dreamctl("doctor", "--json", check=False))["findings"]
    return [one for one in told if one["section"] == section]


def failing(manager, section):
    [one] = [one for one in findings(manager, section) if one["level"] == "FAIL"]
    return one


def follow(manager, advice):
    """Do what it says: the commands between backticks, in their order."""
    for command in re.findall(r"`((?:dreamctl|systemctl) [^`]+)`", advice):
        program, *arguments = split(command)
        manager.dreamctl(*arguments) if program == "dreamctl" else manager.run(program, *arguments)


def connect_once(manager):
    with (
        socket.socket(socket.AF_UNIX) as connection,
        suppress(OSError),
    ):  # after it has failed, no process listens
        connection.connect(str(manager.socket))


def is_well(manager):
    assert manager.systemctl("is-active", "dreamd.service") == "active"
    assert manager.run("stat", "-c", "%F", str(manager.socket)) == "socket"
    assert json.loads(manager.dreamctl("status", "--json"))["state"] == "ok"
    manager.dreamctl("doctor")  # exit code 0


def test_advice_works_after_thirty_crashes(installed):
    crashes = installed.base / "crashes"
    installed.systemctl("stop", "dreamd.service")
    installed.drop_in(
        "[Unit]\nStartLimitIntervalSec=600\n"
        f"StartLimitBurst={CRASHES}\n"
        f'[Service]\nReadWritePaths="{installed.base}"\nRestartSec=1ms\n'
        f"ExecStartPre=/bin/sh -c 'echo crash >>\"{crashes}\"; exit 1'\n"
    )
    drop_in = installed.config / "systemd" / "user" / "dreamd.service.d" / "test.conf"
    try:
        connect_once(installed)
        until(
            lambda: installed.systemctl("is-failed", "dreamd.service", check=False) == "failed",
            "systemd gave up",
            deadline_s=90,  # after thirty starts
        )
        connect_once(installed)
        assert len(crashes.read_text().splitlines()) == CRASHES
        found = failing(installed, "service")
        assert f"systemd has given up after {CRASHES} restarts" in found["text"]
        assert "changed by " in found["text"]
        assert str(drop_in) in found["text"]
        assert "`dreamctl service start`" in found["advice"]
    finally:
        drop_in.unlink()  # the cause, which the doctor names
        installed.systemctl("daemon-reload")
    follow(installed, found["advice"])
    is_well(installed)


def test_advice_works_if_the_sandbox_cannot_be_set_up(installed):
    """The sandbox fails already for the commands that run before the daemon."""
    installed.systemctl("stop", "dreamd.service")
    installed.drop_in(f'[Service]\nReadWritePaths="{installed.base}/nofolder"\nRestartSec=1h\n')
    try:
        with pytest.raises(AssertionError, match="did not start: the sandbox cannot be set up here"):
            installed.dreamctl("service", "start")
        found = failing(installed, "service")
        assert "exit code 226: the sandbox cannot be set up here" in found["text"]
        assert "docs/guides/service.md" in found["advice"]
    finally:
        (installed.config / "systemd" / "user" / "dreamd.service.d" / "test.conf").unlink()
        installed.systemctl("daemon-reload")
    installed.dreamctl("service", "start")
    is_well(installed)


def test_looking_starts_nothing(installed):
    installed.systemctl("stop", "dreamd.service")
    [found] = findings(installed, "daemon")
    assert (found["level"], found["text"]) == ("OK", "does not run; leo's first connection starts it")
    assert installed.systemctl("is-active", "dreamd.service", check=False) == "inactive"


def test_advice_works_for_a_missing_interpreter_and_edited_units(installed):
    unit = installed.config / "systemd" / "user" / "dreamd.service"
    ours = unit.read_text()
    unit.write_text(re.sub(r'ExecStart="[^"]+"', 'ExecStart="/gone/bin/python"', ours))
    installed.systemctl("daemon-reload")
    by_level = {one["level"]: one for one in findings(installed, "service")}
    assert "its interpreter /gone/bin/python is gone" in by_level["FAIL"]["text"]
    assert f"edited by hand: {unit}" in by_level["WARN"]["text"]
    installed.dreamctl("service", "install", "--force")
    assert unit.read_text() == ours
    installed.systemctl("start", "dreamd.service")
    is_well(installed)


def test_drop_in_needs_no_user_namespaces(installed):
    """As docs/guides/service.md has it: the daemon is in the namespaces of its manager, each and every one."""
    text = (Path(__file__).parents[2] / "docs/guides/service.md").read_text()
    installed.systemctl("start", "dreamd.service")
    before = namespaces(installed.main_pid())
    installed.drop_in(text.partition("```ini\n")[2].partition("```")[0])
    try:
        installed.systemctl("restart", "dreamd.service")
        assert namespaces(installed.main_pid()) == namespaces(installed.process.pid) != before
        is_well(installed)
    finally:
        (installed.config / "systemd" / "user" / "dreamd.service.d" / "test.conf").unlink()
        installed.systemctl("daemon-reload")


def namespaces(pid):
    return {
        name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("user", "mnt", "net", "ipc", "uts", "pid")
    }
