"""The diary as Markdown, from dialogues of every kind."""

from dreamd.ctl.terminal.markdown import diary, escaped


def test_escapes_the_marks_of_markdown() -> None:
    assert escaped("# a <b> _c_ `d` [e](f) | ~g~ &amp; \\ \n h") == (
        r"\# a \<b\> \_c\_ \`d\` \[e\](f) \| \~g\~ \&amp; \\ h"
    )


def test_marks_dialogues_that_did_not_end_and_lines_that_were_not_kept() -> None:
    turns = [{"speaker": "leo", "text": ""}, {"speaker": "friend", "text": "yes"}]
    shown = list(
        diary([{"started_at": 0.0, "outcome": "left", "turns": turns}, {"started_at": 0.0, "turns": []}])
    )
    assert shown[4:] == ["**leo** · (not kept)", "", "**friend** · *yes*", "", "(left after 2 lines)"]


def test_marks_a_dream_that_was_not_fed() -> None:
    turns = [{"speaker": "leo", "text": "yes"}]
    shown = list(diary([{"started_at": 0.0, "outcome": "complete", "fed": False, "turns": turns}]))
    assert shown[-1] == "(complete, not fed)"
