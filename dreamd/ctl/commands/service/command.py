"""`service`: run dreamd as a user service of systemd, or as a plain background process without systemd."""

import os
import shutil
import subprocess
from collections.abc import Sequence

import click

from dreamd.ctl.commands.service.status import look_at_service, service_rows
from dreamd.ctl.daemon import background as plain
from dreamd.ctl.daemon import service_units
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.service_units import instance_option
from dreamd.ctl.machine import systemctl
from dreamd.ctl.machine.places import has_listener, look_at_state
from dreamd.ctl.terminal.layout import label_rows, terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_answer, emit_json, emit_note, json_option
from dreamd.ctl.terminal.summaries import Summarized
from dreamd.process.state_folder import make_private_folder

dry_run_option = click.option("--dry-run", is_flag=True, help="Change nothing. Print what would be done.")


@click.group(cls=Summarized)
@json_option
def service() -> None:
    """Run dreamd as a service that looks after itself.

    \b
    dreamctl service install     its units; it starts when leo first connects
    dreamctl service status
    dreamctl service logs
    """


@service.command(short_help="Write the units for this interpreter, and enable the socket.")
@dry_run_option
@click.option("--force", is_flag=True, help="Replace units that were edited.")
@instance_option
@json_option
@click.pass_obj
def install(target: Target, dry_run: bool, force: bool, instance: str) -> None:
    """Write the units for this interpreter, and enable the socket. A running daemon is restarted.

    \b
    dreamctl service install --dry-run
    dreamctl service install
    """
    pair = service_units.units_for(target, instance)
    service_units.check_units(pair, force)
    texts, (socket, daemon) = pair.texts(), pair.units
    before: list[tuple[str, ...]] = []
    if systemctl.is_active(socket) and systemctl.listen_path(socket) != pair.unit_socket:
        # Stop it while systemd still knows the socket file that it has to remove.
        before.append(("stop", *pair.known))
    after = [("daemon-reload",), ("enable", "--now", socket), ("try-restart", "dreamd@*.service")]
    if systemctl.is_active(daemon):
        after.append(("restart", daemon))
    folders = [] if os.path.isdir(pair.state) else [f"create the folder {pair.state}"]
    if not dry_run:
        systemctl.run_all_systemctl(before)
        make_private_folder(pair.state)  # the unit can write only there, so the folder has to exist first
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        systemctl.run_all_systemctl(after)
    done = [*_call_words(before), *folders, *(f"write {path}" for path in texts), *_call_words(after)]
    _print_done(done, dry_run)


@service.command(short_help="Stop and disable the service, and remove the units.")
@dry_run_option
@click.option("--force", is_flag=True, help="Remove units that were edited, too.")
@instance_option
@json_option
@click.pass_obj
def uninstall(target: Target, dry_run: bool, force: bool, instance: str) -> None:
    """Stop and disable the service, with those of all further leos, and remove the units. Dreams and settings stay.

    With --instance, stop and disable only that one.

    \b
    dreamctl service uninstall
    """
    pair = service_units.units_for(target, instance)
    files = (
        []
        if instance
        else [path for path in pair.files.values() if os.path.isfile(path) or os.path.islink(path)]
    )
    service_units.refuse_edited(files, force)
    names: tuple[str, ...] = (*pair.known, f"dreamd-relay@{instance}.service*")
    if not instance:
        names = (*pair.known, "dreamd@*.socket", "dreamd@*.service", "dreamd-relay*.service")
    files += [link for name in names for link in sorted(pair.file.parent.glob(f"*.wants/{name}"))]
    managed = systemctl.manager_answers()
    before, after = ([("stop", *names)], [("daemon-reload",)]) if managed and files else ([], [])
    if not dry_run:
        systemctl.run_all_systemctl(before)
        for path in files:
            path.unlink()
        systemctl.run_all_systemctl(after)
    done = [*_call_words(before), *(f"remove {path}" for path in files), *_call_words(after)]
    if files and not managed:
        done.append("stop nothing: no user manager of systemd answers")
    _print_done(done or ["nothing: it is not installed"], dry_run)


@service.command(short_help="Start the service, or a process without systemd.")
@instance_option
@json_option
@click.pass_obj
def start(target: Target, instance: str) -> None:
    """Start the service: the unit if it is installed, or else a process in the background.

    \b
    dreamctl service start
    """
    pair = service_units.units_for(target, instance)
    if _by_its_unit(pair, "start"):
        return
    pid = None if has_listener(pair.socket) else plain.spawn_daemon(pair.state, pair.socket)
    if pid is None:
        _print_done([f"nothing: it runs already (pid {plain.serving_pid(pair.state, pair.socket)})"])
        return
    log = plain.log_file(pair.state)
    why = "no user manager answers" if os.path.exists(pair.file) else "no unit is installed"
    _print_done([f"{why}: started a process of its own (pid {pid}), its log is {log}"])


@service.command(short_help="Stop the service and its socket.")
@instance_option
@json_option
@click.pass_obj
def stop(target: Target, instance: str) -> None:
    """Stop the service and its socket. leo cannot start it again until `dreamctl service start`.

    \b
    dreamctl service stop
    """
    pair, done = service_units.units_for(target, instance), []
    if pair.managed:
        systemctl.run_systemctl("stop", *pair.units)
        done.append(f"stopped the unit {pair.units[1]} and its socket")
    if _is_running(pair) or look_at_state(pair.state).error:
        plain.stop_daemon(pair.state, pair.socket, pair.units)
        done.append("the daemon has stopped")
    _print_done(done or ["nothing: no daemon runs"])


@service.command()
@instance_option
@json_option
@click.pass_context
def restart(context: click.Context, instance: str) -> None:
    """Restart the service. With a unit, clients that connect meanwhile wait and are served.

    \b
    dreamctl service restart
    """
    target: Target = context.obj
    pair = service_units.units_for(target, instance)
    if _by_its_unit(pair, "restart"):
        return
    if has_listener(pair.socket) and not look_at_state(pair.state).stopped:
        plain.serving_pid(pair.state, pair.socket)  # or it is not ours to stop
    if _is_running(pair):
        plain.stop_daemon(pair.state, pair.socket, pair.units)
    context.invoke(start, instance=instance)


@service.command(short_help="Show whether the units are installed, enabled and running.")
@instance_option
@json_option
@click.pass_obj
def status(target: Target, instance: str) -> None:
    """Show whether the units are installed, enabled and running, and whether a daemon answers.

    Exit code 1 if a running daemon does not answer, or if a unit has failed.

    \b
    dreamctl service status
    """
    found, said, is_well = look_at_service(service_units.units_for(target, instance))
    emit_answer(found, lambda: label_rows(service_rows(found, said), terminal_width()))
    if not is_well:
        raise SystemExit(1)


@service.command(short_help="Print the last lines of the log.")
@click.option("-n", "count", type=Count(1), default=50, show_default=True, help="How many of the last lines.")
@instance_option
@json_option
@click.pass_obj
def logs(target: Target, count: int, instance: str) -> None:
    """Print the last lines of the log: the journal, or the file in the state folder.

    \b
    dreamctl service logs -n 200
    """
    pair = service_units.units_for(target, instance)
    log = plain.log_file(pair.state)
    if pair.managed and shutil.which("journalctl"):
        source, unit = "journal", pair.units[1]
        asked = ["journalctl", "--user", "--quiet", "-u", unit, "-n", str(count), "--no-pager"]
        said = subprocess.run(asked, stdout=subprocess.PIPE, check=False).stdout
        if not said:
            why = "the setting log.level may be off, or this system keeps no journal"
            emit_note(f"the journal has no line of {unit}: {why}")
    elif os.path.exists(log):
        plain.check_log(log)
        source, said = str(log), log.read_bytes()
    else:
        raise click.ClickException(f"there is no log at {log}")
    lines = said.decode("utf-8", "replace").splitlines()[-count:]
    if target.as_json:
        emit_json({"log": source, "lines": lines})
    else:
        click.echo("".join(f"{line}\n" for line in lines), nl=False)


def _by_its_unit(pair: service_units.ServiceUnits, verb: str) -> bool:
    """Start or restart the unit if it is installed, and report that. Return whether it is installed."""
    if not pair.managed:
        return False
    service_units.refuse_taken_from_installed(pair)
    service_units.tell_to_run(verb, pair)
    _print_done([f"{verb}ed the unit {pair.units[1]}"])
    return True


def _is_running(pair: service_units.ServiceUnits) -> bool:
    """Return whether a daemon holds the state folder, or a process listens at its socket."""
    return bool(look_at_state(pair.state).holder) or has_listener(pair.socket)


def _call_words(calls: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"systemctl --user {' '.join(call)}" for call in calls]


def _print_done(done: list[str], dry_run: bool = False) -> None:
    emit_answer(
        {"done": [] if dry_run else done, "would": done if dry_run else []},
        lambda: "\n".join(f"would {line}" if dry_run else line for line in done),
    )
