"""The conversation of the demo with a daemon in trouble, which the test plays."""

import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest

from dreamd.ctl.commands.demo import conversation as talk_module
from dreamd.ctl.commands.demo.conversation import Talk, nearest_path, open_talk
from dreamd.ctl.daemon.source import Unreachable
from dreamd.ctl.stand_in.field import TrigramField
from tests.helpers.daemons.little import Connection, LittleDaemon, fails

STATUS = {
    "sessions": [{"dreaming": None}],
    "inbox": {"enabled": True},
    "database": {"path": "/d/dream.sqlite3"},
}
ANSWERS = {"friend.fragments": lambda *_: [], "status": lambda *_: STATUS}
GREETING = ("hello", "events.subscribe", "status", "dream.seed", "friend.fragments")


def converse(
    socket: Path, answers: dict[str, Any], play: Callable[[Connection], None], then: Callable[[Talk], Any]
) -> tuple[list[dict[str, Any]], Any]:
    """Hold a talk with the daemon that the test plays. Return what was shown, and the result of `then`."""
    field = TrigramField(Random(1))
    field.observe("The goat ate the hat. The hat was red.")
    shown: list[dict[str, Any]] = []

    def part(daemon: LittleDaemon) -> None:
        connection = daemon.arrival()
        for method in GREETING:
            connection.hears(method)
        play(connection)

    with LittleDaemon(socket, ANSWERS | answers) as daemon:
        player = threading.Thread(target=part, args=(daemon,))
        player.start()
        try:
            with open_talk(field, ["The goat."], socket, shown.append) as talk:
                return shown, then(talk)
        finally:
            player.join()


def decides(connection: Connection, **decision: Any) -> None:
    """Hear of a reply, and decide."""
    connection.hears("dream.context")
    connection.notify(
        "event", {"type": "decision", "decision": {"session": 2, "dream": True, "reason": "no"}}
    )
    connection.notify("event", {"type": "decision", "decision": {"session": 1, "dream": False, **decision}})


def test_offers_again_to_a_busy_daemon(socket: Path) -> None:
    def play(connection: Connection) -> None:
        decides(connection, reason="busy")
        decides(connection, reason="calm")

    shown, _ = converse(socket, {"dream.now": fails(14, "later")}, play, lambda talk: talk.say("goat"))
    assert [event["type"] for event in shown] == ["reply", "decision", "refused"]
    assert shown[1]["reason"] == "calm"
    assert shown[2]["words"] == "later (BUSY, 14)"


def test_ends_a_dream_that_could_not_be_stored(socket: Path) -> None:
    def play(connection: Connection) -> None:
        decides(connection, reason="dream", dream=True, dialog=5)
        for dialog in (4, 5):
            line = {"dialog": dialog, "turn": 1, "speaker": "leo", "text": f"of {dialog}"}
            connection.notify("event", {"type": "dialog.started", "dialog": dialog})
            connection.notify("event", {"type": "line", **line})

    def then(talk: Talk) -> dict[str, Any]:
        talk.say("goat")
        return talk.end()

    shown, end = converse(socket, {}, play, then)
    assert [event["type"] for event in shown] == ["reply", "decision", "line", "dialog.finished"]
    assert shown[2]["text"] == "of 5"
    assert shown[3]["outcome"] == "store_error"
    assert (end["dialogues"], end["lines"], end["files"]) == (1, 1, [])


def test_waits_only_a_bounded_time_for_a_file(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk_module, "SHARD_S", 0.0)

    def play(connection: Connection) -> None:
        decides(connection, reason="dream", dream=True, dialog=5)
        connection.notify("event", {"type": "line", "dialog": 5, "speaker": "leo", "text": "one"})
        connection.notify("event", {"type": "dialog.finished", "dialog": 5, "outcome": "complete"})

    def then(talk: Talk) -> dict[str, Any]:
        talk.say("goat")
        return talk.end()

    answers = {"dialogs.get": lambda *_: {"turns": [{"seed": ""}]}}
    _, end = converse(socket, answers, play, then)
    assert (end["lines"], end["files"]) == (1, [])


def test_reports_a_daemon_that_decides_nothing(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk_module, "ANSWER_S", 0.05)
    with pytest.raises(click.ClickException, match="decided nothing") as caught:
        converse(socket, {}, lambda _: None, lambda talk: talk.say("goat"))
    assert caught.value.exit_code == 1


def test_a_daemon_that_goes_away_is_unreachable(socket: Path) -> None:
    def play(connection: Connection) -> None:
        connection.hears("dream.context")
        connection.close()

    with pytest.raises(Unreachable, match="the daemon went away"):
        converse(socket, {}, play, lambda talk: talk.say("goat"))


def test_near_is_relative_below_the_working_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert nearest_path(str(tmp_path / "state" / "x")) == "state/x"
    assert nearest_path(str(tmp_path.parent / "x")) == str(tmp_path.parent / "x")
