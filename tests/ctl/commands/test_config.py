"""`config`: every value with its source, and a settings file without new mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dreamd.ctl.commands.config.sample import sample_file
from dreamd.settings import KEYS, Settings, load_settings
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

COMMENTED = """\
# my leo dreams often

[gate]
cooldown_s = 60   # a minute
# half of them
mode = "fixed"

[log]
level = "info"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "dreamd" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(COMMENTED)
    return path


def config(file: Path, *words: object, **env: str) -> Result:
    state = file.parents[2] / "state"
    return dreamctl("--state-dir", state, "config", *words, XDG_CONFIG_HOME=str(file.parents[1]), **env)


def told(file: Path, *words: object, **env: str) -> dict[str, Any]:
    return {
        each["name"]: each for each in json.loads(config(file, *words, "--json", **env).stdout)["settings"]
    }


def test_a_value_below_zero_is_no_option(file: Path) -> None:
    assert (
        config(file, "set", "gate.novelty_above", "-1").stdout == "gate.novelty_above is -1.0, from: file.\n"
    )
    assert config(file, "set", "gate.novelty_above", "-1", "--json").exit_code == 0
    wrong = config(file, "set", "gate.chance", "-1")
    assert (wrong.exit_code, "gate.chance" in wrong.stderr) == (2, True)


def test_each_value_is_shown_with_its_source(file: Path) -> None:
    found = told(file, DREAMD_GATE__CHANCE="1", DREAM_INBOX_REDACT="1")
    assert list(found) == list(KEYS)
    sources = {
        name: (each["source"], each["value"]) for name, each in found.items() if each["source"] != "default"
    }
    assert sources == {
        "gate.cooldown_s": ("file", 60.0),
        "gate.mode": ("file", "fixed"),
        "log.level": ("file", "info"),
        "gate.chance": ("environment", 1.0),
        "inbox.redact": ("environment", True),
    }
    assert found["gate.chance"]["called"] == "DREAMD_GATE__CHANCE"
    shown = config(file, DREAMD_GATE__CHANCE="1").stdout
    assert str(file) in shown.splitlines()[0]
    (row,) = (line for line in shown.splitlines() if line.startswith("gate.chance "))
    assert row.split() == ["gate.chance", "1.0", "environment:", "DREAMD_GATE__CHANCE"]


def test_the_environment_and_arguments_of_a_daemon_count(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[friend]\nbuffer = 9\n")
    env = {"DREAMD_GATE__CHANCE": "0.25"}
    with DaemonProcess(
        tmp_path / "state", "--set", "gate.cooldown_s=7", "--config", str(other), env=env
    ) as daemon:
        answer = json.loads(config(file, "--json", DREAMD_GATE__MODE="fixed").stdout)
        assert (answer["daemon"], answer["path"]) == (daemon.process.pid, str(other))
        changed = {
            each["name"]: (each["source"], each["value"]) for each in answer["settings"] if each["called"]
        }
        assert changed == {
            "gate.cooldown_s": ("--set", 7.0),
            "gate.chance": ("environment", 0.25),
            "friend.buffer": ("file", 9),
        }
        shown = config(file, "set", "gate.cooldown_s", "8").stdout
        assert "--set gate.cooldown_s decides" in shown
        assert "service restart` makes it take that" in config(file, "set", "friend.buffer", "8").stdout
    assert load_settings(file=other, env={}).friend.buffer == 8
    assert file.read_text() == COMMENTED


def test_set_and_unset_keep_comments_and_order(file: Path) -> None:
    file.chmod(0o640)
    assert config(file, "set", "gate.cooldown_s", "30").stdout == "gate.cooldown_s is 30.0, from: file.\n"
    assert config(file, "set", "gate.mode", "adaptive").exit_code == 0
    assert config(file, "set", "inbox.enabled", "no").exit_code == 0
    expected = COMMENTED.replace("60   #", "30.0   #").replace('"fixed"', '"adaptive"')
    assert file.read_text().startswith(expected)
    assert file.stat().st_mode & 0o777 == 0o640
    assert load_settings(file=file, env={}).inbox.enabled is False
    assert config(file, "unset", "inbox.enabled").stdout == "inbox.enabled is true, from: default.\n"
    assert load_settings(file=file, env={}).inbox.enabled is True
    missing = config(file, "unset", "inbox.enabled")
    assert (missing.exit_code, "inbox.enabled is not set in the file" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("gate.chance", "often", "gate.chance: expected a number, not 'often'"),
        ("gate.chanse", "1", "did you mean gate.chance?"),
        ("log.level", "loud", "expected one of off, error, warning, info, debug"),
        ("dialogue.turns_min", "9", "nothing was written: "),
        ("inbox.require_signed", "1", "there is no such setting any more"),
    ],
)
def test_a_mistake_changes_nothing(file: Path, key: str, value: str, says: str) -> None:
    result = config(file, "set", key, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert file.read_text() == COMMENTED


def test_existing_mistakes_can_be_corrected_one_by_one(file: Path) -> None:
    file.write_text("[gate]\nchance = 'x'\nchanse = 1\ncooldown_s = -1\n[loge]\na = 1\n")
    found = config(file, "check")
    assert found.exit_code == 1
    assert [line.split(": ")[1] for line in found.stdout.splitlines()] == [
        "gate.chance", "gate.chanse", "gate.cooldown_s", "loge.a",
    ]  # fmt: skip
    assert config(file, "set", "gate.chance", "1").exit_code == 0
    assert config(file, "unset", "gate.chanse").exit_code == 0
    assert config(file, "unset", "loge.a").exit_code == 0
    assert config(file, "check").exit_code == 1
    assert config(file, "set", "gate.cooldown_s", "1").exit_code == 0
    assert config(file, "check").stdout == f"No mistake in {file}: 2 settings are set.\n"


def test_check_looks_at_the_environment_and_at_another_file(file: Path, tmp_path: Path) -> None:
    assert (
        "DREAMD_GATE__CHANSE: there is no such variable"
        in config(file, "check", DREAMD_GATE__CHANSE="1").stdout
    )
    other = tmp_path / "other.toml"
    other.write_text("[gate\n")
    result = config(file, "check", other)
    assert (result.exit_code, result.stdout.startswith(f"{other}: not TOML: ")) == (1, True)


def test_the_sample_has_every_setting_and_changes_none(file: Path) -> None:
    file.unlink()
    assert config(file, "init").stdout == f"Written: {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_settings(file=file, env={}) == Settings()
    again = config(file, "init")
    assert (again.exit_code, "stays as it is" in again.stderr) == (1, True)
    on = "\n".join(
        line[1:] if line.startswith("#") and " = " in line and line[1] != " " else line
        for line in sample_file().splitlines()
    )
    file.write_text(on)
    assert load_settings(file=file, env={}) == Settings()
    assert sum(line.startswith("#") and line[1] != " " for line in sample_file().splitlines()) == len(KEYS)


def test_a_value_goes_below_its_commented_default(file: Path) -> None:
    file.write_text(sample_file())
    config(file, "set", "friend.decay", "0.5")
    lines = file.read_text().splitlines()
    assert lines[lines.index("#decay = 0.99") + 1] == "decay = 0.5"
    config(file, "unset", "friend.decay")
    assert file.read_text() == sample_file()


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    real = file.rename(tmp_path / "dotfile.toml")
    file.symlink_to(real)
    assert config(file, "set", "gate.chance", "1").exit_code == 0
    assert file.is_symlink()
    assert load_settings(file=real, env={}).gate.chance == 1
