"""The lines of a dialogue as a terminal may have them."""

import time

from dreamd.ctl.terminal.dialogues import ending_in_words, paused_in_words, show_line


def test_a_line_as_text_steers_no_terminal() -> None:
    line = {"speaker": "leo", "text": "the rain\x1b]0;pwned\x07 is very near to the roof"}
    assert show_line(line, 30) == "   leo: the rain ]0;pwned  is\n        very near to the roof"


def test_an_ending_says_whether_the_dream_was_fed() -> None:
    assert ending_in_words({"outcome": None}) == "running"
    assert ending_in_words({"outcome": "repeat", "fed": True}) == "repeat"
    assert ending_in_words({"outcome": "repeat", "fed": False}) == "repeat, not fed"


def test_a_pause_names_its_end_if_it_has_one() -> None:
    noon = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))
    assert paused_in_words(None, noon) == "paused"
    assert paused_in_words(noon + 60, noon) == "paused until 12:01:00"
