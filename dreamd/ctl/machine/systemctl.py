"""systemctl for the user manager: its questions and its commands."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from click import ClickException

from dreamd.ctl.machine.systemd_state import MANAGER_HANGS, MANAGER_S


def manager_answers() -> bool:
    """Whether there is a user manager of systemd, and we can speak to it."""
    return shutil.which("systemctl") is not None and _question("show", "--property=Version").returncode == 0


def tell(*arguments: str) -> None:
    """Run systemctl for the user manager; ClickException with what it says where that fails."""
    ran = _run(*arguments)
    if ran.returncode:
        raise ClickException(f"systemctl --user {' '.join(arguments)}: {ran.stderr.strip() or 'failed'}")


def tell_all(calls: Iterable[tuple[str, ...]]) -> None:
    """One after the other."""
    for call in calls:
        tell(*call)


def show(unit: str, name: str) -> str:
    """A property of a unit."""
    return _question("show", "-P", name, unit).stdout.strip()


def asked(question: str, unit: str) -> str:
    """The word of `systemctl is-active` or `is-enabled`."""
    return _question(f"is-{question}", unit).stdout.strip() or "unknown"


def is_active(unit: str) -> bool:
    """Whether it runs, or its socket is listened at."""
    return asked("active", unit) == "active"


def listened(socket: str) -> Path | None:
    """Where a socket unit listens, or would; None where systemd does not know it."""
    place = show(socket, "Listen").removesuffix(" (Stream)")
    return Path(place) if place else None


def _question(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """What changes nothing is answered at once, or not at all."""
    try:
        return _run(*arguments, timeout_s=MANAGER_S)
    except subprocess.TimeoutExpired:
        raise ClickException(f"{MANAGER_HANGS} in {MANAGER_S:g} s") from None


def _run(*arguments: str, timeout_s: float | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemctl", "--user", *arguments], capture_output=True, text=True, check=False, timeout=timeout_s
    )
