"""Frozen settings: defaults, then a TOML file, then the environment, then --set; later ones win.

Each group is defined beside the rule that it tunes, with its reasons; here they are put together and read.
A wrong key or value is an error that names it and the nearest right one.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import msgspec

from dreamd.dream.dialogue import DialogueSettings
from dreamd.dream.friend import FriendSettings
from dreamd.dream.gate import GateSettings
from dreamd.errors import SettingsError
from dreamd.inbox.settings import InboxSettings


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How dreams are kept."""

    diagnostics: bool = True  # false: a line's text is emptied once its shard is written


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the daemon says on standard error: changes of state, and no text of a dream."""

    level: Literal["off", "error", "warning", "info", "debug"] = "off"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that can be set; `name.key` is how the file, the environment and --set call it."""

    gate: GateSettings = GateSettings()
    dialogue: DialogueSettings = DialogueSettings()
    friend: FriendSettings = FriendSettings()
    inbox: InboxSettings = InboxSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()


GROUPS: dict[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings)
}
KEYS = tuple(f"{name}.{key}" for name, group in GROUPS.items() for key in group.__struct_fields__)

# Variables that are no settings of the daemon but resolve its paths or belong to the client.
_OTHER_VARIABLES = {
    "DREAMD_SOCKET",
    "DREAMD_STATE_DIR",
    "DREAMD_CONFIG",
    "DREAMD_EMBEDDED",
    "DREAMD_TEST_RPC",
}
# What users of the earlier inbox writer have in their environment.
_INBOX_VARIABLES = {
    "DREAM_INBOX_DIR": "inbox.dir",
    "DREAM_INBOX_REDACT": "inbox.redact",
    "DREAM_INBOX_VALIDATE": "inbox.validate",
}
_WORDS = {
    "yes": True,
    "on": True,
    "true": True,
    "1": True,
    "no": False,
    "off": False,
    "false": False,
    "0": False,
}


def load(
    *,
    file: Path | None = None,
    env: Mapping[str, str] = os.environ,
    assignments: Iterable[str] = (),
) -> Settings:
    """Settings from `file` (or $DREAMD_CONFIG, or dreamd/config.toml in the configuration home, if there), the
    environment (DREAMD_GATE__CHANCE=1) and `assignments` (gate.chance=1). Raises SettingsError."""
    chosen: dict[str, Any] = {}
    for source, pairs in (
        ("", _from_file(file, env)),
        ("", _from_environment(env)),
        ("--set ", _from_assignments(assignments)),
    ):
        for name, key, value in pairs:
            if key not in KEYS:
                raise SettingsError(f"{source}{name}: there is no such setting{_nearest(key, KEYS)}")
            chosen[key] = _value(source + name, key, value)
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for key, value in chosen.items():
        group, _, field = key.partition(".")
        groups[group][field] = value
    try:
        return msgspec.convert(groups, Settings)
    except msgspec.ValidationError as error:  # values that do not go together
        raise SettingsError(str(error)) from None


def _from_file(file: Path | None, env: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    named = file or (Path(env["DREAMD_CONFIG"]) if env.get("DREAMD_CONFIG") else None)
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or "~").expanduser() / ".config")
    path = named or home / "dreamd" / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if named is None and isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            return
        raise SettingsError(f"{path}: the settings cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise SettingsError(f"{path}: not TOML: {error}") from None
    for group, pairs in table.items():
        if not isinstance(pairs, dict):
            nearest = _nearest(group, GROUPS)
            raise SettingsError(f"{path}: {group}: expected a table like [gate], not a value{nearest}")
        for key, value in pairs.items():
            yield f"{path}: {group}.{key}", f"{group}.{key}", value


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    for name, key in _INBOX_VARIABLES.items():
        if env.get(name):
            yield name, key, env[name]
    for name, value in env.items():
        if name.startswith("DREAMD_") and name not in _OTHER_VARIABLES:
            key = name.removeprefix("DREAMD_").lower().replace("__", ".")
            if key not in KEYS:
                raise SettingsError(f"{name}: there is no such setting{_nearest(key, KEYS, _variable)}")
            yield name, key, value


def _from_assignments(assignments: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment}: expected NAME=VALUE, as in gate.chance=1")
        yield key.strip(), key.strip(), value.strip()


def _value(name: str, key: str, value: Any) -> Any:
    group, _, field = key.partition(".")
    kind = next(f.type for f in msgspec.structs.fields(GROUPS[group]) if f.name == field)
    if kind is bool and isinstance(value, str):
        value = _WORDS.get(value.lower(), value)
    try:
        converted = msgspec.convert(value, kind, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {error}{_hint(kind)}, not {value!r}") from None
    if isinstance(converted, float) and not isfinite(converted):
        raise SettingsError(f"{name}: expected a finite number, not {value!r}")
    return converted


def _hint(kind: Any) -> str:
    return " (true or false)" if kind is bool else ""


def _variable(key: str) -> str:
    return f"DREAMD_{key.upper().replace('.', '__')}"


def _nearest(wrong: str, right: Iterable[str], spelt: Callable[[str], str] = str) -> str:
    close = get_close_matches(wrong, list(right), n=1, cutoff=0.5)
    return f"; did you mean {spelt(close[0])}?" if close else f"; there are: {', '.join(map(spelt, right))}"
