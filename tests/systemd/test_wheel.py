"""The wheel that users get, in an environment without the checkout, installs a service."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The one that `make dist` builds for users of the daemon."""
    target = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(build, check=True, capture_output=True, cwd=CHECKOUT)
    [wheel] = target.iterdir()
    return wheel


@pytest.fixture(scope="module")
def environment(manager, wheel):
    """An environment with the wheel; what it depends on is borrowed, so that nothing is downloaded."""
    home = manager.base / "env"
    venv.create(home, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check",
         "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel)],
        check=True, cwd=manager.base,
    )  # fmt: skip
    return home


@pytest.fixture
def run(manager, environment):
    def run(program, *arguments, check=True):
        ran = subprocess.run(
            [str(environment / "bin" / program), *arguments],
            env=manager.env, cwd=manager.base, capture_output=True, text=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def test_a_wheel_installs_a_service_that_the_doctor_finds_well(manager, environment, run):
    where = run(
        "python", "-c", "import dreamd, dreamclient; print(dreamd.__file__, dreamclient.__file__, sep='\\n')"
    )
    assert all(Path(file).is_relative_to(environment) for file in where.splitlines())
    run("dreamctl", "service", "install")
    unit = (manager.config / "systemd" / "user" / "dreamd.service").read_text()
    assert f'ExecStart="{environment}/bin/python"' in unit
    try:
        told = json.loads(run("dreamctl", "status", "--json"))  # connects, and so starts the daemon
        assert told["state"] == "ok"
        assert os.readlink(f"/proc/{told['pid']}/cwd") != str(CHECKOUT)
        assert "FAIL" not in run("dreamctl", "doctor")
    finally:
        run("dreamctl", "service", "uninstall")
