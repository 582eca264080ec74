"""The state of the units by systemd: installed, enabled, lingering, running. Asking starts nothing."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dreamd.ctl.machine.access import user_name
from dreamd.ctl.machine.places import read_proc
from dreamd.ctl.machine.unit_files import (
    is_edited,
    is_masked,
    served_state,
    start_words,
    text_of,
    unit_folder,
)
from dreamd.process.exit_codes import ExitCode

SOCKET, SERVICE = "dreamd.socket", "dreamd.service"
_ASKED = (
    "LoadState,ActiveState,SubState,Result,UnitFileState,ExecStartPre,ExecMainCode,ExecMainStatus,NRestarts,DropInPaths,"
    "StatusText,Listen,MainPID"
)
SYSTEMD_EXITS = 200  # and above: systemd.exec(5)
SANDBOX_EXITS = ("217", "218", "225", "226")  # user, capabilities, network, namespace: systemd.exec(5)
# Exit code of the service, as systemd reports it -> why it ended.
EXIT_CAUSES = {
    str(code.value): code.meaning
    for code in (ExitCode.USAGE, ExitCode.TAKEN, ExitCode.STATE, ExitCode.SOCKET, ExitCode.DATABASE)
} | dict.fromkeys(SANDBOX_EXITS, "the sandbox cannot be set up here")
_LINGER = Path("/var/lib/systemd/linger")
MANAGER_S = 20.0  # it answers in milliseconds, but the machine may stall for a while
MANAGER_HANGS = "the user manager of systemd does not answer"
UNMASK = "systemctl --user unmask"


@dataclass(frozen=True)
class UnitFacts:
    """The facts of both units. `manager`: a user manager answers. `hangs`: there is one, but it does not answer.
    `shown`: the properties of each unit by `systemctl show`, empty if the service is not installed."""

    manager: bool = False
    installed: bool = False
    masked: tuple[str, ...] = ()
    edited: tuple[Path, ...] = ()
    interpreter: str = ""  # of the service
    runs: bool = True  # whether that interpreter exists
    running: str = ""  # the interpreter of the process, empty if none runs
    state: Path | None = None  # the state folder that the service names
    lingers: bool = False
    shown: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hangs: bool = False

    def says(self, unit: str, name: str) -> str:
        """Return a property of a unit, or an empty string."""
        return self.shown.get(unit, {}).get(name, "")

    @property
    def guarded(self) -> bool:
        """True if systemd listens and a connection would start the daemon. Commands that only look do not connect."""
        return self.says(SOCKET, "ActiveState") == "active" and self.says(SERVICE, "ActiveState") != "active"

    @property
    def waits(self) -> bool:
        """True if the service is stopped and leo's first connection starts it."""
        return self.guarded and self.says(SERVICE, "ActiveState") == "inactive" and not self.unknown

    @property
    def retried(self) -> bool:
        """True if the service has crashed and systemd is about to start it again."""
        return (
            self.says(SERVICE, "ActiveState") == "activating"
            and self.says(SERVICE, "SubState") != "auto-restart"
            and self.says(SERVICE, "NRestarts") not in ("", "0")
        )

    @property
    def unknown(self) -> list[str]:
        """The units that systemd has no file of. If one is missing, the other cannot start."""
        return [unit for unit in (SOCKET, SERVICE) if self.says(unit, "LoadState") == "not-found"]


def look_at_units(env: Mapping[str, str]) -> UnitFacts:
    """Ask systemd for the facts of both units. Starts nothing."""
    folder = unit_folder(env)
    service = folder / SERVICE
    if shutil.which("systemctl") is None:
        return UnitFacts(installed=os.path.exists(service))
    try:
        shown = {unit: _show_unit(unit) for unit in (SOCKET, SERVICE)}
    except subprocess.TimeoutExpired:
        return UnitFacts(installed=os.path.exists(service), hangs=True)
    texts = {path: text_of(path) for path in (folder / SOCKET, service) if os.path.exists(path)}
    interpreter = next(iter(start_words(texts.get(service, ""))), "")
    return UnitFacts(
        manager=bool(shown[SERVICE]),
        installed=service in texts,
        masked=tuple(path.name for path in texts if is_masked(path)),
        edited=tuple(path for path, text in texts.items() if is_edited(text)),
        interpreter=interpreter,
        runs=not interpreter or os.access(interpreter, os.X_OK),
        running=read_proc(f"{shown[SERVICE].get('MainPID', '0')}/cmdline").partition("\0")[0],
        state=served_state(texts.get(service, "")),
        lingers=os.path.exists(_LINGER / (user_name(os.getuid()) or "?")),
        shown=shown if service in texts else {},
    )


def failed_before(commands: str) -> str | None:
    """Return how the service's ExecStartPre `commands` failed: systemd's own exit code, or an empty string if a command
    failed by itself, as its codes are not dreamd's. None if they succeeded and the daemon was started."""
    failed = re.search(r"code=exited ; status=([1-9]\d*)", commands)
    return None if failed is None else failed[1] if int(failed[1]) >= SYSTEMD_EXITS else ""


def _show_unit(unit: str) -> dict[str, str]:
    """Return the properties of a unit, empty if no user manager answers."""
    ran = subprocess.run(
        ["systemctl", "--user", "show", unit, "-p", _ASKED],
        capture_output=True,
        text=True,
        check=False,
        timeout=MANAGER_S,
    )
    shown: dict[str, str] = {}
    for line in [] if ran.returncode else ran.stdout.splitlines():
        name, _, value = line.partition("=")
        shown[name] = f"{shown[name]}\n{value}" if name in shown else value  # one ExecStartPre a line
    return shown
