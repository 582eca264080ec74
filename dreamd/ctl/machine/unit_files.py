"""The unit files: where they are, their text, and whether their owner has edited them."""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dreamclient.paths import config_home

_OF_RELAYS = ("dreamd-relay.service", "dreamd-relay@.service")  # written, and enabled by their owner alone
NAMES = ("dreamd.socket", "dreamd.service", "dreamd@.socket", "dreamd@.service", *_OF_RELAYS)
_MARK = "# Written by `dreamctl service install`; change it with `systemctl --user edit`. "


def unit_folder(env: Mapping[str, str]) -> Path:
    """Return where the user manager looks for units: systemd.unit(5)."""
    return config_home(env) / "systemd" / "user"


def fill_unit(name: str, state_dir: Path, socket: Path, runtime: str | None) -> str:
    """Return the text of a unit for this interpreter, state folder and socket, with dreamd's mark on top."""
    usual = Path(runtime) / "dreamd" / "dreamd.sock" if runtime else None
    word = str(state_dir).replace("$", "$$")  # only ExecStart expands variables
    text = (
        _read_template(name)
        .replace("@PYTHON@", _quote_word(sys.executable))
        .replace("--state-dir @STATE@@%i", f"--state-dir {_quote_word(word, '@%i')}")
        .replace("--state-dir @STATE@", f"--state-dir {_quote_word(word)}")
        .replace("@STATE@@%i", _quote_word(str(state_dir), "@%i"))
        .replace("@STATE@", _quote_word(str(state_dir)))
        .replace("@SOCKET@", "%t/dreamd/dreamd.sock" if socket == usual else str(socket).replace("%", "%%"))
    )
    return f"{_MARK}{_digest_of(text)}\n{text}"


def is_masked(path: Path) -> bool:
    """Return whether the owner has masked a unit, so that it never starts: systemctl(1)."""
    return os.path.realpath(path) == os.devnull


def is_edited(text: str) -> bool:
    """Return whether a unit differs from what dreamctl wrote. It is its owner's then."""
    first, _, rest = text.partition("\n")
    return first != _MARK + _digest_of(rest)


def text_of(path: Path) -> str:
    """Return the text of a unit file, empty if it cannot be read."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def start_words(unit: str, instance: str = "") -> list[str]:
    """Return the words of ExecStart, quoted as `fill_unit` does, or an empty list if its owner quoted otherwise."""
    line = next((line for line in unit.splitlines() if line.startswith("ExecStart=")), "")
    meant = {"%%": "%", "$$": "$", "%i": instance}
    try:
        words = shlex.split(line.partition("=")[2])
    except ValueError:
        return []
    return [re.sub(r"%%|\$\$|%i", lambda found: meant[found[0]], word) for word in words]


def served_state(unit: str, instance: str = "") -> Path | None:
    """Return the state folder that a service names, or None."""
    words = start_words(unit, instance)
    return Path(words[words.index("--state-dir") + 1]) if "--state-dir" in words[:-1] else None


def _read_template(name: str) -> str:
    from importlib.resources import files  # to write a unit, not to look at one

    shipped = files("dreamd") / "units" / name  # in a wheel
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[3] / "systemd" / name).read_text(encoding="utf-8")  # in a checkout


def _digest_of(text: str) -> str:
    import hashlib  # where units are installed

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _quote_word(text: str, end: str = "") -> str:
    """Quote a word for systemd.syntax(7): it may hold spaces, quotes or percent signs. `end` is appended unchanged."""
    whole = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{whole}{end}"'
