"""Later sources win; what is wrong is named, with the nearest right one."""

from pathlib import Path

import pytest

from dreamd import settings
from dreamd.errors import SettingsError
from dreamd.settings import KEYS, Settings, load

NOTHING = Path("/dev/null")


def test_the_defaults():
    assert load(file=NOTHING, env={}) == Settings()
    assert len(KEYS) == len(set(KEYS)) > 25
    assert "gate.chance" in KEYS


def test_file_then_environment_then_set(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        "[gate]\nchance = 0.1\ncooldown_s = 5\nenabled = false\n[log]\nlevel = 'info'\n[inbox]\nmode = 0o640\n"
    )
    env = {"DREAMD_GATE__CHANCE": "0.2", "DREAMD_GATE__COOLDOWN_S": "6", "DREAMD_SOCKET": "x", "OTHER": "y"}
    chosen = load(file=file, env=env, assignments=["gate.chance=0.3", " friend.buffer = 7 "])
    assert (chosen.gate.chance, chosen.gate.cooldown_s, chosen.gate.enabled) == (0.3, 6.0, False)
    assert (chosen.friend.buffer, chosen.log.level, chosen.inbox.file_mode) == (7, "info", 0o640)


def test_the_file_is_found_where_it_is_named_or_in_the_configuration_home(tmp_path):
    (tmp_path / "xdg" / "dreamd").mkdir(parents=True)
    (tmp_path / ".config" / "dreamd").mkdir(parents=True)
    (tmp_path / "xdg" / "dreamd" / "config.toml").write_text("gate.chance = 0.1")
    (tmp_path / ".config" / "dreamd" / "config.toml").write_text("gate.chance = 0.2")
    (tmp_path / "named.toml").write_text("gate.chance = 0.3")
    home, xdg = {"HOME": str(tmp_path)}, {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    named = {"DREAMD_CONFIG": str(tmp_path / "named.toml")}
    assert load(env=home).gate.chance == 0.2
    assert load(env=home | xdg).gate.chance == 0.1
    assert load(env=home | xdg | named).gate.chance == 0.3
    assert load(env={"HOME": str(tmp_path / "empty")}) == Settings()
    assert load(file=tmp_path / "named.toml", env=home | {"DREAMD_CONFIG": "/nowhere"}).gate.chance == 0.3


def test_without_a_home_the_users_own_is_looked_up(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(env={}) == Settings()


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("ON", True), ("1", True), ("no", False), ("Off", False), ("0", False)]
)
def test_words_for_true_and_false(word, value):
    assert load(file=NOTHING, env={"DREAMD_GATE__ENABLED": word}).gate.enabled is value


def test_the_variables_of_the_earlier_inbox_writer():
    env = {"DREAM_INBOX_DIR": "/box", "DREAM_INBOX_REDACT": "1", "DREAM_INBOX_VALIDATE": ""}
    inbox = load(file=NOTHING, env=env).inbox
    assert (inbox.dir, inbox.redact, inbox.validate) == ("/box", True, False)
    assert load(file=NOTHING, env=env, assignments=["inbox.dir=/other"]).inbox.dir == "/other"


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("gate.chanse=1", "--set gate.chanse: there is no such setting; did you mean gate.chance?"),
        ("zzzzzz=1", "--set zzzzzz: there is no such setting; there are: gate.enabled, gate.cooldown_s, "),
        ("gate.chance", "--set gate.chance: expected NAME=VALUE, as in gate.chance=1"),
        ("gate.chance=often", "--set gate.chance: Expected `float`, got `str`, not 'often'"),
        ("gate.chance=nan", "--set gate.chance: expected a finite number, not 'nan'"),
        ("gate.cooldown_s=inf", "--set gate.cooldown_s: expected a finite number, not 'inf'"),
        ("gate.cooldown_s=-1", "--set gate.cooldown_s: Expected `float` >= 0.0, not '-1'"),
        ("gate.enabled=maybe", "--set gate.enabled: Expected `bool`, got `str` (true or false), not 'maybe'"),
        ("log.level=loud", "--set log.level: Invalid enum value 'loud', not 'loud'"),
        ("friend.buffer=2.5", "--set friend.buffer: Expected `int`, got `str`, not '2.5'"),
        ("dialogue.turns_min=9", "turns_min 9 is above turns_max 4 - at `$.dialogue`"),
    ],
)
def test_a_wrong_assignment_is_one_clear_line(assignment, says):
    with pytest.raises(SettingsError) as caught:
        load(file=NOTHING, env={}, assignments=[assignment])
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "DREAMD_GATE__CHANSE",
            "DREAMD_GATE__CHANSE: there is no such setting; did you mean DREAMD_GATE__CHANCE?",
        ),
        ("DREAMD_Q", "DREAMD_Q: there is no such setting; there are: DREAMD_GATE__ENABLED"),
    ],
)
def test_a_wrong_variable_is_one_clear_line(name, says):
    with pytest.raises(SettingsError) as caught:
        load(file=NOTHING, env={name: "1"})
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gate]\nchanse = 1", "gate.chanse: there is no such setting; did you mean gate.chance?"),
        ("[gates]\nchance = 1", "gates.chance: there is no such setting; did you mean gate.chance?"),
        ("gaet = 1", "gaet: expected a table like [gate], not a value; did you mean gate?"),
        ("[gate]\nchance = '1'", None),
        ("[gate]\nenabled = 1", "gate.enabled: Expected `bool`, got `int` (true or false), not 1"),
        ("[gate", "not TOML: "),
        (b"\xff", "not TOML: "),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, text, says):
    file = tmp_path / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    if says is None:
        assert load(file=file, env={}).gate.chance == 1.0
        return
    with pytest.raises(SettingsError) as caught:
        load(file=file, env={})
    assert str(caught.value).startswith(f"{file}: {says}")


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(SettingsError, match="the settings cannot be read: No such file"):
        load(file=tmp_path / "none", env={})
    (tmp_path / "dreamd" / "config.toml").mkdir(parents=True)
    with pytest.raises(SettingsError, match="the settings cannot be read: Is a directory"):
        load(env={"XDG_CONFIG_HOME": str(tmp_path)})


def test_every_key_can_be_set_by_each_source():
    for key in KEYS:
        group, _, name = key.partition(".")
        value = str(getattr(getattr(Settings(), group), name)).lower()
        if value == "none":
            continue
        if key == "inbox.mode":
            value = "0600"
        env = {f"DREAMD_{key.upper().replace('.', '__')}": value}
        assert load(file=NOTHING, env=env) == load(file=NOTHING, env={}, assignments=[f"{key}={value}"])
    assert settings.GROUPS.keys() == {"gate", "dialogue", "friend", "inbox", "store", "log"}
