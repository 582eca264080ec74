"""`inbox ack`: acknowledge traces."""

import click

from dreamd.ctl.daemon.completers import complete_traces
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.inbox import open_inbox, with_trace
from dreamd.ctl.terminal.output import emit_json, json_option
from dreamd.inbox import InboxError


@click.command()
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
        raise click.ClickException("\n".join(problems))
