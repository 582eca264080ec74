"""The doctor on the settings: each mistake, what is gone, and what is kept of the user's words."""

from pathlib import Path

import pytest

from dreamd.ctl.commands.doctor import inbox
from dreamd.ctl.commands.doctor.daemon import Answers
from dreamd.ctl.commands.doctor.inbox import InboxFacts
from dreamd.ctl.commands.doctor.settings import check_kept, check_settings
from dreamd.settings import Reading, read_sources


def read_from(folder: Path, *assignments: str) -> Reading:
    return read_sources(file=folder / "none", env={}, assignments=assignments)


def test_each_mistake_is_a_finding_of_its_own(tmp_path: Path) -> None:
    wrong = (tmp_path / "config.toml").write_text("[gate]\nchance = 'x'\nchanse = 1\n")
    assert wrong
    found = list(check_settings(read_sources(file=tmp_path / "config.toml", env={})))
    assert [each.level for each in found][:2] == ["FAIL"] * 2
    assert "config check" in found[0].advice


@pytest.mark.parametrize(
    ("assignments", "says", "advises"),
    [
        (
            (),
            "for the newest 256 dreams, and all lines until you delete them",
            "`dreamctl prune --older-than 90d`",
        ),
        (("store.keep_days=30",), "and all lines for 30 days", ""),
        (("store.replay_dialogues=9",), "for the newest 9 dreams", "prune"),
        (("store.diagnostics=false",), "it keeps no text of a dream", ""),
    ],
)
def test_reports_what_is_kept_and_advises(
    tmp_path: Path, assignments: tuple[str, ...], says: str, advises: str
) -> None:
    (found,) = check_kept(read_from(tmp_path, *assignments))
    assert found.level == "OK"
    assert says in found.text
    assert advises in found.advice


def test_files_that_made_room_are_counted() -> None:
    facts = InboxFacts(Path("/s/inbox"), counts={"waiting": 1000, "done": 0, "set_aside": 0})
    (found,) = inbox.check_inbox(facts, Answers({"inbox": {"trouble": None, "dropped": 7}}), 0)
    assert found.text == "1000 waiting, 0 acknowledged in /s/inbox; the 7 oldest were removed (inbox.keep)"
