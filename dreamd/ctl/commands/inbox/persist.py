"""`inbox persist`: write the shards of another program."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.inbox import open_inbox
from dreamd.ctl.terminal.layout import label_rows, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option
from dreamd.inbox.capability import WRITE_SCOPE
from dreamd.inbox.document.document import BYTE_ORDER_MARKS, MARKED, MOST_READ_BYTES


@click.command(short_help="Write shards from a file or standard input.")
@click.argument("file", type=click.File("rb"))
@json_option
@click.pass_obj
def persist(target: Target, file: Any) -> None:
    """Write the shards in FILE (- for standard input): JSON {"seed": .., "result": .., "cap_token": ..}.

    \b
    dreamctl inbox persist shards.json
    simulate | dreamctl inbox persist -
    """
    name = getattr(file, "name", "standard input")
    try:
        data = file.read(MOST_READ_BYTES + 1)
        if len(data) > MOST_READ_BYTES:
            raise click.UsageError(f"{name}: more than {MOST_READ_BYTES} bytes; give a smaller file")
        if data.startswith(BYTE_ORDER_MARKS):
            raise click.UsageError(f"{name}: {MARKED}")
        asked = json.loads(data)
        seed, result, token = asked["seed"], asked["result"], asked["cap_token"]
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{name}: not JSON ({type(error).__name__})") from None
    except (KeyError, TypeError):
        raise click.UsageError(
            f"{name}: expected a mapping with seed, result and cap_token, "
            f'such as "cap_token": {{"scopes": ["{WRITE_SCOPE}"]}}'
        ) from None
    with open_inbox(target) as box:
        report = box.persist(seed, result, token)
    emit_answer(report, lambda: label_rows(_report_rows(report), terminal_width()))


def _report_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the rows of a report: what was written and where, and what was set aside or masked, if anything was."""
    for name, value in report.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{count} {kind}" for kind, count in value.items())
        if value is not None and value != "":
            yield name.replace("_", " "), str(value)
