"""The installations of users: wheels from a folder and from a git address, each in an empty environment.

`.ci/install` does the same with pipx, uv and a checkout, which take longer."""

import ast
import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PARTS = (
    ".gitignore",
    "client",
    "dreamd",
    "man",
    "systemd",
    "pyproject.toml",
    "LICENSE",
    "README.md",
)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command, cwd=None):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The two that `make dist` builds."""
    target = tmp_path_factory.mktemp("dist")
    for source in (CHECKOUT, CHECKOUT / "client"):
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=source)
    return sorted(target.glob("*.whl"))


@pytest.fixture(scope="module")
def folder(wheels, tmp_path_factory):
    """A folder with all wheels that an installation needs: those of the dependencies are packed again from here."""
    folder = tmp_path_factory.mktemp("a folder of wheels")
    for wheel in wheels:
        shutil.copy(wheel, folder)
    for name in re.findall(r"^([\w.-]+)==", (CHECKOUT / "requirements/run.lock").read_text(), re.MULTILINE):
        package = metadata.distribution(name)
        tag = re.search(r"^Tag: (\S+)", package.read_text("WHEEL"), re.MULTILINE)[1]
        file = folder / f"{name.replace('-', '_')}-{package.version}-{tag}.whl"
        with zipfile.ZipFile(file, "w") as wheel:
            for held in package.files:
                if not {"..", "tests", "__pycache__"} & set(held.parts):
                    wheel.write(held.locate(), str(held))
    return folder


def an_environment(home):
    """Make an environment with the pip of this one, so that none has to be unpacked."""
    venv.create(home, with_pip=False)
    return home / "bin"


def install(bin_folder, folder, *what):
    run(*PIP, "--python", bin_folder / "python", "install", "--no-compile",
        "--no-index", "--find-links", folder, *what, cwd=folder)  # fmt: skip


@pytest.fixture(scope="module")
def installed(folder, tmp_path_factory):
    """The bin folder of an environment in which pip installed `dreamd` from the folder."""
    programs = an_environment(tmp_path_factory.mktemp("env"))
    install(programs, folder, "dreamd")
    return programs


def test_pip_and_a_folder_of_wheels_lead_to_the_demo(installed, tmp_path):
    statement = "import dreamd, dreamclient; print(dreamd.__file__, dreamclient.__file__, sep='\\n')"
    where = run(installed / "python", "-c", statement, cwd=tmp_path)
    assert all(Path(file).is_relative_to(installed.parent) for file in where.splitlines())
    assert (installed / "dreamd").exists()
    shown = run(installed / "dreamctl", "--state-dir", tmp_path, "demo", "--json", cwd=tmp_path)
    assert any(event.get("type") == "line" for event in map(json.loads, shown.splitlines()))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_address_gives_the_wheel_of_the_folder(wheels, tmp_path):
    """pip makes the wheel above from a git address, byte for byte, so it leads to the demo as well."""
    clone, made = tmp_path / "clone", tmp_path / "made"
    clone.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (CHECKOUT / part).is_dir() else shutil.copy
        copy(CHECKOUT / part, clone / part)
    git = (
        "git",
        "-C",
        clone,
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.example",
        "-c",
        "commit.gpgsign=false",
    )
    for words in (("init", "-q"), ("add", "--all"), ("commit", "-q", "-m", "all")):
        run(*git, *words)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", made, f"git+{clone.as_uri()}")
    [wheel] = made.iterdir()
    assert wheel.read_bytes() == wheels[0].read_bytes()


def test_the_small_wheel_serves_leo_and_the_doctor_warns_of_both(installed, folder, tmp_path):
    leo = an_environment(tmp_path / "leo")
    install(leo, folder, "dreamd-client")
    run(leo / "python", "-c", "import dreamclient.dropin, dreamclient.leo, msgpack", cwd=tmp_path)
    assert sorted(path.name for path in leo.iterdir() if "dream" in path.name) == []

    def warned():
        told = subprocess.run(
            [installed / "dreamctl", "--state-dir", tmp_path, "doctor", "--json"],
            capture_output=True,
            check=False,
        )
        findings = json.loads(told.stdout)["findings"]
        return [one for one in findings if "both installed" in one["text"]]

    assert warned() == []
    install(installed, folder, "dreamd-client")
    [finding] = warned()
    assert finding["level"] == "WARN"
    assert "pip uninstall -y dreamd-client`, then `" in finding["advice"]
    assert finding["advice"].endswith("pip install --force-reinstall --no-deps dreamd`")


def test_the_wheels_hold_what_they_need_and_no_more(wheels):
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels]
    daemon, client = names
    assert {"dreamd/py.typed", "dreamd/units/dreamd.service", "dreamd/units/dreamd@.socket"} <= daemon
    assert {"dreamd/ctl/stand_in/story.txt", "dreamd/inbox/matada_node_v1.json"} <= daemon
    pages = {name.partition("/data/share/")[2] for name in daemon if name.endswith((".1", ".8"))}
    assert pages == {"man/man1/dreamctl.1", "man/man8/dreamd.8"}
    assert {name for name in daemon if name.startswith("dreamclient/")} == {
        name for name in client if name.startswith("dreamclient/")
    }
    assert "dreamclient/py.typed" in client
    tops = [{name.partition("/")[0].partition("-")[0] for name in held} for held in names]
    assert tops == [{"dreamd", "dreamclient"}, {"dreamclient", "dreamd_client"}]


@pytest.mark.parametrize(("which", "not_needed"), [(0, {"phonenumbers", "nats-py"}), (1, set())])
def test_the_wheels_ask_for_what_they_import_and_no_more(wheels, which, not_needed):
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
    owners = metadata.packages_distributions()
    imported = {owner for top in tops - {"dreamclient", "dreamd"} for owner in owners.get(top, [top])}
    [about] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    told = message_from_bytes(wheel.read(about))
    asked = {re.match(r"[\w.-]+", one)[0] for one in told.get_all("Requires-Dist") if "extra ==" not in one}
    assert asked == imported - not_needed
    assert told["Author"] == "the dreamd authors"
    assert "Typing :: Typed" in told.get_all("Classifier")
    assert told["Keywords"]
    assert "Project-URL" not in told
