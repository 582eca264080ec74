"""`leo install`, `uninstall` and `check`: put dreamd in place of leo's own dream.py, and take it out again."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from shlex import quote
from typing import Any, cast

import click

from dreamd.ctl.commands.leo.files import LeoFiles, Plan
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.output_files import named_folder
from dreamd.ctl.machine.places import awaits_knock
from dreamd.ctl.machine.systemctl import manager_answers
from dreamd.ctl.terminal.output import command_to_copy, emit_json, emit_note, emit_text, json_option
from dreamd.ctl.terminal.summaries import Summarized
from dreamd.settings import read_sources

PYTHON_S = 20.0  # a cold disk and a busy machine; it takes a tenth of a second

# Run by leo's interpreter: prints its version, and why it cannot import dreamclient.
_PROBE = """
import json, sys
problem = ""
try:
    import msgpack, dreamclient.dropin, dreamclient.leo
except Exception as error:
    problem = f"{type(error).__name__}: {error}"
print(json.dumps([sys.version.split()[0], problem]))
"""


_path = click.argument("path", type=click.Path(), callback=named_folder)
_python = click.option("--python", "python", metavar="EXE", help="The interpreter that leo runs with.")
_dry_run = click.option("--dry-run", is_flag=True, help="Change nothing. Print what would be done.")


@click.group(cls=Summarized, short_help="Put dreamd into leo, or take it out.")
@json_option
def leo() -> None:
    """Put dreamd into leo, or take it out: his dream.py is the one file that changes.

    \b
    dreamctl leo check ~/leo
    dreamctl leo install ~/leo
    """


@leo.command()
@_path
@_python
@click.option("--yes", is_flag=True, help="Set up the daemon too, without a question.")
@click.option(
    "--no-feed", is_flag=True, help="Keep his dreams out of his field for now: dialogue.feed = false."
)
@_dry_run
@json_option
@click.pass_context
def install(
    context: click.Context, path: Path, python: str | None, yes: bool, no_feed: bool, dry_run: bool
) -> None:
    """Let the leo in the folder PATH dream with dreamd.

    His dream.py is kept as dream_original.py. The new one begins with its docstring, which leo feeds into his
    field, and takes everything else from dreamclient. On a terminal the command asks whether his dreams may reach
    his field from the first evening on, and whether to set up the daemon, if none is there.

    \b
    dreamctl leo install ~/leo --yes
    dreamctl leo install ~/leo --no-feed
    dreamctl leo install ~/leo --python ~/leo/env/bin/python
    """
    target: Target = context.obj
    files = LeoFiles(path)
    plan = files.installing()
    _carry_out(target, files, plan, _find_interpreter(files.folder, python), dry_run=dry_run)
    if dry_run:
        if no_feed and not target.as_json:
            click.echo("would set dialogue.feed = false")
        return
    if no_feed or (plan.action == "install" and not (yes or target.as_json) and _declines_feeding()):
        _keep_dreams_out(context, target)
    if not target.as_json:
        _go_on(context, target, yes=yes)


@leo.command(short_help="Give a leo his own dream.py back, byte for byte.")
@_path
@_dry_run
@json_option
@click.pass_obj
def uninstall(target: Target, path: Path, dry_run: bool) -> None:
    """Give the leo in the folder PATH his own dream.py back, byte for byte. His dreams stay with dreamd.

    \b
    dreamctl leo uninstall ~/leo
    """
    files = LeoFiles(path)
    _carry_out(target, files, files.uninstalling(), None, dry_run=dry_run)


@leo.command(short_help="Report what install would do, and whether leo could use it.")
@_path
@_python
@json_option
@click.pass_obj
def check(target: Target, path: Path, python: str | None) -> None:
    """Report what install would do in the folder PATH, and whether leo could use it. Changes nothing.

    Exit code 1 if install would refuse, or if leo's interpreter lacks dreamclient.

    \b
    dreamctl leo check ~/leo
    """
    files = LeoFiles(path)
    interpreter = _find_interpreter(files.folder, python)
    _carry_out(target, files, files.installing(), interpreter, dry_run=True)
    if interpreter["problem"]:
        raise SystemExit(1)


def _carry_out(
    target: Target, files: LeoFiles, plan: Plan, interpreter: dict[str, Any] | None, *, dry_run: bool
) -> None:
    """Carry out the plan, unless `dry_run`, and report it. Exit with code 1 if it is a refusal."""
    if not dry_run:
        try:
            files.do(plan)
        except OSError as error:
            raise click.ClickException(f"{files.folder}: {error.strerror}; nothing is lost") from None
    done = plan.action in ("install", "uninstall") and not dry_run
    if target.as_json:
        emit_json(
            {
                "folder": str(files.folder),
                "state": plan.state,
                "action": plan.action,
                "done": done,
                "message": plan.message,
                "docstring": plan.docstring,
                "python": interpreter,
            }
        )
    elif plan.action != "refuse":
        would = "" if done or plan.action == "nothing" else "would " + plan.action + ": "
        emit_text(f"{files.folder}: {would}{plan.message}")
        if interpreter and not interpreter["problem"]:  # named, since it may be a guess
            emit_text(f"leo must run with {quote(interpreter['path'])}, which has dreamclient.")
    _print_warnings(plan, interpreter)
    if plan.action == "refuse":
        emit_note(f"refused: {plan.message}")
        raise SystemExit(1)


def _declines_feeding() -> bool:
    """Ask whether dreams may reach leo's field, unless a setting says it already. Return whether the user declines."""
    if not sys.stdin.isatty() or "dialogue.feed" in read_sources(env=os.environ).origins:
        return False
    question = "Feed his dreams into his field? (n: for now they are only shown, and he learns nothing)"
    return not click.confirm(question, default=True, err=True)


def _keep_dreams_out(context: click.Context, target: Target) -> None:
    """Turn feeding off in the settings file, and say how it is turned on. With --json, stdout has one document."""
    with redirect_stdout(sys.stderr if target.as_json else sys.stdout):
        _run_command(context, "config", "set", key="dialogue.feed", value="false")
    if not target.as_json:
        later = f"`{command_to_copy('config unset dialogue.feed')}` feeds his later dreams to him"
        said = f"His dreams are shown and kept, and he learns nothing from them. {later}."
        emit_text(said)


def _go_on(context: click.Context, target: Target, *, yes: bool) -> None:
    """Set up the daemon if none is there and the user wants it, and say what to do next."""
    verb = "install" if manager_answers() else "start"
    if not awaits_knock(target.socket):
        what = "Install dreamd as a service of systemd" if verb == "install" else "Start dreamd"
        if yes or (
            sys.stdin.isatty() and click.confirm(f"No daemon runs. {what} now?", default=True, err=True)
        ):
            more = {"dry_run": False, "force": False} if verb == "install" else {}
            _run_command(context, "service", verb, instance="", **more)
        else:
            emit_text(f"Next, set up the daemon: `{command_to_copy(f'service {verb}')}`")
    why, show = command_to_copy("why"), command_to_copy("show")
    then = f"Then start leo and talk with him: `{why}` says whether he dreamt, `{show}` what he said."
    emit_text(then)


def _run_command(context: click.Context, *names: str, **more: Any) -> None:
    command = context.find_root().command
    for name in names:
        command = cast(click.Group, command).get_command(context, name) or command
    context.invoke(command, **more)


def _print_warnings(plan: Plan, interpreter: dict[str, Any] | None) -> None:
    if interpreter is None:
        return
    if interpreter["problem"]:
        from dreamd.ctl.machine.installed import CLIENT, requirement_of  # needed only after a failure

        exe = quote(interpreter["path"])
        problem = f"cannot import dreamclient ({interpreter['problem']})"
        emit_note(f"{exe} {problem}: leo talks as before, and does not dream.")
        click.echo(
            f"Do: {exe} -m pip install {quote(requirement_of(CLIENT))}; or name leo's interpreter with --python.",
            err=True,
        )
    if not plan.docstring and plan.state in ("leo's own", "installed", "hand-made"):
        emit_note(
            "This dream.py has no docstring. A leo that starts for the first time is then fed dreamd's own text "
            "about dreams. One that has been fed before is not fed again."
        )


def _find_interpreter(folder: Path, named: str | None) -> dict[str, Any]:
    """Return `{path, version, problem}` of leo's Python: the `named` one, that of his venv, or python3 of the PATH."""
    inside = (folder / name / "bin" / "python" for name in (".venv", "venv"))
    found = named or next((str(exe) for exe in inside if exe.exists()), None)
    path = found or shutil.which("python3") or sys.executable
    try:
        answer = subprocess.run(
            [path, "-c", _PROBE],
            cwd=folder if folder.is_dir() else None,
            capture_output=True,
            timeout=PYTHON_S,
            check=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        version, problem = json.loads(answer.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return {"path": path, "version": None, "problem": f"it does not run ({type(error).__name__})"}
    return {"path": path, "version": version, "problem": problem}
