"""`recent`: the last dialogues, as text and from a daemon."""

import time

from dreamclient.clients.thread import DreamClient
from dreamclient.messages import OPENING_CHARS

from dreamd.ctl.commands.recent import show_recent
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))


RECENT = [
    {
        "id": 12,
        "trace_id": "dream-1741086000-12-0a1b2c3d",
        "started_at": NOW - 30,
        "finished_at": None,
        "outcome": None,
        "lines": 2,
        "client": "leo",
        "opening": "the rain\x1b[2J is near, and so it is every night when the lamp of t",
        "avg_trauma": None,
        "avg_arousal": None,
        "drift": None,
    },
    {
        "id": 7,
        "trace_id": "dream-1741086000-7-0a1b2c3d",
        "started_at": NOW - 60,
        "finished_at": NOW - 59,
        "outcome": "complete",
        "lines": 4,
        "client": "leo",
        "opening": "the rain is near",
        "avg_trauma": 0.25,
        "avg_arousal": 0.5,
        "drift": 0.0625,
    },
]


def test_recent_as_text() -> None:
    assert show_recent(RECENT, 100, NOW).splitlines() == [
        "id  began     outcome   lines  first words",
        "12  11:59:30  running   2      the rain [2J is near, and so it is every night when the ..",
        "7   11:59:00  complete  4      the rain is near",
    ]
    assert show_recent(RECENT, 40, NOW).splitlines() == [
        "id  began     outcome   first words",
        "12  11:59:30  running   the rain [2J ..",
        "7   11:59:00  complete  the rain is near",
    ]
    assert show_recent(RECENT, 30, NOW).splitlines()[1] == "12  11:59:30  the rain [2J .."
    assert "No dialogue yet" in show_recent([], 80, NOW)


def test_recent_names_the_client_if_there_are_several_and_does_without_words_not_kept() -> None:
    other = RECENT[1] | {"id": 8, "client": "another leo", "opening": None}
    older_daemon = {key: value for key, value in RECENT[1].items() if key != "opening"}
    assert show_recent([other, older_daemon], 100, NOW).splitlines() == [
        "id  began     outcome   lines  client       first words",
        "8   11:59:00  complete  4      another leo  -",
        "7   11:59:00  complete  4      leo          -",
    ]


def test_recent_has_the_first_words_as_the_store_cuts_them(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]
) -> None:
    speaker, client = leo
    speaker.words = ("the rain keeps a roof of old words " * 3,)
    speaker.said = 0
    client.dream_now()
    (newest,) = client.call("dialogs.recent", 1)
    assert len(newest["opening"]) == OPENING_CHARS
    shown = dreamctl("--socket", daemon.socket, "recent", "-n", 1).stdout
    assert shown.endswith("  the rain keeps a roof of old words the rain keeps a roof ..\n")
