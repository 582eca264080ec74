"""The unit files: found, filled in, and told from those that a person has edited."""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dreamclient.paths import config_home

NAMES = ("dreamd.socket", "dreamd.service", "dreamd@.socket", "dreamd@.service")
_MARK = "# Written by `dreamctl service install`; change it with `systemctl --user edit`. "


def unit_folder(env: Mapping[str, str]) -> Path:
    """Return where the user manager looks for units: systemd.unit(5)."""
    return config_home(env) / "systemd" / "user"


def filled(name: str, state_dir: Path, socket: Path, runtime: str | None) -> str:
    """The text of a unit for this interpreter, this state folder and this socket, with our mark on top."""
    usual = Path(runtime) / "dreamd" / "dreamd.sock" if runtime else None
    word = str(state_dir).replace("$", "$$")  # ExecStart alone knows variables
    text = (
        _template(name)
        .replace("@PYTHON@", _quoted(sys.executable))
        .replace("--state-dir @STATE@@%i", f"--state-dir {_quoted(word, '@%i')}")
        .replace("--state-dir @STATE@", f"--state-dir {_quoted(word)}")
        .replace("@STATE@@%i", _quoted(str(state_dir), "@%i"))
        .replace("@STATE@", _quoted(str(state_dir)))
        .replace("@SOCKET@", "%t/dreamd/dreamd.sock" if socket == usual else str(socket).replace("%", "%%"))
    )
    return f"{_MARK}{_digest(text)}\n{text}"


def is_masked(path: Path) -> bool:
    """Whether its owner has said that a unit is never to start: systemctl(1)."""
    return os.path.realpath(path) == os.devnull


def is_edited(text: str) -> bool:
    """Whether a unit is not as we wrote it: then it is its owner's."""
    first, _, rest = text.partition("\n")
    return first != _MARK + _digest(rest)


def text_of(path: Path) -> str:
    """Return the text of a unit file; empty if there is none that can be read."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def started(unit: str, instance: str = "") -> list[str]:
    """The words of ExecStart, as `filled` quotes them; none where its owner quotes otherwise."""
    line = next((line for line in unit.splitlines() if line.startswith("ExecStart=")), "")
    meant = {"%%": "%", "$$": "$", "%i": instance}
    try:
        words = shlex.split(line.partition("=")[2])
    except ValueError:
        return []
    return [re.sub(r"%%|\$\$|%i", lambda found: meant[found[0]], word) for word in words]


def served(unit: str, instance: str = "") -> Path | None:
    """The state folder that a service names."""
    words = started(unit, instance)
    return Path(words[words.index("--state-dir") + 1]) if "--state-dir" in words[:-1] else None


def _template(name: str) -> str:
    from importlib.resources import files  # to write a unit, not to look at one

    shipped = files("dreamd") / "units" / name  # in a wheel
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[3] / "systemd" / name).read_text(encoding="utf-8")  # in a checkout


def _digest(text: str) -> str:
    import hashlib  # where units are installed

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _quoted(text: str, end: str = "") -> str:
    """As systemd.syntax(7) wants a word that may hold spaces, quotes or percent signs; `end` as it stands."""
    whole = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{whole}{end}"'
