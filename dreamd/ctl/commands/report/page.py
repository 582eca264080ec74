"""The report as one HTML page that needs no other file: values in, text out."""

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise
from typing import Any

from dreamd.ctl.commands.report.charts import lines, safe, stacked, table
from dreamd.ctl.terminal.layout import number, span

Row = dict[str, Any]

# By this an earlier report is recognized.
HEAD = "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=generator content=dreamctl>"

COLUMNS = 48  # of counts over time: as many as the eye distinguishes
POINTS = 240  # of a curve: three units of the drawing each
PAGE_BYTES = 3_000_000  # opens at once, and can be mailed


def page(
    status: Row, stats: Row, decisions: Sequence[Row], dialogs: Sequence[Row], drift: Sequence[Row]
) -> str:
    """Return the whole page. `decisions`, `dialogs` (with their `turns`) and `drift` are newest first, as the daemon
    returns them. Times are local. If the page would exceed PAGE_BYTES, the oldest transcripts are left out."""
    style, script = (
        files("dreamd.ctl.commands.report").joinpath(f"page.{kind}").read_text("utf-8")
        for kind in ("css", "js")
    )
    ours = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none';style-src 'unsafe-inline';script-src 'sha256-{ours}';img-src data:"
    above = "".join(
        [
            HEAD,
            '<meta name=viewport content="width=device-width,initial-scale=1">',
            f'<meta http-equiv=Content-Security-Policy content="{policy}">',
            '<link rel=icon href="data:,">',
            f"<title>leo's dreams</title><style>{style}</style></head><body><main>",
            "<h1>leo's dreams</h1>",
            _summary(status, stats),
            "<h2>Whether he dreamt</h2>",
            _decisions(status, decisions),
            "<h2>How it went</h2>",
            _course(dialogs, drift),
            "<h2>What his hooks took</h2>",
            _hooks(status["hooks"]),
            "<h2>What was said</h2>",
            '<input id=search type=search placeholder="Search the dialogues" aria-label="Search the dialogues">',
            "<p id=found role=status></p>",
        ]
    )
    below = f"</main><script>{script}</script></body></html>"
    room = PAGE_BYTES - len(above.encode("utf-8", "replace")) - len(below) - 200
    return f"{above}{_dreams(dialogs, room)}{below}"


def _summary(status: Row, stats: Row) -> str:
    said = (
        f"{stats['dialogs']} dialogues with {stats['lines']} lines; a friend of {stats['fragments']} fragments, "
        f"{stats['origin_fragments']} of them his origin. "
    )
    if status["uptime_s"] is None:
        said += "No daemon answered, so the dreams were read from the database."
    else:
        said += f"The daemon's state is {status['state']}, up for {span(status['uptime_s'])}."
    return f"<p>{safe(said)} Made on {time.strftime('%Y-%m-%d %H:%M %Z')}.</p>"


def _decisions(status: Row, decisions: Sequence[Row]) -> str:
    if not decisions:
        return "<p>Nothing was decided since the daemon started, or no daemon answered.</p>"
    ever: Counter[str] = Counter(status["decisions"])
    chart = stacked(
        f"The last {len(decisions)} decisions over time, by reason",
        *_over_time([(decision["at"], decision["reason"]) for decision in reversed(decisions)]),
    )
    rows = [(name, str(count)) for name, count in ever.most_common()]
    return f"{chart}<p>All since the daemon started:</p>{table(('reason', 'decisions'), rows)}"


def _course(dialogs: Sequence[Row], drift: Sequence[Row]) -> str:
    if not dialogs:
        return "<p>He has not dreamt yet.</p>"
    ordered, away = list(reversed(dialogs)), list(reversed(drift))
    ends = Counter(_outcome(dialog) for dialog in ordered)
    return "".join(
        [
            stacked(
                "Dialogues over time, by outcome",
                *_over_time([(dialog["started_at"], _outcome(dialog)) for dialog in ordered]),
            ),
            table(("outcome", "dialogues"), [(name, str(count)) for name, count in ends.most_common()]),
            _curves("Trauma and arousal", {"trauma": "avg_trauma", "arousal": "avg_arousal"}, ordered),
            _curves("Drift of the friend from the origin", {"drift": "drift"}, away) if away else "",
        ]
    )


def _hooks(hooks: Row) -> str:
    if not hooks:
        return "<p>No hook was asked since the daemon started.</p>"
    rows = [
        (name, str(of["calls"]), f"{of['p50_ms']:.2f}", f"{of['p99_ms']:.2f}")
        for name, of in sorted(hooks.items())
    ]
    return table(("hook", "calls", "median, ms", "99 % within, ms"), rows)


def _dreams(dialogs: Sequence[Row], room: int) -> str:
    """Return the transcripts that fit into `room` bytes, newest first, and the number of the others."""
    shown: list[str] = []
    for dialog in dialogs:
        text = _dream(dialog)
        room -= len(text.encode("utf-8", "replace"))
        if room < 0:
            left = len(dialogs) - len(shown)
            shown.append(f"<p>{left} older ones are left out of this page: dreamctl show ID</p>")
            break
        shown.append(text)
    return "".join(shown)


def _dream(dialog: Row) -> str:
    about = f"{dialog['id']} · {_moment(dialog['started_at'])} · {_outcome(dialog)} · {dialog['lines']} lines"
    said = "".join(
        f"<dt>{safe(str(turn['speaker']))}<dd>{safe(turn['text']) or '<i>not kept</i>'}"
        for turn in dialog["turns"]
    )
    note = f"<p>ended by {safe(dialog['note'])}</p>" if dialog.get("note") else ""
    return f"<details class=dream><summary>{safe(about)}</summary><dl>{said}</dl>{note}</details>"


def _curves(title: str, names: dict[str, str], rows: Sequence[Row]) -> str:
    """Draw a curve for each name, of its key in `rows`. If there are more than POINTS rows, a point is their mean."""
    edges = [round(place * len(rows) / min(POINTS, len(rows))) for place in range(min(POINTS, len(rows)) + 1)]
    parts = [rows[start:end] for start, end in pairwise(edges)]
    ids = [f"{part[0]['id']}-{part[-1]['id']}" if len(part) > 1 else str(part[0]["id"]) for part in parts]
    series = {name: [_mean(row[key] for row in part) for part in parts] for name, key in names.items()}
    numbers = zip(ids, *([number(value) for value in values] for values in series.values()), strict=True)
    return lines(f"{title}, dialogue by dialogue", series, ids, ("dialogue", *names), list(numbers))


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _over_time(events: Sequence[tuple[float, str]]) -> tuple[list[tuple[str, Counter[str]]], list[str], str]:
    """Return events as columns of counts, oldest first, the names from the most frequent down, and the last time."""
    first, last = events[0][0], max(at for at, _ in events)
    columns = COLUMNS if last > first else 1
    wide = (last - first) / columns or 1.0
    counts: list[Counter[str]] = [Counter() for _ in range(columns)]
    for at, name in events:
        counts[max(0, min(columns - 1, int((at - first) / wide)))][name] += 1
    names = [name for name, _ in Counter(name for _, name in events).most_common()]
    return [(_moment(first + place * wide), of) for place, of in enumerate(counts)], names, _moment(last)


def _outcome(dialog: Row) -> str:
    return str(dialog["outcome"] or "running")


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
