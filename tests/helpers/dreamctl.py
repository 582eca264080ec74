"""Use to run dreamctl: in this process for most tests, as its own process where signals matter."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner, Result

from dreamd.ctl.__main__ import cli

# What the developer has set must not decide a test.
UNSET = {name: None for name in os.environ if name.startswith(("DREAM", "XDG_"))}


def dreamctl(*arguments: object, columns: int = 80, given: bytes = b"", **env: str) -> Result:
    """Run a command in this process, with `given` on its stdin."""
    more = {"COLUMNS": str(columns), **env}
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], given, env=UNSET | more)


def dreamctl_in_child(*arguments: object) -> Callable[[], int]:
    """Return a function for `traced`: it runs dreamctl in the child, silently, and returns its exit code."""

    def run() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.dup2(2, 1)
        for name in UNSET:
            os.environ.pop(name, None)
        try:
            cli([str(argument) for argument in arguments])
        except SystemExit as ended:
            return int(ended.code or 0)
        return 71

    return run


# What these start outlives them, and `logs` becomes another program.
OF_ITS_OWN = {"start", "restart", "restore", "logs", "demo"}


def dreamctl_in(
    env: Mapping[str, str], *arguments: object, cwd: Path | str = os.curdir
) -> "subprocess.CompletedProcess[str]":
    """Run a command with the whole environment `env`, in `cwd`: in this process, unless it starts another one."""
    words = [str(argument) for argument in arguments]
    if OF_ITS_OWN.intersection(words):
        command = [sys.executable, "-m", "dreamd.ctl", *words]
        return subprocess.run(
            command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
        )
    with chdir(cwd):
        result = CliRunner().invoke(cli, words, env={**dict.fromkeys(os.environ), **env})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


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
