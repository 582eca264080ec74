"""dreamctl as users have it: in this process for most tests, as a process of its own where signals matter."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from dreamd.ctl.__main__ import cli

# What the developer has set must not decide a test.
UNSET = {name: None for name in os.environ if name.startswith(("DREAM", "XDG_"))}


def dreamctl(*arguments: object, columns: int = 80, given: bytes = b"", **env: str) -> Result:
    """Run a command in this process; `given` is on its stdin."""
    more = {"COLUMNS": str(columns), **env}
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], given, env=UNSET | more)


def spawn_dreamctl(
    *arguments: object, cwd: Path, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE, **env: str
) -> "subprocess.Popen[str]":
    """Run a command in a process of its own, in `cwd`."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.Popen(
        [sys.executable, "-m", "dreamd.ctl", *map(str, arguments)],
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "COLUMNS": "80", **env},
    )
