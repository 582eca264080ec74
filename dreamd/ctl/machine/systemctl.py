"""systemctl for the user manager: its questions and its commands."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from click import ClickException

from dreamd.ctl.machine.systemd_state import MANAGER_HANGS, MANAGER_S


def manager_answers() -> bool:
    """Return whether a user manager of systemd answers."""
    return shutil.which("systemctl") is not None and _query("show", "--property=Version").returncode == 0


def reads_units_in(folder: Path) -> bool:
    """Return whether the user manager looks for units in this folder, as far as it says so."""
    looked = _query("show", "-P", "UnitPath").stdout
    if not looked.strip() or re.search(r"[^\w./@+-]", str(folder)):  # it would be printed with escapes
        return True
    return os.path.realpath(folder) in map(os.path.realpath, looked.split())


def run_systemctl(*arguments: str) -> None:
    """Run `systemctl --user`. If it fails, raise ClickException with its message."""
    ran = _run_systemctl(*arguments)
    if ran.returncode:
        raise ClickException(f"systemctl --user {' '.join(arguments)}: {ran.stderr.strip() or 'failed'}")


def run_all_systemctl(calls: Iterable[tuple[str, ...]]) -> None:
    """Run `systemctl --user` once for each of `calls`."""
    for call in calls:
        run_systemctl(*call)


def unit_property(unit: str, name: str) -> str:
    """Return a property of a unit."""
    return _query("show", "-P", name, unit).stdout.strip()


def unit_state(question: str, unit: str) -> str:
    """Return the word that `systemctl is-active` or `is-enabled` prints."""
    return _query(f"is-{question}", unit).stdout.strip() or "unknown"


def is_active(unit: str) -> bool:
    """Return whether a service runs or a socket unit listens."""
    return unit_state("active", unit) == "active"


def listen_path(socket: str) -> Path | None:
    """Return the path of a socket unit, or None if systemd does not know the unit."""
    place = unit_property(socket, "Listen").removesuffix(" (Stream)")
    return Path(place) if place else None


def _query(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a systemctl query, which changes nothing and answers at once. Raise ClickException if it hangs."""
    try:
        return _run_systemctl(*arguments, timeout_s=MANAGER_S)
    except subprocess.TimeoutExpired:
        raise ClickException(f"{MANAGER_HANGS} in {MANAGER_S:g} s") from None


def _run_systemctl(*arguments: str, timeout_s: float | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemctl", "--user", *arguments], capture_output=True, text=True, check=False, timeout=timeout_s
    )
