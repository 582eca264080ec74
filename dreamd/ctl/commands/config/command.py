"""`config`: show, change and check the settings. A settings file is checked before it is written."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from dreamclient.paths import state_dir

from dreamd import settings
from dreamd.ctl.commands.config.sample import as_toml, sample_file
from dreamd.ctl.commands.config.sources import Sources, of_daemon
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.output_files import replacing_file
from dreamd.ctl.terminal.layout import fold_text, label_rows, terminal_width, text_table
from dreamd.ctl.terminal.output import command_to_copy, emit_answer, emit_json, emit_text, json_option
from dreamd.ctl.terminal.summaries import Summarized

DEFAULTS = settings.Settings()


@click.group(cls=Summarized, invoke_without_command=True, short_help="Show and change the settings.")
@json_option
@click.pass_context
def config(context: click.Context) -> None:
    """Show each setting and where its value comes from: default, file, environment or --set.

    If a daemon runs for the state folder, its own environment and arguments count.

    \b
    dreamctl config                           each value, and where it comes from
    dreamctl config set gate.chance 0.5       dream after half of such replies
    dreamctl config unset gate.chance         go back to the default
    dreamctl config check                     find what is wrong in the settings
    dreamctl config init                      write a file with all of them
    """
    if context.invoked_subcommand is not None:
        return
    target: Target = context.obj
    sources = _read_sources(target)
    reading = sources.read()
    rows = [_setting_row(key, reading) for key in settings.KEYS]
    about = {
        "path": str(sources.file),
        "exists": sources.file.exists(),
        "daemon": sources.pid,
        "errors": reading.errors,
        "settings": rows,
    }
    emit_answer(about, lambda: _show_setting(about, terminal_width()))
    sys.exit(1 if reading.errors else 0)


def _read_sources(target: Target) -> Sources:
    return of_daemon(state_dir(target.given_state)) or Sources(dict(os.environ))


def _setting_row(key: str, reading: settings.Reading) -> dict[str, Any]:
    group, _, name = key.partition(".")
    default = getattr(getattr(DEFAULTS, group, None), name, None)
    origin = reading.origins.get(key, settings.Origin())
    value = reading.values.get(group, {}).get(name, default)
    return {
        "name": key,
        "value": value,
        "default": default,
        "source": origin.kind,
        "called": origin.name or None,
    }


def _show_setting(about: Mapping[str, Any], columns: int) -> str:
    path = (
        about["path"]
        if about["exists"]
        else f"{about['path']} (not there; `{command_to_copy('config init')}` writes one)"
    )
    rows = [("file", path)]
    if about["daemon"]:
        rows.append(("daemon", f"pid {about['daemon']}; its environment and arguments count"))
    rows += [("wrong", error) for error in about["errors"]]
    shown = [
        [each["name"], as_toml(each["value"]) or "not set", _source_words(each)] for each in about["settings"]
    ]
    return f"{label_rows(rows, columns)}\n\n{text_table(['setting', 'value', 'from'], shown, columns)}"


def _source_words(row: Mapping[str, Any]) -> str:
    return f"{row['source']}: {row['called']}" if row["source"] == "environment" else row["source"]


KEY = click.argument(
    "key", metavar="SETTING", shell_complete=lambda *of: [k for k in settings.KEYS if k.startswith(of[2])]
)


@config.command("set", context_settings={"ignore_unknown_options": True})  # -1 is a value here
@KEY
@click.argument("value")
@json_option
@click.pass_obj
def set_(target: Target, key: str, value: str) -> None:
    """Set a value in the settings file. Comments and order stay. A wrong name or value changes nothing.

    \b
    dreamctl config set gate.chance 0.5
    dreamctl config set inbox.enabled false
    """
    from dreamd.ctl.commands.config.file import text_of, with_value

    reading = settings.Reading()
    reading.take("--set", key, key, value)
    if reading.errors:
        raise click.UsageError(reading.errors[0])
    if key not in reading.origins:
        raise click.UsageError(f"there is no such setting any more: {reading.gone[0]}")
    group, _, name = key.partition(".")
    sources = _read_sources(target)
    _change_setting(target, sources, key, with_value(text_of(sources.file), key, reading.values[group][name]))


@config.command(short_help="Remove a value from the settings file.")
@KEY
@json_option
@click.pass_obj
def unset(target: Target, key: str) -> None:
    """Remove a value from the settings file, so that the default holds again.

    \b
    dreamctl config unset gate.chance
    """
    from dreamd.ctl.commands.config.file import remove_value, text_of

    sources = _read_sources(target)
    _change_setting(target, sources, key, remove_value(text_of(sources.file), key))


@config.command(short_help="Check the settings.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def check(target: Target, file: Path | None) -> None:
    """Check the settings in FILE, or else in the usual file, and in the environment. Exit code 1 if any is wrong.

    \b
    dreamctl config check
    dreamctl config check new.toml
    """
    sources = _read_sources(target)
    path = file or sources.file
    reading = sources.read(file)
    errors = reading.errors
    gone = [f"ignored, since this version has no such setting: {each}" for each in reading.gone]
    if target.as_json:
        emit_json({"path": str(path), "errors": errors, "ignored": gone})
    else:
        for each in (*errors, *gone):
            click.echo(fold_text(each, terminal_width(), "  ", ""))
        if not errors:
            named = "" if path.exists() else ", which is not there"
            emit_text(f"No mistake in {path}{named}: {_count_words(len(reading.origins))}.")
    sys.exit(1 if errors else 0)


def _count_words(count: int) -> str:
    return "1 setting is set" if count == 1 else f"{count or 'no'} settings are set"


@config.command(short_help="Write a file that lists each setting with its meaning.")
@json_option
@click.pass_obj
def init(target: Target) -> None:
    """Write a settings file that lists each setting with its meaning and its default, commented out. An existing file
    stays.

    \b
    dreamctl config init
    """
    file = _read_sources(target).file
    if os.path.lexists(file):
        raise click.ClickException(f"{file} exists already, and stays as it is")
    _put_file(file, sample_file())
    emit_answer({"path": str(file)}, lambda: fold_text(f"Written: {file}", terminal_width()))


def _change_setting(target: Target, sources: Sources, key: str, text: str) -> None:
    """Write the changed file, and print which value holds now. Raise UsageError if the change is a mistake."""
    before = sources.read()
    _put_file(sources.file, text, known=before.errors)
    row = _setting_row(key, sources.read())
    if target.as_json:
        emit_json({"path": str(sources.file), **row})
        return
    emit_text(f"{key} is {as_toml(row['value']) or 'not set'}, from: {_source_words(row)}.")
    if row["source"] in ("environment", "--set"):
        emit_text(f"{row['called']} decides: it comes after {sources.file}.")
    elif sources.pid:
        emit_text(f"A daemon runs; `{command_to_copy('service restart')}` makes it take that.")


def _put_file(file: Path, text: str, known: Sequence[str] = ()) -> None:
    """Write a settings file. Raise UsageError if it has mistakes other than the `known` ones."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing_file(file) as (part, number):
            if file.exists():
                os.fchmod(number, file.stat().st_mode & 0o777)
            part.write_text(text, encoding="utf-8")
            errors = [
                error.replace(str(part), str(file))
                for error in settings.read_sources(file=part, env={}).errors
            ]
            if new := [error for error in errors if error not in known]:
                raise click.UsageError(f"nothing was written: {'; '.join(new)}")
    except OSError as error:
        raise click.ClickException(f"{error.filename or file}: {error.strerror}") from None
