"""`inbox`: read and write the dream inbox in its folder, with or without a daemon."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from dreamd.ctl.daemon.completers import complete_traces
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.inbox import PROBLEM, Wrong, open_inbox, with_trace
from dreamd.ctl.terminal.layout import format_moment, format_size, label_rows, terminal_width, text_table
from dreamd.ctl.terminal.output import emit_json, json_option
from dreamd.ctl.terminal.summaries import Summarized
from dreamd.inbox import InboxError
from dreamd.inbox.capability import WRITE_SCOPE
from dreamd.inbox.document.document import BYTE_ORDER_MARKS, MARKED, MOST_READ_BYTES


@click.group(cls=Summarized, short_help="Read and write the dream inbox.")
@json_option
def inbox() -> None:
    """Read and write the dream inbox, the files that other memory systems read (docs/guides/inbox.md).

    \b
    dreamctl inbox ls
    dreamctl inbox show dream-1700000000-7-0a1b2c3d
    dreamctl inbox ack dream-1700000000-7-0a1b2c3d
    """


@inbox.command()
@json_option
@click.pass_obj
def ls(target: Target) -> None:
    """List the waiting traces, the oldest first.

    \b
    dreamctl inbox ls
    dreamctl inbox ls --json | jq -r '.[].trace_id'
    """
    with open_inbox(target) as box:
        found = box.list()
    if target.as_json:
        emit_json(found)
    elif not found:
        click.echo(f"Nothing waits in {box.folder}")
    else:
        now = time.time()
        rows = [(f["trace_id"], format_moment(f["written_at"], now), format_size(f["bytes"])) for f in found]
        click.echo(text_table(("trace id", "written", "size"), rows, terminal_width()))


@inbox.command(short_help="Print a trace.")
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
    return label, str(shard["text"]) if "text" in shard else json.dumps(shard, ensure_ascii=False)


@inbox.command()
@click.argument("trace_ids", metavar="TRACE_ID...", nargs=-1, required=True, shell_complete=complete_traces)
@click.option(
    "--saved-ts",
    type=int,
    metavar="MS",
    help="The saved_ts of the file as you read it. It is refused if it has grown since.",
)
@json_option
@click.pass_obj
def ack(target: Target, trace_ids: tuple[str, ...], saved_ts: int | None) -> None:
    """Acknowledge traces: move their files to done/. Exit code 1 if one could not be moved. The others are moved.

    TRACE_ID may also name a waiting trace by its beginning, by the number of its dialogue, or as `last`, the newest.

    \b
    dreamctl inbox ack dream-1700000000-7-0a1b2c3d
    dreamctl inbox ack sim-1 --saved-ts 1700000004321
    """
    if saved_ts is not None and len(trace_ids) > 1:
        raise click.UsageError("--saved-ts is that of one file: give one TRACE_ID")
    done, problems = [], []
    with open_inbox(target) as box:
        for trace_id in trace_ids:
            try:
                done.append(with_trace(box, trace_id, lambda meant: box.ack(meant, saved_ts)))
            except (InboxError, click.UsageError) as error:
                problems.append(f"{trace_id}: {error}")
    if target.as_json:
        emit_json(done)
    else:
        for each in done:
            click.echo(each["path"])
    if problems:
        raise Wrong("\n".join(problems))


@inbox.command(short_help="Write shards from a file or standard input.")
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
    if target.as_json:
        emit_json(report)
    else:
        click.echo(label_rows(_report_rows(report), terminal_width()))


def _report_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the rows of a report: what was written and where, and what was set aside or masked, if anything was."""
    for name, value in report.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{count} {kind}" for kind, count in value.items())
        if value is not None and value != "":
            yield name.replace("_", " "), str(value)


@inbox.command(short_help="Check every file against its schema.")
@json_option
@click.pass_obj
def verify(target: Target) -> None:
    """Check every file against its schema, and print the problems of each. Exit code 1 if there are any.

    \b
    dreamctl inbox verify
    """
    with open_inbox(target) as box:
        found = box.verify()
    wrong = [entry for entry in found if entry["problems"]]
    if target.as_json:
        emit_json(found)
    else:
        for entry in wrong:
            click.echo(label_rows([(entry["file"], "; ".join(entry["problems"]))], terminal_width()))
        click.echo(f"{len(found)} files, {len(wrong)} with problems")
    sys.exit(PROBLEM if wrong else 0)


@inbox.command()
@json_option
@click.pass_obj
def sweep(target: Target) -> None:
    """Remove temporary files that killed writers left. Safe at any time: those of a living writer stay.

    \b
    dreamctl inbox sweep
    """
    with open_inbox(target) as box:
        removed = box.sweep()
    if target.as_json:
        emit_json(removed)
    else:
        click.echo(f"{len(removed)} temporaries removed")


@inbox.command()
@json_option
def schema() -> None:
    """Print the JSON Schema of a MATADA node.

    \b
    dreamctl inbox schema > matada_node.json
    """
    from dreamd.inbox import node_schema

    emit_json(node_schema())
