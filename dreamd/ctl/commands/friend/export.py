"""`friend export`: write the friend to a file."""

import json
from pathlib import Path

import click
from dreamclient.messages import Method

from dreamd.ctl.commands.friend.exported import KIND, VERSION
from dreamd.ctl.daemon.completers import complete_checkpoints
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.output_files import RegularFile, check_free, write_private
from dreamd.ctl.terminal.output import emit_answer, json_option

_EXPORTED = ("text", "weight", "origin", "dialog", "added_at")


@click.command(short_help="Write the friend to a file, as JSON.")
@click.argument("file", type=RegularFile())
@click.option(
    "--checkpoint",
    "name",
    shell_complete=complete_checkpoints,
    help="Write him as he was at this checkpoint.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
@click.pass_obj
def export(target: Target, file: Path, name: str | None, force: bool) -> None:
    """Write the friend to FILE, as JSON. His fragments are dreams: the file is readable for you alone.

    \b
    dreamctl friend export friend.json
    dreamctl friend export then.json --checkpoint tuesday
    """
    with target.dreams() as daemon:
        check_free(file, Path(daemon.call(Method.STATUS)["state_dir"]), force=force)
        fragments = daemon.call(Method.FRAGMENTS, *([] if name is None else [name]))
    kept = [{key: fragment[key] for key in _EXPORTED} for fragment in fragments]
    text = json.dumps({"kind": KIND, "version": VERSION, "fragments": kept}, ensure_ascii=False, indent=1)
    write_private(file, [f"{text}\n".encode()])
    emit_answer({"path": str(file), "fragments": len(kept)}, lambda: f"{file}: {len(kept)} fragments")
