"""`import`: the dreams that leo's own dream.py kept inside his field's database.

This process reads that file, and sends what it holds: a daemon in its sandbox may not see it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dreamclient.messages import Method

from dreamd.ctl.connection import Target, emit, json_option
from dreamd.ctl.layout import labelled, width

if TYPE_CHECKING:
    from dreamd.store import LeosTables

MESSAGE_BYTES = 256 << 10  # about as many as the daemon takes over in 20 ms, and waits for nobody in


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would come; change nothing.")
@json_option
@click.pass_obj
def import_(target: Target, file: Path, dry_run: bool) -> None:
    """Take over the dreams that leo's own dream.py kept in FILE, his field's database, which is only read.

    What is there already stays as it is, so an import may be repeated. What the friend was before is the checkpoint
    `previous`.

    \b
    dreamctl import --dry-run state/leo.sqlite3
    dreamctl import state/leo.sqlite3
    """
    from msgspec import to_builtins

    from dreamd.errors import StoreError
    from dreamd.store.leo_import import read

    try:
        tables = read(file)
    except StoreError as error:
        raise click.ClickException(f"{file}: {error}") from None
    counts: Counter[str] = Counter()
    with target.daemon() as daemon:
        for part in parts(tables, MESSAGE_BYTES):
            counts.update(daemon.call(Method.IMPORT_LEO, to_builtins(part), dry_run))
    if target.as_json:
        emit(dict(counts))
    else:
        came = "would come" if dry_run else "came"
        rows = [(label, f"{counts[name]} {came}") for name, label in _LABELS.items()]
        click.echo(labelled([*rows, ("known", f"{counts['known']} were there already")], width()))


_LABELS = {"dialogs": "dialogues", "lines": "lines", "fragments": "fragments", "meta": "meta"}


def parts(tables: "LeosTables", most_bytes: int) -> Iterator["LeosTables"]:
    """The tables in messages of about `most_bytes`: the fragments together, a dialogue with all of its lines."""
    from dreamd.store import LeosTables

    yield LeosTables(meta=tables.meta, fragments=tables.fragments)
    lines: defaultdict[int | None, list[Any]] = defaultdict(list)
    for line in tables.turns:
        lines[line[1]].append(line)
    units = [([dialog], lines.pop(dialog[0], [])) for dialog in tables.dialogs]
    units += [([], [line]) for line in chain.from_iterable(lines.values())]
    for batch in _batches(units, most_bytes):
        yield LeosTables(
            dialogs=[dialog for dialogs, _ in batch for dialog in dialogs],
            turns=[line for _, lines in batch for line in lines],
        )


def _batches(units: list[Any], most_bytes: int) -> Iterator[list[Any]]:
    from msgspec.msgpack import encode

    batch: list[Any] = []
    room = most_bytes
    for unit in units:
        size = len(encode(unit))
        if batch and size > room:
            yield batch
            batch, room = [], most_bytes
        batch.append(unit)
        room -= size
    if batch:
        yield batch
