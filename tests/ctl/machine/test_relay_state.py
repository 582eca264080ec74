"""The state of the relay, as a file."""

import json
from pathlib import Path

from dreamd.ctl.machine.relay_state import NAME, SILENT_S, RelayState, read_relay_state, write_relay_state
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def test_says_whether_a_relay_runs_has_ended_or_is_silent(tmp_path: Path) -> None:
    assert read_relay_state(tmp_path, 0.0) is None
    state = RelayState(pid=7, to="nats://a", waiting=3)
    write_relay_state(tmp_path, state)
    found = read_relay_state(tmp_path, state.at)
    assert found is not None
    assert (found["state"], found["waiting"], found["to"]) == ("running", 3, "nats://a")
    assert (read_relay_state(tmp_path, state.at + SILENT_S + 1) or {})["state"] == "silent"
    state.pid = 0
    write_relay_state(tmp_path, state)
    assert (read_relay_state(tmp_path, state.at) or {})["state"] == "ended"
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_file_of_another_version_is_no_state(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"unknown": 1}', '{"at": "x"}'):
        (tmp_path / NAME).write_text(text)
        assert read_relay_state(tmp_path, 0.0) is None
    write_relay_state(tmp_path / NAME / "below", RelayState())  # no folder can be made there


def test_status_doctor_and_figures_show_the_relay(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        place = ("--socket", daemon.socket, "--state-dir", daemon.state_dir)
        assert "relay" not in json.loads(dreamctl(*place, "status", "--json").stdout)
        state = RelayState(pid=7, to="nats://a", waiting=3, published=2, skipped=1, last_at=1e9)
        write_relay_state(daemon.state_dir, state)
        assert (
            "running: 3 waiting, 2 published to nats://a, the last"
            in dreamctl(*place, "status", columns=200).stdout
        )
        assert "(running): 3 waiting, 2 published; 1 are no" in dreamctl(*place, "doctor", columns=200).stdout
        state.note_error("nats://a: no NATS server answers")
        write_relay_state(daemon.state_dir, state)
        figures = dreamctl(*place, "stats", "--openmetrics").stdout
        for line in ("relay_up 1", "relay_failing 1", "relay_waiting 3", "relay_published_total 2"):
            assert f"dreamd_{line}\n" in figures
        assert "no NATS server answers" in dreamctl(*place, "status", columns=200).stdout
        assert (
            "the relay to nats://a fails: nats://a: no NATS" in dreamctl(*place, "doctor", columns=200).stdout
        )
