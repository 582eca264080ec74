"""The output of the demo from fixed events, on wide and narrow terminals."""

from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from dreamd.ctl.commands.demo.stage import Stage
from dreamd.dream.outcomes import OUTCOMES

INTRO = {"type": "intro", "source": "a story of its own", "words": 264, "ours": True}
REPLY = {"type": "reply", "prompt": "Are you awake?", "reply": "I was the water, and the water was slow."}
OPEN = {"type": "decision", "dream": True, "reason": "dream", "novelty": 0.31, "drawn": 0.4}
OPEN |= {"gate": {"novelty_above": -1.0, "chance": 1.0}}
LINES = [
    {
        "type": "line",
        "turn": 1,
        "speaker": "leo",
        "text": "The rest of the river goes by, and it touches you.",
    },
    {"type": "line", "turn": 2, "speaker": "friend", "text": "Put it near the bread."},
]
FRIEND = {
    "type": "friend",
    "fragments": 141,
    "moved": [
        {"text": "I felt the light move.", "before": 1.0, "after": 0.99},
        {"text": "Say bread.", "before": 0.3, "after": 0.597},
        {"text": "An old one.", "before": 0.05, "after": None},
        {"text": "Put it near the bread.", "before": None, "after": 0.3},
    ],
}
END = {
    "type": "end",
    "dialogues": 1,
    "lines": 3,
    "rows": "state/dream.sqlite3",
    "files": ["state/inbox/dreams/dream-1795309815-1-24b86a31.json"],
    "ours": True,
    "state_dir": "state",
}
NEXT = (
    "\nRead the dreams  dreamctl --state-dir state show -n 1\n"
    "All on one page  dreamctl --state-dir state report --open\n"
    "Into your leo    dreamctl leo install PATH_OF_LEO\n"
)
ALL = [INTRO, REPLY, OPEN, *LINES, FRIEND, END]


def shown(*events: dict[str, Any], columns: int = 80, typed: bool = False) -> str:
    console = Console(file=StringIO(), width=columns, highlight=False)
    stage = Stage(console, typed=typed)
    for event in events:
        stage.show(event)
    return console.file.getvalue()


def test_a_turn_at_80_columns() -> None:
    assert shown(REPLY, OPEN, *LINES, FRIEND) == (
        f"\n{'─' * 80}\n"
        "   you  Are you awake?\n"
        "    it  I was the water, and the water was slow.\n"
        "\n"
        "Does it dream? Yes: 31% of what was said is new to it, and in this demo any\n"
        "share will do.\n"
        "    it  The rest of the river goes by, and it touches you.\n"
        "friend  Put it near the bread.\n"
        "\n"
        "What the dream drew from the friend, and left there (weights before and after):\n"
        " drawn  1.00 → 0.99  I felt the light move.\n"
        " again  0.30 → 0.60  Say bread.\n"
        "  gone  0.05 →    -  An old one.\n"
        "   new     - → 0.30  Put it near the bread.\n"
        "The other 138 have become a little lighter.\n"
    )


def test_the_end_names_the_database_and_the_files() -> None:
    assert shown(END) == (
        f"\n{'─' * 33} what is left {'─' * 33}\n"
        "1 dream, 3 lines.\n"
        "  rows  state/dream.sqlite3\n"
        " files  state/inbox/dreams/dream-1795309815-1-24b86a31.json\n"
        "The rows are in SQLite, in the tables dream_dialogs and dream_turns.\n"
        "Each file is one dream as JSON, for other programs to pick up.\n"
        "The daemon has been stopped.\n" + NEXT
    )
    more = shown(END | {"dialogues": 2, "files": ["a.json", "b.json"], "ours": False})
    assert "2 dreams" in more
    assert "\n files  a.json\n        b.json\n" in more
    assert more.endswith("The daemon goes on.\n" + NEXT.replace("-n 1", "-n 2"))
    assert "Each file" not in shown(END | {"files": []})


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_nothing_is_wider_than_the_terminal_or_lost(columns: int) -> None:
    text = shown(*ALL, columns=columns)
    assert all(line == line.rstrip() for line in text.splitlines())
    wide = [line for line in text.splitlines() if cell_len(line) > columns]
    copied = (END["files"][0], *NEXT.splitlines()[1:])
    assert all(line.endswith(copied) for line in wide)  # what is to be copied stays whole
    words = "".join(text.split())
    for event in LINES:
        assert "".join(event["text"].split()) in words
    assert f" {END['files'][0]}\n" in text


def test_wide_letters_are_measured_in_columns() -> None:
    text = shown(REPLY | {"reply": "雨" * 40}, columns=40)
    assert all(cell_len(line) <= 40 for line in text.splitlines())


def test_the_intro_explains_its_words() -> None:
    text = " ".join(shown(INTRO).split())
    for word in (
        "organism",
        "imaginary friend",
        "daemon, a program in the background",
        "264 different words",
    ):
        assert word in text
    assert "already" not in text
    assert "Ctrl-D" not in text
    assert "goes on" not in text
    assert "This goes on from 3 earlier dreams;" in shown(INTRO | {"before": 3})
    typed = shown(INTRO | {"ours": False}, typed=True)
    assert "A daemon serves this folder already." in typed
    assert "quit" in typed
    assert "Ctrl-D" in shown({"type": "help"})


def test_does_not_repeat_what_the_user_typed() -> None:
    assert shown(REPLY, typed=True) == "    it  I was the water, and the water was slow.\n"


def test_decisions_in_plain_words() -> None:
    own = OPEN | {"novelty": 0.8, "gate": {"novelty_above": 0.7, "chance": 0.5}}
    assert (
        "dream: novelty 0.8 > 0.7 opened the gate, and the dice said\nyes: 0.40, which is below 0.5)."
        in shown(own)
    )
    no = {
        "type": "decision",
        "dream": False,
        "reason": "cooldown",
        "wait_s": 41.0,
        "gate": {"cooldown_s": 180.0},
    }
    assert "No (cooldown: 41 s of 180 left). The demo asks for it all the same." in shown(no, columns=100)
    assert shown({"type": "refused", "words": "try later (BUSY, 14)"}) == "No dream: try later (BUSY, 14).\n"


def test_explains_every_early_end() -> None:
    for outcome in OUTCOMES:
        text = shown({"type": "dialog.finished", "outcome": outcome})
        assert bool(text) == (
            outcome not in ("complete", "lost", "shutdown", "interrupted")
        )  # three of 0.1.0


def test_a_dream_that_moved_nothing_and_an_unknown_event_show_nothing() -> None:
    assert shown({"type": "friend", "fragments": 0, "moved": []}, {"type": "tomorrow"}) == ""


def test_texts_of_others_steer_no_terminal() -> None:
    text = shown(
        REPLY | {"prompt": "[bold]a[/] \x1b[2J", "reply": "b\x07\rc"}, {**LINES[0], "text": "\x1b]0;x\x07"}
    )
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]a[/]" in text
