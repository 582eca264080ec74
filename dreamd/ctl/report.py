"""`report`: one HTML page to look at."""

import webbrowser
from pathlib import Path
from typing import Any

import click

from dreamd.ctl.connection import Target, emit, json_option
from dreamd.ctl.layout import size

MOST = 4000  # dialogues on one page
SLOW = 200  # from so many on, progress is shown


@click.command()
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default="dreams.html", show_default=True
)
@click.option(
    "-n", "most", type=click.IntRange(0, MOST), default=2000, show_default=True, help="Dialogues, at most."
)
@click.option("--open", "look", is_flag=True, help="Show it in the browser.")
@json_option
@click.pass_obj
def report(target: Target, out: Path, most: int, look: bool) -> None:
    """Write a page with decisions, dialogues, drift, latency and transcripts. It needs no network.

    The transcripts are his dreams: the page is made readable for you alone.
    """
    from dreamd.ctl.page import page

    with target.daemon() as daemon:
        status, stats = daemon.call("status"), daemon.call("stats")
        decisions, drift = daemon.call("why", 256), daemon.call("friend.drift", most)
        recent: list[dict[str, Any]] = daemon.call("dialogs.recent", most)
        dialogs = []
        with click.progressbar(
            length=len(recent),
            label="dialogues",
            file=click.get_text_stream("stderr"),
            hidden=len(recent) < SLOW,
        ) as done:
            for dialog in recent:
                dialogs.append(daemon.call("dialogs.get", dialog["id"]))
                done.update(1)
    text = page(status, stats, decisions, dialogs, drift)
    try:
        out.touch(mode=0o600)
        out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror}") from None
    if target.as_json:
        emit({"path": str(out), "bytes": out.stat().st_size, "dialogues": len(dialogs)})
    else:
        click.echo(f"{out}: {len(dialogs)} dialogues, {size(out.stat().st_size)}")
    if look:
        webbrowser.open(out.absolute().as_uri())
