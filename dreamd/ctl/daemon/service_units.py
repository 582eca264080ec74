"""The service as units of systemd: which are meant, what stands in their way, and the user manager told of them."""

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
from dreamd.ctl.machine.places import listens, look_at_state
from dreamd.ctl.machine.systemctl import is_active, listened, manager_answers, show, tell
from dreamd.ctl.machine.systemd_state import EXIT_CAUSES, UNMASK, failed_before
from dreamd.ctl.machine.unit_files import NAMES, filled, is_edited, is_masked, served, text_of, unit_folder
from dreamd.ctl.terminal.output import command
from dreamd.errors import SettingsError


@dataclass(frozen=True)
class Pair:
    """A socket and its service: `dreamd`, or `dreamd@NAME` for the leo of that name.

    `folder` is the state folder, to which the name of an instance is added. `socket`: where a daemon without systemd
    listens. `unit_socket`: where the unit listens. They differ if --state-dir was given, because leo does not see
    dreamctl's options.
    """

    instance: str
    folder: Path
    socket: Path
    unit_socket: Path

    @property
    def state(self) -> Path:
        """Its own state folder."""
        return Path(f"{self.folder}@{self.instance}") if self.instance else self.folder

    @property
    def units(self) -> tuple[str, str]:
        """The socket unit and the service."""
        name = f"dreamd@{self.instance}" if self.instance else "dreamd"
        return f"{name}.socket", f"{name}.service"

    @property
    def known(self) -> tuple[str, str]:
        """The same as patterns: one that systemd does not know is no error then."""
        socket, service = self.units
        return f"{socket}*", f"{service}*"

    @property
    def files(self) -> dict[str, Path]:
        """The unit files that `install` writes, by name: for an instance the templates alone."""
        folder = unit_folder(os.environ)
        return {name: folder / name for name in NAMES if "@" in name or not self.instance}

    @property
    def file(self) -> Path:
        """That of the service."""
        return self.files["dreamd@.service" if self.instance else "dreamd.service"]

    @property
    def managed(self) -> bool:
        """Whether it is installed, and a user manager answers."""
        return os.path.exists(self.file) and manager_answers()

    @property
    def served(self) -> Path:
        """The state folder of the unit as it is installed, else its own."""
        return served(text_of(self.file), self.instance) or self.state

    def texts(self) -> dict[Path, str]:
        """The unit files as they are to be."""
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        return {
            path: filled(name, self.folder, self.unit_socket, runtime) for name, path in self.files.items()
        }


def meant(target: Target, instance: str) -> Pair:
    """What the options and the environment say."""
    folder = state_dir(target.given_state)
    if not instance:
        return Pair("", folder, target.socket, socket_path(target.given_socket))
    # In the environment of that leo his own folder may be named already.
    folder = Path(str(folder).removesuffix(f"@{instance}"))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    beside = Path(f"{folder}@{instance}") / SOCKET_NAME
    socket = Path(runtime) / "dreamd" / f"{instance}.sock" if runtime else beside
    return Pair(instance, folder, socket, socket)


def check(pair: Pair, force: bool) -> None:
    """Raise where units of this pair could not work; nothing has been written yet."""
    if str(pair.unit_socket).endswith((" ", "\\")) or re.search(r"[\n\r]", f"{pair.unit_socket}{pair.state}"):
        raise UsageError(
            "a unit cannot hold a --socket that ends with a space or a backslash, nor a --socket or --state-dir with a "
            "line break in it"
        )
    if not manager_answers():
        raise ClickException(
            "no user manager of systemd answers here (su, sudo and containers start none), so nothing was written; "
            f"log in properly, or `{command('service start')}` runs dreamd as a plain background process"
        )
    try:
        check_socket_path(pair.unit_socket)
    except SocketPathError as error:
        raise ClickException(str(error)) from None
    for path in (Path(sys.prefix), pair.state):
        if path.parts[:2] == ("/", "tmp") or path.parts[:3] == ("/", "var", "tmp"):
            raise ClickException(
                f"{path} lies in a temporary folder, and the service has one of its own: move it elsewhere"
            )
    refuse_edited(pair.files.values(), force)
    refuse_taken(pair, pair.state, pair.unit_socket)


def refuse_edited(paths: Iterable[Path], force: bool) -> None:
    """Raise where a unit is its owner's: masked, or (unless `force`) edited."""
    masked = [path.name for path in paths if is_masked(path)]
    if masked:
        raise ClickException(f"masked: first `{UNMASK} {' '.join(masked)}`")
    edited = [str(path) for path in paths if os.path.exists(path) and is_edited(text_of(path))]
    if edited and not force:
        raise ClickException(
            f"edited by hand: {', '.join(edited)}; put your changes into a drop-in "
            "(systemctl --user edit dreamd.service) and remove these, or say --force"
        )


def refuse_taken(pair: Pair, state: Path, socket: Path) -> None:
    """Raise where a daemon that is not systemd's serves there: the two would fight for the socket."""
    ours, service = pair.units
    holder = look_at_state(state).holder
    if holder and str(holder) != show(service, "MainPID"):
        raise ClickException(
            f"a daemon that is not systemd's (pid {holder}) serves {state}: first `kill {holder}`, which ends it"
        )
    # A knock at systemd's own socket would start the daemon. Where it listens is unknown once its file is gone.
    if not (is_active(ours) and listened(ours) in (socket, None)) and listens(socket):
        raise ClickException(
            f"another daemon listens at {socket}: first `dreamctl --socket {quote(str(socket))} service stop`,"
            " which ends it"
        )


def refuse_taken_from_installed(pair: Pair) -> None:
    """The same for the places of the unit as it is installed."""
    refuse_taken(pair, pair.served, listened(pair.units[0]) or pair.unit_socket)


def tell_to_run(verb: str, pair: Pair) -> None:
    """Start or restart it, though systemd has given up on it; where that fails, ClickException says why, as far as the
    exit code tells."""
    socket, service = pair.units
    try:
        tell("reset-failed", *pair.known)
        if verb == "restart":
            tell("stop", service)  # a socket of its own making, in place of one that vanished, goes with it
        if (place := listened(socket)) and not os.path.exists(place):
            tell("restart", socket)  # systemd does not notice that
        tell("start", socket, service)
    except ClickException as error:
        code = _exit_code(service)
        why = (code == "2" and _wrong_setting()) or EXIT_CAUSES.get(code, error.message)
        advice = f"`{command('doctor')}` says what to do"
        raise ClickException(f"{service} did not start: {why}\n{advice}") from None


def _exit_code(service: str) -> str:
    """Of the last start; empty where it tells nothing."""
    before = failed_before(show(service, "ExecStartPre"))
    if before is None and show(service, "ExecMainCode") == "1":  # CLD_EXITED
        return show(service, "ExecMainStatus")
    return before or ""


def _wrong_setting() -> str:
    """What is wrong in the settings, which the daemon tells a log that may not be kept; empty where nothing is."""
    from dreamd import settings  # needs msgspec: not for those who never need it

    try:
        settings.load()
    except SettingsError as error:
        return str(error)
    return ""


def _named(_: click.Context, __: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", name):
        raise click.BadParameter("letters, digits, `_`, `.` and `-` make a name")
    return name


instance_option = click.option(
    "--instance", metavar="NAME", default="", callback=_named, help="The one of a second leo: dreamd@NAME."
)
