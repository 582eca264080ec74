"""`inbox show`: print a trace."""

import json

import click

from dreamd.ctl.daemon.completers import complete_traces
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.inbox import open_inbox, with_trace
from dreamd.ctl.terminal.layout import beginning_of, label_rows, terminal_width
from dreamd.ctl.terminal.output import emit_json, json_option

LABEL_CHARS = 16  # of a speaker's name: the text stands beside it


@click.command(short_help="Print a trace.")
@click.argument("asked", metavar="[TRACE_ID]", default="last", shell_complete=complete_traces)
@json_option
@click.pass_obj
def show(target: Target, asked: str) -> None:
    """Print a trace: the file that waits, or else the last acknowledged one.

    TRACE_ID may also name a waiting trace by its beginning, by the number of its dialogue, or as `last`, the newest,
    which is the default.

    \b
    dreamctl inbox show
    dreamctl inbox show dream-1700000000-7-0a1b2c3d
    """
    with open_inbox(target) as box:
        document = with_trace(box, asked, box.read)
    if target.as_json:
        emit_json(document)
        return
    # Another program may have written anything there.
    seed = found if isinstance(found := document.get("seed"), dict) else {}
    tags = found if isinstance(found := seed.get("ul_tags"), list) else []
    about = [("trace id", str(document.get("trace_id", asked))), ("goal", str(seed.get("goal", "")))]
    about.append(("tags", ", ".join(map(str, tags)) or "-"))
    about.append(("saved ts", str(document.get("saved_ts", "-"))))
    shards = [_shard_row(shard) for shard in document["shards"]]
    click.echo(label_rows(about + shards, terminal_width()))


def _shard_row(shard: object) -> tuple[str, str]:
    if not isinstance(shard, dict):
        return "?", json.dumps(shard)
    label = str(shard.get("speaker") or shard.get("type") or "shard")
    return beginning_of(label, LABEL_CHARS), str(shard["text"]) if "text" in shard else json.dumps(
        shard, ensure_ascii=False
    )
