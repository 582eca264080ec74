"""The report as one HTML page that needs no other file: values in, text out."""

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise
from typing import Any

from dreamd.ctl.commands.report.charts import draw_lines, draw_stacked, escape_text, html_table
from dreamd.ctl.commands.report.effect import effect_section
from dreamd.ctl.commands.report.friend import friend_section
from dreamd.ctl.commands.report.replies import replies_section
from dreamd.ctl.terminal.dialogues import count_of, ending_in_words
from dreamd.ctl.terminal.layout import beginning_of, format_number, format_span

Row = dict[str, Any]

# By this an earlier report is recognized.
HEAD = "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=generator content=dreamctl>"

OPEN = 5  # of the newest dreams, so that a reader sees dreams and not their headings; page.js knows it too
TITLE_CHARS = 60  # of a dream: its first words
COLUMNS = 48  # of counts over time: as many as the eye distinguishes
POINTS = 240  # of a curve: three units of the drawing each
PAGE_BYTES = 3_000_000  # opens at once, and can be mailed

_NAMES = {"leo-demo": "the demo organism"}  # clients that are no leo, by what they are
_HOOKS = {
    "generate": "say a line (generate)",
    "observe": "hear a line (observe)",
    "recall": "remember (recall)",
}

# Whether he dreamt, and why not.
_REASONS = {
    "dream": "he dreamt",
    "asked": "he dreamt, because a dream was asked for",
    "resumed": "he went on with a dream that was interrupted",
    "calm": "nothing in the reply called for a dream",
    "chance": "the reply called for a dream, but the draw said no",
    "cooldown": "too soon after the last dream",
    "busy": "he was dreaming already",
    "mute": "his last dream said nothing",
    "no_hooks": "the program could not dream",
    "degraded": "no dream could be kept then",
    "disabled": "dreams were switched off",
    "paused": "dreams were paused",
    "private": "a private reply, of which nothing else is known",
}
_ENDINGS = {
    "complete": "all lines were said",
    "repeat": "a line was said already",
    "empty": "a line had no words",
    "left": "he went away",
    "hook_error": "he failed to answer",
    "deadline": "an answer took too long",
    "store_error": "a line could not be written down",
    "running": "it goes on",
}


def render_page(
    status: Row,
    stats: Row,
    decisions: Sequence[Row],
    dialogs: Sequence[Row],
    drift: Sequence[Row],
    fragments: Sequence[Row] = (),
    left: Sequence[Row] = (),
    effect: Row | None = None,
) -> str:
    """Return the whole page. `decisions`, `dialogs` (with their `turns`) and `drift` are newest first, as the daemon
    returns them, `fragments` of the friend heaviest first, `left` those that left him, `effect` as `read_effect`
    returns it. Times are local. If the page would exceed PAGE_BYTES, the oldest transcripts are left out."""
    style, script = (
        files("dreamd.ctl.commands.report").joinpath(f"page.{kind}").read_text("utf-8")
        for kind in ("css", "js")
    )
    ours = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none';style-src 'unsafe-inline';script-src 'sha256-{ours}';img-src data:"
    name, now = _dreamer(dialogs), time.time()
    above = "".join(
        [
            HEAD,
            '<meta name=viewport content="width=device-width,initial-scale=1">',
            f'<meta http-equiv=Content-Security-Policy content="{policy}">',
            '<link rel=icon href="data:,">',
            f"<title>The dreams of {escape_text(name)}</title><style>{style}</style></head><body><main>",
            f"<h1>The dreams of {escape_text(name)}</h1>",
            _render_summary(status, stats, now),
            "<h2>The dreams</h2>",
            '<input id=search type=search placeholder="Search the dreams" aria-label="Search the dreams">'
            "<p id=found role=status></p>"
            if dialogs
            else "<p>He has not dreamt yet.</p>",
        ]
    )
    below = "".join(
        [
            friend_section(fragments, left, now),
            replies_section(stats, dialogs),
            _render_decisions(stats.get("days", {}), decisions),
            effect_section(effect, now),
            _render_course(dialogs, drift),
            f"<h2>How long {escape_text(name)} took to answer</h2>",
            _render_hooks(status["hooks"]),
            f"</main><script>{script}</script></body></html>",
        ]
    )
    room = PAGE_BYTES - len(above.encode("utf-8", "replace")) - len(below.encode("utf-8", "replace")) - 200
    return f"{above}{_render_dreams(dialogs, room)}{below}"


def _dreamer(dialogs: Sequence[Row]) -> str:
    """Return whose dreams these are: the clients, the one with the most dreams first."""
    names = [name for name, _ in Counter(dialog.get("client") or "leo" for dialog in dialogs).most_common()]
    named = [_NAMES.get(name, name) for name in names] or ["leo"]
    if len(named) > 3:
        named[2:] = [f"{len(named) - 2} others"]
    return " and ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)


def _render_summary(status: Row, stats: Row, now: float) -> str:
    said = f"{count_of(stats['dialogs'], 'dream')} with {count_of(stats['lines'], 'line')}"
    said += f", {stats['forgotten']} of them forgotten. " if stats.get("forgotten") else ". "
    if status["uptime_s"] is None:
        said += "No daemon answered, so they were read from the database. "
    else:
        said += f"The daemon's state is {status['state']}, up for {format_span(status['uptime_s'])}. "
    return f"<p>{escape_text(said)}Made on {time.strftime('%Y-%m-%d %H:%M %Z', time.localtime(now))}.</p>"


def _render_decisions(days: Row, decisions: Sequence[Row]) -> str:
    """Draw the last decisions, and if there are older ones, all by day. `days`: counts by reason, by day (UTC)."""
    heading = "<h2>Did he dream?</h2>"
    if not decisions:
        return (
            f"{heading}<p>No decision is known. The daemon decides after each reply that it is told of.</p>"
        )
    last = [(decision["at"], decision["reason"]) for decision in reversed(decisions)]
    said = draw_stacked(f"The last {count_of(len(last), 'decision')} over time, by reason", *_over_time(last))
    ever: Counter[str] = Counter()
    for counts in days.values():
        ever.update(counts)
    if len(days) > 1 or ever.total() > len(last):
        names = [name for name, _ in ever.most_common()]
        said += draw_stacked("Decisions of each day (UTC), by reason", sorted(days.items()), names, max(days))
    ever = ever or Counter(name for _, name in last)
    rows = [(name, str(count), _REASONS.get(name, "")) for name, count in ever.most_common()]
    return heading + said + html_table(("reason", "decisions", "meaning"), rows, "Decisions by reason")


def _render_course(dialogs: Sequence[Row], drift: Sequence[Row]) -> str:
    heading = "<h2>How dreams ended</h2>"
    if not dialogs:
        return f"{heading}<p>No dream has ended yet.</p>"
    ordered, away = list(reversed(dialogs)), list(reversed(drift))
    ends = Counter(_outcome_of(dialog) for dialog in ordered)
    rows = [(name, str(count), _ENDINGS.get(name, "")) for name, count in ends.most_common()]
    unfed = sum(not dialog.get("fed", True) for dialog in ordered)
    return "".join(
        [
            heading,
            draw_stacked(
                "Dreams over time, by outcome",
                *_over_time([(dialog["started_at"], _outcome_of(dialog)) for dialog in ordered]),
            ),
            html_table(("outcome", "dreams", "meaning"), rows, "Dreams by outcome"),
            f"<p>{count_of(unfed, 'dream')} did not reach leo, since feeding was off.</p>" if unfed else "",
            _draw_curves("Trauma and arousal", {"trauma": "avg_trauma", "arousal": "avg_arousal"}, ordered),
            _draw_curves("Drift of the friend from the origin", {"drift": "drift"}, away) if away else "",
        ]
    )


def _render_hooks(hooks: Row) -> str:
    if not hooks:
        return "<p>No dream was spoken since the daemon started.</p>"
    rows = [
        (_HOOKS.get(name, name), str(of["calls"]), _duration(of["p50_ms"]), _duration(of["p99_ms"]))
        for name, of in sorted(hooks.items())
    ]
    return html_table(("asked to", "times", "half within", "99 % within"), rows, "Times to answer")


def _render_dreams(dialogs: Sequence[Row], room: int) -> str:
    """Return the transcripts that fit into `room` bytes, newest first, and the number of the others."""
    shown: list[str] = []
    for dialog in dialogs:
        text = _render_dream(dialog, " open" if len(shown) < OPEN else "")
        room -= len(text.encode("utf-8", "replace"))
        if room < 0:
            left = len(dialogs) - len(shown)
            shown.append(f"<p>Older ones are left out of this page: {left}. `dreamctl show ID` has them.</p>")
            break
        shown.append(text)
    return "".join(shown)


def _render_dream(dialog: Row, state: str) -> str:
    turns = dialog["turns"]
    title = beginning_of(turns[0]["text"], TITLE_CHARS) if turns else ""
    about = " · ".join(
        [
            f"dream {dialog['id']}",
            _time_of(dialog["started_at"]),
            ending_in_words(dialog),
            count_of(dialog["lines"], "line"),
        ]
    )
    own = "it" if dialog.get("client") in _NAMES else "leo"
    said = "".join(
        f"<dt>{escape_text(own if turn['speaker'] == 'leo' else str(turn['speaker']))}"
        f"<dd>{escape_text(turn['text']) or '<i>not kept</i>'}"
        for turn in turns
    )
    said = f"<dl>{said}</dl>" if said else "<p>Nothing was said.</p>"
    note = f"<p>ended by {escape_text(dialog['note'])}</p>" if dialog.get("note") else ""
    heading = f"<b>{escape_text(title) or '(no words)'}</b><small>{escape_text(about)}</small>"
    return f"<details class=dream{state}><summary>{heading}</summary>{said}{note}</details>"


def _draw_curves(title: str, names: dict[str, str], rows: Sequence[Row]) -> str:
    """Draw a curve for each name, of its key in `rows`. If there are more than POINTS rows, a point is their mean."""
    edges = [round(place * len(rows) / min(POINTS, len(rows))) for place in range(min(POINTS, len(rows)) + 1)]
    parts = [rows[start:end] for start, end in pairwise(edges)]
    ids = [f"{part[0]['id']}-{part[-1]['id']}" if len(part) > 1 else str(part[0]["id"]) for part in parts]
    series = {name: [_mean_of(row[key] for row in part) for part in parts] for name, key in names.items()}
    numbers = zip(
        ids, *([format_number(value) for value in values] for values in series.values()), strict=True
    )
    ends = [f"dream {place}" for place in ids]
    return draw_lines(f"{title}, dream by dream", series, ends, ("dream", *names), list(numbers))


def _mean_of(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _over_time(events: Sequence[tuple[float, str]]) -> tuple[list[tuple[str, Counter[str]]], list[str], str]:
    """Return columns of counts by name over equal spans of time, oldest first, each with its time; the names from the
    most frequent down; and the last time."""
    first, last = events[0][0], max(at for at, _ in events)
    columns = COLUMNS if last > first else 1
    wide = (last - first) / columns or 1.0
    counts: list[Counter[str]] = [Counter() for _ in range(columns)]
    for at, name in events:
        counts[max(0, min(columns - 1, int((at - first) / wide)))][name] += 1
    names = [name for name, _ in Counter(name for _, name in events).most_common()]
    short = wide < 60  # then minutes do not distinguish columns
    return (
        [(_time_of(first + at * wide, short), of) for at, of in enumerate(counts)],
        names,
        _time_of(last, short),
    )


def _outcome_of(dialog: Row) -> str:
    return str(dialog["outcome"] or "running")


def _time_of(at: float, seconds: bool = False) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M", time.localtime(at))


def _duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 60_000 else format_span(milliseconds / 1000)
