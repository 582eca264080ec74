"""Use for environments as containers and su leave them: a user without an entry, no /proc."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

STRANGER = 1234  # in no user database
AS_A_STRANGER = ("unshare", "--user", f"--map-user={STRANGER}", f"--map-group={STRANGER}")
WITHOUT_PROC = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs none /proc && exec "$@"',
    "sh",
)


def run(
    prefix: tuple[str, ...], *command: str, env: Mapping[str, str] | None = None, cwd: str | Path = "/"
) -> "subprocess.CompletedProcess[str]":
    """Run `python COMMAND` in such an environment, with no variables but `env`; skip if the host forbids it."""
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"needs user namespaces, which this host forbids: {probe.stderr.strip()}")
    return subprocess.run(
        [*prefix, sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
