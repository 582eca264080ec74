"""`report`: one page, in a real browser."""

import asyncio
import html
import json
import math
import os
import random
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from dreamd.clock import Clock
from dreamd.ctl.commands.report import page
from dreamd.ctl.commands.report.charts import draw_lines, draw_stacked, scale
from dreamd.ctl.commands.report.page import PAGE_BYTES, render_page
from dreamd.dream.gate import REASONS
from dreamd.dream.outcomes import OUTCOMES
from dreamd.engine.decisions import PRIVATE
from dreamd.store import writes
from dreamd.store.store import Store
from tests.ctl.commands.test_effect import FOUND
from tests.helpers.browser import CHROMIUM, Browser
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.mounts import fill, mounts
from tests.helpers.store_rows import STARTED_AT, finish, line, new_dialog

WORDS = "sea river house light snow door word small old quiet speak listen friend name water night".split()  # noqa: SIM905 - one list of words reads better as words
MANY = 2000
HOSTILE = "</dd><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> & \x1b[31m\u202e"


def dream(connection: sqlite3.Connection, number: int, draw: random.Random) -> None:
    """Return one dialogue of the usual length of leo's, with its measures on a long wave."""
    at = STARTED_AT + number * 600
    felt = min(1.0, max(0.0, 0.5 + 0.4 * math.sin(number / 90) + draw.gauss(0, 0.1)))
    said = [
        line(
            turn, " ".join([f"moon{number}", *draw.choices(WORDS, k=50)]), arousal=felt, trauma=draw.random()
        )
        for turn in range(1, 5)
    ]
    new = new_dialog(f"dream-{int(at)}-{number}-{draw.getrandbits(32):08x}", started_at=at)
    dialog = writes.begin_dialog(connection, new)
    for each in said:
        writes.record_line(connection, dialog, each, at + each.turn, None, True)
    end = msgspec.structs.replace(finish(*said, drift=number / MANY), at=at + 9)
    writes.finish_dialog(connection, dialog, end, True)
    writes.shard_written(connection, dialog, at + 9, True)


async def dreamt(state: Path) -> None:
    draw = random.Random(1)
    async with await Store.open(state / "dream.sqlite3", clock=Clock()) as store:
        assert store._database
        await store._database.write(lambda c: [dream(c, number, draw) for number in range(MANY)] and None)


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with 2,000 dialogues."""
    state = tmp_path_factory.mktemp("report") / "state"
    state.mkdir(0o700)
    asyncio.run(dreamt(state))
    with DaemonProcess(state) as daemon:
        yield daemon


STATUS = {"state": "ok", "uptime_s": 5.0, "hooks": {}}
STATS = {"dialogs": 2, "lines": 8, "fragments": 9, "origin_fragments": 3}
FRAGMENT = {"id": 1, "text": "born", "weight": 1.0, "origin": True, "dialog": None, "added_at": STARTED_AT}
TURN = {"speaker": "leo", "text": "the rain is near"}
DIALOG = {
    "id": 1, "started_at": STARTED_AT, "outcome": "complete", "lines": 1, "avg_trauma": 0.5, "avg_arousal": None,
    "note": None, "turns": [TURN],
}  # fmt: skip


def test_an_empty_page_says_that_there_is_nothing() -> None:
    text = render_page(STATUS, STATS, [], [], [])
    for words in ("No decision is known", "has not dreamt yet", "The friend is empty", "No dream was spoken"):
        assert words in text


def test_says_how_many_of_the_counted_dreams_are_forgotten() -> None:
    assert "<p>2 dreams with 8 lines. " in render_page(STATUS, STATS, [], [DIALOG], [])
    text = render_page(STATUS, STATS | {"forgotten": 1}, [], [DIALOG], [])
    assert "<p>2 dreams with 8 lines, 1 of them forgotten. " in text


def test_escapes_every_text_of_a_dream() -> None:
    hostile = DIALOG | {"note": HOSTILE, "outcome": HOSTILE, "turns": [{"speaker": HOSTILE, "text": HOSTILE}]}
    decision = {"at": STARTED_AT, "reason": HOSTILE}
    hooks = {HOSTILE: {"calls": 1, "p50_ms": 1.0, "p99_ms": 2.0}}
    status, stats = STATUS | {"state": HOSTILE, "hooks": hooks}, STATS | {"days": {HOSTILE: {HOSTILE: 3}}}
    said = [FRAGMENT | {"text": HOSTILE, "dialog": 1}]
    drift = [{"id": 1, "at": STARTED_AT, "drift": 0.5}]
    text = render_page(status, stats, [decision], [hostile | {"client": HOSTILE}], drift, said, said)
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert html.unescape(text).count("document.title='taken'") >= 12


def test_shows_what_of_his_replies_came_from_dreams() -> None:
    days = {f"2026-11-{day}": {"replies": 4, "triples": 100, "from_dreams": day - 20} for day in (28, 29, 30)}
    said = {"replies": 12, "triples": 300, "from_dreams": 27}
    speakers = [{"dialog": 1, "triples": 20}, {"dialog": 9, "triples": 7}]
    stats = STATS | {"replies": said, "reply_days": days, "speakers": speakers}
    text = render_page(STATUS, stats, [], [DIALOG | {"opening": HOSTILE}], [])
    assert "<p>9.0 % of the words of 12 replies came from dreams" in text
    assert "<td>2026-11-30</td><td>4</td><td>100</td><td>10</td><td>10 %</td>" in text
    assert re.search(r"<td>dream 1</td><td>20</td><td>&lt;/dd&gt;&lt;script&gt;[^<]* \.\.</td>", text)
    assert "<td>dream 9</td><td>7</td><td></td>" in text
    nothing = stats | {"replies": said | {"from_dreams": 0}, "speakers": []}
    assert "No dream speaks in them" in render_page(STATUS, nothing, [], [], [])
    assert "No reply has been counted" in render_page(STATUS, STATS, [], [], [])


def test_a_too_long_page_keeps_the_newest_dialogues() -> None:
    long = [
        DIALOG | {"id": number, "turns": [TURN | {"text": "&" * 400}] * 4} for number in range(MANY, 0, -1)
    ]
    text = render_page(STATUS, STATS, [], long, [])
    assert PAGE_BYTES * 0.99 < len(text.encode()) <= PAGE_BYTES
    shown = text.count("<details class=dream")
    assert f"left out of this page: {MANY - shown}." in text
    assert "<small>dream 2000 · " in text
    assert "<small>dream 1 · " not in text


def test_marks_a_text_that_was_not_kept() -> None:
    text = render_page(STATUS, STATS, [], [DIALOG | {"turns": [TURN | {"text": ""}], "outcome": None}], [])
    assert "<i>not kept</i>" in text
    assert "· running · " in text


def test_the_newest_dreams_come_first_and_open_under_their_first_words() -> None:
    dialogs = [DIALOG | {"id": n, "turns": [TURN | {"text": f"Line {n} " * 12}]} for n in range(7, 0, -1)]
    text = render_page(STATUS, STATS, [], dialogs, [])
    dreams = re.findall(r"<details class=dream( open)?><summary><b>Line (\d)[^<]* \.\.</b>", text)
    assert dreams == [*((" open", str(n)) for n in range(7, 2, -1)), ("", "2"), ("", "1")]
    assert "1 line</small>" in text
    headings = re.findall(r"<h2>([^<]*)</h2>", text)
    assert headings == [
        "The dreams", "The friend", "His dreams in his replies", "Did he dream?", "Do his dreams help?",
        "How dreams ended",
        "How long leo took to answer",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("clients", "names"),
    [
        (["leo-demo"], "the demo organism"),
        (["leo", "leo", "leo-demo"], "leo and the demo organism"),
        (["b", "a", "a"], "a and b"),
        (["a", "a", "a", "b", "b", "c", "d"], "a, b and 2 others"),
        ([None], "leo"),
        ([], "leo"),
    ],
)
def test_the_title_says_whose_dreams_they_are(clients: list[str | None], names: str) -> None:
    text = render_page(STATUS, STATS, [], [DIALOG | {"client": client} for client in clients], [])
    assert f"<title>The dreams of {names}</title>" in text
    assert f"<h1>The dreams of {names}</h1>" in text
    assert text.count("<dt>it<dd>") == clients.count("leo-demo")


def test_the_friend_has_weights_ages_and_sources_and_what_came_and_left() -> None:
    now = time.time()
    origin = [FRAGMENT | {"id": n, "text": f"origin {n}"} for n in range(20)]
    came = [
        FRAGMENT | {"id": 30 + n, "text": f"came {n}", "origin": False, "dialog": n, "weight": 0.3}
        for n in (1, 2)
    ]
    brought = FRAGMENT | {"id": 40, "text": "brought", "origin": False, "weight": 0.1, "added_at": 0.0}
    left = [FRAGMENT | {"id": 9, "text": "gone", "origin": False, "dialog": 4, "left_at": now - 90}]
    text = render_page(STATUS, STATS, [], [], [], [*origin, *came, brought], left)
    assert "He is made of 23 fragments, 20 of them origin" in text
    assert re.search(r"<td>1.00</td><td>[\d.]+ d</td><td>origin</td><td>origin 0</td>", text)
    assert "<td>0.30</td>" in text.split("The other 11</summary>")[1]
    assert "<td>0.10</td><td>-</td><td>brought</td><td>brought</td>" in text
    lately, gone = text.split("Came lately")[1].split("Left lately")
    assert lately.index("<li>came 2 <small>dream 2, ") < lately.index("<li>came 1 <small>dream 1, ")
    assert "<li>gone <small>dream 4, 1 min 30 s ago</small></li>" in gone


def test_reads_the_fragments_that_left_with_and_without_a_daemon(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with DaemonProcess(state):
        pass
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database, database:
        database.execute("INSERT INTO dream_bootstrap_fragments (text, origin) VALUES ('born', 1)")
        database.executemany(
            "INSERT INTO dream_fragments_past VALUES (?, ?, 0.05, 0, 3, 1.0, ?, 0)",
            [(n, f"left {n}", 100.0 + n) for n in range(1, 12)],
        )
    pages = []
    for number in range(2):
        if number:
            with DaemonProcess(state) as daemon:
                result = dreamctl("--socket", daemon.socket, "report", "--out", tmp_path / "page.html")
        else:
            result = dreamctl("--state-dir", state, "report", "--out", tmp_path / "page.html")
        assert result.exit_code == 0, result.stderr
        pages.append(re.findall(r"<li>(left \d+) <small>dream 3, ", (tmp_path / "page.html").read_text()))
    assert pages == [[f"left {n}" for n in range(11, 3, -1)]] * 2


def test_decisions_of_earlier_days_are_shown() -> None:
    decisions = [{"at": STARTED_AT + at, "reason": "calm"} for at in (60, 0)]
    days = {"2026-11-29": {"calm": 2, "dream": 1}, "2026-11-30": {"calm": 7}}
    text = render_page(STATUS, STATS | {"days": days}, decisions, [], [])
    assert "The last 2 decisions over time, by reason" in text
    assert "Decisions of each day (UTC), by reason" in text
    assert "<td>calm</td><td>9</td><td>nothing in the reply called for a dream</td>" in text
    assert "<td>dream</td><td>1</td><td>he dreamt</td>" in text
    today = render_page(STATUS, STATS | {"days": {"2026-11-30": {"calm": 2}}}, decisions, [], [])
    assert "Decisions of each day" not in today


def test_each_reason_and_outcome_has_a_meaning() -> None:
    assert set(page._REASONS) == {*REASONS, PRIVATE}
    assert set(page._ENDINGS) == set(OUTCOMES) - {"lost", "shutdown", "interrupted"} | {"running"}


def test_times_to_answer_are_in_words() -> None:
    hooks = {
        "generate": {"calls": 3, "p50_ms": 12189.45, "p99_ms": 90_000.0},
        "observe": {"calls": 3, "p50_ms": 0.1234, "p99_ms": 41.0},
    }
    text = render_page(STATUS | {"hooks": hooks}, STATS, [], [], [])
    assert "<td>say a line (generate)</td><td>3</td><td>12.2 s</td><td>1 min 30 s</td>" in text
    assert "<td>hear a line (observe)</td><td>3</td><td>0.123 ms</td><td>41 ms</td>" in text


def test_the_ends_of_a_short_time_differ() -> None:
    dialogs = [DIALOG | {"id": n, "started_at": STARTED_AT + n} for n in (3, 2, 1)]
    for some, count in ((dialogs, 2), (dialogs[:1], 1)):
        text = render_page(STATUS, STATS, [], some, [])
        ends = re.search(r'by outcome">.*?<div class="ends">(.*?)</div>', text)
        labels = re.findall(r"<span>(.*?)</span>", ends[1])
        assert len(set(labels)) == len(labels) == count


@pytest.mark.parametrize(
    ("high", "ticks"),
    [
        (1.0, [0, 0.5, 1]),
        (0.98, [0, 0.5, 1]),
        (0.08, [0, 0.05, 0.1]),
        (0.55, [0, 0.2, 0.4, 0.6]),
        (0.0, [0, 0.0005]),
    ],
)
def test_an_axis_begins_at_0(high: float, ticks: list[float]) -> None:
    assert scale(high) == ticks


def test_any_axis_holds_its_values_between_few_ticks() -> None:
    draw = random.Random(3)
    for _ in range(2000):
        high = draw.random() ** draw.randint(1, 9)
        ticks = scale(high)
        assert 2 <= len(ticks) <= 5
        assert ticks[0] == 0
        assert high - 1e-6 <= ticks[-1]


def test_curves_skip_missing_values_and_stay_in_their_frame() -> None:
    drawn = draw_lines("Felt", {"trauma": [0.0, None, 7.0]}, ["1", "2", "3"], ("dream", "trauma"), [])
    assert re.findall(r'points="([^"]*)"', drawn) == ["0.0,200.0 720.0,0.0"]
    assert re.findall(r"<span>(\w+)</span>", drawn) == ["1", "3"]
    alone = draw_lines("Felt", {"trauma": [0.25]}, ["1"], ("dream", "trauma"), [])
    assert len(set(re.findall(r"[\d.]+,([\d.]+)", re.search(r'points="([^"]*)"', alone)[1]))) == 1
    assert "<text" not in drawn  # text in a drawing would shrink with it


def test_stacks_columns_and_tables_have_their_numbers() -> None:
    drawn = draw_stacked(
        "Whether", [("noon", {"calm": 3, "dream": 1}), ("one", {})], ["calm", "dream"], "two"
    )
    assert re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn) == [
        ("50.0", "150.0"),
        ("0.0", "50.0"),
    ]
    assert re.findall(r"<td>(\w*)</td>", drawn) == ["noon", "3", "1", "one", "0", "0"]
    assert 'role="img" aria-label="Whether"' in drawn
    assert "<span>two</span>" in drawn
    assert "<rect" not in draw_stacked("Whether", [], [], "")


def test_2000_dialogues_are_at_most_3_mb_and_for_their_owner_alone(
    long_lived: DaemonProcess, tmp_path: Path
) -> None:
    out = tmp_path / "dreams.html"
    out.touch(0o644)
    result = dreamctl("--socket", long_lived.socket, "report", "--out", out, "--force", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert told == {"path": str(out), "bytes": out.stat().st_size, "dialogues": MANY}
    assert told["bytes"] <= 3_000_000
    assert stat.S_IMODE(os.stat(out).st_mode) == 0o600
    text = out.read_text()
    assert text.count("<details class=dream") == MANY
    assert re.findall(r"""\b(?:src|href)=["']?(\w*)""", text) == ["data"]


def test_limits_the_number_of_dialogues_and_reports_a_failed_write(
    long_lived: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    monkeypatch.setattr("webbrowser.open", lambda page: not looked.append(page))
    out = tmp_path / "few.html"
    result = dreamctl(
        "--socket", long_lived.socket, "report", "-n", 3, "--out", out, "--open", "--utc", TZ="UTC"
    )
    assert result.stdout == f"{out}: 3 dialogues, {out.stat().st_size / 1000:.0f} kB\n"
    assert looked == [out.as_uri()]
    (other := tmp_path / "other.html").write_text("<!doctype html>")
    for there, says in ((other, "there already; --force"), (tmp_path / "no" / "x.html", "No such file")):
        failed = dreamctl("--socket", long_lived.socket, "report", "-n", 0, "--out", there)
        assert (failed.exit_code, failed.stdout) == (1, "")
        assert says in failed.stderr
    assert other.read_text() == "<!doctype html>"
    assert out.read_text().count("<details class=dream") == 3
    dreamctl("--socket", long_lived.socket, "report", "-n", 2, "--out", out)  # a report gives way to the next
    assert out.read_text().count("<details class=dream") == 2
    words = ["--socket", long_lived.socket, "report", "-n", 0, "--out", "page", "--open"]
    process = spawn_dreamctl(*words, cwd=tmp_path, PATH=str(tmp_path), BROWSER="")
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, f"No browser could be opened; the page is {tmp_path / 'page'}\n")


WRITERS = (["report", "-n", 0, "--force", "--out"], ["friend", "export", "--force"])


@pytest.mark.parametrize(
    "name", ["dream.sqlite3", "dream.sqlite3-journal", "dreamd.lock", "inbox/dreams/x.json"]
)
@pytest.mark.parametrize("command", WRITERS, ids=["report", "friend"])
def test_never_replaces_a_file_of_dreamd(
    long_lived: DaemonProcess, tmp_path: Path, command: list[object], name: str
) -> None:
    before = os.stat(long_lived.state_dir / "dream.sqlite3")
    (tmp_path / "link").symlink_to(long_lived.state_dir / name)
    for file in (long_lived.state_dir / name, tmp_path / "link"):
        refused = dreamctl("--socket", long_lived.socket, *command, file)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert f"{file} is dreamd's own" in refused.stderr
    assert os.stat(long_lived.state_dir / "dream.sqlite3") == before


@pytest.mark.parametrize("command", WRITERS, ids=["report", "friend"])
def test_a_full_disk_keeps_the_earlier_page(
    long_lived: DaemonProcess, tmp_path: Path, command: list[object]
) -> None:
    """No half of a new page is left, and a link stays a link."""
    with mounts() as made:
        disk = made.tmpfs(tmp_path / "disk", "64k")
        (disk / "page").write_text("an earlier one")
        fill(disk)
        full = dreamctl("--socket", long_lived.socket, *command, disk / "page")
        assert (full.exit_code, full.stdout) == (1, "")
        assert f"{disk / 'page'}: No space left" in full.stderr
        assert sorted(os.listdir(disk)) == ["ballast", "page"]
        assert (disk / "page").read_text() == "an earlier one"
    (tmp_path / "other").write_text("of others")
    (tmp_path / "other").chmod(0o644)
    (tmp_path / "link").symlink_to("other")
    assert dreamctl("--socket", long_lived.socket, *command, tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "other").read_text() != "of others"
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_page_renders_searches_and_has_two_colour_schemes_in_a_browser(
    long_lived: DaemonProcess, tmp_path: Path
) -> None:
    out = tmp_path / "dreams.html"
    assert dreamctl("--socket", long_lived.socket, "report", "--out", out).exit_code == 0
    pictures, papers = {}, {}
    with Browser(tmp_path / "profile") as browser:
        for scheme in ("light", "dark"):
            browser.emulate(prefers_color_scheme=scheme)
            browser.open(out)
            pictures[scheme] = browser.picture()
            papers[scheme] = browser.run("getComputedStyle(document.body).backgroundColor")
            (tmp_path / f"{scheme}.png").write_bytes(pictures[scheme])
        assert browser.run("document.querySelectorAll('svg').length") == 3
        assert browser.run(
            "[...document.querySelectorAll('svg')].every(s => s.getBoundingClientRect().height > 100)"
        )
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        seen = "[...document.querySelectorAll('.dream')].filter(d => d.offsetHeight).length"
        assert browser.run(seen) == MANY
        browser.type("#search", "MOON123")
        assert browser.run("document.getElementById('found').textContent") == f"11 of {MANY} dreams"
        assert browser.run(seen) == 11
        browser.type("#search", "leo  moon1234 ")
        assert browser.run(seen) == 1
        browser.type("#search", "dialogue that never was")
        assert browser.run("document.getElementById('found').textContent") == f"0 of {MANY} dreams"
        browser.type("#search", " · complete ")
        assert browser.run(seen) == MANY
        assert browser.faults() == []
        assert set(browser.requests()) == {out.as_uri()}
    assert papers == {"light": "rgb(251, 250, 247)", "dark": "rgb(22, 21, 27)"}
    assert all(len(picture) > 20_000 for picture in pictures.values())


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_texts_run_no_script_in_a_browser(tmp_path: Path) -> None:
    out = tmp_path / "hostile.html"
    out.write_text(
        render_page(STATUS, STATS, [], [DIALOG | {"turns": [{"speaker": "leo", "text": HOSTILE}]}], [])
    )
    with Browser(tmp_path / "profile") as browser:
        browser.open(out)
        assert browser.run("document.title") == "The dreams of leo"
        assert browser.run("document.querySelector('dd').textContent").startswith("</dd><script>")
        browser.run("document.querySelector('dd').innerHTML = '<img src=x onerror=\"document.title=1\">'")
        assert browser.run("document.title") == "The dreams of leo"
        assert {fault["params"]["entry"]["source"] for fault in browser.faults()} <= {"security"}


PERSIAN = "می\u200cخواهم خانه\u200cای"  # the joiners part letters of one word


def test_transcripts_keep_joiners() -> None:
    text = render_page(STATUS, STATS, [], [DIALOG | {"turns": [{"speaker": "leo", "text": PERSIAN}]}], [])
    assert f"<dd>{PERSIAN}" in text


def test_every_column_of_a_table_has_a_head() -> None:
    decisions = [{"at": STARTED_AT + at, "reason": "calm", "dream": False} for at in (60, 0)]
    text = render_page(STATUS, STATS, decisions, [DIALOG], [])
    assert text.count("<th ") > 6
    assert '<th scope="col"></th>' not in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_browser_search_finds_a_word_with_and_without_its_joiner(tmp_path: Path) -> None:
    out = tmp_path / "persian.html"
    said = [PERSIAN, "co\u00adoperate, cafe\u0301", "rain"]
    dialogs = [DIALOG | {"turns": [{"speaker": "leo", "text": text}]} for text in said]
    out.write_text(render_page(STATUS, STATS, [], dialogs, []))
    with Browser(tmp_path / "profile") as browser:
        browser.open(out)
        for typed in ("می\u200cخواهم", "میخواهم", "خانهای", "cooperate", "café", "CAFE", "cafè"):
            browser.type("#search", typed)
            assert browser.run("document.getElementById('found').textContent") == "1 of 3 dreams", typed


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("columns", [390, 1200])
def test_fits_narrow_and_wide_screens_in_both_schemes(tmp_path: Path, columns: int) -> None:
    """If AXE names an axe.min.js (`npm install axe-core`), axe checks the page too."""
    dialogs = [
        DIALOG | {"id": n, "started_at": STARTED_AT + 60 * n, "outcome": f"end {n % 9}"}
        for n in range(40, 0, -1)
    ]
    drift = [{"id": n, "at": STARTED_AT, "drift": n / 500} for n in range(40, 0, -1)]
    decisions = [{"at": STARTED_AT + n, "reason": f"reason {n % 9}"} for n in range(40, 0, -1)]
    hooks = {"generate": {"calls": 3, "p50_ms": 12189.45, "p99_ms": 90_000.0}}
    fragments = [FRAGMENT | {"dialog": n, "text": "long" * 30} for n in range(20)]
    status = STATUS | {"hooks": hooks}
    share = {"replies": 12_000, "triples": 500_000, "from_dreams": 21_000}
    stats = STATS | {
        "replies": share,
        "reply_days": {f"2026-11-{day:02}": share for day in range(1, 31)},
        "speakers": [{"dialog": n, "triples": 12_345 * n} for n in range(10, 0, -1)],
    }
    out = tmp_path / "page.html"
    out.write_text(render_page(status, stats, decisions, dialogs, drift, fragments, fragments, FOUND))
    with Browser(tmp_path / "profile") as browser:
        browser.resize(columns)
        for scheme in ("light", "dark"):
            browser.emulate(prefers_color_scheme=scheme)
            browser.open(out)
            assert browser.run("document.querySelectorAll('.dream[open]').length") == 5
            browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert browser.run("document.documentElement.scrollWidth <= innerWidth")
            sizes = browser.run(
                "[...document.querySelectorAll('.chart span')].map(s => s.getBoundingClientRect().height)"
            )
            assert len(sizes) > 10
            assert min(sizes) >= 12
            assert browser.audit() == []
