"""What users get: the two wheels, in an environment with nothing of the checkout in it, install a service."""

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """As `make dist` builds them."""
    target = tmp_path_factory.mktemp("dist")
    for source in (CHECKOUT / "client", CHECKOUT):
        subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(target), str(source)],
            check=True, capture_output=True,
        )  # fmt: skip
    return sorted(target.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(manager, wheels):
    """An environment with the wheels; what they depend on is borrowed, so that nothing is downloaded."""
    home = manager.base / "env"
    venv.create(home, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check",
         "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", *map(str, wheels)],
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


def test_the_wheels_hold_what_they_need_and_no_more(wheels):
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels]
    daemon, client = names
    assert {"dreamd/py.typed", "dreamd/units/dreamd.service", "dreamd/units/dreamd@.socket"} <= daemon
    assert {"dreamd/ctl/commands/demo/story.txt", "dreamd/inbox/matada_node_v1.json"} <= daemon
    pages = {name.partition("/data/share/")[2] for name in daemon if name.endswith((".1", ".8"))}
    assert pages == {"man/man1/dreamctl.1", "man/man8/dreamd.8"}
    assert "dreamclient/py.typed" in client
    tops = [{name.partition("/")[0].partition("-")[0] for name in held} for held in names]
    assert tops == [{"dreamd"}, {"dreamclient", "dreamd_client"}]


@pytest.mark.parametrize(("which", "not_needed"), [(0, {"phonenumbers"}), (1, {"dreamd"})])
def test_the_wheels_ask_for_what_they_import_and_no_more(wheels, which, not_needed):
    """The environment below borrows all that, so it would miss nothing."""
    wheel = zipfile.ZipFile(wheels[which])
    nodes = [
        node
        for name in wheel.namelist()
        if name.endswith(".py")
        for node in ast.walk(ast.parse(wheel.read(name)))
    ]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    ours = {"dreamd": ["dreamd"], "dreamclient": ["dreamd-client"]}
    owners = metadata.packages_distributions() | ours
    imported = {owner for top in tops for owner in owners.get(top, [top])}
    [about] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    told = message_from_bytes(wheel.read(about))
    asked = {re.match(r"[\w.-]+", one)[0] for one in told.get_all("Requires-Dist") if "extra ==" not in one}
    assert asked == imported - {told["Name"]} - not_needed


def test_a_wheel_installs_a_service_that_the_doctor_finds_well(manager, environment, run):
    where = run(
        "python", "-c", "import dreamd, dreamclient; print(dreamd.__file__, dreamclient.__file__, sep='\\n')"
    )
    assert all(Path(file).is_relative_to(environment) for file in where.splitlines())
    run("dreamctl", "service", "install")
    unit = (manager.config / "systemd" / "user" / "dreamd.service").read_text()
    assert f'ExecStart="{environment}/bin/python"' in unit
    try:
        told = json.loads(run("dreamctl", "status", "--json"))  # the knock
        assert told["state"] == "ok"
        assert os.readlink(f"/proc/{told['pid']}/cwd") != str(CHECKOUT)
        assert "FAIL" not in run("dreamctl", "doctor")
    finally:
        run("dreamctl", "service", "uninstall")


def test_a_wheel_shows_the_demo(run):
    events = [json.loads(line) for line in run("dreamctl", "demo", "--json", "--seed", "1").splitlines()]
    assert any(event.get("type") == "line" for event in events)
