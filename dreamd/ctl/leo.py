"""`leo install`, `uninstall`, `check`: leo's `dream.py` makes place for dreamd's, and comes back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dreamd.ctl.connection import Target, emit, json_option
from dreamd.ctl.leo_files import ORIGINAL, LeoFiles, Plan

PYTHON_S = 20.0  # a cold disk and a busy machine; it takes a tenth of a second

# What leo's interpreter must be able to do, and says of itself.
_PROBE = """
import json, sys
try:
    import msgpack, dreamclient.dropin
    import dreamclient.leo
    print(json.dumps(["", sys.version.split()[0]]))
except Exception as error:
    print(json.dumps([f"{type(error).__name__}: {error}", sys.version.split()[0]]))
"""


@click.group()
def leo() -> None:
    """Put dreamd into leo, and take it out again: his dream.py is the one file that changes."""


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.argument("path", type=click.Path(path_type=Path)),
        json_option,
        click.pass_obj,
    ):
        command = option(command)
    return command


_python = click.option("--python", metavar="EXE", help="The interpreter that leo runs with.")
_dry = click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")


@leo.command()
@_python
@_dry
@_shared
def install(target: Target, path: Path, python: str | None, dry_run: bool) -> None:
    """Let the leo in the folder PATH dream with dreamd.

    His dream.py is kept beside it as dream_original.py. The new one starts with the same docstring, since leo
    feeds it into his field, and takes everything else from dreamclient.
    """
    files = LeoFiles(path)
    plan = files.installing()
    _end(
        target,
        files,
        plan,
        _interpreter(files.folder, python),
        done=not dry_run and plan.possible and files.do(plan),
    )


@leo.command()
@_dry
@_shared
def uninstall(target: Target, path: Path, dry_run: bool) -> None:
    """Give the leo in the folder PATH his own dream.py back, byte for byte. His dreams stay with dreamd."""
    files = LeoFiles(path)
    plan = files.uninstalling()
    _end(target, files, plan, None, done=not dry_run and plan.possible and files.do(plan))


@leo.command()
@_python
@_shared
def check(target: Target, path: Path, python: str | None) -> None:
    """Say what `install` would do to the leo in the folder PATH, and whether it would work. Changes nothing."""
    files = LeoFiles(path)
    python_says = _interpreter(files.folder, python)
    _end(target, files, files.installing(), python_says, done=False)
    if python_says["problem"]:
        raise SystemExit(1)
