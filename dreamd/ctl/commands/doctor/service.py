"""The units of systemd: whether they are installed, enabled and lingering, and whether systemd has given up."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.ctl.machine.places import StateFacts
from dreamd.ctl.machine.systemd_state import (
    EXIT_CAUSES,
    MANAGER_HANGS,
    SANDBOX_EXITS,
    SERVICE,
    SOCKET,
    UNMASK,
    UnitFacts,
    failed_before,
)

_BY_SIGNAL = ("2", "3")  # CLD_KILLED, CLD_DUMPED: the status is then the signal's number

AGAIN = "then `dreamctl service start`: systemd tries no more until it is told to"
# What to do first about each of the causes.
_CURES = {
    "2": "`dreamctl service logs` names it: correct it",
    "3": "end that one (`dreamctl call shutdown`)",
    "4": "make it writable",
    "5": "move away what stands in its place, or name a shorter path",
    "6": "see section database first",
} | dict.fromkeys(SANDBOX_EXITS, "add the drop-in for hosts without user namespaces (docs/guides/service.md)")


def check_service(units: UnitFacts, answers: bool, state: StateFacts) -> Iterator[Finding]:
    """Check the installed units. `answers`: whether a daemon answers at the socket."""
    if unfit := _unfit_finding(units, answers):
        yield unfit
        return
    if not units.runs:
        yield fail(f"its interpreter {units.interpreter} is gone", "`dreamctl service install`")
    elif units.says(SERVICE, "ActiveState") == "active" and units.running not in ("", units.interpreter):
        yield warn(
            f"{units.running} runs, and the unit names {units.interpreter}", "`dreamctl service restart`"
        )
    if units.edited:
        yield warn(
            f"edited by hand: {', '.join(map(str, units.edited))}",
            "`systemctl --user edit dreamd.service` for your changes, then `dreamctl service install --force`",
        )
    if units.unknown:
        missing = f"systemd has no {' and no '.join(units.unknown)}"
        yield (warn if answers else fail)(missing, "`dreamctl service install`")
        return
    yield from _check_state(units, answers, state)
    if units.says(SOCKET, "UnitFileState") == "enabled":
        yield ok(f"{SOCKET} is enabled")
    else:
        yield warn(
            f"{SOCKET} is not enabled: after the next login no process listens",
            f"`systemctl --user enable --now {SOCKET}`",
        )
    if units.lingers:
        yield ok("lingers: it is there from boot on")
    else:
        yield ok("ends with your last session", "`loginctl enable-linger` keeps it from boot on")


def check_places(units: UnitFacts, state: Path, socket: Path) -> Iterator[Finding]:
    """Check that the service listens at, and serves, the paths that leo and dreamctl use by options and environment."""
    address, ours = units.says(SOCKET, "Listen").removesuffix(" (Stream)"), units.state or state
    if state.name.endswith(f"@{socket.stem}"):
        advice = f"`dreamctl service status --instance {socket.stem}` shows the one that you look at"
        yield ok(f"{SERVICE} is another leo's", advice)
        return
    if address and os.path.realpath(address) != os.path.realpath(socket):  # the unit has no `..`
        yield warn(
            f"{SOCKET} listens at {address}, and leo connects to {socket}",
            f"set DREAMD_SOCKET={quote(address)} for leo and dreamctl, or `dreamctl service install`",
        )
    if os.path.realpath(ours) != os.path.realpath(state):
        yield warn(
            f"{SERVICE} serves {ours}, and dreamctl looks into {state}",
            f"set DREAMD_STATE_DIR={quote(str(ours))} and DREAMD_SOCKET={quote(address or str(socket))} for dreamctl",
        )


def _unfit_finding(units: UnitFacts, answers: bool) -> Finding | None:
    """Return the finding if systemd cannot run the service at all, or None."""
    if units.hangs:
        advice = "if `ps -o pid,stat,args -C systemd` shows it with a T, `kill -CONT` its pid. If not, log in again"
        return (warn if answers else fail)(MANAGER_HANGS, advice)
    if not units.installed and not units.manager:
        return ok("no user manager of systemd here; `dreamctl service start` runs it without")
    if not units.installed:
        advice = (
            "`dreamctl service install`: then leo's first connection starts it, after a crash or a boot too"
        )
        return (ok if answers else warn)("no units are installed", advice)
    if not units.manager:
        return warn(
            "the units are installed, and no user manager answers",
            "log in properly (su and sudo start none), or `dreamctl service start`",
        )
    if units.masked:
        return fail(f"masked: {', '.join(units.masked)}", f"`{UNMASK} {' '.join(units.masked)}`")
    return None


def _end_of_service(units: UnitFacts, state: StateFacts) -> tuple[str, str, str]:
    """Return how the service ended, why, and what to do first."""
    before = failed_before(units.says(SERVICE, "ExecStartPre"))
    code = units.says(SERVICE, "ExecMainStatus") if before is None else before
    if before is None and units.says(SERVICE, "ExecMainCode") in _BY_SIGNAL:
        killed = f", killed by {signal.Signals(int(code)).name}"
        return killed, "", "`dreamctl service logs` and `dmesg` may say what killed it: mend that"
    why = EXIT_CAUSES.get(code, "it ends at its start")
    cure = _CURES.get(code, "`dreamctl service logs` says why: mend that")
    if code == "226" and state.kind == "absent":
        why = "a folder that it writes to does not exist"
        cure = f"make the state folder: `mkdir -p -m 700 {quote(str(state.path))}`"
    other = state.holder and str(state.holder) != units.says(SERVICE, "MainPID")
    if other and (code == "3" or units.retried):  # an attempt has no exit code yet
        cure = f"end that one: {state.way_to_end}"
    return (f", exit code {code}" if code not in ("", "0") else ""), why, cure


def _check_state(units: UnitFacts, answers: bool, state: StateFacts) -> Iterator[Finding]:
    failed = [unit for unit in (SERVICE, SOCKET) if units.says(unit, "ActiveState") == "failed"]
    restarts = units.says(SERVICE, "NRestarts")
    drop_ins = units.says(SERVICE, "DropInPaths")
    end, why, cure = _end_of_service(units, state)
    ended = f"{end}: {why}" if end and why else end
    result = ", ".join(f"{unit}: {units.says(unit, 'Result')}" for unit in failed)
    changed = f"; changed by {drop_ins}" if drop_ins else ""
    if failed:
        times = f" after {restarts} restarts" if restarts not in ("", "0") else ""
        yield fail(f"systemd has given up{times} ({result}){ended}{changed}", f"{cure}, {AGAIN}")
    elif units.says(SERVICE, "SubState") == "auto-restart" or (units.retried and not answers):
        yield fail(f"crashes and is started again, {restarts} times so far{ended}{changed}", cure)
    elif units.says(SOCKET, "ActiveState") != "active" and units.says(SERVICE, "ActiveState") != "active":
        if answers and state.holder:
            beside = f"end that one: {state.way_to_end}, then `dreamctl service start`"
            yield warn("stopped, and its socket too, and a daemon runs without them", beside)
        else:
            yield fail("stopped, and its socket too", "`dreamctl service start`")
    else:
        said = units.says(SERVICE, "StatusText") or units.says(SERVICE, "ActiveState")
        yield ok(f"{said}{changed}")
