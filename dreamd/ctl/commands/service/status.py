"""`service status`: the units, and the daemon however it was started. Looking starts nothing."""

import os
from pathlib import Path
from typing import Any

from dreamd.ctl.daemon import service_units
from dreamd.ctl.daemon.connection import connect_daemon
from dreamd.ctl.daemon.source import Refused, Unreachable
from dreamd.ctl.machine import systemctl
from dreamd.ctl.machine.places import has_listener, look_at_state
from dreamd.ctl.terminal.output import command_to_copy


def look_at_service(pair: service_units.ServiceUnits) -> tuple[dict[str, Any], str, bool]:
    """Return the --json map, the daemon's state in words, and whether all is well. A stopped service counts as well."""
    managed, socket = pair.managed, pair.socket
    found: dict[str, Any] = {
        "installed": os.path.exists(pair.file),
        "manager": managed or systemctl.manager_answers(),
        "units": {},
    }
    if managed:
        for unit in pair.units:
            found["units"][unit] = {ask: systemctl.unit_state(ask, unit) for ask in ("enabled", "active")}
    active = [states["active"] for states in found["units"].values()]
    if "active" in active:
        socket = systemctl.listen_path(pair.units[0]) or socket
    waits = active[:1] == ["active"] != active[1:]  # then a connection would start it
    state = pair.served if managed else pair.state
    told, said, is_well = _daemon_facts(state, socket, pair.units[1] if waits else "")
    return found | {"socket": str(socket)} | told, said, is_well and "failed" not in active


def _daemon_facts(state: Path, socket: Path, waiting: str) -> tuple[dict[str, Any], str, bool]:
    """Return those of the daemon alone. `waiting`: its service if that does not run, and connecting would start it."""
    try:
        if waiting or not os.path.exists(socket):
            raise Unreachable("there is no daemon to ask")
        with connect_daemon(socket) as daemon:
            says = daemon.call("status")["state"]
        return {"answers": True, "state": says}, f"answers, {says}", True
    except (Unreachable, Refused):
        facts = look_at_state(state)
    holder = facts.holder
    told: dict[str, Any] = {"answers": False} | ({"holder": holder} if holder else {})
    doctor = f"`{command_to_copy('doctor')}` says why"
    if not waiting and has_listener(socket):
        return told, f"does not answer; {doctor}", False
    if not holder:
        return told, "does not run", True
    if waiting and str(holder) == systemctl.unit_property(waiting, "MainPID"):
        return told, f"starts (pid {holder})", True
    if facts.embedded and not waiting:
        return told, f"runs, embedded in pid {holder}, without a socket", True
    return told, f"runs (pid {holder}), but does not listen at {socket}; {doctor}", False


def service_rows(found: dict[str, Any], said: str) -> list[tuple[str, str]]:
    """Return the facts as rows of label and text."""
    advice = f"; `{command_to_copy('service install')}`" if found["manager"] else ""
    told = [("installed", "yes" if found["installed"] else f"no{advice}")]
    told += [(unit, ", ".join(states.values())) for unit, states in found["units"].items()]
    if not found["manager"]:
        told.append(("systemd", "no user manager answers"))
    return [*told, ("socket", found["socket"]), ("daemon", said)]
