"""The service as units of systemd: their names and files, what keeps them from working, and calls of systemctl."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import click
from click import ClickException, UsageError
from dreamclient.errors import SocketPathError
from dreamclient.paths import SOCKET_NAME, check_socket_path, socket_path, state_dir

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.places import has_listener, look_at_state
from dreamd.ctl.machine.systemctl import (
    is_active,
    listen_path,
    manager_answers,
    reads_units_in,
    run_systemctl,
    unit_property,
)
from dreamd.ctl.machine.systemd_state import EXIT_CAUSES, UNMASK, failed_before
from dreamd.ctl.machine.unit_files import (
    NAMES,
    fill_unit,
    is_edited,
    is_masked,
    served_state,
    text_of,
    unit_folder,
)
from dreamd.errors import SettingsError


@dataclass(frozen=True)
class ServiceUnits:
    """A socket and its service: `dreamd`, or `dreamd@NAME` for the leo of that name.

    `folder`: the state folder, without the name of the instance. `socket`: where a daemon without systemd
    listens. `unit_socket`: where the unit listens. They differ if --state-dir was given, because leo does not see
    dreamctl's options.
    """

    instance: str
    folder: Path
    socket: Path
    unit_socket: Path

    @property
    def state(self) -> Path:
        """The state folder of this instance."""
        return Path(f"{self.folder}@{self.instance}") if self.instance else self.folder

    @property
    def units(self) -> tuple[str, str]:
        """The names of the socket unit and of the service."""
        name = f"dreamd@{self.instance}" if self.instance else "dreamd"
        return f"{name}.socket", f"{name}.service"

    @property
    def known(self) -> tuple[str, str]:
        """Patterns for the two units. Unlike a name, a pattern is no error if systemd knows no such unit."""
        socket, service = self.units
        return f"{socket}*", f"{service}*"

    @property
    def files(self) -> dict[str, Path]:
        """The unit files that `install` writes, by name. For an instance these are only the templates."""
        folder = unit_folder(os.environ)
        return {name: folder / name for name in NAMES if "@" in name or not self.instance}

    @property
    def file(self) -> Path:
        """The unit file of the service."""
        return self.files["dreamd@.service" if self.instance else "dreamd.service"]

    @property
    def managed(self) -> bool:
        """True if the service is installed and a user manager answers."""
        return os.path.exists(self.file) and manager_answers()

    @property
    def served(self) -> Path:
        """The state folder that the installed unit names, or else that of this instance."""
        return served_state(text_of(self.file), self.instance) or self.state

    def texts(self) -> dict[Path, str]:
        """Return the texts of the unit files to write."""
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        return {
            path: fill_unit(name, self.folder, self.unit_socket, runtime) for name, path in self.files.items()
        }


def units_for(target: Target, instance: str) -> ServiceUnits:
    """Return the units that the options and the environment name."""
    folder = _without_parents(state_dir(target.given_state))
    if not instance:
        unit_socket = _without_parents(socket_path(target.given_socket))
        return ServiceUnits("", folder, _without_parents(target.socket), unit_socket)
    # DREAMD_STATE_DIR may already name the folder of this instance.
    folder = Path(str(folder).removesuffix(f"@{instance}"))
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    beside = Path(f"{folder}@{instance}") / SOCKET_NAME
    socket = Path(runtime) / "dreamd" / f"{instance}.sock" if os.path.isabs(runtime) else beside
    return ServiceUnits(instance, folder, socket, socket)


def _without_parents(path: Path) -> Path:
    """Return the path without `..`, which systemd refuses."""
    return Path(os.path.realpath(path)) if ".." in path.parts else path


def check_units(pair: ServiceUnits, force: bool) -> None:
    """Raise UsageError or ClickException if the units could not work. Called before anything is written."""
    wrong = re.compile("[\n\r\ud800-\udfff]")
    if str(pair.unit_socket).endswith((" ", "\\")) or wrong.search(f"{pair.unit_socket}{pair.state}"):
        raise UsageError(
            "a unit cannot hold a --socket that ends with a space or a backslash, nor a --socket or --state-dir with a "
            "line break in it, or with bytes that are no UTF-8"
        )
    if wrong.search(sys.executable) or re.search(r"""["'\\]""", sys.executable):
        raise ClickException(
            f"systemd starts no program with a quote or a backslash in its path: move it elsewhere: {sys.executable}"
        )
    if not manager_answers():
        raise ClickException(
            "no user manager of systemd answers here (su, sudo and containers start none), so nothing was written; "
            "log in properly, or `dreamctl service start` runs dreamd as a plain background process"
        )
    if not reads_units_in(pair.file.parent):
        raise ClickException(
            f"the user manager of systemd does not look for units in {pair.file.parent}, since its XDG_CONFIG_HOME is "
            "another one, so nothing was written; say it again without yours: `env -u XDG_CONFIG_HOME dreamctl ..`"
        )
    try:
        check_socket_path(pair.unit_socket)
    except SocketPathError as error:
        raise ClickException(str(error)) from None
    for path in (Path(sys.prefix), pair.state):
        if path.parts[:2] == ("/", "tmp") or path.parts[:3] == ("/", "var", "tmp"):
            raise ClickException(
                f"{path} lies in a temporary folder, which the service cannot see: move it elsewhere"
            )
    refuse_edited(pair.files.values(), force)
    refuse_taken(pair, pair.state, pair.unit_socket)


def refuse_edited(paths: Iterable[Path], force: bool) -> None:
    """Raise ClickException if a unit is masked, or edited by its owner and not `force`."""
    masked = [path.name for path in paths if is_masked(path)]
    if masked:
        raise ClickException(f"masked: first `{UNMASK} {' '.join(masked)}`")
    edited = [str(path) for path in paths if os.path.exists(path) and is_edited(text_of(path))]
    if edited and not force:
        raise ClickException(
            f"edited by hand: {', '.join(edited)}; put your changes into a drop-in "
            "(systemctl --user edit dreamd.service) and remove these, or say --force"
        )


def refuse_taken(pair: ServiceUnits, state: Path, socket: Path) -> None:
    """Raise ClickException if a daemon that systemd did not start serves there: both would claim the socket."""
    ours, service = pair.units
    facts = look_at_state(state)
    if facts.holder and str(facts.holder) != unit_property(service, "MainPID"):
        raise ClickException(
            f"a daemon that is not systemd's (pid {facts.holder}) serves {state}. First end it: {facts.way_to_end}"
        )
    # Connecting to systemd's own socket would start the daemon. Once its unit file is gone, its path is unknown.
    if not (is_active(ours) and listen_path(ours) in (socket, None)) and has_listener(socket):
        raise ClickException(
            f"another daemon listens at {socket}: first `dreamctl --socket {quote(str(socket))} service stop`,"
            " which ends it"
        )


def refuse_taken_from_installed(pair: ServiceUnits) -> None:
    """Raise ClickException if a daemon that systemd did not start serves the places of the installed unit."""
    refuse_taken(pair, pair.served, listen_path(pair.units[0]) or pair.unit_socket)


def tell_to_run(verb: str, pair: ServiceUnits) -> None:
    """Start or restart the unit, even if systemd has given up on it. If that fails, raise ClickException with the
    reason that the exit code gives."""
    socket, service = pair.units
    try:
        run_systemctl("reset-failed", *pair.known)
        if verb == "restart":
            # This also closes a socket that the daemon made in place of a vanished one.
            run_systemctl("stop", service)
        if (place := listen_path(socket)) and not os.path.exists(place):
            run_systemctl("restart", socket)  # systemd does not notice that
        run_systemctl("start", socket, service)
    except ClickException as error:
        code = _exit_code(service)
        why = (code == "2" and _wrong_setting()) or EXIT_CAUSES.get(code, error.message)
        raise ClickException(f"{service} did not start: {why}\n`dreamctl doctor` says what to do") from None


def _exit_code(service: str) -> str:
    """Return the exit code of the last start, or an empty string if there is none."""
    before = failed_before(unit_property(service, "ExecStartPre"))
    if before is None and unit_property(service, "ExecMainCode") == "1":  # CLD_EXITED
        return unit_property(service, "ExecMainStatus")
    return before or ""


def _wrong_setting() -> str:
    """Return what is wrong in the settings, or an empty string. The daemon reports it only to a log that may be off."""
    from dreamd import settings  # imports msgspec: only if needed

    try:
        settings.load_settings()
    except SettingsError as error:
        return str(error)
    return ""


def _instance_name(_: click.Context, __: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", name):
        raise click.BadParameter("letters, digits, `_`, `.` and `-` make a name")
    return name


instance_option = click.option(
    "--instance",
    metavar="NAME",
    default="",
    callback=_instance_name,
    help="The service of a second leo: dreamd@NAME.",
)
