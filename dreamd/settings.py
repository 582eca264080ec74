"""Frozen settings: defaults, then a TOML file, then the environment, then --set. Later sources win.

Each group is defined beside the rule that it tunes, with its reasons. This file combines and reads them. A wrong key or
value is an error that names it and the nearest right one. Settings of earlier versions are ignored, with one warning.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from dreamclient.paths import config_home
from msgspec import Struct, field

from dreamd.dream.dialogue import DialogueSettings
from dreamd.dream.friend import FriendSettings
from dreamd.dream.gate import GateSettings
from dreamd.errors import SettingsError
from dreamd.inbox.settings import VARIABLES, InboxSettings


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the store."""

    diagnostics: bool = True  # Whether texts are kept after the inbox file is written.
    # How many of the newest dialogues keep the data of a replay: months of dreams, and a few MB.
    replay_dialogues: Annotated[int, msgspec.Meta(ge=0)] = 256
    # How many of the newest dialogues can be taken back out of leo: a few KB each.
    undo_dialogues: Annotated[int, msgspec.Meta(ge=0)] = 1000
    # Days after which a dialogue is forgotten, once two looks a day apart have found it too old. 0: never.
    keep_days: Annotated[int, msgspec.Meta(ge=0)] = 0


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the log on standard error: changes of state, and no text of a dream."""

    # The level of the log on standard error.
    level: Literal["off", "error", "warning", "info", "debug"] = "warning"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. The file, the environment and --set name them as `name.key`."""

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

# Variables after DREAMD_ that are no settings: they name paths or belong to the client (docs/guides/leo.md).
_OTHER_VARIABLES = ("SOCKET", "STATE_DIR", "CONFIG", "EMBEDDED", "RECALL", "INTO", "DIET")
_FOR_TESTS = "TEST_RPC"
# Variables that Kubernetes and Docker's links set in containers for a service whose name begins with "dreamd".
_OF_A_SERVICE = (
    r"(?s)(?:\w+_)?(?:SERVICE_HOST=.*|SERVICE_PORT(?:_\w+)?=.*|PORT(?:_\d+_(?:TCP|UDP|SCTP))?=\w+://.*"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)=.*)|NAME=/.*|ENV_\w+=.*"
)
# Variables of the earlier inbox writer.
_INBOX_VARIABLES = {name: f"inbox.{key}" for name, key in VARIABLES.items()}
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


class Origin(NamedTuple):
    """The source of a value. `kind`: default, file, environment or --set. `name`: its name there."""

    kind: str = "default"
    name: str = ""


class Reading(Struct):
    """The values of all sources: the `origins` of those that were set, each error, and settings that are gone."""

    origins: dict[str, Origin] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in GROUPS})

    def settings(self) -> Settings:
        """Return the settings. Raise SettingsError, with a line for each error."""
        if self.errors:
            raise SettingsError("\n".join(self.errors))
        return msgspec.convert(self.values, Settings)

    def check(self) -> None:
        """Add an error for each group whose values conflict, with the sources of the values that it names."""
        for group, values in self.values.items():
            try:
                msgspec.convert(values, GROUPS[group])
            except msgspec.ValidationError as error:
                words = str(error).split()
                named = [self.origins[f"{group}.{name}"].name for name in values if name in words]
                self.errors.append(f"{', '.join(named) or group}: {error}")

    def take(self, kind: str, name: str, key: str, value: Any) -> None:
        """Add a value of a source, or an error if it is wrong."""
        if key not in KEYS and key in GONE:
            self.gone.append(f"{name} ({GONE[key]})")
        elif key not in KEYS:
            self.errors.append(f"{name}: there is no such setting{_nearest_name(key, KEYS)}")
        else:
            group, _, member = key.partition(".")
            convert = _typed_value if kind == "file" else _from_text
            try:
                self.values[group][member] = convert(name, _type_of(group, member), value)
            except SettingsError as error:
                self.errors.append(str(error))
            else:
                self.origins[key] = Origin(kind, name)


# The names that msgspec gives to types.
_TYPE = re.compile(r"Expected `(\w+)(?: \| null)?`")
MOST = (1 << 63) - 1  # the largest whole number of SQLite; MessagePack's is not much larger
_TYPES = {"float": "a number", "int": "a whole number", "str": "a text in quotes"}


def load_settings(
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
    found = read_sources(file=file, env=env, assignments=assignments)
    settings = found.settings()
    if found.gone and warn:
        warn(f"ignored, since this version has no such setting: {', '.join(found.gone)}")
    return settings


def read_sources(
    *, file: Path | None = None, env: Mapping[str, str] = os.environ, assignments: Iterable[str] = ()
) -> Reading:
    """Read the sources of `load_settings`, and return their values and errors."""
    reading = Reading()
    for kind, found in (
        ("file", _from_file(file, env)),
        ("environment", _from_environment(env)),
        ("--set", _from_assignments(assignments)),
    ):
        for pair in found:
            if isinstance(pair, SettingsError):
                reading.errors.append(str(pair))
            else:
                reading.take(kind, *pair)
    reading.check()
    return reading


def config_file(env: Mapping[str, str]) -> Path:
    """Return the settings file, which need not exist: $DREAMD_CONFIG, or dreamd/config.toml in the configuration
    home."""
    return Path(env.get("DREAMD_CONFIG") or config_home(env) / "dreamd" / "config.toml")


# A source's name for a setting, its key and value, or an error of the source.
Pair = tuple[str, str, Any] | SettingsError


_SHORT_NAME = "below [gate] it says `chance = 1`, and not `gate.chance = 1`"


def _from_file(file: Path | None, env: Mapping[str, str]) -> Iterator[Pair]:
    named = file is not None or env.get("DREAMD_CONFIG")
    path = file or config_file(env)
    try:
        table = _read_table(path)
    except OSError as error:
        # It counts as absent in a folder that this user cannot look into, such as another user's home.
        hidden = isinstance(error, PermissionError) and not os.path.exists(path.parent)
        if named or not (hidden or isinstance(error, FileNotFoundError | NotADirectoryError)):
            yield SettingsError(f"{path}: the settings cannot be read: {error.strerror}")
        return
    except SettingsError as error:
        yield error
        return
    for group, pairs in table.items():
        if not isinstance(pairs, dict):
            nearest = _nearest_name(group, GROUPS)
            yield SettingsError(f"{path}: {group}: expected a table like [gate], not a value{nearest}")
            continue
        for key, value in pairs.items():
            name = f"{path}: {group}.{key}"
            if isinstance(value, dict):
                yield SettingsError(f"{name}: expected a value, not a table; {_SHORT_NAME}")
            else:
                yield name, f"{group}.{key}", value


def _read_table(path: Path) -> dict[str, Any]:
    """Return the table of a settings file. Raise SettingsError and OSError."""
    data = path.read_bytes()
    if b"\0" in data:  # every key is ASCII, so a UTF-16 file always has null bytes
        raise SettingsError(f"{path}: expected UTF-8, but this is UTF-16 or binary; save it as UTF-8")
    try:
        import tomllib  # only if there is a file: 2 ms of a start

        return tomllib.loads(data.decode("utf-8-sig"))  # some editors write a byte order mark
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise SettingsError(f"{path}: not TOML: {error}") from None


def _from_environment(env: Mapping[str, str]) -> Iterator[Pair]:
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
        elif not re.fullmatch(_OF_A_SERVICE, f"{word}={value}"):
            known = (*_OTHER_VARIABLES, *(word for word, key in variables.items() if key in KEYS))
            yield SettingsError(f"{name}: there is no such variable{_nearest_name(word, known, 'DREAMD_')}")


def _from_assignments(assignments: Iterable[str]) -> Iterator[Pair]:
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if equals:
            yield f"--set {key.strip()}", key.strip(), value.strip()
        else:
            yield SettingsError(f"--set {assignment}: expected NAME=VALUE, as in gate.chance=1")


def _type_of(group: str, field: str) -> Any:
    return next(f.type for f in msgspec.structs.fields(GROUPS[group]) if f.name == field)


def _typed_value(name: str, kind: Any, value: Any) -> Any:
    """Return a value of the file, whose types are strict: a number in quotes is no number. Raise SettingsError."""
    try:
        return _convert_value(name, kind, value, strict=True)
    except SettingsError as error:
        quoted = isinstance(value, str) and get_origin(kind) is not Literal
        raise SettingsError(
            f"{error}; in the file it stands without quotes" if quoted else str(error)
        ) from None


def _from_text(name: str, kind: Any, value: str) -> Any:
    """Return a value of the environment or of --set. Raise SettingsError."""
    return _convert_value(
        name, kind, _WORDS.get(value.lower(), value) if kind is bool else value, strict=False
    )


def _convert_value(name: str, kind: Any, value: Any, *, strict: bool) -> Any:
    try:
        converted = msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {_expected_words(kind, error)}, not {value!r}") from None
    if isinstance(converted, float) and not isfinite(converted):
        raise SettingsError(f"{name}: expected a finite number, not {value!r}")
    if isinstance(converted, int) and converted > MOST:
        raise SettingsError(f"{name}: expected at most {MOST}, not {value!r}")
    return converted


def _expected_words(kind: Any, error: msgspec.ValidationError) -> str:
    """Return the expected value in words."""
    if kind is bool:
        return "expected true or false"
    if get_origin(kind) is Literal:
        return f"expected one of {', '.join(get_args(kind))}"
    return _TYPE.sub(
        lambda found: f"expected {_TYPES.get(found[1], found[1])}", str(error).partition(", got")[0]
    )


def _nearest_name(wrong: str, right: Iterable[str], prefix: str = "") -> str:
    from difflib import get_close_matches

    close = get_close_matches(wrong, list(right), n=1, cutoff=0.5)
    told = ", ".join(prefix + name for name in close or right)
    return f"; did you mean {told}?" if close else f"; there are: {told}"
