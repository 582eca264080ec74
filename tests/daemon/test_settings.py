"""The settings: later sources win, and wrong ones are named with the nearest right one."""

import re
from pathlib import Path

import dreamclient
import pytest

from dreamd import settings
from dreamd.errors import SettingsError
from dreamd.settings import KEYS, Settings, load_settings

NOTHING = Path("/dev/null")
OTHERS = ("SOCKET", "STATE_DIR", "CONFIG", "EMBEDDED", "RECALL", "INTO", "DIET")


def test_defaults_without_any_source():
    assert load_settings(file=NOTHING, env={}) == Settings()
    assert len(KEYS) == len(set(KEYS)) > 25
    assert "gate.chance" in KEYS


def test_file_then_environment_then_set(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        "[gate]\nchance = 0.1\ncooldown_s = 5\nenabled = false\n[log]\nlevel = 'info'\n[inbox]\nmode = 0o640\n"
    )
    env = {"DREAMD_GATE__CHANCE": "0.2", "DREAMD_GATE__COOLDOWN_S": "6", "DREAMD_SOCKET": "x", "OTHER": "y"}
    chosen = load_settings(file=file, env=env, assignments=["gate.chance=0.3", " friend.buffer = 7 "])
    assert (chosen.gate.chance, chosen.gate.cooldown_s, chosen.gate.enabled) == (0.3, 6.0, False)
    assert (chosen.friend.buffer, chosen.log.level, chosen.inbox.file_mode) == (7, "info", 0o640)


def test_reads_the_named_file_or_the_one_in_the_configuration_home(tmp_path):
    (tmp_path / "xdg" / "dreamd").mkdir(parents=True)
    (tmp_path / ".config" / "dreamd").mkdir(parents=True)
    (tmp_path / "xdg" / "dreamd" / "config.toml").write_text("gate.chance = 0.1")
    (tmp_path / ".config" / "dreamd" / "config.toml").write_text("gate.chance = 0.2")
    (tmp_path / "named.toml").write_text("gate.chance = 0.3")
    home, xdg = {"HOME": str(tmp_path)}, {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    named = {"DREAMD_CONFIG": str(tmp_path / "named.toml")}
    assert load_settings(env=home).gate.chance == 0.2
    assert load_settings(env=home | xdg).gate.chance == 0.1
    assert load_settings(env=home | xdg | named).gate.chance == 0.3
    assert load_settings(env={"HOME": str(tmp_path / "empty")}) == Settings()
    assert (
        load_settings(file=tmp_path / "named.toml", env=home | {"DREAMD_CONFIG": "/nowhere"}).gate.chance
        == 0.3
    )


def test_without_a_home_variable_uses_the_user_database(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(env={}) == Settings()


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("ON", True), ("1", True), ("no", False), ("Off", False), ("0", False)]
)
def test_words_for_true_and_false(word, value):
    assert load_settings(file=NOTHING, env={"DREAMD_GATE__ENABLED": word}).gate.enabled is value


def test_the_variables_of_the_earlier_inbox_writer():
    env = {"DREAM_INBOX_DIR": "/box", "DREAM_INBOX_REDACT": "1", "DREAM_INBOX_VALIDATE": ""}
    inbox = load_settings(file=NOTHING, env=env).inbox
    assert (inbox.dir, inbox.redact, inbox.validate) == ("/box", True, False)
    assert load_settings(file=NOTHING, env=env, assignments=["inbox.dir=/other"]).inbox.dir == "/other"


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("gate.chanse=1", "--set gate.chanse: there is no such setting; did you mean gate.chance?"),
        ("zzzzzz=1", "--set zzzzzz: there is no such setting; there are: gate.enabled, gate.cooldown_s, "),
        ("gate.chance", "--set gate.chance: expected NAME=VALUE, as in gate.chance=1"),
        ("gate.chance=often", "--set gate.chance: expected a number, not 'often'"),
        ("gate.trauma_above=nan", "--set gate.trauma_above: expected a finite number, not 'nan'"),
        ("gate.cooldown_s=inf", "--set gate.cooldown_s: expected a finite number, not 'inf'"),
        ("gate.cooldown_s=-1", "--set gate.cooldown_s: expected a number >= 0.0, not '-1'"),
        ("gate.enabled=maybe", "--set gate.enabled: expected true or false, not 'maybe'"),
        (
            "log.level=loud",
            "--set log.level: expected one of off, error, warning, info, debug, not 'loud'",
        ),
        (f"dialogue.turns_max={1 << 63}", f"--set dialogue.turns_max: expected at most {(1 << 63) - 1}, not"),
        ("friend.buffer=2.5", "--set friend.buffer: expected a whole number, not '2.5'"),
        ("dialogue.turns_min=9", "--set dialogue.turns_min: turns_min 9 is above turns_max 4"),
        ("inbox.mode=0644", '--set inbox.mode: mode must be "0600", "0640" or "0660"'),
        ("inbox.retention_s=-1", "--set inbox.retention_s: retention_s must be a finite number of seconds"),
    ],
)
def test_a_wrong_assignment_is_one_clear_line(assignment, says):
    with pytest.raises(SettingsError) as caught:
        load_settings(file=NOTHING, env={}, assignments=[assignment])
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "DREAMD_GATE__CHANSE",
            "DREAMD_GATE__CHANSE: there is no such variable; did you mean DREAMD_GATE__CHANCE?",
        ),
        ("DREAMD_SOKET", "DREAMD_SOKET: there is no such variable; did you mean DREAMD_SOCKET?"),
        ("DREAMD_Q", "DREAMD_Q: there is no such variable; there are: DREAMD_SOCKET, DREAMD_STATE_DIR, "),
    ],
)
def test_a_wrong_variable_is_one_clear_line(name, says):
    with pytest.raises(SettingsError) as caught:
        load_settings(file=NOTHING, env={name: "1"})
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gate]\nchanse = 1", "gate.chanse: there is no such setting; did you mean gate.chance?"),
        ("[gates]\nchance = 1", "gates.chance: there is no such setting; did you mean gate.chance?"),
        ("gaet = 1", "gaet: expected a table like [gate], not a value; did you mean gate?"),
        (
            "[gate]\ngate.chance = 1",
            "gate.gate: expected a value, not a table; below [gate] it says `chance = 1`",
        ),
        (
            "[store]\ngate.chance = 1",
            "store.gate: expected a value, not a table; below [gate] it says `chance",
        ),
        (
            "[gate]\nchance = '0.5'",
            "gate.chance: expected a number, not '0.5'; in the file it stands without quotes",
        ),
        ("[gate]\nenabled = 1", "gate.enabled: expected true or false, not 1"),
        (
            "[gate]\nenabled = 'yes'",
            "gate.enabled: expected true or false, not 'yes'; in the file it stands without quotes",
        ),
        ("[log]\nlevel = 'loud'", "log.level: expected one of off, error, warning, info, debug, not 'loud'"),
        ('[inbox]\ndir = "a\\u0000b"', "inbox.dir: dir holds a NUL"),
        ("[dialogue]\nturns_min = 9", "dialogue.turns_min: turns_min 9 is above turns_max 4"),
        ("[gate", "not TOML: "),
        (b"\xff", "not TOML: "),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, text, says):
    file = tmp_path / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        load_settings(file=file, env={})
    assert str(caught.value).startswith(f"{file}: {says}")


def test_names_all_values_that_conflict(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("[dialogue]\nturns_min = 9\nmax_chars = 200\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file=file, env={"DREAMD_DIALOGUE__TURNS_MAX": "5"})
    assert (
        str(caught.value)
        == f"{file}: dialogue.turns_min, DREAMD_DIALOGUE__TURNS_MAX: turns_min 9 is above turns_max 5"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, encoding, newline):
    file = tmp_path / "config.toml"
    file.write_bytes(f"# träumt{newline}[gate]{newline}chance = 1{newline}".encode(encoding))
    assert load_settings(file=file, env={}).gate.chance == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_a_file_in_utf_16_is_named_as_such(tmp_path, encoding):
    file = tmp_path / "config.toml"
    file.write_bytes("[gate]\nchance = 1\n".encode(encoding))
    with pytest.raises(SettingsError) as caught:
        load_settings(file=file, env={})
    assert str(caught.value) == f"{file}: expected UTF-8, but this is UTF-16 or binary; save it as UTF-8"


def test_ignores_removed_settings_with_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "GONE", {"gate.shut": "it opens", "inbox.signed": "none is"})
    file = tmp_path / "config.toml"
    file.write_text("[gate]\nshut = 'maybe'\nchance = 1\n[inbox]\nsigned = true\n")
    env = {"DREAMD_INBOX__SIGNED": "whatever"}
    said: list[str] = []
    chosen = load_settings(file=file, env=env, assignments=["gate.shut=1"], warn=said.append)
    assert chosen == load_settings(file=NOTHING, env={}, assignments=["gate.chance=1"])
    [line] = said
    assert line == (
        f"ignored, since this version has no such setting: {file}: gate.shut (it opens), {file}: inbox.signed "
        "(none is), DREAMD_INBOX__SIGNED (none is), --set gate.shut (it opens)"
    )
    assert load_settings(file=file, env=env) == chosen


def test_warns_of_no_existing_setting():
    said: list[str] = []
    load_settings(file=NOTHING, env={}, assignments=["gate.chance=1"], warn=said.append)
    assert not said


def test_the_variables_of_a_service_called_dreamd_are_no_settings():
    env = {
        "DREAMD_SERVICE_HOST": "10.0.0.1",
        "DREAMD_SERVICE_PORT": "1234",
        "DREAMD_SERVICE_PORT_NAME": "1234",
        "DREAMD_SERVICE_PORT_HTTP_METRICS": "9090",
        "DREAMD_PORT": "tcp://10.0.0.1:1234",
        "DREAMD_PORT_1234_TCP": "tcp://10.0.0.1:1234",
        "DREAMD_PORT_1234_TCP_PROTO": "tcp",
        "DREAMD_PORT_1234_TCP_PORT": "1234",
        "DREAMD_PORT_1234_TCP_ADDR": "10.0.0.1",
        "DREAMD_PORT_53_UDP": "udp://[fd00::1]:53",
        "DREAMD_PORT_53_UDP_ADDR": "fd00::1",
        "DREAMD_PORT_9_SCTP_PROTO": "sctp",
        "DREAMD_NAME": "/leo/dreamd",
        "DREAMD_ENV_PATH": "/usr/bin",
    }
    named = {f"DREAMD_WEB_UI{name.removeprefix('DREAMD')}": value for name, value in list(env.items())[:-2]}
    assert load_settings(file=NOTHING, env=env | named) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("DREAMD_PORT", "1234"), ("DREAMD_HOST", "10.0.0.1"), ("DREAMD_NAME", "leo"), ("DREAMD_SERVICE", "1")],
)
def test_refuses_what_only_looks_like_a_service_variable(name, value):
    with pytest.raises(SettingsError, match=f"{name}: there is no such variable"):
        load_settings(file=NOTHING, env={name: value})


def test_lists_all_wrong_variables():
    with pytest.raises(SettingsError) as caught:
        load_settings(file=NOTHING, env={"DREAMD_Q": "1"})
    listed = str(caught.value).partition("there are: ")[2].split(", ")
    assert listed[:7] == [f"DREAMD_{name}" for name in OTHERS]
    assert len(listed) == len(OTHERS) + len(KEYS)


def test_ignores_the_variables_of_the_client():
    assert load_settings(file=NOTHING, env={f"DREAMD_{name}": "x" for name in OTHERS}) == Settings()
    sources = Path(dreamclient.__file__).parent.rglob("*.py")
    assert {name for file in sources for name in re.findall(r"DREAMD_([A-Z_]+)", file.read_text())} <= {
        *OTHERS
    }


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(SettingsError, match="the settings cannot be read: No such file"):
        load_settings(file=tmp_path / "none", env={})
    (tmp_path / "dreamd" / "config.toml").mkdir(parents=True)
    with pytest.raises(SettingsError, match="the settings cannot be read: Is a directory"):
        load_settings(env={"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_usual_file_that_cannot_be_read_is_no_missing_one(tmp_path, monkeypatch):
    """Defaults in its place would keep texts that its user does not want to be kept."""
    file, env = tmp_path / "dreamd" / "config.toml", {"XDG_CONFIG_HOME": str(tmp_path)}
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied")))
    assert load_settings(env=env) == Settings()  # as in the home of another user: its folder is out of sight
    file.parent.mkdir()
    with pytest.raises(SettingsError, match=rf"{file}: the settings cannot be read: denied"):
        load_settings(env=env)


def test_every_key_can_be_set_by_each_source():
    for key in KEYS:
        group, _, name = key.partition(".")
        value = str(getattr(getattr(Settings(), group), name)).lower()
        if value == "none":
            continue
        if key == "inbox.mode":
            value = "0600"
        env = {f"DREAMD_{key.upper().replace('.', '__')}": value}
        assert load_settings(file=NOTHING, env=env) == load_settings(
            file=NOTHING, env={}, assignments=[f"{key}={value}"]
        )
    assert settings.GROUPS.keys() == {"gate", "dialogue", "friend", "inbox", "store", "log"}
