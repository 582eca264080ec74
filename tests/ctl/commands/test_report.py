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
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dreamd.clock import Clock
from dreamd.ctl.commands.report.charts import lines, stacked
from dreamd.ctl.commands.report.page import PAGE_BYTES, page
from dreamd.store import writes
from dreamd.store.store import Store
from tests.helpers.browser import CHROMIUM, Browser
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.mounts import fill, mounts
from tests.helpers.store_rows import STARTED_AT, finish, line, new_dialog

WORDS = "sea river house light snow door word small old quiet speak listen friend name water night".split()  # noqa: SIM905 - one list of words reads better as words
MANY = 2000
HOSTILE = "</dd><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> & \x1b[31m\u202e"


def dream(connection: sqlite3.Connection, number: int, draw: random.Random) -> None:
    """One dialogue of the length that leo's have, with its measures on a long wave."""
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


STATUS = {"state": "ok", "uptime_s": 5.0, "decisions": {"calm": 3, "dream": 1}, "hooks": {}}
STATS = {"dialogs": 2, "lines": 8, "fragments": 9, "origin_fragments": 3}
TURN = {"speaker": "leo", "text": "the rain is near"}
DIALOG = {
    "id": 1, "started_at": STARTED_AT, "outcome": "complete", "lines": 1, "avg_trauma": 0.5, "avg_arousal": None,
    "note": None, "turns": [TURN],
}  # fmt: skip


def test_an_empty_page_says_that_there_is_nothing() -> None:
    text = page(STATUS, STATS, [], [], [])
    for words in ("Nothing was decided", "has not dreamt yet", "No hook was asked"):
        assert words in text


def test_escapes_every_text_of_a_dream() -> None:
    hostile = DIALOG | {"note": HOSTILE, "outcome": HOSTILE, "turns": [{"speaker": HOSTILE, "text": HOSTILE}]}
    decision = {"at": STARTED_AT, "reason": HOSTILE}
    hooks = {HOSTILE: {"calls": 1, "p50_ms": 1.0, "p99_ms": 2.0}}
    status = STATUS | {"state": HOSTILE, "decisions": {HOSTILE: 1}, "hooks": hooks}
    text = page(status, STATS, [decision], [hostile], [{"id": 1, "at": STARTED_AT, "drift": 0.5}])
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert html.unescape(text).count("document.title='taken'") >= 8


def test_a_too_long_page_keeps_the_newest_dialogues() -> None:
    long = [
        DIALOG | {"id": number, "turns": [TURN | {"text": "&" * 400}] * 4} for number in range(MANY, 0, -1)
    ]
    text = page(STATUS, STATS, [], long, [])
    assert PAGE_BYTES * 0.99 < len(text.encode()) <= PAGE_BYTES
    shown = text.count("<details class=dream>")
    assert f"<p>{MANY - shown} older ones are left out" in text
    assert "<summary>2000 · " in text
    assert "<summary>1 · " not in text


def test_marks_a_text_that_was_not_kept() -> None:
    text = page(STATUS, STATS, [], [DIALOG | {"turns": [TURN | {"text": ""}], "outcome": None}], [])
    assert "<i>not kept</i>" in text
    assert "· running · " in text


def test_curves_skip_missing_values_and_stay_in_their_frame() -> None:
    drawn = lines("Felt", {"trauma": [0.0, None, 7.0]}, ["1", "2", "3"], ("dialogue", "trauma"), [])
    assert re.findall(r'points="([^"]*)"', drawn) == ["44.0,196.0 720.0,12.0"]
    assert re.findall(r">(\w+)</text>", drawn)[-2:] == ["1", "3"]
    alone = lines("Felt", {"trauma": [0.5]}, ["1"], ("dialogue", "trauma"), [])
    assert re.findall(r'points="([^"]*)"', alone) == ["44.0,104.0 720.0,104.0"]


def test_stacks_columns_and_tables_have_their_numbers() -> None:
    drawn = stacked("Whether", [("noon", {"calm": 3, "dream": 1}), ("one", {})], ["calm", "dream"], "two")
    assert re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn) == [
        ("58.0", "138.0"),
        ("12.0", "46.0"),
    ]
    assert re.findall(r"<td>(\w*)</td>", drawn) == ["noon", "3", "1", "one", "0", "0"]
    assert 'role="img" aria-label="Whether"' in drawn
    assert ">two</text>" in drawn
    assert "<rect" not in stacked("Whether", [], [], "")


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
    assert text.count("<details class=dream>") == MANY
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
    assert out.read_text().count("<details class=dream>") == 3
    dreamctl("--socket", long_lived.socket, "report", "-n", 2, "--out", out)  # a report gives way to the next
    assert out.read_text().count("<details class=dream>") == 2
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
    """It leaves no half of a new page either, and a link stays a link."""
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
        assert browser.run("document.getElementById('found').textContent") == f"11 of {MANY} dialogues"
        assert browser.run(seen) == 11
        browser.type("#search", "leo  moon1234 ")
        assert browser.run(seen) == 1
        browser.type("#search", "dialogue that never was")
        assert browser.run("document.getElementById('found').textContent") == f"0 of {MANY} dialogues"
        browser.type("#search", " · complete ")
        assert browser.run(seen) == MANY
        assert browser.faults() == []
        assert set(browser.requests()) == {out.as_uri()}
    assert papers == {"light": "rgb(251, 250, 247)", "dark": "rgb(22, 21, 27)"}
    assert all(len(picture) > 20_000 for picture in pictures.values())


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_texts_run_no_script_in_a_browser(tmp_path: Path) -> None:
    out = tmp_path / "hostile.html"
    out.write_text(page(STATUS, STATS, [], [DIALOG | {"turns": [{"speaker": "leo", "text": HOSTILE}]}], []))
    with Browser(tmp_path / "profile") as browser:
        browser.open(out)
        assert browser.run("document.title") == "leo's dreams"
        assert browser.run("document.querySelector('dd').textContent").startswith("</dd><script>")
        browser.run("document.querySelector('dd').innerHTML = '<img src=x onerror=\"document.title=1\">'")
        assert browser.run("document.title") == "leo's dreams"
        assert {fault["params"]["entry"]["source"] for fault in browser.faults()} <= {"security"}


PERSIAN = "می\u200cخواهم خانه\u200cای"  # the joiners part letters of one word


def test_transcripts_keep_joiners() -> None:
    text = page(STATUS, STATS, [], [DIALOG | {"turns": [{"speaker": "leo", "text": PERSIAN}]}], [])
    assert f"<dd>{PERSIAN}" in text


def test_every_column_of_a_table_has_a_head() -> None:
    decisions = [{"at": STARTED_AT + at, "reason": "calm", "dream": False} for at in (60, 0)]
    text = page(STATUS, STATS, decisions, [DIALOG], [])
    assert text.count("<th ") > 6
    assert '<th scope="col"></th>' not in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_browser_search_finds_a_word_with_and_without_its_joiner(tmp_path: Path) -> None:
    out = tmp_path / "persian.html"
    said = [PERSIAN, "co\u00adoperate, cafe\u0301", "rain"]
    dialogs = [DIALOG | {"turns": [{"speaker": "leo", "text": text}]} for text in said]
    out.write_text(page(STATUS, STATS, [], dialogs, []))
    with Browser(tmp_path / "profile") as browser:
        browser.open(out)
        for typed in ("می\u200cخواهم", "میخواهم", "خانهای", "cooperate", "café"):
            browser.type("#search", typed)
            assert browser.run("document.getElementById('found').textContent") == "1 of 3 dialogues", typed
