"""The report as one HTML page that holds all it needs: values in, text out."""

import time
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from dreamd.ctl.charts import lines, stacked, table
from dreamd.ctl.layout import clean, number, span

Row = dict[str, Any]
COLUMNS = 48  # of decisions over time: as many as can be told apart

_STYLE = """
:root{color-scheme:light dark;--ink:#1c1b22;--dim:#6b6875;--paper:#fbfaf7;--line:#d9d5cc;
--s0:#3d5a98;--s1:#b3552d;--s2:#4b7f52;--s3:#8a5a99;--s4:#8d7b2f;--s5:#3c8390;--s6:#a8485f;--s7:#777}
@media(prefers-color-scheme:dark){:root{--ink:#e6e3dc;--dim:#9a96a3;--paper:#16151b;--line:#35333d;
--s0:#8fabe6;--s1:#e69a73;--s2:#8fc79a;--s3:#c69bd6;--s4:#d0bf6b;--s5:#7fc5d2;--s6:#e08ba0;--s7:#aaa}}
body{margin:0 auto;max-width:46rem;padding:2rem 1rem 4rem;font:1rem/1.5 Georgia,serif;
color:var(--ink);background:var(--paper)}
h1{font-weight:400}h2{font-weight:400;margin-top:2.5rem;border-bottom:1px solid var(--line)}
figure{margin:1.5rem 0}figcaption{font-style:italic}svg{width:100%;height:auto}
.grid line{stroke:var(--line)}.grid text{fill:var(--dim);font:11px sans-serif}
polyline{fill:none;stroke-width:1.6}
polyline.s0{stroke:var(--s0)}polyline.s1{stroke:var(--s1)}
rect.s0{fill:var(--s0)}rect.s1{fill:var(--s1)}rect.s2{fill:var(--s2)}rect.s3{fill:var(--s3)}
rect.s4{fill:var(--s4)}rect.s5{fill:var(--s5)}rect.s6{fill:var(--s6)}rect.s7{fill:var(--s7)}
.legend{font:.8rem sans-serif;color:var(--dim);margin:.2rem 0}.legend span{margin-right:1rem}
.legend span::before{content:"\\25A0";margin-right:.3em}
.s0::before{color:var(--s0)}.s1::before{color:var(--s1)}.s2::before{color:var(--s2)}.s3::before{color:var(--s3)}
.s4::before{color:var(--s4)}.s5::before{color:var(--s5)}.s6::before{color:var(--s6)}.s7::before{color:var(--s7)}
table{border-collapse:collapse;font:.8rem sans-serif;margin:.5rem 0}
td,th{padding:.1rem .8rem .1rem 0;text-align:left;font-weight:400}th{color:var(--dim)}
summary{cursor:pointer;color:var(--dim);font:.85rem sans-serif}
.dream{border-bottom:1px solid var(--line);padding:.4rem 0}.dream[hidden]{display:none}
.dream dl{display:grid;grid-template-columns:4rem 1fr;gap:.2rem .8rem;margin:.5rem 0}
dt{color:var(--dim);font:.8rem/1.8 sans-serif}dd{margin:0;overflow-wrap:anywhere}
input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem;border:1px solid var(--line);
background:transparent;color:inherit}
@media print{input,#found{display:none}body{max-width:none}details{break-inside:avoid}}
"""
_POLICY = "default-src 'none';style-src 'unsafe-inline';script-src 'unsafe-inline';img-src data:"
_SCRIPT = """
const box=document.getElementById("search"),found=document.getElementById("found"),
dreams=[...document.querySelectorAll(".dream")],texts=dreams.map(d=>d.textContent.toLowerCase());
function look(){const asked=box.value.trim().toLowerCase();let n=0;
dreams.forEach((d,i)=>{const is=texts[i].includes(asked);d.hidden=!is;n+=is});
found.textContent=n+" of "+dreams.length}
box.addEventListener("input",look);look();
addEventListener("beforeprint",()=>dreams.forEach(d=>d.open=true));
"""


def page(
    status: Row, stats: Row, decisions: Sequence[Row], dialogs: Sequence[Row], drift: Sequence[Row]
) -> str:
    """The whole page. `decisions`, `dialogs` (with their `turns`) and `drift` come newest first, as the daemon
    gives them; times are local."""
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width,initial-scale=1">',
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">',
        '<link rel=icon href="data:,">',
        f"<title>leo's dreams</title><style>{_STYLE}</style></head><body>",
        "<h1>leo's dreams</h1>",
        _summary(status, stats),
        "<h2>Whether he dreamt</h2>",
        _decisions(status, decisions),
        "<h2>How it went</h2>",
        _course(dialogs, drift),
        "<h2>What his leo took to answer</h2>",
        table(
            ("hook", "calls", "median ms", "99 % within ms"),
            [
                (name, str(f["calls"]), f"{f['p50_ms']:.2f}", f"{f['p99_ms']:.2f}")
                for name, f in sorted(status["hooks"].items())
            ],
        )
        if status["hooks"]
        else "<p>No hook was asked since the daemon started.</p>",
        "<h2>What was said</h2>",
        '<input id=search type=search placeholder="Search the transcripts" aria-label="Search the transcripts">',
        "<p id=found role=status></p>",
        *map(_dream, dialogs),
        f"<script>{_SCRIPT}</script></body></html>",
    ]
    return "".join(parts)


def _summary(status: Row, stats: Row) -> str:
    said = (
        f"{stats['dialogs']} dreams with {stats['lines']} lines; a friend of {stats['fragments']} fragments, "
        f"{stats['origin_fragments']} of them his origin. The daemon is {status['state']}, "
        f"and has been up for {span(status['uptime_s'])}."
    )
    return f"<p>{escape(said)} Made {escape(time.strftime('%Y-%m-%d %H:%M'))}.</p>"


def _decisions(status: Row, decisions: Sequence[Row]) -> str:
    reasons: dict[str, int] = status["decisions"]
    names = sorted(reasons, key=lambda name: -reasons[name])
    rows = [(name, str(reasons[name])) for name in names]
    if not decisions:
        return "<p>Nothing was decided since the daemon started.</p>"
    ordered = list(reversed(decisions))
    first, last = ordered[0]["at"], ordered[-1]["at"]
    wide = (last - first) / COLUMNS or 1.0
    found: list[tuple[str, Counter[str]]] = [
        (_moment(first + place * wide), Counter()) for place in range(COLUMNS if last > first else 1)
    ]
    for decision in ordered:
        place = min(len(found) - 1, int((decision["at"] - first) / wide))
        found[place][1][decision["reason"]] += 1
    chart = stacked("The last decisions over time, by reason", found, names)
    return chart + "<p>All since the daemon started:</p>" + table(("reason", "decisions"), rows)


def _course(dialogs: Sequence[Row], drift: Sequence[Row]) -> str:
    if not dialogs:
        return "<p>He has not dreamt yet.</p>"
    ordered = list(reversed(dialogs))
    felt = lines(
        "Trauma and arousal, dialogue by dialogue",
        {
            "trauma": [dialog["avg_trauma"] for dialog in ordered],
            "arousal": [dialog["avg_arousal"] for dialog in ordered],
        },
        ("dialogue", "trauma", "arousal"),
        [(str(d["id"]), number(d["avg_trauma"]), number(d["avg_arousal"])) for d in ordered],
    )
    away = list(reversed(drift))
    far = lines(
        "Drift of the friend from the origin",
        {"drift": [entry["drift"] for entry in away]},
        ("dialogue", "drift"),
        [(str(entry["id"]), f"{entry['drift']:.3f}") for entry in away],
    )
    ends = Counter(str(dialog["outcome"]) for dialog in ordered)
    return table(("outcome", "dialogues"), [(name, str(n)) for name, n in ends.most_common()]) + felt + far


def _dream(dialog: Row) -> str:
    outcome = dialog["outcome"] or "running"
    about = f"{dialog['id']} · {_moment(dialog['started_at'])} · {outcome} · {dialog['lines']} lines"
    said = "".join(
        f"<dt>{escape(str(turn['speaker']))}</dt><dd>{escape(clean(turn['text'])) or '<i>not kept</i>'}</dd>"
        for turn in dialog["turns"]
    )
    note = f"<p>ended by {escape(dialog['note'])}</p>" if dialog.get("note") else ""
    return f"<details class=dream><summary>{escape(about)}</summary><dl>{said}</dl>{note}</details>"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
