"""`stats`: print sums over all dreams, for people and for scrapers."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.activity import hook_rows
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.source import Refused, Source, Unreachable
from dreamd.ctl.machine.relay_state import read_relay_state
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import (
    format_counts,
    format_number,
    format_share,
    format_span,
    label_rows,
    terminal_width,
)
from dreamd.ctl.terminal.output import emit_answer, json_option

Figures = Mapping[str, Any]
SPEAKERS = 2  # dialogues that are named

_OF_STATUS = ("version", "state", "uptime_s", "decisions", "hooks", "failures", "refusals")
_EXPOSED_TOO = ("paused", "sessions", "database", "inbox")


@click.command
@click.option("--openmetrics", is_flag=True, help="Print OpenMetrics text for scrapers.")
@json_option
@click.pass_obj
def stats(target: Target, openmetrics: bool) -> None:
    """Show how much he dreamt, how it went, and how long it took.

    \b
    dreamctl stats
    dreamctl stats --openmetrics > dreamd.prom.new; mv dreamd.prom.new dreamd.prom
    """
    if openmetrics and target.as_json:
        raise click.UsageError("--json and --openmetrics are two formats; name one")
    if openmetrics:
        _print_exposition(target)
        return
    with target.dreams() as daemon:
        ever = _since_the_beginning(daemon)  # first: a daemon of another protocol answers `status` alone
        status = daemon.call(Method.STATUS)
        figures = {key: status[key] for key in _OF_STATUS} | ever
    emit_answer(figures, lambda: show_stats(figures, terminal_width()))


def _print_exposition(target: Target) -> None:
    """Print what is known, even if the daemon is down: a scraper has to see that in the file, not by its age."""
    from dreamd.ctl.commands.stats.openmetrics import render_metrics

    figures: dict[str, Any] = {}
    try:
        with target.daemon() as daemon:
            status = daemon.call(Method.STATUS)
            figures = {key: status[key] for key in (*_OF_STATUS, *_EXPOSED_TOO) if key in status}
            figures["relay"] = read_relay_state(Path(str(status.get("state_dir"))), time.time())
            figures |= _since_the_beginning(daemon)
    except (Unreachable, Refused):
        click.echo(render_metrics(figures), nl=False)
        raise
    click.echo(render_metrics(figures), nl=False)


def _since_the_beginning(daemon: Source) -> dict[str, Any]:
    """Return the sums of the database. Raise Refused if the daemon cannot read it."""
    stats = daemon.call(Method.STATS)
    drift, recent = daemon.call(Method.DRIFT, 1), daemon.call(Method.DIALOGS_RECENT, 1)
    last_at = recent[0]["finished_at"] or recent[0]["started_at"] if recent else None
    return {**stats, "drift": drift[0]["drift"] if drift else None, "last_at": last_at}


def show_stats(figures: Figures, columns: int) -> str:
    """Return the figures as text."""
    return label_rows(_stats_rows(figures), columns)


def _reply_rows(figures: Figures) -> Iterator[tuple[str, str]]:
    said = figures.get("replies") or {}
    if not said.get("triples"):  # none yet, or a daemon of an earlier version
        return
    share = format_share(said["from_dreams"] / said["triples"])
    most = [str(speaker["dialog"]) for speaker in figures["speakers"][:SPEAKERS]]
    whose = f", most of dialogue {' and '.join(most)}" if most else ""
    yield "replies", f"{said['replies']}, {share} of his words came from dreams{whose}"


def _stats_rows(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "dialogues", f"{figures['dialogs']}: {format_counts(figures['outcomes'])}"
    yield "lines", str(figures["lines"])
    if figures.get("forgotten"):  # the sums above still count them
        yield "forgotten", count_of(figures["forgotten"], "dialogue")
    yield (
        "average",
        f"trauma {format_number(figures['avg_trauma'])}, arousal {format_number(figures['avg_arousal'])}",
    )
    yield "fragments", f"{figures['fragments']}, {figures['origin_fragments']} of them origin"
    yield "drift", format_number(figures["drift"])
    yield from _reply_rows(figures)
    if figures["uptime_s"] is None:  # what follows is known to a daemon alone
        yield "daemon", "none answers"
        return
    yield "up", format_span(figures["uptime_s"])
    yield "decisions", format_counts(figures["decisions"])
    yield from hook_rows(figures["hooks"])
    yield "failures", str(sum(figures["failures"].values()))
    yield "refused", str(sum(figures.get("refusals", {}).values()))
