"""`why`: the last decisions, as text and after a reply."""

import json
import time

from dreamclient.clients.thread import DreamClient
from dreamclient.messages import DreamContext, PulseSnapshot

from dreamd.ctl.commands.why import show_why
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))


DECISIONS = [
    {
        "at": NOW - 2,
        "dream": False,
        "reason": "cooldown",
        "client": "leo",
        "wait_s": 41.0,
        "gate": {"cooldown_s": 180},
    },
    {"at": NOW - 90000, "dream": True, "reason": "asked", "client": "leo-demo", "dialog": 7},
]


def test_why_as_text() -> None:
    assert show_why(DECISIONS, 80, NOW) == (
        "11:59:58  did not dream; cooldown: 41 s of 180 left\n"
        "2025-03-03 11:00  leo-demo began dialogue 7; asked: a dream was asked for, past\n"
        "          all gates\n"
        "\n"
        "Of these 2: 1 asked, 1 cooldown."
    )
    assert max(map(len, show_why(DECISIONS, 40, NOW).splitlines())) <= 40
    assert show_why(DECISIONS[:1], 80, NOW) == "11:59:58  did not dream; cooldown: 41 s of 180 left"
    assert show_why(DECISIONS[:1], 80, NOW, {"calm": 3}).endswith(
        "\n\nOf all 3 since the daemon started: 3 calm."
    )
    assert show_why([], 80, NOW) == "No reply has reached dreamd yet."
    private = "No reply has reached dreamd yet, beside 3 private ones."
    assert show_why([], 80, NOW, {"private": 3}) == private


def test_why_after_a_reply(daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]) -> None:
    """P10: what the gate decided is shown with its numbers."""
    _, client = leo
    client.call("dream.context", {"prompt": "p", "reply": "r", "pulse": {"novelty": 0.12}, "quality": 0.78})
    result = dreamctl("--socket", daemon.socket, "why", "-n", 1)
    assert result.exit_code == 0
    assert "did not dream; calm: nothing called for a dream, since novelty 0.12 ≤ 0.7," in result.stdout
    (decision,) = json.loads(dreamctl("--socket", daemon.socket, "why", "-n", 1, "--json").stdout)
    assert decision["reason"] == "calm"
    assert client.offer(DreamContext("p", "r", pulse=PulseSnapshot(0.1)))


def test_why_takes_a_sensible_number(daemon: DaemonProcess) -> None:
    assert dreamctl("--socket", daemon.socket, "why", "-n", 0).exit_code == 2
