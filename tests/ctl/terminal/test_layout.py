"""Plain text in columns."""

import time

import pytest
from rich.cells import cell_len

from dreamd.ctl.commands.report.charts import escape_text
from dreamd.ctl.terminal import layout
from dreamd.ctl.terminal.ascii import in_ascii

NOON = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))


def test_width_is_that_of_the_terminal_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for columns, expected in ((40, 40), (80, 80), (5, layout.NARROWEST), (500, layout.WIDEST)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert layout.terminal_width() == expected


def test_folds_nothing_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    text = "the rain on the roof of /a b/c " * 100 + "."
    assert layout.label_rows([("rain", text)], layout.terminal_width()) == f"rain  {text}"
    assert (
        layout.text_table(["a", "b"], [[text, text]], layout.terminal_width()).splitlines()[1]
        == f"{text}  {text}"
    )


def test_clean_leaves_nothing_that_steers_a_terminal() -> None:
    assert layout.clean_text("a\x1b[31m\nb\u202ec\x00 é 雨") == "a [31m b c  é 雨"


# Persian, Malayalam, an emoji family, a soft hyphen, Arabic with a mark of direction.
JOINED = [
    "می\u200cخواهم خانه\u200cای",
    "ന്\u200dറെ",
    "👨\u200d👩\u200d👧",
    "co\u00adoperate",
    "abc\u200f אבג",
    "a\u2060b",
]


@pytest.mark.parametrize("text", JOINED)
def test_clean_keeps_characters_that_join_letters(text: str) -> None:
    assert layout.clean_text(text) == text
    assert layout.fold_text(text, 40) == text
    assert layout.text_table(["a"], [[text]], 40).splitlines()[1] == text
    assert escape_text(text) == text


def test_clean_removes_marks_that_turn_the_direction() -> None:
    for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xE0041, 0x9B, 0x7F, 0x2028):
        assert layout.clean_text(f"a{chr(code)}b") == "a b"


def test_ascii_leaves_out_characters_that_join_letters() -> None:
    assert in_ascii("co\u00adop\u200cer\u200date") == "cooperate"


def test_labelled_folds_values_beside_their_labels() -> None:
    text = layout.label_rows([("a", "one two three four five six seven"), ("long", "x")], 20)
    assert text == "a     one two three\n      four five six\n      seven\nlong  x"


def test_a_command_to_copy_stays_on_one_line() -> None:
    text = "is none connected? `dreamctl --state-dir '/a b/c' leo check PATH` says it"
    assert layout.fold_text(text, 40) == (
        "is none connected?\n`dreamctl --state-dir '/a b/c' leo check PATH`\nsays it"
    )
    assert layout.fold_text("now `dreamctl service status --instance x`", 20, " ") == (
        " now\n `dreamctl service status --instance x`"
    )


PATHS = [  # text, what must be on one line
    ("{}", "/var/a long  folder/.ci a copy/run/dreamd.sock"),
    ("{}", "/home/rain/a leo of mine"),
    ("{}", "/var/lib/the rain, and (other) things: all of them/dream.sqlite3"),
    ("{} is no folder of anything that dreams here", "/var/a b/.c d/state"),
    ("it does not listen at {}, so it cannot be asked to stop", "/var/the rain and the snow"),
    ("the folder {} (mode 755) is open to all", "/var/the rain and the snow"),
    (
        "the daemon of /a/b c/state does not listen at {}; `dreamctl doctor` says why",
        "/var/the rain/a b/s.sock",
    ),
    ("waiting in '{}'", "/var/the rain and the snow/a b"),
    ("nothing is in (~/the rain/a b/{}). It dreams", "c d e"),
    ('{{"where": "{}", "line": 4}}', "/var/the rain/and the snow/leo.py"),
]


@pytest.mark.parametrize(("text", "path"), PATHS)
@pytest.mark.parametrize("columns", [30, 40, 80])
def test_a_path_with_blanks_stays_on_one_line(text: str, path: str, columns: int) -> None:
    whole = text.format(path)
    folded = layout.fold_text(whole, columns, "    ", "to    ")
    assert path in folded
    assert " ".join(folded.split()) == f"to {' '.join(whole.split())}"


def test_folds_the_text_around_a_path() -> None:
    text = "the daemon there does not listen at /a b/c d/s, so that it cannot be asked to stop and goes on"
    assert layout.fold_text(text, 30) == (
        "the daemon there does not\nlisten at /a b/c d/s, so that\nit cannot be asked to stop and\ngoes on"
    )
    assert layout.fold_text("it may be this and/or that 1 / 2 is a half", 20) == (
        "it may be this\nand/or that 1 / 2 is\na half"
    )


@pytest.mark.parametrize("text", ["雨が降る夜に屋根を聞く" * 9, "a 🌧 b 🏠 " * 20, "ａ雨bé" * 30, "雨 " * 50])
@pytest.mark.parametrize("columns", [30, 31])
def test_folds_wide_characters_by_their_cells(text: str, columns: int) -> None:
    lines = layout.fold_text(text, columns, "  ", "x ").splitlines()
    assert columns - 4 <= max(map(cell_len, lines)) <= columns
    assert "".join(lines).replace(" ", "") == "x" + text.replace(" ", "")


def test_columns_are_aligned_with_any_text() -> None:
    rows = [["雨が", "1"], ["rain", "2"], ["a", "3"]]
    assert layout.text_table(["what", "n"], rows, 8).splitlines() == [
        "what  n",
        "雨が  1",
        "rain  2",
        "a     3",
    ]


def test_table_leaves_out_the_last_columns_if_there_is_no_room() -> None:
    rows = [["1", "first", "x" * 20], ["22", "b", "y"]]
    assert layout.text_table(["id", "name", "more"], rows, 80).splitlines() == [
        "id  name   more",
        "1   first  " + "x" * 20,
        "22  b      y",
    ]
    assert layout.text_table(["id", "name", "more"], rows, 20).splitlines() == [
        "id  name",
        "1   first",
        "22  b",
    ]
    assert layout.text_table(["a very long head"], [["b"]], 3).splitlines() == ["a very long head", "b"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (41.4, "41 s"),
        (59.7, "60 s"),
        (60, "1 min"),
        (150, "2 min 30 s"),
        (3600, "1 h"),
        (5430, "1 h 30 min"),
        (86400 * 2.5, "2.5 d"),
    ],
)
def test_span_has_at_most_two_units(seconds: float, text: str) -> None:
    assert layout.format_span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (4096, "4 kB"), (1_500_000, "1.5 MB")]
)
def test_size_in_words(count: int, text: str) -> None:
    assert layout.format_size(count) == text


def test_moment_has_a_date_on_another_day() -> None:
    assert layout.format_moment(NOON, NOON + 60) == "12:00:00"
    assert layout.format_moment(NOON, NOON + 86400) == "2025-03-04 12:00"
    assert layout.format_moment(None, NOON) == "-"


def test_numbers_and_counts_as_text() -> None:
    assert layout.format_number(0.125) == "0.12"
    assert layout.format_number(None) == "-"
    assert (
        layout.format_counts({"calm": 1, "dream": 3, "busy": 0, "cooldown": 1})
        == "3 dream, 1 calm, 1 cooldown"
    )
    assert layout.format_counts({}) == "none yet"
