"""The units of systemd: installed, enabled, lingering, and whether systemd has given up on them."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.ctl.machine.access import user_name
from dreamd.ctl.machine.places import StateFacts, proc
from dreamd.ctl.machine.unit_files import is_edited, is_masked, served, started, text_of, unit_folder

SOCKET, SERVICE = "dreamd.socket", "dreamd.service"
_ASKED = (
    "LoadState,ActiveState,SubState,Result,UnitFileState,ExecStartPre,ExecMainCode,ExecMainStatus,NRestarts,DropInPaths,"
    "StatusText,Listen,MainPID"
)
SYSTEMD_EXITS = 200  # and above: systemd.exec(5)
_BY_SIGNAL = ("2", "3")  # CLD_KILLED, CLD_DUMPED: then the status is the signal's number
_LINGER = Path("/var/lib/systemd/linger")

MANAGER_S = 20.0  # it answers in milliseconds, on a machine that stands still for a while too
MANAGER_HANGS = "the user manager of systemd does not answer"
UNMASK = "systemctl --user unmask"
AGAIN = "then `dreamctl service start`: systemd tries no more until it is told to"
# Exit code of dreamd -> what it means, and what to do first. docs/reference/errors.md lists them.
EXITS = {
    "2": ("wrong usage, or a wrong setting", "`dreamctl service logs` names it: correct it"),
    "3": ("another daemon serves this state folder or socket", "end that one (`dreamctl call shutdown`)"),
    "4": ("the state folder cannot be used", "make it writable"),
    "5": ("no socket can be made there", "move away what stands in its place, or name a shorter path"),
    "6": ("the database is of a newer version, or not dreamd's", "see section database first"),
} | dict.fromkeys(
    ("217", "218", "225", "226"),  # systemd's own: user, capabilities, network, namespace: systemd.exec(5)
    (
        "the sandbox cannot be set up here",
        "add the drop-in for hosts without user namespaces (docs/guides/service.md)",
    ),
)


@dataclass(frozen=True)
class Units:
    """`manager`: a user manager answers; `hangs`: it is there, and does not. What `systemctl show` says of each unit;
    empty where not installed."""

    manager: bool = False
    installed: bool = False
    masked: tuple[str, ...] = ()
    edited: tuple[Path, ...] = ()
    interpreter: str = ""  # of the service
    runs: bool = True  # whether that interpreter is there
    running: str = ""  # the interpreter of the process; empty where none runs
    state: Path | None = None  # the state folder that the service names
    lingers: bool = False
    shown: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hangs: bool = False

    def says(self, unit: str, name: str) -> str:
        """A property of a unit, or nothing."""
        return self.shown.get(unit, {}).get(name, "")

    @property
    def guarded(self) -> bool:
        """Whether systemd listens, and a knock would start the daemon. One must not knock only to look."""
        return self.says(SOCKET, "ActiveState") == "active" and self.says(SERVICE, "ActiveState") != "active"

    @property
    def waits(self) -> bool:
        """Whether it does so at leo's first knock, as it should."""
        return self.guarded and self.says(SERVICE, "ActiveState") == "inactive" and not self.unknown

    @property
    def unknown(self) -> list[str]:
        """The units of which systemd has no file; one of them keeps the other from starting."""
        return [unit for unit in (SOCKET, SERVICE) if self.says(unit, "LoadState") == "not-found"]


def look(env: Mapping[str, str]) -> Units:
    """Ask systemd; nothing is started."""
    folder = unit_folder(env)
    service = folder / SERVICE
    if shutil.which("systemctl") is None:
        return Units(installed=os.path.exists(service))
    try:
        shown = {unit: _show(unit) for unit in (SOCKET, SERVICE)}
    except subprocess.TimeoutExpired:
        return Units(installed=os.path.exists(service), hangs=True)
    texts = {path: text_of(path) for path in (folder / SOCKET, service) if os.path.exists(path)}
    interpreter = next(iter(started(texts.get(service, ""))), "")
    return Units(
        manager=bool(shown[SERVICE]),
        installed=service in texts,
        masked=tuple(path.name for path in texts if is_masked(path)),
        edited=tuple(path for path, text in texts.items() if is_edited(text)),
        interpreter=interpreter,
        runs=not interpreter or os.access(interpreter, os.X_OK),
        running=_program(shown[SERVICE].get("MainPID", "0")),
        state=served(texts.get(service, "")),
        lingers=os.path.exists(_LINGER / (user_name(os.getuid()) or "?")),
        shown=shown if service in texts else {},
    )


def check(units: Units, answers: bool, state: StateFacts) -> Iterator[Finding]:
    if unfit := _unfit(units, answers):
        yield unfit
        return
    if not units.runs:
        yield fail("service", f"its interpreter {units.interpreter} is gone", "`dreamctl service install`")
    elif units.says(SERVICE, "ActiveState") == "active" and units.running not in ("", units.interpreter):
        yield warn(
            "service",
            f"{units.running} runs, and the unit names {units.interpreter}",
            "`dreamctl service restart`",
        )
    if units.edited:
        yield warn(
            "service",
            f"edited by hand: {', '.join(map(str, units.edited))}",
            "`systemctl --user edit dreamd.service` for your changes, then `dreamctl service install --force`",
        )
    if units.unknown:
        missing = f"systemd has no {' and no '.join(units.unknown)}"
        yield (warn if answers else fail)("service", missing, "`dreamctl service install`")
        return
    yield from _state(units, answers, state)
    if units.says(SOCKET, "UnitFileState") == "enabled":
        yield ok("service", f"{SOCKET} is enabled")
    else:
        yield warn(
            "service",
            f"{SOCKET} is not enabled: after the next login nobody listens",
            f"`systemctl --user enable --now {SOCKET}`",
        )
    if units.lingers:
        yield ok("service", "lingers: it is there from boot on")
    else:
        yield ok("service", "ends with your last session", "`loginctl enable-linger` keeps it from boot on")


def check_places(units: Units, state: Path, socket: Path) -> Iterator[Finding]:
    """Whether the service is where leo and dreamctl look for it, by the options and the environment."""
    knock, ours = units.says(SOCKET, "Listen").removesuffix(" (Stream)"), units.state or state
    if state.name.endswith(f"@{socket.stem}"):
        advice = f"`dreamctl service status --instance {socket.stem}` tells of the one that you look at"
        yield ok("service", f"{SERVICE} is another leo's", advice)
        return
    if knock and knock != str(socket):
        yield warn(
            "service",
            f"{SOCKET} listens at {knock}, and leo is to knock at {socket}",
            f"set DREAMD_SOCKET={quote(knock)} for leo and dreamctl, or `dreamctl service install`",
        )
    if ours != state:
        yield warn(
            "service",
            f"{SERVICE} serves {ours}, and dreamctl looks into {state}",
            f"set DREAMD_STATE_DIR={quote(str(ours))} and DREAMD_SOCKET={quote(knock or str(socket))} for dreamctl",
        )


def _unfit(units: Units, answers: bool) -> Finding | None:
    """What there is to be said where systemd cannot run it at all."""
    if units.hangs:
        advice = (
            "where `ps -o pid,stat,args -C systemd` shows it with a T, `kill -CONT` its pid; else log in anew"
        )
        return (warn if answers else fail)("service", MANAGER_HANGS, advice)
    if not units.installed and not units.manager:
        return ok("service", "no user manager of systemd here; `dreamctl service start` runs it without")
    if not units.installed:
        advice = (
            "`dreamctl service install`: then leo's first connection starts it, after a crash or a boot too"
        )
        return (ok if answers else warn)("service", "no units are installed", advice)
    if not units.manager:
        return warn(
            "service",
            "the units are installed, and no user manager answers",
            "log in properly (su and sudo start none), or `dreamctl service start`",
        )
    if units.masked:
        return fail("service", f"masked: {', '.join(units.masked)}", f"`{UNMASK} {' '.join(units.masked)}`")
    return None


def failed_before(commands: str) -> str | None:
    """By its ExecStartPre: None where the last start got as far as the daemon; else systemd's own exit code, or nothing
    where a command failed by itself: its codes are not dreamd's."""
    failed = re.search(r"code=exited ; status=([1-9]\d*)", commands)
    return None if failed is None else failed[1] if int(failed[1]) >= SYSTEMD_EXITS else ""


def _end(units: Units, state: StateFacts) -> tuple[str, str, str]:
    """How the service ended, why that is, and what to do first."""
    before = failed_before(units.says(SERVICE, "ExecStartPre"))
    code = units.says(SERVICE, "ExecMainStatus") if before is None else before
    if before is None and units.says(SERVICE, "ExecMainCode") in _BY_SIGNAL:
        killed = f", killed by {signal.Signals(int(code)).name}"
        return killed, "", "`dreamctl service logs` and `dmesg` may say by whom: mend that"
    why, cure = EXITS.get(code, ("it ends at its start", "`dreamctl service logs` says why: mend that"))
    if code == "226" and state.kind == "absent":
        why = "a folder that it may write is not there"
        cure = f"make the state folder: `mkdir -p -m 700 {quote(str(state.path))}`"
    if code == "3" and state.holder:
        cure = f"end that one: `kill {state.holder}`"
    return (f", exit code {code}" if code not in ("", "0") else ""), why, cure


def _state(units: Units, answers: bool, state: StateFacts) -> Iterator[Finding]:
    failed = [unit for unit in (SERVICE, SOCKET) if units.says(unit, "ActiveState") == "failed"]
    restarts = units.says(SERVICE, "NRestarts")
    drop_ins = units.says(SERVICE, "DropInPaths")
    end, why, cure = _end(units, state)
    ended = f"{end}: {why}" if end and why else end
    result = ", ".join(f"{unit}: {units.says(unit, 'Result')}" for unit in failed)
    changed = f"; changed by {drop_ins}" if drop_ins else ""
    if failed:
        times = f" after {restarts} restarts" if restarts not in ("", "0") else ""
        yield fail(
            "service",
            f"systemd has given up{times} ({result}){ended}{changed}",
            f"{cure}; {AGAIN}",
        )
    elif units.says(SERVICE, "SubState") == "auto-restart":
        yield fail("service", f"crashes and is started again, {restarts} times so far{ended}{changed}", cure)
    elif units.says(SOCKET, "ActiveState") != "active" and units.says(SERVICE, "ActiveState") != "active":
        if answers and state.holder:
            beside = f"end that one, `kill {state.holder}`, then `dreamctl service start`"
            yield warn("service", "stopped, and its socket too, and a daemon runs without them", beside)
        else:
            yield fail("service", "stopped, and its socket too", "`dreamctl service start`")
    else:
        said = units.says(SERVICE, "StatusText") or units.says(SERVICE, "ActiveState")
        yield ok("service", f"{said}{changed}")


def _show(unit: str) -> dict[str, str]:
    """Empty where no user manager answers."""
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


def _program(pid: str) -> str:
    """Return the first word of a process's command line; empty if there is none, as of pid 0."""
    return proc(f"{pid}/cmdline").partition("\0")[0]
