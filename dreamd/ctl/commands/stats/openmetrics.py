"""Figures in the OpenMetrics 1.0 text format. Values in, text out.

Only counters, gauges and summaries: readers of the older Prometheus format, such as textfile collectors, know no other.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dreamd.ctl.daemon.activity import can_dream

Figures = Mapping[str, Any]
Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One line: the suffix to the family's name, the labels, the value."""

    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """One metric, named in base units; `unit` is the end of its name, or empty."""

    name: str
    kind: str  # counter, gauge, summary
    help: str
    samples: list[Sample]
    unit: str = ""


# The name of a family, the key of `replies` in `stats`.
_OF_REPLIES = (
    ("replies", "replies", "Replies of three words or more, since the beginning."),
    ("reply_triples", "triples", "Their word triples."),
    ("reply_triples_from_dreams", "from_dreams", "Of these, those that dreams brought."),
)


def render_metrics(figures: Figures) -> str:
    """Return the text of the figures of `dreamctl stats`, and of `sessions`, `database` and `inbox` of the status.
    Missing figures are left out. Empty figures mean that the daemon is down."""
    families = [Family("up", "gauge", "1 if the daemon answered.", [Sample("", {}, bool(figures))])]
    families += [
        family
        for family in (*_of_now(figures), *_of_relay(figures), *_since_the_beginning(figures))
        if family.samples
    ]
    return "".join(map(_family_text, families)) + "# EOF\n"


def _of_now(figures: Figures) -> Iterator[Family]:
    if "state" not in figures:
        return
    yield _gauge_family("build", "The daemon's version, as a label.", 1, version=figures["version"])
    yield _gauge_family(
        "well", "1 if the daemon is well. If it is 0, dreamctl status says why.", figures["state"] == "ok"
    )
    yield _gauge_family("uptime_seconds", "Since the daemon started.", figures["uptime_s"], unit="seconds")
    if "database" not in figures:  # of another protocol: it says no more
        return
    inbox, database = figures["inbox"], figures["database"]
    leos = [session for session in figures["sessions"] if can_dream(session)]
    yield _gauge_family("leos", "Connected leos who can dream.", len(leos))
    mute = sum(leo["mute_s"] > 0 for leo in leos)
    yield _gauge_family("mute_leos", "Of these, those whose last dream said nothing.", mute)
    if "paused" in figures:
        about = "1 if dreams are paused, so that none begins by itself."
        yield _gauge_family("paused", about, figures["paused"] is not None)
    yield _counter_family(
        "decisions",
        "Decisions to dream or not, by reason, and private replies, since the daemon started.",
        "reason",
        figures["decisions"],
    )
    yield _counter_family(
        "failures",
        "Failures that were caught and counted, by kind, since the daemon started.",
        "kind",
        figures["failures"],
    )
    yield _counter_family(
        "refusals",
        "Wrong requests that were refused, by kind, since the daemon started.",
        "kind",
        figures.get("refusals", {}),
    )
    yield _hook_family(figures["hooks"])
    if database["database_bytes"] is not None:  # None: its disk did not answer in time
        yield _gauge_family("database_bytes", "The dream database.", database["database_bytes"], unit="bytes")
        yield _gauge_family("wal_bytes", "Its write-ahead log.", database["wal_bytes"], unit="bytes")
    files = [
        Sample("", {"state": key}, inbox[key])
        for key in ("waiting", "done", "set_aside")
        if inbox.get(key) is not None
    ]
    yield Family("inbox_files", "gauge", "Files of the inbox.", files)
    if inbox.get("dropped") is not None:
        about = "Inbox files of his dreams that were removed to make room (inbox.keep), since the beginning."
        yield Family("inbox_dropped", "counter", about, [Sample("_total", {}, inbox["dropped"])])


def _of_relay(figures: Figures) -> Iterator[Family]:
    relay = figures.get("relay")
    if not relay:
        return
    yield _gauge_family("relay_up", "1 if the relay runs.", relay["state"] == "running")
    yield _gauge_family("relay_failing", "1 if its last attempt failed.", bool(relay["last_error"]))
    yield _gauge_family("relay_waiting", "Inbox files that the relay has still to publish.", relay["waiting"])
    yield _gauge_family("relay_skipped", "Of these, those that it cannot publish.", relay["skipped"])
    for key in ("published", "acknowledged"):
        about = f"Inbox files that were {key} since the relay started."
        yield Family(f"relay_{key}", "counter", about, [Sample("_total", {}, relay[key])])
    if relay["last_at"]:
        about = "Time of the last file that it passed on, in unix seconds."
        yield _gauge_family("relay_last_seconds", about, relay["last_at"], unit="seconds")


def _since_the_beginning(figures: Figures) -> Iterator[Family]:
    if "dialogs" not in figures:
        return
    yield _counter_family(
        "dialogues", "Dialogues that ended, by outcome, since the beginning.", "outcome", figures["outcomes"]
    )
    yield Family("lines", "counter", "Lines spoken in them.", [Sample("_total", {}, figures["lines"])])
    yield _gauge_family("average_trauma", "Mean over all dialogues, from 0 to 1.", figures["avg_trauma"])
    yield _gauge_family("average_arousal", "Mean over all dialogues, from 0 to 1.", figures["avg_arousal"])
    origin = figures["origin_fragments"]
    counts = {"true": origin, "false": figures["fragments"] - origin}
    fragments = [Sample("", {"origin": key}, count) for key, count in counts.items()]
    yield Family("fragments", "gauge", "Fragments that the friend is made of.", fragments)
    said = figures.get("replies") or {}
    for name, key, about in _OF_REPLIES:
        if key in said:
            yield Family(name, "counter", about, [Sample("_total", {}, said[key])])
    if figures["last_at"] is not None:
        text = "Time of the last dialogue, in unix seconds."
        yield _gauge_family("last_dialogue_seconds", text, figures["last_at"], unit="seconds")
    if figures["drift"] is not None:
        yield _gauge_family("drift", "Distance of the friend from his origin, from 0 to 1.", figures["drift"])


def _gauge_family(name: str, about: str, value: float, unit: str = "", **labels: str) -> Family:
    return Family(name, "gauge", about, [Sample("", labels, value)], unit)


def _counter_family(name: str, about: str, label: str, counts: Mapping[str, int]) -> Family:
    return Family(name, "counter", about, [Sample("_total", {label: key}, n) for key, n in counts.items()])


def _hook_family(hooks: Mapping[str, Mapping[str, float]]) -> Family:
    samples = []
    for name, hook in hooks.items():
        quantiles = {"0.5": hook["p50_ms"] / 1000, "0.99": hook["p99_ms"] / 1000}
        samples += [Sample("", {"hook": name, "quantile": key}, value) for key, value in quantiles.items()]
        samples.append(Sample("_count", {"hook": name}, hook["calls"]))
    about = "Duration of the last 1024 calls of each of leo's hooks, and the number of all calls."
    return Family("hook_duration_seconds", "summary", about, samples, "seconds")


def _family_text(family: Family) -> str:
    name = f"dreamd_{family.name}"
    lines = [f"# TYPE {name} {family.kind}"]
    if family.unit:
        lines.append(f"# UNIT {name} {family.unit}")
    lines.append(f"# HELP {name} {_escape_label(family.help)}")
    for suffix, labels, value in family.samples:
        inner = ",".join(f'{key}="{_escape_label(each)}"' for key, each in labels.items())
        lines.append(f"{name}{suffix}{'{' + inner + '}' if inner else ''} {value + 0}")
    return "\n".join(lines) + "\n"


def _escape_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
