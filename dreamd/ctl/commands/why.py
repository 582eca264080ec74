"""`why`: show what the daemon decided after the last replies."""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import DECISIONS, Method

from dreamd.ctl.daemon.connection import Daemon, Target
from dreamd.ctl.terminal.layout import fold_text, format_counts, format_moment, terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_answer, emit_line, json_option, utc_option


@click.command(short_help="Show whether he dreamt after the last replies, or why not.")
@click.option("-n", "count", type=Count(1, DECISIONS), default=10, show_default=True, help="How many.")
@click.option("--watch", is_flag=True, help="Then print each new one, until Ctrl-C.")
@json_option
@utc_option
@click.pass_obj
def why(target: Target, count: int, watch: bool) -> None:
    """Show whether he dreamt after the last replies, and if not, why not. Newest first, with --watch newest last.

    \b
    dreamctl why
    dreamctl why --watch --json | jq .reason
    """
    if watch:
        _watch_decisions(target, count)
        return
    with target.dreams() as daemon:
        answer = daemon.call(Method.WHY, count)
        ever = {} if target.as_json else daemon.call(Method.STATUS)["decisions"]
    emit_answer(answer, lambda: show_why(answer, terminal_width(), time.time(), ever))


def _watch_decisions(target: Target, count: int) -> None:
    from dreamd.ctl.daemon.events import follow_events, tell_lost, until_ctrl_c

    told: deque[Mapping[str, Any]] = deque(maxlen=DECISIONS)
    columns = terminal_width()

    def tell(decision: Mapping[str, Any]) -> None:
        if decision in told:
            return
        told.append(decision)
        if target.as_json:
            emit_line(decision)
        else:
            click.echo(show_decision(decision, columns, time.time()))

    def catch_up(daemon: Daemon) -> None:
        for decision in reversed(daemon.call(Method.WHY, count)):
            tell(decision)

    with until_ctrl_c():
        for event in follow_events(target, catch_up):
            if event["type"] == "decision":
                tell(event["decision"])
            elif event["type"] == "lost":
                tell_lost(event)


def show_why(
    decisions: Sequence[Mapping[str, Any]], columns: int, now: float, ever: dict[str, int] | None = None
) -> str:
    """Return the answer of `why` as text, with counts by reason below. `ever`: the counts since the daemon started."""
    if not decisions:
        private = (ever or {}).get("private", 0)
        beside = f", beside {private} private ones" if private else ""
        return fold_text(f"No reply has reached dreamd yet{beside}.", columns)
    lines = [show_decision(decision, columns, now) for decision in decisions]
    reasons, sums = Counter(decision["reason"] for decision in decisions), list[str]()
    if len(decisions) > 1:
        sums.append(f"Of these {len(decisions)}: {format_counts(reasons)}.")
    if ever and sum(ever.values()) > len(decisions):
        sums.append(f"Of all {sum(ever.values())} since the daemon started: {format_counts(ever)}.")
    if sums:
        lines += ["", *(fold_text(each, columns) for each in sums)]
    return "\n".join(lines)


def show_decision(decision: Mapping[str, Any], columns: int, now: float) -> str:
    """Return one decision as text: when, whether he dreamt, and the numbers that decided."""
    from dreamd.ctl.terminal.decisions import in_words  # imported only if needed

    words = f"{_verdict_words(decision)}{in_words(decision)}"
    return fold_text(words, columns, " " * 10, f"{format_moment(decision['at'], now)}  ")


def _verdict_words(decision: Mapping[str, Any]) -> str:
    who = f"{decision['client']} " if decision.get("client", "leo") != "leo" else ""
    if decision["dream"]:
        feeds = "" if decision.get("fed", True) else ", which is not fed"
        return f"{who}began dialogue {decision.get('dialog')}{feeds}; "
    return f"{who}did not dream; "
