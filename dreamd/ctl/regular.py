"""The files that people name: regular ones. A FIFO would keep a command waiting, and a device be replaced or filled."""

import os
from pathlib import Path

import click


def regular(_: click.Context, __: click.Parameter, value: Path) -> Path:
    """The callback of a parameter that takes a file: a regular one, or nothing yet."""
    if os.path.exists(value) and not os.path.isfile(value):
        raise click.BadParameter(f"{value} is no regular file")
    return value
