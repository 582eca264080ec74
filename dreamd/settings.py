"""Frozen settings: defaults, then a TOML file, then the environment, then --set; later ones win.

Each group is defined beside the rule that it tunes, with its reasons; here they are put together and read.
A wrong key or value is an error that names it and the nearest right one. A setting that an earlier version had
is ignored, with one warning.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from dreamclient.paths import config_home

from dreamd.dream.dialogue import DialogueSettings
from dreamd.dream.friend import FriendSettings
from dreamd.dream.gate import GateSettings
from dreamd.errors import SettingsError
from dreamd.inbox.settings import InboxSettings


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How dreams are kept."""

    diagnostics: bool = True  # false: no text is kept once its inbox file is written
    # What `replay` needs is kept for the newest ones: months of dreams, and a few MB.
    replay_dialogues: Annotated[int, msgspec.Meta(ge=0)] = 256


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the daemon says on standard error: changes of state, and no text of a dream."""

    level: Literal["off", "error", "warning", "info", "debug"] = "off"  # on standard error


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

# Settings of earlier versions -> why they are gone. They are ignored, so that an existing installation starts.
GONE = {
    "inbox.require_signed": "tokens are no longer signed; the socket's owner alone can write",
}

# After DREAMD_: no settings of the daemon, but what resolves its paths or belongs to the client (docs/guides/leo.md).
_OTHER_VARIABLES = ("SOCKET", "STATE_DIR", "CONFIG", "EMBEDDED", "RECALL", "INTO", "DIET")
_FOR_TESTS = "TEST_RPC"
# What Kubernetes and Docker's links set in containers for a service whose name begins with "dreamd".
_OF_A_SERVICE = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST=.*|SERVICE_PORT(?:_\w+)?=.*|PORT(?:_\d+_(?:TCP|UDP|SCTP))?=\w+://.*"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)=.*)|NAME=/.*|ENV_\w+=.*",
    re.DOTALL,
)
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
    warn: Callable[[str], object] | None = None,
) -> Settings:
    """Return the settings of `file` (or $DREAMD_CONFIG, or dreamd/config.toml in the configuration home, if there),
    the environment (DREAMD_GATE__CHANCE=1) and `assignments` (gate.chance=1). Raise SettingsError.

    `warn` is called at most once, with one line that names all settings that are gone.
    """
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    sources: dict[str, str] = {}  # of each key that was set: where, as its last source calls it
    gone: list[str] = []
    for source, pairs, read in (
        ("", _from_file(file, env), _typed),
        ("", _from_environment(env), _from_text),
        ("--set ", _from_assignments(assignments), _from_text),
    ):
        for name, key, value in pairs:
            if key not in KEYS and key in GONE:
                gone.append(f"{source}{name} ({GONE[key]})")
                continue
            if key not in KEYS:
                raise SettingsError(f"{source}{name}: there is no such setting{_nearest(key, KEYS)}")
            group, _, field = key.partition(".")
            groups[group][field] = read(source + name, _type_of(group, field), value)
            sources[key] = source + name
    if gone and warn:
        warn(f"ignored, since this version has no such setting: {', '.join(gone)}")
    return Settings(**{name: _together(name, values, sources) for name, values in groups.items()})


def _together(group: str, values: Mapping[str, Any], sources: Mapping[str, str]) -> Any:
    """Return a group of settings. Raise SettingsError, with the sources of those it names, if they conflict."""
    try:
        return msgspec.convert(values, GROUPS[group])
    except msgspec.ValidationError as error:
        named = [sources[f"{group}.{field}"] for field in values if field in str(error).split()]
        raise SettingsError(f"{', '.join(named) or group}: {error}") from None


def config_file(env: Mapping[str, str]) -> Path:
    """Return the settings file: $DREAMD_CONFIG, else dreamd/config.toml in the configuration home, there or not."""
    return Path(env.get("DREAMD_CONFIG") or config_home(env) / "dreamd" / "config.toml")


def _from_file(file: Path | None, env: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    named = file is not None or env.get("DREAMD_CONFIG")
    path = file or config_file(env)
    try:
        data = path.read_bytes()
        if b"\0" in data:  # every key is ASCII, so each UTF-16 file has some
            raise SettingsError(f"{path}: expected UTF-8, but this is UTF-16 or binary; save it as UTF-8")
        table = tomllib.loads(data.decode("utf-8-sig"))  # some editors begin a file with a byte order mark
    except OSError as error:
        if not named and isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
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
    variables = {key.upper().replace(".", "__"): key for key in (*KEYS, *GONE)}
    for name, value in env.items():
        word = name.removeprefix("DREAMD_")
        if word == name or word in (*_OTHER_VARIABLES, _FOR_TESTS):
            continue
        if word in variables:
            yield name, variables[word], value
        elif not _OF_A_SERVICE.fullmatch(f"{word}={value}"):
            known = (*_OTHER_VARIABLES, *(word for word, key in variables.items() if key in KEYS))
            raise SettingsError(f"{name}: there is no such variable{_nearest(word, known, 'DREAMD_')}")


def _from_assignments(assignments: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment}: expected NAME=VALUE, as in gate.chance=1")
        yield key.strip(), key.strip(), value.strip()


def _type_of(group: str, field: str) -> Any:
    return next(f.type for f in msgspec.structs.fields(GROUPS[group]) if f.name == field)


def _typed(name: str, kind: Any, value: Any) -> Any:
    """A value of the file, which has types of its own: a number in quotes is none."""
    try:
        return _converted(name, kind, value, strict=True)
    except SettingsError as error:
        quoted = isinstance(value, str) and get_origin(kind) is not Literal
        raise SettingsError(
            f"{error}; in the file it stands without quotes" if quoted else str(error)
        ) from None


def _from_text(name: str, kind: Any, value: str) -> Any:
    """A value of the environment or of --set."""
    return _converted(name, kind, _WORDS.get(value.lower(), value) if kind is bool else value, strict=False)


def _converted(name: str, kind: Any, value: Any, *, strict: bool) -> Any:
    try:
        converted = msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {_expected(kind) or error}, not {value!r}") from None
    if isinstance(converted, float) and not isfinite(converted):
        raise SettingsError(f"{name}: expected a finite number, not {value!r}")
    return converted


def _expected(kind: Any) -> str:
    """What is wanted, where a list of it says more than its type."""
    if kind is bool:
        return "expected true or false"
    return f"expected one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else ""


def _nearest(wrong: str, right: Iterable[str], prefix: str = "") -> str:
    close = get_close_matches(wrong, list(right), n=1, cutoff=0.5)
    told = ", ".join(prefix + name for name in close or right)
    return f"; did you mean {told}?" if close else f"; there are: {told}"
