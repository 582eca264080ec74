"""The lines of a dialogue as a terminal may have them."""

from dreamd.ctl.terminal.dialogues import show_line


def test_a_line_as_text_steers_no_terminal() -> None:
    line = {"speaker": "leo", "text": "the rain\x1b]0;pwned\x07 is very near to the roof"}
    assert show_line(line, 30) == "   leo: the rain ]0;pwned  is\n        very near to the roof"
