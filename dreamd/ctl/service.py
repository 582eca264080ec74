"""`service`: dreamd as a user service of systemd, and a plain background process where there is none."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from dreamclient.paths import state_dir

from dreamd.ctl.checkup.place import listens, look_at_state
from dreamd.ctl.connection import Refused, Target, Unreachable, command, connected, emit, json_option
from dreamd.ctl.layout import labelled, width
from dreamd.ctl.units import NAMES, filled, is_edited, unit_folder
from dreamd.wire.listener import make_private_folder

LOG_BYTES = 1 << 20  # a log that is longer is put aside at the next start, and the one before it goes
START_S = 10.0


class Problem(click.ClickException):
    """It could not be done; the message says what to do."""

    exit_code = 1


@click.group()
@json_option
def service() -> None:
    """dreamd as a service that looks after itself.

    \b
    dreamctl service install     units for this Python, enabled: it starts when leo first knocks
    dreamctl service status
    dreamctl service logs
    """


@service.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--force", is_flag=True, help="Replace units that were edited.")
@json_option
@click.pass_obj
def install(target: Target, dry_run: bool, force: bool) -> None:
    """Write the units for this interpreter, and enable the socket.

    \b
    dreamctl service install --dry-run
    dreamctl service install
    """
    state, folder = state_dir(target.given_state), unit_folder(dict(os.environ))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    units = {folder / name: filled(name, state, target.socket, runtime) for name in NAMES}
    hidden = [
        path
        for path in (Path(sys.prefix), state)
        if path.parts[:2] == ("/", "tmp") or path.parts[:3] == ("/", "var", "tmp")
    ]
    if hidden:
        raise Problem(
            f"{hidden[0]} lies in a temporary folder, and the service has one of its own: move it elsewhere"
        )
    edited = [path for path in units if path.exists() and is_edited(path.read_text(encoding="utf-8"))]
    if edited and not force:
        raise Problem(
            f"edited by hand: {', '.join(map(str, edited))}; put your changes into a drop-in "
            "(systemctl --user edit dreamd.service) and remove these, or say --force"
        )
    done = [f"make {state}", *(f"write {path}" for path in units), *_ENABLE]
    if not dry_run:
        make_private_folder(state)  # the unit may write there alone, so it has to be there first
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in units.items():
            part = path.with_name(f".{path.name}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        for call in _ENABLE:
            _systemctl(*call.split()[2:])
    _report(target, done, dry_run)


@service.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
@click.pass_obj
def uninstall(target: Target, dry_run: bool) -> None:
    """Stop and disable it, and remove the units. Dreams and settings stay.

    \b
    dreamctl service uninstall
    """
    folder = unit_folder(dict(os.environ))
    units = [folder / name for name in NAMES if (folder / name).exists()]
    done = [
        "systemctl --user disable --now dreamd.socket dreamd.service",
        *(f"remove {path}" for path in units),
    ]
    if not dry_run and units:
        _systemctl("disable", "--now", "dreamd.socket", "dreamd.service")
        for path in units:
            path.unlink()
        _systemctl("daemon-reload")
    _report(target, done if units else ["nothing: it is not installed"], dry_run)


@service.command()
@json_option
@click.pass_obj
def start(target: Target) -> None:
    """Start it: the unit where it is installed, else a process in the background.

    \b
    dreamctl service start
    """
    if _installed():
        _systemctl("start", "dreamd.socket", "dreamd.service")
        _report(target, ["started the unit dreamd.service"])
        return
    if listens(target.socket):
        with target.daemon() as daemon:
            _report(target, [f"nothing: it runs already (pid {daemon.call('status')['pid']})"])
        return
    pid, log = spawn(state_dir(target.given_state), target.socket)
    _report(target, [f"no unit is installed: started a process of its own (pid {pid}), its log is {log}"])


@service.command()
@json_option
@click.pass_obj
def stop(target: Target) -> None:
    """Stop it, its socket too: leo's next knock starts nothing until `start`.

    \b
    dreamctl service stop
    """
    if _installed():
        _systemctl("stop", "dreamd.socket", "dreamd.service")
        _report(target, ["stopped the unit dreamd.service and its socket"])
        return
    with target.daemon() as daemon:
        daemon.call("shutdown")
    _report(target, ["the daemon was asked to stop"])


@service.command()
@json_option
@click.pass_context
def restart(context: click.Context) -> None:
    """Restart it; with a unit, whoever knocks meanwhile waits and is served.

    \b
    dreamctl service restart
    """
    if _installed():
        _systemctl("restart", "dreamd.service")
        _report(context.obj, ["restarted the unit dreamd.service"])
        return
    target: Target = context.obj
    if listens(target.socket):
        with target.daemon() as daemon:
            daemon.call("shutdown")
    state, until = state_dir(target.given_state), time.monotonic() + START_S
    # It listens no more before it has let go of the state folder.
    while (listens(target.socket) or look_at_state(state).holder) and time.monotonic() < until:
        time.sleep(0.02)
    context.invoke(start)


@service.command()
@json_option
@click.pass_obj
def status(target: Target) -> None:
    """Whether the units are there, enabled and running, and whether a daemon answers.

    \b
    dreamctl service status
    """
    found: dict[str, Any] = {"installed": _installed(), "units": {}, "answers": False}
    if found["installed"]:
        for unit in ("dreamd.socket", "dreamd.service"):
            found["units"][unit] = {ask: _asked(f"is-{ask}", unit) for ask in ("enabled", "active")}
    try:
        if not target.socket.exists():
            raise Unreachable("no socket")
        # Only a daemon that runs is asked: a knock at the socket would start one.
        if not found["installed"] or found["units"]["dreamd.service"]["active"] == "active":
            with connected(target.socket) as daemon:
                found |= {"answers": True, "state": daemon.call("status")["state"]}
    except (Unreachable, Refused):
        pass
    if target.as_json:
        emit(found)
        return
    rows = [("installed", "yes" if found["installed"] else f"no; `{command('service install')}`")]
    rows += [(unit, ", ".join(states.values())) for unit, states in found["units"].items()]
    rows.append(("daemon", f"answers, {found['state']}" if found["answers"] else "does not run"))
    click.echo(labelled(rows, width()))


@service.command()
@click.option(
    "-n", "count", type=click.IntRange(1), default=50, show_default=True, help="How many of the last lines."
)
@json_option
@click.pass_obj
def logs(target: Target, count: int) -> None:
    """Print the last lines of its log (journal, or the file in the state folder).

    \b
    dreamctl service logs -n 200
    """
    log = log_file(state_dir(target.given_state))
    if _installed() and shutil.which("journalctl"):
        source = "journal"
        asked = ["journalctl", "--user", "-u", "dreamd.service", "-n", str(count), "--no-pager"]
        said = subprocess.run(asked, stdout=subprocess.PIPE, check=False).stdout
    elif log.exists():
        source, said = str(log), log.read_bytes()
    else:
        raise Problem(f"there is no log at {log}")
    lines = said.decode("utf-8", "replace").splitlines()[-count:]
    if target.as_json:
        emit({"log": source, "lines": lines})
    else:
        click.echo("".join(f"{line}\n" for line in lines), nl=False)


def log_file(state: Path) -> Path:
    """The log of a daemon that was started without systemd."""
    return state / "dreamd.log"


def spawn(state: Path, socket: Path) -> tuple[int, Path]:
    """Start a daemon that outlives this process, and wait until it answers: its pid, and its log."""
    make_private_folder(state)
    log = log_file(state)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    words = [sys.executable, "-m", "dreamd", "--state-dir", str(state), "--socket", str(socket)]
    log.touch(mode=0o600)
    with log.open("ab") as out:
        before = out.tell()
        process = subprocess.Popen(
            [*words, "--set", "log.level=info"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
        )
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        if listens(socket):
            with suppress(Unreachable), connected(socket) as daemon:  # it may yet find that it cannot serve
                return int(daemon.call("status")["pid"]), log
        time.sleep(0.02)
    said = log.read_bytes()[before:].decode("utf-8", "replace").strip()
    raise Problem(f"it did not start: {said or 'no word from it'}")


_ENABLE = ("systemctl --user daemon-reload", "systemctl --user enable --now dreamd.socket")


def _installed() -> bool:
    return (unit_folder(dict(os.environ)) / "dreamd.service").exists() and shutil.which(
        "systemctl"
    ) is not None


def _systemctl(*arguments: str) -> None:
    """Run systemctl for the user manager; Problem where that does not work."""
    try:
        ran = subprocess.run(["systemctl", "--user", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Problem(f"there is no systemd here; `{command('service start')}` works without it") from None
    if ran.returncode:
        raise Problem(
            f"systemctl --user {' '.join(arguments)}: {ran.stderr.strip() or 'failed'}\n"
            f"Without a user manager, `{command('service start')}` runs dreamd as a plain background process."
        )


def _asked(question: str, unit: str) -> str:
    ran = subprocess.run(["systemctl", "--user", question, unit], capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "unknown"


def _report(target: Target, done: list[str], dry_run: bool = False) -> None:
    if target.as_json:
        emit({"done": [] if dry_run else done, "would": done if dry_run else []})
    else:
        click.echo("\n".join(f"would {line}" if dry_run else line for line in done))
