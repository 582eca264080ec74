"""`stats`: as text, as JSON, and as OpenMetrics."""

import json
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.ctl.commands.stats.command import show_stats
from dreamd.ctl.commands.stats.openmetrics import render_metrics
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.little import LittleDaemon, fails
from tests.helpers.daemons.old import old_daemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.openmetrics import parse
from tests.helpers.shapes import differences, shape_of

DATA = Path(__file__).parents[2] / "data"

STATS = {
    "days": {"2026-11-30": {"calm": 170, "dream": 3}},
    "forgotten": 1,
    "replies": {"replies": 120, "triples": 5000, "from_dreams": 210},
    "reply_days": {"2026-11-30": {"replies": 120, "triples": 5000, "from_dreams": 210}},
    "speakers": [{"dialog": 12, "triples": 150}, {"dialog": 7, "triples": 40}, {"dialog": 3, "triples": 20}],
    "dialogs": 12, "lines": 31, "fragments": 39, "origin_fragments": 3, "avg_trauma": 0.3125, "avg_arousal": 0.41,
    "outcomes": {"complete": 9, "hook_error": 2, "empty": 1},
}  # fmt: skip
OF_NOW = {
    "version": "0.1.0", "state": "degraded: disk full", "uptime_s": 190.5,
    "decisions": {"calm": 170, "dream": 3},
    "hooks": {"generate": {"calls": 9, "p50_ms": 3.125, "p99_ms": 12.0}},
    "failures": {"generate: TypeError": 2, 'host: "a\\b"\nc': 1},
    "refusals": {"dream.now: NO_HOOKS": 2},
}  # fmt: skip
FIGURES = {**STATS, **OF_NOW, "drift": 0.18, "last_at": 1_700_000_000.5}
STATUS = OF_NOW | {
    "sessions": [
        {"provides": ["generate", "observe"], "mute_s": 30.0},
        {"provides": ["generate", "observe", "recall"], "mute_s": 0.0},
        {"provides": [], "mute_s": 0.0},
    ],
    "database": {"database_bytes": 40960, "wal_bytes": 0},
    "inbox": {"enabled": True, "waiting": 2, "done": 7, "set_aside": 1, "dropped": 5},
}

AT_80 = """\
dialogues  12: 9 complete, 2 hook_error, 1 empty
lines      31
forgotten  1 dialogue
average    trauma 0.31, arousal 0.41
fragments  39, 3 of them origin
drift      0.18
replies    120, 4.2 % of his words came from dreams, most of dialogue 12 and 7
up         3 min 10 s
decisions  170 calm, 3 dream
generate   9 calls, p50 3.1 ms, p99 12.0 ms
failures   3
refused    2"""

EXPOSED = r"""# TYPE dreamd_up gauge
# HELP dreamd_up 1 if the daemon answered.
dreamd_up 1
# TYPE dreamd_build gauge
# HELP dreamd_build The daemon's version, as a label.
dreamd_build{version="0.1.0"} 1
# TYPE dreamd_well gauge
# HELP dreamd_well 1 if the daemon is well. If it is 0, dreamctl status says why.
dreamd_well 0
# TYPE dreamd_uptime_seconds gauge
# UNIT dreamd_uptime_seconds seconds
# HELP dreamd_uptime_seconds Since the daemon started.
dreamd_uptime_seconds 190.5
# TYPE dreamd_leos gauge
# HELP dreamd_leos Connected leos who can dream.
dreamd_leos 2
# TYPE dreamd_mute_leos gauge
# HELP dreamd_mute_leos Of these, those whose last dream said nothing.
dreamd_mute_leos 1
# TYPE dreamd_decisions counter
# HELP dreamd_decisions Decisions to dream or not, by reason, and private replies, since the daemon started.
dreamd_decisions_total{reason="calm"} 170
dreamd_decisions_total{reason="dream"} 3
# TYPE dreamd_failures counter
# HELP dreamd_failures Failures that were caught and counted, by kind, since the daemon started.
dreamd_failures_total{kind="generate: TypeError"} 2
dreamd_failures_total{kind="host: \"a\\b\"\nc"} 1
# TYPE dreamd_refusals counter
# HELP dreamd_refusals Wrong requests that were refused, by kind, since the daemon started.
dreamd_refusals_total{kind="dream.now: NO_HOOKS"} 2
# TYPE dreamd_hook_duration_seconds summary
# UNIT dreamd_hook_duration_seconds seconds
# HELP dreamd_hook_duration_seconds Duration of the last 1024 calls of each of leo's hooks, and the number of all calls.
dreamd_hook_duration_seconds{hook="generate",quantile="0.5"} 0.003125
dreamd_hook_duration_seconds{hook="generate",quantile="0.99"} 0.012
dreamd_hook_duration_seconds_count{hook="generate"} 9
# TYPE dreamd_database_bytes gauge
# UNIT dreamd_database_bytes bytes
# HELP dreamd_database_bytes The dream database.
dreamd_database_bytes 40960
# TYPE dreamd_wal_bytes gauge
# UNIT dreamd_wal_bytes bytes
# HELP dreamd_wal_bytes Its write-ahead log.
dreamd_wal_bytes 0
# TYPE dreamd_inbox_files gauge
# HELP dreamd_inbox_files Files of the inbox.
dreamd_inbox_files{state="waiting"} 2
dreamd_inbox_files{state="done"} 7
dreamd_inbox_files{state="set_aside"} 1
# TYPE dreamd_inbox_dropped counter
# HELP dreamd_inbox_dropped Inbox files of his dreams that were removed to make room (inbox.keep), since the beginning.
dreamd_inbox_dropped_total 5
# TYPE dreamd_dialogues counter
# HELP dreamd_dialogues Dialogues that ended, by outcome, since the beginning.
dreamd_dialogues_total{outcome="complete"} 9
dreamd_dialogues_total{outcome="hook_error"} 2
dreamd_dialogues_total{outcome="empty"} 1
# TYPE dreamd_lines counter
# HELP dreamd_lines Lines spoken in them.
dreamd_lines_total 31
# TYPE dreamd_average_trauma gauge
# HELP dreamd_average_trauma Mean over all dialogues, from 0 to 1.
dreamd_average_trauma 0.3125
# TYPE dreamd_average_arousal gauge
# HELP dreamd_average_arousal Mean over all dialogues, from 0 to 1.
dreamd_average_arousal 0.41
# TYPE dreamd_fragments gauge
# HELP dreamd_fragments Fragments that the friend is made of.
dreamd_fragments{origin="true"} 3
dreamd_fragments{origin="false"} 36
# TYPE dreamd_replies counter
# HELP dreamd_replies Replies of three words or more, since the beginning.
dreamd_replies_total 120
# TYPE dreamd_reply_triples counter
# HELP dreamd_reply_triples Their word triples.
dreamd_reply_triples_total 5000
# TYPE dreamd_reply_triples_from_dreams counter
# HELP dreamd_reply_triples_from_dreams Of these, those that dreams brought.
dreamd_reply_triples_from_dreams_total 210
# TYPE dreamd_last_dialogue_seconds gauge
# UNIT dreamd_last_dialogue_seconds seconds
# HELP dreamd_last_dialogue_seconds Time of the last dialogue, in unix seconds.
dreamd_last_dialogue_seconds 1700000000.5
# TYPE dreamd_drift gauge
# HELP dreamd_drift Distance of the friend from his origin, from 0 to 1.
dreamd_drift 0.18
# EOF
"""


def test_stats_as_text_at_80_and_at_40_columns() -> None:
    assert show_stats(FIGURES, 80) == AT_80
    narrow = show_stats(FIGURES, 40)
    assert max(map(len, narrow.splitlines())) <= 40
    assert "".join(narrow.split()) == "".join(AT_80.split())
    assert "drift      -\n" in show_stats(FIGURES | {"drift": None}, 80)
    none = {"replies": 0, "triples": 0, "from_dreams": 0}
    assert "replies" not in show_stats(FIGURES | {"replies": none}, 80)
    assert "120, 0.0 % of his words came from dreams\n" in show_stats(
        FIGURES | {"replies": FIGURES["replies"] | {"from_dreams": 0}, "speakers": []}, 80
    )


def test_a_strict_reader_accepts_the_exposition() -> None:
    assert render_metrics(FIGURES | STATUS) == EXPOSED
    failures = parse(EXPOSED)["dreamd_failures"].samples
    assert ("_total", (("kind", 'host: "a\\b"\nc'),)) in failures
    assert all(name.startswith("dreamd_") for name in parse(EXPOSED))


def test_leaves_out_unknown_figures() -> None:
    down = parse(render_metrics({}))
    assert {name: family.samples for name, family in down.items()} == {"dreamd_up": {("", ()): 0}}
    assert parse(render_metrics(STATUS)).keys() == parse(EXPOSED).keys() - {
        f"dreamd_{name}"
        for name in (
            "dialogues",
            "lines",
            "average_trauma",
            "average_arousal",
            "fragments",
            "replies",
            "reply_triples",
            "reply_triples_from_dreams",
            "drift",
            "last_dialogue_seconds",
        )
    }
    fresh = (
        FIGURES
        | STATUS
        | {
            "drift": None,
            "last_at": None,
            "hooks": {},
            "failures": {},
            "refusals": {},
            "inbox": {"enabled": False},
        }
    )
    missing = {
        "dreamd_drift",
        "dreamd_last_dialogue_seconds",
        "dreamd_hook_duration_seconds",
        "dreamd_failures",
        "dreamd_refusals",
        "dreamd_inbox_files",
        "dreamd_inbox_dropped",
    }
    assert parse(render_metrics(fresh)).keys() == parse(EXPOSED).keys() - missing


@pytest.mark.parametrize(
    ("was", "broken"),
    [
        ("# EOF\n", ""),
        ("# EOF\n", "\n# EOF\n"),
        ("_lines_total 31", "_lines 31"),
        ("_lines_total 31", "_lines_total -31"),
        ("_lines_total 31", "_lines_total nan"),
        ("_lines_total 31", "_lines_total  31"),
        ("# UNIT dreamd_wal_bytes bytes", "# UNIT dreamd_wal_bytes seconds"),
        ("# TYPE dreamd_lines counter\n", ""),
        ('\\"a\\\\b\\"', '"a\\\\b"'),
        ('{state="done"} 7', '{state="waiting"} 7'),
        ('quantile="0.5"', 'quantile="50"'),
        ('_count{hook="generate"}', '_count{hook="generate",}'),
        ("# TYPE dreamd_leos gauge\n# HELP dreamd_leos", "# HELP dreamd_leos x\n# TYPE dreamd_leos gauge\n#"),
        ("dreamd_leos 2\n", "dreamd_leos 2\n# TYPE dreamd_up gauge\n"),
    ],
)
def test_the_strict_reader_is_strict(was: str, broken: str) -> None:
    text = EXPOSED.replace(was, broken, 1)
    with pytest.raises((AssertionError, KeyError)):
        parse(text)


def test_shows_the_figures_of_a_daemon(daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]) -> None:
    _, client = leo
    lines = client.dream_now()["lines"]
    result = dreamctl("--socket", daemon.socket, "stats", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert differences(shape_of("stats"), answer) == []
    assert answer.keys() == FIGURES.keys()
    assert answer["lines"] >= lines > 0

    shown = dreamctl("--socket", daemon.socket, "stats", TERM="dumb")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"dialogues  {answer['dialogs']}: ")

    exposed = dreamctl("--socket", daemon.socket, "stats", "--openmetrics")
    assert (exposed.exit_code, exposed.stderr) == (0, "")
    families = parse(exposed.stdout)
    assert families["dreamd_lines"].samples == {("_total", ()): answer["lines"]}
    assert families["dreamd_leos"].samples == {("", ()): 1}
    assert families.keys() >= parse(EXPOSED).keys() - {"dreamd_failures", "dreamd_refusals"}


def test_tells_scrapers_that_the_daemon_is_down(tmp_path: Path) -> None:
    exposed = dreamctl("--state-dir", tmp_path, "stats", "--openmetrics")
    assert exposed.exit_code == 3
    assert parse(exposed.stdout)["dreamd_up"].samples == {("", ()): 0}
    assert "no daemon at" in exposed.stderr
    for arguments in ([], ["--json"]):
        result = dreamctl("--state-dir", tmp_path, "stats", *arguments)
        assert (result.exit_code, result.stdout) == (3, "")


def test_leaves_out_figures_of_a_database_in_trouble(socket: Path) -> None:
    refused = {"status": lambda *_: STATUS, "friend.drift": fails(10, "the dream database: disk full")}
    with LittleDaemon(socket, refused):
        exposed = dreamctl("--socket", socket, "stats", "--openmetrics")
        result = dreamctl("--socket", socket, "stats", "--json")
    assert (exposed.exit_code, result.exit_code, result.stdout) == (4, 4, "")
    families = parse(exposed.stdout)
    assert families["dreamd_well"].samples == {("", ()): 0}
    assert "dreamd_lines" not in families
    assert "UNAVAILABLE" in exposed.stderr


def test_a_daemon_of_another_protocol_is_named_with_its_version(socket: Path) -> None:
    """This is the code of a real old daemon, which answers only `status`, with few keys."""
    with old_daemon(socket) as old:
        shown = dreamctl("--socket", socket, "status")
        results = [
            dreamctl("--socket", socket, "stats", *form) for form in ((), ("--json",), ("--openmetrics",))
        ]
    assert shown.exit_code == 0
    assert f"daemon  ok, up 1 s, pid {old.pid}, 0.0.9, protocol 0 (dreamctl " in shown.stdout
    for result in results:
        assert result.exit_code == 3
        assert "dreamd 0.0.9 speaks 0; upgrade the older" in " ".join(result.stderr.split())
    assert [result.stdout for result in results[:2]] == ["", ""]
    families = parse(results[2].stdout)
    assert families.keys() == {f"dreamd_{name}" for name in ("up", "build", "well", "uptime_seconds")}
    assert families["dreamd_up"].samples == {("", ()): 1}


def test_two_formats_at_once_are_wrong_usage(tmp_path: Path) -> None:
    for order in (["--json", "stats", "--openmetrics"], ["stats", "--openmetrics", "--json"]):
        assert dreamctl("--state-dir", tmp_path, *order).exit_code == 2
